//! AMQP over WebSocket: whoever asks any path for the subprotocol `amqp` speaks AMQP in binary messages from there on.

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::{Api, Peer};

const SUBPROTOCOL: &str = "amqp";
/// Bytes on their way between the node and the WebSocket, in each direction; no message of ours is larger.
const BUFFER_BYTES: usize = 64 * 1024;
/// Bytes that are read from the node at once.
const READ_BYTES: usize = 16 * 1024;
/// Bytes of a message of theirs.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Takes the requests that want AMQP, and lets all others pass.
pub(in crate::management) async fn amqp_over_websocket(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    let Some(Peer(peer)) = peer.filter(|_| wants_amqp(request.headers())) else {
        return next.run(request).await;
    };
    let (mut parts, _) = request.into_parts();
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(refused) => return refused.into_response(),
    };
    let upgrade = upgrade.protocols([SUBPROTOCOL]).max_message_size(MESSAGE_BYTES_MAX);
    upgrade.on_upgrade(async move |socket| {
        let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
        tokio::join!(api.control.serve_stream(theirs, peer), carry(socket, ours));
    })
}

fn wants_amqp(headers: &HeaderMap) -> bool {
    let asked =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    headers.contains_key(header::UPGRADE)
        && asked.flat_map(|text| text.split(',')).any(|part| part.trim() == SUBPROTOCOL)
}

/// Carries bytes in both directions until one side ends.
async fn carry(mut socket: WebSocket, node: DuplexStream) {
    let (mut output, mut input) = tokio::io::split(node);
    let (mut to_node, mut from_node) = (Bytes::new(), BytesMut::new());
    loop {
        from_node.reserve(READ_BYTES);
        tokio::select! {
            received = socket.recv(), if to_node.is_empty() => match received {
                Some(Ok(Message::Binary(bytes))) => to_node = bytes,
                Some(Ok(Message::Text(_))) => return refuse(socket).await,
                // The library answers pings.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
            written = input.write(&to_node), if !to_node.is_empty() => match written {
                Ok(count) => to_node.advance(count),
                Err(_) => return,
            },
            read = output.read_buf(&mut from_node) => {
                if !matches!(read, Ok(1..)) {
                    return close(socket, close_code::NORMAL, "").await;
                }
                if socket.send(Message::Binary(from_node.split().freeze())).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn refuse(socket: WebSocket) {
    close(socket, close_code::UNSUPPORTED, "AMQP comes in binary messages").await;
}

async fn close(mut socket: WebSocket, code: u16, reason: &'static str) {
    let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: reason.into() }))).await;
}
