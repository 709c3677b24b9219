//! Whose connection a request came over: while it is worked on, that one keeps its place.

use std::sync::Arc;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::IncomingStream;
use tokio::net::UnixListener;

use crate::net::{Place, Service};

/// The connection, and who is at its other end, as the kernel says.
#[derive(Clone)]
pub(super) struct Caller {
    pub place: Arc<Place>,
    pub uid: Option<u32>,
    pub pid: Option<i32>,
}

impl Connected<IncomingStream<'_, Service<UnixListener>>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Service<UnixListener>>) -> Self {
        let credentials = stream.io().stream().peer_cred().ok();
        Self {
            place: stream.remote_addr().clone(),
            uid: credentials.as_ref().map(|of| of.uid()),
            pid: credentials.and_then(|of| of.pid()),
        }
    }
}

/// A connection is in use until its answer is made. One that goes on keeps its place by itself.
pub(super) async fn while_it_works(
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let _busy = caller.place.busy();
    next.run(request).await
}
