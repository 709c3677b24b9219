//! The destination's messages, made comparable and fit for a log.

use crate::text::printable;

/// Longest message that is compared, logged or shown.
const LONGEST: usize = 200;

/// What is left of a message without ids and values: quoted text, numbers, mail addresses,
/// and every word that stands as a value in the event's own JSON. Messages that differ only
/// in those come out alike, and no personal data comes out at all.
///
/// `json`: the event the message speaks of, or nothing.
pub fn normalise(message: &str, message_id: &str, json: &[u8]) -> String {
    let message = if message_id.len() < 3 {
        message.to_owned()
    } else {
        message.replace(message_id, "…")
    };
    let mut out = String::with_capacity(message.len());
    for word in unquoted(&message).split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        let bare = word.trim_matches(|c: char| c.is_ascii_punctuation());
        if word.contains('@') || is_id(bare) || is_value(bare, json) {
            out.push('…');
        } else {
            push_without_digits(&mut out, word);
        }
        if out.len() > LONGEST {
            break;
        }
    }
    if let Some((at, _)) = out.char_indices().nth(LONGEST) {
        out.truncate(at);
    }
    printable(&out)
}

/// Puts `…` in the place of what stands in quotes. An apostrophe inside a word opens none.
fn unquoted(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((at, quote)) = opening_quote(rest) {
        let inside = &rest[at + 1..];
        let Some(len) = inside.find(quote) else {
            break;
        };
        out.push_str(&rest[..at]);
        out.push('…');
        rest = &inside[len + 1..];
    }
    out.push_str(rest);
    out
}

fn opening_quote(text: &str) -> Option<(usize, char)> {
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        if matches!(c, '\'' | '"' | '`') && !before.is_alphanumeric() {
            return Some((at, c));
        }
        before = c;
    }
    None
}

/// A long word of letters and digits mixed, such as a UUID, a hash or an order number.
fn is_id(word: &str) -> bool {
    word.len() >= 12 && word.bytes().any(|b| b.is_ascii_digit())
}

/// Whether the word stands in the JSON as a whole string that is a value, not a key.
fn is_value(word: &str, json: &[u8]) -> bool {
    if word.len() < 2 || json.is_empty() {
        return false;
    }
    let quoted = format!("\"{word}\"");
    let quoted = quoted.as_bytes();
    json.windows(quoted.len())
        .enumerate()
        .any(|(at, window)| window == quoted && json.get(at + quoted.len()) != Some(&b':'))
}

fn push_without_digits(out: &mut String, word: &str) {
    let mut in_number = false;
    for c in word.chars() {
        let digit = c.is_ascii_digit();
        if !digit {
            out.push(c);
        } else if !in_number {
            out.push('#');
        }
        in_number = digit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_differ_in_values_alone_come_out_alike() {
        let json =
            br#"{"event_id":"m-9","user_data":{"em":["jo"]},"custom_data":{"currency":"EUR"}}"#;
        for (message, expected) in [
            ("'-1' is too short - 'data'", "… is too short - …"),
            (
                "Invalid event_name: \"Foo Bar\". Use a supported one",
                "Invalid event_name: …. Use a supported one",
            ),
            ("currency EUR is not accepted", "currency … is not accepted"),
            ("event m-9 of 1700000000 refused", "event … of # refused"),
            ("mail jo.doe@example.com is wrong", "mail … is wrong"),
            (
                "couldn't use it, isn't valid",
                "couldn't use it, isn't valid",
            ),
            ("id 9f86d081-884c-7d65 unknown", "id … unknown"),
            ("an 'open quote", "an 'open quote"),
            ("a\u{1b}[2J \u{202e}b\u{7}", "a·[#J ·b·"),
            ("", ""),
        ] {
            assert_eq!(normalise(message, "m-9", json), expected);
        }
        let key = "currency has the wrong type";
        assert_eq!(normalise(key, "m-9", json), key, "a key is no value");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let long = normalise(&"é".repeat(5000), "", b"");
        assert_eq!(long.chars().count(), LONGEST);
    }
}
