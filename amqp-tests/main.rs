//! Black-box tests: the real broker over TCP, seen by a raw client of its own and by lapin.
//!
//! Files follow the groups of behaviour; the numbers in the comments are those of the list of behaviours.
#![expect(
    clippy::print_stderr,
    reason = "a test that is left out says so, and a failing one shows the broker's log"
)]

mod support;

mod frames;
mod handshake;

mod channels;
mod exchanges;
mod queues;
mod routing;

mod confirms;
mod publishing;

mod consuming;
mod qos;
mod settling;

mod dead_letter;
mod expiry;

mod lapin_example;
mod memory;
mod robustness;
mod survive;
