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

/// Keeps up the link to a node with a larger number; calls one with a smaller number while there is no link.
pub(super) async fn run(context: Arc<Context>, peer: Arc<Peer>) {
    let (least, most) = context.options.retry_after;
    let mut retry_after = least;
    let mut last_problem = String::new();
    loop {
        let begun = Instant::now();
        match try_once(&context, &peer).await {
            Ok(()) => {
                retry_after = least;
                last_problem.clear();
                if begun.elapsed() > SHORT {
                    continue;
                }
            }
            Err(problem) => {
                if problem == LinkError::Refused {
                    peer.dead(&*context.incoming);
                }
                tell(&peer, &problem, &mut last_problem);
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

/// Says the same thing once.
fn tell(peer: &Peer, problem: &LinkError, last: &mut String) {
    let text = problem.to_string();
    if *last == text {
        return;
    }
    tracing::warn!(
        node = peer.node,
        address = peer.address(),
        problem = text,
        "cannot connect to a node; trying again"
    );
    *last = text;
}
