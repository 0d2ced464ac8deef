// Work on the messages of a queue as a job: delete, move, copy, or redrive to where they died first.

import { path, post } from '../core/api.js';
import { plural } from '../core/format.js';
import { ask } from './dialog.js';
import { done } from './toast.js';

const WORDS = {
    delete: { title: 'Delete messages', submit: 'Delete', text: 'They are gone for good. Messages that consumers have not acknowledged yet stay.' },
    move: { title: 'Move messages', submit: 'Move', text: 'They go to the end of another queue, or through an exchange, and leave this queue once they have arrived.' },
    copy: { title: 'Copy messages', submit: 'Copy', text: 'They stay here, and are published once more.' },
    redrive: { title: 'Redrive messages', submit: 'Redrive', text: 'Dead-lettered messages go back to where they came from; others stay.' },
};

const isTo = (kind) => (given) => given.to === kind;

const WHERE = [
    { name: 'to', label: 'To', type: 'select', options: [['queue', 'A queue'], ['exchange', 'An exchange']] },
    { name: 'queue', label: 'Queue', type: 'text', required: true, when: isTo('queue') },
    { name: 'exchange', label: 'Exchange', type: 'text', required: true, when: isTo('exchange') },
    { name: 'key', label: 'Routing key', type: 'text', help: 'Without one, each message keeps its own', when: isTo('exchange') },
];
const BACK = [{ name: 'to', label: 'To', type: 'select', options: [['queue', 'The queue that they died in first'], ['exchange', 'The exchange that they first came through']] }];

const COMMON = [
    { name: 'dryRun', label: 'Only count', type: 'checkbox', help: 'A dry run: says how many it would be, and changes nothing' },
    { name: 'limit', label: 'At most', type: 'number', placeholder: 'All of them', help: 'Messages' },
    { name: 'rate', label: 'Messages per second, at most', type: 'number', placeholder: 'As fast as it goes' },
];

/** Asks for what a job needs and begins it: for the messages of `ids`, or without any for all that `filter` takes. Gives the job. */
export function beginJob({ vhost, name, action, ids, filter }) {
    const words = WORDS[action];
    const whose = ids.length > 0 ? `${plural(ids.length, 'message')} that you selected.` : Object.keys(filter).length > 0 ? 'All messages that match the filter.' : `All ready messages of ${name}.`;
    const places = { move: WHERE, copy: WHERE, redrive: BACK, delete: [] }[action];
    return ask({
        title: words.title,
        text: `${whose} ${words.text}`,
        fields: [...places, ...COMMON],
        submit: words.submit,
        isDanger: action === 'delete',
        async onSubmit(given) {
            const job = await post(`${path('queues', vhost, name)}/messages/${action}`, orderOf({ action, ids, filter, given }));
            done(given.dryRun ? 'The dry run has begun' : `Job ${job.id} has begun`);
            return job;
        },
    });
}

function orderOf({ action, ids, filter, given }) {
    const order = { dry_run: given.dryRun, ...(ids.length > 0 ? { ids } : { filter }) };
    if (given.limit) order.limit = Number(given.limit);
    if (given.rate) order.rate = Number(given.rate);
    if (action === 'redrive') order.to = given.to;
    if (action === 'move' || action === 'copy') {
        if (given.to === 'queue') order.destination_queue = given.queue;
        else Object.assign(order, { destination_exchange: given.exchange, ...(given.key ? { routing_key: given.key } : {}) });
    }
    return order;
}
