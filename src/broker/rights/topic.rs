//! Permissions for routing keys of a topic exchange (RabbitMQ: Topic Authorisation).

use super::Right;
use super::permission::Names;

/// Topic permissions as they are given. `{username}` and `{vhost}` stand for the user and the vhost they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicPermissionSpec {
    /// Keys that may be published with.
    pub write: String,
    /// Keys that may be bound with.
    pub read: String,
}

/// Topic permissions that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermission {
    spec: TopicPermissionSpec,
    write: Names,
    read: Names,
}

impl TopicPermission {
    /// Compiles the patterns for a user in a vhost.
    ///
    /// # Errors
    /// The pattern that is none, and why.
    pub fn new(spec: TopicPermissionSpec, user: &str, vhost: &str) -> Result<Self, String> {
        let [write, read] =
            [&spec.write, &spec.read].map(|pattern| Names::new(fill_in(pattern, user, vhost)));
        Ok(Self { write: write?, read: read?, spec })
    }

    /// Whether a routing key may be used so.
    #[must_use]
    pub fn allows(&self, right: Right, key: &str) -> bool {
        match right {
            Right::Write => self.write.has(key),
            Right::Read => self.read.has(key),
            Right::Configure => true,
        }
    }

    /// As it was given.
    #[must_use]
    pub fn spec(&self) -> &TopicPermissionSpec {
        &self.spec
    }
}

/// Names are filled in as what they are, not as patterns: a user called `.*` is not everybody.
fn fill_in(pattern: &str, user: &str, vhost: &str) -> String {
    if !pattern.contains('{') {
        return pattern.to_owned();
    }
    let names = [("{username}", user), ("{vhost}", vhost), ("{client_id}", "{client_id}")];
    names.into_iter().fold(pattern.to_owned(), |text, (place, name)| text.replace(place, &escaped(name)))
}

fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(character) {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(write: &str, read: &str) -> TopicPermission {
        let spec = TopicPermissionSpec { write: write.to_owned(), read: read.to_owned() };
        TopicPermission::new(spec, "u.1", "/").unwrap()
    }

    #[test]
    fn user_and_vhost_are_filled_in_as_they_are() {
        let topic = topic(r"^{username}\.", "^{vhost}{client_id}$");
        assert!(topic.allows(Right::Write, "u.1.key") && !topic.allows(Right::Write, "uX1.key"));
        assert!(topic.allows(Right::Read, "/{client_id}") && !topic.allows(Right::Read, "/c"));
        assert_eq!(topic.spec().write, r"^{username}\.");
    }

    #[test]
    fn a_name_cannot_stand_for_another_place() {
        let spec = TopicPermissionSpec { write: "^{username}$".to_owned(), read: String::new() };
        let topic = TopicPermission::new(spec, "{vhost}", "v").unwrap();
        assert!(!topic.allows(Right::Write, "v") && topic.allows(Right::Write, "{vhost}"));
    }

    #[test]
    fn an_empty_pattern_is_for_no_key() {
        assert!(!topic("", ".*").allows(Right::Write, "a") && topic("", ".*").allows(Right::Read, "a"));
    }
}
