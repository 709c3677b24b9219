//! `GET /losses`: what was lost and is not acknowledged; `POST /losses/acknowledge`: the operator
//! has taken note of it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};

use super::state::AdminState;

pub(super) fn routes() -> Router<AdminState> {
    Router::new()
        .route("/losses", get(losses))
        .route("/losses/acknowledge", post(acknowledge))
}

async fn losses(State(state): State<AdminState>) -> Response {
    Json(state.queue.losses()).into_response()
}

async fn acknowledge(State(state): State<AdminState>) -> Response {
    match state.queue.acknowledge_losses().await {
        Ok(losses) => {
            for loss in &losses {
                tracing::info!("acknowledged by the operator: {}", loss.message());
            }
            Json(losses).into_response()
        }
        Err(stopped) => (StatusCode::SERVICE_UNAVAILABLE, stopped.to_string()).into_response(),
    }
}
