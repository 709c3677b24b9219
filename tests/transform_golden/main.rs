//! Every row of the mapping, by what goes out on the wire. One file for each section of `mapping.md`.

mod config;
mod custom_data;
mod envelope;
mod events;
mod extended;
mod mappings;
mod notes;
mod user_data;
mod worked_examples;

use pinrelay::event::check;
use pinrelay::note::Note;
use pinrelay::transform::{
    Dead, Fixed, Hashing, MappingRule, Options, OptionsError, Payload, Transform, UnreadableTime,
    Unsendable,
};
use serde_json::Value;

/// Fixed at acceptance in the real thing; any number here.
const AT: i64 = 1_700_000_000;
const FIXED: Fixed = Fixed {
    accepted_at: AT,
    event_time: AT,
};

fn transform(options: Options) -> Transform {
    Transform::new(options).unwrap_or_else(|e| panic!("{e}"))
}

fn payload(transform: &Transform, line: &str) -> Payload {
    check(line.as_bytes()).unwrap_or_else(|e| panic!("{e}: {line}"));
    transform
        .payload(line.as_bytes(), FIXED, None, &|_| false)
        .unwrap_or_else(|e| panic!("{}: {line}", e.why))
}

/// Why nothing goes out for this line, if so.
fn unsendable(options: Options, line: &str) -> Option<Unsendable> {
    let sent = transform(options).payload(line.as_bytes(), FIXED, None, &|_| false);
    sent.err()
}

/// Field, path and word of each note.
fn told(notes: &[Note]) -> Vec<String> {
    let one = |note: &Note| format!("{} {} {}", note.field, note.path, note.word.name());
    notes.iter().map(one).collect()
}

/// The notes of an event of these members, sent or dead.
fn notes_with(options: Options, members: &str) -> Vec<String> {
    let line = format!(r#"{{"messageId":"m",{members}}}"#);
    check(line.as_bytes()).unwrap_or_else(|e| panic!("{e}: {line}"));
    match transform(options).payload(line.as_bytes(), FIXED, None, &|_| false) {
        Ok(payload) => told(&payload.notes),
        Err(unsendable) => told(&unsendable.notes),
    }
}

/// The notes of a track with these properties (members).
fn track_notes(properties: &str) -> Vec<String> {
    let context = r#""context":{"ip":"203.0.113.7"}"#;
    notes_with(
        Options::default(),
        &format!(r#"{TRACK},"properties":{{{properties}}},{context}"#),
    )
}

fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"))
}

/// What goes out for an event of these members, which get an id and a match key.
fn event_with(options: Options, members: &str) -> Value {
    let line = format!(r#"{{"messageId":"m",{members}}}"#);
    value(std::str::from_utf8(&payload(&transform(options), &line).json).unwrap())
}

fn event(members: &str) -> Value {
    event_with(Options::default(), members)
}

/// A page with this context (members), its `ip` given.
fn page_in(context: &str) -> Value {
    event(&format!(
        r#""type":"page","context":{{"ip":"1.2.3.4"{context}}}"#
    ))
}

/// One field of user_data, from members of properties, traits and the event.
fn user(field: &str, properties: &str, traits: &str) -> Value {
    user_with(Options::default(), field, properties, traits)
}

fn user_with(options: Options, field: &str, properties: &str, traits: &str) -> Value {
    let members = format!(
        r#""type":"page","properties":{{{properties}}},"context":{{"ip":"1.2.3.4","traits":{{{traits}}}}}"#
    );
    event_with(options, &members)["user_data"][field].clone()
}

/// custom_data as written, for an event of this kind (members) with these properties.
fn custom_with(options: Options, kind: &str, properties: &str) -> String {
    let line = format!(
        r#"{{"messageId":"m",{kind},"properties":{properties},"context":{{"ip":"1.2.3.4"}}}}"#
    );
    let json = String::from_utf8(payload(&transform(options), &line).json).unwrap();
    match json.split_once(r#","custom_data":"#) {
        Some((_, rest)) => rest.strip_suffix('}').unwrap().to_owned(),
        None => String::new(),
    }
}

const TRACK: &str = r#""type":"track","event":"X""#;
const PAGE: &str = r#""type":"page""#;
const SCREEN: &str = r#""type":"screen""#;

/// custom_data of a track with these properties (members).
fn track(properties: &str) -> String {
    custom_with(Options::default(), TRACK, &format!("{{{properties}}}"))
}

/// One field of a track's custom_data, `null` if it is left out.
fn field(name: &str, properties: &str) -> Value {
    value(&track(properties))[name].clone()
}

fn rules(rules: &[(&str, &str)]) -> Options {
    Options {
        mappings: rules
            .iter()
            .map(|(source, destination)| MappingRule {
                source: (*source).to_owned(),
                destination: (*destination).to_owned(),
            })
            .collect(),
        ..Options::default()
    }
}

fn sha256() -> Options {
    Options {
        hashing: Hashing::Sha256,
        ..Options::default()
    }
}
