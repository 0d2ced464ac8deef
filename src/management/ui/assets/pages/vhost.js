// One virtual host: what flows in it, who may enter, its limits.

import { h } from '../core/view.js';
import { get, path, put } from '../core/api.js';
import { go } from '../core/router.js';
import { may } from '../core/session.js';
import { historyOf } from '../core/samples.js';
import { button, card, facts, heading, loading, rangePicker, tag } from '../parts/bits.js';
import { messageRates, queuedMessages } from '../parts/charts.js';
import { limitTable } from '../parts/limits.js';
import { permissionTable, topicPermissionTable } from '../parts/permissions.js';
import { attempt } from '../parts/toast.js';
import { deleteVhost, vhostState } from './vhosts.js';

export function open(page) {
    const { name } = page;
    const where = path('vhosts', name);
    const isAdministrator = may('administrator');
    let vhost = null;
    let rights = null;

    async function load(signal) {
        vhost = await get(where, historyOf('lengths', 'msg_rates'), { signal });
        if (!isAdministrator) return;
        const all = [`${where}/permissions`, `${where}/topic-permissions`, path('vhost-limits', name)].map((one) => get(one, undefined, { signal }));
        const [permissions, topics, limits, users] = await Promise.all([...all, get('users', { columns: 'name' }, { signal })]);
        rights = { permissions, topics, limits, users: users.map((user) => user.name).sort() };
    }

    async function drop() {
        if (await deleteVhost(vhost)) go(['vhosts']);
    }

    const trace = () => attempt('Switch tracing', () => put(where, { ...keep(vhost), tracing: !vhost.tracing }), vhost.tracing ? 'Tracing is off' : 'Tracing is on: copies go to amq.rabbitmq.trace').then(page.reload);

    const actions = () => [rangePicker(page), isAdministrator && button(vhost.tracing ? 'Stop tracing' : 'Trace', trace, { title: 'Publishes a copy of each message that comes and goes to amq.rabbitmq.trace' }), isAdministrator && button('Delete', drop, { kind: 'danger' })];

    const view = () => [
        heading(name, { crumbs: [['Virtual hosts', ['vhosts']]], beside: vhost?.tracing && tag('tracing', 'warn'), actions: vhost && actions() }),
        vhost === null ? loading(page) : h('div', { class: 'stack' }, content()),
    ];

    const content = () => [
        h('div', { class: 'columns' }, h('div', { class: 'card' }, queuedMessages(vhost, `vhost.${name}`)), h('div', { class: 'card' }, messageRates(vhost.message_stats ?? {}, `vhost.${name}`))),
        card('Details', {}, h('div', { class: 'body' }, facts([['State', vhostState(vhost)], vhost.description && ['Description', vhost.description], vhost.default_queue_type && vhost.default_queue_type !== 'undefined' && ['Type of new queues', vhost.default_queue_type], vhost.tags?.length > 0 && ['Tags', vhost.tags.join(', ')]]))),
        rights && [
            permissionTable({ permissions: rights.permissions, vhost: name, users: rights.users, changed: page.reload }),
            topicPermissionTable({ permissions: rights.topics, vhost: name, users: rights.users, changed: page.reload }),
            limitTable({ kind: 'vhost-limits', name, limits: rights.limits, changed: page.reload }),
        ],
    ];

    return { title: name, load, view };
}

/** What a change must say again, since it would be lost. */
const keep = (vhost) => ({ description: vhost.description ?? '', tags: (vhost.tags ?? []).join(',') });
