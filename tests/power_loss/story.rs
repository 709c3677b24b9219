//! What clients were told and what Pinterest was sent and said, read from the sockets of the
//! trace, each with its moment.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::letters;
use crate::step::{Act, Step};

/// An answer on the ingest socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Queued,
    Revived,
    Duplicate,
}

/// How a request ended for one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Processed,
    Failed,
    /// The answer says that Pinterest took none.
    NoneTaken,
    /// The answer says nothing about what was taken.
    Unknown,
}

/// One event leaving.
#[derive(Clone, Debug)]
pub struct Sending {
    /// When its first byte left.
    pub at: usize,
    pub name: String,
    /// When the last byte of an answer had come, and what it was.
    pub verdict: Option<(usize, Verdict)>,
}

/// What the operator did to a dead letter: when that was asked, and when its answer left.
#[derive(Default, Debug)]
pub struct Asked {
    pub at: usize,
    pub done: Option<usize>,
}

impl Asked {
    /// Whether it was answered before this moment.
    pub fn is_done(&self, cut: usize) -> bool {
        self.done.is_some_and(|done| done < cut)
    }
}

/// All that is known of one messageId.
#[derive(Default, Debug)]
pub struct Event {
    pub retry: Option<Asked>,
    pub purge: Option<Asked>,
    pub import: Option<Asked>,
    /// When each line of it had been read, and the line.
    pub lines: Vec<(usize, String)>,
    /// When each answer began to leave.
    pub told: Vec<(usize, Told)>,
    pub sent: Vec<Sending>,
}

/// All events, by messageId, and the moments at which the process had stopped in order.
#[derive(Default, Debug)]
pub struct Story {
    pub events: BTreeMap<String, Event>,
    pub ends: Vec<usize>,
    /// From when on the dead letters may have taken so much that some were purged.
    pub purged_from: Option<usize>,
}

#[derive(Default)]
struct Socket {
    got: Vec<u8>,
    sent: Vec<u8>,
    /// When the first byte of what stands in `sent` left.
    begun: usize,
    /// The request that waits for its answer: id and index of the sending.
    asked: Vec<(String, usize)>,
    /// The operator's request that waits for its answer: what, and of whom.
    operated: Vec<(&'static str, String)>,
}

impl Story {
    /// Reads the steps of all lives, in order.
    pub fn read(steps: &[Step]) -> Self {
        let mut story = Self::default();
        let mut sockets: HashMap<&str, Socket> = HashMap::new();
        let mut buried = 0;
        for step in steps {
            match &step.act {
                Act::Write { path, data, .. } if path.starts_with("dead") => {
                    buried += data.len() as u64;
                    if buried > letters::QUOTA / 2 {
                        story.purged_from.get_or_insert(step.end);
                    }
                }
                Act::Got { socket, data } => {
                    let socket = sockets.entry(socket).or_default();
                    socket.got.extend(data);
                    story.got(socket, step.end);
                }
                Act::Sent { socket, data } => {
                    let socket = sockets.entry(socket).or_default();
                    if socket.sent.is_empty() {
                        socket.begun = step.begin;
                    }
                    socket.sent.extend(data);
                    story.sent(socket, step.begin);
                }
                Act::End => {
                    sockets.clear();
                    story.ends.push(step.end);
                }
                _ => {}
            }
        }
        story
    }

    fn event(&mut self, line: &Value) -> Option<&mut Event> {
        let id = line["messageId"].as_str()?;
        Some(self.events.entry(id.to_owned()).or_default())
    }

    fn got(&mut self, socket: &mut Socket, end: usize) {
        if socket.got.starts_with(b"{") {
            // A client's lines.
            while let Some(line) = line(&mut socket.got) {
                let value: Value = serde_json::from_str(&line).expect("the script's own line");
                let event = self.event(&value).expect("a messageId");
                event.lines.push((end, line));
            }
            return;
        }
        while socket.got.starts_with(b"GET /") && head(&mut socket.got).is_some() {}
        if socket.got.starts_with(b"POST /dead/") {
            if let Some((head, body)) = message(&mut socket.got) {
                self.operator(socket, &head, &body, end);
            }
            return;
        }
        // An answer to a request of ours, if we made one on this socket.
        if socket.asked.is_empty() {
            return;
        }
        let Some((head, body)) = message(&mut socket.got) else {
            return;
        };
        let status: u16 = (head.split(' ').nth(1).and_then(|s| s.parse().ok())).expect("a status");
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        let list = match &answer["events"] {
            Value::Array(list) => Some(list),
            _ => answer["details"]["events"].as_array(),
        };
        for (at, (id, sending)) in std::mem::take(&mut socket.asked).into_iter().enumerate() {
            let verdict = match (status, list) {
                (200..=299 | 422, Some(list)) => match list[at]["status"].as_str() {
                    Some("processed") => Verdict::Processed,
                    Some("failed") => Verdict::Failed,
                    other => panic!("a status of an event: {other:?}"),
                },
                (200..=299 | 408 | 500.., _) => Verdict::Unknown,
                _ => Verdict::NoneTaken,
            };
            let event = self.events.get_mut(&id).expect("an event that was sent");
            event.sent[sending].verdict = Some((end, verdict));
        }
    }

