//! The scenarios, each with its options and its way of measuring.

pub(crate) mod backlog;
pub(crate) mod confirm_latency;
pub(crate) mod declare;
pub(crate) mod delays;
pub(crate) mod idle;
pub(crate) mod throughput;

use crate::meter::Meter;
use crate::uri::Uri;

/// What a scenario runs against.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) uri: Uri,
    pub(crate) meter: Meter,
    /// No run takes longer.
    pub(crate) timeout_ns: u64,
    /// Without a delivery for so long, what is missing counts as lost.
    pub(crate) patience_ns: u64,
}
