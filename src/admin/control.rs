//! What changes the running daemon: `POST /reload`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{Command, Door};

/// What a reload found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Keys that differ and take a restart, as `section.name`.
    pub needs_restart: Vec<String>,
    /// The token is another one.
    pub token_changed: bool,
}

pub(super) fn routes() -> Router<Door> {
    Router::new().route("/reload", post(reload))
}

async fn reload(State(door): State<Door>) -> Response {
    let (answer, reloaded) = oneshot::channel();
    let asked = door.commands.send(Command::Reload(answer)).is_ok();
    match reloaded.await {
        Ok(Ok(reloaded)) if asked => Json(reloaded).into_response(),
        Ok(Err(wrong)) => (StatusCode::UNPROCESSABLE_ENTITY, wrong).into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping").into_response(),
    }
}
