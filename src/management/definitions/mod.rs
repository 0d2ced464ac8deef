//! Definitions: all that is declared, as one file in RabbitMQ's form, out and in again.
//!
//! - `export`: what is declared, as a file; `hashes`: passwords in it
//! - `section`: the parts of a file, in the order in which they can be taken
//! - `step`: one object of a file, as commands; `fields`: what it must have
//! - `users`, `vhosts`, `settings`, `declared`: objects of one kind each
//! - `import`: carries the steps out, on the node or on a copy; goes on after what is refused
//! - `report`: what became of each object
//! - `http`: the paths; `multipart`: files that browsers send

mod declared;
mod export;
mod fields;
mod hashes;
mod http;
mod import;
mod multipart;
mod report;
mod section;
mod settings;
mod step;
mod users;
mod vhosts;

pub use export::{export, export_vhost};
pub use http::routes;
pub use import::{Mode, import, load};
pub use report::{Counts, Outcome, Report, Reported};
