//! `--compare`: what two configs make differently of the same events: each field with how many
//! gained it, lost it or have another value, and one event of each with its values before and
//! after; and which die.
//!
//! Invariant: without `--full` no value of an event is shown but those that say nothing of a person:
//! names of events, codes, numbers and times. Of the others their shape.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use super::super::text::{json as escaped, printable};
use super::lines::checked;
use super::trial::{Aged, Came, Trial};
use crate::event::Call;
use crate::transform::{Fixed, Transform};

/// Fields whose values may be shown.
const SHOWN: [&str; 10] = [
    "event_name",
    "action_source",
    "event_time",
    "opt_out",
    "partner_name",
    "custom_data.value",
    "custom_data.currency",
    "custom_data.num_items",
    "custom_data.predicted_ltv",
    "custom_data.opt_out_type",
];
/// Rejected lines that are told by their place.
const REJECTS_SHOWN: usize = 10;

/// What has been compared so far.
#[derive(Debug, Default, Serialize)]
pub(super) struct Comparison {
    /// Events that both configs were tried on.
    events: u64,
    /// Of these, those whose payload differs.
    changed: u64,
    /// Lines that the socket would not take, or ignores.
    not_sent: u64,
    /// The first of those that it would not take.
    rejects: Vec<Reject>,
    /// Events that die under the old config.
    dead_before: u64,
    /// Events that die under the new one.
    dead_after: u64,
    /// Events that would be late under the new one if they left now.
    late: u64,
    /// Events that would expire.
    expired: u64,
    /// The reason of a dead letter, as if it were a field.
    dead: Change,
    /// By field.
    fields: BTreeMap<String, Change>,
    /// Show every value.
    #[serde(skip)]
    is_full: bool,
}

#[derive(Debug, Serialize)]
struct Reject {
    file: Option<String>,
    line: Option<u64>,
    error: String,
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
    /// The first of each kind, by its name.
    examples: BTreeMap<&'static str, Example>,
}

/// One event whose field changes.
#[derive(Debug, Serialize)]
struct Example {
    #[serde(rename = "messageId")]
    message_id: String,
    before: Shown,
    after: Shown,
}

/// What is shown of a value.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Shown {
    Missing,
    Value { value: Value },
    Shape { shape: String },
}

/// What a config makes of an event: a payload, or the reason of a dead letter.
type Made = Result<Value, &'static str>;

impl Comparison {
    /// `is_full`: with the values of all fields.
    pub(super) fn new(is_full: bool) -> Self {
        Self {
            is_full,
            ..Self::default()
        }
    }

    /// Tries both on one line.
    pub(super) fn add(&mut self, old: &Transform, new: &Trial<'_>, came: Came<'_>) {
        let mut room = Vec::new();
        let (line, call) = match checked(came.line.clone(), &mut room) {
            Ok((line, call, _))
                if call.kind.ignored().is_none()
                    && new.refusal(came.when, call.kind, line).is_none() =>
            {
                (line, call)
            }
            Ok(_) => {
                self.not_sent += 1;
                return;
            }
            Err(why) => return self.rejected(&came, &why),
        };
        self.events += 1;
        let fixed = came.when.of(&call);
        let (before, after) = (made(old, line, fixed), made(new.transform, line, fixed));
        self.dead_before += u64::from(before.is_err());
        self.dead_after += u64::from(after.is_err());
        if after.is_ok()
            && let Some(aged) = new.age(came.when, fixed)
        {
            self.aged(aged);
        }
        if before != after {
            self.changed += 1;
            self.differs(&call, &before, &after);
        }
    }

    fn rejected(&mut self, came: &Came<'_>, why: &impl std::fmt::Display) {
        self.not_sent += 1;
        if self.rejects.len() < REJECTS_SHOWN {
            self.rejects.push(Reject {
                file: came.place.map(|place| place.name.to_owned()),
                line: came.place.map(|place| place.number),
                error: why.to_string(),
            });
        }
    }

    fn aged(&mut self, aged: Aged) {
        match aged.reason {
            "late" => self.late += 1,
            _ => self.expired += 1,
        }
    }

