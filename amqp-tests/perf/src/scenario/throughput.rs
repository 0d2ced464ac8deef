//! Messages through the broker at full speed, or at a fixed rate to see how long they take.

use std::sync::atomic::Ordering::Relaxed;

use clap::Args;
use hdrhistogram::Histogram;

use crate::clock::{now_ns, seconds, seconds_ns, sleep_punctually};
use crate::error::Result;
use crate::load::options::LoadOptions;
use crate::load::plan::Plan;
use crate::load::stage::{Harvest, Stage};
use crate::load::{Amount, verdict};
use crate::meter::{Usage, cpu_us_each};
use crate::outcome::{Outcome, histogram, octets, time};
use crate::scenario::Target;
use crate::scratch::Scratch;

/// A message that comes twice at the end comes soon.
const LINGER_NS: u64 = 30_000_000;
const MEMORY_EVERY_NS: u64 = 100_000_000;

/// Moves messages from producers to consumers as fast as they go.
#[derive(Args, Clone, Debug)]
pub(crate) struct ThroughputOptions {
    #[command(flatten)]
    load: LoadOptions,
    #[command(flatten)]
    times: Times,
    /// Publish N messages in all and measure until the last one came, instead of --duration
    #[arg(short = 'n', long, value_name = "N")]
    messages: Option<u64>,
    /// Publish N messages per second, all producers together, instead of as many as possible
    #[arg(long, value_name = "N", value_parser = positive)]
    rate: Option<f64>,
}

/// Publishes at a fixed rate and reports how long messages take, counted from when they were due.
#[derive(Args, Clone, Debug)]
pub(crate) struct LatencyOptions {
    #[command(flatten)]
    load: LoadOptions,
    #[command(flatten)]
    times: Times,
    /// Messages per second, all producers together
    #[arg(long, value_name = "N", default_value_t = 5000.0, value_parser = positive)]
    rate: f64,
}

#[derive(Args, Clone, Copy, Debug)]
struct Times {
    /// Seconds that are measured
    #[arg(short, long, value_name = "S", default_value_t = 5.0, value_parser = positive)]
    duration: f64,
    /// Seconds before that
    #[arg(long, value_name = "S", default_value_t = 0.5, value_parser = not_negative)]
    warmup: f64,
}

impl ThroughputOptions {
    pub(crate) fn run(&self, target: &Target) -> Result<Outcome> {
        let amount = Amount { size: self.load.size.unwrap_or(16), messages: self.messages, rate: self.rate };
        Run { load: &self.load, times: self.times, amount, target }.run()
    }
}

impl LatencyOptions {
    pub(crate) fn run(&self, target: &Target) -> Result<Outcome> {
        let amount = Amount { size: self.load.size.unwrap_or(1024), messages: None, rate: Some(self.rate) };
        Run { load: &self.load, times: self.times, amount, target }.run()
    }
}

struct Run<'r> {
    load: &'r LoadOptions,
    times: Times,
    amount: Amount,
    target: &'r Target,
}

/// What was measured while producers and consumers ran.
struct Window {
    published_per_s: f64,
    delivered_per_s: f64,
    /// From the first publish to the last delivery.
    before: Option<Usage>,
    after: Option<Usage>,
    published: u64,
    delivered: u64,
    rss_peak: u64,
}

