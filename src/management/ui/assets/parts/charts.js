// The charts that several pages show, from the fields that the API gives.

import { chart } from './chart.js';
import { settings } from '../core/settings.js';
import { either, levelPoints, ratePoints, record } from '../core/samples.js';

/** The rate of a counter of `message_stats`, such as `publish`; `key` tells apart whose it is. */
export function rateLine(stats, field, name, color, key) {
    const details = stats?.[`${field}_details`];
    const now = details?.rate ?? (stats ? 0 : undefined);
    const seen = record(`${key}.${field}`, now);
    return { name, color, points: either(ratePoints(details), seen), now };
}

/** A level with its history, such as `messages_ready`. */
export function levelLine(totals, field, name, color, key) {
    const now = totals?.[field];
    const seen = record(`${key}.${field}`, now);
    return { name, color, points: either(levelPoints(totals?.[`${field}_details`]), seen), now };
}

/** Counters of `message_stats`; those that are not always shown only when they ever counted. */
const RATE_FIELDS = [
    ['publish', 'Publish', 1],
    ['deliver_get', 'Deliver', 3],
    ['ack', 'Ack', 5],
    ['confirm', 'Confirm', 4],
    ['redeliver', 'Redeliver', 2],
    ['return_unroutable', 'Unroutable', 6],
];
const ALWAYS = new Set(['publish', 'deliver_get', 'ack', 'publish_in', 'publish_out']);

export function messageRates(stats, key, title = 'Message rates', fields = RATE_FIELDS) {
    const shown = fields.filter(([field]) => ALWAYS.has(field) || stats?.[field] > 0);
    return chart({ title, unit: 'rate', seconds: settings.rangeSeconds, series: shown.map(([field, name, color]) => rateLine(stats ?? {}, field, name, color, key)) });
}

export function queuedMessages(totals, key, title = 'Queued messages') {
    return chart({
        title,
        unit: 'count',
        seconds: settings.rangeSeconds,
        series: [levelLine(totals, 'messages_ready', 'Ready', 2, key), levelLine(totals, 'messages_unacknowledged', 'Unacked', 3, key), levelLine(totals, 'messages', 'Total', 5, key)],
    });
}
