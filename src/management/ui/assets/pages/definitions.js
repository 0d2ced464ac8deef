// Definitions: everything that was declared, as a file, and back.

import { h } from '../core/view.js';
import { get, path, post } from '../core/api.js';
import { known } from '../core/known.js';
import { may } from '../core/session.js';
import { count, date } from '../core/format.js';
import { button, card, heading } from '../parts/bits.js';
import { confirm } from '../parts/dialog.js';
import { download } from '../parts/download.js';
import { table } from '../parts/table.js';
import { attempt, done, failed } from '../parts/toast.js';

const SECTIONS = ['users', 'vhosts', 'permissions', 'topic_permissions', 'parameters', 'global_parameters', 'policies', 'queues', 'exchanges', 'bindings'];

export function open(page) {
    const state = { vhost: '', file: null, report: null };
    const isAdministrator = may('administrator');
    const where = () => (state.vhost ? path('definitions', state.vhost) : 'definitions');

    const save = () =>
        attempt('Export of the definitions', async () => {
            const definitions = await get(where());
            const name = [known.overview?.cluster_name ?? 'warren', state.vhost, new Date().toISOString().slice(0, 10)].filter(Boolean).join('_').replace(/[^A-Za-z0-9_.@-]/g, '-');
            download(`${name}.json`, JSON.stringify(definitions, null, 2));
        });

    async function read(event) {
        const [file] = event.target.files;
        state.file = null;
        state.report = null;
        if (file) {
            try {
                const content = JSON.parse(await file.text());
                state.file = { name: file.name, content, changedAt: file.lastModified };
            } catch (error) {
                failed(`Reading ${file.name}`, new Error(`it is no JSON: ${error.message}`));
            }
        }
        page.redraw();
    }

    async function load() {
        const target = state.vhost ? `virtual host ${state.vhost}` : 'this broker';
        const ok = await confirm(`Import ${state.file.name} into ${target}?`, 'What is there already and differs is changed or refused; nothing is deleted.', 'Import', async () => {
            state.report = await post(where(), state.file.content);
        });
        if (!ok) return;
        done('The definitions are imported');
        page.redraw();
    }

    function pick(event) {
        state.vhost = event.target.value;
        page.redraw();
    }

    const view = () => [
        heading('Definitions'),
        h(
            'div',
            { class: 'stack' },
            h('p', { class: 'muted' }, 'Users, virtual hosts, permissions, policies, queues, exchanges and bindings, without messages. The file is one that RabbitMQ writes and reads, too.'),
            h('label', { class: 'check' }, 'Of', h('select', { value: state.vhost, on: { change: pick } }, isAdministrator && h('option', { value: '' }, 'the whole broker'), known.vhosts.map((name) => h('option', { value: name, key: name }, `virtual host ${name}`)))),
            h(
                'div',
                { class: 'columns' },
                card('Export', {}, h('div', { class: 'body form' }, h('p', {}, 'Passwords leave the broker as hashes only.'), h('div', {}, button('Download definitions', save, { kind: 'primary' })))),
                card('Import', {}, h('div', { class: 'body form' }, h('div', { class: 'field' }, h('label', { for: 'definitions-file' }, 'File'), h('input', { type: 'file', id: 'definitions-file', accept: '.json,application/json', on: { change: read } })), h('div', {}, button('Import', load, { kind: 'primary', disabled: !state.file })))),
            ),
            state.file && preview(state.file),
            state.report && reportCard(state.report),
        ),
    ];

    if (!isAdministrator) state.vhost = known.vhosts[0] ?? '';
    return { title: 'Definitions', view };
}

function preview({ name, content, changedAt }) {
    const rows = SECTIONS.filter((section) => Array.isArray(content[section])).map((section) => ({ section, many: content[section].length }));
    return card(`In ${name}`, { id: 'preview', beside: h('span', { class: 'muted' }, [content.product_name ?? (content.rabbit_version && 'RabbitMQ'), content.product_version ?? content.rabbit_version, `of ${date(changedAt)}`].filter(Boolean).join(' ')) }, table({ caption: 'What the file holds', rows, keyOf: (row) => row.section, columns: [{ label: 'Section', isHead: true, cell: (row) => row.section.replaceAll('_', ' ') }, { label: 'How many', number: true, cell: (row) => count(row.many) }], empty: 'No section that is known' }));
}

/** What was taken, adapted and refused; brokers that say nothing have taken all. */
const reportCard = (report) => card('Report of the import', { id: 'report' }, h('div', { class: 'body' }, h('pre', {}, typeof report === 'string' ? report : JSON.stringify(report, null, 2))));
