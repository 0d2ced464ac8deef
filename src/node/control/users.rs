//! Users, their limits, and what they may do.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Control, ControlError};
use crate::broker::rights::{PermissionSpec, Right, TopicPermissionSpec};
use crate::broker::topology::{Command, User, UserLimits};
use crate::node::auth::{
    self, Access, Identity, LoginAttempts, LoginProtocol, LoginRefused, ObjectKind, StoredHash,
};

/// A user, for those who look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    /// The name.
    pub name: Arc<str>,
    /// The tags, one by one.
    pub tags: Vec<String>,
    /// The hash of the password, in the form of its algorithm; empty when no password is right.
    pub password_hash: String,
    /// What made it: RabbitMQ's name, or `argon2`.
    pub hashing_algorithm: &'static str,
    /// What the user may open at a time.
    pub limits: UserLimits,
}

/// The password that a user gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewPassword<'a> {
    /// This one.
    Clear(&'a str),
    /// One of which only the hash is known, and what made it: RabbitMQ's name or `argon2`.
    Hashed {
        /// The hash, as [`UserInfo`] has it.
        hash: &'a str,
        /// What made it; RabbitMQ's SHA-256 where nothing is said.
        algorithm: Option<&'a str>,
    },
    /// None: the user cannot log in by a password.
    None,
}

/// What a user may do in a vhost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermissionInfo {
    /// The user.
    pub user: Arc<str>,
    /// The vhost.
    pub vhost: Arc<str>,
    /// The patterns.
    pub spec: PermissionSpec,
}

/// Which keys of a topic exchange a user may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermissionInfo {
    /// The user.
    pub user: Arc<str>,
    /// The vhost.
    pub vhost: Arc<str>,
    /// The exchange.
    pub exchange: String,
    /// The patterns.
    pub spec: TopicPermissionSpec,
}

impl UserInfo {
    fn of(user: &User) -> Self {
        let (algorithm, hash) = StoredHash(&user.password_hash).parts();
        Self {
            name: Arc::clone(&user.name),
            tags: user.tag_list().map(str::to_owned).collect(),
            password_hash: hash.to_owned(),
            hashing_algorithm: algorithm.name(),
            limits: user.limits,
        }
    }
}

impl Control {
    /// All users, by name.
    #[must_use]
    pub fn users(&self) -> Vec<UserInfo> {
        self.shared.topology().users().into_iter().map(UserInfo::of).collect()
    }

