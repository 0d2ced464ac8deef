// A long list that the broker filters, sorts and pages: what is looked at stands in the address, and only one page travels.

import { h } from '../core/view.js';
import { get } from '../core/api.js';
import { ask } from '../core/router.js';
import { remember, settings } from '../core/settings.js';
import { count } from '../core/format.js';
import { loading } from './bits.js';
import { table } from './table.js';

const SIZES = [50, 100, 200, 500];
const TYPING_MS = 250;

/**
 * `{ page, where(): path, columns, keyOf, caption, unit: [one, many], sort: default field, parameters?, picking?: { label, actions(rows) } }`.
 * Gives `{ load(signal), view(), rows() }`.
 */
export function pagedList(options) {
    const { page } = options;
    const state = { found: null, picked: new Set(), typing: 0, typed: null };

    const asked = () => {
        const { query } = page;
        return { page: Math.max(1, Number(query.page) || 1), name: query.name ?? '', isRegex: query.regex === '1', by: query.sort ?? options.sort, isReverse: (query.desc ?? (options.isReverse ? '1' : '')) === '1' };
    };

    async function load(signal) {
        const wanted = asked();
        const parameters = { page: wanted.page, page_size: settings.pageSize, name: wanted.name, use_regex: Boolean(wanted.isRegex), sort: wanted.by, sort_reverse: Boolean(wanted.isReverse), pagination: true, ...options.parameters?.() };
        try {
            state.found = await get(options.where(), parameters, { signal });
        } catch (error) {
            // The last page may be gone with what was on it.
            if (wanted.page > 1 && (error.status === 400 || error.status === 404) && /page/i.test(error.message)) return ask({ page: '' });
            throw error;
        }
        const present = new Set(rows().map(options.keyOf));
        for (const key of state.picked) if (!present.has(key)) state.picked.delete(key);
    }

    const rows = () => state.found?.items ?? (Array.isArray(state.found) ? state.found : []);
    const pickedRows = () => rows().filter((row) => state.picked.has(options.keyOf(row)));

    function filter(changes) {
        state.picked.clear();
        ask({ ...changes, page: '' });
    }

    function onType(event) {
        clearTimeout(state.typing);
        const text = event.target.value;
        state.typing = setTimeout(() => filter({ name: text }), TYPING_MS);
    }

    const picking = options.picking && {
        keys: state.picked,
        label: options.picking.label,
        toggle(key) {
            if (!state.picked.delete(key)) state.picked.add(key);
            page.redraw();
        },
        toggleAll(keys) {
            const all = keys.every((key) => state.picked.has(key));
            for (const key of keys) all ? state.picked.delete(key) : state.picked.add(key);
            page.redraw();
        },
    };

    function view() {
        const wanted = asked();
        return h(
            'section',
            { class: 'card', 'aria-label': options.caption },
            filterBar(wanted),
            state.picked.size > 0 && pickedBar(),
            state.found === null
                ? loading(page)
                : table({
                      caption: options.caption,
                      columns: options.columns,
                      rows: rows(),
                      keyOf: options.keyOf,
                      sorted: { by: wanted.by, isReverse: wanted.isReverse },
                      onSort: (by, isReverse) => ask({ sort: by, desc: isReverse ? '1' : '0', page: '' }),
                      picked: picking,
                      empty: wanted.name ? `No ${options.unit[1]} match the filter` : `No ${options.unit[1]}`,
                  }),
            state.found && pager(wanted),
        );
    }

    function filterBar(wanted) {
        return h(
            'div',
            { class: 'bar', role: 'search', 'aria-label': `Filter ${options.unit[1]}` },
            h('input', { type: 'search', value: wanted.name, placeholder: wanted.isRegex ? 'Regular expression' : 'Filter by name', 'aria-label': `Filter ${options.unit[1]} by name`, 'aria-keyshortcuts': '/', autocomplete: 'off', spellcheck: 'false', on: { input: onType } }),
            h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: wanted.isRegex, on: { change: (event) => filter({ regex: event.target.checked ? '1' : '' }) } }), 'Regex'),
            options.filters?.(),
            h('span', { class: 'end muted', role: 'status' }, summary(wanted)),
        );
    }

    function summary(wanted) {
        const { found } = state;
        if (!found) return '';
        const total = found.total_count ?? rows().length;
        const filtered = found.filtered_count ?? total;
        const unit = options.unit[total === 1 ? 0 : 1];
        return wanted.name || filtered !== total ? `${count(filtered)} of ${count(total)} ${unit}` : `${count(total)} ${unit}`;
    }

    function pickedBar() {
        const chosen = pickedRows();
        return h('div', { class: 'bar picked', role: 'group', 'aria-label': 'Actions for what is selected' }, h('strong', {}, `${chosen.length} selected`), options.picking.actions(chosen, () => state.picked.clear()));
    }

    function pager(wanted) {
        const pages = state.found.page_count ?? 1;
        const turn = (to) => ask({ page: to === 1 ? '' : to });
        const step = (label, to, can) => h('button', { class: 'button small', type: 'button', disabled: !can, on: { click: () => turn(to) } }, label);
        return h(
            'nav',
            { class: 'bar foot', 'aria-label': 'Pages of the list' },
            h('label', { class: 'check muted' }, 'Rows ', h('select', { value: String(settings.pageSize), on: { change: (event) => resize(Number(event.target.value)) } }, SIZES.map((size) => h('option', { value: String(size) }, size)))),
            h('span', { class: 'end' }, step('First', 1, wanted.page > 1), step('Previous', wanted.page - 1, wanted.page > 1), h('span', { class: 'muted nowrap' }, `Page ${count(wanted.page)} of ${count(Math.max(1, pages))}`), step('Next', wanted.page + 1, wanted.page < pages), step('Last', pages, wanted.page < pages)),
        );
    }

    function resize(size) {
        remember({ pageSize: size });
        ask({ page: '' });
        page.reload();
    }

    return { load, view, rows };
}
