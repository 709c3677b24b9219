//! What was found, and how it is rendered.

use std::io::{self, Write};

use super::super::screen::{Screen, Tone};
use super::super::text::out;

/// One thing looked at.
#[derive(Debug, PartialEq, Eq)]
pub enum Finding {
    /// As it should be.
    Fine(String),
    /// It runs so, but the operator should know.
    Advice(String),
    /// It does not run so.
    Wrong(String),
}

impl Finding {
    /// What it is called, and its text.
    pub(super) fn labelled(&self) -> (&'static str, &str) {
        match self {
            Self::Fine(text) => ("ok", text),
            Self::Advice(text) => ("advice", text),
            Self::Wrong(text) => ("wrong", text),
        }
    }

    const fn tone(&self) -> Tone {
        match self {
            Self::Fine(_) => Tone::Good,
            Self::Advice(_) => Tone::Warning,
            Self::Wrong(_) => Tone::Alarm,
        }
    }

    pub(super) fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong(_))
    }
}

fn wrong(findings: &[Finding]) -> usize {
    findings.iter().filter(|f| f.is_wrong()).count()
}

/// For people; how many are wrong.
pub fn print(findings: &[Finding]) -> io::Result<usize> {
    let (mut out, screen) = (out(false), Screen::of_stdout());
    for finding in findings {
        let (word, text) = finding.labelled();
        let line = screen.wrapped(&format!("{word:<7} {text}"), 8);
        writeln!(out, "{}", screen.toned(&line, word, Some(finding.tone())))?;
    }
    let wrong = wrong(findings);
    match wrong {
        0 => writeln!(out, "The daemon can run with this."),
        1 => writeln!(out, "One thing is wrong."),
        n => writeln!(out, "{n} things are wrong."),
    }?;
    Ok(wrong)
}

/// For programs; how many are wrong.
pub(super) fn print_json(findings: &[Finding]) -> io::Result<usize> {
    let wrong = wrong(findings);
    let rendered = findings.iter().map(|finding| {
        let (kind, text) = finding.labelled();
        serde_json::json!({ "kind": kind, "text": text })
    });
    let rendered: Vec<_> = rendered.collect();
    let answer = serde_json::json!({ "ok": wrong == 0, "findings": rendered });
    writeln!(out(true), "{answer}")?;
    Ok(wrong)
}