    /// A user by name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<UserInfo> {
        self.shared.topology().user(name).map(UserInfo::of)
    }

    /// Makes a user, or gives one another password and other tags, with commas between them; true when it is new. A new user
    /// may do nothing; open connections stay open.
    ///
    /// # Errors
    /// When the hash is none, or the system has no random numbers for one.
    pub async fn put_user(
        &self,
        name: &str,
        password: NewPassword<'_>,
        tags: &str,
    ) -> Result<bool, ControlError> {
        if !(1..=255).contains(&name.len()) {
            return Err(ControlError::Invalid("a user's name has 1 to 255 bytes".to_owned()));
        }
        let password_hash = match password {
            NewPassword::None => String::new(),
            NewPassword::Hashed { hash, algorithm } => StoredHash::from_outside(hash, algorithm)
                .map_err(|error| ControlError::Invalid(error.to_string()))?,
            NewPassword::Clear(password) => {
                let password = password.to_owned();
                let hashed = tokio::task::spawn_blocking(move || auth::hash(&password)).await;
                hashed.unwrap_or_else(|error| Err(error.to_string())).map_err(ControlError::Invalid)?
            }
        };
        let tags: Vec<_> = tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect();
        let (name, tags) = (name.to_owned(), tags.join(","));
        self.change(Command::PutUser { name, password_hash, tags }).await
    }

    /// Limits a user; what is open already stays open.
    ///
    /// # Errors
    /// When there is no such user.
    pub async fn limit_user(&self, name: &str, limits: UserLimits) -> Result<(), ControlError> {
        self.change(Command::LimitUser { name: name.to_owned(), limits }).await.map(drop)
    }

    /// The limits of a user; `None` when there is no such user.
    #[must_use]
    pub fn user_limits(&self, name: &str) -> Option<UserLimits> {
        self.shared.topology().user(name).map(|user| user.limits)
    }

    /// Deletes a user with its permissions, and closes its connections.
    ///
    /// # Errors
    /// When there is no such user.
    pub async fn delete_user(&self, name: &str) -> Result<(), ControlError> {
        self.change(Command::DeleteUser { name: name.to_owned() }).await.map(drop)
    }

    /// Says what a user may do in a vhost; true when that was nothing before. Open connections heed it with their next
    /// methods; consumers go on.
    ///
    /// # Errors
    /// When there is no such user or vhost, or a pattern is none.
    pub async fn set_permissions(
        &self,
        user: &str,
        vhost: &str,
        spec: PermissionSpec,
    ) -> Result<bool, ControlError> {
        let (user, vhost) = (user.to_owned(), vhost.to_owned());
        self.change(Command::SetPermissions { user, vhost, spec }).await
    }

    /// Takes away what a user may do in a vhost; topic permissions stay.
    ///
    /// # Errors
    /// When there is no such user or vhost, or nothing to take away.
    pub async fn clear_permissions(&self, user: &str, vhost: &str) -> Result<(), ControlError> {
        let (user, vhost) = (user.to_owned(), vhost.to_owned());
        self.change(Command::ClearPermissions { user, vhost }).await.map(drop)
    }

    /// What users may do in vhosts, by user and vhost: all of it, or that of one user, or in one vhost.
    #[must_use]
    pub fn permissions(&self, user: Option<&str>, vhost: Option<&str>) -> Vec<PermissionInfo> {
        let topology = self.shared.topology();
        let mut found = Vec::new();
        for (user, name, rights) in rights_of(&topology.users(), user, vhost) {
            let (user, vhost) = (Arc::clone(user), Arc::clone(name));
            let spec = rights.permission.as_ref().map(crate::broker::rights::Permission::spec);
            found.extend(spec.map(|spec| PermissionInfo { user, vhost, spec }));
        }
        found
    }

    /// Says which keys of a topic exchange a user may use; true when nothing was said before.
    ///
    /// # Errors
    /// When there is no such user or vhost, or a pattern is none.
    pub async fn set_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: &str,
        spec: TopicPermissionSpec,
    ) -> Result<bool, ControlError> {
        let (user, vhost, exchange) = (user.to_owned(), vhost.to_owned(), exchange.to_owned());
        self.change(Command::SetTopicPermissions { user, vhost, exchange, spec }).await
    }

    /// Lets a user use all keys of a topic exchange again, or of all exchanges of a vhost.
    ///
    /// # Errors
    /// When there is no such user or vhost, or nothing was said.
    pub async fn clear_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Result<(), ControlError> {
        let (user, vhost, exchange) = (user.to_owned(), vhost.to_owned(), exchange.map(str::to_owned));
        self.change(Command::ClearTopicPermissions { user, vhost, exchange }).await.map(drop)
    }

    /// Which keys of topic exchanges users may use, by user, vhost and exchange.
    #[must_use]
    pub fn topic_permissions(&self, user: Option<&str>, vhost: Option<&str>) -> Vec<TopicPermissionInfo> {
        let topology = self.shared.topology();
        let mut found = Vec::new();
        for (user, vhost, rights) in rights_of(&topology.users(), user, vhost) {
            found.extend(rights.topics.iter().map(|(exchange, topic)| TopicPermissionInfo {
                user: Arc::clone(user),
                vhost: Arc::clone(vhost),
                exchange: exchange.clone(),
                spec: topic.spec().clone(),
            }));
        }
        found
    }

    /// Checks a user's name and password, for the management API. Whoever failed often waits.
    ///
    /// # Errors
    /// When they are wrong, or the user may only come from this machine and does not.
    pub async fn authenticate(
        &self,
        user: &str,
        password: &[u8],
        from: IpAddr,
    ) -> Result<Identity, LoginRefused> {
        auth::authenticate(&self.shared, LoginProtocol::Http, user, password, from).await
    }

    /// Checks a token, as `Authorization: Bearer` brings it.
    ///
    /// # Errors
    /// When it is not right, or tokens are not taken.
    pub async fn authenticate_token(&self, token: &str, from: IpAddr) -> Result<Identity, LoginRefused> {
        auth::authenticate_token(&self.shared, LoginProtocol::Http, token.as_bytes(), from).await
    }

    /// Whether a user may work in a vhost.
    #[must_use]
    pub fn may_enter(&self, identity: &Identity, vhost: &str) -> bool {
        let topology = self.shared.topology();
        topology.has_vhost(vhost) && Access::of(identity, vhost, &topology).may_enter()
    }

    /// Whether a user may do that with a queue or an exchange, which need not be there.
    ///
    /// # Errors
    /// What a client would be told.
    pub fn authorize(
        &self,
        identity: &Identity,
        right: Right,
        kind: ObjectKind,
        vhost: &str,
        name: &str,
    ) -> Result<(), ControlError> {
        let access = Access::of(identity, vhost, &self.shared.topology());
        if access.allows(right, name) {
            return Ok(());
        }
        Err(ControlError::Refused(auth::refused(right, kind, name, vhost, &identity.name).text))
    }

    /// How logins went, by source and user, as far as they are remembered.
    #[must_use]
    pub fn login_attempts(&self) -> Vec<LoginAttempts> {
        self.shared.attempts.list()
    }

    /// How many logins by a protocol were right, and how many wrong.
    #[must_use]
    pub fn login_totals(&self, protocol: LoginProtocol) -> (u64, u64) {
        self.shared.attempts.totals(protocol)
    }

    /// Forgets how logins went.
    pub fn clear_login_attempts(&self) {
        self.shared.attempts.clear();
    }
}

type Rights<'a> = (&'a Arc<str>, &'a Arc<str>, &'a crate::broker::rights::VhostRights);

fn rights_of<'a>(users: &[&'a User], user: Option<&str>, vhost: Option<&str>) -> Vec<Rights<'a>> {
    let users = users.iter().filter(|known| user.is_none_or(|user| *known.name == *user));
    let rights =
        users.flat_map(|user| user.rights.iter().map(|(vhost, rights)| (&user.name, vhost, &**rights)));
    rights.filter(|(_, name, _)| vhost.is_none_or(|vhost| ***name == *vhost)).collect()
}
