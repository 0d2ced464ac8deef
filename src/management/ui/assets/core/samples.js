// From what the API gives to points of a chart: sampled histories where there are some, else what was seen while the page was open.

import { settings } from './settings.js';

/** How long a chart looks back, in seconds, and how far apart the samples are that are asked for. */
export const RANGES = [
    [60, 5, 'last minute'],
    [600, 5, 'last 10 minutes'],
    [3600, 60, 'last hour'],
    [28800, 600, 'last 8 hours'],
    [86400, 1800, 'last day'],
];

/** Query parameters that ask for histories of these kinds: `lengths`, `msg_rates`, `data_rates`, `node_stats`. */
export function historyOf(...kinds) {
    const [age, increment] = RANGES.find(([seconds]) => seconds === settings.rangeSeconds) ?? RANGES[1];
    return Object.fromEntries(kinds.flatMap((kind) => [[`${kind}_age`, age], [`${kind}_incr`, increment]]));
}

/** Points of a counter: how much it grew per second between two samples. The API gives the newest sample first. */
export function ratePoints(details) {
    const samples = details?.samples ?? [];
    const points = [];
    for (let at = samples.length - 2; at >= 0; at -= 1) {
        const [newer, older] = [samples[at], samples[at + 1]];
        const seconds = (newer.timestamp - older.timestamp) / 1000;
        // A counter begins anew when a node does.
        if (seconds > 0) points.push({ t: newer.timestamp, v: Math.max(0, (newer.sample - older.sample) / seconds) });
    }
    return points;
}

/** Points of a level, such as a number of messages. */
export function levelPoints(details) {
    return (details?.samples ?? []).map(({ sample, timestamp }) => ({ t: timestamp, v: sample })).reverse();
}

const MOST_POINTS = 2000;
const seen = new Map();

/** Remembers a value that the API gives without a history, under a name; gives the points so far. */
export function record(name, value, t = Date.now()) {
    if (!seen.has(name)) seen.set(name, []);
    const points = seen.get(name);
    if (typeof value === 'number' && (points.length === 0 || t - points.at(-1).t >= 500)) points.push({ t, v: value });
    if (points.length > MOST_POINTS) points.splice(0, points.length - MOST_POINTS);
    return points;
}

/** What was seen under other names than these prefixes is of pages that are closed. */
export function forgetAllBut(...prefixes) {
    for (const name of seen.keys()) if (!prefixes.some((prefix) => name.startsWith(prefix))) seen.delete(name);
}

/** The history of the API if it has one, else what was seen. */
export const either = (fromApi, recorded) => (fromApi.length > 1 ? fromApi : [...recorded]);
