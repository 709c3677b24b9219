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
    #[serde(skip_serializing_if = "is_left_out")]
    error_message: Message<'a>,
    #[serde(skip_serializing_if = "is_left_out")]
    warning_message: Message<'a>,
}

/// `null`, `""` and nothing at all mean the same.
#[derive(Serialize, Clone, Copy)]
#[serde(untagged)]
enum Message<'a> {
    LeftOut,
    Null,
    Said(&'a str),
}

fn is_left_out(message: &Message<'_>) -> bool {
    matches!(message, Message::LeftOut)
}

#[derive(Serialize)]
struct List<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    num_events_received: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_events_processed: Option<usize>,
    events: Vec<Entry<'a>>,
}

/// The per-event list under 200, or within the details of a 422.
pub(super) fn answer(verdicts: &[Verdict], switches: &Switches) -> Answer {
    let nothing = |usual| match switches.without_messages {
        true => Message::LeftOut,
        false => usual,
    };
    let entries: Vec<Entry<'_>> = verdicts
        .iter()
        .map(|verdict| match verdict {
            Verdict::Processed { warning } => Entry {
                status: "processed",
                error_message: nothing(Message::Null),
                warning_message: match warning.as_str() {
                    "" => nothing(Message::Said("")),
                    warning => Message::Said(warning),
                },
            },
            Verdict::Failed { error } => Entry {
                status: "failed",
                error_message: Message::Said(error),
                warning_message: nothing(Message::Said("")),
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
        num_events_received: (!switches.without_counters).then_some(entries.len()),
        num_events_processed: (!switches.without_counters).then_some(processed),
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

/// An answer whose list is an entry too short or too long, or says of each event what nobody knows;
/// one without a list stays.
pub(super) fn with_odd_list(mut answer: Answer, fault: Fault) -> Answer {
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
        Fault::OddStatus => (events.iter_mut()).for_each(|event| event["status"] = json!("kept")),
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
