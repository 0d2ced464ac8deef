// Limits of a user or of a vhost.

import { h } from '../core/view.js';
import { path, put, remove } from '../core/api.js';
import { count } from '../core/format.js';
import { button, card } from './bits.js';
import { ask } from './dialog.js';
import { table } from './table.js';
import { attempt, done } from './toast.js';

const NAMES = { 'max-connections': 'Connections at most', 'max-channels': 'Channels at most', 'max-queues': 'Queues at most' };

/** `kind` is `user-limits` or `vhost-limits`, `limits` what the API gave for `name`. */
export function limitTable({ kind, name, limits, changed }) {
    const of = limits?.[0]?.value ?? {};
    const names = kind === 'user-limits' ? ['max-connections', 'max-channels'] : ['max-connections', 'max-queues'];
    return card(
        'Limits',
        {},
        table({
            caption: 'Limits',
            rows: names,
            keyOf: (limit) => limit,
            columns: [
                { label: 'Limit', isHead: true, cell: (limit) => NAMES[limit] },
                { label: 'Value', cell: (limit) => (of[limit] === undefined ? h('span', { class: 'muted' }, 'no limit') : of[limit] < 0 ? 'no limit' : count(of[limit])) },
                {
                    label: 'Action',
                    cell: (limit) =>
                        h(
                            'span',
                            { class: 'row' },
                            button('Set', () => set(kind, name, limit, of[limit], changed), { kind: 'small', 'aria-label': `Set ${NAMES[limit]}` }),
                            of[limit] !== undefined && button('Clear', () => attempt('Clear the limit', () => remove(path(kind, name, limit)), 'The limit is cleared').then(changed), { kind: 'small danger', 'aria-label': `Clear ${NAMES[limit]}` }),
                        ),
                },
            ],
        }),
    );
}

async function set(kind, name, limit, now, changed) {
    const ok = await ask({
        title: `${NAMES[limit]} of ${name}`,
        fields: [{ name: 'value', label: NAMES[limit], type: 'number', required: true, value: now === undefined ? '' : String(now), help: '0 lets none in; a negative number is no limit' }],
        submit: 'Set',
        onSubmit: (given) => put(path(kind, name, limit), { value: Number(given.value) }),
    });
    if (!ok) return;
    done('The limit is set');
    changed();
}
