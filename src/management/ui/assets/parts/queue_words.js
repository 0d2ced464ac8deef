// What is special about a queue, in a few words.

import { h } from '../core/view.js';
import { state, tag } from './bits.js';

/** Arguments and policy keys that have a short word of their own. */
const WORDS = {
    'message-ttl': 'TTL',
    expires: 'Exp',
    'max-length': 'Lim',
    'max-length-bytes': 'Lim B',
    'dead-letter-exchange': 'DLX',
    'max-priority': 'Pri',
    'single-active-consumer': 'SAC',
    'delivery-limit': 'DLim',
    'delayed-retry-type': 'Retry',
    'message-deduplication': 'Dedup',
};

export function queueTags(queue) {
    const type = queue.type ?? queue.arguments?.['x-queue-type'] ?? 'classic';
    return h(
        'span',
        { class: 'tags' },
        type !== 'classic' && tag(type, 'accent'),
        queue.durable === false && tag('transient', 'warn', 'Gone after a restart'),
        queue.auto_delete && tag('AD', '', 'Deleted when its last consumer goes'),
        queue.exclusive && tag('Excl', '', 'Of one connection'),
        Object.keys(queue.arguments ?? {}).map((name) => WORDS[name.replace(/^x-/, '')] && tag(WORDS[name.replace(/^x-/, '')], '', `${name}: ${JSON.stringify(queue.arguments[name])}`)),
        queue.policy && tag(queue.policy, 'accent', 'Policy'),
        queue.operator_policy && tag(queue.operator_policy, 'warn', 'Operator policy'),
    );
}

const BAD = new Set(['down', 'crashed', 'stopped', 'minority']);

export function queueState(queue) {
    if (queue.idle_since && queue.state === 'running' && !queue.message_stats?.publish_details?.rate) return state('idle', '');
    const name = queue.state ?? 'unknown';
    return state(name, name === 'running' ? 'good' : BAD.has(name) ? 'bad' : 'warn');
}
