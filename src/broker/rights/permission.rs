//! Permissions: three patterns for the names of queues and exchanges.

use super::Right;
use crate::broker::policy::Pattern;

/// Permissions as they are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PermissionSpec {
    /// What may be made and deleted.
    pub configure: String,
    /// What messages may be brought into.
    pub write: String,
    /// What messages may be taken out of.
    pub read: String,
}

impl PermissionSpec {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        let all = || ".*".to_owned();
        Self { configure: all(), write: all(), read: all() }
    }
}

/// Permissions that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    configure: Names,
    write: Names,
    read: Names,
}

impl Permission {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// The pattern that is none, and why.
    pub fn new(spec: PermissionSpec) -> Result<Self, String> {
        let PermissionSpec { configure, write, read } = spec;
        Ok(Self { configure: Names::new(configure)?, write: Names::new(write)?, read: Names::new(read)? })
    }

    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self { configure: Names::all(), write: Names::all(), read: Names::all() }
    }

    /// Whether that is allowed with the queue or exchange of this name.
    #[must_use]
    pub fn allows(&self, right: Right, name: &str) -> bool {
        self.of(right).has(name)
    }

    /// As it was given.
    #[must_use]
    pub fn spec(&self) -> PermissionSpec {
        let text = |right| self.of(right).as_str().to_owned();
        PermissionSpec {
            configure: text(Right::Configure),
            write: text(Right::Write),
            read: text(Right::Read),
        }
    }

    fn of(&self, right: Right) -> &Names {
        match right {
            Right::Configure => &self.configure,
            Right::Write => &self.write,
            Right::Read => &self.read,
        }
    }
}

/// The names that a pattern is for. It is searched, not anchored; an empty one is for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Names {
    None,
    /// The most frequent of all patterns costs nothing.
    All,
    Found(Pattern),
}

impl Names {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// The reason why it is none.
    pub(super) fn new(pattern: String) -> Result<Self, String> {
        Ok(match pattern.as_str() {
            "" => Self::None,
            ".*" => Self::All,
            _ => Self::Found(Pattern::new(pattern)?),
        })
    }

    pub(super) fn all() -> Self {
        Self::All
    }

    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Found(pattern) => pattern.is_in(name),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::None => "",
            Self::All => ".*",
            Self::Found(pattern) => pattern.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permission(configure: &str, write: &str, read: &str) -> Permission {
        let [configure, write, read] = [configure, write, read].map(str::to_owned);
        Permission::new(PermissionSpec { configure, write, read }).unwrap()
    }

    #[test]
    fn patterns_are_searched_and_an_empty_one_is_for_nothing() {
        let permission = permission("^mine-", "a", "");
        assert!(permission.allows(Right::Configure, "mine-1"));
        assert!(!permission.allows(Right::Configure, "not-mine-1"));
        assert!(permission.allows(Right::Write, "bab"));
        assert!(!permission.allows(Right::Read, "a") && !permission.allows(Right::Read, ""));
        assert!(Permission::all().allows(Right::Read, "\n"));
    }

    #[test]
    fn permissions_tell_what_they_were_made_of() {
        let spec = permission("^$", ".*", "a|b").spec();
        assert_eq!([&*spec.configure, &*spec.write, &*spec.read], ["^$", ".*", "a|b"]);
        assert_eq!(Permission::all().spec(), PermissionSpec::all());
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let spec = PermissionSpec { write: "(".to_owned(), ..PermissionSpec::default() };
        assert!(Permission::new(spec).unwrap_err().contains("missing closing parenthesis"));
    }
}
