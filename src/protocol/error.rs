//! A refusal: the answer to a peer's mistake, with the scope it ends.

use std::fmt;

use super::reply_code::ReplyCode;

/// The longest reply text: a short string (AMQP 0-9-1, section 4.2.5.3).
const TEXT_BYTES_MAX: usize = 255;

/// The end of a text that was too long.
const CUT: &str = "...";

/// What a refusal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The channel is closed; the connection goes on (a soft error).
    Channel,
    /// The connection is closed (a hard error).
    Connection,
}

/// The class and method a close names as its cause; `(0, 0)` when there is none.
pub type MethodId = (u16, u16);

/// A request that is refused: becomes `channel.close` or `connection.close`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What ends.
    pub scope: Scope,
    /// The reply code.
    pub code: ReplyCode,
    /// The text behind `NAME - `: names the object and the reason.
    pub text: String,
}

impl Refusal {
    /// A soft error.
    pub fn channel(code: ReplyCode, text: impl Into<String>) -> Self {
        Self { scope: Scope::Channel, code, text: text.into() }
    }

    /// A hard error.
    pub fn connection(code: ReplyCode, text: impl Into<String>) -> Self {
        Self { scope: Scope::Connection, code, text: text.into() }
    }

    /// The reply text as RabbitMQ words it: `NAME - text`, cut to a short string, which three dots show.
    #[must_use]
    pub fn reply_text(&self) -> String {
        let mut text = format!("{} - {}", self.code.name(), self.text);
        if text.len() > TEXT_BYTES_MAX {
            let mut end = TEXT_BYTES_MAX - CUT.len();
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push_str(CUT);
        }
        text
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} - {}", self.code.id(), self.code.name(), self.text)
    }
}

impl std::error::Error for Refusal {}
