//! Many queues: how fast they are declared, bound and deleted, and the memory of each.

use clap::Args;

use crate::clock::{now_ns, seconds};
use crate::control::Control;
use crate::error::Result;
use crate::meter::{cpu_us_each, rss_each};
use crate::outcome::{Outcome, number, octets};
use crate::scenario::Target;
use crate::scratch::Scratch;
use crate::wire::Table;

/// Declares N durable queues, binds each to a topic exchange, and deletes them.
#[derive(Args, Clone, Debug)]
pub(crate) struct DeclareOptions {
    /// Queues
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    queues: u32,
    /// Questions that are sent before their answers are waited for
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pipeline: u16,
    /// Declare transient queues
    #[arg(long)]
    transient: bool,
}

impl DeclareOptions {
    pub(crate) fn run(&self, target: &Target) -> Result<Outcome> {
        let control = Control::new(target.timeout_ns);
        let mut scratch = Scratch::new(&target.uri)?;
        scratch.pipeline = usize::from(self.pipeline);
        let exchange = scratch.name("topic");
        scratch.declare_exchange(&exchange, "topic", !self.transient)?;
        scratch.settle()?;
        let count = u64::from(self.queues);

        let before = target.meter.read();
        let start_ns = now_ns();
        for number in 0..self.queues {
            if number % 1000 == 0 {
                control.wait(0, || false)?;
            }
            let queue = scratch.name(&format!("declared-{number}"));
            scratch.declare_queue(&queue, !self.transient, &Table::new())?;
            scratch.bind(&queue, &exchange, &format!("*.queue.n{number}.#"))?;
        }
        scratch.settle()?;
        let rate = count as f64 / seconds(now_ns() - start_ns);
        let declared = target.meter.read();

        let start_ns = now_ns();
        scratch.delete_all()?;
        let deleted = count as f64 / seconds(now_ns() - start_ns);

        let mut outcome = Outcome { rate: Some(rate), score: Some(rate), ..Outcome::default() };
        outcome.fact("queues declared and bound", rate, "/s");
        outcome.fact("queues deleted", deleted, "/s");
        outcome.cpu_us = cpu_us_each(before, declared, count);
        outcome.fact_if("broker CPU per queue declared and bound", outcome.cpu_us, "us");
        let rss = rss_each(before, declared, count);
        outcome.fact_if("broker RSS per queue", rss, "B");
        outcome.remark = format!("queues with binding; deleted {}/s", number(deleted));
        if let Some(rss) = rss {
            outcome.remark += &format!("; RSS {} each", octets(rss));
        }
        Ok(outcome)
    }
}
