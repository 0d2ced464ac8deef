// One channel: what it publishes and what it gets.

import { h } from '../core/view.js';
import { get, path } from '../core/api.js';
import { link } from '../core/router.js';
import { historyOf } from '../core/samples.js';
import { count } from '../core/format.js';
import { card, facts, heading, loading, rangePicker } from '../parts/bits.js';
import { channelState, mode } from '../parts/channel_table.js';
import { messageRates } from '../parts/charts.js';
import { consumerTable } from '../parts/consumers.js';

export function open(page) {
    const { name } = page;
    let channel = null;

    async function load(signal) {
        channel = await get(path('channels', name), historyOf('msg_rates'), { signal });
    }

    const view = () => [
        heading(name, { crumbs: [['Channels', ['channels']], channel && [`Virtual host ${channel.vhost}`]].filter(Boolean), beside: channel && mode(channel), actions: channel && rangePicker(page) }),
        channel === null
            ? loading(page)
            : h(
                  'div',
                  { class: 'stack' },
                  h('div', { class: 'columns' }, h('div', { class: 'card' }, messageRates(channel.message_stats ?? {}, `channel.${name}`)), card('Details', {}, h('div', { class: 'body' }, details(channel)))),
                  card('Consumers', {}, consumerTable(channel.consumer_details ?? [], { isOfQueue: false })),
              ),
    ];

    return { title: name, load, view };
}

const details = (channel) =>
    facts([
        ['State', channelState(channel)],
        channel.connection_details?.name && ['Connection', h('a', { href: link(['connections', channel.connection_details.name]) }, channel.connection_details.name)],
        ['User', channel.user],
        ['Node', channel.node],
        ['Prefetch', channel.prefetch_count ? count(channel.prefetch_count) : 'no limit'],
        channel.global_prefetch_count > 0 && ['Prefetch of the channel', count(channel.global_prefetch_count)],
        ['Unacknowledged', count(channel.messages_unacknowledged)],
        ['Unconfirmed', count(channel.messages_unconfirmed)],
        channel.acks_uncommitted > 0 && ['Acks in the transaction', count(channel.acks_uncommitted)],
        channel.messages_uncommitted > 0 && ['Messages in the transaction', count(channel.messages_uncommitted)],
    ]);
