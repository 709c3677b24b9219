//! From a request to the lines of its events. Pure: no clock, no randomness, no I/O.
//!
//! A line is the event as the client wrote it, every value byte for byte, with what its batch, its
//! path and its headers say where it says nothing itself. Facts about the dialects are from their
//! servers' and clients' own sources; docs/http.md has them.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::de::IgnoredAny;

use super::scan::{Broken, Member, elements, members};
use crate::event::time::{self, Reading};
use crate::event::{BYTE_ORDER_MARK, Kind, Number, readable};

/// What a path takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One event.
    One,
    /// An object with an array `batch`.
    Batch,
    /// Either: an object with an array `batch` is a batch.
    Either,
}

/// Why nothing of a request is taken. The texts go to the client and quote nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No JSON.
    #[error("not valid JSON: broken at byte {0} of the body")]
    Json(usize),
    /// Another value.
    #[error("the body is not an object")]
    NotObject,
    /// A batch without events.
    #[error("batch is missing or not an array, which this path needs")]
    NoBatch,
    /// A member beside the events that is no JSON.
    #[error("not valid JSON: a value beside batch is broken")]
    Beside,
    /// One of them would be lost.
    #[error("batch is there twice")]
    TwoBatches,
    /// More events than one answer may be about.
    #[error("a batch of more than {MOST_EVENTS} events: send them in several")]
    ManyEvents,
    /// A little that would become much.
    #[error(
        "the batch's context and integrations, which each of its events gets, come to more than \
         {0} bytes in all of them: send fewer events at once, or what differs with each"
    )]
    Repeated(usize),
}

/// About how many bytes are added to an event.
const ADDED: usize = 256;
/// Events in one request.
pub const MOST_EVENTS: usize = 20_000;

impl From<Broken> for Refused {
    fn from(Broken(at): Broken) -> Self {
        Self::Json(at + 1)
    }
}

/// A body, cut into its events.
pub struct Call<'a> {
    /// As the client wrote them.
    pub events: Vec<&'a [u8]>,
    /// The members of an event that is the body itself.
    only: Option<Vec<Member<'a>>>,
    shared: Shared<'a>,
    /// Bytes of what the batch says of each.
    pub shared_bytes: usize,
    /// The body's own, unless it is masked.
    pub write_key: Option<Cow<'a, str>>,
}

/// What a batch says of each of its events.
#[derive(Default)]
struct Shared<'a> {
    context: Keyed<'a>,
    integrations: Keyed<'a>,
    sent_at: Option<&'a [u8]>,
}

/// The members of an object, found by their keys: it may have very many.
#[derive(Default)]
struct Keyed<'a> {
    members: Vec<Member<'a>>,
    /// Where the last of each key stands.
    last: HashMap<Cow<'a, [u8]>, usize>,
}

impl<'a> Keyed<'a> {
    fn new(members: Vec<Member<'a>>) -> Self {
        let places = members
            .iter()
            .enumerate()
            .map(|(at, member)| (member.key(), at));
        Self {
            last: places.collect(),
            members,
        }
    }

    /// Of a key the last that counts, if it says anything.
    fn says(&self, key: &[u8]) -> bool {
        let last = self.last.get(key);
        last.is_some_and(|at| !says_nothing(self.members[*at].value))
    }

    fn has(&self, key: &[u8]) -> bool {
        self.last.contains_key(key)
    }
}

