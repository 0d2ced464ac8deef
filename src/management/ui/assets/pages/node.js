// One node: what it uses and how much it may.

import { h } from '../core/view.js';
import { get, path } from '../core/api.js';
import { settings } from '../core/settings.js';
import { either, historyOf, levelPoints, record } from '../core/samples.js';
import { bytes, count, duration } from '../core/format.js';
import { card, facts, heading, loading, meter, rangePicker, state } from '../parts/bits.js';
import { chart } from '../parts/chart.js';
import { rateLine } from '../parts/charts.js';
import { table } from '../parts/table.js';

export function open(page) {
    const { name } = page;
    let node = null;

    async function load(signal) {
        node = await get(path('nodes', name), { ...historyOf('node_stats'), memory: true }, { signal });
    }

    const level = (field, title, unit, limit) => chart({ title, unit, seconds: settings.rangeSeconds, limit, series: [{ name: title, color: 1, points: either(levelPoints(node[`${field}_details`]), record(`node.${name}.${field}`, node[field])), now: node[field] }] });

    const view = () => [
        heading(name, { crumbs: [['Cluster', ['cluster']]], beside: node && (node.running === false ? state('down', 'bad') : state('up', 'good')), actions: rangePicker(page) }),
        node === null ? loading(page) : h('div', { class: 'stack' }, content()),
    ];

    const content = () => [
        (node.mem_alarm || node.disk_free_alarm) && h('div', { class: 'notice bad', role: 'alert' }, `Short of ${node.mem_alarm ? 'memory' : 'disk space'}: publishers wait.`),
        h(
            'div',
            { class: 'columns' },
            [
                level('mem_used', 'Memory', 'bytes', { name: 'high watermark', value: node.mem_limit }),
                level('disk_free', 'Free disk space', 'bytes', { name: 'limit', value: node.disk_free_limit }),
                chart({ title: 'Disk traffic', unit: 'bytesRate', seconds: settings.rangeSeconds, series: [rateLine(node, 'io_read_bytes', 'Read', 3, `node.${name}`), rateLine(node, 'io_write_bytes', 'Written', 1, `node.${name}`)] }),
                level('fd_used', 'File descriptors', 'count', { name: 'limit', value: node.fd_total }),
            ].map((one) => h('div', { class: 'card', key: one.key }, one)),
        ),
        h('div', { class: 'columns' }, card('Details', {}, h('div', { class: 'body' }, details())), memory()),
    ];

    const ofLimit = (field, limit, format) => [format(node[field]), node[limit] ? ` of ${format(node[limit])}` : '', meter(node[field], node[limit])];

    const details = () =>
        facts([
            ['Up for', duration(node.uptime)],
            ['Memory', ...ofLimit('mem_used', 'mem_limit', bytes)],
            ['Free disk', `${bytes(node.disk_free)}, at least ${bytes(node.disk_free_limit)}`],
            ['File descriptors', ...ofLimit('fd_used', 'fd_total', count)],
            node.processors && ['Processors', count(node.processors)],
            node.rates_mode && ['Rates', node.rates_mode],
            node.os_pid && ['Process', node.os_pid],
            node.db_dir && ['Data', h('code', {}, node.db_dir)],
            node.log_files?.length > 0 && ['Logs', h('code', {}, node.log_files.join(' '))],
            node.config_files?.length > 0 && ['Configuration', h('code', {}, node.config_files.join(' '))],
        ]);

    function memory() {
        const parts = Object.entries(node.memory ?? {}).filter(([, size]) => typeof size === 'number' && size > 0);
        if (parts.length === 0) return null;
        const rows = parts.map(([part, size]) => ({ part: part.replaceAll('_', ' '), size })).sort((a, b) => b.size - a.size);
        return card('Memory by use', {}, table({ caption: 'Memory by use', rows, keyOf: (row) => row.part, columns: [{ label: 'Use', isHead: true, cell: (row) => row.part }, { label: 'Size', number: true, cell: (row) => [bytes(row.size), meter(row.size, rows[0].size)] }] }));
    }

    return { title: name, load, view };
}
