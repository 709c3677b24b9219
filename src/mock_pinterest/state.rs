//! One request in, one answer out: authentication, limits, faults, schema, verdicts.

use std::io;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::account::{Account, Arrival, Recorded};
use super::answer::Answer;
use super::lists;
use super::schema::{self, Verdict};
use super::sockets::Fate;
use super::switches::{Fault, RefuseAs, Switches};

/// Events of a batch that test mode processes.
const TEST_EVENTS: usize = 20;

/// Where a 3xx points.
const ELSEWHERE: &str = "/elsewhere";

/// An event request as HTTP delivered it.
pub(super) struct Request<'a> {
    pub ad_account: &'a str,
    /// The Bearer token, if there is one.
    pub token: Option<&'a str>,
    pub content_type: Option<&'a str>,
    pub test: bool,
    /// `None`: longer than `max_body_bytes`.
    pub body: Option<&'a [u8]>,
}

/// Everything that changes from request to request.
pub(super) struct State {
    switches: Switches,
    pub account: Account,
    count_only: bool,
    dice: StdRng,
    /// Event requests since the switches were set.
    met: u64,
    calls: Window,
    test_calls: Window,
}

impl State {
    pub fn new(switches: Switches, account: Account, count_only: bool) -> Self {
        Self {
            dice: StdRng::seed_from_u64(switches.seed),
            switches,
            account,
            count_only,
            met: 0,
            calls: Window::default(),
            test_calls: Window::default(),
        }
    }

    pub fn switches(&self) -> &Switches {
        &self.switches
    }

    /// New switches also start the count of `fault_first` and the draws anew.
    pub fn set_switches(&mut self, switches: Switches) {
        self.dice = StdRng::seed_from_u64(switches.seed);
        self.met = 0;
        self.switches = switches;
    }

    /// Answers one event request. `now` in Unix milliseconds, `monotonic` in milliseconds.
    ///
    /// # Errors
    /// The journal could not be written.
    pub fn answer(
        &mut self,
        request: &Request<'_>,
        now: i64,
        monotonic: i64,
    ) -> io::Result<Answer> {
        let mut rate_headers = Vec::new();
        let mut answer = match self.refusal(request, monotonic, &mut rate_headers) {
            Some(refused) => refused,
            None => self.beyond_the_door(request, now / 1000)?,
        };
        if let Some(seconds) = self.switches.no_calls_left {
            rate_headers.push(("X-RateLimit-Remaining", "0".into()));
            rate_headers.push(("X-RateLimit-Reset", seconds.to_string()));
        }
        answer.headers.append(&mut rate_headers);
        Ok(answer)
    }

