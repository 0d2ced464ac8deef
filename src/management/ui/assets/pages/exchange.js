// One exchange: what flows through it, its bindings as a drawing and as tables, publishing.

import { h } from '../core/view.js';
import { get, path } from '../core/api.js';
import { go } from '../core/router.js';
import { historyOf } from '../core/samples.js';
import { button, card, facts, heading, loading, rangePicker } from '../parts/bits.js';
import { bindingTable } from '../parts/bindings.js';
import { messageRates } from '../parts/charts.js';
import { graph } from '../parts/graph.js';
import { publish } from '../parts/publish.js';
import { deleteExchanges, features } from './exchanges.js';

/** Exchanges behind this one that the drawing follows at most. */
const FOLLOWED_MAX = 12;
const RATES = [
    ['publish_in', 'In', 1],
    ['publish_out', 'Out', 3],
];

export function open(page) {
    const { vhost } = page;
    const name = page.name === 'amq.default' ? '' : page.name;
    const title = name || '(default exchange)';
    const where = path('exchanges', vhost, page.name);
    let exchange = null;
    let out = null;
    let into = null;
    let further = [];

    const bindingsOf = (of, side, signal) => get(`${path('exchanges', vhost, of || 'amq.default')}/bindings/${side}`, undefined, { signal });

    async function load(signal) {
        [exchange, out, into] = await Promise.all([get(where, historyOf('msg_rates'), { signal }), bindingsOf(name, 'source', signal), bindingsOf(name, 'destination', signal)]);
        further = await follow(out, signal);
    }

    /** The bindings of the exchanges behind this one, breadth first. */
    async function follow(bindings, signal) {
        const seen = new Set([name]);
        const found = [];
        let front = bindings;
        while (seen.size < FOLLOWED_MAX) {
            const next = [...new Set(front.filter((one) => one.destination_type === 'exchange' && !seen.has(one.destination)).map((one) => one.destination))].slice(0, FOLLOWED_MAX - seen.size);
            if (next.length === 0) break;
            for (const one of next) seen.add(one);
            front = (await Promise.all(next.map((one) => bindingsOf(one, 'source', signal)))).flat();
            found.push(...front);
        }
        return found;
    }

    async function drop() {
        if (await deleteExchanges([exchange])) go(['exchanges']);
    }

    const actions = () => [
        rangePicker(page),
        !exchange.internal && button('Publish a message', () => publish({ vhost, exchange: name, title: `Publish to ${title}` }), { kind: 'primary' }),
        name !== '' && !name.startsWith('amq.') && button('Delete', drop, { kind: 'danger' }),
    ];

    const view = () => [
        heading(title, { crumbs: [['Exchanges', ['exchanges']], [`Virtual host ${vhost}`]], beside: exchange && features(exchange), actions: exchange && actions() }),
        exchange === null ? loading(page) : h('div', { class: 'stack' }, content()),
    ];

    const content = () => [
        h('div', { class: 'columns' }, h('div', { class: 'card' }, messageRates(exchange.message_stats ?? {}, `exchange.${vhost}.${name}`, 'Message rates', RATES)), card('Details', {}, h('div', { class: 'body' }, details(exchange)))),
        name === ''
            ? card('Bindings', {}, h('div', { class: 'empty' }, 'Every queue is bound to the default exchange by its own name.'))
            : [
                  card('Bindings, drawn', {}, graph({ vhost, name, title, bindings: [...into, ...out, ...further] })),
                  bindingTable({ title: 'From this exchange', bindings: out, end: 'destination', vhost, name, kind: 'exchange', changed: page.reload }),
                  bindingTable({ title: 'To this exchange', bindings: into, end: 'source', vhost, name, kind: 'exchange', changed: page.reload }),
              ],
    ];

    return { title, load, view };
}

const details = (exchange) =>
    facts([
        ['Type', exchange.type],
        ['Durable', exchange.durable ? 'yes' : 'no'],
        ['Auto-delete', exchange.auto_delete ? 'yes' : 'no'],
        ['Internal', exchange.internal ? 'yes' : 'no'],
        ['Policy', exchange.policy || 'none'],
    ]);
