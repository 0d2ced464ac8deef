//! The options of all scenarios that move messages from producers to consumers.

use clap::{Args, ValueEnum};

use crate::publish::STAMP;
use crate::wire::{Table, Value};

/// Who publishes what to where, and who consumes it.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadOptions {
    /// Connections that publish
    #[arg(short = 'P', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) producers: u16,
    /// Connections that consume; 0: publish only
    #[arg(short = 'C', long, value_name = "N", default_value_t = 1)]
    pub(crate) consumers: u16,
    /// Queues; several producers or consumers share one, or one goes round several
    #[arg(short = 'Q', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=20_000))]
    pub(crate) queues: u16,
    /// Octets of a message's body, at least 16
    #[arg(short, long, value_name = "OCTETS", value_parser = body_size)]
    pub(crate) size: Option<usize>,
    /// Declare durable queues
    #[arg(long)]
    pub(crate) durable: bool,
    /// Publish persistent messages
    #[arg(long)]
    pub(crate) persistent: bool,
    /// Use publisher confirms: at most N messages of a producer are unconfirmed; 0: no confirms
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub(crate) confirm: u64,
    /// Acknowledge deliveries; otherwise they need no acknowledgement
    #[arg(long)]
    pub(crate) manual_ack: bool,
    /// With --manual-ack: unacknowledged messages per consumer and queue; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) prefetch: u16,
    /// With --manual-ack: one basic.ack for M deliveries
    #[arg(long, value_name = "M", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) multi_ack: u16,
    /// The exchange that routes the messages
    #[arg(long, value_enum, default_value = "default")]
    pub(crate) exchange: Exchange,
    /// Every message goes to N queues (not with the default exchange; fanout: to all queues)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) fanout: u16,
    /// Routing keys that a producer goes round, for each group of queues (not with the default exchange)
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) keys: u16,
    /// Bindings beyond those needed, which match no message (fanout: which are bound to a queue again)
    #[arg(long, value_name = "B", default_value_t = 0)]
    pub(crate) bindings: u32,
    /// One publish per write, as clients do that wait for nothing
    #[arg(long)]
    pub(crate) small_writes: bool,
    /// Never wait a moment after small reads so that the next one brings more
    #[arg(long)]
    pub(crate) no_nap: bool,
    /// An argument of the queues, such as x-queue-type=quorum; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = argument)]
    pub(crate) queue_argument: Vec<(String, String)>,
}

/// The type of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Exchange {
    Default,
    Direct,
    Topic,
    Fanout,
}

impl Exchange {
    /// The name that AMQP has for the type.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Default | Self::Direct => "direct",
            Self::Topic => "topic",
            Self::Fanout => "fanout",
        }
    }
}

impl LoadOptions {
    /// Arguments of the queues; what looks like a number or a truth value is sent as one.
    pub(crate) fn queue_arguments(&self) -> Table {
        let typed = |text: &String| match (text.parse::<i64>(), text.parse::<bool>()) {
            (Ok(number), _) => Value::Number(number),
            (_, Ok(flag)) => Value::Flag(flag),
            _ => Value::Text(text.clone()),
        };
        self.queue_argument.iter().map(|(key, value)| (key.clone(), typed(value))).collect()
    }
}

/// Reads the size of a body.
pub(crate) fn body_size(text: &str) -> Result<usize, String> {
    let size: usize = text.parse().map_err(|_| "not a number".to_owned())?;
    if !(STAMP..=64 << 20).contains(&size) {
        return Err(format!(
            "a body has {STAMP} octets at least, for its number and time, and 64 MiB at most"
        ));
    }
    Ok(size)
}

fn argument(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("there is no = in it")?;
    Ok((key.to_owned(), value.to_owned()))
}
