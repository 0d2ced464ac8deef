//! Passwords: hashing, and checking without paying for the hash at every login.

use std::hash::{BuildHasher, RandomState};

use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params, Version};
use dashmap::DashMap;

use super::hashes::StoredHash;

/// Checks passwords against hashes, and remembers which were right.
///
/// What is remembered is a keyed digest of hash and password, of no use outside this process.
#[derive(Debug, Default)]
pub(crate) struct Passwords {
    right: DashMap<String, [u64; 2]>,
    keys: [RandomState; 2],
}

impl Passwords {
    /// Whether `password` was found right for `hash` before.
    #[must_use]
    pub(crate) fn is_known(&self, user: &str, hash: &str, password: &[u8]) -> bool {
        self.right.get(user).is_some_and(|digest| *digest == self.digest(hash, password))
    }

    /// Checks a password; takes milliseconds of CPU, so call it where blocking is allowed.
    #[must_use]
    pub(crate) fn verify(&self, user: &str, hash: &str, password: &[u8]) -> bool {
        let right = StoredHash(hash).is_of(password);
        if right {
            self.right.insert(user.to_owned(), self.digest(hash, password));
        }
        right
    }

    fn digest(&self, hash: &str, password: &[u8]) -> [u64; 2] {
        [self.keys[0].hash_one((hash, password)), self.keys[1].hash_one((hash, password))]
    }
}

/// Hashes a new password with a random salt.
///
/// # Errors
/// When the system has no random numbers to give.
pub(crate) fn hash(password: &str) -> Result<String, String> {
    let params = Params::new(8 * 1024, 2, 1, None).map_err(|error| error.to_string())?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    Ok(argon2.hash_password(password.as_bytes()).map_err(|error| error.to_string())?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_passes_and_is_remembered() {
        let hash = hash("guest").unwrap();
        let passwords = Passwords::default();
        assert!(!passwords.verify("guest", &hash, b"gast"));
        assert!(!passwords.is_known("guest", &hash, b"guest"));
        assert!(passwords.verify("guest", &hash, b"guest"));
        assert!(passwords.is_known("guest", &hash, b"guest"));
        assert!(!passwords.is_known("guest", &hash, b"gast"));
    }
}
