//! How passwords are kept: as argon2 hashes of our own, or as the salted hashes that RabbitMQ exports.

use std::fmt;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Algorithm, SHA256, SHA512, digest};

/// RabbitMQ's salt stands in front of the hash.
const SALT_BYTES: usize = 4;

const SHA256_MARK: &str = "{sha256}";
const SHA512_MARK: &str = "{sha512}";

/// How a hash was made, in RabbitMQ's words where it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HashingAlgorithm {
    Argon2,
    Sha256,
    Sha512,
}

impl HashingAlgorithm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Argon2 => "argon2",
            Self::Sha256 => "rabbit_password_hashing_sha256",
            Self::Sha512 => "rabbit_password_hashing_sha512",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Argon2, Self::Sha256, Self::Sha512].into_iter().find(|known| known.name() == name)
    }

    fn digest(self) -> Option<(&'static Algorithm, &'static str)> {
        match self {
            Self::Argon2 => None,
            Self::Sha256 => Some((&SHA256, SHA256_MARK)),
            Self::Sha512 => Some((&SHA512, SHA512_MARK)),
        }
    }
}

/// Why a hash is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HashError {
    /// It says that it was made in a way that is not known.
    Algorithm(String),
    /// It is not what the algorithm makes.
    Malformed,
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm(name) => write!(
                f,
                "hashing algorithm '{name}' is not known: rabbit_password_hashing_sha256, \
                 rabbit_password_hashing_sha512 and argon2 are"
            ),
            Self::Malformed => f.write_str("the password hash is not one of its hashing algorithm"),
        }
    }
}

impl std::error::Error for HashError {}

/// A hash as it is kept with its user; an empty one is of no password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredHash<'a>(pub(crate) &'a str);

impl<'a> StoredHash<'a> {
    /// What is to be kept of a hash made elsewhere. RabbitMQ's own is the one where nothing is said.
    pub(crate) fn from_outside(hash: &str, algorithm: Option<&str>) -> Result<String, HashError> {
        if hash.is_empty() {
            return Ok(String::new());
        }
        let is_phc = hash.starts_with('$');
        let default = if is_phc { HashingAlgorithm::Argon2 } else { HashingAlgorithm::Sha256 };
        let algorithm = algorithm.map_or(Ok(default), |name| {
            HashingAlgorithm::named(name).ok_or_else(|| HashError::Algorithm(name.to_owned()))
        })?;
        match algorithm.digest() {
            None => {
                let parsed = PasswordHash::new(hash).map_err(|_| HashError::Malformed)?;
                let is_argon2 = parsed.algorithm.as_str().starts_with("argon2") && parsed.hash.is_some();
                is_argon2.then(|| hash.to_owned()).ok_or(HashError::Malformed)
            }
            Some((digest, mark)) => {
                let bytes = STANDARD.decode(hash).map_err(|_| HashError::Malformed)?;
                let is_whole = bytes.len() == SALT_BYTES + digest.output_len();
                is_whole.then(|| format!("{mark}{hash}")).ok_or(HashError::Malformed)
            }
        }
    }

    /// Which algorithm made it, and the hash as others take it.
    pub(crate) fn parts(self) -> (HashingAlgorithm, &'a str) {
        for algorithm in [HashingAlgorithm::Sha256, HashingAlgorithm::Sha512] {
            let mark = algorithm.digest().map_or("", |(_, mark)| mark);
            if let Some(hash) = self.0.strip_prefix(mark) {
                return (algorithm, hash);
            }
        }
        (HashingAlgorithm::Argon2, self.0)
    }

    /// Whether it is the hash of this password. An empty password is never right, as in RabbitMQ.
    pub(crate) fn is_of(self, password: &[u8]) -> bool {
        if password.is_empty() {
            return false;
        }
        let (algorithm, hash) = self.parts();
        match algorithm.digest() {
            None => PasswordHash::new(hash)
                .is_ok_and(|parsed| Argon2::default().verify_password(password, &parsed).is_ok()),
            Some((algorithm, _)) => is_salted(algorithm, hash, password),
        }
    }
}

/// RabbitMQ: the base64 of a salt, and of the digest of salt and password.
fn is_salted(algorithm: &'static Algorithm, hash: &str, password: &[u8]) -> bool {
    let Ok(bytes) = STANDARD.decode(hash) else { return false };
    let Some((salt, expected)) = bytes.split_at_checked(SALT_BYTES) else { return false };
    let found = digest(algorithm, &[salt, password].concat());
    // Takes as long for a hash that is nearly right as for any other.
    found.as_ref().len() == expected.len()
        && found.as_ref().iter().zip(expected).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RabbitMQ's documentation has this one, of "test12".
    const DOCUMENTED: &str = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR";

    #[test]
    fn a_hash_of_rabbitmq_is_right_for_its_password() {
        let stored = StoredHash::from_outside(DOCUMENTED, None).unwrap();
        assert!(StoredHash(&stored).is_of(b"test12"));
        assert!(!StoredHash(&stored).is_of(b"test13") && !StoredHash(&stored).is_of(b""));
        assert_eq!(StoredHash(&stored).parts(), (HashingAlgorithm::Sha256, DOCUMENTED));
    }

    #[test]
    fn a_longer_hash_of_rabbitmq_is_right_for_its_password() {
        let salt = [1, 2, 3, 4];
        let digest = digest(&SHA512, &[&salt[..], b"secret"].concat());
        let hash = STANDARD.encode([&salt[..], digest.as_ref()].concat());
        let stored = StoredHash::from_outside(&hash, Some("rabbit_password_hashing_sha512")).unwrap();
        assert!(StoredHash(&stored).is_of(b"secret") && !StoredHash(&stored).is_of(b"Secret"));
        assert_eq!(StoredHash(&stored).parts(), (HashingAlgorithm::Sha512, hash.as_str()));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for (hash, algorithm) in [
            ("not base64!", None),
            ("AAAA", None),
            (DOCUMENTED, Some("rabbit_password_hashing_sha512")),
            ("$argon2id$nonsense", None),
            ("$argon2id$v=19$m=8192,t=2,p=1$c29tZXNhbHQ", None),
            ("plain", Some("argon2")),
        ] {
            assert_eq!(StoredHash::from_outside(hash, algorithm), Err(HashError::Malformed), "{hash}");
        }
        let md5 = StoredHash::from_outside(DOCUMENTED, Some("rabbit_password_hashing_md5"));
        assert!(md5.unwrap_err().to_string().contains("rabbit_password_hashing_md5"));
    }

    #[test]
    fn no_password_is_right_for_no_hash() {
        let stored = StoredHash::from_outside("", None).unwrap();
        assert!(!StoredHash(&stored).is_of(b"") && !StoredHash(&stored).is_of(b"x"));
    }
}