    /// What stops a request before anyone looks at its events.
    fn refusal(
        &mut self,
        request: &Request<'_>,
        monotonic: i64,
        headers: &mut Vec<(&'static str, String)>,
    ) -> Option<Answer> {
        let known = &self.switches;
        let id = request.ad_account;
        if id.is_empty() || id.len() > 18 || !id.bytes().all(|b| b.is_ascii_digit()) {
            return Some(Answer::error(
                400,
                1,
                "'ad_account_id' does not match '^\\d+$' or is longer than 18 digits",
            ));
        }
        if request.token.is_none_or(|t| {
            t.is_empty() || known.token.as_deref().is_some_and(|required| required != t)
        }) {
            return Some(Answer::error(401, 2, "Authentication failed."));
        }
        if known.ad_account.as_deref().is_some_and(|only| only != id) {
            return Some(Answer::error(404, 2, "AdAccount not found."));
        }
        if let Some(limit) = known.calls_per_minute {
            let left = self.calls.take(monotonic, 60_000, limit);
            let reset = self.calls.seconds_left(monotonic, 60_000);
            headers.push((
                "X-RateLimit-Limit",
                format!("{limit}, {limit};w=60;name=\"ads_conversions\""),
            ));
            headers.push(("X-RateLimit-Remaining", left.unwrap_or(0).to_string()));
            headers.push(("X-RateLimit-Reset", reset.to_string()));
            if left.is_none() {
                return Some(Answer::error(
                    429,
                    8,
                    "This request exceeded the rate limit.",
                ));
            }
        }
        if request.test
            && self
                .test_calls
                .take(monotonic, 1000, known.test_calls_per_second)
                .is_none()
        {
            let mut answer = Answer::error(429, 8, "This request exceeded the rate limit.");
            answer.headers.push(("X-RateLimit-Reset", "1".into()));
            return Some(answer);
        }
        request
            .body
            .is_none()
            .then(|| Answer::error(413, 0, "Request entity too large"))
    }

    fn beyond_the_door(&mut self, request: &Request<'_>, now: i64) -> io::Result<Answer> {
        let Some(fault) = self.fault(request.body.unwrap_or_default()) else {
            return self.good(request, now, true);
        };
        let processed = self.switches.fault_processed
            || matches!(
                fault,
                Fault::Trickle | Fault::ShortList | Fault::LongList | Fault::OddStatus
            );
        let mut good = self.good(request, now, processed)?;
        let (events, n, failed) = (good.events, good.processed, good.failed);
        let mut answer = match fault {
            Fault::Status(status) => self.status_fault(status),
            Fault::Reset => Answer {
                fate: Fate::Reset,
                ..good
            },
            Fault::Close => Answer {
                fate: Fate::Closed,
                ..good
            },
            Fault::Silent => Answer {
                silent: true,
                ..good
            },
            Fault::Trickle => Answer {
                fate: Fate::Trickled(Duration::from_millis(self.switches.trickle_ms)),
                ..good
            },
            Fault::Unreadable => {
                good.body = br#"{"num_events_received":1,"num_events_proc"#.to_vec();
                good.status = 200;
                good
            }
            Fault::ShortList | Fault::LongList | Fault::OddStatus => {
                lists::with_odd_list(good, fault)
            }
        };
        (answer.events, answer.processed, answer.failed) = (events, n, failed);
        Ok(answer)
    }

    /// The fault that this request meets, if any.
    fn fault(&mut self, body: &[u8]) -> Option<Fault> {
        let fault = self.switches.fault?;
        let text = self
            .switches
            .fault_containing
            .as_deref()
            .unwrap_or_default();
        if !String::from_utf8_lossy(body).contains(text) {
            return None;
        }
        self.met += 1;
        if self.switches.fault_first.is_some_and(|n| self.met > n) {
            return None;
        }
        let drawn: f64 = self.dice.random();
        (drawn < self.switches.fault_probability).then_some(fault)
    }

    fn status_fault(&self, status: u16) -> Answer {
        let (code, message) = match status {
            400 => (4196, "Invalid request."),
            401 => (2, "Authentication failed."),
            403 => (29, "You are not permitted to access that resource."),
            404 => (2, "AdAccount not found."),
            413 => (0, "Request entity too large"),
            422 => (953, "The events could not be processed."),
            429 => (8, "This request exceeded the rate limit."),
            503 => (4197, "Service unavailable."),
            _ => (0, "An unexpected error occurred."),
        };
        let code = self.switches.fault_code.unwrap_or(code);
        let message = self.switches.fault_message.as_deref().unwrap_or(message);
        let mut answer = Answer::error(status, code, message);
        if let Some(title) = &self.switches.fault_page {
            let page = format!("<html><head><title>{title}</title></head><body></body></html>");
            answer.body = page.into_bytes();
        }
        if (300..400).contains(&status) {
            answer.headers.push(("Location", ELSEWHERE.into()));
        }
        if let Some(seconds) = self.switches.retry_after {
            answer.headers.push(("Retry-After", seconds.to_string()));
        }
        if let Some(seconds) = self.switches.rate_limit_reset {
            answer
                .headers
                .push(("X-RateLimit-Reset", seconds.to_string()));
        }
        answer
    }

    /// The answer of a healthy Pinterest. `process`: the events count as taken.
    fn good(&mut self, request: &Request<'_>, now: i64, process: bool) -> io::Result<Answer> {
        let body = request.body.unwrap_or_default();
        if !request.content_type.is_some_and(is_json) {
            return Ok(Answer::error(
                400,
                1,
                "Content-Type must be application/json",
            ));
        }
        if self.count_only {
            return Ok(self.counted(body, process));
        }
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return Ok(Answer::error(400, 1, "The request body is not valid JSON."));
        };
        let events = match schema::events(&body, self.switches.custom_keys) {
            Ok(events) => events,
            Err(said) => return Ok(invalid(&said)),
        };
        let jsons: Vec<String> = events.iter().map(Value::to_string).collect();
        let mut verdicts = Vec::with_capacity(events.len());
        for (i, (event, json)) in events.iter().zip(&jsons).enumerate() {
            let (id, name) = (text(event, "event_id"), text(event, "event_name"));
            verdicts.push(if self.switches.refuses(id, name, json) {
                if self.switches.refuse_as == RefuseAs::Request {
                    return Ok(invalid(&self.switches.refuse_message));
                }
                Verdict::Failed {
                    error: self.switches.refuse_message.clone(),
                }
            } else if request.test && i >= TEST_EVENTS {
                Verdict::Failed {
                    error: format!(
                        "Only the first {TEST_EVENTS} events are processed in test mode"
                    ),
                }
            } else {
                schema::judge(event, &self.switches, now)
            });
        }
        let answer = lists::answer(&verdicts, &self.switches);
        if request.test {
            self.account.totals.events_received += events.len() as u64;
            self.account.totals.test_events += answer.processed as u64;
            return Ok(answer);
        }
        let arrivals: Vec<Arrival<'_>> = events
            .iter()
            .zip(&jsons)
            .zip(&verdicts)
            .map(|((event, json), verdict)| Arrival {
                event_id: text(event, "event_id"),
                event_name: text(event, "event_name"),
                event_time: event["event_time"].as_i64().unwrap_or_default(),
                json,
                outcome: match verdict {
                    _ if !process => Recorded::Ignored,
                    Verdict::Processed { .. } => Recorded::Processed,
                    Verdict::Failed { .. } => Recorded::Failed,
                },
            })
            .collect();
        self.account.record(&arrivals)?;
        if self.switches.count_fields && process {
            let processed = events.iter().zip(&verdicts);
            let processed = processed.filter(|(_, v)| matches!(v, Verdict::Processed { .. }));
            processed.for_each(|(event, _)| self.account.count_fields(event));
        }
        Ok(if process {
            answer
        } else {
            Answer {
                processed: 0,
                failed: 0,
                ..answer
            }
        })
    }

