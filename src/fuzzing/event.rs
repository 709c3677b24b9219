//! What holds of the socket's check and the tree.

use serde_json::Value;

use crate::event::{self, Arena, Invalid, Kind, MAX_MESSAGE_ID_BYTES, Node, time};

/// serde_json's own key for a number, which its `Value` takes for one from a client too.
const NUMBER_KEY: &str = "$serde_json::private::Number";

/// `check` and `parse` call the same lines JSON, those that serde_json does; they read the same
/// kind, messageId and time out of them; the tree says what serde_json reads and is written
/// back without a change; a refusal quotes nothing.
pub fn event(line: &[u8]) {
    let arena = Arena::default();
    let (call, tree) = (event::check(line), event::parse(&arena, line));
    let foreign = String::from_utf8_lossy(line).contains("private::Number");
    let value = serde_json::from_slice::<Value>(line);
    if !foreign {
        assert_eq!(tree.is_ok(), value.is_ok(), "JSON or not");
    }
    let tree = match tree {
        Ok(tree) => tree,
        Err(error) => {
            assert!(call == Err(error.clone()), "two refusals");
            assert!(matches!(error, Invalid::Utf8 { .. } | Invalid::Json { .. }));
            quotes_nothing(&error);
            return repaired(line, error);
        }
    };
    let written = serde_json::to_vec(&tree).expect("a tree is JSON");
    let again = event::parse(&arena, &written).expect("what was written is JSON");
    let rewritten = serde_json::to_vec(&again).expect("a tree is JSON");
    assert_eq!(written, rewritten, "written twice");
    if let (Ok(value), false) = (value, foreign) {
        let back = serde_json::from_slice::<Value>(&written).expect("what was written is JSON");
        assert_eq!(back, value, "the tree says something else");
    }
    match call {
        Ok(call) => {
            assert!(tree.is_object());
            assert_eq!(tree.at("messageId").as_str(), Some(&*call.message_id));
            assert!(!call.message_id.trim().is_empty());
            assert!(call.message_id.len() <= MAX_MESSAGE_ID_BYTES);
            assert_eq!(tree.at("type").as_str(), Some(call.kind.name()));
            if call.kind == Kind::Track {
                let name = tree.at("event").as_str();
                assert!(name.is_some_and(|name| !name.trim().is_empty()));
            }
            assert_eq!(call.event_time(NOW), event_time(&tree));
        }
        Err(error) => {
            assert!(!matches!(
                error,
                Invalid::Utf8 { .. } | Invalid::Json { .. }
            ));
            quotes_nothing(&error);
        }
    }
}

/// What damaged text alone made invalid is taken once it is repaired, and then is well.
fn repaired(line: &[u8], why: Invalid) {
    match event::repair(line, why) {
        Ok(repaired) => {
            assert!(event::check(&repaired).is_ok());
            let marks = String::from_utf8_lossy(&repaired)
                .matches('\u{fffd}')
                .count();
            assert!(marks > 0);
        }
        Err(error) => quotes_nothing(&error),
    }
}

/// A moment of acceptance, in Unix seconds.
const NOW: i64 = 1_700_000_000;

fn event_time(tree: &Node<'_>) -> i64 {
    let read = |at: usize| tree.at(time::PATHS[at]).as_time();
    let chosen = time::choose(NOW, read, |_, _| ()).or_accepted(NOW);
    assert!(chosen == NOW || (time::EARLIEST..=NOW + 600).contains(&chosen));
    chosen
}

/// The words of a refusal are ours and the parser's: of one line's length, in plain ASCII.
fn quotes_nothing(error: &Invalid) {
    let words = error.to_string();
    assert!(words.len() < 160 && words.is_ascii(), "{words}");
    assert!(!words.contains(NUMBER_KEY), "{words}");
}
