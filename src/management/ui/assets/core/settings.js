// What this browser remembers of how somebody likes to look at things. Nothing secret: see session.js.

const KEY = 'warren.settings';
const DEFAULTS = { theme: 'auto', intervalMs: 5000, isPaused: false, rangeSeconds: 600, pageSize: 100, vhost: '' };

export const settings = { ...DEFAULTS, ...stored() };

function stored() {
    try {
        return JSON.parse(localStorage.getItem(KEY)) ?? {};
    } catch {
        return {}; // storage may be forbidden, or hold what an older version wrote
    }
}

export function remember(changes) {
    Object.assign(settings, changes);
    try {
        localStorage.setItem(KEY, JSON.stringify(settings));
    } catch {
        // not remembered, then
    }
    applyTheme();
}

export function applyTheme() {
    const root = document.documentElement;
    if (settings.theme === 'auto') delete root.dataset.theme;
    else root.dataset.theme = settings.theme;
}
