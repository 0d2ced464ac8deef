// A message as it can be read: where it came from, its properties and headers, its body.

import { h } from '../core/view.js';
import { bytes, count, date, plural, value } from '../core/format.js';
import { tag } from './bits.js';

const HEX_BYTES_MAX = 4096;

/** `extra` goes into the head of the message: a checkbox, say. */
export function messageView(message, at, extra) {
    const { headers = {}, ...properties } = Array.isArray(message.properties) ? {} : (message.properties ?? {});
    return h(
        'article',
        { class: 'message', 'aria-label': `Message ${at + 1}`, key: message.id ?? at },
        h(
            'header',
            {},
            extra,
            h('strong', {}, `#${count(message.id ?? at + 1)}`),
            message.state && message.state !== 'ready' && tag(message.state, 'warn'),
            h('span', {}, h('span', { class: 'muted' }, 'through '), message.exchange || '(default exchange)'),
            h('span', {}, h('span', { class: 'muted' }, 'key '), h('code', {}, message.routing_key)),
            message.redelivered && tag('redelivered', 'warn', 'It was delivered before'),
            message.delivery_count > 0 && tag(`came back ${plural(message.delivery_count, 'time')}`, 'warn'),
            h('span', { class: 'muted' }, bytes(message.payload_bytes)),
            message.arrived_ms && h('span', { class: 'muted' }, `arrived ${date(message.arrived_ms)}`),
            message.expires_ms && h('span', { class: 'muted' }, `expires ${date(message.expires_ms)}`),
        ),
        pairs('Properties', properties),
        pairs('Headers', headers),
        h('pre', { class: 'payload', tabindex: 0, role: 'region', 'aria-label': `Body of message ${at + 1}` }, bodyText(message)),
    );
}

function pairs(title, object) {
    const entries = Object.entries(object);
    return entries.length > 0 && h('div', { class: 'row' }, h('span', { class: 'hint' }, title), h('span', { class: 'tags' }, entries.map(([name, given]) => tag(`${name}: ${shown(name, given)}`))));
}

const shown = (name, given) => (name === 'timestamp' && Number.isInteger(given) ? `${given} (${date(given * 1000)})` : value(given));

function bodyText({ payload, payload_encoding: encoding }) {
    if (encoding === 'base64') return hex(payload);
    if (/^\s*[{[]/.test(payload)) {
        try {
            return JSON.stringify(JSON.parse(payload), null, 2);
        } catch {
            // no JSON, then
        }
    }
    return payload === '' ? '(empty)' : payload;
}

/** Bytes that are no text, sixteen in a line, with the letters among them. */
function hex(base64) {
    const octets = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const lines = [];
    for (let at = 0; at < Math.min(octets.length, HEX_BYTES_MAX); at += 16) {
        const part = Array.from(octets.slice(at, at + 16));
        const numbers = part.map((octet) => octet.toString(16).padStart(2, '0')).join(' ');
        const letters = part.map((octet) => (octet >= 32 && octet < 127 ? String.fromCharCode(octet) : '·')).join('');
        lines.push(`${at.toString(16).padStart(6, '0')}  ${numbers.padEnd(48)} ${letters}`);
    }
    if (octets.length > HEX_BYTES_MAX) lines.push(`… ${count(octets.length - HEX_BYTES_MAX)} bytes more`);
    return lines.join('\n');
}
