// Consumers, of a queue or of a channel.

import { h } from '../core/view.js';
import { link } from '../core/router.js';
import { count } from '../core/format.js';
import { state, tag } from './bits.js';
import { table } from './table.js';

/** `isOfQueue`: the queue is known and the channel is told; else the other way round. */
export function consumerTable(consumers, { isOfQueue }) {
    const whose = isOfQueue
        ? { label: 'Channel', isHead: true, class: 'clip', cell: ({ channel_details: channel }) => (channel?.name ? h('a', { href: link(['channels', channel.name]) }, channel.name) : '–') }
        : { label: 'Queue', isHead: true, class: 'clip', cell: ({ queue }) => (queue ? h('a', { href: link(['queues', queue.vhost, queue.name]) }, queue.name) : '–') };
    return table({
        caption: 'Consumers',
        rows: consumers,
        keyOf: (consumer) => `${consumer.channel_details?.name} ${consumer.consumer_tag}`,
        columns: [
            whose,
            { label: 'Tag', class: 'clip', cell: (consumer) => consumer.consumer_tag },
            { label: 'Acknowledges', cell: (consumer) => (consumer.ack_required ? 'yes' : tag('no', 'warn', 'Messages count as delivered when they are sent')) },
            { label: 'Prefetch', number: true, cell: (consumer) => (consumer.prefetch_count ? count(consumer.prefetch_count) : 'no limit') },
            { label: 'Exclusive', rank: 'least', cell: (consumer) => (consumer.exclusive ? 'yes' : 'no') },
            { label: 'State', cell: (consumer) => (consumer.active === false ? state(consumer.activity_status ?? 'waiting', 'warn') : state('active', 'good')) },
        ],
        empty: 'No consumers',
    });
}
