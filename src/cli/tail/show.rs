//! One line of `tail` for people. Pure: time and zone are passed in.

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use crate::admin::Seen;
use crate::cli::text::{json, printable};
use crate::clock::Millis;
use crate::moment::precise;
use crate::observe::Told;

/// One line, and in full two more.
pub(super) fn show(seen: &Seen, now: Millis, zone: &TimeZone, in_words: bool) -> String {
    if let Some(missed) = seen.missed {
        return format!("… {missed} events passed unseen: this tail was slow");
    }
    let mut line = format!("{} {:<11}", precise(seen.at, now, zone), seen.status);
    // A line that is no event has neither.
    if !seen.event.is_empty() {
        let _ = write!(line, " {}", printable(&seen.event));
    }
    if let Some(name) = &seen.event_name {
        let _ = write!(line, " → {}", printable(name));
    }
    match (&seen.id_hash, seen.message_id.as_str()) {
        (Some(hash), "") => {
            let _ = write!(line, "  #{}", printable(hash));
        }
        (None, "") => {}
        (_, id) => {
            let _ = write!(line, "  {}", printable(id));
        }
    }
    let why = [&seen.reason, &seen.message].into_iter().flatten();
    let why: Vec<_> = why.map(|words| printable(words)).collect();
    if !why.is_empty() {
        let _ = write!(line, "  {}", why.join(": "));
    }
    match (seen.notes.len(), in_words) {
        (0, _) => {}
        (count, false) => {
            let _ = write!(line, "  *{count}");
        }
        (_, true) => {
            for note in &seen.notes {
                let _ = write!(line, "\n    {}", note_line(note));
            }
        }
    }
    for (name, value) in [("line", &seen.line), ("payload", &seen.payload)] {
        if let Some(value) = value {
            let _ = write!(line, "\n    {name:<8}{}", json(&value.to_string()));
        }
    }
    line
}

/// One note for people.
pub fn note_line(note: &Told) -> String {
    let path = match note.path.as_str() {
        "" => "the line",
        path => path,
    };
    let (field, word) = (printable(&note.field), printable(&note.word));
    format!(
        "note, {field} {word}: {} {}",
        printable(path),
        printable(&note.reason)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_what_which_and_why() {
        let seen = Seen {
            at: 784_111_777_042,
            status: "dead".into(),
            message_id: "m-1\u{1b}[2J".into(),
            event: "Order Completed".into(),
            event_name: Some("checkout".into()),
            reason: Some("refused".into()),
            message: Some("no user_data".into()),
            ..Seen::default()
        };
        assert_eq!(
            show(&seen, seen.at, &TimeZone::UTC, false),
            "08:49:37.042Z dead        Order Completed → checkout  m-1·[2J  refused: no user_data"
        );
        let missed = Seen {
            missed: Some(7),
            ..Seen::default()
        };
        assert!(show(&missed, 0, &TimeZone::UTC, false).contains("7 events passed unseen"));
        // Of what is remembered there is no messageId to show.
        let remembered = Seen {
            message_id: String::new(),
            event: String::new(),
            event_name: None,
            remembered: true,
            id_hash: Some("00ff".into()),
            ..seen
        };
        assert_eq!(
            show(&remembered, remembered.at, &TimeZone::UTC, false),
            "08:49:37.042Z dead         #00ff  refused: no user_data"
        );
    }
}
