//! One question to a node, from outside of the cluster too: how a node joins, how those who run it give orders.

use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::greeting::{LinkError, Stream, dial, hello, read_frame, receive, write_frame};
use super::{Context, LinkOptions};
use crate::node::cluster::handshake::{Hello, Identity, Purpose, Unfit};

/// No question and no answer is longer.
const BYTES_MAX: usize = 16 << 20;

/// How long a question may be on its way.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Asks the node at an address (host and port). `own` may have no number, and no cluster's name.
///
/// # Errors
/// When there is no connection, or no answer.
pub(crate) async fn request(
    options: &LinkOptions,
    own: &Identity,
    address: &str,
    question: &[u8],
) -> Result<Bytes, LinkError> {
    let hello = hello(own, Purpose::Request, 0, 0)?;
    let (mut stream, _) = dial(options, address, &hello).await?;
    let asking = async {
        write_frame(&mut stream, question).await?;
        read_frame(&mut stream, BYTES_MAX).await
    };
    match timeout(ANSWER_TIMEOUT, asking).await {
        Ok(Ok(answer)) => Ok(answer.into()),
        Ok(Err(problem)) => Err(LinkError::Other(format!("the node let the question drop: {problem}"))),
        Err(_) => Err(LinkError::Other("no answer in time".to_owned())),
    }
}

/// Answers all that come with a question, and lets nobody else in.
#[expect(clippy::disallowed_methods, reason = "a short task for each question")]
pub(crate) async fn answer_all(
    options: &LinkOptions,
    own: &Identity,
    listener: &TcpListener,
    answer: fn(&[u8]) -> Vec<u8>,
) {
    while let Ok((socket, _)) = listener.accept().await {
        let (options, own) = (options.clone(), own.clone());
        tokio::spawn(timeout(QUESTION_TIMEOUT, async move {
            let only_questions = |hello: &Hello| match hello.purpose {
                Purpose::Request => Ok(()),
                Purpose::Link | Purpose::Call => Err(Unfit(format!("{} is in no cluster yet", own.name))),
            };
            let (mut stream, _) = receive(&options, &own, socket, only_questions).await?;
            let question = read_frame(&mut stream, BYTES_MAX).await?;
            write_frame(&mut stream, &answer(&question)).await
        }));
    }
}

/// Has a question answered.
pub(super) async fn answer(context: &Context, mut stream: Stream) {
    let Ok(Ok(question)) = timeout(QUESTION_TIMEOUT, read_frame(&mut stream, BYTES_MAX)).await else {
        return;
    };
    let (reply, answer) = oneshot::channel();
    context.incoming.request(question.into(), reply);
    let Ok(Ok(answer)) = timeout(ANSWER_TIMEOUT, answer).await else { return };
    let written = timeout(QUESTION_TIMEOUT, write_frame(&mut stream, &answer)).await;
    if !matches!(written, Ok(Ok(()))) {
        tracing::debug!("who asked a question did not take the answer");
    }
}
