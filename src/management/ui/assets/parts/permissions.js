// Permissions of a user or of a vhost: a table, granting and taking away.

import { h } from '../core/view.js';
import { path, put, remove } from '../core/api.js';
import { link } from '../core/router.js';
import { known } from '../core/known.js';
import { button, card } from './bits.js';
import { ask, confirm } from './dialog.js';
import { table } from './table.js';
import { done } from './toast.js';

const code = (label, field) => ({ label, cell: (row) => h('code', {}, row[field] === '' ? '(nothing)' : row[field]) });

const PATTERN_HELP = 'A regular expression over names of exchanges and queues; .* is all of them, nothing is none';

/** One of `user` and `vhost` is given; the other one stands in the first column. */
export function permissionTable({ permissions, user, vhost, users, changed }) {
    const other = user ? 'vhost' : 'user';
    return card(
        'Permissions',
        { actions: button('Set permissions', () => grant({ user, vhost, users, changed }), { kind: 'small' }) },
        table({
            caption: 'Permissions',
            rows: permissions,
            keyOf: (row) => row[other],
            columns: [
                { label: user ? 'Virtual host' : 'User', isHead: true, class: 'clip', cell: (row) => h('a', { href: link([user ? 'vhosts' : 'users', row[other]]) }, row[other]) },
                code('Configure', 'configure'),
                code('Write', 'write'),
                code('Read', 'read'),
                {
                    label: 'Action',
                    cell: (row) =>
                        h(
                            'span',
                            { class: 'row' },
                            button('Change', () => grant({ user: row.user, vhost: row.vhost, row, changed }), { kind: 'small', 'aria-label': `Change the permissions of ${row.user} in ${row.vhost}` }),
                            button('Clear', () => clear(row, changed), { kind: 'small danger', 'aria-label': `Clear the permissions of ${row.user} in ${row.vhost}` }),
                        ),
                },
            ],
            empty: user ? 'This user may not enter any virtual host' : 'Nobody may enter this virtual host',
        }),
    );
}

async function grant({ user, vhost, users, row, changed }) {
    const fields = [
        !vhost && { name: 'vhost', label: 'Virtual host', type: 'select', options: known.vhosts },
        !user && { name: 'user', label: 'User', type: users ? 'select' : 'text', options: users, required: true },
        { name: 'configure', label: 'Configure', type: 'text', value: row?.configure ?? '.*', help: `What may be declared and deleted. ${PATTERN_HELP}` },
        { name: 'write', label: 'Write', type: 'text', value: row?.write ?? '.*', help: 'Where may be published, and what queues may be bound' },
        { name: 'read', label: 'Read', type: 'text', value: row?.read ?? '.*', help: 'What may be consumed, and what exchanges may be bound' },
    ];
    const ok = await ask({
        title: user ? `Permissions of ${user}${vhost ? ` in ${vhost}` : ''}` : `Permissions in ${vhost}`,
        fields: fields.filter(Boolean),
        submit: 'Set',
        onSubmit: (given) => put(path('permissions', vhost ?? given.vhost, user ?? given.user), { configure: given.configure, write: given.write, read: given.read }),
    });
    if (!ok) return;
    done('Permissions are set');
    changed();
}

async function clear(row, changed) {
    if (!(await confirm(`Clear the permissions of ${row.user} in ${row.vhost}?`, 'The user can no longer enter the virtual host.', 'Clear', () => remove(path('permissions', row.vhost, row.user))))) return;
    done('Permissions are cleared');
    changed();
}

export function topicPermissionTable({ permissions, user, vhost, users, changed }) {
    const other = user ? 'vhost' : 'user';
    return card(
        'Topic permissions',
        { actions: button('Set topic permissions', () => grantTopic({ user, vhost, users, changed }), { kind: 'small' }) },
        table({
            caption: 'Topic permissions',
            rows: permissions,
            keyOf: (row) => `${row[other]} ${row.exchange}`,
            columns: [
                { label: user ? 'Virtual host' : 'User', isHead: true, class: 'clip', cell: (row) => row[other] },
                { label: 'Exchange', cell: (row) => row.exchange || '(default exchange)' },
                code('Write', 'write'),
                code('Read', 'read'),
                { label: 'Action', cell: (row) => button('Clear', () => clearTopic(row, changed), { kind: 'small danger', 'aria-label': `Clear the topic permissions of ${row.user} on ${row.exchange}` }) },
            ],
            empty: 'No topic permissions: routing keys are not looked at',
        }),
    );
}

async function grantTopic({ user, vhost, users, changed }) {
    const fields = [
        !vhost && { name: 'vhost', label: 'Virtual host', type: 'select', options: known.vhosts },
        !user && { name: 'user', label: 'User', type: users ? 'select' : 'text', options: users, required: true },
        { name: 'exchange', label: 'Topic exchange', type: 'text', value: 'amq.topic', required: true },
        { name: 'write', label: 'Write', type: 'text', value: '.*', help: 'Routing keys that may be published with' },
        { name: 'read', label: 'Read', type: 'text', value: '.*', help: 'Routing keys that may be bound with' },
    ];
    const ok = await ask({
        title: `Topic permissions ${user ? `of ${user}` : `in ${vhost}`}`,
        fields: fields.filter(Boolean),
        submit: 'Set',
        onSubmit: (given) => put(path('topic-permissions', vhost ?? given.vhost, user ?? given.user), { exchange: given.exchange, write: given.write, read: given.read }),
    });
    if (!ok) return;
    done('Topic permissions are set');
    changed();
}

async function clearTopic(row, changed) {
    if (!(await confirm(`Clear the topic permissions of ${row.user} on ${row.exchange}?`, 'Routing keys are no longer looked at there.', 'Clear', () => remove(path('topic-permissions', row.vhost, row.user, row.exchange))))) return;
    done('Topic permissions are cleared');
    changed();
}
