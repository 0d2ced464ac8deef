// Tables: a caption for screen readers, headers that sort, rows that can be picked.

import { h } from '../core/view.js';
import { icon } from './icons.js';

/**
 * Columns: `{ label, cell(row), sort?, number?, rank?, isHead?, class? }`; `sort` is the field by which the column sorts, `rank` `less` or
 * `least` when it may go on narrow screens. `picked` is `{ keys: Set, toggle(key), toggleAll(keys), label(row) }`.
 */
export function table({ caption, columns, rows, keyOf, sorted, onSort, picked, empty }) {
    if (rows.length === 0) return h('div', { class: 'empty', key: 'empty' }, empty ?? 'Nothing here');
    const keys = rows.map(keyOf);
    return h(
        'div',
        { class: 'table', role: 'region', 'aria-label': caption, tabindex: 0, key: 'table' },
        h(
            'table',
            {},
            h('caption', { class: 'quiet' }, caption),
            h('thead', {}, h('tr', {}, picked && pickAll(picked, keys), columns.map((column) => head(column, sorted, onSort)))),
            h('tbody', {}, rows.map((row, at) => line(row, keys[at], columns, picked))),
        ),
    );
}

const classes = (column) => [column.number && 'number', column.rank, column.class];

function head(column, sorted, onSort) {
    const isSorted = column.sort && sorted?.by === column.sort;
    const direction = isSorted && (sorted.isReverse ? 'descending' : 'ascending');
    const sorts = column.sort && onSort;
    return h(
        'th',
        { scope: 'col', class: classes(column), 'aria-sort': direction, title: column.help, key: column.label },
        sorts
            ? h('button', { class: 'sort', type: 'button', on: { click: () => onSort(column.sort, isSorted ? !sorted.isReverse : Boolean(column.number)) } }, column.label, h('span', { class: 'arrow' }, isSorted && icon(sorted.isReverse ? 'down' : 'up', 10)))
            : column.label,
    );
}

function pickAll(picked, keys) {
    const many = keys.filter((key) => picked.keys.has(key)).length;
    return h('th', { class: 'pick', scope: 'col', key: 'pick' }, h('input', { type: 'checkbox', 'aria-label': 'Select all on this page', checked: many === keys.length, indeterminate: many > 0 && many < keys.length, on: { change: () => picked.toggleAll(keys) } }));
}

function line(row, key, columns, picked) {
    return h(
        'tr',
        { key },
        picked && h('td', { class: 'pick' }, h('input', { type: 'checkbox', 'aria-label': `Select ${picked.label(row)}`, checked: picked.keys.has(key), on: { change: () => picked.toggle(key) } })),
        columns.map((column) => h(column.isHead ? 'th' : 'td', { scope: column.isHead && 'row', class: classes(column) }, column.cell(row))),
    );
}

/** A number that is not looked at when it is zero. */
export const figure = (value, format) => (value === 0 ? h('span', { class: 'zero' }, format(value)) : format(value));

/** Sorts rows by a field here, for lists that come whole. */
export function sortRows(rows, { by, isReverse }, valueOf) {
    const of = valueOf ?? ((row) => by.split('.').reduce((at, part) => at?.[part], row));
    const order = (a, b) => {
        const [x, y] = [of(a), of(b)];
        if (x === y) return 0;
        if (x === undefined || x === null) return -1;
        if (y === undefined || y === null) return 1;
        return typeof x === 'string' ? x.localeCompare(String(y)) : x < y ? -1 : 1;
    };
    const sorted = [...rows].sort(order);
    return isReverse ? sorted.reverse() : sorted;
}
