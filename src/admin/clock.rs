//! `GET /clock`: how the wall clock stands. `POST /clock/trust`: the operator vouches for it.
//!
//! The judgement is shared, so this needs nothing of the daemon's loop and works in every state.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};

use super::state::AdminState;

pub(super) fn routes() -> Router<AdminState> {
    Router::new()
        .route("/clock", get(show))
        .route("/clock/trust", post(trust))
}

async fn show(State(state): State<AdminState>) -> Response {
    Json(state.trust.standing()).into_response()
}

async fn trust(State(state): State<AdminState>, body: String) -> Response {
    if !body.trim().is_empty() {
        return (StatusCode::BAD_REQUEST, "the body: there is to be none").into_response();
    }
    Json(state.trust.vouch()).into_response()
}
