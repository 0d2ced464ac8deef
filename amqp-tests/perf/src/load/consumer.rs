//! A thread that consumes: it steps from frame to frame, notes each message and acknowledges.

use std::sync::atomic::Ordering::Relaxed;

use hdrhistogram::Histogram;

use crate::clock::now_ns;
use crate::connection::{Connection, error, refuse};
use crate::error::Result;
use crate::input::Frame;
use crate::ledger::Ledger;
use crate::load::nap::Nap;
use crate::load::stage::Stage;
use crate::method::*;
use crate::outcome::histogram;
use crate::publish::Stamp;
use crate::uri::Uri;
use crate::wire::{BODY, Decoder, Encoder, HEADER, METHOD, Table};

/// How a consumer consumes.
#[derive(Clone)]
pub(crate) struct ConsumerOptions {
    /// Octets of each body.
    pub(crate) size: usize,
    pub(crate) manual_ack: bool,
    pub(crate) prefetch: u16,
    /// One acknowledgement for so many deliveries.
    pub(crate) multi_ack: u16,
    /// Record latencies, of messages that were due in the measured time.
    pub(crate) latencies: bool,
    pub(crate) nap: bool,
}

/// A consumer that is connected, with a channel for each of its queues.
pub(crate) struct Consumer {
    number: usize,
    connection: Connection,
    state: State,
}

/// Everything but the connection, so that frames can be looked at where they lie.
struct State {
    options: ConsumerOptions,
    lanes: Vec<Lane>,
    acks: Encoder,
    count: u64,
    ready: u64,
    latencies: Histogram<u64>,
    /// When the last read ended.
    now_ns: u64,
    from_ns: u64,
    until_ns: u64,
    /// Messages of equal time in a row are recorded together.
    run: (u64, u64),
}

/// A channel and its queue.
struct Lane {
    queue: usize,
    ledger: Ledger,
    tag: u64,
    unacked: u16,
    /// Octets of the body that are still to come.
    rest: u64,
    begun: bool,
}

/// What a consumer brings home.
pub(crate) struct Received {
    /// Pairs of queue and what came from it.
    pub(crate) ledgers: Vec<(usize, Ledger)>,
    pub(crate) latencies: Histogram<u64>,
}

impl Consumer {
    /// Connects and asks for the deliveries of `queues`, pairs of number and name.
    pub(crate) fn open(
        uri: &Uri,
        number: usize,
        queues: &[(usize, &str)],
        options: ConsumerOptions,
    ) -> Result<Self> {
        let mut connection = Connection::open(uri)?;
        connection.input.enlarge();
        let mut ask = Encoder::default();
        for (channel, _) in (1_u16..).zip(queues) {
            ask.method(channel, CHANNEL_OPEN, |to| to.u8(0));
        }
        connection.call_all(&ask, queues.len(), "channel.open")?;
        ask.bytes.clear();
        for (channel, (_, queue)) in (1_u16..).zip(queues) {
            consume(&mut ask, channel, queue, &options);
        }
        connection.send(&ask.bytes, || false)?;
        let lanes = queues.iter().map(|(queue, _)| Lane::new(*queue)).collect();
        Ok(Self { number, connection, state: State::new(options, lanes) })
    }

    /// How many queues it consumes from.
    pub(crate) fn lanes(&self) -> u64 {
        self.state.lanes.len() as u64
    }

    /// Takes deliveries until it is told that these were all.
    pub(crate) fn run(mut self, stage: &Stage) -> Result<Received> {
        let broker = self.connection.broker();
        let mut nap = self.state.nap();
        while !stage.control.consumers_stop() {
            let read = self.connection.receive()?;
            self.state.begin(stage);
            while let Some(frame) = self.connection.input.next().map_err(|why| error(&broker, why))? {
                self.state.take(&broker, &frame)?;
            }
            self.state.end(stage, self.number, read == 0);
            if !self.state.acks.bytes.is_empty() {
                self.connection.send(&self.state.acks.bytes, || stage.control.over())?;
                self.state.acks.bytes.clear();
            }
            if read > 0 {
                nap.after(read);
            }
        }
        self.finish(stage)
    }

    fn finish(mut self, stage: &Stage) -> Result<Received> {
        if !stage.control.over() {
            self.state.acknowledge_all();
            self.connection.send(&self.state.acks.bytes, || stage.control.over())?;
            self.connection.close()?;
        }
        let ledgers = self.state.lanes.into_iter().map(|lane| (lane.queue, lane.ledger)).collect();
        Ok(Received { ledgers, latencies: self.state.latencies })
    }
}

impl State {
    fn new(options: ConsumerOptions, lanes: Vec<Lane>) -> Self {
        Self {
            options,
            lanes,
            acks: Encoder::default(),
            count: 0,
            ready: 0,
            latencies: histogram(),
            now_ns: 0,
            from_ns: u64::MAX,
            until_ns: u64::MAX,
            run: (0, 0),
        }
    }

    fn nap(&self) -> Nap {
        match &self.options {
            ConsumerOptions { nap: false, .. } => Nap::none(),
            ConsumerOptions { manual_ack: true, prefetch: 1.., .. } => {
                Nap::within(u64::from(self.options.prefetch) * self.lanes.len() as u64)
            }
            _ => Nap::unlimited(),
        }
    }

