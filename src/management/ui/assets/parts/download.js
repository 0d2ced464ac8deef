// Saving what the broker gave as a file of the browser.

import { build, h } from '../core/view.js';

export function download(name, content) {
    const address = URL.createObjectURL(new Blob([content], { type: 'application/json' }));
    const link = build(h('a', { href: address, download: name }));
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
}
