// The login: name and password, or a token of an identity provider.

import { h, render } from './core/view.js';
import { basic, bearer, logIn } from './core/session.js';
import { logo } from './parts/icons.js';

export function showLogin(app, enter, note = '') {
    const state = { kind: 'password', note, isBusy: false };
    document.title = 'Log in – Warren';

    const draw = () => render(app, view(state, { submit, choose }));

    function choose(kind) {
        state.kind = kind;
        state.note = '';
        draw();
        document.getElementById(kind === 'password' ? 'login-user' : 'login-token').focus();
    }

    async function submit(event) {
        event.preventDefault();
        const form = event.target;
        const given = (name) => form.elements[name].value;
        state.isBusy = true;
        state.note = '';
        draw();
        try {
            await logIn(state.kind === 'password' ? basic(given('user'), given('password')) : bearer(given('token')));
        } catch (error) {
            state.isBusy = false;
            state.note = refusal(error, state.kind);
            draw();
            form.elements[state.kind === 'password' ? 'password' : 'token'].select();
            return;
        }
        enter();
    }

    draw();
    document.getElementById('login-user').focus();
}

function refusal(error, kind) {
    if (error.status === 401 || error.status === 403) {
        const plain = kind === 'password' ? 'Wrong name or password, or a user without the right to manage.' : 'The token is not accepted.';
        return /not.?auth|unauthor|login failed|not allowed|not_management_user/i.test(error.message) ? plain : `${plain} (${error.message})`;
    }
    return error.status ? `The broker refused: ${error.message} (${error.status})` : 'The broker does not answer.';
}

function view(state, { submit, choose }) {
    const isPassword = state.kind === 'password';
    return h(
        'main',
        { class: 'login', key: 'login' },
        h(
            'form',
            { class: 'card', on: { submit }, 'aria-labelledby': 'login-title' },
            h('div', {}, logo({ class: 'logo' }), h('h1', { id: 'login-title' }, 'Warren'), h('p', { class: 'sub' }, 'Log in to look after this broker')),
            h('div', { id: 'login-note', role: 'alert', class: state.note && 'failure' }, state.note),
            isPassword
                ? [
                      field('User name', 'login-user', { name: 'user', type: 'text', autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false' }),
                      field('Password', 'login-password', { name: 'password', type: 'password', autocomplete: 'current-password' }),
                  ]
                : [field('Token', 'login-token', { name: 'token', type: 'password', autocomplete: 'off', spellcheck: 'false' }, 'A JSON Web Token that this broker trusts')],
            h('button', { class: 'button primary', type: 'submit', disabled: state.isBusy }, state.isBusy ? 'Logging in…' : 'Log in'),
            h('button', { class: 'button plain', type: 'button', on: { click: () => choose(isPassword ? 'token' : 'password') } }, isPassword ? 'Use a token instead' : 'Use a password instead'),
        ),
    );
}

function field(label, id, properties, help) {
    return h(
        'div',
        { class: 'field', key: id },
        h('label', { for: id }, label),
        h('input', { id, required: true, 'aria-describedby': help ? `${id}-help login-note` : 'login-note', ...properties }),
        help && h('span', { class: 'help', id: `${id}-help` }, help),
    );
}
