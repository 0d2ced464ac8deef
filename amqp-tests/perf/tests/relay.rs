//! Whole runs against the built-in relay: an honest one passes, one that misbehaves is found out.

use clap::Parser;
use warren_perf::{Arguments, Faults, Relay, run};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
}

/// Runs a command line against a relay; gives what was printed, or the error.
fn perf(faults: Faults, line: &str) -> Result<String, String> {
    let relay = Relay::start(0, faults).map_err(|error| error.to_string())?;
    let uri = format!("amqp://guest:guest@127.0.0.1:{}", relay.port());
    let words = ["perf"].into_iter().chain(line.split(' ')).chain([
        "--patience",
        "1",
        "--timeout",
        "30",
        "--uri",
        &uri,
    ]);
    let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    run(&cli.arguments, &mut out).map_err(|error| error.to_string())?;
    String::from_utf8(out).map_err(|error| error.to_string())
}

#[track_caller]
fn passes(line: &str) {
    let text = perf(Faults::default(), line).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(text.contains("every message as it should be") || text.contains("\"lost\":0"), "{line}: {text}");
}

#[track_caller]
fn is_found_out(faults: Faults, line: &str, complaint: &str) {
    let error = perf(faults, line).expect_err("it passed");
    assert!(error.contains(complaint), "{line}: {error}");
}

#[test]
fn messages_of_all_sizes_arrive() {
    passes("throughput -n 50000");
    passes("throughput -n 20000 --size 1024 --small-writes");
    passes("throughput -n 100 --size 300000");
}

#[test]
fn producers_consumers_and_queues_in_any_number() {
    passes("throughput -n 20000 -P 3 -C 2 -Q 5");
    passes("throughput -n 20000 -P 2 -C 4 -Q 1");
    passes("throughput -n 20000 -P 1 -C 1 -Q 300");
}

#[test]
fn all_exchanges_route() {
    passes("throughput -n 20000 --exchange direct -Q 4 --fanout 2 --keys 3 --bindings 10");
    passes("throughput -n 20000 --exchange topic -Q 4 --fanout 2 --keys 50 --bindings 100 -P 2 -C 3");
    passes("throughput -n 5000 --exchange fanout -Q 10 -C 2");
}

#[test]
fn confirms_and_acknowledgements_go_along() {
    passes(
        "throughput -n 20000 --durable --persistent --confirm 100 --manual-ack --prefetch 10 --multi-ack 100",
    );
}

#[test]
fn a_fixed_rate_is_kept() {
    passes("latency --duration 0.5 --warmup 0.1 --rate 2000");
    passes("throughput --duration 0.3 --warmup 0.1 --rate 1000 --json");
}

#[test]
fn a_lost_message_is_noticed() {
    is_found_out(Faults { drop_every: 1000, ..Faults::default() }, "throughput -n 5000", "5 lost");
}

#[test]
fn confirmed_messages_that_are_not_kept_are_noticed() {
    is_found_out(Faults::default(), "confirm-latency --duration 0.2", "lost");
}

#[test]
fn a_duplicated_message_is_noticed() {
    is_found_out(Faults { duplicate_every: 1000, ..Faults::default() }, "throughput -n 5000", "5 duplicated");
}

#[test]
fn a_message_out_of_order_is_noticed() {
    is_found_out(Faults { swap_every: 1000, ..Faults::default() }, "throughput -n 5500", "5 out of order");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    is_found_out(Faults::default(), "throughput --fanout 2", "--queues must be a multiple of --fanout");
    is_found_out(Faults::default(), "throughput --keys 2", "give --exchange");
    is_found_out(Faults::default(), "suite --only nonsense", "there is no 'nonsense'");
}

#[test]
fn nobody_listening_is_one_readable_line() {
    let cli = Cli::try_parse_from(["perf", "throughput", "--uri", "amqp://guest:guest@127.0.0.1:1"]);
    let error = run(&cli.unwrap_or_else(|error| panic!("{error}")).arguments, &mut Vec::new());
    let text = error.expect_err("nobody listens there").to_string();
    assert!(text.starts_with("127.0.0.1:1: cannot connect: ") && !text.contains('\n'), "{text}");
}
