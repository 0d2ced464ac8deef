// The frame around every page: header, navigation, the page itself, and what keeps it fresh.

import { h, render } from './core/view.js';
import { here, link } from './core/router.js';
import { forgetAll, known, loadShared, loadVhosts } from './core/known.js';
import { may, userName } from './core/session.js';
import { refreshing } from './core/refresh.js';
import { remember, settings } from './core/settings.js';
import { PAGES, pageAt } from './pages.js';
import { header } from './parts/header.js';
import { icon } from './parts/icons.js';
import { say } from './parts/toast.js';
import { count } from './core/format.js';

let shell = null;

export function startShell(app, leave) {
    shell = { app, leave, open: null, problem: null, isMenuOpen: false, updatedAt: 0 };
    window.addEventListener('hashchange', onAddress);
    window.addEventListener('keydown', onKey);
    onAddress();
}

export function stopShell() {
    if (!shell) return;
    window.removeEventListener('hashchange', onAddress);
    window.removeEventListener('keydown', onKey);
    shell.open?.refresher?.close();
    for (const dialog of document.querySelectorAll('dialog')) dialog.remove();
    forgetAll();
    shell = null;
}

/** A new address: another page, or another query for the one that is open. */
async function onAddress() {
    const { segments, query } = here();
    const where = segments.join('/');
    const open = shell.open;
    if (open && open.where === where && open.view) {
        open.page.query = query;
        open.view.asked?.();
        draw();
        return open.refresher.now();
    }
    open?.refresher?.close();
    open?.view?.close?.();
    await openPage(segments, query, where);
}

async function openPage(segments, query, where) {
    const found = pageAt(segments);
    const isFirst = !shell.open;
    const open = { where, found, page: null, view: null, refresher: null };
    shell.open = open;
    shell.problem = null;
    shell.isMenuOpen = false;
    if (found && may(found.page.needs)) {
        const module = await found.page.load().catch((error) => ({ error }));
        if (shell?.open !== open) return;
        // Another version may be served by now, without this file.
        if (module.error) {
            shell.problem = new Error('its script is not there; load the page again');
            return draw();
        }
        open.page = { ...found.parameters, query, redraw: () => shell?.open === open && draw(), reload: () => open.refresher?.now() };
        open.view = module.open(open.page);
        open.refresher = refreshing((signal) => load(open, signal), (problem) => told(open, problem));
    }
    draw();
    document.title = `${pageTitle(open)} – Warren`;
    if (isFirst) return;
    window.scrollTo(0, 0);
    document.querySelector('main h1')?.focus();
    say(pageTitle(open));
}

async function load(open, signal) {
    const shared = open.view.wantsOverview ? null : loadShared(signal);
    await Promise.all([open.view.load?.(signal), shared, loadVhosts(signal)]);
}

function told(open, problem) {
    if (shell?.open !== open) return;
    if (problem?.status === 401) return shell.leave('Your session is no longer valid. Please log in again.');
    shell.problem = problem;
    open.page.hasFailed = Boolean(problem);
    open.isLoaded = true;
    if (!problem) shell.updatedAt = Date.now();
    draw();
}

const pageTitle = (open) => open.view?.title ?? (open.found ? (open.found.page.title ?? 'Not for you') : 'Not found');

function draw() {
    if (!shell) return;
    const { open } = shell;
    render(
        shell.app,
        h('a', { class: 'skip', href: '#content', on: { click: skip } }, 'Skip to the content'),
        h('div', { class: 'frame', key: 'frame' }, header({ shell, act: { toggleMenu, pause, interval, theme, vhost, refresh, leave: () => shell.leave() }, user: userName() }), menu(open), content(open)),
    );
}

function skip(event) {
    event.preventDefault();
    document.querySelector('main h1')?.focus();
}

function menu(open) {
    const groups = new Map();
    for (const page of PAGES) {
        if (!page.menu || !may(page.needs)) continue;
        if (!groups.has(page.menu)) groups.set(page.menu, []);
        groups.get(page.menu).push(page);
    }
    const current = open.found?.page.under ?? open.found?.page.name;
    return h(
        'nav',
        { class: ['side', shell.isMenuOpen && 'open'], id: 'menu', 'aria-label': 'Pages' },
        Array.from(groups, ([title, pages]) => [h('h2', {}, title), h('ul', {}, pages.map((page) => menuItem(page, current === page.name)))]),
    );
}

function menuItem(page, isCurrent) {
    const many = known.overview?.object_totals?.[page.name];
    return h(
        'li',
        { key: page.name },
        h('a', { href: link(page.at), 'aria-current': isCurrent && 'page' }, icon(page.icon ?? page.name), h('span', {}, page.title), many > 0 && h('span', { class: 'many' }, count(many))),
    );
}

function content(open) {
    return h('main', { id: 'content', key: open.where, 'data-page': open.where, 'aria-busy': String(Boolean(open.view) && !open.isLoaded) }, problemNotice(), body(open));
}

function problemNotice() {
    const { problem } = shell;
    if (!problem) return null;
    return h('div', { class: 'notice bad', role: 'alert' }, `This page could not be refreshed: ${problem.message}${problem.what ? ` (${problem.what})` : ''}`);
}

function body(open) {
    if (open.view) return open.view.view();
    const heading = h('h1', { tabindex: -1 }, open.found ? (open.found.page.title ?? '') : 'There is no such page');
    if (open.found && !may(open.found.page.needs)) return [h('div', { class: 'title' }, heading), h('p', {}, `This page needs a user with the tag ${open.found.page.needs}.`)];
    return h('div', { class: 'title' }, heading);
}

// What the header can do.

function toggleMenu() {
    shell.isMenuOpen = !shell.isMenuOpen;
    draw();
}

function pause() {
    remember({ isPaused: !settings.isPaused });
    say(settings.isPaused ? 'Refreshing is paused' : 'Refreshing goes on');
    if (settings.isPaused) shell.open.refresher?.plan();
    else shell.open.refresher?.now();
    draw();
}

function refresh() {
    shell.open.refresher?.now();
}

function interval(ms) {
    remember({ intervalMs: ms });
    shell.open.refresher?.plan();
    draw();
}

function theme(wanted) {
    remember({ theme: wanted });
    draw();
}

function vhost(wanted) {
    remember({ vhost: wanted });
    shell.open.view?.asked?.();
    draw();
    refresh();
}

/** `/` goes to the filter of a list, as in other tools. */
function onKey(event) {
    if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || document.querySelector('dialog[open]')) return;
    const filter = document.querySelector('main input[type="search"]');
    if (!filter) return;
    event.preventDefault();
    filter.focus();
    filter.select();
}
