//! One persistent message at a time: how long until it is confirmed, beside what the disk needs for as many octets.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use hdrhistogram::Histogram;

use crate::clock::{now_ns, seconds, seconds_ns};
use crate::confirms::Confirms;
use crate::connection::Connection;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::load::options::body_size;
use crate::meter::cpu_us_each;
use crate::outcome::{Outcome, histogram, time};
use crate::publish::{Block, Form, Route};
use crate::scenario::Target;
use crate::scenario::throughput::positive;
use crate::scratch::Scratch;
use crate::wire::Table;

/// Broker and disk take turns of this length, so that both meet the same disturbances.
const TURN_NS: u64 = 250_000_000;

/// Publishes one persistent message at a time to a durable queue and waits for its confirm.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConfirmLatencyOptions {
    /// Octets of a message's body, at least 16
    #[arg(short, long, value_name = "OCTETS", default_value = "1024", value_parser = body_size)]
    size: usize,
    /// Seconds of publishing
    #[arg(short, long, value_name = "S", default_value_t = 5.0, value_parser = positive)]
    duration: f64,
    /// For comparison, append as many octets to a file in DIR, each time with fdatasync; the broker's disk, best
    #[arg(long, value_name = "DIR")]
    pub(crate) disk: Option<PathBuf>,
}

struct Publisher {
    connection: Connection,
    block: Block,
    confirms: Confirms,
    times: Histogram<u64>,
}

impl ConfirmLatencyOptions {
    pub(crate) fn run(&self, target: &Target) -> Result<Outcome> {
        let mut scratch = Scratch::new(&target.uri)?;
        let queue = scratch.name("confirmed");
        scratch.declare_queue(&queue, true, &Table::new())?;
        scratch.settle()?;
        let mut publisher = Publisher::open(target, &queue, self.size)?;
        let mut disk = self.disk.as_deref().map(Disk::create).transpose()?;
        let control = Control::new(target.timeout_ns);

        let before = target.meter.read();
        let mut published_ns = 0;
        while published_ns < seconds_ns(self.duration) {
            control.wait(0, || false)?;
            let start_ns = now_ns();
            publisher.publish_until(start_ns + TURN_NS, &control)?;
            published_ns += now_ns() - start_ns;
            if let Some(disk) = &mut disk {
                disk.append_until(now_ns() + TURN_NS, self.size)?;
            }
        }
        let count = publisher.times.len();
        let cpu_us = cpu_us_each(before, target.meter.read(), count);
        publisher.connection.finish()?;

        let mut outcome = Outcome { cpu_us, ..Outcome::default() };
        outcome.checked = true;
        outcome.verdict.refused = publisher.confirms.refused;
        outcome.verdict.lost = count.saturating_sub(scratch.ready(&queue)? + publisher.confirms.refused);
        let rate = count as f64 / seconds(published_ns);
        (outcome.rate, outcome.score) = (Some(rate), Some(rate));
        outcome.fact("confirmed", rate, "/s");
        outcome.fact_if("broker CPU per message", cpu_us, "us");
        describe(&mut outcome, &publisher.times, disk.as_ref());
        scratch.delete_all()?;
        Ok(outcome)
    }
}

fn describe(outcome: &mut Outcome, times: &Histogram<u64>, disk: Option<&Disk>) {
    let (p50, p99) = outcome.percentiles("confirm", times);
    outcome.remark = format!("p50 {}, p99 {}", time(p50), time(p99));
    match disk {
        Some(disk) => {
            let (disk_p50, _) = outcome.percentiles("append and fdatasync", &disk.times);
            outcome.remark += &format!("; fdatasync p50 {}", time(disk_p50));
        }
        None => outcome.notes.push("no comparison with the disk: give --disk DIR".to_owned()),
    }
}

impl Publisher {
    fn open(target: &Target, queue: &str, size: usize) -> Result<Self> {
        let mut connection = Connection::with_channel(&target.uri)?;
        connection.select_confirms()?;
        let form = Form { size, persistent: true, frame_max: connection.frame_max };
        let route = Route { exchange: String::new(), key: queue.to_owned() };
        Ok(Self {
            connection,
            block: Block::new(&[route], &form, 0),
            confirms: Confirms::new(1),
            times: histogram(),
        })
    }

    fn publish_until(&mut self, until_ns: u64, control: &Control) -> Result<()> {
        let mut now = now_ns();
        while now < until_ns && !control.over() {
            let (bytes, count) = self.block.take(1, |_| now);
            self.connection.send(bytes, || control.over())?;
            self.confirms.note_sent(count);
            self.wait_for_confirm(control)?;
            let confirmed = now_ns();
            self.times.saturating_record(confirmed - now);
            now = confirmed;
        }
        Ok(())
    }

    fn wait_for_confirm(&mut self, control: &Control) -> Result<()> {
        while self.confirms.waiting() > 0 && !control.over() {
            self.connection.receive()?;
            self.confirms.take_all(&mut self.connection)?;
        }
        Ok(())
    }
}

/// A file that is appended to, and removed in the end.
struct Disk {
    file: File,
    path: PathBuf,
    times: Histogram<u64>,
}

impl Disk {
    fn create(folder: &Path) -> Result<Self> {
        let path = folder.join(format!("warren-perf-{}.tmp", std::process::id()));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(|error| Error::new(format!("--disk: {}: {error}", path.display())))?;
        Ok(Self { file, path, times: histogram() })
    }

    fn append_until(&mut self, until_ns: u64, size: usize) -> Result<()> {
        let octets = vec![b'w'; size];
        let mut now = now_ns();
        while now < until_ns {
            let written = self.file.write_all(&octets).and_then(|()| self.file.sync_data());
            written.map_err(|error| Error::new(format!("--disk: {}: {error}", self.path.display())))?;
            let synced = now_ns();
            self.times.saturating_record(synced - now);
            now = synced;
        }
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