    /// `--count-only`: as many events as the body has `"event_id":` keys, all processed.
    fn counted(&mut self, body: &[u8], process: bool) -> Answer {
        let n = memchr::memmem::find_iter(body, br#""event_id":"#).count();
        if process {
            self.account.count(n);
        }
        Answer {
            status: 200,
            body: lists::all_processed(n),
            events: n,
            processed: if process { n } else { 0 },
            ..Answer::default()
        }
    }
}

/// A string field of an event; the schema has made sure that it is one.
fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or_default()
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn invalid(said: &str) -> Answer {
    Answer::error(400, 4196, &format!("Invalid request body: {said}"))
}

/// Calls in a fixed window of time.
#[derive(Default)]
struct Window {
    start: Option<i64>,
    used: u64,
}

impl Window {
    /// Takes a call; how many are left after it, or `None` if there was none.
    fn take(&mut self, now: i64, width: i64, limit: u64) -> Option<u64> {
        if self.start.is_none_or(|start| now - start >= width) {
            (self.start, self.used) = (Some(now), 0);
        }
        let left = limit.checked_sub(self.used + 1)?;
        self.used += 1;
        Some(left)
    }

    fn seconds_left(&self, now: i64, width: i64) -> i64 {
        let end = self.start.unwrap_or(now) + width;
        ((end - now) + 999) / 1000
    }
}
