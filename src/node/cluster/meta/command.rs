//! Entries: what is asked of the shared state, by whom, under which number.

use super::codec::{Fields, Malformed, put_option, put_text};
use crate::broker::ids::{NodeId, QueueId, Run};
use crate::broker::topology::Command;
use crate::protocol::wire::{put_long_str, put_u8, put_u16, put_u64};

const VERSION: u8 = 1;

const TOPOLOGY: u8 = 1;
const ADD_MEMBER: u8 = 2;
const SET_MEMBER: u8 = 3;
const REMOVE_MEMBER: u8 = 4;
const NODE_UP: u8 = 5;
const NODE_DOWN: u8 = 6;

/// A change of what all nodes know.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MetaCommand {
    /// Of the declarations.
    Topology(Command),
    /// A node joins, perhaps in the place of another, which goes; gives its number.
    AddMember { name: String, peer_address: String, client_address: String, replaces: Option<NodeId> },
    /// What is known of a node changes.
    SetMember { node: NodeId, peer_address: String, client_address: String, is_leaving: bool },
    /// A node goes for ever, and with it the queues that it alone had.
    RemoveMember { node: NodeId },
    /// A run of a node works. What an earlier run had in its memory is gone.
    NodeUp { node: NodeId, run: Run },
    /// A run of a node does not answer: what it has in its memory counts as gone.
    NodeDown { node: NodeId, run: Run },
}

/// What came of a command that was not refused, as far as it is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MetaAnswer {
    /// Whether the object is new.
    pub(crate) created: bool,
    /// The queue that was declared or found.
    pub(crate) queue: Option<QueueId>,
    /// The number of the node that joined.
    pub(crate) node: Option<NodeId>,
}

/// Who asks: one run of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Origin {
    pub(crate) node: NodeId,
    pub(crate) run: Run,
}

/// A command with who asks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MetaEntry {
    pub(crate) origin: Origin,
    /// The asker's number of the command: what comes again under the same number takes place once.
    pub(crate) number: u64,
    /// Numbers below are answered or given up: they will not take place any more.
    pub(crate) settled_below: u64,
    pub(crate) command: MetaCommand,
}

impl MetaEntry {
    /// Appends the entry; entries may follow each other without a separator.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_u8(out, VERSION);
        put_u16(out, self.origin.node);
        put_u64(out, self.origin.run);
        put_u64(out, self.number);
        put_u64(out, self.settled_below);
        let mut command = Vec::new();
        self.command.put(&mut command);
        put_long_str(out, &command);
    }

    /// Reads entries that follow each other.
    pub(crate) fn read_all(bytes: &[u8]) -> Result<Vec<Self>, Malformed> {
        let mut fields = Fields::new(bytes);
        let mut entries = Vec::new();
        while !fields.is_empty() {
            entries.push(Self::read(&mut fields)?);
        }
        Ok(entries)
    }

    fn read(from: &mut Fields<'_>) -> Result<Self, Malformed> {
        if from.u8()? != VERSION {
            return Err(Malformed);
        }
        let origin = Origin { node: from.u16()?, run: from.u64()? };
        let (number, settled_below) = (from.u64()?, from.u64()?);
        let mut command = Fields::new(from.bytes()?);
        let entry = Self { origin, number, settled_below, command: MetaCommand::read(&mut command)? };
        command.end()?;
        Ok(entry)
    }
}

impl MetaCommand {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Topology(command) => {
                put_u8(out, TOPOLOGY);
                put_long_str(out, &command.encode());
            }
            Self::AddMember { name, peer_address, client_address, replaces } => {
                put_u8(out, ADD_MEMBER);
                [name, peer_address, client_address].into_iter().for_each(|text| put_text(out, text));
                put_option(out, *replaces, put_u16);
            }
            Self::SetMember { node, peer_address, client_address, is_leaving } => {
                put_u8(out, SET_MEMBER);
                put_u16(out, *node);
                [peer_address, client_address].into_iter().for_each(|text| put_text(out, text));
                put_u8(out, u8::from(*is_leaving));
            }
            Self::RemoveMember { node } => {
                put_u8(out, REMOVE_MEMBER);
                put_u16(out, *node);
            }
            Self::NodeUp { node, run } => put_run(out, NODE_UP, *node, *run),
            Self::NodeDown { node, run } => put_run(out, NODE_DOWN, *node, *run),
        }
    }

    fn read(from: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(match from.u8()? {
            TOPOLOGY => Self::Topology(Command::decode(from.bytes()?)?),
            ADD_MEMBER => Self::AddMember {
                name: from.text()?,
                peer_address: from.text()?,
                client_address: from.text()?,
                replaces: from.option(Fields::u16)?,
            },
            SET_MEMBER => Self::SetMember {
                node: from.u16()?,
                peer_address: from.text()?,
                client_address: from.text()?,
                is_leaving: from.bool()?,
            },
            REMOVE_MEMBER => Self::RemoveMember { node: from.u16()? },
            NODE_UP => Self::NodeUp { node: from.u16()?, run: from.u64()? },
            NODE_DOWN => Self::NodeDown { node: from.u16()?, run: from.u64()? },
            _ => return Err(Malformed),
        })
    }
}

fn put_run(out: &mut Vec<u8>, kind: u8, node: NodeId, run: Run) {
    put_u8(out, kind);
    put_u16(out, node);
    put_u64(out, run);
}
