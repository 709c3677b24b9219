//! `--explain`: an event's payload field by field, for people or programs.

use std::io::{self, Write};

use serde_json::Value;

use super::super::text::{json, printable};
use crate::event::check;
use crate::transform::{Explanation, Field, Transform};

/// Explains one line; a line that the socket would not take, or ignores, is explanation as such.
pub(super) fn write(
    output: &mut impl Write,
    line: &[u8],
    transform: &Transform,
    now_seconds: i64,
    json: bool,
) -> io::Result<()> {
    let ignored = check(line).ok().and_then(|call| call.kind.ignored());
    let explanation = match ignored {
        Some(kind) => Err(format!("ignored: {kind} is not forwarded")),
        None => transform
            .explain(line, now_seconds)
            .map_err(|invalid| format!("rejected: {invalid}")),
    };
    match (explanation, json) {
        (Ok(explanation), true) => writeln!(output, "{}", serde_json::to_string(&explanation)?),
        (Err(why), true) => writeln!(output, "{}", serde_json::json!({ "not_sent": why })),
        (Ok(explanation), false) => people(output, &explanation),
        (Err(why), false) => writeln!(output, "{why}\n"),
    }
}

fn people(output: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    writeln!(
        output,
        "{} {}",
        explanation.kind,
        printable(&explanation.message_id)
    )?;
    if let Some(dead) = &explanation.dead {
        writeln!(output, "  would be a dead letter (no_match_key): {dead}")?;
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
    // Sources that failed alike stand in one line.
    for alike in field.tried.chunk_by(|a, b| a.why == b.why) {
        let sources: Vec<&str> = alike.iter().map(|tried| tried.source).collect();
        parts.push(format!("tried {}: {}", sources.join(", "), alike[0].why));
    }
    parts
}
