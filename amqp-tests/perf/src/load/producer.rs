//! A thread that publishes.

use std::sync::atomic::Ordering::Relaxed;

use hdrhistogram::Histogram;

use crate::clock::{now_ns, sleep_ns};
use crate::confirms::Confirms;
use crate::connection::Connection;
use crate::error::Result;
use crate::load::nap::Nap;
use crate::load::stage::Stage;
use crate::outcome::histogram;
use crate::publish::{Block, Form, Route};
use crate::uri::Uri;

/// How a producer publishes.
#[derive(Clone)]
pub(crate) struct ProducerOptions {
    pub(crate) size: usize,
    pub(crate) persistent: bool,
    pub(crate) confirm: u64,
    /// Messages per write at most.
    pub(crate) per_write: u64,
    /// When to send; at full speed without.
    pub(crate) pace: Option<Pace>,
    /// Ends by itself after so many messages.
    pub(crate) quota: u64,
    pub(crate) nap: bool,
}

/// A schedule: message n is due at `start_ns` + n * `interval_ns`.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) start_ns: u64,
    pub(crate) interval_ns: f64,
}

impl Pace {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times are positive and fit")]
    fn due_ns(self, number: u64) -> u64 {
        self.start_ns + (number as f64 * self.interval_ns) as u64
    }

    /// How many messages were due by `now_ns`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are positive and fit"
    )]
    fn due_by(self, now_ns: u64) -> u64 {
        now_ns.checked_sub(self.start_ns).map_or(0, |since| (since as f64 / self.interval_ns) as u64 + 1)
    }
}

/// A producer that is connected.
pub(crate) struct Producer {
    number: usize,
    connection: Connection,
    block: Block,
    confirms: Confirms,
    options: ProducerOptions,
    sent: u64,
    late: Histogram<u64>,
}

/// What a producer brings home.
pub(crate) struct Sent {
    /// Messages per stream.
    pub(crate) streams: Vec<u32>,
    pub(crate) refused: u64,
    /// How long after they were due messages were written, if there was a schedule.
    pub(crate) late: Histogram<u64>,
}

impl Producer {
    pub(crate) fn open(
        uri: &Uri,
        number: usize,
        routes: &[Route],
        first_stream: u32,
        options: ProducerOptions,
    ) -> Result<Self> {
        let mut connection = Connection::with_channel(uri)?;
        if options.confirm > 0 {
            connection.select_confirms()?;
        }
        let form =
            Form { size: options.size, persistent: options.persistent, frame_max: connection.frame_max };
        let block = Block::new(routes, &form, first_stream);
        let confirms = Confirms::new(options.confirm);
        Ok(Self { number, connection, block, confirms, options, sent: 0, late: histogram() })
    }

    /// Publishes until it is enough, waits for all confirms and closes.
    pub(crate) fn run(mut self, stage: &Stage) -> Result<Sent> {
        while self.sent < self.options.quota && !stage.control.producers_stop() {
            let now = now_ns();
            let due = self.due(now);
            if due == 0 {
                self.wait_until_due(now);
            } else {
                self.publish(stage, now, due)?;
            }
        }
        self.settle(stage, 0)?;
        if !stage.control.over() {
            self.connection.finish()?;
        }
        stage.producers_done.fetch_add(1, Relaxed);
        Ok(Sent { streams: self.block.sent(), refused: self.confirms.refused, late: self.late })
    }

    /// How many messages may go out now, as far as the schedule and the quota say.
    fn due(&self, now: u64) -> u64 {
        let left = self.options.quota - self.sent;
        self.options.pace.map_or(left, |pace| pace.due_by(now).saturating_sub(self.sent).min(left))
    }

    fn wait_until_due(&self, now: u64) {
        const LONGEST_NS: u64 = 50_000_000;
        let due = self.options.pace.map_or(now, |pace| pace.due_ns(self.sent));
        sleep_ns(due.saturating_sub(now).min(LONGEST_NS));
    }

    fn publish(&mut self, stage: &Stage, now: u64, due: u64) -> Result<()> {
        let limit = due.min(self.options.per_write).min(self.confirms.room()).max(1);
        let (pace, sent) = (self.options.pace, self.sent);
        let due_ns = |place| pace.map_or(now, |pace| pace.due_ns(sent + place));
        let (bytes, count) = self.block.take(limit, due_ns);
        self.connection.send(bytes, || stage.control.over())?;
        if pace.is_some() {
            let _ = self.late.record(now.saturating_sub(due_ns(0)));
        }
        self.sent += count;
        self.confirms.note_sent(count);
        stage.sent[self.number].store(self.sent, Relaxed);
        if self.confirms.room() == 0 {
            // Going on with some room keeps both sides from working in steps of one message.
            self.settle(stage, self.options.confirm - self.options.confirm.div_ceil(4))?;
        }
        Ok(())
    }

    /// Reads until at most `allowed` messages wait for their confirm.
    fn settle(&mut self, stage: &Stage, allowed: u64) -> Result<()> {
        let mut nap = if self.options.nap { Nap::within(self.options.confirm / 4) } else { Nap::none() };
        while self.confirms.waiting() > allowed && !stage.control.over() {
            let read = self.connection.receive()?;
            self.confirms.take_all(&mut self.connection)?;
            if read > 0 && self.confirms.waiting() > allowed {
                nap.after(read);
            }
        }
        Ok(())
    }
}
