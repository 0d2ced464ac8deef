// Policies and operator policies: settings for all queues and exchanges whose names fit.

import { h } from '../core/view.js';
import { get, path, put, remove } from '../core/api.js';
import { settings } from '../core/settings.js';
import { may } from '../core/session.js';
import { count } from '../core/format.js';
import { argumentTags, button, heading } from '../parts/bits.js';
import { ask, confirm } from '../parts/dialog.js';
import { fromObject, toObject } from '../parts/form.js';
import { OPERATOR_POLICY_KEYS, POLICY_KEYS } from '../parts/known_arguments.js';
import { each, vhostField } from '../parts/queue_forms.js';
import { tabs } from '../parts/tabs.js';
import { done } from '../parts/toast.js';
import { wholeList } from '../parts/whole_list.js';

const KINDS = {
    policies: { one: 'policy', many: 'policies', keys: POLICY_KEYS, title: 'Policies', targets: [['all', 'Queues and exchanges'], ['queues', 'Queues'], ['exchanges', 'Exchanges'], ['classic_queues', 'Classic queues'], ['quorum_queues', 'Quorum queues']] },
    'operator-policies': { one: 'operator policy', many: 'operator policies', keys: OPERATOR_POLICY_KEYS, title: 'Operator policies', targets: [['queues', 'Queues'], ['classic_queues', 'Classic queues'], ['quorum_queues', 'Quorum queues']] },
};

export function open(page) {
    const lists = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, policyList(page, kind)]));
    const kindNow = () => (page.query.tab === 'operator' ? 'operator-policies' : 'policies');

    const add = () => edit(page, kindNow(), null);
    const mayChange = () => may(kindNow() === 'policies' ? 'policymaker' : 'administrator');

    return {
        title: 'Policies',
        load: (signal) => lists[kindNow()].load(signal),
        view: () => [
            heading('Policies', { actions: mayChange() && button(`Add ${kindNow() === 'policies' ? 'a policy' : 'an operator policy'}`, add, { kind: 'primary' }) }),
            tabs(page, [['policies', 'Policies', lists.policies.view], ['operator', 'Operator policies', lists['operator-policies'].view]], 'Kinds of policies'),
        ],
    };
}

function policyList(page, kind) {
    const words = KINDS[kind];
    const mayChange = may(kind === 'policies' ? 'policymaker' : 'administrator');
    let policies = null;

    const list = wholeList({
        page,
        caption: words.title,
        unit: [words.one, words.many],
        sort: 'name',
        keyOf: (policy) => JSON.stringify([policy.vhost, policy.name]),
        columns: [
            { label: 'Virtual host', sort: 'vhost', rank: 'least', cell: (policy) => policy.vhost },
            { label: 'Name', sort: 'name', isHead: true, class: 'clip', cell: (policy) => policy.name },
            { label: 'Pattern', sort: 'pattern', cell: (policy) => h('code', {}, policy.pattern) },
            { label: 'Applies to', sort: 'apply-to', cell: (policy) => policy['apply-to'] },
            { label: 'Definition', cell: (policy) => h('span', { class: 'tags' }, argumentTags(policy.definition)) },
            { label: 'Priority', sort: 'priority', number: true, cell: (policy) => count(policy.priority) },
            { label: 'Action', cell: (policy) => mayChange && button('Change', () => edit(page, kind, policy), { kind: 'small', 'aria-label': `Change ${policy.name}` }) },
        ],
        picking: mayChange && {
            label: (policy) => policy.name,
            actions: (chosen, clear) => button('Delete', () => drop(chosen, clear), { kind: 'small danger' }),
        },
    });

    async function drop(chosen, clear) {
        const what = chosen.length === 1 ? `${words.one} ${chosen[0].name}` : `${chosen.length} ${words.many}`;
        const ok = await confirm(`Delete ${what}?`, 'What it sets no longer holds for the queues and exchanges that it fits.', 'Delete', () => each(chosen, (policy) => remove(path(kind, policy.vhost, policy.name))).then(() => done(`Deleted ${what}`)));
        if (!ok) return;
        clear();
        page.reload();
    }

    return {
        async load(signal) {
            policies = await get(settings.vhost ? path(kind, settings.vhost) : kind, undefined, { signal });
        },
        view: () => list.view(policies),
    };
}

/** A new policy, or one that is there. */
async function edit(page, kind, policy) {
    const words = KINDS[kind];
    const fields = [
        !policy && vhostField(),
        !policy && { name: 'name', label: 'Name', type: 'text', required: true },
        { name: 'pattern', label: 'Pattern', type: 'text', required: true, value: policy?.pattern ?? '', placeholder: '^orders\\.', help: 'A regular expression over names; ^ is the beginning, $ the end' },
        { name: 'target', label: 'Applies to', type: 'select', options: words.targets, value: policy?.['apply-to'] },
        { name: 'priority', label: 'Priority', type: 'number', value: String(policy?.priority ?? 0), help: 'Of the policies that fit a queue, only the one with the highest priority holds' },
        { name: 'definition', label: 'Definition', type: 'pairs', known: words.keys, add: 'Add a key', value: policy ? fromObject(policy.definition) : [{ name: '', type: 'text', text: '' }] },
    ];
    const ok = await ask({
        title: policy ? `Change ${words.one} ${policy.name}` : `Add ${kind === 'policies' ? 'a policy' : 'an operator policy'}`,
        submit: policy ? 'Change' : 'Add',
        isWide: true,
        fields: fields.filter(Boolean),
        onSubmit: (given) =>
            put(path(kind, policy?.vhost ?? given.vhost, policy?.name ?? given.name), { pattern: given.pattern, 'apply-to': given.target, priority: Number(given.priority || 0), definition: toObject(given.definition) }),
    });
    if (!ok) return;
    done(`The ${words.one} holds now`);
    page.reload();
}
