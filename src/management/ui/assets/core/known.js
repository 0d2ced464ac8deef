// What all pages want to know of the broker: its overview, its vhosts. The shell loads it.

import { get } from './api.js';

const VHOSTS_EVERY_MS = 30000;

export const known = { overview: null, vhosts: [] };

let vhostsAt = 0;

export async function loadVhosts(signal) {
    if (Date.now() - vhostsAt < VHOSTS_EVERY_MS && known.vhosts.length > 0) return;
    const vhosts = await get('vhosts', { columns: 'name' }, { signal });
    known.vhosts = vhosts.map((vhost) => vhost.name).sort();
    vhostsAt = Date.now();
}

/** Has the list of vhosts read again with the next refresh. */
export function forgetVhosts() {
    vhostsAt = 0;
}

/** Of the overview, what the header and the menu show on every page. */
export async function loadShared(signal) {
    known.overview = await get('overview', { columns: 'cluster_name,node,object_totals,product_name,product_version,rabbitmq_version,exchange_types' }, { signal });
}

/** Another user may know other things. */
export function forgetAll() {
    known.overview = null;
    known.vhosts = [];
    forgetVhosts();
}
