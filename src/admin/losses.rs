//! `GET /losses`: what was lost and is not acknowledged; `POST /losses/acknowledge`: the operator
//! has taken note of it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};

use super::Door;

pub(super) fn routes() -> Router<Door> {
    Router::new()
        .route("/losses", get(losses))
        .route("/losses/acknowledge", post(acknowledge))
}

async fn losses(State(door): State<Door>) -> Response {
    Json(door.queue.losses()).into_response()
}

async fn acknowledge(State(door): State<Door>) -> Response {
    match door.queue.acknowledge_losses().await {
        Ok(losses) => {
            for loss in &losses {
                tracing::info!("acknowledged by the operator: {}", loss.words());
            }
            Json(losses).into_response()
        }
        Err(stopped) => (StatusCode::SERVICE_UNAVAILABLE, stopped.to_string()).into_response(),
    }
}
