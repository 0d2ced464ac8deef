// Dialogs: the browser keeps the focus inside, Escape closes, and the focus goes back to where it was.

import { build, h, render } from '../core/view.js';
import { makeForm } from './form.js';

let dialogs = 0;

/**
 * Asks for something: `{ title, text?, fields?, submit, isDanger?, isWide?, onSubmit(values) }`. Stays open with the reason when `onSubmit`
 * fails. Gives what `onSubmit` gave, or undefined when it was closed.
 */
export function ask({ title, text, fields = [], submit, isDanger, isWide, onSubmit }) {
    dialogs += 1;
    const id = `dialog${dialogs}`;
    const state = { isBusy: false, failure: '', answer: undefined };
    const node = build(h('dialog', { class: isWide && 'wide', 'aria-labelledby': `${id}-title` }));
    const draw = () => render(node, view());
    const form = makeForm(fields, draw);

    async function send(event) {
        event.preventDefault();
        if (state.isBusy || !form.check()) return;
        state.isBusy = true;
        state.failure = '';
        draw();
        try {
            state.answer = (await onSubmit(form.values)) ?? true;
            node.close();
        } catch (error) {
            state.isBusy = false;
            state.failure = error.status ? `${error.message} (${error.status})` : error.message;
            draw();
        }
    }

    function view() {
        return h(
            'form',
            { on: { submit: send }, novalidate: true },
            h('header', {}, h('h2', { id: `${id}-title` }, title)),
            h('div', { class: 'body' }, text && h('div', {}, text), form.view(), h('div', { role: 'alert', class: state.failure && 'failure', hidden: !state.failure }, state.failure)),
            h(
                'footer',
                {},
                h('button', { class: 'button', type: 'button', on: { click: () => node.close() } }, 'Cancel'),
                h('button', { class: ['button primary', isDanger && 'danger'], type: 'submit', disabled: state.isBusy }, state.isBusy ? 'Working…' : submit),
            ),
        );
    }

    draw();
    document.body.append(node);
    node.showModal();
    // A question of danger begins at its way out.
    node.querySelector(isDanger && fields.length === 0 ? 'footer button' : '.body input, .body select, .body textarea, footer button')?.focus();
    return new Promise((resolve) => {
        node.addEventListener('close', () => {
            node.remove();
            resolve(state.answer);
        });
    });
}

/** Asks whether something that cannot be taken back is wanted. */
export const confirm = (title, text, submit, onSubmit) => ask({ title, text, submit, isDanger: true, onSubmit });
