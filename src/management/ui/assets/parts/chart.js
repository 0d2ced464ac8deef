// Line charts as SVG: lines over time with a scale from zero, a legend that switches lines, a reading under the pointer or the
// arrow keys, a summary for those who do not see it.

import { build, h, render, widget } from '../core/view.js';
import * as format from '../core/format.js';

const HEIGHT = 152;
const LEFT = 46;
const RIGHT = 6;
const TOP = 6;
const BOTTOM = 20;
const GAP_FACTOR = 4;

/** How values of a unit read on the axis and elsewhere. */
const UNITS = {
    rate: { axis: format.short, text: format.rate },
    count: { axis: format.short, text: format.count },
    bytes: { axis: format.bytes, text: format.bytes, isBinary: true },
    bytesRate: { axis: format.bytes, text: format.bytesRate, isBinary: true },
};

/**
 * A chart: `{ title, unit, seconds, series: [{ name, color: 1..6, points: [{ t, v }], now? }], limit?: { name, value } }`.
 * Points are in the order of their time, `now` is the value for the legend.
 */
export const chart = (properties, key) => widget(makeChart, properties, key ?? properties.title);

function makeChart(first) {
    const state = { properties: first, width: 400, at: null, hidden: new Set() };
    const node = build(h('figure', { class: 'chart' }));
    const draw = () => render(node, ...view(state, act));
    const act = {
        toggle(name) {
            if (!state.hidden.delete(name)) state.hidden.add(name);
            draw();
        },
        move(event) {
            const box = event.currentTarget.getBoundingClientRect();
            state.at = (event.clientX - box.left - LEFT) / (state.width - LEFT - RIGHT);
            draw();
        },
        leave() {
            state.at = null;
            draw();
        },
        key(event) {
            const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
            if (!step) return;
            event.preventDefault();
            state.at = Math.min(1, Math.max(0, (state.at ?? 1) + step));
            draw();
        },
    };
    const observer = new ResizeObserver(([entry]) => {
        const style = getComputedStyle(node);
        const width = Math.round(entry.contentRect.width) || Math.round(node.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
        if (width > 0 && width !== state.width) {
            state.width = width;
            draw();
        }
    });
    observer.observe(node);
    draw();
    return {
        node,
        update(properties) {
            state.properties = properties;
            draw();
        },
        close: () => observer.disconnect(),
    };
}

function view(state, act) {
    const { title, series, unit } = state.properties;
    const shown = series.filter((line) => !state.hidden.has(line.name));
    const frame = scale(state, shown);
    const text = UNITS[unit].text;
    const summary = `${title}: ${series.map((line) => `${line.name} ${text(current(line))}`).join(', ')}`;
    return [
        h('figcaption', {}, h('h2', {}, title), h('div', { class: 'legend' }, series.map((line) => legendItem(line, state, act, text)))),
        h(
            'svg',
            { role: 'img', tabindex: 0, 'aria-label': summary, viewBox: `0 0 ${state.width} ${HEIGHT}`, preserveAspectRatio: 'none', on: { pointermove: act.move, pointerdown: act.move, pointerleave: act.leave, blur: act.leave, keydown: act.key } },
            axes(frame, state),
            limitLine(frame, state),
            // The first line lies on top.
            [...shown].reverse().map((line) => lineOf(line, frame, line === shown[0])),
            cross(frame, shown, state),
        ),
        reading(frame, shown, state, text),
    ];
}

const current = (line) => (line.now !== undefined ? line.now : line.points.at(-1)?.v);

function legendItem(line, state, act, text) {
    return h(
        'button',
        { type: 'button', key: line.name, 'aria-pressed': String(!state.hidden.has(line.name)), 'aria-label': `${line.name}: ${text(current(line))}`, on: { click: () => act.toggle(line.name) } },
        h('span', { class: ['swatch', `c${line.color}`] }),
        line.name,
        h('b', {}, text(current(line))),
    );
}

/** From times and values to places. The right edge is the newest point of all. */
function scale(state, shown) {
    const { properties, width } = state;
    const newest = Math.max(...properties.series.map((line) => line.points.at(-1)?.t ?? 0));
    const to = newest > 0 ? newest : Date.now();
    const from = to - properties.seconds * 1000;
    const visible = shown.flatMap((line) => line.points.filter((point) => point.t >= from).map((point) => point.v));
    const limit = properties.limit?.value;
    const most = Math.max(0, ...visible);
    // A limit far above what is used would press the line flat.
    const withLimit = limit && limit < most * 3 ? Math.max(most, limit) : most;
    const ticks = niceTicks(withLimit, UNITS[properties.unit].isBinary);
    const top = ticks.at(-1);
    const inner = { width: width - LEFT - RIGHT, height: HEIGHT - TOP - BOTTOM };
    return { from, to, ticks, top, x: (t) => LEFT + ((t - from) / (to - from)) * inner.width, y: (v) => TOP + inner.height * (1 - v / top), width };
}

/** Three or four round values from zero to at least `most`. */
export function niceTicks(most, isBinary = false) {
    const least = isBinary ? 1024 : 1;
    if (most === 0) return [0, least];
    const wanted = (isBinary ? Math.max(most, least) : most) / 3;
    const base = isBinary ? 2 : 10;
    const power = base ** Math.floor(Math.log(wanted) / Math.log(base) + 1e-9);
    const step = (isBinary ? [1, 2] : [1, 2, 2.5, 5, 10]).map((factor) => factor * power).find((value) => value >= wanted - 1e-9 && (isBinary || power >= 10 || Number.isInteger(value) || most < 1));
    const ticks = [0];
    while (ticks.at(-1) < most || ticks.length < 2) ticks.push(ticks.length * step);
    return ticks;
}

function axes(frame, state) {
    const unit = UNITS[state.properties.unit];
    const horizontal = frame.ticks.map((value) => {
        const y = Math.round(frame.y(value));
        return [h('line', { class: 'grid', x1: LEFT, x2: frame.width - RIGHT, y1: y, y2: y }), h('text', { class: 'axis', x: LEFT - 6, y: y + 3.5, 'text-anchor': 'end' }, unit.axis(value))];
    });
    const parts = frame.width < 420 ? 2 : 4;
    const times = Array.from({ length: parts + 1 }, (_, at) => frame.from + ((frame.to - frame.from) * at) / parts);
    const anchor = (at) => (at === 0 ? 'start' : at === parts ? 'end' : 'middle');
    return [horizontal, times.map((t, at) => h('text', { class: 'axis', x: frame.x(t), y: HEIGHT - 4, 'text-anchor': anchor(at) }, format.clock(t, state.properties.seconds <= 600)))];
}

function limitLine(frame, state) {
    const { limit } = state.properties;
    if (!limit?.value || limit.value > frame.top) return null;
    const y = frame.y(limit.value);
    return [h('line', { class: 'limit', x1: LEFT, x2: frame.width - RIGHT, y1: y, y2: y }), h('text', { class: 'axis', x: frame.width - RIGHT, y: y - 4, 'text-anchor': 'end' }, limit.name)];
}

function lineOf(line, frame, isFilled) {
    const points = withEdge(line.points, frame.from);
    if (points.length === 0) return null;
    const runs = runsOf(points);
    const place = (point) => `${frame.x(point.t).toFixed(1)},${frame.y(point.v).toFixed(1)}`;
    const path = runs.map((run) => (run.length === 1 ? `M${place(run[0])}h0.01` : `M${run.map(place).join('L')}`)).join('');
    const area = runs.map((run) => `M${frame.x(run[0].t).toFixed(1)},${frame.y(0)}L${run.map(place).join('L')}L${frame.x(run.at(-1).t).toFixed(1)},${frame.y(0)}Z`).join('');
    return h('g', { class: `c${line.color}`, key: line.name }, isFilled && h('path', { class: 'area', d: area }), h('path', { d: path }));
}

/** The points of the range, and one at its left edge where the line comes in. */
function withEdge(points, from) {
    const first = points.findIndex((point) => point.t >= from);
    if (first < 0) return [];
    if (first === 0) return points;
    const [a, b] = [points[first - 1], points[first]];
    const v = a.v + ((b.v - a.v) * (from - a.t)) / (b.t - a.t);
    return [{ t: from, v }, ...points.slice(first)];
}

/** Where nothing was seen for long, the line is broken. */
function runsOf(points) {
    const steps = points.slice(1).map((point, at) => point.t - points[at].t).sort((a, b) => a - b);
    const usual = steps[Math.floor(steps.length / 2)] ?? 0;
    const runs = [[points[0]]];
    for (let at = 1; at < points.length; at += 1) {
        if (points[at].t - points[at - 1].t > Math.max(usual * GAP_FACTOR, 15000)) runs.push([]);
        runs.at(-1).push(points[at]);
    }
    return runs;
}

/** The time of the reading, and the nearest point of each line to it. */
function readAt(frame, shown, state) {
    if (state.at === null || state.at < -0.02 || state.at > 1.02) return null;
    const t = frame.from + Math.min(1, Math.max(0, state.at)) * (frame.to - frame.from);
    const near = (line) => line.points.reduce((best, point) => (point.t >= frame.from && (!best || Math.abs(point.t - t) < Math.abs(best.t - t)) ? point : best), null);
    const values = shown.map((line) => ({ line, point: near(line) })).filter(({ point }) => point);
    return values.length ? { t: values[0].point.t, values } : null;
}

function cross(frame, shown, state) {
    const read = readAt(frame, shown, state);
    if (!read) return null;
    const x = frame.x(read.t);
    return [h('line', { class: 'cross', x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }), read.values.map(({ line, point }) => h('g', { class: `c${line.color}` }, h('circle', { cx: frame.x(point.t), cy: frame.y(point.v), r: 3.5 })))];
}

function reading(frame, shown, state, text) {
    const read = readAt(frame, shown, state);
    if (!read) return h('div', { class: 'tip', hidden: true, key: 'tip' });
    const place = (node) => {
        const x = frame.x(read.t);
        node.style.transform = x > frame.width / 2 ? `translate(calc(${x}px - 100%), 2.5rem)` : `translate(${x + 24}px, 2.5rem)`;
    };
    return h(
        'div',
        { class: 'tip', role: 'status', key: `tip-${read.t}`, ref: place },
        h('div', { class: 'muted' }, format.clock(read.t)),
        h('table', { role: 'presentation' }, read.values.map(({ line, point }) => h('tr', {}, h('td', {}, h('span', { class: ['swatch', `c${line.color}`] })), h('td', {}, line.name), h('td', { class: 'number' }, text(point.v))))),
    );
}
