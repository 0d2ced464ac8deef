//! Black-box tests: the real broker over TCP, seen by a raw client of its own and by lapin.
//!
//! Files follow the groups of behaviour; the numbers in the comments are those of the list of behaviours.
#![expect(
    clippy::print_stderr,
    reason = "a test that is left out says so, and a failing one shows the broker's log"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "tests read clocks and the environment and start threads; src/ may not"
)]

mod support;

mod configuration;
mod endings;
mod frames;
mod handshake;
mod logins;
mod permissions;
mod proxy_protocol;
mod tls;
mod websocket;

mod channels;
mod deduplication;
mod exchanges;
mod hash_exchanges;
mod queue_arguments;
mod queues;
mod recent_history;
mod routing;

mod confirms;
mod publishing;
mod reply_to;
mod transactions;

mod consumer_timeout;
mod consuming;
mod fairness;
mod qos;
mod settling;

mod dead_letter;
mod dead_letter_kills;
mod delayed_exchange;
mod delayed_retry;
mod delivery_limit;
mod expiry;
mod limits;
mod priorities;

mod command_line;
mod definitions;
mod management;

mod differential;

mod events;
mod firehose;
mod surgery;
mod surgery_kills;

mod alarms;
mod backpressure;
mod lapin_example;
mod large;
mod load;
mod memory;
mod metrics;
mod mixed_load;
mod odd;
mod overload;
mod repeats;
mod robustness;
mod starting;
mod survive;
mod transaction_kills;
