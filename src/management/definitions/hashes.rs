//! Hashes of passwords, as they are kept and as files show them.
//!
//! RabbitMQ's hashes are base64 of salt and digest, with the name of the algorithm beside them. Ours name their algorithm
//! themselves (PHC); RabbitMQ takes users with such a hash as well, if it is base64, though no password is right for it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The algorithm of hashes that are made here, and its older name in files.
const OURS: [&str; 2] = ["argon2", "argon2id"];
const OURS_BEGIN: &str = "$argon2";
/// RabbitMQ's algorithms, what marks their hashes where they are kept, and the bytes of their digests.
const THEIRS: [(&str, &str, usize); 2] =
    [("rabbit_password_hashing_sha256", "{sha256}", 32), ("rabbit_password_hashing_sha512", "{sha512}", 64)];
const SALT_BYTES: usize = 4;
/// Before 3.6 the algorithm was not told, and always this one.
const BEFORE_3_6: &str = "rabbit_password_hashing_md5";

/// A hash of a file, as it is kept; empty when no password is right.
///
/// # Errors
/// Why no password could be checked with it.
pub(super) fn stored(hash: &str, algorithm: Option<&str>, version: &str) -> Result<String, String> {
    if hash.is_empty() {
        return Ok(String::new());
    }
    let default = if is_before_3_6(version) { BEFORE_3_6 } else { THEIRS[0].0 };
    let algorithm = algorithm.unwrap_or(default);
    let decoded = || STANDARD.decode(hash).map_err(|_| "its password_hash is not base64".to_owned());
    if OURS.contains(&algorithm) {
        let text = if hash.starts_with('$') { hash.as_bytes().to_vec() } else { decoded()? };
        let text = String::from_utf8(text).ok().filter(|text| text.starts_with(OURS_BEGIN));
        return text.ok_or_else(|| format!("its password_hash is none of {algorithm}"));
    }
    let known = THEIRS.iter().find(|(name, ..)| *name == algorithm);
    let (name, mark, digest_bytes) = known.ok_or_else(|| {
        format!("hashing_algorithm '{algorithm}' is not served: give the user a password in its place")
    })?;
    let bytes = decoded()?.len();
    if bytes != SALT_BYTES + digest_bytes {
        return Err(format!("its password_hash is {bytes} bytes long, which is none of {name}"));
    }
    Ok(format!("{mark}{hash}"))
}

/// A hash that is kept, as a file shows it, and its algorithm.
pub(super) fn shown(stored: &str) -> (String, &'static str) {
    let marked = THEIRS.iter().find_map(|(name, mark, _)| Some((stored.strip_prefix(mark)?, *name)));
    match marked {
        Some((hash, algorithm)) => (hash.to_owned(), algorithm),
        None if stored.is_empty() => (String::new(), THEIRS[0].0),
        None => (STANDARD.encode(stored), OURS[0]),
    }
}

fn is_before_3_6(version: &str) -> bool {
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => (major, minor) < (3, 6),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "CiAwlVgb6zFVbhILk38xWKFLoG96/yrNRWVUVqF0MXYwu/oD";

    #[test]
    fn what_is_stored_is_shown_as_it_came() {
        let stored_sha = stored(SHA256, Some("rabbit_password_hashing_sha256"), "3.10.8").unwrap();
        assert_eq!(shown(&stored_sha), (SHA256.to_owned(), "rabbit_password_hashing_sha256"));
        let ours = "$argon2id$v=19$m=8192,t=2,p=1$c2FsdA$aGFzaA";
        let (hash, algorithm) = shown(ours);
        assert!(!hash.starts_with('$'), "RabbitMQ takes nothing but base64");
        assert_eq!(stored(&hash, Some(algorithm), "").as_deref(), Ok(ours));
        assert_eq!(stored(ours, Some("argon2"), "").as_deref(), Ok(ours));
        assert_eq!(stored("", Some("rabbit_password_hashing_sha512"), "4.0.1").as_deref(), Ok(""));
        assert_eq!(shown("").0, "");
    }

    #[test]
    fn the_algorithm_that_is_not_told_follows_from_the_version() {
        assert_eq!(stored(SHA256, None, "3.10.8").unwrap(), format!("{{sha256}}{SHA256}"));
        let md5 = STANDARD.encode([7; 20]);
        assert!(stored(&md5, None, "3.5.7").unwrap_err().contains("rabbit_password_hashing_md5"));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        assert!(stored("?", None, "").unwrap_err().contains("base64"));
        assert!(stored(SHA256, Some("rabbit_password_hashing_sha512"), "").unwrap_err().contains("bytes"));
        assert!(stored(SHA256, Some("own_module"), "").unwrap_err().contains("not served"));
        assert!(stored(SHA256, Some("argon2"), "").is_err());
    }
}
