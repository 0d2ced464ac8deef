//! From the bytes of a socket to inputs: frames are cut out, methods decoded, contents put together.

use amq_protocol::protocol::AMQPClass;

use super::connection::Limits;
use super::content::{Content, Contents};
pub use super::content::{GATHERED_ROOM, Gathered, LARGE_BODY_BYTES};
use super::error::{MethodId, Refusal};
use super::frame::{self, Head, frame_error, unexpected_frame};
use super::hot;
use super::method::{self, BASIC_PUBLISH, MethodError};
use super::repeat::Shape;

/// A body frame of more bytes than this is taken in piece by piece as it arrives; a smaller one is waited for.
const PIECEWISE_MIN: usize = 8 * 1024;

/// `connection.close-ok` on the wire: the only thing still looked for once the stream cannot be understood any more.
const CLOSE_OK_FRAME: [u8; 12] = [frame::METHOD, 0, 0, 0, 0, 0, 4, 0, 10, 0, 51, frame::END];

/// What a peer sent, whole and well formed; whether it is allowed now is for the connection to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Input<'a> {
    /// The first 8 bytes of the stream, whatever they are.
    Preamble([u8; 8]),
    /// A heartbeat on channel 0.
    Heartbeat,
    /// Every method but the ones below.
    Method {
        /// The channel it came on.
        channel: u16,
        /// The method; boxed, since inputs are moved often and methods are large and rare.
        method: Box<AMQPClass>,
    },
    /// A publish with its content.
    Publish(Publish<'a>),
    /// The beginning of a publish with a larger body than configured; the body is dropped as it comes.
    TooLarge {
        /// The channel it came on.
        channel: u16,
        /// The body's size, in bytes.
        size: u64,
    },
    /// A publish with a large content.
    Gathered(Box<Gathered>),
    /// `basic.ack`.
    Ack {
        /// The channel it came on.
        channel: u16,
        /// The delivery tag.
        tag: u64,
        /// Up to and with the tag.
        multiple: bool,
    },
    /// `basic.nack`.
    Nack {
        /// The channel it came on.
        channel: u16,
        /// The delivery tag.
        tag: u64,
        /// Up to and with the tag.
        multiple: bool,
        /// Back to the queue, or dropped.
        requeue: bool,
    },
    /// `basic.reject`.
    Reject {
        /// The channel it came on.
        channel: u16,
        /// The delivery tag.
        tag: u64,
        /// Back to the queue, or dropped.
        requeue: bool,
    },
}

impl Input<'_> {
    /// The channel it came on; 0 for what has none.
    #[inline]
    #[must_use]
    pub fn channel(&self) -> u16 {
        match self {
            Self::Preamble(_) | Self::Heartbeat => 0,
            Self::Publish(publish) => publish.channel,
            Self::Gathered(gathered) => gathered.channel(),
            Self::Method { channel, .. }
            | Self::TooLarge { channel, .. }
            | Self::Ack { channel, .. }
            | Self::Nack { channel, .. }
            | Self::Reject { channel, .. } => *channel,
        }
    }

    /// The ids by which a close names it; `(0, 0)` for what is no method.
    #[must_use]
    pub fn method_id(&self) -> MethodId {
        match self {
            Self::Preamble(_) | Self::Heartbeat => (0, 0),
            Self::Method { method, .. } => method::method_id(method),
            Self::Publish(_) | Self::Gathered(_) | Self::TooLarge { .. } => BASIC_PUBLISH,
            Self::Ack { .. } => method::BASIC_ACK,
            Self::Nack { .. } => method::BASIC_NACK,
            Self::Reject { .. } => method::BASIC_REJECT,
        }
    }
}

/// A publish, borrowed from the socket's bytes or from where its frames were gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The channel it came on; never 0.
    pub channel: u16,
    /// The exchange's name, UTF-8.
    pub exchange: &'a [u8],
    /// The routing key, UTF-8.
    pub routing_key: &'a [u8],
    /// To be returned when it reaches no queue.
    pub mandatory: bool,
    /// Not implemented, as in RabbitMQ.
    pub immediate: bool,
    /// The content header payload, verbatim; at least 14 bytes, its properties not looked at.
    pub header: &'a [u8],
    /// The body, as long as the header says.
    pub body: &'a [u8],
}

/// How far one call came.
#[derive(Debug, PartialEq)]
pub struct Step<'a> {
    /// How many bytes are done with; 0 when more are needed.
    pub consumed: usize,
    /// What they held; `None` with `consumed` above 0 means call again with the rest.
    pub input: Option<Input<'a>>,
}

impl Step<'_> {
    const NEEDS_MORE: Self = Self { consumed: 0, input: None };
}

