//! Addresses of brokers: `amqp://user:password@host:port/vhost`.

use std::fmt;
use std::str::FromStr;

/// Where a broker listens, who logs in, and into which vhost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uri {
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) vhost: String,
}

impl Uri {
    /// The vhost `/` of a broker on this machine, as guest.
    pub(crate) fn local(port: u16) -> Self {
        let guest = || "guest".to_owned();
        Self { user: guest(), password: guest(), host: "127.0.0.1".to_owned(), port, vhost: "/".to_owned() }
    }
}

/// Shows host and port, not the password.
impl fmt::Display for Uri {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(to, "[{}]:{}", self.host, self.port);
        }
        write!(to, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Uri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("amqp://").ok_or("it does not begin with amqp://")?;
        let (authority, vhost) = rest.split_once('/').map_or((rest, None), |(a, v)| (a, Some(v)));
        let (login, place) = authority.rsplit_once('@').map_or(("guest:guest", authority), |both| both);
        let (user, password) = login.split_once(':').ok_or("the user has no password")?;
        let (host, port) = host_and_port(place)?;
        Ok(Self {
            user: decoded(user)?,
            password: decoded(password)?,
            host: host.to_owned(),
            port,
            vhost: decoded(vhost.filter(|name| !name.is_empty()).unwrap_or("/"))?,
        })
    }
}

fn host_and_port(place: &str) -> Result<(&str, u16), String> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, "5672"),
        Some((host, rest)) => (host, rest.strip_prefix(':').ok_or("the port is missing")?),
        None => place.split_once(':').unwrap_or((place, "5672")),
    };
    let host = if host.is_empty() { "localhost" } else { host };
    Ok((host, port.parse().map_err(|_| format!("'{port}' is not a port"))?))
}

/// Resolves `%2f` and the like.
fn decoded(text: &str) -> Result<String, String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).ok_or("a % without two hexadecimal digits")?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| format!("'%{digits}' is not hexadecimal"))?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_are_read_and_defaults_fill_the_rest() {
        let full: Uri = "amqp://ann:s%40lt@broker:1234/a%2fb".parse().unwrap();
        assert_eq!((full.user.as_str(), full.password.as_str()), ("ann", "s@lt"));
        assert_eq!((full.host.as_str(), full.port, full.vhost.as_str()), ("broker", 1234, "a/b"));
        assert_eq!("amqp://127.0.0.1".parse::<Uri>().unwrap(), Uri::local(5672));
        assert_eq!("amqp://[::1]:7".parse::<Uri>().unwrap().to_string(), "[::1]:7");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["127.0.0.1", "amqp://h:port", "amqp://guest@h", "amqp://h/%2", "amqp://h/%zz"] {
            assert!(text.parse::<Uri>().is_err(), "{text}");
        }
    }
}
