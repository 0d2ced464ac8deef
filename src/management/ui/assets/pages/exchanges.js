// All exchanges.

import { h } from '../core/view.js';
import { path, put, remove } from '../core/api.js';
import { go, link } from '../core/router.js';
import { known } from '../core/known.js';
import { settings } from '../core/settings.js';
import { rate } from '../core/format.js';
import { argumentTags, button, heading, tag } from '../parts/bits.js';
import { ask, confirm } from '../parts/dialog.js';
import { toObject } from '../parts/form.js';
import { EXCHANGE_ARGUMENTS } from '../parts/known_arguments.js';
import { pagedList } from '../parts/list.js';
import { each, vhostField } from '../parts/queue_forms.js';
import { figure } from '../parts/table.js';
import { done } from '../parts/toast.js';

const perSecond = (label, field) => ({ label, sort: `message_stats.${field}_details.rate`, number: true, rank: 'less', cell: (exchange) => figure(exchange.message_stats?.[`${field}_details`]?.rate ?? 0, rate) });

const COLUMNS = [
    { label: 'Virtual host', sort: 'vhost', rank: 'least', cell: (exchange) => exchange.vhost },
    { label: 'Name', sort: 'name', isHead: true, class: 'clip', cell: (exchange) => h('a', { href: link(['exchanges', exchange.vhost, exchange.name || 'amq.default']) }, exchange.name || '(default exchange)') },
    { label: 'Type', sort: 'type', cell: (exchange) => exchange.type },
    { label: 'Features', rank: 'less', cell: features },
    perSecond('Rate in', 'publish_in'),
    perSecond('Rate out', 'publish_out'),
];

export function features(exchange) {
    return h(
        'span',
        { class: 'tags' },
        exchange.durable === false && tag('transient', 'warn', 'Gone after a restart'),
        exchange.auto_delete && tag('AD', '', 'Deleted with its last binding'),
        exchange.internal && tag('internal', '', 'Nobody can publish to it, only other exchanges'),
        exchange.policy && tag(exchange.policy, 'accent', 'Policy'),
        argumentTags(exchange.arguments),
    );
}

const isOwn = (exchange) => exchange.name !== '' && !exchange.name.startsWith('amq.');

export function open(page) {
    const list = pagedList({
        page,
        where: () => (settings.vhost ? path('exchanges', settings.vhost) : 'exchanges'),
        columns: COLUMNS,
        keyOf: (exchange) => JSON.stringify([exchange.vhost, exchange.name]),
        caption: 'Exchanges',
        unit: ['exchange', 'exchanges'],
        sort: 'name',
        picking: { label: (exchange) => exchange.name || 'the default exchange', actions: (chosen, clear) => button('Delete', () => drop(chosen, clear), { kind: 'small danger', disabled: !chosen.every(isOwn), title: 'The broker’s own exchanges cannot be deleted' }) },
    });

    async function drop(chosen, clear) {
        if (!(await deleteExchanges(chosen))) return;
        clear();
        page.reload();
    }

    async function declare() {
        const declared = await declareExchange();
        if (declared) go(['exchanges', declared.vhost, declared.name]);
    }

    return { title: 'Exchanges', load: list.load, view: () => [heading('Exchanges', { actions: button('Declare an exchange', declare, { kind: 'primary' }) }), list.view()] };
}

export function deleteExchanges(exchanges) {
    const names = exchanges.length === 1 ? `exchange ${exchanges[0].name}` : `${exchanges.length} exchanges`;
    return confirm(`Delete ${names}?`, 'The bindings go with it. Clients that publish to it will have their channels closed.', 'Delete', () =>
        each(exchanges, (exchange) => remove(path('exchanges', exchange.vhost, exchange.name))).then(() => done(`Deleted ${names}`)),
    );
}

const COMMON_TYPES = ['direct', 'topic', 'fanout', 'headers'];

function declareExchange() {
    const types = (known.overview?.exchange_types ?? []).map((type) => type.name);
    const others = types.filter((type) => !COMMON_TYPES.includes(type)).sort();
    return ask({
        title: 'Declare an exchange',
        submit: 'Declare',
        isWide: true,
        fields: [
            vhostField(),
            { name: 'name', label: 'Name', type: 'text', required: true },
            { name: 'type', label: 'Type', type: 'select', options: [...COMMON_TYPES, ...others], help: (type) => TYPE_HELP[type] },
            { name: 'durable', label: 'Durable', type: 'checkbox', value: true, help: 'It is there again after a restart' },
            { name: 'autoDelete', label: 'Auto-delete', type: 'checkbox', help: 'It is deleted with its last binding' },
            { name: 'internal', label: 'Internal', type: 'checkbox', help: 'Clients cannot publish to it, other exchanges can' },
            { name: 'arguments', label: 'Arguments', type: 'pairs', known: EXCHANGE_ARGUMENTS },
        ],
        async onSubmit(given) {
            await put(path('exchanges', given.vhost, given.name), { type: given.type, durable: given.durable, auto_delete: given.autoDelete, internal: given.internal, arguments: toObject(given.arguments) });
            done(`Exchange ${given.name} is declared`);
            return { vhost: given.vhost, name: given.name };
        },
    });
}

const TYPE_HELP = {
    direct: 'To the queues that are bound with the message’s routing key',
    topic: 'To the queues whose binding’s pattern fits the routing key',
    fanout: 'To every queue that is bound',
    headers: 'By the headers of the message',
    'x-delayed-message': 'Holds messages back for as long as their header x-delay says',
    'x-consistent-hash': 'Each message to one queue, by a hash of its routing key; weights in the binding keys',
    'x-modulus-hash': 'Each message to one queue, by a hash modulo their number',
    'x-random': 'Each message to one queue at random',
    'x-local-random': 'Each message to one queue at random, of this node if there is one',
    'x-recent-history': 'To every queue, and the last ones to who is bound newly',
    'x-message-deduplication': 'To every queue, but each message id only once',
};
