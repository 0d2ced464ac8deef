//! Delays: messages with expirations of their own wait in a queue and leave through its dead-letter exchange.

use clap::Args;
use hdrhistogram::Histogram;

use crate::clock::{now_ns, seconds};
use crate::confirms::Confirms;
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::ledger::{Verdict, judge};
use crate::load::consumer::{Consumer, ConsumerOptions};
use crate::load::options::body_size;
use crate::load::stage::Stage;
use crate::meter::{Usage, cpu_us_each, rss_each};
use crate::outcome::{Outcome, histogram, octets, time};
use crate::publish::{Form, Route, STAMP, Stamp, encode};
use crate::scenario::Target;
use crate::scratch::Scratch;
use crate::wire::{Encoder, Table, Value};

/// Stamps lie this much before the due time, so that what comes early is seen in a histogram without negative times.
const MARGIN_NS: u64 = 20_000_000;
/// Expirations are whole milliseconds, and the broker's clock may stand up to one behind a write.
const EARLY_NS: u64 = 1_000_000;
const WINDOW: u64 = 2000;
const PER_WRITE: u64 = 100;

/// Sends N persistent messages that expire after random times, and reports how late each leaves.
#[derive(Args, Clone, Debug)]
pub(crate) struct DelaysOptions {
    /// Messages
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    messages: u32,
    /// Shortest delay in milliseconds; the publishing should not take longer
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    min: u64,
    /// Longest delay in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    max: u64,
    /// Octets of a message's body, at least 16
    #[arg(short, long, value_name = "OCTETS", default_value = "256", value_parser = body_size)]
    size: usize,
}

/// What was seen while the messages waited.
struct Waiting {
    before: Option<Usage>,
    published: Option<Usage>,
    after: Option<Usage>,
    publish_ns: u64,
    refused: u64,
}

impl DelaysOptions {
    pub(crate) fn run(&self, target: &Target) -> Result<Outcome> {
        if self.min > self.max {
            return Err(Error::new("--min is above --max"));
        }
        let mut scratch = Scratch::new(&target.uri)?;
        let (waiting, due) = declare(&mut scratch)?;
        let options = ConsumerOptions {
            size: self.size,
            manual_ack: false,
            prefetch: 0,
            multi_ack: 1,
            latencies: true,
            nap: false,
        };
        let consumer = Consumer::open(&target.uri, 0, &[(0, &due)], options)?;
        let stage = Stage::new(target.timeout_ns, 0, 1);
        stage.measured_from_ns.store(0, std::sync::atomic::Ordering::Relaxed);
        let harvest = stage.run(vec![consumer], Vec::new(), |stage| self.watch(target, stage, &waiting))?;

        let mut times = histogram();
        let mut ledgers = Vec::new();
        for consumer in harvest.received {
            let _ = times.add(&consumer.latencies);
            ledgers.extend(consumer.ledgers);
        }
        let mut outcome = self.outcome(&times, &harvest.found);
        outcome.checked = true;
        // Delays are random, so is the order.
        outcome.verdict = Verdict {
            out_of_order: 0,
            refused: harvest.found.refused,
            early: outcome.verdict.early,
            ..judge(ledgers, &[self.messages], |_| vec![0])
        };
        scratch.delete_all()?;
        Ok(outcome)
    }

    /// Publishes everything, then waits until everything came back.
    fn watch(&self, target: &Target, stage: &Stage, queue: &str) -> Result<Waiting> {
        let before = target.meter.read();
        let start_ns = now_ns();
        let refused = self.publish(target, stage, queue)?;
        let publish_ns = now_ns() - start_ns;
        let published = target.meter.read();
        let patience_ns = self.max * 1_000_000 + target.patience_ns;
        stage.wait_for_deliveries(u64::from(self.messages), patience_ns)?;
        let after = target.meter.read();
        stage.control.stop_consumers();
        Ok(Waiting { before, published, after, publish_ns, refused })
    }

