//! Who somebody was found to be.

use std::fmt;
use std::sync::Arc;

use crate::broker::rights::Scopes;

/// A user whose name and password, certificate or token were right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name.
    pub name: Arc<str>,
    /// What the user may do besides working in vhosts, such as `administrator`.
    pub tags: Vec<String>,
    /// What a token says, which then decides in place of permissions.
    pub(crate) token: Option<Arc<Token>>,
}

/// A token that was right.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) scopes: Scopes,
    /// When it expires, Unix milliseconds.
    pub(crate) expires_ms: u64,
}

impl Identity {
    /// A user of this name, without tags.
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.into(), tags: Vec::new(), token: None }
    }

    /// When what was shown expires, if it does: Unix milliseconds.
    #[must_use]
    pub fn expires_ms(&self) -> Option<u64> {
        self.token.as_ref().map(|token| token.expires_ms)
    }

    /// Whether the user has the tag.
    #[must_use]
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| own == tag)
    }
}

/// Name or password is wrong, or the user may not come from there; the reason is for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRefused(pub String);

impl LoginRefused {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for LoginRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LoginRefused {}
