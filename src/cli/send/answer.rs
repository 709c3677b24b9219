//! The daemon's answers, one JSON object per line.

use serde::Deserialize;

/// What the daemon said of one line.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is safe on disk.
    Queued,
    /// Its messageId was accepted before.
    Duplicate,
    /// It is of a kind that is not forwarded.
    Ignored,
    /// It is not an event; why.
    Rejected(String),
    /// The daemon is short of disk; the line has to come again.
    Unavailable(String),
}

#[derive(Deserialize)]
struct Wire {
    status: String,
    #[serde(default)]
    error: String,
}

/// Reads one answer; `None` if it is none of the protocol's.
pub fn parse(line: &[u8]) -> Option<Answer> {
    // Nearly every answer is one of these two, in this very shape.
    if line.starts_with(br#"{"status":"queued","#) {
        return Some(Answer::Queued);
    }
    if line.starts_with(br#"{"status":"duplicate","#) {
        return Some(Answer::Duplicate);
    }
    let wire: Wire = serde_json::from_slice(line).ok()?;
    Some(match wire.status.as_str() {
        "queued" => Answer::Queued,
        "duplicate" => Answer::Duplicate,
        "ignored" => Answer::Ignored,
        "rejected" => Answer::Rejected(wire.error),
        "unavailable" => Answer::Unavailable(wire.error),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_of_the_protocol() {
        let parsed = |text: &str| parse(text.as_bytes());
        let queued = [
            r#"{"status":"queued","messageId":"a"}"#,
            r#"{"status":"queued","messageId":"a","revived":true}"#,
            r#"{"messageId":"a","status":"queued"}"#,
            r#"{ "status": "queued" }"#,
        ];
        for text in queued {
            assert_eq!(parsed(text), Some(Answer::Queued), "{text}");
        }
        assert_eq!(
            parsed(r#"{"status":"duplicate","messageId":"a"}"#),
            Some(Answer::Duplicate)
        );
        assert_eq!(
            parsed(r#"{"status":"ignored","messageId":"a","reason":"identify"}"#),
            Some(Answer::Ignored)
        );
        assert_eq!(
            parsed(r#"{"status":"rejected","line":17,"error":"no messageId"}"#),
            Some(Answer::Rejected("no messageId".into()))
        );
        assert_eq!(
            parsed(r#"{"status":"unavailable","error":"disk"}"#),
            Some(Answer::Unavailable("disk".into()))
        );
        for odd in [
            "",
            "{}",
            "HTTP/1.1 400",
            r#"{"status":"queuedish"}"#,
            r#"{"status":7}"#,
        ] {
            assert_eq!(parsed(odd), None, "{odd}");
        }
    }
}
