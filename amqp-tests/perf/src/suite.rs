//! A set of scenarios in one table, beside the built-in relay and, if wanted, another broker.

use std::io::Write;

use clap::{Args, FromArgMatches, Subcommand};

use crate::error::{Error, Result};
use crate::meter::Meter;
use crate::outcome::{Outcome, number};
use crate::relay::{Faults, Relay};
use crate::scenario::Target;
use crate::uri::Uri;
use crate::{Common, Scenario, say};

/// Runs a set of scenarios and prints one table.
///
/// CPU us: CPU time of the broker per message. x relay: the rate as a part of what a relay reaches that stores
/// nothing, in the same run on the same machine. x other: compared with --against; above 1 is better than the other
/// broker (rates are compared; for latencies and delays the 99th percentiles, for idle the memory).
/// Memory figures want a broker that was just started.
#[derive(Args, Clone, Debug)]
pub(crate) struct SuiteOptions {
    /// Only these scenarios, separated by commas; --list names them
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Short runs: to see that all works, not to compare
    #[arg(long)]
    quick: bool,
    /// Print names and options of the scenarios, and run nothing
    #[arg(long)]
    list: bool,
    /// Another broker, which runs each scenario as well
    #[arg(long, value_name = "URI")]
    against: Option<Uri>,
    /// The other broker's process
    #[arg(long, value_name = "PID", requires = "against")]
    against_pid: Option<u32>,
    /// Do not measure the built-in relay
    #[arg(long)]
    no_relay: bool,
    /// For confirm-latency: compare with appends to a file in DIR; the broker's disk, best
    #[arg(long, value_name = "DIR")]
    disk: Option<std::path::PathBuf>,
}

/// A scenario with its options, which is what `warren perf` takes.
struct Case {
    name: &'static str,
    options: &'static str,
    full: &'static str,
    quick: &'static str,
    relay: bool,
}

const fn case(name: &'static str, options: &'static str, full: &'static str, quick: &'static str) -> Case {
    Case { name, options, full, quick, relay: false }
}

/// A case of throughput, which the relay can do too.
const fn load(name: &'static str, options: &'static str) -> Case {
    Case { name, options, full: "--duration 5", quick: "--duration 1 --warmup 0.3", relay: true }
}

/// Those that report memory come first.
const CASES: [Case; 18] = [
    case("idle", "idle", "-n 5000 --hold 5", "-n 100 --hold 1"),
    case("declare", "declare", "-n 100000", "-n 1000"),
    case("delays", "delays", "-n 100000 --min 3000 --max 10000", "-n 10000 --min 1000 --max 2000"),
    case("backlog-100k", BACKLOG, "-n 100000", "-n 10000"),
    case("backlog", BACKLOG, "-n 2000000", "-n 50000"),
    load("transient", "throughput --size 16"),
    load("transient-1k", "throughput --size 1024"),
    load("manual-ack", "throughput --size 16 --manual-ack --prefetch 1000 --multi-ack 100"),
    load("eight", "throughput --size 16 -P 8 -C 8 -Q 8"),
    load("shared-queue", "throughput --size 16 -P 8 -C 8 -Q 1 --manual-ack"),
    load("many-queues", "throughput --size 16 -P 8 -C 8 -Q 10000"),
    load("fanout", "throughput --size 16 --exchange topic -C 2 -Q 10 --fanout 10"),
    load("topic", "throughput --size 16 --exchange topic -Q 10 --keys 10 --bindings 1000"),
    load("small-writes", "throughput --size 16 --small-writes"),
    load("persistent", "throughput --size 1024 --durable --persistent --confirm 1000 --manual-ack"),
    load(
        "persistent-many",
        "throughput --size 1024 --durable --persistent --confirm 10 --manual-ack -P 100 -C 100 -Q 100",
    ),
    case("confirm-latency", "confirm-latency --size 1024", "--duration 5", "--duration 1"),
    Case {
        name: "latency",
        options: "latency --size 1024 --rate 10000",
        full: "--duration 10",
        quick: "--duration 1",
        relay: true,
    },
];

const BACKLOG: &str = "backlog --size 1024 --durable --persistent --confirm 1000";

/// What one case brought, beside those it is compared with.
struct Row {
    own: Result<Outcome>,
    other: Option<Result<Outcome>>,
    relay: Option<Result<Outcome>>,
}

/// Runs the cases one after the other; an error of one does not keep the others from running.
pub(crate) fn run(options: &SuiteOptions, common: &Common, out: &mut dyn Write) -> Result<()> {
    let cases = options.cases()?;
    if options.list {
        return cases
            .iter()
            .try_for_each(|case| say(out, &format!("{:16} {}", case.name, case.line(options.quick))));
    }
    let target = common.target();
    let other = options.other(&target);
    if !common.json {
        say(out, &head(other.is_some()))?;
    }
    let mut complaints = Vec::new();
    for case in cases {
        let row = Row {
            own: case.measure(options, &target),
            other: other.as_ref().map(|other| case.measure(options, other)),
            relay: (case.relay && !options.no_relay).then(|| case.measure_relay(options, &target)),
        };
        row.write(case, &target, other.as_ref(), common.json, out)?;
        complaints.extend(row.complaints(case, &target, other.as_ref()));
        if crate::control::interrupted() {
            break;
        }
    }
    if complaints.is_empty() { Ok(()) } else { Err(Error::new(complaints.join("\n"))) }
}

