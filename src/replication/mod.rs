//! Keeping the same state on several nodes: groups of nodes, each with one log that a majority agrees on (Raft).
//!
//! No I/O, no clock, no task: what is to be written and sent comes out as work, and whoever carries it out says when it is done.
