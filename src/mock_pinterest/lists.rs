//! Bodies with one entry per event, well formed and not.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::Answer;
use super::schema::Verdict;
use super::switches::{Fault, Switches};

#[derive(Serialize)]
struct Entry<'a> {
    status: &'static str,
    error_message: Option<&'a str>,
    warning_message: &'a str,
}

#[derive(Serialize)]
struct List<'a> {
    num_events_received: usize,
    num_events_processed: usize,
    events: Vec<Entry<'a>>,
}

/// The per-event list under 200, or within the details of a 422.
pub(super) fn answer(verdicts: &[Verdict], switches: &Switches) -> Answer {
    let entries: Vec<Entry<'_>> = verdicts
        .iter()
        .map(|verdict| match verdict {
            Verdict::Processed { warning } => Entry {
                status: "processed",
                error_message: None,
                warning_message: warning,
            },
            Verdict::Failed { error } => Entry {
                status: "failed",
                error_message: Some(error),
                warning_message: "",
            },
        })
        .collect();
    let processed = entries.iter().filter(|e| e.status == "processed").count();
    let failed = entries.len() - processed;
    let status = match (processed, failed) {
        (_, 0) => 200,
        (0, _) => switches.all_failed_status,
        _ => switches.mixed_status,
    };
    let list = json!(List {
        num_events_received: entries.len(),
        num_events_processed: processed,
        events: entries,
    });
    let body = match status {
        422 => json!({
            "code": 953,
            "message": "Some events could not be processed.",
            "details": list,
        }),
        _ => list,
    };
    Answer {
        status,
        body: body.to_string().into_bytes(),
        events: verdicts.len(),
        processed,
        failed,
        ..Answer::default()
    }
}

/// An answer whose list is an entry too short or too long; one without a list stays.
pub(super) fn with_wrong_length(mut answer: Answer, fault: Fault) -> Answer {
    let Ok(mut body) = serde_json::from_slice::<BTreeMap<String, Value>>(&answer.body) else {
        return answer;
    };
    let events = match body.get_mut("details") {
        Some(details) => details.get_mut("events"),
        None => body.get_mut("events"),
    };
    let Some(Value::Array(events)) = events else {
        return answer;
    };
    match fault {
        Fault::LongList => events.push(json!({"status": "processed"})),
        _ => {
            events.pop();
        }
    }
    answer.body = json!(body).to_string().into_bytes();
    answer
}

/// The 200 of `n` processed events, built by copying.
pub(super) fn all_processed(n: usize) -> Vec<u8> {
    const ENTRY: &[u8] = br#"{"status":"processed"},"#;
    let mut body = format!(r#"{{"num_events_received":{n},"num_events_processed":{n},"events":["#)
        .into_bytes();
    body.reserve(ENTRY.len() * n + 2);
    for _ in 0..n {
        body.extend_from_slice(ENTRY);
    }
    if n > 0 {
        body.pop();
    }
    body.extend_from_slice(b"]}");
    body
}
