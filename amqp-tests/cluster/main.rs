//! Clusters of real processes that lose nodes, cables and disks while clients publish and consume.
//!
//! - `nodes`: the processes
//! - `network`: a network of their own, whose cables can be cut
//! - `load`: publishers and consumers, and what they must find in the end
//! - `kills`: processes that end, or stand still; on loopback addresses
//! - `disks`: disks that are lost, or full; `small_disk`: one that can be filled, left out where nothing can be mounted
//! - `cuts`: cables that are cut, or slow; left out, with a note, where network namespaces cannot be made
//! - `letters`: dead letters for other nodes
//! - `declares`: queues declared through one node and used through another; `minority`: nodes that are no majority
//!
//! `WARREN_CLUSTER_ROUNDS` says how often each list of faults is gone through; once when it is not set. When it is, a node also
//! stands still for half a minute.
#![expect(
    clippy::print_stderr,
    reason = "a test that is left out says so, others what they saw, and a failing one shows the nodes' logs"
)]
#![expect(clippy::disallowed_methods, reason = "tests read clocks and the environment; src/ may not")]

mod consumers;
mod cuts;
mod declares;
mod disks;
mod kills;
mod letters;
mod load;
mod minority;
mod network;
mod nodes;
mod numbers;
mod small_disk;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often each list of faults is gone through.
fn rounds() -> usize {
    std::env::var("WARREN_CLUSTER_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1)
}

/// Whether somebody asked for more than what runs with all other tests.
fn is_thorough() -> bool {
    std::env::var_os("WARREN_CLUSTER_ROUNDS").is_some()
}

/// One cluster at a time: each takes what the machine has.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The program under test; `WARREN_TEST_BIN` names another one than cargo has built.
fn program() -> PathBuf {
    let told = std::env::var_os("WARREN_TEST_BIN").map(PathBuf::from);
    told.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_warren")))
}
