// One user: tags, password, permissions, limits.

import { h } from '../core/view.js';
import { get, path, put } from '../core/api.js';
import { go } from '../core/router.js';
import { button, heading, loading } from '../parts/bits.js';
import { ask } from '../parts/dialog.js';
import { limitTable } from '../parts/limits.js';
import { permissionTable, topicPermissionTable } from '../parts/permissions.js';
import { done } from '../parts/toast.js';
import { deleteUsers, userBody, userForm, userTags } from './users.js';

export function open(page) {
    const { name } = page;
    const where = path('users', name);
    let user = null;
    let permissions = [];
    let topics = [];
    let limits = [];

    async function load(signal) {
        const options = { signal };
        [user, permissions, topics, limits] = await Promise.all([get(where, undefined, options), get(`${where}/permissions`, undefined, options), get(`${where}/topic-permissions`, undefined, options), get(path('user-limits', name), undefined, options)]);
    }

    async function edit() {
        const ok = await ask({ title: `Change user ${name}`, submit: 'Change', fields: userForm(user), onSubmit: (given) => put(where, userBody(given, user)) });
        if (!ok) return;
        done(`User ${name} is changed`);
        page.reload();
    }

    async function drop() {
        if (await deleteUsers([user])) go(['users']);
    }

    const view = () => [
        heading(name, { crumbs: [['Users', ['users']]], beside: user && userTags(user), actions: user && [button('Password and tags', edit), button('Delete', drop, { kind: 'danger' })] }),
        user === null
            ? loading(page)
            : h(
                  'div',
                  { class: 'stack' },
                  permissions.length === 0 && h('div', { class: 'notice' }, 'This user has no permissions and cannot enter any virtual host.'),
                  permissionTable({ permissions, user: name, changed: page.reload }),
                  topicPermissionTable({ permissions: topics, user: name, changed: page.reload }),
                  limitTable({ kind: 'user-limits', name, limits, changed: page.reload }),
              ),
    ];

    return { title: name, load, view };
}
