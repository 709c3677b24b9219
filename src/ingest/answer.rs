//! Answers: one JSON object per event, in order, in lines or in a list. `queued`, `duplicate` and
//! `revived` can only be written from a receipt.

use crate::event::Invalid;
use crate::queue::{QueueError, Receipt};

/// What a client is told once the queue takes nothing more.
const STOPPED: &str = "the queue has stopped; send again after the restart";

/// About what stands around a messageId in an answer.
const FRAME: usize = 40;

/// What will be answered, in the order of the lines.
#[derive(Default)]
pub(super) struct Answers {
    /// Texts of the answers, one after the other; of stored events only the messageId.
    text: Vec<u8>,
    due: Vec<Due>,
}

struct Due {
    /// Where the text of this answer ends.
    end: usize,
    /// The answer depends on the receipt of the next event of the block.
    stored: bool,
}

impl Answers {
    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    /// About how many bytes they will be on the wire.
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + self.due.len() * FRAME
    }

    /// An event that waits for its receipt.
    pub(super) fn stored(&mut self, message_id: &str) {
        self.json(message_id);
        self.end(true);
    }

    /// A call that is accepted and not stored; the rule that keeps it back.
    pub(super) fn ignored(&mut self, message_id: &str, reason: &str, rule: Option<&str>) {
        self.text
            .extend_from_slice(br#"{"status":"ignored","messageId":"#);
        self.json(message_id);
        self.text.extend_from_slice(br#","reason":"#);
        self.json(reason);
        if let Some(rule) = rule {
            self.text.extend_from_slice(br#","rule":"#);
            self.json(rule);
        }
        self.text.push(b'}');
        self.end(false);
    }

    /// Line number `line` (from 1; in a list, the event at that place) is not taken.
    pub(super) fn rejected(&mut self, line: u64, why: &Invalid) {
        let head = format!(r#"{{"status":"rejected","line":{line},"error":"#);
        self.text.extend_from_slice(head.as_bytes());
        self.json(&why.to_string());
        self.text.push(b'}');
        self.end(false);
    }

    fn json(&mut self, text: &str) {
        // Unwrap safety: writing a string into memory does not fail.
        serde_json::to_writer(&mut self.text, text).expect("a string into memory");
    }

    fn end(&mut self, stored: bool) {
        self.due.push(Due {
            end: self.text.len(),
            stored,
        });
    }

    /// One answer in a line. Without receipts the events of the block are `unavailable`: not
    /// acknowledged. Where the queue has stopped, a group that was being written may be on disk
    /// all the same; sent again, its events are then `duplicate`.
    ///
    /// `None`: there are fewer receipts than events, so nothing can be said of them.
    pub(super) fn lines(self, receipts: Result<Vec<Receipt>, QueueError>) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(self.bytes());
        self.write(receipts, &mut out, b"\n")?;
        Some(out)
    }

    /// The same behind one another, with a comma behind each: a part of a list.
    pub(super) fn members(
        self,
        receipts: Result<Vec<Receipt>, QueueError>,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        self.write(receipts, out, b",")
    }

    fn write(
        self,
        receipts: Result<Vec<Receipt>, QueueError>,
        out: &mut Vec<u8>,
        behind: &[u8],
    ) -> Option<()> {
        let (receipts, unavailable) = match receipts {
            Ok(receipts) => (receipts, None),
            Err(QueueError::Unavailable(why)) => (Vec::new(), Some(why)),
            // Why storage failed is the log's to tell.
            Err(QueueError::Stopped(_) | QueueError::TurnOver) => {
                (Vec::new(), Some(STOPPED.to_owned()))
            }
        };
        let mut receipts = receipts.into_iter();
        let mut from = 0;
        for due in &self.due {
            let text = &self.text[from..due.end];
            from = due.end;
            if !due.stored {
                out.extend_from_slice(text);
                out.extend_from_slice(behind);
                continue;
            }
            if let Some(why) = &unavailable {
                out.extend_from_slice(br#"{"status":"unavailable","error":"#);
                // Unwrap safety: writing a string into memory does not fail.
                serde_json::to_writer(&mut *out, why).expect("a string into memory");
                out.push(b'}');
                out.extend_from_slice(behind);
                continue;
            }
            let (status, end): (&[u8], &[u8]) = match receipts.next()? {
                Receipt::Queued => (br#"{"status":"queued","messageId":"#, b"}"),
                Receipt::Duplicate => (br#"{"status":"duplicate","messageId":"#, b"}"),
                Receipt::Retried => (br#"{"status":"queued","messageId":"#, b",\"revived\":true}"),
            };
            out.extend_from_slice(status);
            out.extend_from_slice(text);
            out.extend_from_slice(end);
            out.extend_from_slice(behind);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Answers {
        let mut answers = Answers::default();
        answers.stored("a\"1");
        answers.ignored("b", "identify", None);
        answers.rejected(3, &Invalid::NotObject);
        answers.stored("c");
        answers.stored("d");
        answers
    }

    #[test]
    fn answers_come_in_order_and_receipts_decide_the_stored_ones() {
        let receipts = vec![Receipt::Queued, Receipt::Duplicate, Receipt::Retried];
        let text = String::from_utf8(sample().lines(Ok(receipts)).unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], r#"{"status":"queued","messageId":"a\"1"}"#);
        assert_eq!(
            lines[1],
            r#"{"status":"ignored","messageId":"b","reason":"identify"}"#
        );
        assert!(lines[2].starts_with(r#"{"status":"rejected","line":3,"error":"not an object"#));
        assert_eq!(lines[3], r#"{"status":"duplicate","messageId":"c"}"#);
        assert_eq!(
            lines[4],
            r#"{"status":"queued","messageId":"d","revived":true}"#
        );
        assert_eq!(lines.len(), 5);
    }

    #[test]
    fn in_a_list_they_are_the_same() {
        let receipts = || Ok(vec![Receipt::Queued, Receipt::Duplicate, Receipt::Retried]);
        let lines = String::from_utf8(sample().lines(receipts()).unwrap()).unwrap();
        let mut list = b"[".to_vec();
        sample().members(receipts(), &mut list).unwrap();
        list.pop();
        list.push(b']');
        let of_lines: Vec<serde_json::Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let of_list: Vec<serde_json::Value> = serde_json::from_slice(&list).unwrap();
        assert_eq!(of_list, of_lines);
        assert!(sample().lines(Ok(vec![Receipt::Queued])).is_none());
    }

    #[test]
    fn without_receipts_nothing_claims_to_be_stored() {
        let full = Err(QueueError::Unavailable("disk".into()));
        let text = String::from_utf8(sample().lines(full).unwrap()).unwrap();
        assert_eq!(
            text.matches(r#"{"status":"unavailable","error":"disk"}"#)
                .count(),
            3
        );
        assert!(!text.contains("queued"));
        let stopped = Err(QueueError::Stopped("/a/path: an error".into()));
        let text = String::from_utf8(sample().lines(stopped).unwrap()).unwrap();
        assert_eq!(
            text.matches(r#""unavailable","error":"the queue"#).count(),
            3
        );
        assert!(!text.contains("a/path"), "why is the operator's to know");
    }
}
