//! The customer's choices, as Chord attaches them to each event: category → whether it is granted.

use crate::event::Node;

/// The category that limited data processing is about.
pub const SALE_OF_DATA: &str = "sale_of_data";

/// Where the choices stand.
pub(super) const PATH: [&str; 3] = ["context", "consent", "categoryPreferences"];

/// What an event says of one category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// `true`.
    Granted,
    /// `false`.
    Refused,
    /// The choices are there and do not name it.
    Unnamed,
    /// The event carries no choices: they are not there, or null.
    Missing,
    /// What stands there is no choice that can be read.
    Unreadable,
}

/// The choice for a category, whose name is compared without regard to case. Of several that are
/// alike the strictest counts.
pub fn choice(root: &Node<'_>, category: &str) -> Choice {
    let mut at = root;
    for key in PATH {
        at = at.at(key);
        match at {
            Node::Object(_) => {}
            Node::Null => return Choice::Missing,
            // What stands there says something, and nobody knows what.
            _ => return Choice::Unreadable,
        }
    }
    let wanted = category.trim().to_lowercase();
    let named = at
        .members()
        .filter(|(name, _)| name.trim().to_lowercase() == wanted);
    let said = named.map(|(_, value)| match value {
        Node::Bool(true) => Choice::Granted,
        Node::Bool(false) => Choice::Refused,
        _ => Choice::Unreadable,
    });
    // A refusal is certain; what cannot be read is not consent.
    let strictness = |choice: &Choice| match choice {
        Choice::Refused => 2,
        Choice::Unreadable => 1,
        _ => 0,
    };
    said.max_by_key(strictness).unwrap_or(Choice::Unnamed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Arena, parse};

    #[test]
    fn what_an_event_says_of_a_category() {
        for (consent, said) in [
            (
                r#"{"categoryPreferences":{"marketing":true}}"#,
                Choice::Granted,
            ),
            (
                r#"{"categoryPreferences":{" Marketing ":true,"x":7}}"#,
                Choice::Granted,
            ),
            (
                r#"{"categoryPreferences":{"marketing":false}}"#,
                Choice::Refused,
            ),
            (
                r#"{"categoryPreferences":{"marketing":true,"MARKETING":false}}"#,
                Choice::Refused,
            ),
            (
                r#"{"categoryPreferences":{"marketing":false,"marketing":true}}"#,
                Choice::Granted,
            ),
            (
                r#"{"categoryPreferences":{"analytics":true}}"#,
                Choice::Unnamed,
            ),
            (
                r#"{"categoryPreferences":{"marketing":"true"}}"#,
                Choice::Unreadable,
            ),
            (
                r#"{"categoryPreferences":{"marketing":null}}"#,
                Choice::Unreadable,
            ),
            (
                r#"{"categoryPreferences":["marketing"]}"#,
                Choice::Unreadable,
            ),
            (r#"{"categoryPreferences":"marketing"}"#, Choice::Unreadable),
            (r#""granted""#, Choice::Unreadable),
            ("true", Choice::Unreadable),
            (r#"{"categoryPreferences":{}}"#, Choice::Unnamed),
            (r#"{"categoryPreferences":[]}"#, Choice::Unreadable),
            (r#"{"categoryPreferences":" "}"#, Choice::Unreadable),
            ("[]", Choice::Unreadable),
            (r#"{"categoryPreferences":null}"#, Choice::Missing),
            ("{}", Choice::Missing),
            ("null", Choice::Missing),
        ] {
            let line = format!(r#"{{"context":{{"consent":{consent}}}}}"#);
            let arena = Arena::default();
            let root = parse(&arena, line.as_bytes()).ok().unwrap();
            assert_eq!(choice(&root, "marketing"), said, "{consent}");
        }
        let arena = Arena::default();
        let bare = |line: &'static str| choice(&parse(&arena, line.as_bytes()).ok().unwrap(), "a");
        assert_eq!(bare("{}"), Choice::Missing);
        assert_eq!(bare(r#"{"context":7}"#), Choice::Unreadable);
    }
}
