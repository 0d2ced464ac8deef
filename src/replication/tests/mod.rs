//! Groups of members against a network and disks that fail.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "tests count small"
)]

mod changes;
mod checker;
mod cluster;
mod disk;
mod faults;
mod limits;
mod member;
mod single;