/// What stands in where an event says nothing.
pub struct Beside<'a> {
    /// Of the path.
    pub kind: Option<Kind>,
    /// RFC 3339.
    pub received_at: &'a str,
    /// The customer's address, where whoever forwards it is believed.
    pub ip: Option<&'a str>,
    /// Likewise.
    pub user_agent: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// Cuts a body.
    ///
    /// # Errors
    /// Where it is no JSON, or not what the path takes, or where what it says of each event would
    /// come to more than `most` bytes in all of them. What is wrong with one event is found when
    /// that is taken.
    pub fn read(body: &'a [u8], shape: Shape, most: usize) -> Result<Self, Refused> {
        let whole = body;
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        let mark = whole.len() - body.len();
        let all = members(body).map_err(|broken| Broken(broken.0 + mark))?;
        let all = all.ok_or(Refused::NotObject)?;
        let write_key = last(&all, b"writeKey").and_then(key_of);
        let batch = last(&all, b"batch").filter(|_| shape != Shape::One);
        let within = |part: &[u8]| part.as_ptr() as usize - whole.as_ptr() as usize;
        let read_elements = |part| elements(part).map_err(|b: Broken| Broken(b.0 + within(part)));
        let batch = batch.map(read_elements).transpose()?.flatten();
        let events = match (batch, shape) {
            (Some(events), _) => events,
            (None, Shape::Batch) => return Err(Refused::NoBatch),
            (None, _) => {
                return Ok(Self {
                    events: vec![body],
                    only: Some(all),
                    shared: Shared::default(),
                    shared_bytes: 0,
                    write_key,
                });
            }
        };
        if events.len() > MOST_EVENTS {
            return Err(Refused::ManyEvents);
        }
        let repeated = [b"context".as_slice(), b"integrations", b"sentAt"];
        let repeated = repeated
            .iter()
            .filter_map(|key| last(&all, key))
            .map(<[u8]>::len);
        let shared_bytes = repeated.sum::<usize>();
        if shared_bytes.saturating_mul(events.len()) > most {
            return Err(Refused::Repeated(most));
        }
        let mut batches = 0;
        for member in &all {
            let is_json = || serde_json::from_slice::<IgnoredAny>(&readable(member.value)).is_ok();
            match &*member.key() {
                // Each event is judged when it is taken. Of two lists one would be lost.
                b"batch" => batches += 1,
                _ if !is_json() => return Err(Refused::Beside),
                _ => {}
            }
        }
        if batches > 1 {
            return Err(Refused::TwoBatches);
        }
        let object = |key| -> Result<Keyed<'a>, Refused> {
            match last(&all, key) {
                Some(value) => Ok(Keyed::new(members(value)?.unwrap_or_default())),
                None => Ok(Keyed::default()),
            }
        };
        Ok(Self {
            events,
            only: None,
            shared: Shared {
                context: object(b"context")?,
                integrations: object(b"integrations")?,
                sent_at: last(&all, b"sentAt").filter(|value| !says_nothing(value)),
            },
            shared_bytes,
            write_key,
        })
    }

    /// The line of an event, written to `line`; `make_id` is asked where it has no messageId.
    ///
    /// What is no object stays as it is: whoever takes it says what is wrong with it.
    pub fn line(
        &self,
        event: &'a [u8],
        beside: &Beside<'_>,
        make_id: impl FnOnce() -> String,
        line: &mut Vec<u8>,
    ) {
        line.clear();
        line.reserve(event.len() + self.shared_bytes + ADDED);
        let cut;
        let own = match &self.only {
            Some(own) => own,
            None => match members(event) {
                Ok(Some(members)) => {
                    cut = members;
                    &cut
                }
                _ => {
                    line.extend_from_slice(event);
                    return;
                }
            },
        };
        let says = |key: &[u8]| last(own, key).filter(|value| !says_nothing(value));
        let mut out = Object::new(line);
        let context = Block {
            own: last(own, b"context"),
            shared: &self.shared.context,
            texts: &[("ip", beside.ip), ("userAgent", beside.user_agent)],
        };
        let integrations = Block {
            own: last(own, b"integrations"),
            shared: &self.shared.integrations,
            texts: &[],
        };
        let kind = beside.kind.filter(|_| says(b"type").is_none());
        let has_id = says(b"messageId").is_some();
        let sent_at = self.shared.sent_at.filter(|_| says(b"sentAt").is_none());
        // Our own word for the time stands in for none that cannot be read.
        let is_sent_told = sent_at.or(says(b"sentAt")).is_none_or(is_time);
        let is_received = is_sent_told && says(b"receivedAt").is_none();
        for member in own {
            // What is written anew does not stand twice, and a key is no part of what is kept.
            let goes = match &*member.key() {
                b"writeKey" => true,
                b"context" => context.is_wanted(),
                b"integrations" => integrations.is_wanted(),
                b"type" => kind.is_some(),
                b"messageId" => !has_id,
                b"sentAt" => sent_at.is_some(),
                b"receivedAt" => is_received,
                _ => false,
            };
            if !goes {
                out.member(member.raw_key(), member.value);
            }
        }
        if let Some(kind) = kind {
            out.text("type", kind.name());
        }
        if !has_id {
            out.text("messageId", &make_id());
        }
        if let Some(sent_at) = sent_at {
            out.member(b"sentAt", sent_at);
        }
        if is_received {
            out.text("receivedAt", beside.received_at);
        }
        context.write(&mut out, b"context");
        integrations.write(&mut out, b"integrations");
        out.end();
        in_one_line(line);
    }
}

/// An object of an event that others add to.
struct Block<'a, 'b> {
    own: Option<&'a [u8]>,
    shared: &'b Keyed<'a>,
    texts: &'b [(&'static str, Option<&'b str>)],
}