    /// The operator asks for something: `retry` and `purge` by one messageId, `import` by lines.
    fn operator(&mut self, socket: &mut Socket, head: &str, body: &[u8], at: usize) {
        let asked = || Some(Asked { at, done: None });
        let ids = head
            .split(['?', '&', ' '])
            .find_map(|part| part.strip_prefix("id="));
        let event = ids.and_then(|id| self.events.get_mut(id).map(|event| (id, event)));
        if let Some((id, event)) = event {
            let what = if head.contains("/dead/purge") {
                self.purged_from.get_or_insert(at);
                event.purge = asked();
                "purge"
            } else {
                event.retry = asked();
                "retry"
            };
            socket.operated.push((what, id.to_owned()));
            return;
        }
        for line in String::from_utf8_lossy(body).lines() {
            let line: Exported<'_> = serde_json::from_str(line).expect("an exported letter");
            let value: Value = serde_json::from_str(line.event.get()).expect("an event");
            let event = self.event(&value).expect("a messageId");
            event.lines.push((at, line.event.get().to_owned()));
            event.import = asked();
            let id = value["messageId"].as_str().unwrap_or_default();
            socket.operated.push(("import", id.to_owned()));
        }
    }

    /// What the operator asked for on this socket is answered.
    fn operated(&mut self, socket: &mut Socket, begin: usize) {
        for (what, id) in socket.operated.drain(..) {
            let event = self.events.get_mut(&id).expect("an event that came in");
            let asked = match what {
                "purge" => &mut event.purge,
                "retry" => &mut event.retry,
                _ => {
                    event.told.push((begin, Told::Revived));
                    &mut event.import
                }
            };
            if let Some(asked) = asked {
                asked.done = Some(begin);
            }
        }
    }

    fn sent(&mut self, socket: &mut Socket, begin: usize) {
        if socket.sent.starts_with(b"HTTP/") {
            // It stays, for its body may follow.
            self.operated(socket, begin);
            return;
        }
        if socket.sent.starts_with(b"{") {
            // Answers to a client.
            while let Some(line) = line(&mut socket.sent) {
                let answer: Value = serde_json::from_str(&line).expect("an answer");
                let told = match answer["status"].as_str() {
                    Some("queued") if answer["revived"] == true => Told::Revived,
                    Some("queued") => Told::Queued,
                    Some("duplicate") => Told::Duplicate,
                    other => panic!("an answer that the script does not ask for: {other:?}"),
                };
                let event = self.event(&answer).expect("a messageId");
                event.told.push((begin, told));
            }
        } else if socket.sent.starts_with(b"POST /v5/") {
            let at = socket.begun;
            let Some((_, body)) = message(&mut socket.sent) else {
                return;
            };
            let request: Value = serde_json::from_slice(&body).expect("a request");
            for event in request["data"].as_array().expect("events") {
                let text = |key: &str| event[key].as_str().expect(key).to_owned();
                let (id, name) = (text("event_id"), text("event_name"));
                let event = self.events.get_mut(&id).expect("an event that came in");
                let verdict = None;
                event.sent.push(Sending { at, name, verdict });
                socket.asked.push((id, event.sent.len() - 1));
            }
        }
    }
}

/// Takes a whole line off the front.
fn line(bytes: &mut Vec<u8>) -> Option<String> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let line: Vec<u8> = bytes.drain(..=end).collect();
    Some(
        String::from_utf8(line)
            .expect("UTF-8")
            .trim_end()
            .to_owned(),
    )
}

/// A line of an import.
#[derive(serde::Deserialize)]
struct Exported<'a> {
    #[serde(borrow)]
    event: &'a serde_json::value::RawValue,
}

/// Takes a whole HTTP message without a body off the front.
fn head(bytes: &mut Vec<u8>) -> Option<()> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    bytes.drain(..end + 4);
    Some(())
}

/// Takes a whole HTTP message off the front: its head and its body.
fn message(bytes: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|l| l.strip_prefix("content-length: "))
        // A request with nothing to say need not say so.
        .map_or(0, |length| {
            length.trim().parse::<usize>().expect("a number")
        });
    let whole = end + 4 + length;
    if bytes.len() < whole {
        return None;
    }
    let body = bytes.drain(..whole).skip(end + 4).collect();
    Some((head, body))
}