impl Run<'_> {
    fn run(&self) -> Result<Outcome> {
        let uri = &self.target.uri;
        let mut scratch = Scratch::new(uri)?;
        let plan = Plan::declare(self.load, &mut scratch)?;
        if self.amount.rate.is_some() {
            sleep_punctually();
        }
        let consumers = self.amount.consumers(uri, &plan, self.load)?;
        let start_ns = now_ns() + 50_000_000;
        let producers = self.amount.producers(uri, &plan, self.load, start_ns)?;
        let stage = Stage::new(self.target.timeout_ns, producers.len(), consumers.len());
        let harvest = stage.run(consumers, producers, |stage| self.watch(stage, plan.copies()))?;
        let outcome = self.outcome(&plan, harvest);
        scratch.delete_all()?;
        Ok(outcome)
    }

    /// Waits out warm-up and measured time, then until everything has arrived.
    fn watch(&self, stage: &Stage, copies: u64) -> Result<Window> {
        let before = self.target.meter.read();
        let mut rss_peak = 0;
        let start_ns = now_ns();
        let from_ns =
            start_ns + if self.amount.messages.is_some() { 0 } else { seconds_ns(self.times.warmup) };
        let until_ns = match self.amount.messages {
            Some(_) => u64::MAX,
            None => from_ns + seconds_ns(self.times.duration),
        };
        self.mark(stage, from_ns, until_ns);
        self.watch_memory(stage, from_ns, &mut rss_peak)?;
        let (begun_ns, sent, received) = (now_ns(), stage.sent(), stage.received());
        self.watch_memory(stage, until_ns, &mut rss_peak)?;
        let mut ended_ns = now_ns();
        let (mut sent, mut received) = (stage.sent() - sent, stage.received() - received);
        stage.control.stop_producers();
        stage.wait_for_producers()?;
        let published = stage.sent();
        if !stage.received.is_empty() {
            let last_ns = stage.wait_for_deliveries(published * copies, self.target.patience_ns)?;
            if self.amount.messages.is_some() {
                (ended_ns, sent, received) = (last_ns, published, stage.received());
            }
            stage.control.wait(now_ns() + LINGER_NS, || false)?;
        }
        let after = self.target.meter.read();
        stage.control.stop_consumers();
        let span = seconds(ended_ns.saturating_sub(begun_ns)).max(1e-9);
        Ok(Window {
            published_per_s: sent as f64 / span,
            delivered_per_s: received as f64 / span,
            before,
            after,
            published,
            delivered: stage.received(),
            rss_peak,
        })
    }

    fn mark(&self, stage: &Stage, from_ns: u64, until_ns: u64) {
        stage.measured_from_ns.store(from_ns, Relaxed);
        stage.measured_until_ns.store(until_ns, Relaxed);
    }

    /// Waits until a time or until the producers have ended.
    fn watch_memory(&self, stage: &Stage, until_ns: u64, rss_peak: &mut u64) -> Result<()> {
        let mut next_ns = 0;
        stage.control.wait(until_ns, || {
            if now_ns() >= next_ns {
                next_ns = now_ns() + MEMORY_EVERY_NS;
                *rss_peak = (*rss_peak).max(self.target.meter.read().map_or(0, |usage| usage.rss));
            }
            let done = stage.producers_done.load(Relaxed);
            done == stage.sent.len() as u64
        })
    }

    fn outcome(&self, plan: &Plan, harvest: Harvest<Window>) -> Outcome {
        let mut outcome = Outcome::default();
        let window = &harvest.found;
        let consumed = !plan.consumers.is_empty();
        let (rate, count) = if consumed {
            (window.delivered_per_s, window.delivered)
        } else {
            (window.published_per_s, window.published)
        };
        outcome.fact("messages published", window.published as f64, "");
        outcome.fact("published", window.published_per_s, "/s");
        if consumed {
            outcome.fact("delivered", window.delivered_per_s, "/s");
        } else {
            outcome.notes.push("nobody consumed: deliveries were not checked".to_owned());
        }
        let octets_per_s = rate * self.amount.size as f64;
        outcome.fact("bodies", octets_per_s / f64::from(1 << 20), "MiB/s");
        outcome.rate = Some(rate);
        outcome.score = Some(rate);
        outcome.cpu_us = cpu_us_each(window.before, window.after, count);
        outcome.fact_if("broker CPU per message", outcome.cpu_us, "us");
        if window.rss_peak > 0 {
            outcome.fact("broker RSS peak", window.rss_peak as f64 / f64::from(1 << 20), "MiB");
        }
        outcome.remark = format!("{}/s of bodies", octets(octets_per_s));
        if self.amount.rate.is_some() {
            self.latencies(&mut outcome, &harvest);
        }
        if consumed {
            outcome.checked = true;
            outcome.verdict = verdict(plan, &harvest.sent, harvest.received);
        }
        outcome
    }

    fn latencies(&self, outcome: &mut Outcome, harvest: &Harvest<Window>) {
        let latencies = merged(harvest.received.iter().map(|consumer| &consumer.latencies));
        let late = merged(harvest.sent.iter().map(|producer| &producer.late));
        let (p50, p99) = outcome.percentiles("latency", &latencies);
        outcome.percentiles("of this, written late", &late);
        outcome.score = (p99 > 0.0).then(|| 1e6 / p99);
        let most = time(latencies.max() as f64 / 1e3);
        outcome.remark = format!("p50 {}, p99 {}, max {most}", time(p50), time(p99));
    }
}

fn merged<'h>(all: impl Iterator<Item = &'h Histogram<u64>>) -> Histogram<u64> {
    all.fold(histogram(), |mut sum, one| {
        let _ = sum.add(one);
        sum
    })
}

pub(crate) fn positive(text: &str) -> std::result::Result<f64, String> {
    not_negative(text)
        .and_then(|value| if value > 0.0 { Ok(value) } else { Err("it must be above 0".to_owned()) })
}

pub(crate) fn not_negative(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1e9).contains(&value) => Ok(value),
        _ => Err("not a number from 0 to 1e9".to_owned()),
    }
}
