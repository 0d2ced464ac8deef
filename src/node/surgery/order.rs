//! What is asked for, and what comes back.

use serde::{Deserialize, Serialize};

use super::filter::MessageFilter;
use super::found::FoundMessage;

/// A queue by its names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct QueueName {
    /// The vhost.
    pub vhost: String,
    /// The queue.
    pub queue: String,
}

/// Which messages are to be shown, and how much of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Search {
    /// Which messages.
    pub filter: MessageFilter,
    /// The first number to look at.
    pub from: u64,
    /// So many messages are passed over first.
    pub offset: u64,
    /// At most so many are shown.
    pub limit: usize,
    /// No more are looked at after this time.
    pub budget_ms: u64,
    /// Bodies are cut to this.
    pub body_bytes_max: usize,
}

/// What a search has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Findings {
    /// The messages, in the order in which they would be delivered, but for those that came back.
    pub messages: Vec<FoundMessage>,
    /// How many were looked at.
    pub looked_at: u64,
    /// Where to go on; none at the end of the queue.
    pub next: Option<u64>,
    /// The time was over before the limit or the end was reached.
    pub is_out_of_time: bool,
}

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Destination {
    /// To this queue of the same vhost, as they are.
    Queue(String),
    /// To this exchange, with this routing key instead of their own if there is one.
    Exchange(String, Option<String>),
    /// To the queue that they died in first.
    FirstDeathQueue,
    /// To the exchange that they came through before they died first, with the routing key that they had then.
    FirstDeathExchange,
}

/// What is to be done with messages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Action {
    /// They go.
    Delete,
    /// They go somewhere else.
    Move(Destination),
    /// They are published once more.
    Copy(Destination),
}

impl Action {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Move(Destination::FirstDeathQueue | Destination::FirstDeathExchange) => "redrive",
            Self::Move(_) => "move",
            Self::Copy(_) => "copy",
        }
    }

    /// Where messages go.
    #[must_use]
    pub fn destination(&self) -> Option<&Destination> {
        match self {
            Self::Delete => None,
            Self::Move(to) | Self::Copy(to) => Some(to),
        }
    }
}

/// A job to be done.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct JobSpec {
    /// Of which queue.
    pub name: QueueName,
    /// What.
    pub action: Action,
    /// With which messages; only ready ones are touched.
    pub filter: MessageFilter,
    /// With so many of them at most.
    pub limit: Option<u64>,
    /// So many a second at most.
    pub rate: Option<u64>,
    /// Only counts.
    pub dry_run: bool,
    /// Who asks.
    pub user: String,
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It is under way.
    Running,
    /// It has come to its end.
    Finished,
    /// Somebody has ended it.
    Cancelled,
    /// It could not go on.
    Failed,
}

/// A job, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct JobStatus {
    /// Its name: the node's number and its own.
    pub id: String,
    /// The node that does it.
    pub node: String,
    /// What it is to do.
    pub spec: JobSpec,
    /// How it stands.
    pub state: JobState,
    /// Messages that it has looked at.
    pub looked_at: u64,
    /// Messages that it is meant for.
    pub matched: u64,
    /// Messages that it is done with.
    pub done: u64,
    /// Messages that stayed where they were, since it could not be done.
    pub failed: u64,
    /// Messages in the queue when it began.
    pub total: u64,
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// Why it could not go on, or why messages stayed where they were.
    pub reason: Option<String>,
}

/// What one node asks of the one that owns a queue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum SurgeryOrder {
    Search(QueueName, Search),
    Begin(JobSpec),
    Jobs,
    Cancel(String),
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum SurgeryAnswer {
    Findings(Findings),
    Job(Box<JobStatus>),
    Jobs(Vec<JobStatus>),
    NotFound(String),
    Refused(String),
}
