//! Groups of members against a network and disks that fail.

mod disk;
mod single;
