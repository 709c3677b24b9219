//! What holds of the transform.

use std::sync::OnceLock;

use serde_json::Value;

use super::{destinations, schema};
use crate::event;
use crate::note::{KINDS, Note, rank};
use crate::transform::{
    Dead, Fixed, Hashing, MappingRule, Options, Payload, Transform, UnreadableTime,
};

/// An event that the socket takes gives a payload within Pinterest's schema, or has no match key,
/// or a time that cannot be told, and never anything else; the same line gives the same bytes;
/// leaving custom keys out changes nothing else; a resend keeps its name; a note quotes nothing.
///
/// The first byte chooses the config and the time; the rest is the line.
pub fn transform(data: &[u8]) {
    let [choice, line @ ..] = data else {
        return;
    };
    let transform = &transforms()[usize::from(choice & 7)];
    let time = 978_307_200 + i64::from(choice >> 3) * 100_000_000;
    let fixed = Fixed {
        accepted_at: time,
        event_time: time,
    };
    let made = transform.payload(line, fixed, None, &|_| false);
    let again = transform.payload(line, fixed, None, &|_| false);
    assert_eq!(made, again, "the same line, the same bytes");
    let taken = event::check(line).is_ok_and(|call| call.kind.ignored().is_none());
    match made {
        Ok(payload) => {
            within_the_schema(&payload, time);
            without_custom_keys(transform, line, fixed, &payload);
            are_well(&payload.notes);
            let first = " Größe \"1\"\n";
            let resent = transform.payload(line, fixed, Some(first), &|_| false);
            let resent = resent.expect("a name does not decide whether an event can be sent");
            assert_eq!(&*resent.event_name, first);
            assert_eq!(resent.message_id, payload.message_id);
        }
        Err(unsendable) => {
            are_well(&unsendable.notes);
            if let Dead::Invalid(why) = unsendable.why {
                assert!(!taken, "accepted and then no event: {why}");
            }
        }
    }
}

/// In the order of the payload, each of a field that is known.
fn are_well(notes: &[Note]) {
    for note in notes {
        let place = rank(note.field).expect("a field that is known");
        assert!(KINDS[place].1.contains(&note.word), "{note:?}");
    }
    assert!(notes.is_sorted_by_key(|note| rank(note.field)), "{notes:?}");
}

fn within_the_schema(payload: &Payload, time: i64) {
    let Some(mut event) = value(&payload.json) else {
        return;
    };
    assert_eq!(event["event_id"], payload.message_id.as_str());
    assert_eq!(event["event_name"], &*payload.event_name);
    assert_eq!(event["event_time"], time);
    let keys = &payload.custom_keys;
    assert!(
        keys.is_sorted_by(|a, b| a < b),
        "sorted, each once: {keys:?}"
    );
    if let Some(data) = event.get_mut("custom_data").and_then(Value::as_object_mut) {
        for key in keys {
            assert!(data.remove(&**key).is_some(), "told and not there: {key}");
        }
        if data.is_empty() {
            event
                .as_object_mut()
                .map(|event| event.remove("custom_data"));
        }
    }
    assert_eq!(schema::check(&event), Ok(()), "{event}");
}

fn without_custom_keys(transform: &Transform, line: &[u8], fixed: Fixed, full: &Payload) {
    let plain = transform.payload(line, fixed, None, &|_| true);
    let plain = plain.expect("custom keys do not decide whether an event can be sent");
    assert!(plain.custom_keys.is_empty());
    let (Some(plain), Some(mut full_event)) = (value(&plain.json), value(&full.json)) else {
        return;
    };
    if let Some(data) = full_event
        .get_mut("custom_data")
        .and_then(Value::as_object_mut)
    {
        for key in &full.custom_keys {
            data.remove(&**key);
        }
        if data.is_empty() {
            full_event
                .as_object_mut()
                .map(|event| event.remove("custom_data"));
        }
    }
    assert_eq!(plain, full_event, "more than the custom keys went");
}

/// The JSON read back. A custom property may hold serde_json's own key for a number, which its
/// `Value` cannot hold as what it is: `None`.
fn value(json: &[u8]) -> Option<Value> {
    if String::from_utf8_lossy(json).contains("private::Number") {
        return None;
    }
    Some(serde_json::from_slice(json).expect("what goes out is JSON"))
}

/// As shipped; hashed; all that can be mapped, twice; and the same with all that is off by default.
fn transforms() -> &'static [Transform; 8] {
    static TRANSFORMS: OnceLock<[Transform; 8]> = OnceLock::new();
    TRANSFORMS.get_or_init(|| {
        let made = |more: bool, hashing, mapped: bool| {
            let ids = if more {
                ["variant_id", "sku"]
            } else {
                ["product_id", "sku"]
            };
            let options = Options {
                hashing,
                extended: more,
                codes: more,
                content_ids: ids.map(str::to_owned).to_vec(),
                partner_name: mapped.then(|| "ss-shop".to_owned()),
                mappings: if mapped { mappings() } else { Vec::new() },
                unreadable_time: match mapped {
                    true => UnreadableTime::AcceptedAt,
                    false => UnreadableTime::DeadLetter,
                },
                event_names: vec![("Signed Up".to_owned(), "signup".to_owned())],
                ..Options::default()
            };
            Transform::new(options).expect("a config as the reference describes it")
        };
        [
            made(false, Hashing::Raw, false),
            made(false, Hashing::Sha256, false),
            made(false, Hashing::Raw, true),
            made(false, Hashing::Sha256, true),
            made(true, Hashing::Raw, false),
            made(true, Hashing::Sha256, false),
            made(true, Hashing::Raw, true),
            made(true, Hashing::Sha256, true),
        ]
    })
}

fn mappings() -> Vec<MappingRule> {
    const CUSTOM_KEYS: [&str; 3] = ["loyalty_tier", "ünï \"code\"", "tier"];
    const SOURCES: [&str; 9] = [
        "properties.products.*.sku",
        "properties.a.*",
        "properties.a",
        "properties.products",
        "properties.products.0.name",
        "properties.b",
        "context.traits",
        "userId",
        "context.page.title",
    ];
    let rule = |(i, destination): (usize, String)| MappingRule {
        source: SOURCES[i % SOURCES.len()].to_owned(),
        destination,
    };
    let destinations =
        || destinations::typed().chain(CUSTOM_KEYS.map(|key| format!("properties.{key}")));
    // The last usable one wins, so that each has two tries.
    let twice = destinations().chain(destinations());
    twice.enumerate().map(rule).collect()
}
