//! Names that the broker makes up.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// `prefix` and 22 random characters, as RabbitMQ names queues (`amq.gen-`) and consumers (`amq.ctag-`).
///
/// # Errors
/// When the system has no random numbers to give.
pub(crate) fn generated(prefix: &str) -> Result<String, getrandom::Error> {
    let mut random = [0u8; 16];
    getrandom::fill(&mut random)?;
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random)))
}
