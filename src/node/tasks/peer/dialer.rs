//! Connects to one other node, again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Context;
use super::connection::Connection;
use super::greeting::{LinkError, dial, hello};
use super::node::Peer;
use crate::node::cluster::handshake::Purpose;

/// After a link that lives shorter it waits a little before the next.
const SHORT: Duration = Duration::from_secs(1);

/// What is usual when nodes start or join is worth a warning when it lasts so long.
const USUAL: Duration = Duration::from_secs(5);

/// Why there is no link, and what was told of it.
struct Trouble {
    text: String,
    since: Instant,
    is_warned: bool,
}

/// Keeps up the link to a node with a larger number; calls one with a smaller number while there is no link.
pub(super) async fn run(context: Arc<Context>, peer: Arc<Peer>) {
    let (least, most) = context.options.retry_after;
    let mut retry_after = least;
    let mut trouble = None;
    loop {
        let begun = Instant::now();
        match try_once(&context, &peer).await {
            Ok(()) => {
                retry_after = least;
                trouble = None;
                if begun.elapsed() > SHORT {
                    continue;
                }
            }
            Err(problem) => {
                if problem == LinkError::Refused {
                    peer.dead(&*context.incoming);
                }
                tell(&peer, &problem, &mut trouble);
            }
        }
        tokio::select! {
            () = sleep(retry_after) => retry_after = (retry_after * 2).min(most),
            () = peer.changed.notified() => retry_after = least,
        }
    }
}

/// From connecting to the end of the link.
async fn try_once(context: &Arc<Context>, peer: &Peer) -> Result<(), LinkError> {
    let (own, address) = (context.own.clone(), peer.address());
    let attempt = context.next_attempt();
    if own.node > peer.node {
        if peer.is_up() {
            // The task that accepted it says when it is lost.
            peer.changed.notified().await;
            return Ok(());
        }
        let hello = hello(&own, Purpose::Call, peer.node, attempt)?;
        return dial(&context.options, &address, &hello).await.map(drop);
    }
    let hello = hello(&own, Purpose::Link, peer.node, attempt)?;
    let (stream, other) = dial(&context.options, &address, &hello).await?;
    let connection = Connection::new();
    if peer.up(&connection, (other.run, attempt), &*context.incoming) {
        tracing::info!(node = peer.node, name = other.name, address, "linked");
        let reason = connection.run(context, peer, stream).await;
        tracing::warn!(node = peer.node, name = other.name, %reason, "the link is lost");
    }
    Ok(())
}

/// Says the same thing once; as a warning at once, or when it does not pass.
fn tell(peer: &Peer, problem: &LinkError, last: &mut Option<Trouble>) {
    let text = problem.to_string();
    let known = last.take().filter(|known| known.text == text);
    let is_new = known.is_none();
    let mut trouble = known.unwrap_or_else(|| Trouble { text, since: Instant::now(), is_warned: false });
    let (node, address) = (peer.node, peer.address());
    if !trouble.is_warned && (!problem.passes() || trouble.since.elapsed() >= USUAL) {
        trouble.is_warned = true;
        tracing::warn!(node, address, %problem, "cannot connect to a node; trying again");
    } else if is_new {
        tracing::info!(node, address, %problem, "not linked to a node yet; trying again");
    }
    *last = Some(trouble);
}
