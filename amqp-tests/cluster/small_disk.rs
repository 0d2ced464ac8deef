//! A small disk in memory that can be filled.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Room for what a node writes in a short test, and its files' first size.
const SIZE: &str = "size=400m";

pub(super) struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// `None` with a note where nothing can be mounted.
    pub(super) fn new() -> Option<Self> {
        let dir = TempDir::with_prefix("warren-disk-").expect("a temporary directory");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "warren-test"]).arg(dir.path()).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self { dir });
        }
        // Not by a macro: those of a test that passes are not shown.
        let _ = writeln!(io::stderr(), "left out: a full disk needs the right to mount one");
        None
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves no room at all.
    pub(super) fn fill(&self) {
        let mut ballast = File::create(self.dir.path().join("ballast")).expect("a file");
        let zeros = vec![0; 64 * 1024];
        while ballast.write_all(&zeros).is_ok() {}
    }

    pub(super) fn make_room(&self) {
        fs::remove_file(self.dir.path().join("ballast")).expect("the ballast is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.dir.path()).output();
    }
}
