// A short list that comes whole: filtered and sorted here.

import { h } from '../core/view.js';
import { ask } from '../core/router.js';
import { plural } from '../core/format.js';
import { loading } from './bits.js';
import { sortRows, table } from './table.js';

/** `{ page, caption, unit, columns, keyOf, sort, nameOf?, picking? }`; `view(rows)` shows these. */
export function wholeList({ page, caption, unit, columns, keyOf, sort, nameOf = (row) => row.name, picking, beside }) {
    const picked = new Set();
    const chosen = picking && {
        keys: picked,
        label: picking.label,
        toggle(key) {
            if (!picked.delete(key)) picked.add(key);
            page.redraw();
        },
        toggleAll(keys) {
            const all = keys.every((key) => picked.has(key));
            for (const key of keys) all ? picked.delete(key) : picked.add(key);
            page.redraw();
        },
    };

    function view(rows) {
        if (rows === null) return h('section', { class: 'card' }, loading(page));
        const sorted = { by: page.query.sort ?? sort, isReverse: page.query.desc === '1' };
        const text = (page.query.name ?? '').toLowerCase();
        const shown = sortRows(rows.filter((row) => nameOf(row).toLowerCase().includes(text)), sorted);
        const present = new Set(shown.map(keyOf));
        for (const key of picked) if (!present.has(key)) picked.delete(key);
        return h(
            'section',
            { class: 'card', 'aria-label': caption },
            h(
                'div',
                { class: 'bar', role: 'search', 'aria-label': `Filter ${unit[1]}` },
                h('input', { type: 'search', value: page.query.name ?? '', placeholder: 'Filter by name', 'aria-label': `Filter ${unit[1]} by name`, 'aria-keyshortcuts': '/', autocomplete: 'off', spellcheck: 'false', on: { input: (event) => ask({ name: event.target.value }) } }),
                beside,
                h('span', { class: 'end muted', role: 'status' }, shown.length === rows.length ? plural(rows.length, ...unit) : `${shown.length} of ${plural(rows.length, ...unit)}`),
            ),
            picked.size > 0 && h('div', { class: 'bar picked', role: 'group', 'aria-label': 'Actions for what is selected' }, h('strong', {}, `${picked.size} selected`), picking.actions(shown.filter((row) => picked.has(keyOf(row))), () => picked.clear())),
            table({ caption, columns, rows: shown, keyOf, sorted, onSort: (by, isReverse) => ask({ sort: by, desc: isReverse ? '1' : '' }), picked: chosen, empty: text ? `No ${unit[1]} match the filter` : `No ${unit[1]}` }),
        );
    }

    return { view };
}
