//! Patterns: regular expressions that are searched in names, not anchored.

use std::fmt;

use fancy_regex::{Error, ParseError, Regex, RegexBuilder};

/// A name that takes longer than this to look through is not matched.
const BACKTRACKS_MAX: usize = 100_000;
/// Bytes of a pattern.
const PATTERN_BYTES_MAX: usize = 4096;

/// A regular expression; two are equal when their texts are.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// The reason in RabbitMQ's words.
    pub fn new(text: String) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("pattern must not exceed {PATTERN_BYTES_MAX} bytes"));
        }
        let regex = RegexBuilder::new(&text).backtrack_limit(BACKTRACKS_MAX).build();
        let regex = regex.map_err(|error| {
            let (reason, at) = reason(&error, text.len());
            format!("pattern should be regular expression but is invalid: {{\"{reason}\",{at}}}")
        })?;
        Ok(Self { text, regex })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is found in a name.
    #[must_use]
    pub fn is_in(&self, name: &str) -> bool {
        self.regex.is_match(name).unwrap_or(false)
    }
}

/// What is wrong, and where in a pattern of this length.
fn reason(error: &Error, length: usize) -> (String, usize) {
    match error {
        Error::ParseError(_, ParseError::UnclosedOpenParen) => {
            ("missing closing parenthesis".to_owned(), length)
        }
        Error::ParseError(at, reason) => (reason.to_string().to_lowercase(), *at),
        other => (other.to_string().lines().last().unwrap_or_default().to_lowercase(), 0),
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}
