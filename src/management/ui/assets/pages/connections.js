// All connections of clients.

import { h } from '../core/view.js';
import { path } from '../core/api.js';
import { link } from '../core/router.js';
import { settings } from '../core/settings.js';
import { bytesRate, count } from '../core/format.js';
import { button, heading, state, tag } from '../parts/bits.js';
import { closeConnections } from '../parts/close.js';
import { pagedList } from '../parts/list.js';
import { figure } from '../parts/table.js';

export function connectionState(connection) {
    const name = connection.state ?? 'starting';
    return state(name, name === 'running' ? 'good' : /block|flow/.test(name) ? 'warn' : '');
}

/** What the client calls itself, beside its address. */
export const clientName = (connection) => connection.user_provided_name ?? connection.client_properties?.connection_name;

const product = ({ client_properties: client = {} }) => [client.product, client.version].filter((text) => typeof text === 'string').join(' ');

const COLUMNS = [
    { label: 'Virtual host', sort: 'vhost', rank: 'least', cell: (connection) => connection.vhost },
    {
        label: 'Name',
        sort: 'name',
        isHead: true,
        class: 'clip',
        cell: (connection) => [h('a', { href: link(['connections', connection.name]) }, connection.name), clientName(connection) && h('div', { class: 'hint' }, clientName(connection))],
    },
    { label: 'User', sort: 'user', cell: (connection) => connection.user },
    { label: 'State', sort: 'state', cell: connectionState },
    { label: 'TLS', sort: 'ssl', rank: 'least', cell: (connection) => (connection.ssl ? tag('TLS', 'good') : 'no') },
    { label: 'Client', rank: 'less', cell: product },
    { label: 'Channels', sort: 'channels', number: true, cell: (connection) => count(connection.channels ?? 0) },
    { label: 'From client', sort: 'recv_oct_details.rate', number: true, rank: 'less', cell: (connection) => figure(connection.recv_oct_details?.rate ?? 0, bytesRate) },
    { label: 'To client', sort: 'send_oct_details.rate', number: true, rank: 'less', cell: (connection) => figure(connection.send_oct_details?.rate ?? 0, bytesRate) },
    { label: 'Node', sort: 'node', rank: 'least', cell: (connection) => connection.node },
];

export function open(page) {
    const list = pagedList({
        page,
        where: () => (settings.vhost ? `${path('vhosts', settings.vhost)}/connections` : 'connections'),
        columns: COLUMNS,
        keyOf: (connection) => connection.name,
        caption: 'Connections',
        unit: ['connection', 'connections'],
        sort: 'name',
        picking: { label: (connection) => connection.name, actions: (chosen, clear) => button('Close', () => close(chosen, clear), { kind: 'small danger' }) },
    });

    async function close(chosen, clear) {
        if (!(await closeConnections(chosen))) return;
        clear();
        page.reload();
    }

    return { title: 'Connections', load: list.load, view: () => [heading('Connections'), list.view()] };
}
