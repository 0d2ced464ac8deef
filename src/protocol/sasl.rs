//! The responses of the SASL mechanisms PLAIN (RFC 4616) and AMQPLAIN (RabbitMQ: a field table without its length).

use super::table;

/// What a client logs in with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The password as it was sent.
    pub password: Vec<u8>,
}

/// Reads the response of a mechanism that is offered, with the mechanism's name; `None` for another one and for a
/// malformed response.
#[must_use]
pub fn credentials(mechanism: &str, response: &[u8]) -> Option<(&'static str, Credentials)> {
    match mechanism {
        "PLAIN" => Some(("PLAIN", plain(response)?)),
        "AMQPLAIN" => Some(("AMQPLAIN", amqplain(response)?)),
        // Who that is, is not for the client to say (RFC 4422, appendix A; RFC 4505).
        "EXTERNAL" => Some(("EXTERNAL", Credentials { user: String::new(), password: Vec::new() })),
        "ANONYMOUS" => Some(("ANONYMOUS", Credentials { user: String::new(), password: Vec::new() })),
        _ => None,
    }
}

/// `authorisation-id NUL user NUL password`; the authorisation id is ignored.
#[must_use]
pub fn plain(response: &[u8]) -> Option<Credentials> {
    let mut parts = response.splitn(3, |&octet| octet == 0);
    let (_authorisation_id, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    credentials_of(user, password)
}

/// The fields LOGIN and PASSWORD, both long strings.
#[must_use]
pub fn amqplain(response: &[u8]) -> Option<Credentials> {
    table::validate(response, table::DEPTH_MAX).ok()?;
    let text = |name: &[u8]| table::find(response, name).filter(|field| field.kind == b'S')?.as_bytes();
    credentials_of(text(b"LOGIN")?, text(b"PASSWORD")?)
}

fn credentials_of(user: &[u8], password: &[u8]) -> Option<Credentials> {
    Some(Credentials { user: String::from_utf8(user.to_vec()).ok()?, password: password.to_vec() })
}

impl std::fmt::Debug for Credentials {
    /// Never shows the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest() -> Credentials {
        Credentials { user: "guest".to_owned(), password: b"secret".to_vec() }
    }

    #[test]
    fn plain_tolerates_an_authorisation_id() {
        assert_eq!(plain(b"\0guest\0secret"), Some(guest()));
        assert_eq!(plain(b"other\0guest\0secret"), Some(guest()));
        assert_eq!(plain(b"garbage"), None);
        assert_eq!(plain(b"\0garbage"), None);
        assert_eq!(plain(b"\0\xFF\0secret"), None);
    }

    #[test]
    fn amqplain_is_a_table_without_length() {
        let response = b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x06secret";
        assert_eq!(credentials("AMQPLAIN", response), Some(("AMQPLAIN", guest())));
        assert_eq!(amqplain(&response[..20]), None);
        assert_eq!(credentials("GSSAPI", b""), None);
    }

    #[test]
    fn a_password_is_never_printed() {
        assert!(!format!("{:?}", guest()).contains("secret"));
    }
}