/// Why the stream cannot be followed any further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboundError {
    /// The connection is to be closed with this hard error and these ids.
    Refused(Refusal, MethodId),
    /// The socket is to be closed without a method; the reason is for the log.
    Silent(&'static str),
}

impl From<(Refusal, MethodId)> for InboundError {
    fn from((refusal, cause): (Refusal, MethodId)) -> Self {
        Self::Refused(refusal, cause)
    }
}

/// Cuts one connection's stream into inputs.
///
/// After an error it skips everything up to a `connection.close-ok`, so the caller goes on reading as before.
#[derive(Debug)]
pub struct Inbound {
    mode: Mode,
    /// The largest payload taken, in bytes: eight more than frame-max allows, as RabbitMQ does.
    payload_max: usize,
    body_max: u64,
    is_tuned: bool,
    contents: Contents,
    /// Where the publish that was last handed out lives, when it was gathered.
    handed_out: Content,
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Preamble,
    Frames,
    /// Inside a body frame that is taken in piece by piece; `left` payload bytes are still to come, then the end octet.
    InBody {
        channel: u16,
        left: usize,
    },
    Lost,
}

impl Inbound {
    /// Starts at the protocol header, with the limits that hold before the login.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            mode: Mode::Preamble,
            payload_max: limits.pre_login_frame_max as usize,
            body_max: limits.body_max,
            is_tuned: false,
            contents: Contents::default(),
            handed_out: Content::default(),
            shape: Shape::default(),
        }
    }

    /// The negotiated frame-max, in bytes; from now on channels other than 0 may be used.
    pub fn set_frame_max(&mut self, frame_max: u32) {
        self.payload_max = frame_max as usize;
        self.is_tuned = true;
    }

    /// Takes the next thing from the beginning of `bytes`, which are all that was read and not consumed so far.
    ///
    /// # Errors
    /// When the peer breaks the framing or the order of a content's frames.
    // Inlined by force: otherwise the result is copied twice, a third of the time a publish takes here.
    #[inline(always)]
    pub fn next<'a>(&'a mut self, bytes: &'a [u8]) -> Result<Step<'a>, InboundError> {
        if self.mode == Mode::Frames
            && self.is_tuned
            && let Some((consumed, input)) = hot::whole_input(bytes, self.payload_max, self.body_max)
            && self.contents.is_free(input.channel())
        {
            return Ok(Step { consumed, input: Some(input) });
        }
        self.step(bytes)
    }

    /// Gives back what a large content took; for an owner that has handled all its inputs.
    pub fn trim(&mut self) {
        self.contents.keep_spare(std::mem::take(&mut self.handed_out));
    }

    /// Gives back what a still connection does not need; what was remembered is forgotten.
    pub fn rest(&mut self) {
        self.contents.rest();
        self.handed_out = Content::default();
        self.shape = Shape::default();
    }

    /// Remembers the publish that [`Self::next`] has just taken from these bytes, for [`Self::next_repeated`].
    pub fn remember(&mut self, frames: &[u8]) {
        self.shape.remember(frames, self.payload_max, self.body_max);
    }

    /// Takes a publish that repeats the remembered one in all but its body: the bytes it takes, and the body.
    ///
    /// `None` for everything else, which [`Self::next`] then takes. The caller makes sure that what the publish was
    /// checked for still holds.
    #[inline]
    pub fn next_repeated<'a>(&self, bytes: &'a [u8]) -> Option<(usize, &'a [u8])> {
        let repeated = self.shape.body(bytes)?;
        // Nobody loses sync in the middle of a content: its channel may have one under way.
        let is_expected = self.mode == Mode::Frames && self.contents.is_free(self.shape.channel()?);
        is_expected.then_some(repeated)
    }

    /// Bytes gathered of bodies that are not complete.
    #[must_use]
    pub fn gathered_bytes(&self) -> usize {
        self.contents.body_bytes()
    }

    /// Whether these bytes go on with a publish; false also when they are too few to tell.
    #[must_use]
    pub fn publishes_next(&self, bytes: &[u8]) -> bool {
        let Some(head) = Head::parse(bytes) else { return matches!(self.mode, Mode::InBody { .. }) };
        match self.mode {
            Mode::InBody { .. } => true,
            Mode::Frames if head.kind == frame::METHOD => {
                let ids = bytes.get(frame::HEAD_LENGTH..).and_then(method::split).map(|(id, _)| id);
                ids == Some(BASIC_PUBLISH)
            }
            Mode::Frames => !self.contents.is_free(head.channel),
            Mode::Preamble | Mode::Lost => false,
        }
    }

    /// Whether a `connection.close` is among the whole frames of these bytes.
    #[must_use]
    pub fn close_follows(&self, bytes: &[u8]) -> bool {
        let mut rest = match self.mode {
            Mode::Frames => Some(bytes),
            Mode::InBody { left, .. } => bytes.get(left + 1..),
            Mode::Preamble | Mode::Lost => None,
        };
        while let Some(bytes) = rest
            && let Some(head) = Head::parse(bytes)
            && let Some((payload, _)) = frame::payload(bytes, &head)
        {
            let id = method::split(payload).map(|(id, _)| id);
            if head.kind == frame::METHOD && head.channel == 0 && id == Some(method::CONNECTION_CLOSE) {
                return true;
            }
            rest = bytes.get(head.length() + frame::OVERHEAD..);
        }
        false
    }

    #[inline(never)]
    fn step<'a>(&'a mut self, bytes: &'a [u8]) -> Result<Step<'a>, InboundError> {
        let taken = match self.mode {
            Mode::Preamble => Ok(self.preamble(bytes)),
            Mode::Frames => self.frame(bytes),
            Mode::InBody { channel, left } => self.body_piece(channel, left, bytes),
            Mode::Lost => Ok(find_close_ok(bytes)),
        };
        match taken {
            Ok((consumed, Taken::Input(input))) => Ok(Step { consumed, input: Some(input) }),
            Ok((0, _)) => Ok(Step::NEEDS_MORE),
            Ok((consumed, Taken::Nothing)) => Ok(Step { consumed, input: None }),
            Ok((consumed, Taken::Content(channel))) => {
                self.handed_out = self.contents.finish(channel, std::mem::take(&mut self.handed_out));
                let input = match self.handed_out.take_large(channel) {
                    Some(gathered) => Input::Gathered(Box::new(gathered)),
                    None => Input::Publish(self.handed_out.publish(channel)),
                };
                Ok(Step { consumed, input: Some(input) })
            }
            Err(error) => {
                self.mode = Mode::Lost;
                self.contents = Contents::default();
                Err(error)
            }
        }
    }

    fn preamble(&mut self, bytes: &[u8]) -> (usize, Taken) {
        let Some(header) = bytes.first_chunk::<8>() else { return (0, Taken::Nothing) };
        self.mode = Mode::Frames;
        (8, Taken::Input(Input::Preamble(*header)))
    }

    fn frame(&mut self, bytes: &[u8]) -> Result<(usize, Taken), InboundError> {
        let Some(head) = Head::parse(bytes) else { return Ok((0, Taken::Nothing)) };
        self.check_size(&head)?;
        let Some((payload, end)) = frame::payload(bytes, &head) else {
            return Ok(self.start_of_body(&head, bytes));
        };
        check_end(head.kind, payload, end)?;
        Ok((head.length() + frame::OVERHEAD, self.whole_frame(&head, payload)?))
    }

    fn check_size(&self, head: &Head) -> Result<(), InboundError> {
        if head.length() <= self.payload_max {
            return Ok(());
        }
        let allowed = self.payload_max.saturating_sub(frame::OVERHEAD);
        let reason = format!("{{frame_too_large,{},{allowed}}}", head.size);
        Err(InboundError::Refused(frame_error(head.kind, &[], &reason), (0, 0)))
    }

    /// Begins with a body frame that is not whole yet, if it is large and all that can be checked now is right.
    fn start_of_body(&mut self, head: &Head, bytes: &[u8]) -> (usize, Taken) {
        let channel = head.channel;
        if head.kind != frame::BODY
            || head.length() <= PIECEWISE_MIN
            || !self.contents.fits(channel, head.length())
        {
            return (0, Taken::Nothing);
        }
        let arrived = bytes.get(frame::HEAD_LENGTH..).unwrap_or_default();
        // The end octet is missing, so that at most the payload has arrived.
        self.contents.begin_body_frame(channel);
        self.contents.append(channel, arrived);
        self.mode = Mode::InBody { channel, left: head.length().saturating_sub(arrived.len()) };
        (frame::HEAD_LENGTH + arrived.len(), Taken::Nothing)
    }

    fn body_piece(
        &mut self,
        channel: u16,
        left: usize,
        bytes: &[u8],
    ) -> Result<(usize, Taken), InboundError> {
        let Some((piece, rest)) = bytes.split_at_checked(left) else {
            self.contents.append(channel, bytes);
            self.mode = Mode::InBody { channel, left: left - bytes.len() };
            return Ok((bytes.len(), Taken::Nothing));
        };
        self.contents.append(channel, piece);
        self.mode = Mode::InBody { channel, left: 0 };
        let Some(&end) = rest.first() else { return Ok((piece.len(), Taken::Nothing)) };
        check_end(frame::BODY, self.contents.body_frame(channel), end)?;
        self.mode = Mode::Frames;
        Ok((piece.len() + 1, self.content_progress(channel)))
    }

    fn whole_frame(&mut self, head: &Head, payload: &[u8]) -> Result<Taken, InboundError> {
        let (kind, channel) = (head.kind, head.channel);
        match kind {
            frame::METHOD if payload.len() >= 4 => {}
            frame::HEADER if payload.len() >= super::properties::HEADER_MIN => {}
            frame::BODY => {}
            frame::HEARTBEAT if payload.is_empty() => {}
            _ => return Err((frame_error(kind, payload, "unknown_frame"), (0, 0)).into()),
        }
        if channel == 0 {
            return self.on_connection(kind, payload);
        }
        if kind == frame::HEARTBEAT || !self.is_tuned {
            return Err((unexpected_frame(kind, payload), (0, 0)).into());
        }
        match kind {
            frame::METHOD => self.on_method(channel, payload),
            frame::HEADER => match self.contents.take_header(channel, payload, self.body_max)? {
                Some(size) => Ok(Taken::Input(Input::TooLarge { channel, size })),
                None => Ok(self.content_progress(channel)),
            },
            _ => {
                self.contents.check_body(channel, payload.len())?;
                self.contents.append(channel, payload);
                Ok(self.content_progress(channel))
            }
        }
    }

    fn on_connection(&self, kind: u8, payload: &[u8]) -> Result<Taken, InboundError> {
        match kind {
            frame::METHOD => decode(0, payload),
            frame::HEARTBEAT => Ok(Taken::Input(Input::Heartbeat)),
            _ => Err((unexpected_frame(kind, payload), (0, 0)).into()),
        }
    }

    fn on_method(&mut self, channel: u16, payload: &[u8]) -> Result<Taken, InboundError> {
        let Some((id, arguments)) = method::split(payload) else {
            return Err((frame_error(frame::METHOD, payload, "unknown_frame"), (0, 0)).into());
        };
        // A client may give up a publish half sent when it answers the broker's channel.close.
        if id == method::CHANNEL_CLOSE_OK {
            self.contents.drop_channel(channel);
        }
        self.contents.check_method(channel)?;
        if let Some(input) = hot::settle(channel, id, arguments) {
            return Ok(Taken::Input(input));
        }
        if id != BASIC_PUBLISH {
            return decode(channel, payload);
        }
        let publish = hot::publish_method(arguments)?;
        self.contents.start(channel, &publish);
        Ok(Taken::Nothing)
    }

    fn content_progress(&mut self, channel: u16) -> Taken {
        if !self.contents.is_whole(channel) {
            return Taken::Nothing;
        }
        if self.contents.is_refused(channel) {
            self.contents.drop_channel(channel);
            return Taken::Nothing;
        }
        Taken::Content(channel)
    }
}

