//! The manager as a task: it drives, and answers what comes in from other nodes, strangers and the control socket.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::answering::Asker;
use super::surroundings::Surroundings;
use super::{Manager, ManagerOptions, socket};
use crate::broker::ids::NodeId;
use crate::node::cluster::inputs::ManagerInput;
use crate::node::cluster::membership::Membership;
use crate::node::cluster::peer::{LinkState, PeerMessage};
use crate::node::cluster::questions::{Answer, Question, decode, encode};
use crate::node::mailbox::Mailbox;
use crate::node::surgery::order::SurgeryOrder;
use crate::node::tasks::surgery;

/// Questions that are answered at the same time; a further one is refused.
const QUESTIONS_MAX: usize = 64;

/// Runs as long as the node does.
pub(crate) async fn run(surroundings: Surroundings, own: Membership, options: ManagerOptions) {
    let mailbox = Arc::clone(&surroundings.cluster.manager);
    let socket = socket::run(surroundings.data_dir.clone(), Arc::clone(&mailbox));
    let shared = Arc::clone(&surroundings.shared);
    let manager = Arc::new(Manager::new(surroundings, own, options));
    tokio::select! {
        () = Arc::clone(&manager).run() => {}
        () = Arc::clone(&manager).ask_whether_member() => {}
        () = serve(&manager, &mailbox) => {}
        () = socket => {}
        () = shared.stopped() => {}
    }
}

async fn serve(manager: &Arc<Manager<Surroundings>>, mailbox: &Mailbox<ManagerInput>) {
    let places = Arc::new(Semaphore::new(QUESTIONS_MAX));
    let mut inputs = Vec::new();
    loop {
        mailbox.filled().await;
        mailbox.take(&mut inputs);
        for input in inputs.drain(..) {
            handle(manager, &places, input);
        }
    }
}

fn handle(manager: &Arc<Manager<Surroundings>>, places: &Arc<Semaphore>, input: ManagerInput) {
    match input {
        ManagerInput::Ask(from, number, question) => {
            let peers = Arc::clone(&manager.world().cluster.peers);
            let reply = move |answer| peers.send(from, PeerMessage::Answer(number, answer));
            answer(manager, places, Asker::Node, question, reply);
        }
        ManagerInput::Answer(number, answer) => manager.world().answered(number, answer),
        ManagerInput::Request(question, reply) => {
            let reply = move |answer| {
                // Who asked may have gone.
                let _ = reply.send(answer);
            };
            answer(manager, places, Asker::Outside, question, reply);
        }
        ManagerInput::AskAll(question, reply) => ask_all(manager, question, reply),
        ManagerInput::Link(node, state) => linked(manager, node, state),
        ManagerInput::Drain(reply) => drain(manager, reply),
    }
}

fn linked(manager: &Manager<Surroundings>, node: NodeId, state: LinkState) {
    if state != LinkState::Up {
        manager.world().unlinked(node);
    }
    manager.wake();
}

#[expect(clippy::disallowed_methods, reason = "a short task for each question")]
fn answer(
    manager: &Arc<Manager<Surroundings>>,
    places: &Arc<Semaphore>,
    asker: Asker,
    question: Bytes,
    reply: impl FnOnce(Bytes) + Send + 'static,
) {
    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
        return reply(encode(&Answer::not_now("this node is asked too much at once")).into());
    };
    let manager = Arc::clone(manager);
    tokio::spawn(async move {
        let answer = match decode(&question) {
            Some(Question::Surgery { to, order }) => operate(&manager, asker, to, *order).await,
            Some(question) => manager.answer(asker, question).await,
            None => Answer::no("this node does not understand the question; it is of another release"),
        };
        drop(place);
        reply(encode(&answer).into());
    });
}

/// Orders for messages in queues are for the node that owns them.
async fn operate(manager: &Manager<Surroundings>, asker: Asker, to: NodeId, order: SurgeryOrder) -> Answer {
    if to == manager.own.node {
        Answer::Surgery(surgery::answer(&manager.world().shared, order).await)
    } else if asker == Asker::Outside {
        manager.pass_on(to, &Question::Surgery { to, order: Box::new(order) }).await
    } else {
        Answer::no("this is another node")
    }
}

#[expect(clippy::disallowed_methods, reason = "a short task for each question")]
fn ask_all(
    manager: &Arc<Manager<Surroundings>>,
    question: Question,
    reply: tokio::sync::oneshot::Sender<Vec<(NodeId, Option<Answer>)>>,
) {
    let manager = Arc::clone(manager);
    tokio::spawn(async move {
        // Who asked may have gone.
        let _ = reply.send(manager.ask_all_others(&question).await);
    });
}

#[expect(clippy::disallowed_methods, reason = "a short task, once")]
fn drain(manager: &Arc<Manager<Surroundings>>, reply: tokio::sync::oneshot::Sender<usize>) {
    let manager = Arc::clone(manager);
    tokio::spawn(async move {
        let left = manager.drain(manager.options.drain).await;
        // The node stops in any case.
        let _ = reply.send(left);
    });
}
