//! What nodes tell each other, as bytes: frames of a length (u32), a kind (u8) and what the kind says.
//!
//! Little endian. Lists begin with their count (u32), bytes with their length (u32). Batches and deliveries stay the bytes
//! they are: a frame is written from several places and read into one, of which its batches are parts.
//!
//! - `put`: frames on their way out
//! - `take`: frames that came in
//! - `forward`, `answers`, `peer`: what is in them
//!
//! Reading is total: whatever the bytes, it gives a message or says that they are none, and allocates no more than a small
//! multiple of their length.

mod answers;
mod forward;
mod peer;
mod put;
mod take;
#[cfg(test)]
mod tests;

pub(crate) use peer::{decode, encode, weight};
pub(crate) use put::{Frames, PLACES};

/// What stands in front of a frame's content: the length of what follows.
pub(crate) const FRAME_HEAD: usize = 4;
