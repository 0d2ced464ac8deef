// One queue: what flows through it, how it is set, who is bound to it and consumes from it, what waits in it.

import { h } from '../core/view.js';
import { get, path } from '../core/api.js';
import { go, link } from '../core/router.js';
import { historyOf } from '../core/samples.js';
import { bytes, count, date, duration, rate, value } from '../core/format.js';
import { argumentTags, button, card, facts, heading, loading, rangePicker, tag, tiles } from '../parts/bits.js';
import { bindingTable } from '../parts/bindings.js';
import { messageRates, queuedMessages } from '../parts/charts.js';
import { consumerTable } from '../parts/consumers.js';
import { messages } from '../parts/messages.js';
import { deleteQueues, purgeQueues } from '../parts/queue_forms.js';
import { queueState, queueTags } from '../parts/queue_words.js';
import { tabs } from '../parts/tabs.js';

export function open(page) {
    const { vhost, name } = page;
    const where = path('queues', vhost, name);
    let queue = null;
    let bindings = null;
    const messagesTab = messages(page, { vhost, name });

    async function load(signal) {
        const wanted = [get(where, historyOf('lengths', 'msg_rates'), { signal })];
        if (page.query.tab === 'bindings') wanted.push(get(`${where}/bindings`, undefined, { signal }).then((bound) => (bindings = bound)));
        if (page.query.tab === 'messages') wanted.push(messagesTab.load(signal));
        [queue] = await Promise.all(wanted);
    }

    async function purge() {
        if (await purgeQueues([queue])) page.reload();
    }

    async function drop() {
        if (await deleteQueues([queue])) go(['queues']);
    }

    const actions = () => [
        rangePicker(page),
        button('Purge', purge, { kind: 'danger' }),
        button('Delete', drop, { kind: 'danger' }),
    ];

    function view() {
        return [
            heading(name, { crumbs: [['Queues', ['queues']], [`Virtual host ${vhost}`]], beside: queue && queueTags(queue), actions: queue && actions() }),
            queue === null
                ? loading(page)
                : tabs(
                      page,
                      [
                          ['overview', 'Overview', () => overview(queue)],
                          ['messages', 'Messages', () => messagesTab.view(queue)],
                          ['bindings', 'Bindings', () => bindingTable({ title: 'Bindings to this queue', bindings, end: 'source', vhost, name, kind: 'queue', changed: page.reload })],
                          ['consumers', `Consumers (${count(queue.consumers ?? 0)})`, () => card('Consumers', {}, consumerTable(queue.consumer_details ?? [], { isOfQueue: true }))],
                      ],
                      `About queue ${name}`,
                  ),
        ];
    }

    return { title: name, load, view };
}

function overview(queue) {
    const key = `queue.${queue.vhost}.${queue.name}`;
    const stats = queue.message_stats ?? {};
    return [
        tiles([
            { name: 'Ready', text: count(queue.messages_ready ?? 0), color: 2 },
            { name: 'Unacked', text: count(queue.messages_unacknowledged ?? 0), color: 3 },
            { name: 'Total', text: count(queue.messages ?? 0), color: 5 },
            { name: 'Incoming', text: rate(stats.publish_details?.rate ?? 0) },
            { name: 'Deliver / get', text: rate(stats.deliver_get_details?.rate ?? 0) },
            { name: 'Consumers', text: count(queue.consumers ?? 0) },
        ]),
        h('div', { class: 'columns' }, h('div', { class: 'card' }, queuedMessages(queue, key)), h('div', { class: 'card' }, messageRates(stats, key))),
        h('div', { class: 'columns' }, card('Details', {}, h('div', { class: 'body' }, details(queue))), card('Arguments and policy', {}, h('div', { class: 'body' }, settingsOf(queue)))),
    ];
}

function details(queue) {
    const bodies = queue.message_bytes;
    return facts([
        ['State', queueState(queue)],
        ['Type', queue.type ?? queue.arguments?.['x-queue-type'] ?? 'classic'],
        queue.leader || queue.node ? ['Leader', queue.leader ?? queue.node] : null,
        queue.members && ['Members', h('span', { class: 'tags' }, queue.members.map((member) => tag(member, queue.online?.includes(member) === false ? 'bad' : 'good', queue.online?.includes(member) === false ? 'offline' : 'online')))],
        queue.idle_since && !String(queue.idle_since).startsWith('1970') && ['Idle since', String(queue.idle_since)],
        queue.head_message_timestamp && ['Oldest message', date(queue.head_message_timestamp * 1000)],
        queue.oldest_message_age_ms !== undefined && ['Age of the oldest', duration(queue.oldest_message_age_ms)],
        queue.consumer_utilisation !== undefined && queue.consumers > 0 && ['Consumer capacity', `${Math.round(100 * (queue.consumer_capacity ?? queue.consumer_utilisation ?? 0))} %`],
        bodies !== undefined && ['Message bodies', bytes(bodies)],
        queue.message_bytes_ram !== undefined && ['In memory', `${bytes(queue.message_bytes_ram)} in ${count(queue.messages_ram ?? 0)} messages`],
        queue.message_bytes_persistent !== undefined && ['Persistent', `${bytes(queue.message_bytes_persistent)} in ${count(queue.messages_persistent ?? 0)} messages`],
        queue.memory !== undefined && ['Memory of the queue', bytes(queue.memory)],
        queue.owner_pid_details?.name && ['Owner', h('a', { href: link(['connections', queue.owner_pid_details.name]) }, queue.owner_pid_details.name)],
    ]);
}

function settingsOf(queue) {
    const effective = queue.effective_policy_definition ?? {};
    const none = h('span', { class: 'muted' }, 'none');
    const words = argumentTags(queue.arguments);
    return facts([
        ['Durable', queue.durable ? 'yes' : 'no'],
        ['Auto-delete', queue.auto_delete ? 'yes' : 'no'],
        ['Exclusive', queue.exclusive ? 'yes' : 'no'],
        ['Arguments', words.length ? h('span', { class: 'tags' }, words) : none],
        ['Policy', queue.policy ? h('a', { href: link(['policies']) }, queue.policy) : none],
        ['Operator policy', queue.operator_policy ? h('a', { href: link(['policies'], { tab: 'operator' }) }, queue.operator_policy) : none],
        Object.keys(effective).length > 0 && ['In effect by policy', h('span', { class: 'tags' }, Object.entries(effective).map(([key, given]) => tag(`${key}: ${value(given)}`)))],
    ]);
}
