//! Answers that are long: written in parts, as fast as they are taken.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::text::Text;

/// Parts that may wait.
const WAITING_MAX: usize = 4;

/// Where parts go.
pub(super) struct Writer(mpsc::Sender<Bytes>);

impl Writer {
    /// Hands over what has been gathered; `None` when nobody takes it any more.
    pub(super) async fn write(&self, text: &mut Text) -> Option<()> {
        if text.out.is_empty() {
            return Some(());
        }
        self.0.send(std::mem::take(&mut text.out).into()).await.ok()
    }
}

struct Parts(mpsc::Receiver<Bytes>);

impl HttpBody for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|part| part.map(|part| Ok(Frame::data(part))))
    }
}

/// An answer whose parts are written by a task of its own.
#[expect(clippy::disallowed_methods, reason = "one task for each long answer")]
pub(super) fn answer<F>(content_type: &'static str, write: impl FnOnce(Writer) -> F) -> Response
where
    F: Future<Output = Option<()>> + Send + 'static,
{
    let (parts, taken) = mpsc::channel(WAITING_MAX);
    tokio::spawn(write(Writer(parts)));
    ([("content-type", content_type)], Body::new(Parts(taken))).into_response()
}
