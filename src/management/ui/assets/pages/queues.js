// All queues: found, sorted and paged by the broker.

import { h } from '../core/view.js';
import { path } from '../core/api.js';
import { go, link } from '../core/router.js';
import { settings } from '../core/settings.js';
import { count, rate } from '../core/format.js';
import { button, heading } from '../parts/bits.js';
import { pagedList } from '../parts/list.js';
import { figure } from '../parts/table.js';
import { declareQueue, deleteQueues, purgeQueues } from '../parts/queue_forms.js';
import { queueState, queueTags } from '../parts/queue_words.js';

const number = (label, field, rank) => ({ label, sort: field, number: true, rank, cell: (queue) => figure(queue[field] ?? 0, count) });
const perSecond = (label, field, rank) => ({ label, sort: `message_stats.${field}_details.rate`, number: true, rank, cell: (queue) => figure(queue.message_stats?.[`${field}_details`]?.rate ?? 0, rate) });

const COLUMNS = [
    { label: 'Virtual host', sort: 'vhost', rank: 'least', cell: (queue) => queue.vhost },
    { label: 'Name', sort: 'name', isHead: true, class: 'clip', cell: (queue) => h('a', { href: link(['queues', queue.vhost, queue.name]) }, queue.name) },
    { label: 'Features', rank: 'less', cell: queueTags },
    { label: 'State', sort: 'state', rank: 'least', cell: queueState },
    number('Ready', 'messages_ready'),
    number('Unacked', 'messages_unacknowledged'),
    number('Total', 'messages', 'least'),
    perSecond('Incoming', 'publish', 'less'),
    perSecond('Deliver / get', 'deliver_get', 'less'),
    perSecond('Ack', 'ack', 'less'),
    number('Consumers', 'consumers', 'least'),
];

export function open(page) {
    const list = pagedList({
        page,
        where: () => (settings.vhost ? path('queues', settings.vhost) : 'queues'),
        columns: COLUMNS,
        keyOf: (queue) => JSON.stringify([queue.vhost, queue.name]),
        caption: 'Queues',
        unit: ['queue', 'queues'],
        sort: 'name',
        picking: {
            label: (queue) => queue.name,
            actions: (chosen, clear) => [button('Purge', () => act(purgeQueues, chosen, clear), { kind: 'small danger' }), button('Delete', () => act(deleteQueues, chosen, clear), { kind: 'small danger' })],
        },
    });

    async function act(work, chosen, clear) {
        if (!(await work(chosen))) return;
        clear();
        page.reload();
    }

    async function declare() {
        const declared = await declareQueue();
        if (declared) go(['queues', declared.vhost, declared.name]);
    }

    return { title: 'Queues', load: list.load, view: () => [heading('Queues', { actions: button('Declare a queue', declare, { kind: 'primary' }) }), list.view()] };
}
