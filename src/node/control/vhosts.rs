//! Vhosts: making, describing, limiting and deleting them.

use std::sync::Arc;

use super::{Control, ControlError};
use crate::broker::topology::{Command, VhostLimits, VhostSettings};

impl Control {
    /// Makes a vhost; true when it is new.
    ///
    /// # Errors
    /// When the node is stopping.
    pub async fn create_vhost(&self, name: &str) -> Result<bool, ControlError> {
        self.change(Command::CreateVhost { name: name.to_owned() }).await
    }

    /// Says what a vhost is for, and of which type its queues are when they do not say.
    ///
    /// # Errors
    /// When there is no such vhost, or no such type of queue.
    pub async fn describe_vhost(
        &self,
        name: &str,
        description: &str,
        tags: &str,
        default_queue_type: Option<&str>,
    ) -> Result<(), ControlError> {
        let command = Command::DescribeVhost {
            name: name.to_owned(),
            description: description.to_owned(),
            tags: tags.to_owned(),
            default_queue_type: default_queue_type.map(str::to_owned),
        };
        self.change(command).await.map(drop)
    }

    /// Limits a vhost; what is there already stays.
    ///
    /// # Errors
    /// When there is no such vhost.
    pub async fn limit_vhost(&self, name: &str, limits: VhostLimits) -> Result<(), ControlError> {
        self.change(Command::LimitVhost { name: name.to_owned(), limits }).await.map(drop)
    }

    /// Deletes a vhost with all that is in it, and closes its connections.
    ///
    /// # Errors
    /// When there is no such vhost.
    pub async fn delete_vhost(&self, name: &str) -> Result<(), ControlError> {
        self.change(Command::DeleteVhost { name: name.to_owned() }).await.map(drop)
    }

    /// All vhosts, by name.
    #[must_use]
    pub fn vhosts(&self) -> Vec<(Arc<str>, VhostSettings)> {
        let topology = self.shared.topology();
        let settings = |name: &Arc<str>| topology.vhost_settings(name).cloned().unwrap_or_default();
        topology.vhosts().into_iter().map(|name| (Arc::clone(&name), settings(&name))).collect()
    }

    /// What a vhost is set to; `None` when it is not there.
    #[must_use]
    pub fn vhost(&self, name: &str) -> Option<VhostSettings> {
        self.shared.topology().vhost_settings(name).cloned()
    }
}
