//! `--explain`: an event's payload field by field, for people or programs.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use super::super::text::{json, printable};
use super::lines::checked;
use super::trial::{Aged, Came, Trial};
use crate::note::Note;
use crate::transform::{Explanation, Field};

/// How it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// For programs.
    pub is_json: bool,
    /// Only the fields that are sent, and the notes.
    pub is_brief: bool,
}

/// What is explained of one event.
#[derive(Serialize)]
struct Explained {
    #[serde(flatten)]
    of: Explanation,
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<Aged>,
}

/// The same with `--brief`.
#[derive(Serialize)]
struct Brief<'a> {
    #[serde(rename = "messageId")]
    message_id: &'a str,
    kind: &'a str,
    dead: Option<&'a str>,
    reason: Option<&'a str>,
    fields: Vec<Sent<'a>>,
    #[serde(skip_serializing_if = "<[Note]>::is_empty")]
    notes: &'a [Note],
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<Aged>,
}

#[derive(Serialize)]
struct Sent<'a> {
    field: &'a str,
    value: &'a Value,
}

/// Explains one line; a line that the socket would not take, or ignores, is explanation as such,
/// with its place.
///
/// # Errors
/// Whatever `output` fails with.
pub(super) fn write(
    output: &mut impl Write,
    trial: &Trial<'_>,
    came: Came<'_>,
    form: Form,
) -> io::Result<()> {
    let place = came.place;
    match (explained(trial, came), form.is_json) {
        (Ok(explained), true) if form.is_brief => {
            writeln!(output, "{}", serde_json::to_string(&brief(&explained))?)
        }
        (Ok(explained), true) => writeln!(output, "{}", serde_json::to_string(&explained)?),
        (Err(why), true) => {
            let mut told = serde_json::json!({ "not_sent": why });
            if let Some(place) = place {
                (told["file"], told["line"]) = (place.name.into(), place.number.into());
            }
            writeln!(output, "{told}")
        }
        (Ok(explained), false) => people(output, &explained, form.is_brief),
        (Err(why), false) => match place {
            Some(place) => writeln!(output, "{}: {why}\n", printable(&place.to_string())),
            None => writeln!(output, "{why}\n"),
        },
    }
}

fn explained(trial: &Trial<'_>, came: Came<'_>) -> Result<Explained, String> {
    let rejected = |invalid| format!("rejected: {invalid}");
    let mut room = Vec::new();
    let (line, call, repaired) = checked(came.line, &mut room).map_err(rejected)?;
    if let Some(kind) = call.kind.ignored() {
        return Err(format!("ignored: {kind} is not forwarded"));
    }
    if let Some(refusal) = trial.refusal(came.when, call.kind, line) {
        let (reason, rule) = (refusal.reason.name(), printable(&refusal.rule));
        return Err(format!("ignored: {reason}, by {rule}"));
    }
    let fixed = came.when.of(&call);
    let mut of = trial.transform.explain(line, fixed).map_err(rejected)?;
    if let Some(note) = repaired {
        of.notes.insert(0, note);
    }
    // What is dead already does not die of its age.
    let age = trial.age(came.when, fixed).filter(|_| of.dead.is_none());
    Ok(Explained { of, age })
}

fn brief(explained: &Explained) -> Brief<'_> {
    let of = &explained.of;
    let sent = of.fields.iter().filter(|field| !field.value.is_null());
    Brief {
        message_id: &of.message_id,
        kind: of.kind,
        dead: of.dead.as_deref(),
        reason: of.reason,
        fields: sent
            .map(|field| Sent {
                field: &field.field,
                value: &field.value,
            })
            .collect(),
        notes: &of.notes,
        age: explained.age,
    }
}

fn people(output: &mut impl Write, explained: &Explained, is_brief: bool) -> io::Result<()> {
    let explanation = &explained.of;
    writeln!(
        output,
        "{} {}",
        explanation.kind,
        printable(&explanation.message_id)
    )?;
    if let Some(dead) = &explanation.dead {
        let reason = explanation.reason.unwrap_or_default();
        writeln!(
            output,
            "  would be a dead letter ({reason}): {}",
            printable(dead)
        )?;
    }
    if let Some(age) = explained.age {
        writeln!(output, "  {age}")?;
    }
    match is_brief {
        true => in_brief(output, explanation)?,
        false => in_full(output, explanation)?,
    }
    writeln!(output)
}

/// The fields that are sent, and the notes of all.
fn in_brief(output: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    let fields = explanation.fields.iter();
    for field in fields.filter(|field| !field.value.is_null()) {
        value(output, field)?;
    }
    for note in &explanation.notes {
        writeln!(output, "  {}", in_words(note))?;
    }
    Ok(())
}

fn value(output: &mut impl Write, field: &Field) -> io::Result<()> {
    let value = match &field.value {
        Value::Null => "-".to_owned(),
        value => json(&value.to_string()),
    };
    writeln!(output, "  {:<28} {value}", printable(&field.field))
}

fn in_words(note: &Note) -> String {
    let word = note.word.name();
    if note.field == "line" {
        return format!("note, {word}: the line {}", note.reason);
    }
    let path = note.path.to_string();
    format!("note, {word}: {} {}", printable(&path), note.reason)
}

/// Every field, and where it comes from.
fn in_full(output: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    for field in &explanation.fields {
        value(output, field)?;
        for part in parts(field) {
            writeln!(output, "      {part}")?;
        }
    }
    for note in &explanation.mappings {
        let (number, source, field) = (note.number, &note.source, &note.field);
        writeln!(
            output,
            "  mappings[{number}] {source} -> {field}: {}",
            note.outcome
        )?;
    }
    let notes = &explanation.notes;
    for note in notes.iter().filter(|note| note.field == "line") {
        writeln!(output, "  {}", in_words(note))?;
    }
    match notes.len() {
        0 => Ok(()),
        1 => writeln!(output, "  1 note"),
        count => writeln!(output, "  {count} notes"),
    }
}

/// Where a field comes from, in lines.
fn parts(field: &Field) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(number) = field.mapping {
        let instead = match &field.source {
            Some(source) => format!(", instead of {source}"),
            None => String::new(),
        };
        parts.push(format!("by mappings[{number}]{instead}"));
    } else if let (Some(source), None) = (&field.source, &field.omitted) {
        parts.push(format!("from {source}"));
    }
    if let Some(why) = &field.omitted {
        parts.push(format!("omitted: {why}"));
    }
    parts.extend(field.notes.iter().map(in_words));
    // Sources that failed alike stand in one line.
    for alike in field.tried.chunk_by(|a, b| a.why == b.why) {
        let sources: Vec<&str> = alike.iter().map(|tried| &*tried.source).collect();
        parts.push(format!("tried {}: {}", sources.join(", "), alike[0].why));
    }
    parts
}
