//! What all nodes of a cluster know alike: the declarations and the members, changed by the entries of one log.
//!
//! - `command`: what can be asked, with who asks: the entries' content
//! - `codec`: reading what is kept and sent
//! - `recent`: answers that may be asked for again
//! - `rows`: how the members, the answers and the place in the log are kept
//! - `state`: one entry after the other
//!
//! Nothing in here knows of time, other nodes or files: the same entries make the same state everywhere.

mod codec;
mod command;
mod recent;
mod rows;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use command::{MetaAnswer, MetaCommand, MetaEntry, Origin};
pub(crate) use state::{MetaState, Step};
