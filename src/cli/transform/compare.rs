//! `--compare`: which fields of the payloads two configs make differently, and how many events
//! die under each. Names and counts; the events' own data stays out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use super::super::text::printable;
use super::lines::When;
use crate::event::{check, sound};
use crate::transform::Transform;

/// What has been compared so far.
#[derive(Debug, Default, Serialize)]
pub(super) struct Comparison {
    /// Events that both configs were tried on.
    events: u64,
    /// Of these, those whose payload differs.
    changed: u64,
    /// Lines that the socket would not take, or ignores.
    not_sent: u64,
    /// Events that die under the old config.
    dead_before: u64,
    /// Events that die under the new one.
    dead_after: u64,
    /// By field.
    fields: BTreeMap<String, Change>,
}

/// How one field changes.
#[derive(Debug, Default, Serialize)]
struct Change {
    /// Events that have it under the new config alone.
    added: u64,
    /// Events that have it under the old config alone.
    removed: u64,
    /// Events that have another value.
    other_value: u64,
    /// The messageId of the first of them.
    example: String,
}

impl Comparison {
    /// Tries both on one line.
    pub(super) fn add(&mut self, line: &[u8], old: &Transform, new: &Transform, when: When) {
        let Ok(line) = sound(line) else {
            self.not_sent += 1;
            return;
        };
        let call = match check(&line) {
            Ok(call) if call.kind.ignored().is_none() => call,
            _ => {
                self.not_sent += 1;
                return;
            }
        };
        self.events += 1;
        let fixed = when.of(&call);
        let payload = |transform: &Transform| {
            let payload = transform.payload(&line, fixed, None, &|_| false).ok()?;
            serde_json::from_slice::<Value>(&payload.json).ok()
        };
        let (before, after) = (payload(old), payload(new));
        self.dead_before += u64::from(before.is_none());
        self.dead_after += u64::from(after.is_none());
        self.changed += u64::from(before != after);
        let (Some(before), Some(after)) = (before, after) else {
            return;
        };
        let (before, after) = (fields(&before), fields(&after));
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            let (before, after) = (before.get(name), after.get(name));
            if before == after {
                continue;
            }
            let change = self.fields.entry(name.clone()).or_default();
            match (before, after) {
                (None, _) => change.added += 1,
                (_, None) => change.removed += 1,
                _ => change.other_value += 1,
            }
            if change.example.is_empty() {
                change.example = call.message_id.to_string();
            }
        }
    }

    /// Writes the account.
    pub(super) fn write(&self, output: &mut impl Write, json: bool) -> io::Result<()> {
        if json {
            writeln!(output, "{}", serde_json::to_string(self)?)?;
            return output.flush();
        }
        writeln!(
            output,
            "{} events, {} of them changed; {} lines that are not sent at all",
            self.events, self.changed, self.not_sent
        )?;
        writeln!(
            output,
            "dead: {} under the old config, {} under this one",
            self.dead_before, self.dead_after
        )?;
        for (name, change) in &self.fields {
            // Keys of custom properties and messageIds are the events' own.
            let (name, example) = (printable(name), printable(&change.example));
            writeln!(
                output,
                "  {name:<28} {} added, {} removed, {} with another value (like {example})",
                change.added, change.removed, change.other_value
            )?;
        }
        output.flush()
    }
}

/// The members of a payload, those of its two blocks by their dot paths.
fn fields(payload: &Value) -> BTreeMap<String, &Value> {
    let mut fields = BTreeMap::new();
    for (name, value) in payload.as_object().into_iter().flatten() {
        match (name.as_str(), value.as_object()) {
            ("user_data" | "custom_data", Some(block)) => {
                fields.extend(block.iter().map(|(key, v)| (format!("{name}.{key}"), v)));
            }
            _ => {
                fields.insert(name.clone(), value);
            }
        }
    }
    fields
}
