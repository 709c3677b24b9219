//! Pinterest as the generic part of delivery is told of it, and what the operator reads of it.

use std::time::Duration;

use super::classify::classify;
use super::wording::{blames_name, refused_keys};
use crate::deliver::destination::{Destination, Framing, Notice};
use crate::deliver::status::Reason;

/// How long Pinterest remembers an event_id (pinterest-api.md, "Deduplication").
pub const REMEMBERS: Duration = Duration::from_secs(48 * 3_600);

pub static PINTEREST: Destination = Destination {
    framing: FRAMING,
    test_batch_events: 20,
    test_calls_per_second: 10.0,
    judge: |reply, events| classify(reply.status, &reply.signals, &reply.body, events),
    refused_keys,
    blames_name,
    notice,
    next_step,
};

pub const FRAMING: Framing = Framing {
    head: br#"{"data":["#,
    tail: b"]}",
};

fn notice(notice: Notice<'_>) -> String {
    match notice {
        Notice::Answers => "Pinterest answers again: delivery goes on".to_owned(),
        Notice::NoCallsLeft => {
            "Pinterest leaves no calls for a while, say the headers of its answers".to_owned()
        }
        Notice::TakesEvents => "Pinterest takes events again: delivery goes on".to_owned(),
        Notice::RefusesAll(message) => format!("Pinterest refuses every event alike: {message}"),
        Notice::RefusesName(name) => format!(
            "Pinterest refuses the event name {name:?}; its events become dead letters; to send \
             them as custom events add {name:?} = \"custom\" under [event_names] with the Chord \
             name as the key"
        ),
        Notice::RefusedEvent(message) => {
            format!("Pinterest refused an event, which is kept as a dead letter: {message}")
        }
        Notice::RefusesKey(key) => format!(
            "Pinterest refuses the custom property {key:?}: events go without it, and it is \
             tried again every hour; take its mapping out, or map it to a schema field"
        ),
    }
}

const fn next_step(reason: Reason) -> &'static str {
    match reason {
        Reason::Unavailable => "nothing is lost; it is tried again by itself",
        Reason::RateLimited => "nothing is lost; lower delivery.max_calls_per_minute if it lasts",
        Reason::Auth => {
            "nothing is lost; check the token (pinterest.token_file) and \
             pinterest.ad_account_id; it is tried again by itself, and at once when the \
             token changes"
        }
        Reason::Unexpected => {
            "nothing is lost; check pinterest.base_url and what stands between here and \
             Pinterest; it is tried again by itself"
        }
        Reason::RefusedAll => {
            "everything stays queued; mend the config and reload; one event a minute is \
             tried by itself"
        }
        Reason::Paused => "nothing is lost; `pinrelay resume` ends it",
    }
}
