//! What can go wrong, as one line that names the broker.

use std::fmt;

/// Why a run did not succeed: one line to read.
#[derive(Debug)]
pub struct Error(String);

impl Error {
    /// An error in the words of `text`.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// A result with this package's error.
pub(crate) type Result<T> = std::result::Result<T, Error>;