    /// Before the frames of a read.
    fn begin(&mut self, stage: &Stage) {
        if self.options.latencies {
            self.now_ns = now_ns();
            self.from_ns = stage.measured_from_ns.load(Relaxed);
            self.until_ns = stage.measured_until_ns.load(Relaxed);
        }
    }

    /// After the frames of a read, which may have brought nothing.
    fn end(&mut self, stage: &Stage, number: usize, idle: bool) {
        if self.options.latencies {
            self.record_run();
        }
        if self.ready > 0 {
            stage.ready.fetch_add(std::mem::take(&mut self.ready), Relaxed);
        }
        stage.received[number].store(self.count, Relaxed);
        if idle {
            self.acknowledge_all();
        }
    }

    fn take(&mut self, broker: &str, frame: &Frame<'_>) -> Result<()> {
        match frame.kind {
            METHOD => match frame.method() {
                Some(BASIC_DELIVER) => self.deliver(broker, frame)?,
                Some(BASIC_CONSUME_OK) => self.ready += 1,
                _ => refuse(broker, frame)?,
            },
            HEADER => self.header(frame),
            BODY => self.body(frame),
            _ => {}
        }
        Ok(())
    }

    fn deliver(&mut self, broker: &str, frame: &Frame<'_>) -> Result<()> {
        let Some(lane) = lane(&mut self.lanes, frame.channel) else {
            return Err(error(broker, "it delivered on a channel without consumer"));
        };
        let mut from = Decoder(frame.payload.get(4..).unwrap_or_default());
        let Some(tag) = from.short().and_then(|_| from.u64()) else {
            return Err(error(broker, "it sent a basic.deliver that is cut short"));
        };
        lane.tag = tag;
        Ok(())
    }

    fn header(&mut self, frame: &Frame<'_>) {
        let Some(lane) = lane(&mut self.lanes, frame.channel) else { return };
        let mut from = Decoder(frame.payload);
        let size = from.u32().and_then(|_| from.u64()).unwrap_or(0);
        (lane.rest, lane.begun) = (size, false);
        if size != self.options.size as u64 {
            lane.ledger.note_damaged();
            lane.begun = true;
            if size == 0 {
                self.message(frame.channel);
            }
        }
    }

    fn body(&mut self, frame: &Frame<'_>) {
        let Some(lane) = lane(&mut self.lanes, frame.channel) else { return };
        if !lane.begun {
            lane.begun = true;
            match Stamp::read(frame.payload) {
                Some(stamp) => {
                    lane.ledger.note(stamp.stream, stamp.sequence);
                    if self.options.latencies {
                        self.latency(stamp.time_ns);
                    }
                }
                None => lane.ledger.note_damaged(),
            }
        }
        let Some(lane) = self.lanes.get_mut(usize::from(frame.channel) - 1) else { return };
        lane.rest = lane.rest.saturating_sub(frame.payload.len() as u64);
        if lane.rest == 0 {
            self.message(frame.channel);
        }
    }

    /// A message is complete.
    fn message(&mut self, channel: u16) {
        self.count += 1;
        if !self.options.manual_ack {
            return;
        }
        let Some(lane) = lane(&mut self.lanes, channel) else { return };
        lane.unacked += 1;
        if lane.unacked >= self.options.multi_ack {
            acknowledge(&mut self.acks, channel, lane);
        }
    }

    fn acknowledge_all(&mut self) {
        for (channel, lane) in (1_u16..).zip(&mut self.lanes) {
            if lane.unacked > 0 {
                acknowledge(&mut self.acks, channel, lane);
            }
        }
    }

    fn latency(&mut self, time_ns: u64) {
        if self.run.0 != time_ns {
            self.record_run();
        }
        self.run = (time_ns, self.run.1 + 1);
    }

    fn record_run(&mut self) {
        let (time_ns, count) = std::mem::take(&mut self.run);
        if count > 0 && (self.from_ns..self.until_ns).contains(&time_ns) {
            self.latencies.saturating_record_n(self.now_ns.saturating_sub(time_ns), count);
        }
    }
}

impl Lane {
    fn new(queue: usize) -> Self {
        Self { queue, ledger: Ledger::default(), tag: 0, unacked: 0, rest: 0, begun: false }
    }
}

fn lane(lanes: &mut [Lane], channel: u16) -> Option<&mut Lane> {
    lanes.get_mut(usize::from(channel).checked_sub(1)?)
}

fn acknowledge(to: &mut Encoder, channel: u16, lane: &mut Lane) {
    let multiple = u8::from(lane.unacked > 1);
    lane.unacked = 0;
    to.method(channel, BASIC_ACK, |to| {
        to.u64(lane.tag);
        to.u8(multiple);
    });
}

/// Writes basic.qos, which is answered and not waited for, and basic.consume.
fn consume(to: &mut Encoder, channel: u16, queue: &str, options: &ConsumerOptions) {
    const NO_ACK: u8 = 1 << 1;
    if options.manual_ack && options.prefetch > 0 {
        to.method(channel, BASIC_QOS, |to| {
            to.u32(0);
            to.u16(options.prefetch);
            to.u8(0);
        });
    }
    to.method(channel, BASIC_CONSUME, |to| {
        to.u16(0);
        to.short(queue);
        to.short("");
        to.u8(if options.manual_ack { 0 } else { NO_ACK });
        to.table(&Table::new());
    });
}
