//! What those who run the broker see of it over HTTP. It reaches the node through [`crate::node::Control`] only.
//!
//! - `json`: argument tables as JSON, and back

pub mod json;
