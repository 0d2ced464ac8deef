// The header: where one is, what is refreshed how often, light or dark, who is logged in.

import { h } from '../core/view.js';
import { link } from '../core/router.js';
import { known } from '../core/known.js';
import { settings } from '../core/settings.js';
import { icon, logo } from './icons.js';

const INTERVALS = [
    [1000, '1 s'],
    [2000, '2 s'],
    [5000, '5 s'],
    [10000, '10 s'],
    [30000, '30 s'],
    [60000, '1 min'],
];

const THEMES = { auto: ['half', 'light', 'Colours: as the system says'], light: ['sun', 'dark', 'Colours: light'], dark: ['moon', 'auto', 'Colours: dark'] };

export function header({ shell, act, user }) {
    return h(
        'header',
        { class: 'head' },
        h('button', { class: 'button plain icon menu-button', type: 'button', 'aria-label': 'Menu', 'aria-expanded': String(shell.isMenuOpen), 'aria-controls': 'menu', on: { click: act.toggleMenu } }, icon('menu')),
        h('a', { class: 'brand', href: link([]), 'aria-label': 'Warren, to the overview' }, logo(), h('span', {}, 'Warren')),
        h('span', { class: 'cluster-name', title: 'Name of the cluster' }, known.overview?.cluster_name ?? ''),
        h('span', { class: 'space' }),
        vhosts(act),
        refreshControl(shell, act),
        themeSwitch(act),
        h('span', { class: 'who', title: 'Logged in as' }, user),
        h('button', { class: 'button plain icon', type: 'button', 'aria-label': 'Log out', title: 'Log out', on: { click: act.leave } }, icon('out')),
    );
}

function vhosts(act) {
    if (known.vhosts.length < 2 && !settings.vhost) return null;
    const names = known.vhosts.includes(settings.vhost) || !settings.vhost ? known.vhosts : [settings.vhost, ...known.vhosts];
    return h(
        'label',
        {},
        h('span', { class: 'word' }, 'Virtual host'),
        h('select', { value: settings.vhost, 'aria-label': 'Virtual host', on: { change: (event) => act.vhost(event.target.value) } }, h('option', { value: '' }, 'All'), names.map((name) => h('option', { value: name, key: name }, name))),
    );
}

function refreshControl(shell, act) {
    const state = shell.problem ? 'failing' : settings.isPaused ? 'paused' : '';
    return h(
        'div',
        { class: 'refresh', role: 'group', 'aria-label': 'Refreshing' },
        h('span', { class: ['state', state], 'aria-hidden': 'true' }),
        h(
            'select',
            { value: String(settings.intervalMs), 'aria-label': 'Refresh every', title: 'Refresh every', on: { change: (event) => act.interval(Number(event.target.value)) } },
            INTERVALS.map(([ms, text]) => h('option', { value: String(ms), key: ms }, text)),
        ),
        h('button', { class: 'button plain icon', type: 'button', id: 'pause', 'aria-pressed': String(settings.isPaused), 'aria-label': 'Pause refreshing', title: settings.isPaused ? 'Go on refreshing' : 'Pause refreshing', on: { click: act.pause } }, icon(settings.isPaused ? 'play' : 'pause')),
        h('button', { class: 'button plain icon', type: 'button', 'aria-label': 'Refresh now', title: 'Refresh now', on: { click: act.refresh } }, icon('reload')),
    );
}

function themeSwitch(act) {
    const [picture, next, label] = THEMES[settings.theme] ?? THEMES.auto;
    return h('button', { class: 'button plain icon', type: 'button', id: 'theme', 'aria-label': label, title: label, on: { click: () => act.theme(next) } }, icon(picture));
}
