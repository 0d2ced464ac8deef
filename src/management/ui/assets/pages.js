// Which page stands at which address, and what somebody must be to see it.

/** `open(page)` of a module gives `{ title, load(signal), view() }`. */
export const PAGES = [
    { at: [], name: 'overview', title: 'Overview', menu: 'Broker', load: () => import('./pages/overview.js') },
    { at: ['connections'], name: 'connections', title: 'Connections', menu: 'Broker', load: () => import('./pages/connections.js') },
    { at: ['connections', ':name'], under: 'connections', load: () => import('./pages/connection.js') },
    { at: ['channels'], name: 'channels', title: 'Channels', menu: 'Broker', load: () => import('./pages/channels.js') },
    { at: ['channels', ':name'], under: 'channels', load: () => import('./pages/channel.js') },
    { at: ['exchanges'], name: 'exchanges', title: 'Exchanges', menu: 'Broker', load: () => import('./pages/exchanges.js') },
    { at: ['exchanges', ':vhost', ':name'], under: 'exchanges', load: () => import('./pages/exchange.js') },
    { at: ['queues'], name: 'queues', title: 'Queues', menu: 'Broker', load: () => import('./pages/queues.js') },
    { at: ['queues', ':vhost', ':name'], under: 'queues', load: () => import('./pages/queue.js') },
    { at: ['jobs'], name: 'jobs', title: 'Jobs', menu: 'Broker', load: () => import('./pages/jobs.js') },
    { at: ['cluster'], name: 'cluster', title: 'Cluster', menu: 'Broker', needs: 'monitoring', load: () => import('./pages/cluster.js') },
    { at: ['cluster', ':name'], under: 'cluster', needs: 'monitoring', load: () => import('./pages/node.js') },
    { at: ['policies'], name: 'policies', title: 'Policies', menu: 'Administration', needs: 'management', load: () => import('./pages/policies.js') },
    { at: ['vhosts'], name: 'vhosts', title: 'Virtual hosts', menu: 'Administration', load: () => import('./pages/vhosts.js') },
    { at: ['vhosts', ':name'], under: 'vhosts', load: () => import('./pages/vhost.js') },
    { at: ['users'], name: 'users', title: 'Users', menu: 'Administration', needs: 'administrator', load: () => import('./pages/users.js') },
    { at: ['users', ':name'], under: 'users', needs: 'administrator', load: () => import('./pages/user.js') },
    { at: ['definitions'], name: 'definitions', title: 'Definitions', menu: 'Administration', load: () => import('./pages/definitions.js') },
    { at: ['admin'], name: 'admin', title: 'Settings', menu: 'Administration', needs: 'monitoring', load: () => import('./pages/admin.js') },
];

/** The page at these segments of an address, with the parameters in it. */
export function pageAt(segments) {
    for (const page of PAGES) {
        if (page.at.length !== segments.length) continue;
        const parameters = {};
        const fits = page.at.every((part, at) => {
            if (!part.startsWith(':')) return part === segments[at];
            parameters[part.slice(1)] = segments[at];
            return true;
        });
        if (fits) return { page, parameters };
    }
    return null;
}
