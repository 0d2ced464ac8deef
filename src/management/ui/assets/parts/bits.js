// Small parts that many pages have in common.

import { h } from '../core/view.js';
import { link } from '../core/router.js';
import { remember, settings } from '../core/settings.js';
import { RANGES } from '../core/samples.js';
import { value } from '../core/format.js';

/** The head of a page: where it belongs, its title, what can be done. `crumbs` are `[title, segments]`. */
export function heading(title, { crumbs, beside, actions } = {}) {
    return h(
        'div',
        { class: 'title' },
        crumbs && h('nav', { class: 'crumbs', 'aria-label': 'Where this page belongs' }, h('ul', {}, crumbs.map(([text, segments]) => h('li', {}, segments ? h('a', { href: link(segments) }, text) : text)))),
        h('h1', { tabindex: -1 }, title),
        beside,
        actions && h('div', { class: 'actions' }, actions),
    );
}

export function card(title, { actions, beside, label, id } = {}, ...content) {
    return h('section', { class: 'card', 'aria-label': label ?? title, id, key: id ?? title }, h('header', {}, h('h2', {}, title), beside, actions && h('div', { class: 'actions' }, actions)), content);
}

/** Stands where something is not there yet. */
export const loading = (page) => h('div', { class: 'empty' }, page.hasFailed ? 'There is nothing to show.' : 'Loading…');

export const button = (text, click, { kind = '', disabled, title, ...rest } = {}) => h('button', { class: ['button', kind], type: 'button', disabled, title, on: { click }, ...rest }, text);

export const tag = (text, kind = '', title) => h('span', { class: ['tag', kind], title }, text);

/** A dot beside a word: the colour alone says nothing. */
export const state = (text, kind) => h('span', { class: 'state' }, h('span', { class: ['dot', kind], 'aria-hidden': 'true' }), text);

/** Names and values in two columns; pairs without a value are left out. */
export const facts = (pairs) => h('dl', { class: 'facts' }, pairs.filter(Boolean).map(([name, ...given]) => given[0] !== undefined && given[0] !== null && [h('dt', {}, name), h('dd', {}, given)]));

export const tiles = (list) => h('dl', { class: 'tiles' }, list.map(({ name, text, more, color, href }) => h('div', { class: 'card tile' }, h('dt', {}, color && h('span', { class: ['swatch', `c${color}`] }), href ? h('a', { href }, name) : name), h('dd', {}, text, more && [' ', h('span', { class: 'more' }, more)]))));

/** Arguments of something declared, each as a word. */
export const argumentTags = (given) => Object.entries(given ?? {}).map(([name, content]) => h('span', { class: 'tag', key: name }, `${name}: ${value(content)}`));

/** How far back the charts of a page look. */
export function rangePicker(page) {
    const pick = (event) => {
        remember({ rangeSeconds: Number(event.target.value) });
        page.redraw();
        page.reload();
    };
    return h('label', { class: 'check muted' }, 'Charts', h('select', { value: String(settings.rangeSeconds), on: { change: pick } }, RANGES.map(([seconds, , name]) => h('option', { value: String(seconds) }, name))));
}

/** A part of a whole as a thin bar. */
export function meter(part, whole, isBad) {
    const share = whole > 0 ? Math.min(1, Math.max(0, part / whole)) : 0;
    return h('svg', { class: ['meter', isBad && 'bad'], viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, h('rect', { width: 100 * share, height: 4 }));
}
