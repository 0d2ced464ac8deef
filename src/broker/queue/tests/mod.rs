//! Tests of the queue: each behaviour by itself, then random histories against a small model.
//!
//! - `limits`: length limits, and what must hold with them
//! - `looking`: messages that an operator looks at, and moves
//! - `live`: options that change, and large work in steps
//! - `world`: a queue with everything around it: consumers, a clock, a log, a cold store
//! - `model`: what must hold after every command of a random history
//! - `duplicates`: messages that came before, and recalls
//! - `returns`, `retries`: delivery limits, and delays before the next delivery
//! - `priorities`: one lane for each
//! - `reservation`: messages of transactions
//! - `replica`: followers of random histories that take over
//! - `recovery`: crashes in the middle of random histories

mod arguments;
mod checks;
mod cold;
mod delays;
mod delivery;
mod duplicates;
mod expiry;
mod limits;
mod live;
mod looking;
mod model;
mod priorities;
mod recovery;
mod replica;
mod reservation;
mod retries;
mod returns;
mod settling;
mod world;

use world::World;

use super::*;

/// A queue with these options and nothing in it.
fn world(options: Options) -> World {
    World::new(options, 1000)
}

fn plain() -> World {
    world(Options::default())
}

fn dead_lettering() -> World {
    world(Options { dead_letters: true, ..Options::default() })
}

/// The bodies' first bytes.
fn bodies(entries: &[(ConsumerId, Vec<u8>, bool)]) -> Vec<u8> {
    entries.iter().filter_map(|(_, body, _)| body.first().copied()).collect()
}
