// Bindings as a drawing: exchanges and queues in columns, an edge for all bindings between two of them.

import { h } from '../core/view.js';
import { link } from '../core/router.js';

const WIDTH = 168;
const HEIGHT = 30;
const GAP_X = 190;
const GAP_Y = 14;
const MARGIN = 12;
const MOST = 40;

const idOf = (kind, name) => `${kind} ${name}`;

/**
 * Columns of things and the edges between them, seen from one exchange: what it takes from to its left, where its messages go to
 * its right, as far as `bindings` tell.
 */
export function layOut(name, bindings) {
    const columnOf = new Map([[idOf('exchange', name), 0]]);
    const things = new Map([[idOf('exchange', name), { kind: 'exchange', name }]]);
    const put = (kind, thing, column) => {
        const id = idOf(kind, thing);
        if (columnOf.has(id)) return false;
        columnOf.set(id, column);
        things.set(id, { kind, name: thing });
        return true;
    };
    let front = [name];
    for (let column = 1; front.length > 0 && column < 5; column += 1) {
        const next = [];
        for (const binding of bindings.filter((one) => front.includes(one.source))) {
            if (put(binding.destination_type, binding.destination, column) && binding.destination_type === 'exchange') next.push(binding.destination);
        }
        front = next;
    }
    for (const binding of bindings) if (binding.destination_type === 'exchange' && binding.destination === name) put('exchange', binding.source, -1);
    return { columns: columnsOf(columnOf, things), edges: edgesOf(columnOf, bindings) };
}

function columnsOf(columnOf, things) {
    const columns = new Map();
    for (const [id, column] of columnOf) {
        if (!columns.has(column)) columns.set(column, []);
        columns.get(column).push({ id, ...things.get(id) });
    }
    const sorted = [...columns].sort(([a], [b]) => a - b).map(([, list]) => list.sort((a, b) => a.kind.localeCompare(b.kind) || a.name.localeCompare(b.name)));
    return sorted.map((list) => ({ shown: list.slice(0, MOST), hidden: Math.max(0, list.length - MOST) }));
}

function edgesOf(columnOf, bindings) {
    const edges = new Map();
    for (const binding of bindings) {
        const [from, to] = [idOf('exchange', binding.source), idOf(binding.destination_type, binding.destination)];
        if (!columnOf.has(from) || !columnOf.has(to)) continue;
        const key = `${from}>${to}`;
        if (!edges.has(key)) edges.set(key, { from, to, keys: [] });
        edges.get(key).keys.push(labelOf(binding));
    }
    return [...edges.values()];
}

function labelOf({ routing_key: key, arguments: given = {} }) {
    const words = Object.entries(given).map(([name, value]) => `${name}=${value}`);
    return words.length > 0 ? words.join(' ') : key;
}

const cut = (text, most) => (text.length <= most ? text : `${text.slice(0, Math.ceil(most / 2) - 1)}…${text.slice(-Math.floor(most / 2))}`);

export function graph({ vhost, name, title, bindings }) {
    const { columns, edges } = layOut(name, bindings);
    const tallest = Math.max(...columns.map((column) => column.shown.length + (column.hidden ? 1 : 0)));
    const height = tallest * (HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN;
    const width = columns.length * WIDTH + (columns.length - 1) * GAP_X + 2 * MARGIN;
    const places = new Map();
    const nodes = columns.map((column, at) => {
        const x = MARGIN + at * (WIDTH + GAP_X);
        const many = column.shown.length + (column.hidden ? 1 : 0);
        const top = (height - (many * (HEIGHT + GAP_Y) - GAP_Y)) / 2;
        return [
            column.shown.map((thing, row) => {
                const y = top + row * (HEIGHT + GAP_Y);
                places.set(thing.id, { x, y: y + HEIGHT / 2 });
                return node(thing, x, y, vhost, thing.kind === 'exchange' && thing.name === name, title);
            }),
            column.hidden > 0 && h('text', { class: 'sub', x: x + 8, y: top + (many - 1) * (HEIGHT + GAP_Y) + 18 }, `and ${column.hidden} more, see the tables`),
        ];
    });
    const drawn = edges.filter((edge) => places.has(edge.from) && places.has(edge.to));
    return h(
        'div',
        { class: 'graph', role: 'region', 'aria-label': 'Drawing of the bindings; the tables say the same', tabindex: 0 },
        h('svg', { width, height, viewBox: `0 0 ${width} ${height}`, role: 'group', 'aria-label': `Bindings around ${title}` }, drawn.map((edge) => curve(places.get(edge.from), places.get(edge.to))), nodes, drawn.map((edge) => label(edge, places.get(edge.from), places.get(edge.to)))),
    );
}

function node(thing, x, y, vhost, isHere, title) {
    const isExchange = thing.kind === 'exchange';
    const shown = isExchange && thing.name === '' ? '(default exchange)' : isHere ? title : thing.name;
    return h(
        'a',
        { href: link([isExchange ? 'exchanges' : 'queues', vhost, thing.name || 'amq.default']), 'aria-label': `${thing.kind} ${shown}`, class: ['node', thing.kind, isHere && 'here'], key: thing.id },
        h('title', {}, `${thing.kind} ${shown}`),
        h('rect', { x, y, width: WIDTH, height: HEIGHT, rx: isExchange ? HEIGHT / 2 : 5 }),
        h('text', { x: x + WIDTH / 2, y: y + HEIGHT / 2 + 4, 'text-anchor': 'middle' }, cut(shown, 22)),
    );
}

function curve(from, to) {
    const [x1, x2] = [from.x + WIDTH, to.x - 6];
    // Back to a column in front, or to itself: around the outside.
    const bend = x2 > x1 ? (x2 - x1) / 2 : 60;
    return [h('path', { class: 'edge', d: `M${x1},${from.y}C${x1 + bend},${from.y} ${x2 - bend},${to.y} ${x2},${to.y}` }), h('path', { class: 'tip-end', d: `M${x2 + 6},${to.y}l-8,-4v8z` })];
}

function label({ keys }, from, to) {
    const text = keys[0] === '' && keys.length === 1 ? '' : `${cut(keys[0] || '(no key)', keys.length > 1 ? 18 : 24)}${keys.length > 1 ? ` +${keys.length - 1}` : ''}`;
    return text !== '' && h('text', { class: 'key', x: to.x - 14, y: to.y - 5, 'text-anchor': 'end' }, text, h('title', {}, keys.join('\n')));
}
