//! Rights as a token says them: `read:VHOST/NAME`, `write:VHOST/EXCHANGE/KEY`, `tag:administrator`, with `*` for anything
//! (RabbitMQ: OAuth 2, Scope-to-Permission Translation).

use super::Right;

/// So many scopes of a token are looked at, as in RabbitMQ.
const SCOPES_MAX: usize = 2048;

/// What the scopes of a token allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    grants: Vec<Grant>,
    /// What the user may do besides working in vhosts.
    pub tags: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Grant {
    right: Right,
    vhost: Wildcard,
    name: Wildcard,
    /// Without one, no key of a topic exchange is allowed.
    key: Option<Wildcard>,
}

impl Scopes {
    /// Reads scopes; those without the prefix are for others, and those that say nothing known are ignored.
    #[must_use]
    pub fn new<'a>(scopes: impl Iterator<Item = &'a str>, prefix: &str) -> Self {
        let mut found = Self::default();
        for scope in scopes.take(SCOPES_MAX).filter_map(|scope| scope.strip_prefix(prefix)) {
            if let Some(tag) = scope.strip_prefix("tag:") {
                found.tags.push(tag.to_owned());
            } else {
                found.grants.extend(Grant::read(scope));
            }
        }
        found
    }

    /// Whether anything is allowed in the vhost.
    #[must_use]
    pub fn may_enter(&self, vhost: &str) -> bool {
        self.grants.iter().any(|grant| grant.vhost.is(vhost))
    }

    /// Whether that may be done with the queue or exchange of this name.
    #[must_use]
    pub fn allow(&self, vhost: &str, right: Right, name: &str) -> bool {
        self.grants.iter().any(|grant| grant.is_for(vhost, right, name))
    }

    /// Whether that may be done with this key of a topic exchange.
    #[must_use]
    pub fn allow_key(&self, vhost: &str, right: Right, exchange: &str, key: &str) -> bool {
        self.grants.iter().any(|grant| {
            grant.is_for(vhost, right, exchange) && grant.key.as_ref().is_some_and(|keys| keys.is(key))
        })
    }
}

impl Grant {
    fn read(scope: &str) -> Option<Self> {
        let (right, rest) = scope.split_once(':')?;
        let rights = [Right::Configure, Right::Write, Right::Read];
        let right = rights.into_iter().find(|known| known.name() == right)?;
        let parts: Vec<_> = rest.split('/').map(Wildcard::new).collect();
        let (vhost, name, key) = match parts.as_slice() {
            [vhost, name] => (vhost, name, None),
            [vhost, name, key] => (vhost, name, Some(key)),
            _ => return None,
        };
        Some(Self { right, vhost: vhost.clone(), name: name.clone(), key: key.cloned() })
    }

    fn is_for(&self, vhost: &str, right: Right, name: &str) -> bool {
        self.right == right && self.vhost.is(vhost) && self.name.is(name)
    }
}

/// A name in which each star stands for anything; other characters may be written as in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wildcard(Vec<Vec<u8>>);

impl Wildcard {
    fn new(pattern: &str) -> Self {
        Self(pattern.split('*').map(decoded).collect())
    }

    fn is(&self, name: &str) -> bool {
        let name = name.as_bytes();
        let Some((first, rest)) = self.0.split_first() else { return false };
        let Some((last, middle)) = rest.split_last() else { return name == first.as_slice() };
        let Some(mut left) = name.strip_prefix(first.as_slice()) else { return false };
        for part in middle {
            let found =
                (0..=left.len()).find(|at| left.get(*at..).is_some_and(|tail| tail.starts_with(part)));
            let Some(at) = found else { return false };
            left = left.get(at + part.len()..).unwrap_or_default();
        }
        left.ends_with(last)
    }
}

/// Takes `%2F` for a slash, and so on.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.first_chunk::<2>().filter(|_| *first == b'%');
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            bytes.push(byte);
            rest = tail.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(list: &[&str]) -> Scopes {
        Scopes::new(list.iter().copied(), "rabbitmq.")
    }

    #[test]
    fn a_star_stands_for_anything_and_the_rest_for_itself() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*a", "ba", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "a-bb-c", true),
            ("a*b*c", "a-c-b", false),
            ("%2F", "/", true),
            ("%2*", "%2x", true),
            ("100%", "100%", true),
            ("", "x", false),
        ] {
            assert_eq!(Wildcard::new(pattern).is(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn scopes_allow_what_they_say_and_nothing_else() {
        let found =
            scopes(&["rabbitmq.read:%2F/q*", "rabbitmq.write:v/x/a.*", "other.write:*/*", "rabbitmq.read:"]);
        assert!(found.may_enter("/") && found.may_enter("v") && !found.may_enter("w"));
        assert!(found.allow("/", Right::Read, "q1") && !found.allow("/", Right::Write, "q1"));
        assert!(!found.allow("v", Right::Read, "q1") && found.allow("v", Right::Write, "x"));
        assert!(found.allow_key("v", Right::Write, "x", "a.b"));
        assert!(
            !found.allow_key("v", Right::Write, "x", "b") && !found.allow_key("/", Right::Read, "q1", "a")
        );
    }

    #[test]
    fn tags_are_scopes_too() {
        let found = scopes(&["rabbitmq.tag:administrator", "tag:monitoring", "rabbitmq.tag:management"]);
        assert_eq!(found.tags, ["administrator", "management"]);
    }
}
