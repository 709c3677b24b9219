//! What a request is told when nothing of it is taken.
//!
//! Invariant: a client drops what is answered 4xx and repeats what is answered 503. So 4xx says
//! that the same request would never be taken (or, 408, that it did not come), and every reason of
//! the daemon's to wait is a 503 with a `Retry-After`.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// An answer without events.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    words: String,
    /// Seconds.
    retry_after: Option<u32>,
}

#[derive(Serialize)]
struct Said<'a> {
    ok: bool,
    success: bool,
    error: &'a str,
}

impl Refusal {
    pub fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self {
            status,
            words: words.into(),
            retry_after: None,
        }
    }

    /// It is to come again after so many seconds.
    pub fn later(seconds: u32, words: impl Into<String>) -> Self {
        Self {
            retry_after: Some(seconds),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, words)
        }
    }

    /// The same request would never be taken.
    pub const fn is_for_good(&self) -> bool {
        self.retry_after.is_none()
    }

    pub fn into_response(self) -> Response<Body> {
        let said = Said {
            ok: false,
            success: false,
            error: &self.words,
        };
        // Unwrap safety: three plain members.
        let body = serde_json::to_vec(&said).expect("it can be written");
        let mut response = json(self.status, body);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let basic = HeaderValue::from_static("Basic realm=\"write key\"");
            headers.insert(header::WWW_AUTHENTICATE, basic);
        }
        response
    }
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
