// The overview: what flows, what waits, how the nodes are.

import { h } from '../core/view.js';
import { get } from '../core/api.js';
import { link } from '../core/router.js';
import { known } from '../core/known.js';
import { may } from '../core/session.js';
import { settings } from '../core/settings.js';
import { historyOf, levelPoints, either, record } from '../core/samples.js';
import { bytes, count, duration, rate, short } from '../core/format.js';
import { card, heading, loading, meter, rangePicker, state, tag, tiles } from '../parts/bits.js';
import { chart } from '../parts/chart.js';
import { messageRates, queuedMessages, rateLine } from '../parts/charts.js';
import { table } from '../parts/table.js';

export function open(page) {
    let overview = null;
    let nodes = null;

    async function load(signal) {
        const wanted = [get('overview', historyOf('lengths', 'msg_rates'), { signal })];
        if (may('monitoring')) wanted.push(get('nodes', historyOf('node_stats'), { signal }));
        [overview, nodes] = await Promise.all(wanted);
        known.overview = overview;
    }

    function view() {
        return [
            heading('Overview', { actions: rangePicker(page) }),
            overview === null
                ? loading(page)
                : h(
                      'div',
                      { class: 'stack' },
                      nodes && alarms(nodes),
                      figures(overview),
                      chartCards(overview, nodes),
                      nodes && nodeTable(nodes),
                      listeners(overview),
                  ),
        ];
    }

    return { title: 'Overview', wantsOverview: true, load, view };
}

function chartCards(overview, nodes) {
    const charts = [messageRates(overview.message_stats, 'overview'), queuedMessages(overview.queue_totals, 'overview'), objects(overview)];
    if (nodes) charts.push(memory(nodes), disk(nodes));
    charts.push(churn(overview));
    return h('div', { class: 'columns' }, charts.map((one) => h('div', { class: 'card', key: one.key }, one)));
}

function figures({ queue_totals: totals = {}, message_stats: stats = {}, object_totals: objects = {} }) {
    const rateOf = (field) => rate(stats[`${field}_details`]?.rate ?? 0);
    return tiles([
        { name: 'Ready', text: short(totals.messages_ready ?? 0), color: 2 },
        { name: 'Unacked', text: short(totals.messages_unacknowledged ?? 0), color: 3 },
        { name: 'Publish', text: rateOf('publish') },
        { name: 'Deliver', text: rateOf('deliver_get') },
        { name: 'Connections', text: short(objects.connections), href: link(['connections']) },
        { name: 'Channels', text: short(objects.channels), href: link(['channels']) },
        { name: 'Queues', text: short(objects.queues), href: link(['queues']) },
        { name: 'Consumers', text: short(objects.consumers) },
    ]);
}

function alarms(nodes) {
    const told = nodes.flatMap((node) => [
        node.running === false && `${node.name} is down.`,
        node.mem_alarm && `${node.name} is short of memory: publishers wait.`,
        node.disk_free_alarm && `${node.name} is short of disk space: publishers wait.`,
        node.partitions?.length > 0 && `${node.name} does not reach ${node.partitions.join(', ')}.`,
    ]);
    const texts = told.filter(Boolean);
    return texts.length > 0 && h('div', { class: 'notice bad', role: 'alert' }, h('ul', {}, texts.map((text) => h('li', {}, text))));
}

function objects({ object_totals: totals = {} }) {
    const line = (field, name, color) => ({ name, color, points: [...record(`overview.${field}`, totals[field])], now: totals[field] });
    return chart({ title: 'Connections', unit: 'count', seconds: settings.rangeSeconds, series: [line('connections', 'Connections', 1), line('channels', 'Channels', 3), line('consumers', 'Consumers', 2)] });
}

const CHURN = [
    ['connection_created', 'Connections', 1],
    ['channel_created', 'Channels', 3],
    ['queue_declared', 'Queues', 4],
];

function churn({ churn_rates: rates = {} }) {
    return chart({ title: 'Newly opened or declared', unit: 'rate', seconds: settings.rangeSeconds, series: CHURN.map(([field, name, color]) => rateLine(rates, field, name, color, 'overview.churn')) });
}

/** One line for each node, for as many as there are colours. */
const nodeLines = (nodes, field) => nodes.slice(0, 6).map((node, at) => ({ name: node.name, color: at + 1, points: either(levelPoints(node[`${field}_details`]), record(`overview.${field}.${node.name}`, node[field])), now: node[field] }));

function memory(nodes) {
    return chart({ title: 'Memory', unit: 'bytes', seconds: settings.rangeSeconds, series: nodeLines(nodes, 'mem_used'), limit: { name: 'high watermark', value: nodes[0]?.mem_limit } });
}

function disk(nodes) {
    return chart({ title: 'Free disk space', unit: 'bytes', seconds: settings.rangeSeconds, series: nodeLines(nodes, 'disk_free'), limit: { name: 'limit', value: nodes[0]?.disk_free_limit } });
}

function nodeTable(nodes) {
    const ofLimit = (field, limit, format) => (node) => [format(node[field]), h('small', { class: 'muted' }, node[limit] ? ` of ${format(node[limit])}` : ''), meter(node[field], node[limit], node[field] > 0.9 * node[limit])];
    return card(
        'Nodes',
        {},
        table({
            caption: 'Nodes',
            rows: nodes,
            keyOf: (node) => node.name,
            columns: [
                { label: 'Name', isHead: true, cell: (node) => h('a', { href: link(['cluster', node.name]) }, node.name) },
                { label: 'State', cell: nodeState },
                { label: 'Up for', cell: (node) => duration(node.uptime), class: 'nowrap' },
                { label: 'Memory', cell: ofLimit('mem_used', 'mem_limit', bytes) },
                { label: 'Free disk', cell: (node) => [bytes(node.disk_free), h('small', { class: 'muted' }, node.disk_free_limit ? `, at least ${bytes(node.disk_free_limit)}` : '')] },
                { label: 'File descriptors', cell: ofLimit('fd_used', 'fd_total', count), rank: 'less' },
                { label: 'Sockets', cell: ofLimit('sockets_used', 'sockets_total', count), rank: 'least' },
            ],
        }),
    );
}

function nodeState(node) {
    if (node.running === false) return state('down', 'bad');
    return h('span', { class: 'tags' }, state(node.being_drained ? 'draining' : 'up', node.being_drained ? 'warn' : 'good'), node.mem_alarm && tag('memory alarm', 'bad'), node.disk_free_alarm && tag('disk alarm', 'bad'));
}

function listeners({ listeners: list = [], product_name: product, product_version: version, rabbitmq_version: compatible }) {
    const sorted = [...list].sort((a, b) => a.port - b.port);
    return card(
        'Listeners',
        { beside: h('span', { class: 'muted' }, [product, version ?? compatible].filter(Boolean).join(' ')) },
        table({
            caption: 'Listeners',
            rows: sorted,
            keyOf: (one) => `${one.node} ${one.protocol} ${one.ip_address} ${one.port}`,
            columns: [
                { label: 'Protocol', isHead: true, cell: (one) => one.protocol },
                { label: 'Address', cell: (one) => one.ip_address, class: 'mono' },
                { label: 'Port', number: true, cell: (one) => one.port },
                { label: 'Node', cell: (one) => one.node },
            ],
            empty: 'No listeners',
        }),
    );
}
