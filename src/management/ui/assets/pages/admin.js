// Settings of the whole broker: its name, parameters, feature flags, listeners of clients.

import { h } from '../core/view.js';
import { get, path, put, remove } from '../core/api.js';
import { known } from '../core/known.js';
import { may, tagNames, userName } from '../core/session.js';
import { value } from '../core/format.js';
import { button, card, facts, heading, loading, tag } from '../parts/bits.js';
import { ask, confirm } from '../parts/dialog.js';
import { table } from '../parts/table.js';
import { done } from '../parts/toast.js';

export function open(page) {
    const isAdministrator = may('administrator');
    const found = { parameters: [], global: [], flags: null, overview: null };

    async function load(signal) {
        const optional = (what) => get(what, undefined, { signal }).catch((error) => (error.status === 404 || error.status === 403 ? [] : Promise.reject(error)));
        [found.overview, found.global, found.parameters, found.flags] = await Promise.all([get('overview', undefined, { signal }), isAdministrator ? optional('global-parameters') : [], may('policymaker') ? optional('parameters') : [], optional('feature-flags')]);
        known.overview = found.overview;
    }

    async function rename() {
        const ok = await ask({ title: 'Name of the cluster', submit: 'Rename', fields: [{ name: 'name', label: 'Name', type: 'text', required: true, value: found.overview.cluster_name }], onSubmit: (given) => put('cluster-name', { name: given.name }) });
        if (!ok) return;
        done('The cluster has its new name');
        page.reload();
    }

    async function setGlobal(row) {
        const fields = [!row && { name: 'name', label: 'Name', type: 'text', required: true }, { name: 'value', label: 'Value as JSON', type: 'json', required: true, value: row ? JSON.stringify(row.value, null, 2) : '' }];
        const ok = await ask({ title: row ? `Parameter ${row.name}` : 'Set a global parameter', submit: 'Set', fields: fields.filter(Boolean), onSubmit: (given) => put(path('global-parameters', row?.name ?? given.name), { value: JSON.parse(given.value) }) });
        if (!ok) return;
        done('The parameter is set');
        page.reload();
    }

    async function clearGlobal(row) {
        if (!(await confirm(`Clear the global parameter ${row.name}?`, h('code', {}, value(row.value)), 'Clear', () => remove(path('global-parameters', row.name))))) return;
        done('The parameter is cleared');
        page.reload();
    }

    const view = () => [
        heading('Settings'),
        found.overview === null
            ? loading(page)
            : h('div', { class: 'stack' }, h('div', { class: 'columns' }, broker(found.overview, isAdministrator && rename), you()), globals(), parameters(), found.flags?.length > 0 && flags(found.flags)),
    ];

    const globals = () =>
        isAdministrator &&
        card(
            'Global parameters',
            { actions: button('Set a global parameter', () => setGlobal(null), { kind: 'small' }) },
            table({
                caption: 'Global parameters',
                rows: found.global,
                keyOf: (row) => row.name,
                columns: [
                    { label: 'Name', isHead: true, cell: (row) => row.name },
                    { label: 'Value', class: 'clip', cell: (row) => h('code', {}, value(row.value)) },
                    { label: 'Action', cell: (row) => h('span', { class: 'row' }, button('Change', () => setGlobal(row), { kind: 'small', 'aria-label': `Change ${row.name}` }), button('Clear', () => clearGlobal(row), { kind: 'small danger', 'aria-label': `Clear ${row.name}` })) },
                ],
                empty: 'No global parameters',
            }),
        );

    const parameters = () =>
        found.parameters.length > 0 &&
        card(
            'Parameters of virtual hosts',
            {},
            table({
                caption: 'Parameters of virtual hosts',
                rows: found.parameters,
                keyOf: (row) => `${row.component} ${row.vhost} ${row.name}`,
                columns: [
                    { label: 'Component', isHead: true, cell: (row) => row.component },
                    { label: 'Virtual host', cell: (row) => row.vhost },
                    { label: 'Name', cell: (row) => row.name },
                    { label: 'Value', class: 'clip', cell: (row) => h('code', {}, value(row.value)) },
                ],
            }),
        );

    return { title: 'Settings', wantsOverview: true, load, view };
}

const broker = (overview, rename) =>
    card(
        'Broker',
        { actions: rename && button('Rename', rename, { kind: 'small' }) },
        h('div', { class: 'body' }, facts([['Cluster', overview.cluster_name], ['Node that answers', overview.node], ['Product', [overview.product_name, overview.product_version].filter(Boolean).join(' ')], overview.rabbitmq_version && ['Speaks as RabbitMQ', overview.rabbitmq_version], ['Statistics', overview.disable_stats ? 'off' : `${overview.rates_mode ?? 'on'}`]])),
    );

const you = () => card('You', {}, h('div', { class: 'body' }, facts([['Name', userName()], ['Tags', h('span', { class: 'tags' }, tagNames().map((one) => tag(one)))]])));

const flags = (list) =>
    card(
        'Feature flags',
        {},
        table({
            caption: 'Feature flags',
            rows: list,
            keyOf: (flag) => flag.name,
            columns: [
                { label: 'Name', isHead: true, cell: (flag) => flag.name },
                { label: 'State', cell: (flag) => tag(flag.state, flag.state === 'enabled' ? 'good' : '') },
                { label: 'What it is', rank: 'less', cell: (flag) => flag.desc ?? '' },
            ],
        }),
    );
