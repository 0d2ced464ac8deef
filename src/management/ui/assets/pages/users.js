// All users.

import { h } from '../core/view.js';
import { get, path, put, remove } from '../core/api.js';
import { go, link } from '../core/router.js';
import { plural } from '../core/format.js';
import { button, heading, tag } from '../parts/bits.js';
import { ask, confirm } from '../parts/dialog.js';
import { each } from '../parts/queue_forms.js';
import { done } from '../parts/toast.js';
import { wholeList } from '../parts/whole_list.js';

const TAGS = [
    ['administrator', 'administrator: everything'],
    ['monitoring', 'monitoring: sees all of the broker'],
    ['policymaker', 'policymaker: sets policies'],
    ['management', 'management: sees what is theirs'],
];
const TAG_NAMES = TAGS.map(([name]) => name);

/** Tags come as a list or as one text, by version. */
export const tagsOf = (user) => (Array.isArray(user.tags) ? user.tags : String(user.tags ?? '').split(',')).map((one) => one.trim()).filter(Boolean);

export const userTags = (user) => h('span', { class: 'tags' }, tagsOf(user).map((one) => tag(one, one === 'administrator' ? 'accent' : '')));

export function open(page) {
    let users = null;

    const list = wholeList({
        page,
        caption: 'Users',
        unit: ['user', 'users'],
        sort: 'name',
        keyOf: (user) => user.name,
        columns: [
            { label: 'Name', sort: 'name', isHead: true, class: 'clip', cell: (user) => h('a', { href: link(['users', user.name]) }, user.name) },
            { label: 'Tags', cell: userTags },
            { label: 'Password', cell: (user) => (user.password_hash ? 'set' : tag('none', '', 'Cannot log in with a password')) },
            { label: 'Hash', rank: 'less', cell: (user) => (user.hashing_algorithm ?? '').replace('rabbit_password_hashing_', '') },
        ],
        picking: { label: (user) => user.name, actions: (chosen, clear) => button('Delete', () => drop(chosen, clear), { kind: 'small danger' }) },
    });

    async function drop(chosen, clear) {
        if (!(await deleteUsers(chosen))) return;
        clear();
        page.reload();
    }

    async function add() {
        const name = await addUser();
        if (name) go(['users', name]);
    }

    return {
        title: 'Users',
        async load(signal) {
            users = await get('users', undefined, { signal });
        },
        view: () => [heading('Users', { actions: button('Add a user', add, { kind: 'primary' }) }), list.view(users)],
    };
}

export function deleteUsers(users) {
    const what = users.length === 1 ? `user ${users[0].name}` : plural(users.length, 'user');
    return confirm(`Delete ${what}?`, 'Their permissions go, too, and their connections are closed.', 'Delete', () => each(users, (user) => remove(path('users', user.name))).then(() => done(`Deleted ${what}`)));
}

const passwordFields = [
    { name: 'password', label: 'Password', type: 'password', required: true, when: (given) => given.kind === 'password' },
    { name: 'again', label: 'Password, once more', type: 'password', required: true, when: (given) => given.kind === 'password' },
];

/** `user` is one that is there already: then what it has may stay. */
export const userForm = (user) => [
    !user && { name: 'name', label: 'User name', type: 'text', required: true },
    { name: 'kind', label: 'Login', type: 'select', options: [user && ['keep', 'As it is'], ['password', 'With a password'], ['none', 'Without a password: by certificate or token only']].filter(Boolean) },
    ...passwordFields,
    { name: 'tags', label: 'What the user may do in the management', type: 'checks', options: TAGS, value: user ? tagsOf(user).filter((one) => TAG_NAMES.includes(one)) : [] },
    { name: 'others', label: 'Other tags', type: 'text', value: user ? tagsOf(user).filter((one) => !TAG_NAMES.includes(one)).join(', ') : '', help: 'Names with commas between' },
].filter(Boolean);

/** What the API wants for the values of the form. */
export function userBody(given, user) {
    if (given.kind === 'password' && given.password !== given.again) throw new Error('The two passwords are not the same');
    const tags = [...given.tags, ...given.others.split(',').map((one) => one.trim()).filter(Boolean)].join(',');
    if (given.kind === 'password') return { tags, password: given.password };
    return user && given.kind === 'keep' ? { tags, password_hash: user.password_hash ?? '', hashing_algorithm: user.hashing_algorithm } : { tags, password_hash: '' };
}

const addUser = () =>
    ask({
        title: 'Add a user',
        submit: 'Add',
        fields: userForm(),
        async onSubmit(given) {
            await put(path('users', given.name), userBody(given));
            done(`User ${given.name} is added; it has no permissions yet`);
            return given.name;
        },
    });
