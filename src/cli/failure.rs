//! What goes wrong, as text and as the number that the program ends with.

use std::fmt;

/// What `--help` says about how the program ends.
pub(crate) const EXIT_CODES: &str = "Exit codes: 0 done; 1 wrong usage, or another failure; 2 the node refused it; \
     3 the node was not reached; 4 the object is not there; 5 a health check failed; 6 an import was not taken as a whole.";

/// Why a command was not carried out.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) const USAGE: u8 = 1;
    pub(crate) const REFUSED: u8 = 2;
    pub(crate) const UNREACHABLE: u8 = 3;
    pub(crate) const NOT_FOUND: u8 = 4;
    pub(crate) const UNHEALTHY: u8 = 5;
    pub(crate) const INCOMPLETE: u8 = 6;

    pub(crate) fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::new(Self::USAGE, text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
