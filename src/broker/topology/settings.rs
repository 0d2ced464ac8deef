//! What vhosts and users are set to: descriptions, the default type of queues, limits.

use crate::broker::arguments::QueueType;
use crate::protocol::error::Refusal;
use crate::protocol::wire::put_u64;

use super::codec::{RowError, RowReader, put_text};
use super::refusals::{self, failed};
use super::users::User;
use super::vhost::Vhost;
use super::{Change, Outcome, Row, Topology};

/// Stands for no limit in a row.
const NO_LIMIT: u64 = u64::MAX;

/// What a vhost is set to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VhostSettings {
    /// For people.
    pub description: String,
    /// Words with commas between them.
    pub tags: String,
    /// The type of queues that are declared without one, where it is not `classic`.
    pub default_queue_type: Option<String>,
    /// Limits.
    pub limits: VhostLimits,
}

/// How much a vhost may hold; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VhostLimits {
    /// Connections.
    pub max_connections: Option<u64>,
    /// Queues.
    pub max_queues: Option<u64>,
}

/// How much a user may have open; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// Connections.
    pub max_connections: Option<u64>,
    /// Channels on all connections together.
    pub max_channels: Option<u64>,
}

impl VhostSettings {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_text(out, &self.description);
        put_text(out, &self.tags);
        put_text(out, self.default_queue_type.as_deref().unwrap_or_default());
        self.limits.put(out);
    }

    pub(super) fn read(value: &mut RowReader<'_>) -> Result<Self, RowError> {
        let (description, tags, default) = (value.text()?, value.text()?, value.text()?);
        let default_queue_type = (!default.is_empty()).then_some(default);
        let limits = VhostLimits::read(value)?;
        Ok(Self { description, tags, default_queue_type, limits })
    }
}

impl VhostLimits {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_limits(out, [self.max_connections, self.max_queues]);
    }

    pub(super) fn read(value: &mut RowReader<'_>) -> Result<Self, RowError> {
        let [max_connections, max_queues] = read_limits(value)?;
        Ok(Self { max_connections, max_queues })
    }
}

impl UserLimits {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_limits(out, [self.max_connections, self.max_channels]);
    }

    pub(super) fn read(value: &mut RowReader<'_>) -> Result<Self, RowError> {
        let [max_connections, max_channels] = read_limits(value)?;
        Ok(Self { max_connections, max_channels })
    }
}

fn put_limits(out: &mut Vec<u8>, limits: [Option<u64>; 2]) {
    limits.into_iter().for_each(|limit| put_u64(out, limit.unwrap_or(NO_LIMIT)));
}

fn read_limits(value: &mut RowReader<'_>) -> Result<[Option<u64>; 2], RowError> {
    let mut read = || value.u64().map(|limit| (limit != NO_LIMIT).then_some(limit));
    Ok([read()?, read()?])
}

impl Vhost {
    /// Whether one more queue is allowed.
    pub(super) fn check_queue_limit(&self, name: &str) -> Result<(), Refusal> {
        match self.settings.limits.max_queues {
            Some(most) if self.queues.len() as u64 >= most => Err(failed(format!(
                "cannot declare queue '{name}': queue limit in vhost '{}' ({most}) is reached",
                self.name
            ))),
            _ => Ok(()),
        }
    }

    /// The row of its settings, if it has any.
    pub(super) fn settings_row(&self) -> Option<Row> {
        let is_set = self.settings != VhostSettings::default();
        is_set.then(|| Row::VhostSettings { vhost: self.name.to_string(), settings: self.settings.clone() })
    }

    /// Takes other settings. Gives what has to be kept.
    fn set(&mut self, settings: VhostSettings) -> Vec<Change> {
        let before = self.settings_row();
        self.settings = settings;
        match (before, self.settings_row()) {
            (_, Some(row)) => vec![Change::Put(row)],
            (Some(before), None) => vec![Change::delete(&before)],
            (None, None) => Vec::new(),
        }
    }
}

impl User {
    /// The row of the limits, if there are any.
    pub(super) fn limits_row(&self) -> Option<Row> {
        let is_limited = self.limits != UserLimits::default();
        is_limited.then(|| Row::UserLimits { user: self.name.to_string(), limits: self.limits })
    }
}

impl Topology {
    pub(super) fn describe_vhost(
        &mut self,
        name: &str,
        description: String,
        tags: String,
        default_queue_type: Option<String>,
    ) -> Result<Outcome, Refusal> {
        if let Some(name) = default_queue_type.as_deref().filter(|name| !is_served(name)) {
            return Err(failed(format!("unsupported queue type '{name}'")));
        }
        let vhost = self.vhost_mut(name)?;
        let limits = vhost.settings.limits;
        let changes = vhost.set(VhostSettings { description, tags, default_queue_type, limits });
        Ok(Outcome { changes, ..Outcome::default() })
    }

    pub(super) fn limit_vhost(&mut self, name: &str, limits: VhostLimits) -> Result<Outcome, Refusal> {
        let vhost = self.vhost_mut(name)?;
        let changes = vhost.set(VhostSettings { limits, ..vhost.settings.clone() });
        Ok(Outcome { changes, ..Outcome::default() })
    }

    pub(super) fn limit_user(&mut self, name: &str, limits: UserLimits) -> Result<Outcome, Refusal> {
        let user = self.users.get_mut(name).ok_or_else(|| refusals::no_user(name))?;
        let before = user.limits_row();
        user.limits = limits;
        let changes = match (before, user.limits_row()) {
            (_, Some(row)) => vec![Change::Put(row)],
            (Some(before), None) => vec![Change::delete(&before)],
            (None, None) => Vec::new(),
        };
        Ok(Outcome { changes, ..Outcome::default() })
    }

    /// What a vhost is set to.
    #[must_use]
    pub fn vhost_settings(&self, name: &str) -> Option<&VhostSettings> {
        Some(&self.vhosts.get(name)?.settings)
    }
}

fn is_served(name: &str) -> bool {
    [QueueType::Classic, QueueType::Quorum].iter().any(|served| served.name() == name)
}
