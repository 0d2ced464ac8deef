// The messages of a queue: looked at where they are, searched, worked on, taken out, published.

import { h } from '../core/view.js';
import { get, path, post } from '../core/api.js';
import { count, plural } from '../core/format.js';
import { button, card } from './bits.js';
import { makeForm, toObject } from './form.js';
import { jobTable } from './job_table.js';
import { messageView } from './message_view.js';
import { publish } from './publish.js';
import { beginJob } from './surgery.js';
import { takeMessages } from './take.js';
import { failed, say } from './toast.js';

const SHOWN = ['10', '25', '50', '100', '250'];
const BODY_BYTES_MAX = 50000;

const FIELDS = [
    { name: 'count', label: 'Show', type: 'select', options: SHOWN, value: '25' },
    { name: 'text', label: 'Body holds', type: 'text' },
    { name: 'routing_key', label: 'Routing key', type: 'text', help: '* is any text' },
    { name: 'exchange', label: 'Came through exchange', type: 'text' },
    { name: 'headers', label: 'Headers', type: 'pairs', add: 'Add a header', help: 'In values, * is any text' },
    { name: 'properties', label: 'Properties', type: 'pairs', add: 'Add a property', known: ['message_id', 'correlation_id', 'content_type', 'type', 'app_id', 'user_id', 'reply_to', 'priority'].map((name) => ({ name, type: 'text' })) },
];

export function messages(page, { vhost, name }) {
    const where = path('queues', vhost, name);
    const state = { found: null, from: undefined, isBusy: false, isFilterOpen: false, canLook: true, picked: new Set(), jobs: [] };
    const form = makeForm(FIELDS, () => page.redraw());
    const take = takeMessages(page, { vhost, name });

    /** The filter as the API wants it; nothing when there is none. */
    function filter() {
        const { text, routing_key, exchange, headers, properties } = form.values;
        const texts = (given) => Object.fromEntries(Object.entries(toObject(given)).map(([key, value]) => [key, String(value)]));
        const wanted = { text, routing_key, exchange, headers: texts(headers), properties: texts(properties) };
        return Object.fromEntries(Object.entries(wanted).filter(([, value]) => (typeof value === 'string' ? value !== '' : Object.keys(value).length > 0)));
    }

    async function look(from) {
        if (!form.check()) return;
        state.isBusy = true;
        page.redraw();
        const wanted = { count: Number(form.values.count), from, truncate: BODY_BYTES_MAX };
        const given = filter();
        try {
            state.found = Object.keys(given).length > 0 ? await post(`${where}/messages/search`, { ...wanted, filter: given }) : await get(`${where}/messages`, wanted);
            state.from = from;
            state.picked.clear();
            say(plural(state.found.messages.length, 'message'));
        } catch (error) {
            if (error.status === 404 || error.status === 405) state.canLook = false;
            failed('Looking at messages', error);
        }
        state.isBusy = false;
        page.redraw();
    }

    async function loadJobs(signal) {
        if (!state.canLook) return;
        try {
            const jobs = await get('jobs', undefined, { signal });
            state.jobs = jobs.filter((job) => job.vhost === vhost && job.queue === name).slice(0, 5);
        } catch (error) {
            // Not every broker has jobs, and not everybody may see them.
            if (error.name === 'AbortError') throw error;
            state.jobs = [];
        }
    }

    async function work(action) {
        const ids = [...state.picked];
        const begun = await beginJob({ vhost, name, action, ids, filter: filter(), matched: state.found?.messages.length });
        if (!begun) return;
        state.picked.clear();
        page.reload();
        if (state.found) await look(state.from);
    }

    async function send() {
        if (await publish({ vhost, exchange: '', key: name, title: `Publish to queue ${name}` })) page.reload();
    }

    const toggle = (id) => {
        if (!state.picked.delete(id)) state.picked.add(id);
        page.redraw();
    };

    const workBar = () => {
        const whose = state.picked.size > 0 ? `${plural(state.picked.size, 'message')} selected` : Object.keys(filter()).length > 0 ? 'All that match the filter' : 'All messages of the queue';
        const step = (action, label, kind = '') => button(label, () => work(action), { kind: `small ${kind}` });
        return h('div', { class: 'bar picked', role: 'group', 'aria-label': 'What to do with messages' }, h('strong', {}, whose), step('move', 'Move'), step('copy', 'Copy'), step('redrive', 'Redrive'), step('delete', 'Delete', 'danger'));
    };

    const lookCard = () =>
        card(
            'Look at messages',
            { id: 'look', beside: h('span', { class: 'hint' }, 'Order, delivery count and redelivered flag stay as they are'), actions: button('Publish a message', send, { kind: 'small' }) },
            h(
                'form',
                { class: 'body form', on: { submit: (event) => (event.preventDefault(), look(undefined)) }, novalidate: true },
                h('div', { class: 'row' }, h('button', { class: 'button primary', type: 'submit', disabled: state.isBusy }, Object.keys(filter()).length > 0 ? 'Search' : 'Look'), button(state.isFilterOpen ? 'Hide the filter' : 'Filter', openFilter, { 'aria-expanded': String(state.isFilterOpen), 'aria-controls': 'message-filter' })),
                h('div', { id: 'message-filter', class: 'fields', hidden: !state.isFilterOpen }, form.view()),
            ),
            state.found && [workBar(), resultOf(state, { toggle, look })],
        );

    function openFilter() {
        state.isFilterOpen = !state.isFilterOpen;
        page.redraw();
    }

    const view = () => [
        state.canLook ? lookCard() : h('div', { class: 'row' }, button('Publish a message', send)),
        state.jobs.length > 0 && card('Jobs on this queue', { id: 'jobs' }, jobTable(state.jobs, { isOfQueue: true, changed: page.reload })),
        take.view(),
    ];

    return { view, load: loadJobs };
}

function resultOf(state, { toggle, look }) {
    const { messages: list, looked_at: lookedAt, next, out_of_time: isOutOfTime } = state.found;
    const note = [`${plural(list.length, 'message')} shown, ${count(lookedAt)} looked at`, isOutOfTime && 'the time for one search was over'].filter(Boolean).join('; ');
    const pick = (message) => h('input', { type: 'checkbox', checked: state.picked.has(message.id), 'aria-label': `Select message ${message.id}`, on: { change: () => toggle(message.id) } });
    return [
        list.length === 0 ? h('div', { class: 'empty', key: 'none' }, 'No messages') : h('div', { key: 'list' }, list.map((message, at) => messageView(message, at, pick(message)))),
        h('div', { class: 'bar foot' }, h('span', { class: 'muted', role: 'status' }, note), h('span', { class: 'end' }, state.from !== undefined && button('From the beginning', () => look(undefined), { kind: 'small' }), next !== null && next !== undefined && button('Further', () => look(next), { kind: 'small' }))),
    ];
}
