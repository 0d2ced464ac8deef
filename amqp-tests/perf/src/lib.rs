//! `warren perf`: puts load on an AMQP 0-9-1 broker, checks every message, and reports what it cost.
//!
//! It shares no code with the broker, so that it shares no mistake either, and costs little itself: blocking sockets,
//! publishes that are encoded once, deliveries that are looked at where they lie.
//!
//! From the wire up: `wire`, `method`, `input` (AMQP as octets), `connection`, `scratch` (what is declared is deleted
//! again), `publish`, `confirms`, `ledger` (what came, exactly), `load` (producers and consumers), `scenario` (what is
//! measured), `relay` (the least that a broker could do), `suite` (all of it in one table).

mod clock;
mod confirms;
mod connection;
mod control;
mod error;
mod input;
mod ledger;
mod load;
mod meter;
mod method;
mod outcome;
mod publish;
mod relay;
mod scenario;
mod scratch;
mod suite;
mod uri;
mod wire;

use std::io::Write;

use clap::{Args, Subcommand};

use clock::now_ns;
use control::{interrupted, watch_signals};
pub use error::Error;
use error::Result;
use meter::Meter;
use outcome::Outcome;
pub use relay::{Faults, Relay};
use scenario::Target;
use scenario::backlog::BacklogOptions;
use scenario::confirm_latency::ConfirmLatencyOptions;
use scenario::declare::DeclareOptions;
use scenario::delays::DelaysOptions;
use scenario::idle::IdleOptions;
use scenario::throughput::{LatencyOptions, ThroughputOptions};
use suite::SuiteOptions;
use uri::Uri;

const EXAMPLES: &str = "\
Examples:
  warren perf throughput --pid $(pgrep -f 'warren server')
  warren perf throughput --size 1024 --durable --persistent --confirm 1000 --manual-ack
  warren perf throughput --exchange topic -P 2 -C 4 -Q 10 --fanout 2 --keys 100
  warren perf latency --rate 10000 --duration 20
  warren perf confirm-latency --disk /var/lib/warren
  warren perf suite --only transient,persistent --against amqp://guest:guest@127.0.0.1:5673";

/// Puts load on an AMQP 0-9-1 broker and checks that every message arrives once and in order.
///
/// Queues and exchanges get names that begin with warren-perf- and are deleted in the end. The exit status is not 0
/// when something failed, or when messages were lost, duplicated, out of order or damaged.
///
/// CPU per message (needs --pid) says more than a rate: it hardly moves when others use the machine.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Clone, Debug)]
struct Common {
    /// The broker: amqp://USER:PASSWORD@HOST:PORT/VHOST
    #[arg(
        long,
        global = true,
        help_heading = "Options of all scenarios",
        value_name = "URI",
        default_value = "amqp://guest:guest@127.0.0.1:5672/%2f"
    )]
    uri: Uri,
    /// The broker's process, to report its CPU time and memory (Linux, same machine)
    #[arg(long, global = true, help_heading = "Options of all scenarios", value_name = "PID")]
    pid: Option<u32>,
    /// Print a JSON object for each run instead of lines
    #[arg(long, global = true, help_heading = "Options of all scenarios")]
    json: bool,
    /// Seconds after which a run is given up
    #[arg(
        long,
        global = true,
        help_heading = "Options of all scenarios",
        value_name = "S",
        default_value_t = 300
    )]
    timeout: u64,
    /// Seconds without a delivery after which what is missing counts as lost
    #[arg(
        long,
        global = true,
        help_heading = "Options of all scenarios",
        value_name = "S",
        default_value_t = 5
    )]
    patience: u64,
}

#[derive(Subcommand, Clone, Debug)]
enum Scenario {
    Throughput(ThroughputOptions),
    Latency(LatencyOptions),
    ConfirmLatency(ConfirmLatencyOptions),
    Backlog(BacklogOptions),
    Idle(IdleOptions),
    Declare(DeclareOptions),
    Delays(DelaysOptions),
    Relay(RelayOptions),
    Suite(SuiteOptions),
}

/// Runs the built-in relay until it is interrupted: a stand-in for a broker that stores nothing.
#[derive(Args, Clone, Debug)]
struct RelayOptions {
    /// Port of this machine to listen on; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Drop every N-th message
    #[arg(long, value_name = "N", default_value_t = 0, hide = true)]
    drop_every: u64,
    /// Deliver every N-th message twice
    #[arg(long, value_name = "N", default_value_t = 0, hide = true)]
    duplicate_every: u64,
    /// Deliver every N-th message behind the next one
    #[arg(long, value_name = "N", default_value_t = 0, hide = true)]
    swap_every: u64,
}

/// Does what the command line says and writes the results to `out`.
///
/// # Errors
/// When the run fails, or messages were not treated as they should be; the results are written before.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<()> {
    watch_signals();
    now_ns();
    match &arguments.scenario {
        Scenario::Relay(options) => options.run(out),
        Scenario::Suite(options) => suite::run(options, &arguments.common, out),
        one => {
            let target = arguments.common.target();
            let outcome = one.measure(&target)?;
            write_outcome(one.name(), &target, &outcome, arguments.common.json, out)?;
            outcome.check(&target.uri.to_string())
        }
    }
}

impl Common {
    fn target(&self) -> Target {
        let meter = self.pid.map_or(Meter::None, Meter::Process);
        Target {
            uri: self.uri.clone(),
            meter,
            timeout_ns: self.timeout.saturating_mul(1_000_000_000),
            patience_ns: self.patience.saturating_mul(1_000_000_000),
        }
    }
}

impl Scenario {
    fn name(&self) -> &'static str {
        match self {
            Self::Throughput(_) => "throughput",
            Self::Latency(_) => "latency",
            Self::ConfirmLatency(_) => "confirm-latency",
            Self::Backlog(_) => "backlog",
            Self::Idle(_) => "idle",
            Self::Declare(_) => "declare",
            Self::Delays(_) => "delays",
            Self::Relay(_) => "relay",
            Self::Suite(_) => "suite",
        }
    }

    fn measure(&self, target: &Target) -> Result<Outcome> {
        match self {
            Self::Throughput(options) => options.run(target),
            Self::Latency(options) => options.run(target),
            Self::ConfirmLatency(options) => options.run(target),
            Self::Backlog(options) => options.run(target),
            Self::Idle(options) => options.run(target),
            Self::Declare(options) => options.run(target),
            Self::Delays(options) => options.run(target),
            Self::Relay(_) | Self::Suite(_) => {
                Err(Error::new(format!("{} measures nothing itself", self.name())))
            }
        }
    }
}

impl RelayOptions {
    fn run(&self, out: &mut dyn Write) -> Result<()> {
        let Self { port, drop_every, duplicate_every, swap_every } = *self;
        let relay = Relay::start(port, Faults { drop_every, duplicate_every, swap_every })
            .map_err(|error| Error::new(format!("cannot listen on port {port}: {error}")))?;
        say(out, &format!("the relay is listening on 127.0.0.1:{}", relay.port()))?;
        while !interrupted() {
            clock::sleep_ns(50_000_000);
        }
        Ok(())
    }
}

fn write_outcome(
    name: &str,
    target: &Target,
    outcome: &Outcome,
    json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    if json {
        return say(out, &outcome.json(name, &target.uri.to_string()));
    }
    outcome.write_text(out).map_err(|error| Error::new(format!("cannot write the results: {error}")))
}

/// Writes a line.
fn say(out: &mut dyn Write, line: &str) -> Result<()> {
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    written.map_err(|error| Error::new(format!("cannot write the results: {error}")))
}
