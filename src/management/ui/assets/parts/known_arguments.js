// The arguments that the broker knows, with what they mean: for forms of declarations and policies.

const number = (name, help, example) => ({ name, type: 'number', help, example });
const text = (name, help, example) => ({ name, type: 'text', help, example });
const flag = (name, help) => ({ name, type: 'boolean', help });
const choice = (name, options, help) => ({ name, type: 'text', options, help });

const RETRY = ['failed', 'returned', 'all', 'disabled'];

const QUEUE = [
    number('message-ttl', 'How long a message waits before it is dropped or dead-lettered, in milliseconds', '60000'),
    number('expires', 'The queue is deleted after so many milliseconds without use', '3600000'),
    number('max-length', 'At most so many messages', '100000'),
    number('max-length-bytes', 'At most so many bytes of message bodies', '1073741824'),
    choice('overflow', ['drop-head', 'reject-publish', 'reject-publish-dlx'], 'What happens to messages beyond the maximum length'),
    text('dead-letter-exchange', 'Where messages go that were rejected, expired or too many', 'dead-letters'),
    text('dead-letter-routing-key', 'Routing key of dead-lettered messages; without it, the one they had'),
    number('delivery-limit', 'How often a message is delivered again before it is dropped or dead-lettered', '20'),
    number('consumer-timeout', 'How long a consumer may take to acknowledge, in milliseconds', '1800000'),
    choice('delayed-retry-type', RETRY, 'Which messages wait before they are delivered again'),
    number('delayed-retry-min', 'The first delay before another try, in milliseconds', '1000'),
    number('delayed-retry-max', 'The longest delay before another try, in milliseconds', '60000'),
    choice('queue-leader-locator', ['client-local', 'balanced'], 'Where the leader of a quorum queue starts'),
];

const ONLY_DECLARED = [
    choice('queue-type', ['classic', 'quorum'], 'quorum: a copy on several nodes; classic: on one'),
    number('max-priority', 'Messages have priorities from 0 to this, 1 to 255', '10'),
    flag('single-active-consumer', 'Only one consumer at a time gets messages'),
    flag('message-deduplication', 'Messages whose id came before are dropped'),
    text('deduplication-header', 'The message header that holds the id'),
    number('cache-size', 'How many ids are kept, 1 to 1,000,000', '10000'),
    number('cache-ttl', 'How long an id is kept, in milliseconds'),
    number('delayed-retry-multiplier', 'Each delay is so many times the one before', '2'),
    number('delayed-retry-jitter', 'Percent by which a delay is made longer or shorter', '10'),
];

const prefixed = (list) => list.map((one) => ({ ...one, name: `x-${one.name}` }));

export const QUEUE_ARGUMENTS = prefixed([...QUEUE, ...ONLY_DECLARED]);

export const EXCHANGE_ARGUMENTS = [
    text('alternate-exchange', 'Where messages go that no binding of this exchange takes'),
    choice('x-delayed-type', ['direct', 'topic', 'fanout', 'headers'], 'How an exchange of the type x-delayed-message routes after the delay'),
    text('hash-header', 'The header whose value a hash exchange looks at, in place of the routing key'),
    text('hash-property', 'The property whose value a hash exchange looks at', 'message_id'),
    number('x-recent-history-length', 'How many messages an exchange of the type x-recent-history keeps', '20'),
    flag('x-message-deduplication', 'Messages whose id came before are dropped'),
    text('x-deduplication-header', 'The message header that holds the id'),
    number('x-cache-size', 'How many ids are kept', '10000'),
    number('x-cache-ttl', 'How long an id is kept, in milliseconds'),
];

export const BINDING_ARGUMENTS = [choice('x-match', ['all', 'any', 'all-with-x', 'any-with-x'], 'For headers exchanges: must all headers match, or any of them')];

export const POLICY_KEYS = [
    ...QUEUE,
    text('alternate-exchange', 'Where messages go that no binding of the exchange takes'),
    choice('ha-mode', ['all', 'exactly', 'nodes'], 'Copies of durable queues on several nodes, given when they are declared'),
    { name: 'ha-params', type: 'number', help: 'With ha-mode exactly: how many copies', example: '3' },
    number('target-group-size', 'How many copies a quorum queue should have', '3'),
];

const OPERATOR = new Set(['message-ttl', 'expires', 'max-length', 'max-length-bytes', 'overflow', 'delivery-limit', 'delayed-retry-type', 'delayed-retry-min', 'delayed-retry-max', 'target-group-size', 'ha-mode', 'ha-params']);

export const OPERATOR_POLICY_KEYS = POLICY_KEYS.filter((key) => OPERATOR.has(key.name));
