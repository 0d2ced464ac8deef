// Channels, in a list of their own or of a connection.

import { h } from '../core/view.js';
import { link } from '../core/router.js';
import { count, rate } from '../core/format.js';
import { state, tag } from './bits.js';
import { figure, table } from './table.js';

export function channelState(channel) {
    const name = channel.idle_since && channel.state === 'running' ? 'idle' : (channel.state ?? 'running');
    return state(name, name === 'running' ? 'good' : /block|flow/.test(name) ? 'warn' : '');
}

export const mode = (channel) => h('span', { class: 'tags' }, channel.confirm && tag('confirms', 'accent', 'Publishes are confirmed'), channel.transactional && tag('tx', 'accent', 'Transactional'));

const number = (label, field, rank) => ({ label, sort: field, number: true, rank, cell: (channel) => figure(channel[field] ?? 0, count) });
const perSecond = (label, field, rank) => ({ label, sort: `message_stats.${field}_details.rate`, number: true, rank, cell: (channel) => figure(channel.message_stats?.[`${field}_details`]?.rate ?? 0, rate) });

export const CHANNEL_COLUMNS = [
    { label: 'Channel', sort: 'name', isHead: true, class: 'clip', cell: (channel) => h('a', { href: link(['channels', channel.name]) }, channel.name) },
    { label: 'User', sort: 'user', rank: 'least', cell: (channel) => channel.user },
    { label: 'Mode', rank: 'less', cell: mode },
    { label: 'State', sort: 'state', cell: channelState },
    number('Consumers', 'consumer_count'),
    number('Unacked', 'messages_unacknowledged'),
    number('Unconfirmed', 'messages_unconfirmed', 'less'),
    number('Prefetch', 'prefetch_count', 'least'),
    perSecond('Publish', 'publish', 'less'),
    perSecond('Deliver / get', 'deliver_get', 'less'),
    perSecond('Ack', 'ack', 'less'),
];

export const channelTable = (channels) => table({ caption: 'Channels', columns: CHANNEL_COLUMNS, rows: channels, keyOf: (channel) => channel.name, empty: 'No channels' });