    fn differs(&mut self, call: &Call<'_>, before: &Made, after: &Made) {
        let reason = |made: &Made| made.as_ref().err().map(|reason| Value::from(*reason));
        let (died, dies) = (reason(before), reason(after));
        if died != dies {
            self.dead.add(call, died.as_ref(), dies.as_ref(), true);
        }
        let (Ok(before), Ok(after)) = (before, after) else {
            return;
        };
        let (before, after) = (fields(before), fields(after));
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            let (before, after) = (before.get(name).copied(), after.get(name).copied());
            if before != after {
                let is_shown = self.is_full || SHOWN.contains(&name.as_str());
                let change = self.fields.entry(name.clone()).or_default();
                change.add(call, before, after, is_shown);
            }
        }
    }

    /// Writes the account.
    ///
    /// # Errors
    /// Whatever `output` fails with.
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
        for reject in &self.rejects {
            writeln!(output, "  {}", printable(&reject.to_string()))?;
        }
        writeln!(
            output,
            "dead: {} under the old config, {} under this one",
            self.dead_before, self.dead_after
        )?;
        self.dead.write(output, "dead")?;
        if self.late + self.expired > 0 {
            writeln!(
                output,
                "by their age, if they left now: {} would be late (delivery.late_after), {} would \
                 expire (delivery.max_age)",
                self.late, self.expired
            )?;
        }
        for (name, change) in &self.fields {
            change.write(output, name)?;
        }
        output.flush()
    }
}

impl std::fmt::Display for Reject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let (Some(file), Some(line)) = (&self.file, self.line) {
            write!(f, "{file}:{line}: ")?;
        }
        write!(f, "rejected: {}", self.error)
    }
}

fn made(transform: &Transform, line: &[u8], fixed: Fixed) -> Made {
    match transform.payload(line, fixed, None, &|_| false) {
        // It was written as JSON a moment ago.
        Ok(payload) => serde_json::from_slice(&payload.json).or(Err("unreadable")),
        Err(unsendable) => Err(unsendable.why.reason().unwrap_or("rejected")),
    }
}

impl Change {
    fn add(
        &mut self,
        call: &Call<'_>,
        before: Option<&Value>,
        after: Option<&Value>,
        is_shown: bool,
    ) {
        let (count, kind) = match (before, after) {
            (None, _) => (&mut self.added, "added"),
            (_, None) => (&mut self.removed, "removed"),
            _ => (&mut self.other_value, "other_value"),
        };
        *count += 1;
        if self.example.is_empty() {
            self.example = call.message_id.to_string();
        }
        self.examples.entry(kind).or_insert_with(|| Example {
            message_id: call.message_id.to_string(),
            before: Shown::of(before, is_shown),
            after: Shown::of(after, is_shown),
        });
    }

    /// One line for each kind of change.
    fn write(&self, output: &mut impl Write, name: &str) -> io::Result<()> {
        for (kind, count, said) in [
            ("added", self.added, "added"),
            ("removed", self.removed, "removed"),
            ("other_value", self.other_value, "with another value"),
        ] {
            let Some(example) = self.examples.get(kind) else {
                continue;
            };
            // Keys of custom properties and messageIds are the events' own.
            let (name, id) = (printable(name), printable(&example.message_id));
            let (before, after) = (&example.before, &example.after);
            writeln!(
                output,
                "  {name:<28} {count} {said}, like {id}: {before} → {after}"
            )?;
        }
        Ok(())
    }
}

impl Shown {
    fn of(value: Option<&Value>, is_shown: bool) -> Self {
        match value {
            None => Self::Missing,
            Some(value) if is_shown => Self::Value {
                value: value.clone(),
            },
            Some(value) => Self::Shape {
                shape: shape(value),
            },
        }
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("-"),
            Self::Value { value } => f.write_str(&escaped(&value.to_string())),
            Self::Shape { shape } => write!(f, "({shape})"),
        }
    }
}

/// What kind of value it is and how long, and nothing of what it says.
fn shape(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "true or false".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(text) => format!("text, {} characters", text.chars().count()),
        Value::Array(items) => match &items[..] {
            [one] => format!("list of 1: {}", shape(one)),
            items => format!("list of {}", items.len()),
        },
        Value::Object(members) => format!("object, {} members", members.len()),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_shape_says_nothing_of_what_it_is_of() {
        for (value, told) in [
            (json!("ada@example.com"), "text, 15 characters"),
            (json!(["ada@example.com"]), "list of 1: text, 15 characters"),
            (json!(["a", "b"]), "list of 2"),
            (json!({"a": 1}), "object, 1 members"),
            (json!(42), "number"),
            (json!(true), "true or false"),
        ] {
            assert_eq!(shape(&value), told);
        }
    }
}
