// Tabs whose choice stands in the address. Arrow keys go from one to the next.

import { h } from '../core/view.js';
import { ask } from '../core/router.js';

/** `tabs` are `[name, label, view()]`; the first one is shown without a choice. */
export function tabs(page, list, label) {
    const present = list.filter(Boolean);
    const current = present.find(([name]) => name === page.query.tab) ?? present[0];
    const choose = (name) => ask({ tab: name === present[0][0] ? '' : name });

    function onKey(event) {
        const step = { ArrowRight: 1, ArrowLeft: -1, Home: -present.length, End: present.length }[event.key];
        if (!step) return;
        event.preventDefault();
        const at = present.indexOf(current) + step;
        const to = Math.abs(step) === 1 ? (at + present.length) % present.length : Math.min(present.length - 1, Math.max(0, at));
        choose(present[to][0]);
        document.getElementById(`tab-${present[to][0]}`)?.focus();
    }

    return [
        h(
            'div',
            { class: 'tabs', role: 'tablist', 'aria-label': label, on: { keydown: onKey } },
            present.map(([name, text]) => h('button', { type: 'button', role: 'tab', id: `tab-${name}`, key: name, 'aria-selected': String(name === current[0]), 'aria-controls': 'tab-content', tabindex: name === current[0] ? 0 : -1, on: { click: () => choose(name) } }, text)),
        ),
        h('div', { role: 'tabpanel', id: 'tab-content', 'aria-labelledby': `tab-${current[0]}`, class: 'stack', key: `panel-${current[0]}` }, current[2]()),
    ];
}
