// Loads a page's data again and again: not while it is paused or nobody looks, and never twice at once.

import { settings } from './settings.js';

/** `load(signal)` is called at once and then in every interval; `told(error)` after each time. */
export function refreshing(load, told) {
    const stop = new AbortController();
    let timer = 0;
    let isLoading = false;
    let isWanted = false;

    async function once() {
        clearTimeout(timer);
        if (isLoading) {
            isWanted = true;
            return;
        }
        isLoading = true;
        isWanted = false;
        let problem = null;
        try {
            await load(stop.signal);
        } catch (error) {
            problem = error;
        }
        isLoading = false;
        if (stop.signal.aborted) return;
        told(problem);
        if (isWanted) return once();
        plan();
    }

    function plan() {
        clearTimeout(timer);
        if (!stop.signal.aborted && !settings.isPaused && !document.hidden) timer = setTimeout(once, settings.intervalMs);
    }

    const seen = () => (document.hidden ? clearTimeout(timer) : !settings.isPaused && once());
    document.addEventListener('visibilitychange', seen);
    once();

    return {
        now: once,
        plan,
        close() {
            clearTimeout(timer);
            stop.abort();
            document.removeEventListener('visibilitychange', seen);
        },
    };
}
