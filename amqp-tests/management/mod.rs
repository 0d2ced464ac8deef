//! The HTTP API: what each path answers, to whom, and what it refuses.

mod access;
mod connections;
mod fuzz;
mod http;
mod lists;
mod objects;
mod overview;
mod users;
mod vhosts;
