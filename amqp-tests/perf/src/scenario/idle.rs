//! Connections that only wait: what each costs in memory, and all together in CPU time.

use clap::Args;

use crate::clock::{now_ns, seconds, seconds_ns};
use crate::connection::Connection;
use crate::control::Control;
use crate::error::{Error, Result};
use crate::meter::{cpu_us_each, rss_each};
use crate::method::{BASIC_CONSUME, BASIC_CONSUME_OK};
use crate::outcome::{Outcome, number, octets};
use crate::scenario::Target;
use crate::scenario::throughput::positive;
use crate::scratch::Scratch;
use crate::wire::Table;

/// Opens N connections with one channel and one consumer each, and lets them wait.
#[derive(Args, Clone, Debug)]
pub(crate) struct IdleOptions {
    /// Connections; mind `ulimit -n` here and at the broker
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// A queue for each connection instead of one for all
    #[arg(long)]
    own_queues: bool,
    /// Seconds of waiting
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = positive)]
    hold: f64,
}

impl IdleOptions {
    pub(crate) fn run(&self, target: &Target) -> Result<Outcome> {
        let control = Control::new(target.timeout_ns);
        let mut scratch = Scratch::new(&target.uri)?;
        let queues = self.declare(&mut scratch)?;
        let count = u64::from(self.connections);

        let before = target.meter.read();
        let start_ns = now_ns();
        let mut connections = Vec::new();
        for number in 0..self.connections as usize {
            control.wait(0, || false)?;
            connections.push(open(target, &queues[number % queues.len()]).map_err(|error| {
                Error::new(format!("{error} (connection {} of {})", number + 1, self.connections))
            })?);
        }
        let rate = count as f64 / seconds(now_ns() - start_ns);
        let opened = target.meter.read();

        let hold_ns = seconds_ns(self.hold);
        control.wait(now_ns() + hold_ns, || false)?;
        let after = target.meter.read();
        for connection in connections {
            connection.close()?;
        }
        scratch.delete_all()?;

        let mut outcome = Outcome { rate: Some(rate), ..Outcome::default() };
        outcome.fact("connections opened", rate, "/s");
        outcome.cpu_us = cpu_us_each(before, opened, count);
        outcome.fact_if("broker CPU per connection opened", outcome.cpu_us, "us");
        let rss = rss_each(before, after, count);
        outcome.fact_if("broker RSS per connection", rss, "B");
        let busy = cpu_us_each(opened, after, 1).map(|us| us * 1e5 / hold_ns as f64);
        outcome.fact_if("broker CPU while idle", busy, "% of a core");
        outcome.score = rss.filter(|rss| *rss > 0.0).map(|rss| 1.0 / rss);
        outcome.remark = format!("rate is opening {count} connections");
        if let (Some(rss), Some(busy)) = (rss, busy) {
            outcome.remark =
                format!("{count} connections: RSS {} each, idle CPU {} %", octets(rss), number(busy));
        }
        Ok(outcome)
    }

    fn declare(&self, scratch: &mut Scratch) -> Result<Vec<String>> {
        let count = if self.own_queues { self.connections } else { 1 };
        let queues: Vec<_> = (0..count).map(|n| scratch.name(&format!("idle-{n}"))).collect();
        for queue in &queues {
            scratch.declare_queue(queue, false, &Table::new())?;
        }
        scratch.settle()?;
        Ok(queues)
    }
}

fn open(target: &Target, queue: &str) -> Result<Connection> {
    let mut connection = Connection::with_channel(&target.uri)?;
    connection.call(BASIC_CONSUME_OK, "basic.consume", |to| {
        to.method(1, BASIC_CONSUME, |to| {
            to.u16(0);
            to.short(queue);
            to.short("");
            to.u8(0);
            to.table(&Table::new());
        });
    })?;
    Ok(connection)
}
