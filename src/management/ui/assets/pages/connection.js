// One connection: its client, its traffic, its channels.

import { h } from '../core/view.js';
import { get, path } from '../core/api.js';
import { go } from '../core/router.js';
import { settings } from '../core/settings.js';
import { historyOf } from '../core/samples.js';
import { bytes, count, date, value } from '../core/format.js';
import { button, card, facts, heading, loading, rangePicker, tag } from '../parts/bits.js';
import { chart } from '../parts/chart.js';
import { channelTable } from '../parts/channel_table.js';
import { rateLine } from '../parts/charts.js';
import { closeConnections } from '../parts/close.js';
import { clientName, connectionState } from './connections.js';

export function open(page) {
    const { name } = page;
    let connection = null;
    let channels = [];

    async function load(signal) {
        [connection, channels] = await Promise.all([get(path('connections', name), historyOf('data_rates'), { signal }), get(`${path('connections', name)}/channels`, undefined, { signal })]);
    }

    async function close() {
        if (await closeConnections([connection])) go(['connections']);
    }

    const view = () => [
        heading(name, { crumbs: [['Connections', ['connections']], connection && [`Virtual host ${connection.vhost}`]].filter(Boolean), beside: connection && connectionState(connection), actions: connection && [rangePicker(page), button('Close', close, { kind: 'danger' })] }),
        connection === null
            ? loading(page)
            : h(
                  'div',
                  { class: 'stack' },
                  h('div', { class: 'columns' }, h('div', { class: 'card' }, traffic(connection)), card('Details', {}, h('div', { class: 'body' }, details(connection)))),
                  card(`Channels (${count(channels.length)})`, { id: 'channels' }, channelTable(channels)),
                  card('What the client says of itself', {}, h('div', { class: 'body' }, clientFacts(connection))),
              ),
    ];

    return { title: name, load, view };
}

function traffic(connection) {
    const key = `connection.${connection.name}`;
    return chart({ title: 'Traffic', unit: 'bytesRate', seconds: settings.rangeSeconds, series: [rateLine(connection, 'recv_oct', 'From client', 1, key), rateLine(connection, 'send_oct', 'To client', 3, key)] });
}

const details = (connection) =>
    facts([
        clientName(connection) && ['Client’s name', clientName(connection)],
        ['User', connection.user],
        ['Node', connection.node],
        ['Protocol', connection.protocol],
        ['Connected at', date(connection.connected_at)],
        ['TLS', connection.ssl ? tag([connection.ssl_protocol, connection.ssl_cipher].filter(Boolean).join(' ') || 'yes', 'good') : 'no'],
        connection.peer_cert_subject && ['Certificate', connection.peer_cert_subject],
        ['Login by', connection.auth_mechanism],
        ['Heartbeat', connection.timeout ? `${connection.timeout} s` : 'none'],
        ['Largest frame', bytes(connection.frame_max)],
        ['Channels at most', connection.channel_max ? count(connection.channel_max) : 'no limit'],
        ['Received', bytes(connection.recv_oct)],
        ['Sent', bytes(connection.send_oct)],
    ]);

const clientFacts = ({ client_properties: client = {} }) => facts(Object.entries(client).map(([name, given]) => [name, value(given)]));
