//! The paths of the three dialects, and our own.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde_json::json;

use super::super::flood::Tally;
use super::body;
use super::call::Shape;
use super::client::Client;
use super::options::Ready;
use super::refusal::Refusal;
use super::request::{Http, Route};
use super::stream;
use crate::event::Kind;

const KINDS: [Kind; 6] = [
    Kind::Track,
    Kind::Page,
    Kind::Screen,
    Kind::Identify,
    Kind::Group,
    Kind::Alias,
];

const BATCH: Route = Route {
    shape: Shape::Batch,
    kind: None,
    is_browsers: false,
};

/// What is served.
pub(super) fn router(http: Arc<Http>, ready: Ready) -> Router {
    let mut router = Router::new();
    for kind in KINDS {
        let one = Route {
            shape: Shape::One,
            kind: Some(kind),
            is_browsers: false,
        };
        let (name, letter) = (kind.name(), &kind.name()[..1]);
        let either = Route {
            shape: Shape::Either,
            ..one
        };
        let browsers = Route {
            is_browsers: true,
            ..either
        };
        router = router
            .route(&format!("/api/{name}"), taking(one))
            .route(&format!("/api/s/{name}"), taking(browsers))
            .route(&format!("/api/s/s2s/{name}"), taking(either));
        for path in [name, letter] {
            router = router
                .route(&format!("/v1/{path}"), taking(one))
                .route(&format!("/{path}"), taking(one));
        }
    }
    for path in ["/api/s/s2s/batch", "/v1/batch", "/v1/b", "/batch", "/b"] {
        router = router.route(path, taking(BATCH));
    }
    router
        .route("/v1/events", post(stream::events))
        .route("/v1/projects/{key}/settings", get(settings))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(move || is_ready(ready.clone())))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .with_state(http)
}

fn taking(route: Route) -> axum::routing::MethodRouter<Arc<Http>> {
    let take =
        move |State(http): State<Arc<Http>>,
              Extension(client): Extension<Client>,
              uri: Uri,
              headers: HeaderMap,
              body: Body| async move { http.take(&client, route, &uri, &headers, body).await };
    post(take)
}

/// What Segment's browser library asks for before it sends: the one place that it is to send to,
/// which is where it asked, with the key that it asked for.
async fn settings(
    Path(key): Path<String>,
    State(http): State<Arc<Http>>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
) -> Json<serde_json::Value> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_https = client.is_tls
        || http.limits.get().trust_forwarded && text("x-forwarded-proto") == Some("https");
    let mut there = json!({
        "apiKey": key,
        "protocol": if is_https { "https" } else { "http" },
    });
    if let Some(host) = text("host") {
        there["apiHost"] = format!("{host}/v1").into();
    }
    Json(json!({
        "integrations": {"Segment.io": there},
        "metrics": {"sampleRate": 0},
        "plan": {"track": {"__default": {"enabled": true, "integrations": {}}}},
    }))
}

async fn is_ready(ready: Ready) -> impl IntoResponse {
    let reasons = ready().await;
    let status = match reasons.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (
        status,
        Json(json!({"ready": reasons.is_empty(), "reasons": reasons})),
    )
}

async fn no_route(
    State(http): State<Arc<Http>>,
    Extension(client): Extension<Client>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    let words = format!(
        "there is no {} here: events are taken at /v1/track, /v1/batch, /api/track, /api/s/track, \
         /v1/events and their like, see docs/http.md",
        uri.path()
    );
    nothing(&http, client, &headers, body).await;
    Refusal::new(StatusCode::NOT_FOUND, words).into_response()
}

async fn no_method(
    State(http): State<Arc<Http>>,
    Extension(client): Extension<Client>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    let words = format!(
        "there is no {method} {}: events are sent by POST",
        uri.path()
    );
    nothing(&http, client, &headers, body).await;
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, words).into_response()
}

/// A request that brings nothing: it is paid for as every other that does not.
async fn nothing(http: &Http, client: Client, headers: &HeaderMap, body: Body) {
    client.slow_down().await;
    client.brought(&http.intake, Tally::default(), false);
    body::discard(&mut body.into_data_stream(), headers, client.stopped).await;
}