/// What was found; a content stays where it was gathered, so that it can be lent out from there.
enum Taken {
    Nothing,
    Input(Input<'static>),
    Content(u16),
}

fn decode(channel: u16, payload: &[u8]) -> Result<Taken, InboundError> {
    match method::decode(payload) {
        Ok(method) => Ok(Taken::Input(Input::Method { channel, method: Box::new(method) })),
        Err(MethodError::NoId) => Err((frame_error(frame::METHOD, payload, "unknown_frame"), (0, 0)).into()),
        Err(MethodError::Unknown(_)) => Err(InboundError::Silent("unknown class or method id")),
        Err(MethodError::Refused(refusal, id)) => Err(InboundError::Refused(refusal, id)),
    }
}

fn check_end(kind: u8, payload: &[u8], end: u8) -> Result<(), InboundError> {
    if end == frame::END {
        return Ok(());
    }
    let reason = format!("{{invalid_frame_end_marker,{end}}}");
    Err(InboundError::Refused(frame_error(kind, payload, &reason), (0, 0)))
}

fn find_close_ok(bytes: &[u8]) -> (usize, Taken) {
    let length = CLOSE_OK_FRAME.len();
    let Some(at) = bytes.windows(length).position(|window| window == CLOSE_OK_FRAME) else {
        return (bytes.len().saturating_sub(length - 1), Taken::Nothing);
    };
    use amq_protocol::protocol::connection::{AMQPMethod, CloseOk};
    let method = Box::new(AMQPClass::Connection(AMQPMethod::CloseOk(CloseOk {})));
    (at + length, Taken::Input(Input::Method { channel: 0, method }))
}
