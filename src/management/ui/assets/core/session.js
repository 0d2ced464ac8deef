// Who is logged in. Credentials live in this tab's sessionStorage, never in an address, a cookie or localStorage.

import { get } from './api.js';

const KEY = 'warren.authorization';

let who = null;

/** The value of the Authorization header; nothing when nobody is logged in. */
export function authorization() {
    try {
        return sessionStorage.getItem(KEY);
    } catch {
        return kept;
    }
}

// Where storage is forbidden, a login lasts until the page is loaded again.
let kept = null;

function keep(value) {
    kept = value;
    try {
        if (value) sessionStorage.setItem(KEY, value);
        else sessionStorage.removeItem(KEY);
    } catch {
        // see above
    }
}

export const basic = (user, password) => {
    const bytes = new TextEncoder().encode(`${user}:${password}`);
    return `Basic ${btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))}`;
};

export const bearer = (token) => `Bearer ${token.trim()}`;

/** Asks the broker who that is, and keeps the credentials if it knows. */
export async function logIn(credentials) {
    who = await get('whoami', undefined, { as: credentials });
    keep(credentials);
}

/** Takes up the session that this tab had before it was loaded again; false when there is none. */
export async function resume() {
    if (!authorization()) return false;
    who = await get('whoami');
    return true;
}

export function logOut() {
    who = null;
    keep(null);
}

export const userName = () => who?.name ?? '';

function tags() {
    const given = who?.tags ?? [];
    return Array.isArray(given) ? given : String(given).split(',').map((tag) => tag.trim());
}

/** The tags that bring the rights of `tag` with them. */
const INCLUDED_IN = {
    administrator: ['administrator'],
    monitoring: ['monitoring', 'administrator'],
    policymaker: ['policymaker', 'administrator'],
    management: ['management', 'policymaker', 'monitoring', 'administrator'],
};

export const may = (tag) => !tag || tags().some((given) => INCLUDED_IN[tag].includes(given));

export const tagNames = () => tags();
