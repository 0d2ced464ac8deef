//! SIGHUP: the configuration is read again, and what can be taken over is.

use std::sync::Arc;

use warren::config::Effective;
use warren::node::{Node, Tls};

use crate::{Server, SetFilter, settings};

/// What is needed to take over another configuration.
pub(crate) struct Reload {
    pub(crate) server: Server,
    /// What is in force.
    pub(crate) effective: Effective,
    pub(crate) set_filter: SetFilter,
    pub(crate) tls: Option<Arc<Tls>>,
}

impl Reload {
    /// One line for each key that changed. What is wrong leaves everything as it was.
    pub(crate) fn run(&mut self, node: &Node) {
        let (config, effective) = match settings::of_server(&self.server) {
            Ok(read) => read,
            Err(reason) => return tracing::error!(reason, "SIGHUP: the configuration stays as it was"),
        };
        let changes = self.effective.changes(&effective);
        tracing::info!(changes = changes.len(), "SIGHUP: the configuration was read again");
        if changes.iter().any(|change| change.key == "logging.filter")
            && let Err(reason) = (self.set_filter)(&config.logging.filter)
        {
            return tracing::error!(reason, "SIGHUP: the configuration stays as it was");
        }
        for change in &changes {
            let (key, from_to) = (&change.key, &change.from_to);
            if change.is_live {
                tracing::info!(key, from_to, "changed");
            } else {
                tracing::warn!(
                    key,
                    from_to,
                    "changed in the configuration, but not here: this needs a restart"
                );
            }
        }
        self.effective.take_live(&effective);
        node.reconfigure(config);
        if let Some(tls) = &self.tls {
            tls.reload().log();
        }
    }
}
