//! Why a request about dead letters got no answer.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::queue::QueueError;

/// As plain text with its status.
pub(super) struct Refused(pub StatusCode, pub String);

impl From<QueueError> for Refused {
    fn from(error: QueueError) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}
