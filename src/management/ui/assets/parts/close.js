// Closing a client's connection, with a reason that it is told.

import { h } from '../core/view.js';
import { path, remove } from '../core/api.js';
import { plural } from '../core/format.js';
import { ask } from './dialog.js';
import { each } from './queue_forms.js';
import { done } from './toast.js';

export function closeConnections(connections) {
    const what = connections.length === 1 ? 'connection' : plural(connections.length, 'connection');
    return ask({
        title: `Close ${connections.length === 1 ? `connection ${connections[0].name}` : what}?`,
        text: h('p', {}, 'Its channels and consumers go with it; what was not acknowledged is delivered again. Most clients connect anew at once.'),
        fields: [{ name: 'reason', label: 'Reason', type: 'text', value: 'Closed via management', help: 'The client is told' }],
        submit: 'Close',
        isDanger: true,
        // A header holds no letters beyond Latin-1.
        onSubmit: ({ reason }) => each(connections, (connection) => remove(path('connections', connection.name), { headers: reason ? { 'X-Reason': reason.replace(/[^\x20-\x7e]/g, '?') } : {} })).then(() => done(`Closed ${what}`)),
    });
}
