//! What is known of a connection, and of a request's sender.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, Uri, header};
use tokio::time::Instant;

use super::super::flood::{LINE, REQUEST, Tally};
use super::super::intake::Intake;
use super::super::stop::Stopped;
use super::keys::of_basic;
use crate::net::Place;
use crate::observe::Peer;

/// One connection; each of its requests has it as an extension.
#[derive(Clone)]
pub(super) struct Client {
    pub peer: Peer,
    pub place: Arc<Place>,
    pub stopped: Stopped,
    pub is_tls: bool,
    pub debt: Arc<Mutex<Debt>>,
}

/// What the requests of a connection brought.
#[derive(Default)]
pub(super) struct Debt {
    events: Tally,
    requests: Tally,
    /// Until when no more is taken.
    held_until: Option<Instant>,
}

impl Client {
    /// Waits if the requests of late brought nothing.
    pub async fn slow_down(&self) {
        let until = self.lock().held_until.take();
        if let Some(until) = until {
            let mut stopped = self.stopped.clone();
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.place.must_leave() => {}
                () = stopped.wait() => {}
            }
        }
    }

    /// Remembers what a request brought, and whether anything of it was taken.
    pub fn brought(&self, intake: &Intake, events: Tally, is_taken: bool) {
        let mut debt = self.lock();
        debt.events.add(events);
        match is_taken {
            true => debt.requests.useful += 1,
            false => debt.requests.wasted += 1,
        }
        let of_events = intake.held_until(&mut debt.events, LINE);
        let of_requests = intake.held_until(&mut debt.requests, REQUEST);
        debt.held_until = of_events.max(of_requests).max(debt.held_until);
    }

    fn lock(&self) -> MutexGuard<'_, Debt> {
        self.debt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The write key that a request carries outside of its body: in a header of its own, as the user
/// of a Basic authorization, or in the query.
pub(super) fn write_key(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    // A header of its own that cannot be read is a wrong key: none is looked for behind it.
    let text = |name: &str| Some(headers.get(name)?.to_str().unwrap_or("?"));
    let own = text("x-write-key")
        .map(str::trim)
        .filter(|key| !key.is_empty());
    if let Some(key) = own {
        return Some(key.to_owned());
    }
    if let Some(key) = text(header::AUTHORIZATION.as_str()).and_then(of_basic) {
        return Some(key);
    }
    let query = uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, value)| name.eq_ignore_ascii_case("writekey") && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}

/// The customer's address, as a proxy before the daemon tells it: all that it tells, for the
/// mapping takes the first that means somebody.
pub(super) fn forwarded(headers: &HeaderMap) -> Option<String> {
    /// More than any honest chain of proxies has.
    const LONGEST: usize = 512;
    let all = |name: &str| -> Option<String> {
        let values = headers.get_all(name).iter();
        let texts: Option<Vec<&str>> = values.map(|value| value.to_str().ok()).collect();
        let text = texts?.join(", ");
        (!text.trim().is_empty() && text.len() <= LONGEST).then_some(text)
    };
    all("x-forwarded-for").or_else(|| all("x-real-ip"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_key_is_looked_for_in_headers_and_then_in_the_query() {
        let key = |all: &[(&'static str, &str)], uri: &str| {
            write_key(&headers(all), &uri.parse().unwrap())
        };
        let basic = ("authorization", "Basic YmFzaWM6"); // basic:
        let query = "/v1/track?writeKey=in%20query";
        assert_eq!(
            key(&[("x-write-key", " own "), basic], query).as_deref(),
            Some("own")
        );
        assert_eq!(key(&[basic], query).as_deref(), Some("basic"));
        assert_eq!(
            key(&[("x-write-key", "")], query).as_deref(),
            Some("in query")
        );
        assert_eq!(key(&[], "/api/track?writekey=w").as_deref(), Some("w"));
        assert_eq!(key(&[("authorization", "Bearer x")], "/?writekey="), None);
    }

    #[test]
    fn who_is_forwarded_is_told_as_it_came() {
        assert_eq!(forwarded(&headers(&[])), None);
        assert_eq!(
            forwarded(&headers(&[("x-real-ip", "203.0.113.7")])).as_deref(),
            Some("203.0.113.7")
        );
        let chain = headers(&[
            ("x-forwarded-for", "203.0.113.7, 10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-real-ip", "10.0.0.1"),
        ]);
        assert_eq!(
            forwarded(&chain).as_deref(),
            Some("203.0.113.7, 10.0.0.1, 10.0.0.2")
        );
        let long = "1, ".repeat(300);
        assert_eq!(forwarded(&headers(&[("x-forwarded-for", &long)])), None);
    }
}
