// Addresses of pages: `#/queues/%2F/orders?tab=messages`. Everything somebody may want to come back to stands in the address.

/** The address of a page. Empty parts of the query are left out. */
export function link(segments, query = {}) {
    const asked = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
        if (value !== undefined && value !== null && value !== '' && value !== false) asked.set(name, value);
    }
    return `#/${segments.map((segment) => encodeURIComponent(segment)).join('/')}${asked.size ? `?${asked}` : ''}`;
}

export function here() {
    const [where, query = ''] = location.hash.replace(/^#\/?/, '').split(/\?(.*)/s);
    const segments = where === '' ? [] : where.split('/').map(decode);
    return { segments, query: Object.fromEntries(new URLSearchParams(query)) };
}

function decode(segment) {
    try {
        return decodeURIComponent(segment);
    } catch {
        return segment;
    }
}

/** Goes to a page; with `replace`, without a step in the browser's history. */
export function go(segments, query, replace = false) {
    const address = link(segments, query);
    if (address === location.hash) return;
    if (replace) {
        history.replaceState(null, '', address);
        window.dispatchEvent(new HashChangeEvent('hashchange'));
    } else {
        location.hash = address;
    }
}

/** Changes parts of the query of the page that is open. */
export function ask(changes) {
    const { segments, query } = here();
    go(segments, { ...query, ...changes }, true);
}
