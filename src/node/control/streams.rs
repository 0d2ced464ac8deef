//! AMQP over what is no socket of the node's own.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Control;
use crate::node::origin::Origin;
use crate::node::tasks::client::{self, Socket};

impl Control {
    /// Serves AMQP over a stream that came over HTTP, until the connection ends. False when there is no place for it.
    pub async fn serve_stream(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
        peer: SocketAddr,
    ) -> bool {
        let Ok(_place) = Arc::clone(&self.shared.places).try_acquire_owned() else { return false };
        let origin = Origin { is_web: true, ..Origin::new(peer, None) };
        client::run(Arc::clone(&self.shared), Socket::buffered(stream), origin).await;
        true
    }
}
