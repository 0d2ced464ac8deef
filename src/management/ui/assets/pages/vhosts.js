// All virtual hosts.

import { h } from '../core/view.js';
import { get, path, put, remove } from '../core/api.js';
import { go, link } from '../core/router.js';
import { may } from '../core/session.js';
import { count, plural, rate } from '../core/format.js';
import { button, heading, state, tag } from '../parts/bits.js';
import { ask } from '../parts/dialog.js';
import { figure } from '../parts/table.js';
import { done } from '../parts/toast.js';
import { wholeList } from '../parts/whole_list.js';
import { forgetVhosts } from '../core/known.js';

const number = (label, field, rank) => ({ label, sort: field, number: true, rank, cell: (vhost) => figure(vhost[field] ?? 0, count) });
const perSecond = (label, field) => ({ label, sort: `message_stats.${field}_details.rate`, number: true, rank: 'less', cell: (vhost) => figure(vhost.message_stats?.[`${field}_details`]?.rate ?? 0, rate) });

export function open(page) {
    let vhosts = null;

    const list = wholeList({
        page,
        caption: 'Virtual hosts',
        unit: ['virtual host', 'virtual hosts'],
        sort: 'name',
        keyOf: (vhost) => vhost.name,
        columns: [
            { label: 'Name', sort: 'name', isHead: true, class: 'clip', cell: (vhost) => [h('a', { href: link(['vhosts', vhost.name]) }, vhost.name), vhost.description && h('div', { class: 'hint' }, vhost.description)] },
            { label: 'State', cell: vhostState },
            { label: 'Tags', rank: 'less', cell: (vhost) => h('span', { class: 'tags' }, (vhost.tags ?? []).map((one) => tag(one)), vhost.tracing && tag('tracing', 'warn')) },
            number('Ready', 'messages_ready'),
            number('Unacked', 'messages_unacknowledged'),
            number('Total', 'messages', 'least'),
            perSecond('Publish', 'publish'),
            perSecond('Deliver / get', 'deliver_get'),
        ],
    });

    async function add() {
        const name = await addVhost();
        if (name) go(['vhosts', name]);
    }

    return {
        title: 'Virtual hosts',
        async load(signal) {
            vhosts = await get('vhosts', undefined, { signal });
        },
        view: () => [heading('Virtual hosts', { actions: may('administrator') && button('Add a virtual host', add, { kind: 'primary' }) }), list.view(vhosts)],
    };
}

export function vhostState(vhost) {
    const down = Object.entries(vhost.cluster_state ?? {}).filter(([, name]) => name !== 'running');
    return down.length === 0 ? state('running', 'good') : state(`not on ${down.map(([node]) => node).join(', ')}`, 'bad');
}

const addVhost = () =>
    ask({
        title: 'Add a virtual host',
        text: 'A virtual host has exchanges, queues and permissions of its own.',
        submit: 'Add',
        fields: [
            { name: 'name', label: 'Name', type: 'text', required: true },
            { name: 'description', label: 'Description', type: 'text' },
            { name: 'tags', label: 'Tags', type: 'text', help: 'Names with commas between' },
            { name: 'type', label: 'Type of queues that are declared without one', type: 'select', options: [['', 'As the broker says'], ['classic', 'Classic'], ['quorum', 'Quorum']] },
        ],
        async onSubmit(given) {
            await put(path('vhosts', given.name), { description: given.description, tags: given.tags, ...(given.type ? { default_queue_type: given.type } : {}) });
            forgetVhosts();
            done(`Virtual host ${given.name} is added`);
            return given.name;
        },
    });

export const deleteVhost = (vhost) =>
    ask({
        title: `Delete virtual host ${vhost.name}?`,
        text: h('p', {}, `All its queues with ${plural(vhost.messages ?? 0, 'message')}, exchanges, bindings, policies and permissions go with it, and all connections to it are closed.`),
        fields: [{ name: 'name', label: 'To be sure, write its name', type: 'text', check: (text) => (text === vhost.name ? '' : 'This is another name') }],
        submit: 'Delete',
        isDanger: true,
        async onSubmit() {
            await remove(path('vhosts', vhost.name));
            forgetVhosts();
            done(`Virtual host ${vhost.name} is deleted`);
        },
    });