impl Block<'_, '_> {
    /// Its own members; `None` where it is something else, which nothing is added to.
    fn members(&self) -> Option<Vec<Member<'_>>> {
        match self.own {
            Some(own) if !says_nothing(own) => members(own).ok().flatten(),
            _ => Some(Vec::new()),
        }
    }

    /// Whether somebody has anything to add.
    fn is_wanted(&self) -> bool {
        let any =
            !self.shared.members.is_empty() || self.texts.iter().any(|(_, text)| text.is_some());
        any && self.members().is_some()
    }

    fn write(&self, out: &mut Object<'_>, key: &[u8]) {
        let Some(own) = self.members().filter(|_| self.is_wanted()) else {
            return;
        };
        out.key(key);
        let mut inner = Object::new(out.line);
        let own = Keyed::new(own);
        let added = |key: &[u8]| {
            let is_text =
                |(name, text): &(&str, Option<&str>)| name.as_bytes() == key && text.is_some();
            self.shared.has(key) || self.texts.iter().any(is_text)
        };
        for member in &own.members {
            let key = member.key();
            if own.says(&key) || !added(&key) {
                inner.member(member.raw_key(), member.value);
            }
        }
        for member in &self.shared.members {
            if !own.says(&member.key()) {
                inner.member(member.raw_key(), member.value);
            }
        }
        for (name, text) in self.texts {
            let is_said = own.says(name.as_bytes()) || self.shared.says(name.as_bytes());
            if let Some(text) = text.filter(|_| !is_said) {
                inner.text(name, text);
            }
        }
        inner.end();
    }
}

/// An object that is being written.
struct Object<'l> {
    line: &'l mut Vec<u8>,
    is_empty: bool,
}

impl<'l> Object<'l> {
    fn new(line: &'l mut Vec<u8>) -> Self {
        line.push(b'{');
        Self {
            line,
            is_empty: true,
        }
    }

    /// A key as it stands in JSON, without its quotes; its value comes next.
    fn key(&mut self, key: &[u8]) {
        if !std::mem::take(&mut self.is_empty) {
            self.line.push(b',');
        }
        self.line.push(b'"');
        self.line.extend_from_slice(key);
        self.line.extend_from_slice(b"\":");
    }

    fn member(&mut self, key: &[u8], value: &[u8]) {
        self.key(key);
        self.line.extend_from_slice(value);
    }

    fn text(&mut self, key: &'static str, text: &str) {
        self.key(key.as_bytes());
        // Unwrap safety: writing a string into memory does not fail.
        serde_json::to_writer(&mut *self.line, text).expect("a string into memory");
    }

    fn end(self) {
        self.line.push(b'}');
    }
}

/// The value of a key; of a repeated one the last counts.
fn last<'a>(members: &[Member<'a>], key: &[u8]) -> Option<&'a [u8]> {
    let member = members.iter().rev().find(|member| *member.key() == *key);
    member.map(|member| member.value)
}

/// Null, a text of white space alone, `[]`, `{}`: what mapping.md calls missing, as it is written
/// by those who have nothing to say.
fn says_nothing(value: &[u8]) -> bool {
    let inner = |open, close| {
        value
            .strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close))
    };
    let within = inner(b"\"".as_slice(), b"\"".as_slice())
        .or_else(|| inner(b"[", b"]"))
        .or_else(|| inner(b"{", b"}"));
    value == b"null" || within.is_some_and(|within| within.trim_ascii().is_empty())
}

/// Whether this is a time that can be read.
fn is_time(value: &[u8]) -> bool {
    let reading = match value.first() {
        Some(b'"') => match serde_json::from_slice::<Cow<'_, str>>(value) {
            Ok(text) => time::from_text(&text),
            Err(_) => Reading::Unreadable,
        },
        Some(b'0'..=b'9' | b'-') => match std::str::from_utf8(value) {
            Ok(digits) => time::from_number(&Number::Text(digits)),
            Err(_) => Reading::Unreadable,
        },
        _ => Reading::Unreadable,
    };
    !matches!(reading, Reading::Unreadable)
}

/// A write key in a body; one that is masked (`id:***`, or `***` for one without a colon) is none.
fn key_of<'a>(value: &'a [u8]) -> Option<Cow<'a, str>> {
    let key = match serde_json::from_slice::<&'a str>(value) {
        Ok(key) => Cow::Borrowed(key),
        Err(_) => Cow::Owned(serde_json::from_slice::<String>(value).ok()?),
    };
    let is_masked = &*key == "***" || key.ends_with(":***");
    (!key.is_empty() && !is_masked).then_some(key)
}

