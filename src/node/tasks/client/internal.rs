//! A publisher without a socket: what an operator publishes takes the way of every client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::rights::Rights;
use super::session::Session;
use crate::broker::channel::Channel;
use crate::broker::channel::confirm::Ledger;
use crate::node::auth::Identity;
use crate::node::origin::Origin;
use crate::node::shared::{Shared, stopping};
use crate::protocol::error::Refusal;
use crate::protocol::inbound::Publish;
use crate::protocol::reply_code::ReplyCode;

/// The channel of the one publish.
const CHANNEL: u16 = 1;
/// How long a publish may take to be safe: a cluster without a majority answers nothing.
const SAFE_WITHIN: Duration = Duration::from_secs(30);
/// A method frame: type, channel, size, then class and method.
const FRAME_HEAD: usize = 7;
const METHOD_FRAME: u8 = 1;
const RETURN: [u8; 4] = [0, 60, 0, 50];
const ACK: [u8; 4] = [0, 60, 0, 80];
const NACK: [u8; 4] = [0, 60, 0, 120];

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is safe in all its queues.
    Routed,
    /// No queue wants it.
    Unroutable,
    /// A queue refuses it.
    Refused,
}

/// Publishes one mandatory message as this user, and waits until it is safe.
///
/// # Errors
/// What a client would be refused with; 541 when nobody knows in time.
pub(crate) async fn publish(
    shared: &Arc<Shared>,
    peer: SocketAddr,
    (vhost, user): (&str, &str),
    message: &Publish<'_>,
) -> Result<Fate, Refusal> {
    let mut session = Session::new(Arc::clone(shared), Origin::new(peer, None));
    vhost.clone_into(&mut session.vhost);
    user.clone_into(&mut session.user);
    session.rights = Rights::of(Identity::named(user));
    session.look_at_tracing();
    let published = publish_by(&mut session, message).await;
    // It has no consumers, no deliveries and no exclusive queues: nothing but its link is to be given back.
    session.released = true;
    shared.clients.remove(&session.link.id);
    published
}

async fn publish_by(session: &mut Session, message: &Publish<'_>) -> Result<Fate, Refusal> {
    if let Some(reason) = session.shared.resource_alarms.reason() {
        return Err(Refusal::channel(ReplyCode::ResourceError, format!("publishers are blocked: {reason}")));
    }
    let channel = Channel { ledger: Some(Ledger::default()), ..Channel::new(1) };
    session.channels.insert(CHANNEL, channel);
    let message = Publish { channel: CHANNEL, mandatory: true, immediate: false, ..*message };
    session.publish(&message)?;
    session.hand_over();
    let shared = Arc::clone(&session.shared);
    let fate = async {
        loop {
            session.hear();
            if let Some(refusal) = session.forced.take() {
                return Err(*refusal);
            }
            if let Some(fate) = fate(&session.out.buf) {
                return Ok(fate);
            }
            session.link.mailbox.filled().await;
        }
    };
    tokio::select! {
        fate = fate => fate,
        () = shared.stopped() => Err(stopping()),
        () = tokio::time::sleep(SAFE_WITHIN) => {
            let text = "the message was not confirmed in time: it may have been published, or may still be";
            Err(Refusal::connection(ReplyCode::InternalError, text))
        }
    }
}

/// The answer to a single publish among the frames that a client would be sent.
fn fate(mut frames: &[u8]) -> Option<Fate> {
    let mut is_returned = false;
    while let Some((head, rest)) = frames.split_first_chunk::<FRAME_HEAD>() {
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let size = usize::try_from(size).ok()?;
        if head[0] == METHOD_FRAME {
            match *rest.first_chunk::<4>()? {
                RETURN => is_returned = true,
                ACK if is_returned => return Some(Fate::Unroutable),
                ACK => return Some(Fate::Routed),
                NACK => return Some(Fate::Refused),
                _ => {}
            }
        }
        frames = rest.get(size + 1..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::outbound::Outbound;

    #[test]
    fn the_answer_to_a_publish_is_found_behind_what_is_returned() {
        let mut out = Outbound::new(4096);
        assert_eq!(fate(&out.buf), None);
        out.ack(1, 1, false);
        assert_eq!(fate(&out.buf), Some(Fate::Routed));
        let mut out = Outbound::new(4096);
        let header = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0x27, 0x10][..], &[0, 0]].concat();
        out.returned(1, ReplyCode::NoRoute, "NO_ROUTE", b"x", b"k", &header, &[206; 10_000]);
        assert_eq!(fate(&out.buf), None);
        out.ack(1, 1, false);
        assert_eq!(fate(&out.buf), Some(Fate::Unroutable));
        let mut out = Outbound::new(4096);
        out.nack(1, 1, false);
        assert_eq!(fate(&out.buf), Some(Fate::Refused));
    }
}
