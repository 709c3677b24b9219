//! What would become of each line, as one JSON line for each.

use std::io::{self, BufRead, Write};

use super::trial::{Came, Place, Trial, When};
use crate::event::{Call, Invalid, check, is_blank, repair};
use crate::note::Note;

/// Reads lines and hands each that is not blank to `with`, in order, as one that comes at
/// `now_seconds` (Unix). One of more than `max_event_bytes` (its line end not counted) is skipped
/// without being held, and handed on as what the socket would answer.
///
/// # Errors
/// Whatever `input` or `with` fails with.
pub(super) fn each(
    mut input: impl BufRead,
    name: &str,
    now_seconds: i64,
    max_event_bytes: usize,
    mut with: impl FnMut(Came<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1.. {
        let read = match read_line(&mut input, &mut line, max_event_bytes)? {
            Line::End => break,
            Line::Whole if is_blank(&line) => continue,
            Line::Whole => Ok(&line[..]),
            Line::TooLong => Err(Invalid::TooLong {
                limit: max_event_bytes,
            }),
        };
        with(Came {
            line: read,
            when: When::Now(now_seconds),
            place: Some(Place { name, number }),
        })?;
    }
    Ok(())
}

/// Writes what becomes of a line, as one line of JSON. Without deduplication.
///
/// - `{"messageId":"…","event":{…}}`: exactly what would be sent
/// - `{"messageId":"…","dead":{"reason":"no_match_key","detail":"…"}}`
/// - `{"messageId":"…","ignored":"identify"}` (or group, alias)
/// - `{"messageId":"…","ignored":"consent","rule":"consent[marketing]"}` (or filtered)
/// - `{"rejected":"…","file":"events.ndjson","line":4}`: what the socket would answer
///
/// Behind `event` or `dead` there is a member `notes`, if there are any:
/// `[{"field":"currency","path":"properties.currency","word":"unreadable","reason":"…"}]`; behind
/// `event` a member `age` where it would leave late or expire: `{"reason":"late","dead":false}`.
///
/// # Errors
/// Whatever `output` fails with.
pub(super) fn answer(output: &mut impl Write, trial: &Trial<'_>, came: Came<'_>) -> io::Result<()> {
    let mut room = Vec::new();
    let (line, call, repaired) = match checked(came.line.clone(), &mut room) {
        Ok(checked) => checked,
        Err(invalid) => return rejected(output, &invalid, came.place),
    };
    let id = json(&call.message_id)?;
    if let Some(kind) = call.kind.ignored() {
        return writeln!(output, r#"{{"messageId":{id},"ignored":"{kind}"}}"#);
    }
    if let Some(refusal) = trial.refusal(came.when, call.kind, line) {
        let (reason, rule) = (refusal.reason.name(), json(&refusal.rule)?);
        return writeln!(
            output,
            r#"{{"messageId":{id},"ignored":"{reason}","rule":{rule}}}"#
        );
    }
    let with = |notes: Vec<Note>| -> io::Result<String> {
        let notes: Vec<Note> = repaired.clone().into_iter().chain(notes).collect();
        Ok(match notes.is_empty() {
            true => String::new(),
            false => format!(r#","notes":{}"#, serde_json::to_string(&notes)?),
        })
    };
    let fixed = came.when.of(&call);
    match trial.transform.payload(line, fixed, None, &|_| false) {
        Ok(payload) => {
            write!(output, r#"{{"messageId":{id},"event":"#)?;
            output.write_all(&payload.json)?;
            let age = match trial.age(came.when, fixed) {
                Some(age) => format!(r#","age":{}"#, serde_json::to_string(&age)?),
                None => String::new(),
            };
            writeln!(output, "{age}{}}}", with(payload.notes)?)
        }
        Err(unsendable) => match unsendable.why.reason() {
            Some(reason) => {
                let (detail, notes) = (json(&unsendable.why.to_string())?, with(unsendable.notes)?);
                writeln!(
                    output,
                    r#"{{"messageId":{id},"dead":{{"reason":"{reason}","detail":{detail}}}{notes}}}"#
                )
            }
            None => rejected(output, &unsendable.why, came.place),
        },
    }
}

/// The line as the socket would take it, checked once: as it came, or repaired in `room`, with the
/// note of that.
pub(super) fn checked<'a>(
    line: Result<&'a [u8], Invalid>,
    room: &'a mut Vec<u8>,
) -> Result<(&'a [u8], Call<'a>, Option<Note>), Invalid> {
    let line = line?;
    let why = match check(line) {
        Ok(call) => return Ok((line, call, None)),
        Err(why) => why,
    };
    *room = repair(line, why)?;
    Ok((room, check(room)?, Some(Note::repaired())))
}

fn rejected(
    output: &mut impl Write,
    why: &impl std::fmt::Display,
    place: Option<Place<'_>>,
) -> io::Result<()> {
    let why = json(&why.to_string())?;
    match place {
        Some(Place { name, number }) => {
            let name = json(name)?;
            writeln!(
                output,
                r#"{{"rejected":{why},"file":{name},"line":{number}}}"#
            )
        }
        None => writeln!(output, r#"{{"rejected":{why}}}"#),
    }
}

fn json(text: &str) -> io::Result<String> {
    Ok(serde_json::to_string(text)?)
}

enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads up to the next line feed or the end into `line`, without the line end (LF or CRLF).
/// Of a line over `limit` bytes the rest is read and let go.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>, limit: usize) -> io::Result<Line> {
    line.clear();
    let (mut any, mut too_long) = (false, false);
    loop {
        let buffer = match input.fill_buf() {
            Ok(buffer) => buffer,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if buffer.is_empty() && !any {
            return Ok(Line::End);
        }
        any = true;
        let end = memchr::memchr(b'\n', buffer);
        let part = &buffer[..end.unwrap_or(buffer.len())];
        // One byte more than the limit, for the CR of a line end.
        too_long |= line.len() + part.len() > limit + 1;
        if !too_long {
            line.extend_from_slice(part);
        }
        let done = end.is_some() || buffer.is_empty();
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if done {
            break;
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(if too_long || line.len() > limit {
        Line::TooLong
    } else {
        Line::Whole
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::{AgeRules, OnLate};
    use crate::policy::Policy;
    use crate::transform::{Options, Transform};
    use std::io::BufReader;
    use std::time::Duration;

    fn written(input: &[u8], capacity: usize, limit: usize) -> Vec<String> {
        let Ok(transform) = Transform::new(Options::default()) else {
            panic!()
        };
        let mut output = Vec::new();
        let input = BufReader::with_capacity(capacity, input);
        let now = 1_700_000_000;
        let (week, hour) = (Duration::from_secs(7 * 86_400), Duration::from_secs(3600));
        let policy = Policy::new(&crate::policy::Options::default()).unwrap();
        let trial = Trial {
            transform: &transform,
            policy: &policy,
            ages: &AgeRules::new(now * 1000, week, hour, OnLate::DeadLetter),
            now_seconds: now,
        };
        each(input, "in", now, limit, |came| {
            answer(&mut output, &trial, came)
        })
        .unwrap();
        let text = String::from_utf8(output).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn one_line_out_for_each_line_in() {
        let input = concat!(
            r#"{"messageId":"a\"1","type":"page","properties":{"email":"e@x.org"}}"#,
            "\n",
            "\n  \t\r\n",
            r#"{"messageId":"b","type":"track","event":"X"}"#,
            "\r\n",
            r#"{"messageId":"c","type":"identify"}"#,
            "\n",
            r#"{"messageId":"d","type":"group"}"#,
            "\n",
            r#"{"messageId":"e","type":"alias"}"#,
            "\n",
            "nonsense \"\n",
            r#"{"messageId":"f","type":"screen","timestamp":1600000000.9,"context":{"ip":"2001:db8::1"}}"#,
            "\n",
            r#"{"messageId":"g","type":"screen","timestamp":1699996400,"context":{"ip":"2001:db8::1"}}"#,
        );
        let expected = [
            r#"{"messageId":"a\"1","event":{"event_name":"page_visit","action_source":"web","event_time":1700000000,"event_id":"a\"1","user_data":{"em":["e@x.org"],"client_user_agent":"Mozilla/5.0"}}}"#,
            r#"{"messageId":"b","dead":{"reason":"no_match_key","detail":"no match key: Pinterest needs an email (em), or client_ip_address together with client_user_agent; there is no em, and no client_ip_address"}}"#,
            r#"{"messageId":"c","ignored":"identify"}"#,
            r#"{"messageId":"d","ignored":"group"}"#,
            r#"{"messageId":"e","ignored":"alias"}"#,
            r#"{"rejected":"not valid JSON: expected ident at column 2","file":"in","line":8}"#,
            r#"{"messageId":"f","event":{"event_name":"page_visit","action_source":"web","event_time":1600000000,"event_id":"f","user_data":{"client_ip_address":"2001:db8::1","client_user_agent":"Mozilla/5.0"}},"age":{"reason":"expired","dead":true}}"#,
            r#"{"messageId":"g","event":{"event_name":"page_visit","action_source":"web","event_time":1699996400,"event_id":"g","user_data":{"client_ip_address":"2001:db8::1","client_user_agent":"Mozilla/5.0"}},"age":{"reason":"late","dead":true}}"#,
        ];
        for capacity in [1, 7, 8192] {
            assert_eq!(written(input.as_bytes(), capacity, 4096), expected);
        }
        assert!(written(b"", 16, 10).is_empty());
        assert!(written(b"\n\n", 16, 10).is_empty());
    }

    #[test]
    fn a_line_over_the_limit_is_rejected_and_the_next_is_read() {
        let fits = r#"{"messageId":"m","type":"alias"}"#;
        let limit = fits.len();
        let told = |line: u64| {
            let why = format!("event is over {limit} bytes");
            format!(r#"{{"rejected":"{why}","file":"in","line":{line}}}"#)
        };
        let ok = r#"{"messageId":"m","ignored":"alias"}"#.to_owned();
        let input = format!("{fits}\r\n {fits}\r\n {fits}\n{fits}\n{fits} \n{fits}");
        for capacity in [1, 5, 8192] {
            let expected = [&ok, &told(2), &told(3), &ok, &told(5), &ok].map(Clone::clone);
            assert_eq!(written(input.as_bytes(), capacity, limit), expected);
        }
        let endless = vec![b'x'; 1 << 20];
        assert_eq!(written(&endless, 8192, limit), [told(1)]);
    }

    #[test]
    fn an_oversized_line_is_not_held() {
        let mut line = Vec::new();
        let mut input = BufReader::with_capacity(64, io::Read::take(io::repeat(b'x'), 1 << 22));
        let read = read_line(&mut input, &mut line, 1000).unwrap();
        assert!(matches!(read, Line::TooLong));
        assert!(line.capacity() <= 4096, "{}", line.capacity());
    }
}
