// Starts the page: takes up a session or asks for a login, then shows what the address says.

import { h, render } from './core/view.js';
import { applyTheme } from './core/settings.js';
import { resume, logOut } from './core/session.js';
import { startShell, stopShell } from './shell.js';
import { showLogin } from './login.js';

const app = document.getElementById('app');

applyTheme();
start();

async function start() {
    try {
        if (await resume()) return enter();
    } catch (error) {
        if (error.status !== 401) return unreachable(error);
        logOut();
        return showLogin(app, enter, 'Your session is no longer valid. Please log in again.');
    }
    showLogin(app, enter);
}

function enter() {
    startShell(app, leave);
}

/** Back to the login: by choice, or because the broker no longer takes the credentials. */
function leave(why) {
    stopShell();
    logOut();
    showLogin(app, enter, why);
}

function unreachable(error) {
    render(
        app,
        h(
            'main',
            { class: 'login' },
            h('div', { class: 'card' }, h('h1', {}, 'The broker does not answer'), h('p', { class: 'sub' }, error.message), h('p', {}, h('button', { class: 'button primary', type: 'button', on: { click: start } }, 'Try again'))),
        ),
    );
}
