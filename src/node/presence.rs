//! Who is connected, to which vhost and as which user; how many that are, against their limits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::links::{ClientInput, ClientLink};
use crate::broker::ids::ConnectionId;
use crate::broker::topology::{UserLimits, VhostLimits};
use crate::protocol::error::Refusal;
use crate::protocol::reply_code::ReplyCode;

/// Open connections.
#[derive(Debug, Default)]
pub(crate) struct Presence(Mutex<Present>);

#[derive(Debug, Default)]
struct Present {
    connections: HashMap<ConnectionId, Connected>,
    /// Connections by vhost; none is 0.
    vhosts: HashMap<Arc<str>, u64>,
    users: HashMap<Arc<str>, UserCounts>,
}

#[derive(Debug)]
struct Connected {
    link: Arc<ClientLink>,
    vhost: Arc<str>,
    user: Arc<str>,
    channels: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct UserCounts {
    connections: u64,
    channels: u64,
}

impl Presence {
    /// A connection opens a vhost.
    ///
    /// # Errors
    /// 530 when a limit is reached (RabbitMQ: Virtual Hosts and User Limits).
    pub(crate) fn enter(
        &self,
        link: &Arc<ClientLink>,
        (vhost, vhost_limits): (&str, VhostLimits),
        (user, user_limits): (&str, UserLimits),
    ) -> Result<(), Refusal> {
        let mut present = self.lock();
        let in_vhost = present.vhosts.get(vhost).copied().unwrap_or(0);
        if let Some(most) = vhost_limits.max_connections.filter(|most| in_vhost >= *most) {
            return Err(not_allowed(format!(
                "access to vhost '{vhost}' refused for user '{user}': connection limit ({most}) is reached"
            )));
        }
        let of_user = present.users.get(user).map_or(0, |counts| counts.connections);
        if let Some(most) = user_limits.max_connections.filter(|most| of_user >= *most) {
            return Err(not_allowed(format!(
                "connection refused for user '{user}': user connection limit ({most}) is reached"
            )));
        }
        let (vhost, user): (Arc<str>, Arc<str>) = (vhost.into(), user.into());
        *present.vhosts.entry(Arc::clone(&vhost)).or_default() += 1;
        present.users.entry(Arc::clone(&user)).or_default().connections += 1;
        let connected = Connected { link: Arc::clone(link), vhost, user, channels: 0 };
        present.connections.insert(link.id, connected);
        Ok(())
    }

    /// A connection ends, with its channels. Nothing happens when it never entered.
    pub(crate) fn leave(&self, id: ConnectionId) {
        let mut present = self.lock();
        let Some(Connected { vhost, user, channels, .. }) = present.connections.remove(&id) else { return };
        if let Some(count) = present.vhosts.get_mut(&vhost) {
            *count -= 1;
            if *count == 0 {
                present.vhosts.remove(&vhost);
            }
        }
        if let Some(counts) = present.users.get_mut(&user) {
            counts.connections -= 1;
            counts.channels -= channels;
            if counts.connections == 0 {
                present.users.remove(&user);
            }
        }
    }

    /// A connection opens a channel.
    ///
    /// # Errors
    /// 530 when its user has as many as allowed.
    pub(crate) fn open_channel(&self, id: ConnectionId, limits: UserLimits) -> Result<(), Refusal> {
        let mut present = self.lock();
        let Present { connections, users, .. } = &mut *present;
        let Some(connected) = connections.get_mut(&id) else { return Ok(()) };
        let Some(counts) = users.get_mut(&connected.user) else { return Ok(()) };
        if let Some(most) = limits.max_channels.filter(|most| counts.channels >= *most) {
            return Err(not_allowed(format!(
                "number of channels opened for user '{}' has reached the maximum allowed user limit of {most}",
                connected.user
            )));
        }
        connected.channels += 1;
        counts.channels += 1;
        Ok(())
    }

    /// A connection's channel ends.
    pub(crate) fn close_channel(&self, id: ConnectionId) {
        let mut present = self.lock();
        let Present { connections, users, .. } = &mut *present;
        let Some(connected) = connections.get_mut(&id).filter(|connected| connected.channels > 0) else {
            return;
        };
        connected.channels -= 1;
        if let Some(counts) = users.get_mut(&connected.user) {
            counts.channels -= 1;
        }
    }

    /// Closes all connections to a vhost.
    pub(crate) fn vhost_is_deleted(&self, name: &str) {
        self.close(|connected| &*connected.vhost == name, &vhost_is_deleted(name));
    }

    /// Closes all connections of a user.
    pub(crate) fn user_is_deleted(&self, name: &str) {
        self.close(|connected| &*connected.user == name, &user_is_deleted(name));
    }

    fn close(&self, which: impl Fn(&Connected) -> bool, refusal: &Refusal) {
        for connected in self.lock().connections.values().filter(|connected| which(connected)) {
            connected.link.mailbox.push(ClientInput::Close(Box::new(refusal.clone())));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Present> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn vhost_is_deleted(name: &str) -> Refusal {
    Refusal::connection(ReplyCode::ConnectionForced, format!("vhost '{name}' is deleted"))
}

pub(crate) fn user_is_deleted(name: &str) -> Refusal {
    Refusal::connection(ReplyCode::ConnectionForced, format!("user '{name}' is deleted"))
}

fn not_allowed(text: String) -> Refusal {
    Refusal::connection(ReplyCode::NotAllowed, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::mailbox::Mailbox;

    fn link(id: ConnectionId) -> Arc<ClientLink> {
        Arc::new(ClientLink { id, mailbox: Mailbox::new(usize::MAX) })
    }

    #[test]
    fn what_ends_makes_room() {
        let presence = Presence::default();
        let two = VhostLimits { max_connections: Some(2), max_queues: None };
        let (any, one) =
            (VhostLimits::default(), UserLimits { max_connections: Some(1), max_channels: Some(2) });
        let anyone = UserLimits::default();
        presence.enter(&link(1), ("/", two), ("u", anyone)).unwrap();
        presence.enter(&link(2), ("/", two), ("v", one)).unwrap();
        assert!(presence.enter(&link(3), ("/", two), ("w", anyone)).is_err());
        assert!(presence.enter(&link(3), ("other", any), ("v", one)).is_err());
        for _ in 0..2 {
            presence.open_channel(2, one).unwrap();
        }
        assert!(presence.open_channel(2, one).is_err());
        presence.close_channel(2);
        presence.open_channel(2, one).unwrap();
        presence.leave(2);
        presence.leave(2);
        presence.enter(&link(3), ("/", two), ("v", one)).unwrap();
        presence.open_channel(3, one).unwrap();
        presence.leave(1);
        presence.leave(3);
        let present = presence.lock();
        assert!(present.connections.is_empty() && present.vhosts.is_empty() && present.users.is_empty());
    }
}
