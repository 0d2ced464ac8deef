//! Who somebody is, and what they may do.
//!
//! - `passwords`, `hashes`: checking passwords; how they are kept
//! - `identity`: who somebody was found to be
//! - `access`: what that one may do in a vhost
//! - `login`: from a name and a password to an identity
//! - `oauth`: tokens in place of passwords
//! - `attempts`: how often that went wrong, and who has to wait

mod access;
mod attempts;
mod hashes;
mod identity;
mod login;
mod oauth;
mod passwords;

pub use access::ObjectKind;
pub(crate) use access::{Access, key_refused, not_entered, refused};
pub(crate) use attempts::Attempts;
pub use attempts::{LoginAttempts, LoginProtocol};
pub(crate) use hashes::StoredHash;
pub use identity::{Identity, LoginRefused};
pub(crate) use login::{authenticate, authenticate_token, without_password};
pub(crate) use oauth::Oauth;
pub(crate) use passwords::{Passwords, hash};