impl SuiteOptions {
    fn cases(&self) -> Result<Vec<&'static Case>> {
        if let Some(unknown) = self.only.iter().find(|name| CASES.iter().all(|case| case.name != **name)) {
            let known: Vec<_> = CASES.iter().map(|case| case.name).collect();
            return Err(Error::new(format!("--only: there is no '{unknown}', only {}", known.join(", "))));
        }
        let wanted = |case: &&Case| self.only.is_empty() || self.only.iter().any(|name| name == case.name);
        Ok(CASES.iter().filter(wanted).collect())
    }

    fn other(&self, target: &Target) -> Option<Target> {
        let uri = self.against.clone()?;
        let meter = self.against_pid.map_or(Meter::None, Meter::Process);
        Some(Target { uri, meter, ..target.clone() })
    }
}

impl Case {
    fn line(&self, quick: bool) -> String {
        format!("{} {}", self.options, if quick { self.quick } else { self.full })
    }

    fn scenario(&self, options: &SuiteOptions) -> Result<Scenario> {
        let command = Scenario::augment_subcommands(clap::Command::new("perf").no_binary_name(true));
        let parsed = command.try_get_matches_from(self.line(options.quick).split(' '));
        let mut scenario = parsed
            .and_then(|matches| Scenario::from_arg_matches(&matches))
            .map_err(|error| Error::new(format!("{}: {error}", self.name)))?;
        if let Scenario::ConfirmLatency(confirm) = &mut scenario {
            confirm.disk.clone_from(&options.disk);
        }
        Ok(scenario)
    }

    fn measure(&self, options: &SuiteOptions, target: &Target) -> Result<Outcome> {
        self.scenario(options)?.measure(target)
    }

    fn measure_relay(&self, options: &SuiteOptions, target: &Target) -> Result<Outcome> {
        let relay = Relay::start(0, Faults::default())
            .map_err(|error| Error::new(format!("the relay cannot start: {error}")))?;
        let uri = relay.uri();
        self.measure(options, &Target { uri, meter: Meter::Relay(relay), ..target.clone() })
    }
}

impl Row {
    fn write(
        &self,
        case: &Case,
        target: &Target,
        other: Option<&Target>,
        json: bool,
        out: &mut dyn Write,
    ) -> Result<()> {
        if !json {
            return say(out, &self.line(case, other.is_some()));
        }
        let own = self.own.as_ref().ok().map(|outcome| outcome.json(case.name, &target.uri.to_string()));
        let other = self.other.as_ref().zip(other).and_then(|(outcome, other)| {
            outcome.as_ref().ok().map(|outcome| outcome.json(case.name, &other.uri.to_string()))
        });
        let relay = self.relay.iter().flatten().map(|outcome| outcome.json(case.name, "relay"));
        own.into_iter().chain(other).chain(relay).try_for_each(|line| say(out, &line))
    }

    fn line(&self, case: &Case, compared: bool) -> String {
        let own = self.own.as_ref().ok();
        let show = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
        let ratio = |to: Option<&Result<Outcome>>| {
            let to = to.and_then(|outcome| outcome.as_ref().ok()).and_then(|outcome| outcome.score);
            own.and_then(|own| own.score).zip(to).map(|(own, to)| own / to)
        };
        let mut line = format!(
            "{:16} {:>11} {:>8} {:>8}",
            case.name,
            show(own.and_then(|own| own.rate)),
            show(own.and_then(|own| own.cpu_us)),
            show(ratio(self.relay.as_ref())),
        );
        if compared {
            let cpu_us = self.other.iter().flatten().find_map(|other| other.cpu_us);
            line += &format!(" {:>8} {:>12}", show(ratio(self.other.as_ref())), show(cpu_us));
        }
        let remark = match &self.own {
            Ok(outcome) => outcome
                .verdict
                .complaint()
                .map_or_else(|| outcome.remark.clone(), |complaint| format!("WRONG: {complaint}")),
            Err(error) => format!("FAILED: {error}"),
        };
        format!("{line}  {remark}")
    }

    fn complaints(&self, case: &Case, target: &Target, other: Option<&Target>) -> Vec<String> {
        let other = other.map_or(String::new(), |other| other.uri.to_string());
        let runs = [
            (Some(&self.own), target.uri.to_string()),
            (self.other.as_ref(), other),
            (self.relay.as_ref(), "the relay".to_owned()),
        ];
        let wrong = runs.iter().filter_map(|(outcome, broker)| match outcome.as_ref()? {
            Ok(outcome) => outcome.check(broker).err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        });
        wrong.map(|what| format!("{}: {what}", case.name)).collect()
    }
}

fn head(compared: bool) -> String {
    let mut head = format!("{:16} {:>11} {:>8} {:>8}", "scenario", "per second", "CPU us", "x relay");
    if compared {
        head += &format!(" {:>8} {:>12}", "x other", "other CPU us");
    }
    head + "  remark"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_can_be_parsed() {
        for quick in [false, true] {
            let options = SuiteOptions {
                only: Vec::new(),
                quick,
                list: false,
                against: None,
                against_pid: None,
                no_relay: false,
                disk: None,
            };
            for case in &CASES {
                case.scenario(&options).unwrap();
            }
        }
    }
}
