//! Whom a request to the metrics port means.
//!
//! Invariant: it is answered only where it names the port by an address, or as `localhost`. A name
//! may be anybody's: a web page whose own name was made to lead here could otherwise read what is
//! not its business, through the browser of whoever looks at it.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

pub(super) async fn by_address(request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    if host.is_some_and(names_an_address) {
        return next.run(request).await;
    }
    let said = "this port answers to an address (127.0.0.1, [::1]) or to localhost, and to no \
                other name: scrape it by its address\n";
    (StatusCode::FORBIDDEN, said).into_response()
}

/// `localhost`, or an IP address, with or without a port.
fn names_an_address(host: &str) -> bool {
    let without_port = match host.strip_prefix('[') {
        Some(rest) => rest
            .split_once(']')
            .filter(|(_, port)| is_port(port))
            .map(|(ip, _)| ip),
        None => match host.rsplit_once(':') {
            Some((name, port)) => is_port(&host[name.len()..])
                .then_some(name)
                .filter(|_| !port.is_empty()),
            None => Some(host),
        },
    };
    without_port.is_some_and(|name| {
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    })
}

/// Nothing, or a colon and digits.
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        Some(digits) => digits.parse::<u16>().is_ok(),
        None => text.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_answered_and_a_name_is_not() {
        for host in [
            "127.0.0.1:9464",
            "127.0.0.1",
            "localhost:9464",
            "LocalHost",
            "[::1]:9464",
            "[::1]",
            "192.0.2.7:80",
        ] {
            assert!(names_an_address(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example:9464",
            "127.0.0.1.evil.example",
            "[::1].evil.example",
            "[::1",
            "127.0.0.1:port",
            "127.0.0.1:",
        ] {
            assert!(!names_an_address(host), "{host}");
        }
    }
}
