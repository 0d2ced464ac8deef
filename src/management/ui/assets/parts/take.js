// Getting messages as a consumer would: they count as delivered, or leave the queue.

import { h } from '../core/view.js';
import { path, post } from '../core/api.js';
import { plural } from '../core/format.js';
import { card } from './bits.js';
import { makeForm } from './form.js';
import { messageView } from './message_view.js';
import { failed, say } from './toast.js';

const MODES = [
    ['ack_requeue_true', 'Get them and put them back'],
    ['ack_requeue_false', 'Take them out of the queue'],
    ['reject_requeue_true', 'Reject them, put them back'],
    ['reject_requeue_false', 'Reject them: dead-letter or drop'],
];
const BODY_BYTES_MAX = 100000;

export function takeMessages(page, { vhost, name }) {
    const state = { found: null, isBusy: false };
    const help = (mode) => (mode.endsWith('true') ? 'They count as delivered once: the redelivered flag is set.' : 'They are no longer in the queue afterwards.');
    const form = makeForm(
        [
            { name: 'many', label: 'How many', type: 'number', value: '10', required: true },
            { name: 'mode', label: 'What happens to them', type: 'select', options: MODES, help },
        ],
        () => page.redraw(),
    );

    async function take(event) {
        event.preventDefault();
        if (!form.check()) return;
        state.isBusy = true;
        page.redraw();
        try {
            state.found = await post(`${path('queues', vhost, name)}/get`, { count: Number(form.values.many), ackmode: form.values.mode, encoding: 'auto', truncate: BODY_BYTES_MAX });
            say(plural(state.found.length, 'message'));
        } catch (error) {
            failed('Getting messages', error);
        }
        state.isBusy = false;
        page.redraw();
        page.reload();
    }

    const view = () => [
        card(
            'Get messages',
            { beside: h('span', { class: 'hint' }, 'As a consumer would') },
            h('div', { class: 'body' }, h('form', { class: 'form line', on: { submit: take }, novalidate: true }, form.view(), h('div', { class: 'send' }, h('button', { class: 'button', type: 'submit', disabled: state.isBusy }, 'Get messages')))),
        ),
        state.found && card(plural(state.found.length, 'message'), { id: 'taken' }, state.found.length === 0 ? h('div', { class: 'empty' }, 'The queue has no ready messages') : state.found.map((message, at) => messageView(message, at))),
    ];

    return { view };
}
