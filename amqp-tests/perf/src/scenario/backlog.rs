//! A backlog: filled while nobody consumes, then drained.

use clap::Args;

use crate::clock::{now_ns, seconds};
use crate::error::{Error, Result};
use crate::load::options::LoadOptions;
use crate::load::plan::Plan;
use crate::load::producer::Sent;
use crate::load::stage::Stage;
use crate::load::{Amount, verdict};
use crate::meter::{Usage, cpu_us_each, rss_each};
use crate::outcome::{Outcome, number, octets};
use crate::scenario::Target;
use crate::scratch::Scratch;

/// What the broker does behind its answers should be over when its memory is read.
const SETTLE_NS: u64 = 500_000_000;

/// Publishes N messages while nobody consumes, reports what that cost, then drains them.
#[derive(Args, Clone, Debug)]
pub(crate) struct BacklogOptions {
    #[command(flatten)]
    load: LoadOptions,
    /// Messages, all producers together
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1_000_000)]
    messages: u64,
}

/// What one half of the run took.
struct Half {
    rate: f64,
    before: Option<Usage>,
    after: Option<Usage>,
}

impl BacklogOptions {
    pub(crate) fn run(&self, target: &Target) -> Result<Outcome> {
        if self.load.consumers == 0 {
            return Err(Error::new("a backlog needs consumers to drain it: --consumers is 0"));
        }
        let mut scratch = Scratch::new(&target.uri)?;
        let plan = Plan::declare(&self.load, &mut scratch)?;
        let amount =
            Amount { size: self.load.size.unwrap_or(1024), messages: Some(self.messages), rate: None };
        let (fill, sent) = self.fill(target, &plan, amount)?;
        let expected = self.messages * plan.copies();
        wait_until_held(target, &mut scratch, &plan, expected)?;
        let full = target.meter.read();

        let stage = Stage::new(target.timeout_ns, 0, plan.consumers.len());
        let before = target.meter.read();
        let start_ns = now_ns();
        let consumers = amount.consumers(&target.uri, &plan, &self.load)?;
        let harvest = stage.run(consumers, Vec::new(), |stage| {
            let last_ns = stage.wait_for_deliveries(expected, target.patience_ns)?;
            stage.control.stop_consumers();
            Ok(last_ns)
        })?;
        let rate = stage.received() as f64 / seconds(harvest.found.saturating_sub(start_ns).max(1));
        let drain = Half { rate, before, after: target.meter.read() };

        let mut outcome = self.outcome(&fill, &drain, full);
        outcome.checked = true;
        outcome.verdict = verdict(&plan, &sent, harvest.received);
        scratch.delete_all()?;
        Ok(outcome)
    }

    fn fill(&self, target: &Target, plan: &Plan, amount: Amount) -> Result<(Half, Vec<Sent>)> {
        let stage = Stage::new(target.timeout_ns, plan.producers.len(), 0);
        let producers = amount.producers(&target.uri, plan, &self.load, 0)?;
        let before = target.meter.read();
        let start_ns = now_ns();
        // Producers end when the broker has answered the closing of their channels: it has taken in everything.
        let harvest = stage.run(Vec::new(), producers, |stage| {
            stage.wait_for_producers()?;
            Ok(now_ns())
        })?;
        let rate = self.messages as f64 / seconds(harvest.found - start_ns);
        Ok((Half { rate, before, after: target.meter.read() }, harvest.sent))
    }

    fn outcome(&self, fill: &Half, drain: &Half, full: Option<Usage>) -> Outcome {
        let count = self.messages;
        let mut outcome = Outcome::default();
        outcome.fact("filled", fill.rate, "/s");
        let fill_us = cpu_us_each(fill.before, fill.after, count);
        outcome.fact_if("broker CPU per message, filling", fill_us, "us");
        outcome.fact("drained", drain.rate, "/s");
        let drain_us = cpu_us_each(drain.before, drain.after, count);
        outcome.fact_if("broker CPU per message, draining", drain_us, "us");
        let rss = rss_each(fill.before, full, count);
        outcome.fact_if("broker RSS per waiting message", rss, "B");
        outcome.fact_if(
            "broker RSS when full",
            full.map(|usage| usage.rss as f64 / f64::from(1 << 20)),
            "MiB",
        );
        (outcome.rate, outcome.score) = (Some(fill.rate), Some(fill.rate));
        outcome.cpu_us = fill_us.zip(drain_us).map(|(fill, drain)| fill + drain);
        outcome.remark = format!("rate is filling; drained {}/s", number(drain.rate));
        if let Some(rss) = rss {
            outcome.remark += &format!("; RSS {} each", octets(rss));
        }
        outcome
    }
}

/// Waits until the queues say that they hold everything, and a moment longer.
fn wait_until_held(target: &Target, scratch: &mut Scratch, plan: &Plan, expected: u64) -> Result<()> {
    let stage = Stage::new(target.timeout_ns, 0, 0);
    let (mut last, mut last_ns) = (0, now_ns());
    loop {
        let mut held = 0;
        for queue in &plan.queues {
            held += scratch.ready(queue)?;
        }
        if held > last {
            (last, last_ns) = (held, now_ns());
        }
        if held >= expected || now_ns() - last_ns > target.patience_ns {
            return stage.control.wait(now_ns() + SETTLE_NS, || false);
        }
        stage.control.wait(now_ns() + SETTLE_NS / 10, || false)?;
    }
}
