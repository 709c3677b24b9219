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

/// All that is known of one messageId.
#[derive(Default, Debug)]
pub struct Event {
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

    fn sent(&mut self, socket: &mut Socket, begin: usize) {
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

/// Takes a whole HTTP message off the front: its head and its body.
fn message(bytes: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|l| l.strip_prefix("content-length: "))
        .expect("a length")
        .trim()
        .parse::<usize>()
        .expect("a number");
    let whole = end + 4 + length;
    if bytes.len() < whole {
        return None;
    }
    let body = bytes.drain(..whole).skip(end + 4).collect();
    Some((head, body))
}
