// Short messages: what was done, or what failed and why. Failures stay until they are closed.

import { build, h } from '../core/view.js';
import { icon } from './icons.js';

const DONE_MS = 5000;
const MOST = 5;

/** Says that something was done; also to screen readers. */
export function done(text) {
    const node = show(text, '', 'status');
    setTimeout(() => node.remove(), DONE_MS);
}

/** Says what failed, and why: `failed('Declare queue orders', error)`. */
export function failed(what, error) {
    if (error?.name === 'AbortError') return;
    const why = error?.status ? `${error.message} (${error.status}, ${error.what})` : error?.message ?? String(error);
    show(`${what} failed`, why, 'alert');
}

function show(text, why, role) {
    const region = document.getElementById('toasts');
    const node = build(
        h(
            'div',
            { class: ['toast', role === 'alert' && 'bad'], role },
            h('strong', {}, text),
            h('button', { class: 'button plain small icon', type: 'button', 'aria-label': 'Close this message', on: { click: () => node.remove() } }, icon('close', 14)),
            why && h('div', { class: 'why' }, why),
        ),
    );
    while (region.children.length >= MOST) region.firstElementChild.remove();
    region.append(node);
    return node;
}

/** Tells screen readers something that is plain to see for others. */
export function say(text) {
    document.getElementById('said').textContent = text;
}

/** Runs something that the broker may refuse, and says how it went. Gives whether it went well. */
export async function attempt(what, work, after) {
    try {
        await work();
    } catch (error) {
        failed(what, error);
        return false;
    }
    if (after) done(after);
    return true;
}
