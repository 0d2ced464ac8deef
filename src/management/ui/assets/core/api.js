// Calls of the HTTP API, with the session's credentials; refusals become errors that say what failed and why.

import { authorization } from './session.js';

export class ApiError extends Error {
    constructor(status, reason, what) {
        super(reason);
        this.status = status;
        this.what = what;
    }
}

/** `path('queues', '/', 'a b')` is `queues/%2F/a%20b`. */
export const path = (...segments) => segments.map((segment) => encodeURIComponent(segment)).join('/');

export const get = (where, parameters, options) => call('GET', where, { parameters, ...options });
export const put = (where, body, options) => call('PUT', where, { body: body ?? {}, ...options });
export const post = (where, body, options) => call('POST', where, { body: body ?? {}, ...options });
export const remove = (where, options) => call('DELETE', where, options);

async function call(method, where, { parameters, body, headers, signal, as = authorization() } = {}) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(parameters ?? {})) {
        if (value !== undefined && value !== null && value !== '') query.set(name, value);
    }
    const address = `api/${where}${query.size ? `?${query}` : ''}`;
    const what = `${method} /api/${where}`;
    let answer;
    try {
        answer = await fetch(address, {
            method,
            signal,
            // The browser must neither ask for a password itself nor send one it knows.
            credentials: 'omit',
            cache: 'no-store',
            headers: { ...(as ? { authorization: as } : {}), ...(body ? { 'content-type': 'application/json' } : {}), ...headers },
            body: body ? JSON.stringify(body) : undefined,
        });
    } catch (problem) {
        if (problem.name === 'AbortError') throw problem;
        throw new ApiError(0, 'the broker does not answer', what);
    }
    const content = await read(answer);
    if (!answer.ok) throw new ApiError(answer.status, reason(answer, content), what);
    return content;
}

async function read(answer) {
    const text = await answer.text();
    if (text === '') return null;
    try {
        return JSON.parse(text);
    } catch {
        return text;
    }
}

function reason(answer, content) {
    const told = typeof content === 'object' && content !== null ? content.reason ?? content.error : content;
    const text = typeof told === 'string' ? told : told ? JSON.stringify(told) : '';
    if (text && text !== 'Not Found' && text.length < 2000) return text.trim();
    return { 401: 'not authorised', 403: 'not allowed', 404: 'there is no such thing (any more)' }[answer.status] ?? `status ${answer.status}`;
}
