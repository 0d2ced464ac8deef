// Publishing a message by hand.

import { path, post } from '../core/api.js';
import { ask } from './dialog.js';
import { toObject } from './form.js';
import { done, failed } from './toast.js';

const PROPERTIES = [
    { name: 'content_type', type: 'text', help: 'Such as application/json' },
    { name: 'content_encoding', type: 'text' },
    { name: 'correlation_id', type: 'text' },
    { name: 'reply_to', type: 'text' },
    { name: 'expiration', type: 'text', help: 'Milliseconds until the message expires, as text' },
    { name: 'message_id', type: 'text' },
    { name: 'timestamp', type: 'number', help: 'Seconds since 1970' },
    { name: 'type', type: 'text' },
    { name: 'user_id', type: 'text', help: 'Must be the user who publishes' },
    { name: 'app_id', type: 'text' },
    { name: 'priority', type: 'number', help: '0 to 255' },
];

/** Publishes to an exchange; `key` fills the routing key in. */
export const publish = ({ vhost, exchange, key = '', title }) =>
    ask({
        title,
        submit: 'Publish',
        isWide: true,
        fields: [
            { name: 'key', label: 'Routing key', type: 'text', value: key },
            { name: 'payload', label: 'Body', type: 'area', rows: 6 },
            { name: 'encoding', label: 'The body is', type: 'select', options: [['string', 'text'], ['base64', 'bytes, in base64']] },
            { name: 'persistent', label: 'Persistent', type: 'checkbox', value: true, help: 'A durable queue keeps it over a restart' },
            { name: 'properties', label: 'Properties', type: 'pairs', known: PROPERTIES, add: 'Add a property' },
            { name: 'headers', label: 'Headers', type: 'pairs', add: 'Add a header' },
        ],
        async onSubmit(given) {
            const properties = { ...toObject(given.properties), delivery_mode: given.persistent ? 2 : 1 };
            const headers = toObject(given.headers);
            if (Object.keys(headers).length) properties.headers = headers;
            const body = { properties, routing_key: given.key, payload: given.payload, payload_encoding: given.encoding };
            const { routed } = await post(path('exchanges', vhost, exchange || 'amq.default', 'publish'), body);
            if (routed) done('Published');
            else failed('Publishing', new Error('the message was taken, but no queue is bound for it'));
        },
    });
