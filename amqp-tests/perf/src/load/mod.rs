//! Producers and consumers: `options` say how many, `plan` what they use, `stage` runs `producer` and `consumer` threads.

pub(crate) mod consumer;
mod nap;
pub(crate) mod options;
pub(crate) mod plan;
pub(crate) mod producer;
pub(crate) mod stage;

use crate::error::Result;
use crate::ledger::{Verdict, judge};
use crate::uri::Uri;
use consumer::{Consumer, ConsumerOptions, Received};
use options::LoadOptions;
use plan::Plan;
use producer::{Pace, Producer, ProducerOptions, Sent};

/// How much of a load, beyond what the options of all loads say.
#[derive(Clone, Copy)]
pub(crate) struct Amount {
    pub(crate) size: usize,
    /// Messages of all producers together; without end otherwise.
    pub(crate) messages: Option<u64>,
    /// Messages per second of all producers together; at full speed otherwise.
    pub(crate) rate: Option<f64>,
}

impl Amount {
    /// Connects the producers of a plan; with a rate, their schedules begin at `start_ns`.
    pub(crate) fn producers(
        self,
        uri: &Uri,
        plan: &Plan,
        options: &LoadOptions,
        start_ns: u64,
    ) -> Result<Vec<Producer>> {
        let count = plan.producers.len();
        let open = |(number, routes): (usize, &Vec<_>)| {
            let options = ProducerOptions {
                size: self.size,
                persistent: options.persistent,
                confirm: options.confirm,
                per_write: if options.small_writes { 1 } else { u64::MAX },
                pace: self.rate.map(|rate| pace(rate, start_ns, number, count)),
                quota: self.messages.map_or(u64::MAX, |all| share(all, number, count)),
                nap: self.rate.is_none() && !options.no_nap,
            };
            Producer::open(uri, number, routes, plan.first_stream(number), options)
        };
        plan.producers.iter().enumerate().map(open).collect()
    }

    /// Connects the consumers of a plan.
    pub(crate) fn consumers(self, uri: &Uri, plan: &Plan, options: &LoadOptions) -> Result<Vec<Consumer>> {
        let consumer = ConsumerOptions {
            size: self.size,
            manual_ack: options.manual_ack,
            prefetch: options.prefetch,
            multi_ack: match options.prefetch {
                0 => options.multi_ack,
                // Acknowledging only full windows would let the broker wait for each.
                prefetch => options.multi_ack.min(prefetch.div_ceil(2)),
            },
            latencies: self.rate.is_some(),
            nap: self.rate.is_none() && !options.no_nap,
        };
        let open = |(number, queues): (usize, &Vec<usize>)| {
            let named: Vec<_> = queues.iter().map(|queue| (*queue, plan.queues[*queue].as_str())).collect();
            Consumer::open(uri, number, &named, consumer.clone())
        };
        plan.consumers.iter().enumerate().map(open).collect()
    }
}

/// Producers of one rate take turns, so that they do not all write at the same moment.
fn pace(rate: f64, start_ns: u64, number: usize, count: usize) -> Pace {
    let interval_ns = 1e9 * count as f64 / rate;
    let offset_ns = crate::clock::seconds_ns(interval_ns / 1e9 * number as f64 / count as f64);
    Pace { start_ns: start_ns + offset_ns, interval_ns }
}

fn share(all: u64, number: usize, count: usize) -> u64 {
    let (number, count) = (number as u64, count as u64);
    all / count + u64::from(number < all % count)
}

/// Compares what came with what was sent.
pub(crate) fn verdict(plan: &Plan, senders: &[Sent], receivers: Vec<Received>) -> Verdict {
    let sent: Vec<u32> = senders.iter().flat_map(|producer| producer.streams.iter().copied()).collect();
    let ledgers = receivers.into_iter().flat_map(|consumer| consumer.ledgers).collect();
    let refused = senders.iter().map(|producer| producer.refused).sum();
    Verdict { refused, ..judge(ledgers, &sent, |stream| plan.goes_to(stream)) }
}
