// Small pictures, each one a path on a grid of 24. They only ever stand beside words, or in a button that has a label.

import { h } from '../core/view.js';

const PATHS = {
    overview: 'M4 13h4v7H4zM10 4h4v16h-4zM16 9h4v11h-4z',
    queues: 'M4 5h16v4H4zM4 11h16v4H4zM4 17h16v3H4z',
    exchanges: 'M4 8h13M13 4l4 4-4 4M20 16H7M11 12l-4 4 4 4',
    connections: 'M9 3v5M15 3v5M6 8h12v3a6 6 0 0 1-12 0zM12 17v4',
    channels: 'M3 7c4 0 4 3 9 3s5-3 9-3M3 12c4 0 4 3 9 3s5-3 9-3M3 17c4 0 4 3 9 3s5-3 9-3',
    cluster: 'M12 3a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM5 16a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM19 16a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM11 8l-4.5 8M13 8l4.5 8M7.5 18.5h9',
    users: 'M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4 20c1-4 4-5.5 8-5.5s7 1.5 8 5.5',
    vhosts: 'M4 5h7v6H4zM13 5h7v6h-7zM4 13h7v6H4zM13 13h7v6h-7z',
    policies: 'M6 3h9l4 4v14H6zM14 3v5h5M9 12h7M9 16h7',
    definitions: 'M12 3v11M8 10l4 4 4-4M4 17v3h16v-3',
    jobs: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4l3 2',
    admin: 'M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM12 3v3M12 18v3M3 12h3M18 12h3M5.6 5.6l2.1 2.1M16.3 16.3l2.1 2.1M5.6 18.4l2.1-2.1M16.3 7.7l2.1-2.1',
    pause: 'M8 5v14M16 5v14',
    play: 'M7 5l12 7-12 7z',
    sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M5 19l2-2M17 7l2-2',
    moon: 'M19 14.5A8 8 0 0 1 9.5 5a8 8 0 1 0 9.5 9.5z',
    half: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 4v16',
    menu: 'M4 7h16M4 12h16M4 17h16',
    close: 'M6 6l12 12M18 6L6 18',
    out: 'M10 4H5v16h5M14 8l4 4-4 4M18 12H9',
    reload: 'M19 12a7 7 0 1 1-2.5-5.4M19 3v4.5h-4.5',
    plus: 'M12 5v14M5 12h14',
    up: 'M6 15l6-6 6 6',
    down: 'M6 9l6 6 6-6',
};

export const icon = (name, size = 16) =>
    h('svg', { width: size, height: size, viewBox: '0 0 24 24', fill: 'none', stroke: 'currentColor', 'stroke-width': 1.8, 'stroke-linecap': 'round', 'stroke-linejoin': 'round', 'aria-hidden': 'true' }, h('path', { d: PATHS[name] }));

/** The mark of the product. */
export const logo = (properties) =>
    h(
        'svg',
        { viewBox: '0 0 32 32', 'aria-hidden': 'true', ...properties },
        h('rect', { width: 32, height: 32, rx: 8, fill: '#0f766e' }),
        h('path', { d: 'M11 15C8.6 11 8.4 5.5 10.6 4.8c2.3-.7 4.2 4 4.4 8.7M21 15c2.4-4 2.6-9.5.4-10.2-2.3-.7-4.2 4-4.4 8.7', fill: '#99e6d8' }),
        h('path', { d: 'M6.5 27c0-8 4-13.5 9.5-13.5S25.5 19 25.5 27z', fill: '#fff' }),
        h('path', { d: 'M13 27v-3a3 3 0 0 1 6 0v3z', fill: '#0f766e' }),
    );