/// Spaces for the line breaks between its parts: an event is one line wherever it is shown. Those
/// within a text are no JSON, and stay for whoever says so.
fn in_one_line(line: &mut [u8]) {
    if memchr::memchr2(b'\n', b'\r', line).is_none() {
        return;
    }
    let (mut in_text, mut is_escaped) = (false, false);
    for byte in line {
        match *byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_text,
            b'"' => in_text = !in_text,
            b'\n' | b'\r' if !in_text => *byte = b' ',
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BESIDE: Beside<'static> = Beside {
        kind: None,
        received_at: "2026-11-30T12:00:00.000Z",
        ip: None,
        user_agent: None,
    };

    fn lines_beside(body: &str, shape: Shape, beside: &Beside<'_>) -> Vec<String> {
        let call = match Call::read(body.as_bytes(), shape, 1000) {
            Ok(call) => call,
            Err(refused) => return vec![refused.to_string()],
        };
        let mut line = Vec::new();
        let mut made = 0;
        let each = |event: &&[u8]| {
            let id = || {
                made += 1;
                format!("made-{made}")
            };
            call.line(event, beside, id, &mut line);
            let text = String::from_utf8(line.clone()).unwrap();
            text.replace(r#","receivedAt":"2026-11-30T12:00:00.000Z""#, "")
        };
        call.events.iter().map(each).collect()
    }

    fn lines(body: &str, shape: Shape) -> Vec<String> {
        lines_beside(body, shape, &BESIDE)
    }

    #[test]
    fn one_event_stays_as_it_was_written() {
        let event = r#"{"messageId":"a","n":1.50,"k":"\ud83d\ude00","x":{"y" : [ ]}}"#;
        assert_eq!(lines(event, Shape::One), [event]);
        assert_eq!(
            lines(&format!("\u{feff} {event}\r\n"), Shape::Either),
            [event]
        );
        // A batch is one only where the path takes it.
        let both = r#"{"messageId":"a","batch":[{"messageId":"b"}]}"#;
        assert_eq!(lines(both, Shape::One), [both]);
        assert_eq!(lines(both, Shape::Either), [r#"{"messageId":"b"}"#]);
        let odd = r#"{"messageId":"a","batch":"b"}"#;
        assert_eq!(lines(odd, Shape::Either), [odd]);
        assert_eq!(lines(odd, Shape::Batch), [Refused::NoBatch.to_string()]);
    }

    #[test]
    fn what_is_not_said_is_added_and_what_is_said_is_not() {
        let beside = Beside {
            kind: Some(Kind::Page),
            ip: Some("203.0.113.7"),
            user_agent: Some("a \"b\""),
            ..BESIDE
        };
        let added = |event: &str| lines_beside(event, Shape::One, &beside).remove(0);
        assert_eq!(
            added("{}"),
            r#"{"type":"page","messageId":"made-1","context":{"ip":"203.0.113.7","userAgent":"a \"b\""}}"#
        );
        assert_eq!(
            added(r#"{"type":"track","messageId":"i","context":{"ip":"1","userAgent":"2"}}"#),
            r#"{"type":"track","messageId":"i","context":{"ip":"1","userAgent":"2"}}"#
        );
        assert_eq!(
            added(r#"{"type":null,"messageId":" ","context":{"ip":null,"a":1,"userAgent":""}}"#),
            r#"{"type":"page","messageId":"made-1","context":{"a":1,"ip":"203.0.113.7","userAgent":"a \"b\""}}"#
        );
        // What is there and odd is not replaced: it is for whoever judges it.
        assert_eq!(
            added(r#"{"type":7,"messageId":7,"context":"c"}"#),
            r#"{"type":7,"messageId":7,"context":"c"}"#
        );
    }

    #[test]
    fn a_batch_lies_under_each_of_its_events() {
        let body = r#"{"batch":[
            {"messageId":"a","context":{"x":{"own":1},"n":null}},
            {"messageId":"b","sentAt":"T1","integrations":{"All":true}},
            7],
            "context":{"x":{"shared":2},"n":3},"integrations":{"P":false},"sentAt":"T0","writeKey":"k"}"#;
        assert_eq!(
            lines(body, Shape::Batch),
            [
                r#"{"messageId":"a","sentAt":"T0","context":{"x":{"own":1},"n":3},"integrations":{"P":false}}"#,
                r#"{"messageId":"b","sentAt":"T1","context":{"x":{"shared":2},"n":3},"integrations":{"All":true,"P":false}}"#,
                "7",
            ]
        );
    }

    #[test]
    fn the_moment_of_acceptance_stands_in_for_no_time_that_cannot_be_read() {
        let is_added = |event: &str| {
            let call = Call::read(event.as_bytes(), Shape::One, 1000).ok().unwrap();
            let mut line = Vec::new();
            call.line(call.events[0], &BESIDE, String::new, &mut line);
            String::from_utf8(line)
                .unwrap()
                .contains(r#""receivedAt":"2026-"#)
        };
        for said in [
            "",
            r#""sentAt":null"#,
            r#""sentAt":"2026-01-01T00:00:00Z""#,
            r#""sentAt":1700000000"#,
            r#""receivedAt":" ""#,
        ] {
            assert!(is_added(&format!("{{{said}}}")), "{said}");
        }
        for said in [
            r#""sentAt":"null""#,
            r#""sentAt":true"#,
            r#""sentAt":-5"#,
            r#""sentAt":"\ud800""#,
            r#""receivedAt":"soon""#,
        ] {
            assert!(!is_added(&format!("{{{said}}}")), "{said}");
        }
    }

    #[test]
    fn of_a_key_the_last_counts_and_write_keys_are_not_kept() {
        let twice = r#"{"messageId":"a","messageId":null,"writeKey":"s3cret"}"#;
        assert_eq!(lines(twice, Shape::One), [r#"{"messageId":"made-1"}"#]);
        let key = |body: &'static str| {
            let call = Call::read(body.as_bytes(), Shape::Either, 1000)
                .ok()
                .unwrap();
            call.write_key.map(Cow::into_owned)
        };
        assert_eq!(key(twice), Some("s3cret".into()));
        assert_eq!(
            key(r#"{"batch":[],"writeKey":"\u0061b"}"#),
            Some("ab".into())
        );
        assert_eq!(key(r#"{"writeKey":"id:***"}"#), None);
        assert_eq!(key(r#"{"writeKey":"***"}"#), None);
        assert_eq!(key(r#"{"writeKey":""}"#), None);
        assert_eq!(key(r#"{"writeKey":{}}"#), None);
    }

    #[test]
    fn line_breaks_between_parts_become_spaces_and_within_texts_they_stay() {
        let body = "{\n\"messageId\": \"a\",\r\n\"x\": {\n\"y\": \"\\\"\nz\"\n}\n}";
        assert_eq!(
            lines(body, Shape::One),
            ["{\"messageId\":\"a\",\"x\":{ \"y\": \"\\\"\nz\" }}"]
        );
    }

    #[test]
    fn a_little_does_not_become_much() {
        let batch = |context: &str, events: usize| {
            let events = vec!["0"; events].join(",");
            let body = format!(r#"{{"batch":[{events}],"context":{context}}}"#);
            Call::read(body.as_bytes(), Shape::Batch, 1000).err()
        };
        let of_100_bytes = format!("{{\"k\":\"{}\"}}", "x".repeat(92));
        assert_eq!(batch(&of_100_bytes, 10), None);
        assert_eq!(batch(&of_100_bytes, 11), Some(Refused::Repeated(1000)));
        assert_eq!(batch("{}", MOST_EVENTS + 1), Some(Refused::ManyEvents));
        // Each of many keys is looked up, not looked for.
        let keys: Vec<_> = (0..40_000).map(|n| format!("\"{n}\":1")).collect();
        let context = format!("{{{}}}", keys.join(","));
        let body = format!(r#"{{"batch":[{{"context":{context}}}],"context":{context}}}"#);
        let call = Call::read(body.as_bytes(), Shape::Batch, 1 << 20)
            .ok()
            .unwrap();
        let (mut line, begun) = (Vec::new(), std::time::Instant::now());
        call.line(call.events[0], &BESIDE, String::new, &mut line);
        assert!(begun.elapsed() < std::time::Duration::from_secs(2));
        assert!(line.len() > context.len());
    }

    #[test]
    fn what_is_broken_is_refused_whole() {
        for (body, refused) in [
            ("", Refused::NotObject),
            ("[]", Refused::NotObject),
            ("{\"a\"", Refused::Json(5)),
            ("\u{feff}{\"a\"", Refused::Json(8)),
            (r#"{"batch":[1,,2]}"#, Refused::Json(13)),
            (r#"{"batch":[],"context":@@@}"#, Refused::Beside),
            (r#"{"batch":[],"batch":[]}"#, Refused::TwoBatches),
            (r#"{"batch":[{]}"#, Refused::Json(14)),
            (r#"{"batch":[],"x":nonsense}"#, Refused::Beside),
        ] {
            assert_eq!(lines(body, Shape::Batch), [refused.to_string()], "{body}");
        }
    }
}
