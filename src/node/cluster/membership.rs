//! Who this node is in its cluster: `cluster.toml` in the data directory.
//!
//! Written when a node founds or joins a cluster, and at each start: the run is counted here, so that nothing a node said
//! in an earlier run is taken for what it says now. The members are hints, to find the others by before they tell better.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::broker::ids::{NODES_MAX, NodeId, Run};

const FILE: &str = "cluster.toml";
const HEAD: &str =
    "# Written by Warren, which is to find here what it wrote. Do not copy it to another node.\n\n";

/// Who this node is in its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Membership {
    /// The number of the cluster, in hexadecimal: two of the same name are told apart by it.
    pub(crate) cluster: String,
    pub(crate) node: NodeId,
    pub(crate) name: String,
    /// Starts of this node, this one included.
    pub(crate) run: Run,
    /// Number of groups that own queues; decided when the cluster was founded.
    pub(crate) groups: u16,
    /// This node founded the cluster, and was its only member then.
    pub(crate) is_founder: bool,
    /// It is a member no more.
    #[serde(default)]
    pub(crate) has_left: bool,
    /// There is a log: a later start without one has lost what this node has promised to others.
    #[serde(default)]
    pub(crate) has_log: bool,
    #[serde(default, rename = "member")]
    pub(crate) members: Vec<KnownMember>,
}

/// Another node, as last heard of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KnownMember {
    pub(crate) node: NodeId,
    pub(crate) name: String,
    /// Where other nodes reach it.
    pub(crate) address: String,
}

/// Why the file cannot be used; the text names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MembershipError(pub(crate) String);

impl Membership {
    pub(crate) fn file(data_dir: &Path) -> PathBuf {
        data_dir.join(FILE)
    }

    /// What is in the data directory; `None` when this node belongs to no cluster.
    ///
    /// # Errors
    /// When the file cannot be read, or is not as it was written.
    pub(crate) fn read(data_dir: &Path) -> Result<Option<Self>, MembershipError> {
        let file = Self::file(data_dir);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(MembershipError(format!("cannot read {}: {error}", file.display()))),
        };
        let membership: Self = toml::from_str(&text).map_err(|error| {
            MembershipError(format!("{}: {}", file.display(), error.to_string().trim_end()))
        })?;
        let is_fine = (1..NODES_MAX).contains(&membership.node)
            && membership.cluster_number().is_some()
            && membership.groups > 0;
        if is_fine {
            return Ok(Some(membership));
        }
        Err(MembershipError(format!("{} is damaged: restore it from a copy", file.display())))
    }

    /// Puts it in place of what was there, all or nothing, durably.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(crate) fn write(&self, data_dir: &Path) -> Result<(), MembershipError> {
        let file = Self::file(data_dir);
        let problem = |error: &dyn std::fmt::Display| {
            MembershipError(format!("cannot write {}: {error}", file.display()))
        };
        let text = toml::to_string(self).map_err(|error| problem(&error))?;
        replace(&file, &format!("{HEAD}{text}")).map_err(|error| problem(&error))
    }

    /// The number of the cluster.
    pub(crate) fn cluster_number(&self) -> Option<u64> {
        u64::from_str_radix(&self.cluster, 16).ok()
    }

    /// How a cluster's number is written.
    pub(crate) fn cluster_text(number: u64) -> String {
        format!("{number:016x}")
    }
}

fn replace(file: &Path, text: &str) -> io::Result<()> {
    let draft = file.with_extension("toml.tmp");
    let mut written = File::create(&draft)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    fs::rename(&draft, file)?;
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        let member = |node, name: &str, address: &str| KnownMember {
            node,
            name: name.to_owned(),
            address: address.to_owned(),
        };
        Membership {
            cluster: Membership::cluster_text(0x1234_5678_9abc_def0),
            node: 2,
            name: "node2".to_owned(),
            run: 7,
            groups: 16,
            is_founder: false,
            has_left: false,
            has_log: true,
            members: vec![member(1, "node1", "127.0.0.1:35672"), member(2, "node2", "127.0.0.1:35673")],
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Membership::read(dir.path()), Ok(None));
        membership().write(dir.path()).unwrap();
        assert_eq!(Membership::read(dir.path()), Ok(Some(membership())));
        let next = Membership { run: 8, members: Vec::new(), ..membership() };
        next.write(dir.path()).unwrap();
        assert_eq!(Membership::read(dir.path()), Ok(Some(next)));
        assert_eq!(membership().cluster_number(), Some(0x1234_5678_9abc_def0));
    }

    #[test]
    fn a_draft_that_a_crash_left_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        membership().write(dir.path()).unwrap();
        fs::write(dir.path().join("cluster.toml.tmp"), "cluster = \"12").unwrap();
        assert_eq!(Membership::read(dir.path()), Ok(Some(membership())));
        membership().write(dir.path()).unwrap();
    }

    #[test]
    fn damage_is_refused_and_named() {
        let dir = tempfile::tempdir().unwrap();
        membership().write(dir.path()).unwrap();
        let file = Membership::file(dir.path());
        let good = fs::read_to_string(&file).unwrap();
        let damaged = [
            ("node = 2\n", "node = 0\n"),
            ("node = 2\n", "node = 70000\n"),
            ("run = 7", "run = -1"),
            ("1234", "wxyz"),
            ("run = 7", ""),
            ("run = 7", "run = 7\nruns = 7"),
        ];
        for (from, to) in damaged {
            fs::write(&file, good.replacen(from, to, 1)).unwrap();
            let problem = Membership::read(dir.path()).unwrap_err().0;
            assert!(problem.contains("cluster.toml"), "{problem}");
        }
    }
}