    fn publish(&self, target: &Target, stage: &Stage, queue: &str) -> Result<u64> {
        let mut connection = Connection::with_channel(&target.uri)?;
        connection.select_confirms()?;
        let form = Form { size: self.size, persistent: true, frame_max: connection.frame_max };
        let route = Route { exchange: String::new(), key: queue.to_owned() };
        let mut confirms = Confirms::new(WINDOW);
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut out = Encoder::default();
        let mut sequence = 0;
        while sequence < self.messages {
            let now = now_ns();
            out.bytes.clear();
            let end =
                self.messages.min(sequence + u32::try_from(PER_WRITE.min(confirms.room())).unwrap_or(1));
            confirms.note_sent(u64::from(end - sequence));
            for number in sequence..end {
                let delay_ms = self.min + random.below(self.max - self.min + 1);
                let at = encode(&mut out, &route, &form, Some(&delay_ms.to_string()));
                let time_ns = (now + delay_ms * 1_000_000).saturating_sub(MARGIN_NS);
                let stamp = Stamp { stream: 0, sequence: number, time_ns };
                out.bytes[at..at + STAMP].copy_from_slice(&stamp.octets());
            }
            sequence = end;
            connection.send(&out.bytes, || stage.control.over())?;
            if confirms.room() < PER_WRITE {
                settle(&mut connection, &mut confirms, stage, WINDOW - WINDOW / 4)?;
            }
        }
        settle(&mut connection, &mut confirms, stage, 0)?;
        connection.finish()?;
        Ok(confirms.refused)
    }

    fn outcome(&self, times: &Histogram<u64>, seen: &Waiting) -> Outcome {
        let count = u64::from(self.messages);
        let mut outcome = Outcome::default();
        let rate = count as f64 / seconds(seen.publish_ns);
        let (lateness, early) = shifted(times);
        outcome.rate = Some(rate);
        outcome.fact("published", rate, "/s");
        let (p50, p99) = outcome.percentiles("lateness", &lateness);
        outcome.verdict.early = early;
        outcome.cpu_us = cpu_us_each(seen.before, seen.after, count);
        outcome.fact_if("broker CPU per message", outcome.cpu_us, "us");
        outcome.score = (p99 > 0.0).then(|| 1e6 / p99);
        outcome.remark = format!("late p50 {}, p99 {}", time(p50), time(p99));
        if seen.publish_ns > self.min * 1_000_000 {
            outcome.notes.push("publishing took longer than --min: no memory figure".to_owned());
        } else if let Some(rss) = rss_each(seen.before, seen.published, count) {
            outcome.fact("broker RSS per waiting message", rss, "B");
            outcome.remark += &format!("; RSS {} each", octets(rss));
        }
        outcome
    }
}

/// Times counted from the due time, and how many were before it.
fn shifted(times: &Histogram<u64>) -> (Histogram<u64>, u64) {
    let (mut lateness, mut early) = (histogram(), 0);
    for step in times.iter_recorded() {
        let (value, count) = (step.value_iterated_to(), step.count_at_value());
        lateness.saturating_record_n(value.saturating_sub(MARGIN_NS), count);
        if value + EARLY_NS < MARGIN_NS {
            early += count;
        }
    }
    (lateness, early)
}

/// Declares the queue where messages wait and the one where they come out.
fn declare(scratch: &mut Scratch) -> Result<(String, String)> {
    let (waiting, due) = (scratch.name("waiting"), scratch.name("due"));
    let to_due = vec![
        ("x-dead-letter-exchange".to_owned(), Value::Text(String::new())),
        ("x-dead-letter-routing-key".to_owned(), Value::Text(due.clone())),
    ];
    scratch.declare_queue(&due, true, &Table::new())?;
    scratch.declare_queue(&waiting, true, &to_due)?;
    scratch.settle()?;
    Ok((waiting, due))
}

/// Reads until at most `allowed` messages wait for their confirm.
fn settle(connection: &mut Connection, confirms: &mut Confirms, stage: &Stage, allowed: u64) -> Result<()> {
    while confirms.waiting() > allowed && !stage.control.over() {
        connection.receive()?;
        confirms.take_all(connection)?;
    }
    Ok(())
}

/// The same delays in every run, so that runs can be compared (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
