//! Which queues there are, which messages go to which of them, who publishes and who consumes where.

use crate::error::{Error, Result};
use crate::load::options::{Exchange, LoadOptions};
use crate::publish::Route;
use crate::scratch::Scratch;

/// The topology of a run. Producers' routes are numbered through: each is a stream of messages.
pub(crate) struct Plan {
    pub(crate) queues: Vec<String>,
    /// Routes of each producer.
    pub(crate) producers: Vec<Vec<Route>>,
    /// Queues of each consumer; its channels are in the same order.
    pub(crate) consumers: Vec<Vec<usize>>,
    /// The group of queues that each stream goes to.
    streams: Vec<usize>,
    /// Queues per group.
    fanout: usize,
}

impl Plan {
    /// Declares what the options ask for.
    pub(crate) fn declare(options: &LoadOptions, scratch: &mut Scratch) -> Result<Self> {
        let queue_count = usize::from(options.queues);
        let fanout = match options.exchange {
            Exchange::Fanout => queue_count,
            _ => usize::from(options.fanout),
        };
        if !queue_count.is_multiple_of(fanout) {
            return Err(Error::new("--queues must be a multiple of --fanout"));
        }
        if options.exchange == Exchange::Default && (fanout > 1 || options.keys > 1 || options.bindings > 0) {
            return Err(Error::new(
                "the default exchange has no --fanout, --keys or --bindings: give --exchange",
            ));
        }
        let queues = (0..queue_count).map(|n| scratch.name(&format!("queue-{n}"))).collect();
        let mut plan =
            Self { queues, producers: Vec::new(), consumers: Vec::new(), streams: Vec::new(), fanout };
        let exchange = plan.declare_all(options, scratch)?;
        plan.assign(options, &exchange);
        Ok(plan)
    }

    /// The queues that a stream's messages go to.
    pub(crate) fn goes_to(&self, stream: usize) -> Vec<usize> {
        self.streams.get(stream).map_or(Vec::new(), |group| self.members(*group).collect())
    }

    /// Deliveries of one message.
    pub(crate) fn copies(&self) -> u64 {
        self.fanout as u64
    }

    /// The number of a producer's first stream.
    pub(crate) fn first_stream(&self, producer: usize) -> u32 {
        let before: usize = self.producers.iter().take(producer).map(Vec::len).sum();
        u32::try_from(before).unwrap_or(u32::MAX)
    }

    fn members(&self, group: usize) -> std::ops::Range<usize> {
        group * self.fanout..(group + 1) * self.fanout
    }

    /// Declares queues, exchange and bindings; gives the exchange's name.
    fn declare_all(&self, options: &LoadOptions, scratch: &mut Scratch) -> Result<String> {
        let arguments = options.queue_arguments();
        for queue in &self.queues {
            scratch.declare_queue(queue, options.durable, &arguments)?;
        }
        let mut exchange = String::new();
        if options.exchange != Exchange::Default {
            exchange = scratch.name("exchange");
            scratch.declare_exchange(&exchange, options.exchange.kind(), options.durable)?;
            self.bind_all(options, &exchange, scratch)?;
        }
        scratch.settle()?;
        Ok(exchange)
    }

    fn bind_all(&self, options: &LoadOptions, exchange: &str, scratch: &mut Scratch) -> Result<()> {
        for (number, queue) in self.queues.iter().enumerate() {
            let group = number / self.fanout;
            match options.exchange {
                Exchange::Default => {}
                Exchange::Fanout => scratch.bind(queue, exchange, "")?,
                Exchange::Topic => scratch.bind(queue, exchange, &format!("*.g{group}.#"))?,
                Exchange::Direct => {
                    for key in 0..options.keys {
                        scratch.bind(queue, exchange, &routing_key(group, key))?;
                    }
                }
            }
        }
        for number in 0..options.bindings {
            let queue = &self.queues[number as usize % self.queues.len()];
            // In a topic exchange these share the beginning with keys that are used, and part from them late.
            let group = number as usize % (self.queues.len() / self.fanout);
            scratch.bind(queue, exchange, &format!("*.g{group}.unused.b{number}"))?;
        }
        Ok(())
    }

    fn assign(&mut self, options: &LoadOptions, exchange: &str) {
        let groups = self.queues.len() / self.fanout;
        let keys = if options.exchange == Exchange::Default { 1 } else { options.keys };
        for producer in 0..usize::from(options.producers) {
            let mut routes = Vec::new();
            for group in shares(producer, usize::from(options.producers), groups) {
                for key in 0..keys {
                    routes.push(self.route(options, exchange, group, key));
                    self.streams.push(group);
                }
            }
            self.producers.push(routes);
        }
        let consumers = usize::from(options.consumers);
        self.consumers = (0..consumers).map(|one| shares(one, consumers, self.queues.len())).collect();
    }

    fn route(&self, options: &LoadOptions, exchange: &str, group: usize, key: u16) -> Route {
        let key = match options.exchange {
            Exchange::Default => self.queues[group].clone(),
            Exchange::Direct | Exchange::Topic | Exchange::Fanout => routing_key(group, key),
        };
        Route { exchange: exchange.to_owned(), key }
    }
}

fn routing_key(group: usize, key: u16) -> String {
    format!("k{key}.g{group}.used")
}

/// Which of `things` belong to worker `one` of `workers`: with more workers than things they share.
fn shares(one: usize, workers: usize, things: usize) -> Vec<usize> {
    if workers >= things { vec![one % things] } else { (one..things).step_by(workers).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_shared_out() {
        assert_eq!(shares(3, 4, 2), [1]);
        assert_eq!(shares(1, 2, 5), [1, 3]);
        assert_eq!(shares(0, 1, 3), [0, 1, 2]);
    }
}
