// Bindings of a queue or exchange: a table, adding and removing.

import { h } from '../core/view.js';
import { path, post, remove } from '../core/api.js';
import { link } from '../core/router.js';
import { argumentTags, button, card } from './bits.js';
import { ask, confirm } from './dialog.js';
import { toObject } from './form.js';
import { BINDING_ARGUMENTS } from './known_arguments.js';
import { table } from './table.js';
import { done } from './toast.js';

const KINDS = { queue: 'q', exchange: 'e' };

const exchangeLink = (vhost, name) => h('a', { href: link(['exchanges', vhost, name || 'amq.default']) }, name || '(default exchange)');

export function endLink(binding, end) {
    if (end === 'source') return exchangeLink(binding.vhost, binding.source);
    return binding.destination_type === 'queue' ? h('a', { href: link(['queues', binding.vhost, binding.destination]) }, binding.destination) : exchangeLink(binding.vhost, binding.destination);
}

/** `end` is what stands at the other side: `source` or `destination`. */
export function bindingTable({ title, bindings, end, vhost, name, kind, changed }) {
    const columns = [
        { label: end === 'source' ? 'From exchange' : 'To', isHead: true, class: 'clip', cell: (binding) => endLink(binding, end) },
        end === 'destination' && { label: 'Kind', rank: 'least', cell: (binding) => binding.destination_type },
        { label: 'Routing key', cell: (binding) => h('code', {}, binding.routing_key) },
        { label: 'Arguments', rank: 'less', cell: (binding) => h('span', { class: 'tags' }, argumentTags(binding.arguments)) },
        { label: 'Action', cell: (binding) => binding.source !== '' && button('Unbind', () => unbind(binding, changed), { kind: 'small danger', 'aria-label': `Unbind ${binding.source} from ${binding.destination} with ${binding.routing_key || 'no routing key'}` }) },
    ];
    return card(
        title,
        { actions: name !== '' && button('Add a binding', () => bind({ end, vhost, name, kind, changed }), { kind: 'small' }) },
        bindings === null
            ? h('div', { class: 'empty' }, 'Loading…')
            : table({ caption: title, rows: bindings, keyOf: (binding) => `${binding.source} ${binding.destination_type} ${binding.destination} ${binding.properties_key}`, columns: columns.filter(Boolean), empty: 'No bindings' }),
    );
}

async function bind({ end, vhost, name, kind, changed }) {
    const fields = [
        end === 'destination' && { name: 'type', label: 'To a', type: 'select', options: [['queue', 'Queue'], ['exchange', 'Exchange']], value: 'queue' },
        { name: 'other', label: end === 'source' ? 'From exchange' : 'Name', type: 'text', required: true },
        { name: 'key', label: 'Routing key', type: 'text', help: 'For topic exchanges: words with dots between; * is one word, # any number of them' },
        { name: 'arguments', label: 'Arguments', type: 'pairs', known: BINDING_ARGUMENTS },
    ];
    const ok = await ask({
        title: end === 'source' ? `Bind to ${name}` : `Bind from ${name}`,
        fields: fields.filter(Boolean),
        submit: 'Bind',
        onSubmit: (given) => {
            const [source, target, targetKind] = end === 'source' ? [given.other, name, kind] : [name, given.other, given.type];
            return post(path('bindings', vhost, 'e', source, KINDS[targetKind], target), { routing_key: given.key, arguments: toObject(given.arguments) });
        },
    });
    if (!ok) return;
    done('Bound');
    changed();
}

async function unbind(binding, changed) {
    const where = path('bindings', binding.vhost, 'e', binding.source, KINDS[binding.destination_type], binding.destination, binding.properties_key);
    const text = `Messages from ${binding.source} with the routing key “${binding.routing_key}” no longer come to ${binding.destination} by this binding.`;
    if (!(await confirm(`Remove the binding of ${binding.destination}?`, text, 'Remove the binding', () => remove(where)))) return;
    done('Binding removed');
    changed();
}
