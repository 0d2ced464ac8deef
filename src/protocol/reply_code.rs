//! AMQP reply codes (AMQP 0-9-1, section 1.2 of the generated constants; texts as RabbitMQ prints them).

/// A reply code of `connection.close`, `channel.close` or `basic.return`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplyCode {
    /// 200: the connection or channel ends as asked.
    Success,
    /// 311: the content is larger than the receiver takes.
    ContentTooLarge,
    /// 312: a mandatory message reached no queue.
    NoRoute,
    /// 313: an immediate message found no consumer.
    NoConsumers,
    /// 320: an operator ended the connection.
    ConnectionForced,
    /// 402: the virtual host name is not valid.
    InvalidPath,
    /// 403: the client has no right to this, or the object is reserved.
    AccessRefused,
    /// 404: the named object does not exist.
    NotFound,
    /// 405: the object belongs to another connection.
    ResourceLocked,
    /// 406: arguments or state do not allow the request.
    PreconditionFailed,
    /// 501: a frame could not be decoded.
    FrameError,
    /// 502: a field has an illegal value.
    SyntaxError,
    /// 503: a method that is not legal here.
    CommandInvalid,
    /// 504: a channel is used in a state that does not allow it.
    ChannelError,
    /// 505: a frame came that is not expected now.
    UnexpectedFrame,
    /// 506: the server lacks the resources.
    ResourceError,
    /// 530: what was asked is against the rules agreed on.
    NotAllowed,
    /// 540: the server does not implement this.
    NotImplemented,
    /// 541: the server failed.
    InternalError,
}

/// Every reply code.
const ALL: [ReplyCode; 19] = [
    ReplyCode::Success,
    ReplyCode::ContentTooLarge,
    ReplyCode::NoRoute,
    ReplyCode::NoConsumers,
    ReplyCode::ConnectionForced,
    ReplyCode::InvalidPath,
    ReplyCode::AccessRefused,
    ReplyCode::NotFound,
    ReplyCode::ResourceLocked,
    ReplyCode::PreconditionFailed,
    ReplyCode::FrameError,
    ReplyCode::SyntaxError,
    ReplyCode::CommandInvalid,
    ReplyCode::ChannelError,
    ReplyCode::UnexpectedFrame,
    ReplyCode::ResourceError,
    ReplyCode::NotAllowed,
    ReplyCode::NotImplemented,
    ReplyCode::InternalError,
];

impl ReplyCode {
    /// The code with this number on the wire.
    #[must_use]
    pub fn from_id(id: u16) -> Option<Self> {
        ALL.into_iter().find(|code| code.id() == id)
    }

    /// The number on the wire.
    #[must_use]
    pub fn id(self) -> u16 {
        self.entry().0
    }

    /// The name that RabbitMQ puts in front of every reply text.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    fn entry(self) -> (u16, &'static str) {
        match self {
            Self::Success => (200, "OK"),
            Self::ContentTooLarge => (311, "CONTENT_TOO_LARGE"),
            Self::NoRoute => (312, "NO_ROUTE"),
            Self::NoConsumers => (313, "NO_CONSUMERS"),
            Self::ConnectionForced => (320, "CONNECTION_FORCED"),
            Self::InvalidPath => (402, "INVALID_PATH"),
            Self::AccessRefused => (403, "ACCESS_REFUSED"),
            Self::NotFound => (404, "NOT_FOUND"),
            Self::ResourceLocked => (405, "RESOURCE_LOCKED"),
            Self::PreconditionFailed => (406, "PRECONDITION_FAILED"),
            Self::FrameError => (501, "FRAME_ERROR"),
            Self::SyntaxError => (502, "SYNTAX_ERROR"),
            Self::CommandInvalid => (503, "COMMAND_INVALID"),
            Self::ChannelError => (504, "CHANNEL_ERROR"),
            Self::UnexpectedFrame => (505, "UNEXPECTED_FRAME"),
            Self::ResourceError => (506, "RESOURCE_ERROR"),
            Self::NotAllowed => (530, "NOT_ALLOWED"),
            Self::NotImplemented => (540, "NOT_IMPLEMENTED"),
            Self::InternalError => (541, "INTERNAL_ERROR"),
        }
    }
}
