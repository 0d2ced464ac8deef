//! Seeded simulation of a cluster: the real code of groups, queues, log and gateways on simulated machines.
//!
//! Everything runs on one thread, step by step, in an order that follows from one number, the seed. A seed that fails fails again:
//!
//! ```text
//! WARREN_SIMULATION_SEED=n       only this seed
//! WARREN_SIMULATION_SEEDS=n      so many seeds
//! WARREN_SIMULATION_FIRST=n      the first of them (1)
//! WARREN_SIMULATION_TRACE=1      says what happens
//! ```
//! - `random`, `events`, `clock`, `network`: what follows from the seed, and the world's parts
//! - `world`: nodes, and what happens to them; `faults`: what goes wrong
//! - `raft_node`, `raft_layer`: groups alone
//! - `clients`, `publisher`, `consumer`, `getter`: who uses the brokers
//! - `stack_node`, `stack`: whole nodes, with clients; `membership`: nodes that come, leave and lose their disks
//! - `run`: clients and faults together, and what came of it
//! - `history`, `checker`: what was seen, and what must hold of it

#![expect(clippy::cast_possible_truncation, reason = "the simulation counts small")]

mod checker;
mod checker_tests;
mod clients;
mod clock;
mod consumer;
mod events;
mod faults;
mod getter;
mod history;
mod membership;
mod network;
mod publisher;
mod raft_layer;
mod raft_node;
mod random;
mod run;
mod stack;
mod stack_node;
mod world;

use std::path::PathBuf;

/// The seeds to be run; so many unless somebody says otherwise.
fn seeds(usually: u64) -> Vec<u64> {
    if let Some(seed) = number("WARREN_SIMULATION_SEED") {
        return vec![seed];
    }
    let first = number("WARREN_SIMULATION_FIRST").unwrap_or(1);
    (first..first + number("WARREN_SIMULATION_SEEDS").unwrap_or(usually)).collect()
}

fn is_traced() -> bool {
    number("WARREN_SIMULATION_TRACE").is_some()
}

#[expect(clippy::disallowed_methods, reason = "who runs a simulation says so in the environment")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn print_trace(now_us: u64, text: &str) {
    println!("{:>12.3} ms  {text}", now_us as f64 / 1000.0);
}

/// A folder in memory, if there is one: a simulated disk is quick.
fn folder() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.unwrap()
}
