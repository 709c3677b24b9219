//! What holds of the reading of an answer, whatever Pinterest or somebody before it sends.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::classify::classify;
use super::headers;
use super::wording::{blames_name, refused_keys};
use crate::deliver::destination::Signals;
use crate::deliver::judgement::{Class, Judgement, Refusal, Verdict};
use crate::deliver::normalise::normalise;
use crate::deliver::options::CallLimit;
use crate::deliver::pace::Pace;

/// Every event of a request gets one verdict or the request gets one word; no event counts as
/// delivered that the answer does not call processed at its place; no header breaks the pace;
/// what may be logged of a message holds no number and no address.
///
/// The input reads like an answer: a line `status events`, lines of headers, an empty line, the
/// body. A body that begins with `!` stands for a list that is written from its bytes, and is
/// then judged exactly.
pub fn answer(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let first = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let mut numbers = first.split(' ').map(|n| n.parse::<u16>().ok());
    let status = numbers.next().flatten().unwrap_or(200).clamp(100, 999);
    let events = numbers.next().flatten().unwrap_or(2).clamp(1, 1000).into();
    let mut rest = parts.next().unwrap_or_default();
    let mut headers = Vec::new();
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        match line.split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None => break,
        }
    }
    let signals = headers::signals(784_111_777_000, |name| {
        let found = headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| &**value)
    });
    the_pace_holds(&signals, events);
    match rest {
        [b'!', codes @ ..] if !codes.is_empty() => written(status, &signals, codes),
        body => {
            let judged = classify(status, &signals, body, events);
            word_for_status(status, &signals, &judged);
            confirmed(body, events, &judged);
        }
    }
}

/// Whatever the headers say, the next call leaves within the hour that they may take.
fn the_pace_holds(signals: &Signals, in_flight: usize) {
    let now = Instant::now();
    let mut pace = Pace::new(CallLimit::Auto, None, now);
    for in_flight in [0, in_flight] {
        pace.take(now);
        pace.observe_headers(now, signals, in_flight);
        let wait = pace.next(now) - now;
        assert!(wait <= Duration::from_secs(3600), "waits {wait:?}");
    }
}

fn word_for_status(status: u16, signals: &Signals, judged: &Judgement) {
    let fits = match &judged.class {
        Class::Judged(_) => matches!(status, 200..=299 | 422),
        Class::Refused { too_large, .. } => {
            matches!(status, 400 | 413 | 422) && *too_large == (status == 413)
        }
        Class::Auth(_) => matches!(status, 401 | 403 | 404),
        Class::Limited { wait } => {
            assert_eq!(*wait, signals.retry_after.or(signals.reset));
            status == 429
        }
        // No answer that may have taken something may count as one that took nothing.
        Class::Unexpected(_) => matches!(status, 300..=499),
        Class::Unknown(_) => matches!(status, 100..=299 | 408 | 422 | 500..),
    };
    assert!(fits, "{status}: {:?}", judged.class);
    let refusals: Vec<&Refusal> = match &judged.class {
        Class::Judged(verdicts) => verdicts.iter().filter_map(refusal).collect(),
        Class::Refused { refusal, .. } | Class::Auth(refusal) | Class::Unexpected(refusal) => {
            vec![refusal]
        }
        Class::Limited { .. } | Class::Unknown(_) => Vec::new(),
    };
    for refusal in refusals {
        assert!(
            !refusal.message.trim().is_empty(),
            "a refusal says something"
        );
        fit_for_a_log(&refusal.message);
    }
    for (kind, count) in &judged.warnings {
        assert!(*count > 0 && kind.chars().count() <= 200);
    }
}

fn refusal(verdict: &Verdict) -> Option<&Refusal> {
    match verdict {
        Verdict::Failed(refusal) => Some(refusal),
        Verdict::Processed | Verdict::Unclear => None,
    }
}

fn fit_for_a_log(message: &str) {
    let json = br#"{"event_id":"m-17","user_data":{"em":["jo"]}}"#;
    let words = normalise(message, "m-17", json);
    assert!(words.chars().count() <= 200);
    assert!(
        !words.contains(|c: char| c.is_ascii_digit() || c == '@'),
        "{words}"
    );
    let keys = ["tier".to_owned(), "gift".to_owned()];
    assert!(
        refused_keys(message, &keys)
            .iter()
            .all(|key| keys.contains(key))
    );
    blames_name(message, "");
}

/// Read once more, by serde_json's `Value` and without a shape in mind.
fn confirmed(body: &[u8], events: usize, judged: &Judgement) {
    let Class::Judged(verdicts) = &judged.class else {
        assert!(
            judged.warnings.is_empty(),
            "warnings of an answer that judges nothing"
        );
        return;
    };
    assert_eq!(verdicts.len(), events, "one verdict per event");
    let warned: u64 = judged.warnings.iter().map(|(_, count)| count).sum();
    assert!(warned <= events as u64, "a processed event warns once");
    // `Value` takes an object with serde_json's own key for a number.
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    let list = ["/events", "/details/events"]
        .iter()
        .find_map(|at| value.pointer(at)?.as_array());
    let list = list.expect("verdicts from an answer without a list");
    assert_eq!(list.len(), events, "verdicts from a list of another length");
    for (said, verdict) in list.iter().zip(verdicts) {
        let status = said
            .get("status")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let processed = status.eq_ignore_ascii_case("processed");
        assert_eq!(*verdict == Verdict::Processed, processed, "{said}");
    }
}

/// A list as Pinterest writes it, judged word by word.
fn written(status: u16, signals: &Signals, codes: &[u8]) {
    let codes = &codes[..codes.len().min(1000)];
    let entry = |code: &u8| match code % 5 {
        0 => json!({"status": "processed", "error_message": "", "warning_message": null}),
        1 => json!({"status": "Processed", "warning_message": format!("no click_id {code}")}),
        2 => json!({"status": "failed", "error_message": format!("refused {}", code / 5)}),
        3 => json!({"status": "FAILED", "error_message": [code]}),
        _ => json!({"status": "later"}),
    };
    let list: Vec<Value> = codes.iter().map(entry).collect();
    // What the counts claim must not matter.
    let answer = json!({"num_events_received": 1, "num_events_processed": 0, "events": list});
    let (status, body) = match status {
        422 => (
            422,
            json!({"code": 953, "message": "some", "details": answer}),
        ),
        _ => (200, answer),
    };
    let body = body.to_string();
    let judged = classify(status, signals, body.as_bytes(), codes.len());
    word_for_status(status, signals, &judged);
    confirmed(body.as_bytes(), codes.len(), &judged);
    let Class::Judged(verdicts) = judged.class else {
        panic!("a plain list was not judged: {:?}", judged.class);
    };
    for (code, verdict) in codes.iter().zip(verdicts) {
        let right = match (code % 5, &verdict) {
            (0 | 1, Verdict::Processed) | (4, Verdict::Unclear) => true,
            (2, Verdict::Failed(why)) => why.message == format!("refused {}", code / 5),
            (3, Verdict::Failed(why)) => why.message == "failed, without a message",
            _ => false,
        };
        assert!(right, "{code}: {verdict:?}");
    }
    // One more or one less proves nothing about any of them.
    for events in [codes.len() + 1, codes.len() - 1] {
        let judged = classify(status, signals, body.as_bytes(), events);
        assert!(matches!(judged.class, Class::Unknown(_)));
    }
}
