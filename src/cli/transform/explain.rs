//! `--explain`: an event's payload field by field, for people or programs.

use std::borrow::Cow;
use std::io::{self, Write};

use serde_json::Value;

use super::super::text::{json, printable};
use super::lines::When;
use crate::event::{check, sound};
use crate::note::Note;
use crate::transform::{Explanation, Field, Transform};

/// Explains one line; a line that the socket would not take, or ignores, is explanation as such.
pub(super) fn write(
    output: &mut impl Write,
    line: &[u8],
    transform: &Transform,
    when: When,
    json: bool,
) -> io::Result<()> {
    match (explained(line, transform, when), json) {
        (Ok(explanation), true) => writeln!(output, "{}", serde_json::to_string(&explanation)?),
        (Err(why), true) => writeln!(output, "{}", serde_json::json!({ "not_sent": why })),
        (Ok(explanation), false) => people(output, &explanation),
        (Err(why), false) => writeln!(output, "{why}\n"),
    }
}

fn explained(line: &[u8], transform: &Transform, when: When) -> Result<Explanation, String> {
    let rejected = |invalid| format!("rejected: {invalid}");
    let sound = sound(line).map_err(rejected)?;
    let call = check(&sound).map_err(rejected)?;
    if let Some(kind) = call.kind.ignored() {
        return Err(format!("ignored: {kind} is not forwarded"));
    }
    let mut explanation = transform
        .explain(&sound, when.of(&call))
        .map_err(rejected)?;
    if matches!(sound, Cow::Owned(_)) {
        explanation.notes.insert(0, Note::repaired());
    }
    Ok(explanation)
}

fn people(output: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
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
    for field in &explanation.fields {
        let value = match &field.value {
            Value::Null => "-".to_owned(),
            value => json(&value.to_string()),
        };
        writeln!(output, "  {:<28} {value}", printable(&field.field))?;
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
        writeln!(
            output,
            "  note, {}: the line {}",
            note.word.name(),
            note.reason
        )?;
    }
    match notes.len() {
        0 => {}
        1 => writeln!(output, "  1 note")?,
        count => writeln!(output, "  {count} notes")?,
    }
    writeln!(output)
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
    for note in &field.notes {
        let (word, path) = (note.word.name(), note.path.to_string());
        let path = printable(&path);
        parts.push(format!("note, {word}: {path} {}", note.reason));
    }
    // Sources that failed alike stand in one line.
    for alike in field.tried.chunk_by(|a, b| a.why == b.why) {
        let sources: Vec<&str> = alike.iter().map(|tried| tried.source).collect();
        parts.push(format!("tried {}: {}", sources.join(", "), alike[0].why));
    }
    parts
}
