// What can be done to queues: declare, purge, delete.

import { h } from '../core/view.js';
import { path, put, remove } from '../core/api.js';
import { known } from '../core/known.js';
import { settings } from '../core/settings.js';
import { count, plural } from '../core/format.js';
import { ask, confirm } from './dialog.js';
import { toObject } from './form.js';
import { QUEUE_ARGUMENTS } from './known_arguments.js';
import { done, failed } from './toast.js';

export const vhostField = () => ({ name: 'vhost', label: 'Virtual host', type: 'select', options: known.vhosts, value: settings.vhost || (known.vhosts.includes('/') ? '/' : known.vhosts[0]) });

const TYPE_HELP = { classic: 'Messages are on one node', quorum: 'Every message is on several nodes, a leader among them delivers', default: 'What the virtual host or the broker says' };

/** Gives `{ vhost, name }` of the queue that was declared. */
export const declareQueue = () =>
    ask({
        title: 'Declare a queue',
        submit: 'Declare',
        isWide: true,
        fields: [
            vhostField(),
            { name: 'name', label: 'Name', type: 'text', required: true },
            { name: 'type', label: 'Type', type: 'select', options: [['default', 'Default'], ['classic', 'Classic'], ['quorum', 'Quorum']], value: 'default', help: (type) => TYPE_HELP[type] },
            { name: 'durable', label: 'Durable', type: 'checkbox', value: true, help: 'It is there again after a restart, with its persistent messages', when: (given) => given.type !== 'quorum' },
            { name: 'autoDelete', label: 'Auto-delete', type: 'checkbox', help: 'It is deleted when its last consumer goes', when: (given) => given.type !== 'quorum' },
            { name: 'arguments', label: 'Arguments', type: 'pairs', known: QUEUE_ARGUMENTS, help: 'Begin to type x- to see what there is. A policy can set most of them for many queues, and change them later.' },
        ],
        async onSubmit(given) {
            const wanted = toObject(given.arguments);
            if (given.type !== 'default') wanted['x-queue-type'] = given.type;
            const isQuorum = given.type === 'quorum';
            await put(path('queues', given.vhost, given.name), { durable: isQuorum || given.durable, auto_delete: !isQuorum && given.autoDelete, arguments: wanted });
            done(`Queue ${given.name} is declared`);
            return { vhost: given.vhost, name: given.name };
        },
    });

const names = (queues) => (queues.length === 1 ? `queue ${queues[0].name}` : plural(queues.length, 'queue'));
const listOf = (queues) => queues.length > 1 && h('ul', { class: 'hint' }, queues.slice(0, 10).map((queue) => h('li', {}, queue.name)), queues.length > 10 && h('li', {}, `and ${count(queues.length - 10)} more`));
const waiting = (queues, field) => queues.reduce((sum, queue) => sum + (queue[field] ?? 0), 0);

/** Purges queues after a question; true when it was done. */
export function purgeQueues(queues) {
    const text = [h('p', {}, `${plural(waiting(queues, 'messages_ready'), 'ready message')} will be gone for good. Messages that consumers have not acknowledged yet stay.`), listOf(queues)];
    return confirm(`Purge ${names(queues)}?`, text, 'Purge', () => each(queues, (queue) => remove(path('queues', queue.vhost, queue.name, 'contents'))).then(() => done(`Purged ${names(queues)}`)));
}

/** Deletes queues after a question; true when it was done. */
export function deleteQueues(queues) {
    const consumers = waiting(queues, 'consumers');
    const text = [
        h('p', {}, `${plural(waiting(queues, 'messages'), 'message')} will be gone for good`, consumers > 0 ? `, and ${plural(consumers, 'consumer')} cancelled.` : '.'),
        listOf(queues),
    ];
    return confirm(`Delete ${names(queues)}?`, text, 'Delete', () => each(queues, (queue) => remove(path('queues', queue.vhost, queue.name))).then(() => done(`Deleted ${names(queues)}`)));
}

const AT_ONCE = 6;

/** Does something to all, a few at a time, and goes on after a failure; the last failure is thrown if none went well. */
export async function each(list, work) {
    const left = [...list];
    const failures = [];
    async function run() {
        for (let one = left.shift(); one; one = left.shift()) {
            try {
                await work(one);
            } catch (error) {
                failures.push([one, error]);
            }
        }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, run));
    if (failures.length === list.length) throw failures[0][1];
    for (const [one, error] of failures.slice(0, 3)) failed(`One of them, ${one.name},`, error);
}
