//! What would become of each line, as one JSON line for each.

use std::io::{self, BufRead, Write};

use crate::event::{Call, Invalid, check, is_blank, repair};
use crate::note::Note;
use crate::transform::{Fixed, Transform};

/// When an event came and when it happened.
#[derive(Clone, Copy)]
pub(super) enum When {
    /// It comes at this moment, in Unix seconds.
    Now(i64),
    /// Both were fixed when the daemon took it.
    Was(Fixed),
}

impl When {
    pub(super) fn of(self, call: &Call<'_>) -> Fixed {
        match self {
            Self::Now(accepted_at) => Fixed {
                accepted_at,
                event_time: call.event_time(accepted_at),
            },
            Self::Was(fixed) => fixed,
        }
    }
}

/// Reads lines and writes one JSON line for each, in order; none for a blank one. Without
/// deduplication and without a look at an event's age.
///
/// - `{"messageId":"…","event":{…}}`: exactly what would be sent
/// - `{"messageId":"…","dead":{"reason":"no_match_key","detail":"…"}}`
/// - `{"messageId":"…","ignored":"identify"}` (or group, alias)
/// - `{"rejected":"…"}`: what the socket would answer; also for a line of more than
///   `max_event_bytes` (its line end not counted), which is skipped without being held
///
/// Behind `event` or `dead` there is a member `notes`, if there are any:
/// `[{"field":"currency","path":"properties.currency","word":"unreadable","reason":"…"}]`.
///
/// `now_seconds` (Unix) stands for the moment of acceptance.
///
/// # Errors
/// Whatever `input` or `output` fails with.
pub(super) fn lines(
    mut input: impl BufRead,
    mut output: impl Write,
    transform: &Transform,
    now_seconds: i64,
    max_event_bytes: usize,
) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        match read_line(&mut input, &mut line, max_event_bytes)? {
            Line::End => return output.flush(),
            Line::Whole if is_blank(&line) => {}
            Line::Whole => answer(&mut output, &line, transform, When::Now(now_seconds))?,
            Line::TooLong => {
                let limit = max_event_bytes;
                rejected(&mut output, &Invalid::TooLong { limit })?;
            }
        }
    }
}

/// Writes what becomes of one line.
///
/// # Errors
/// Whatever `output` fails with.
pub(super) fn answer(
    output: &mut impl Write,
    line: &[u8],
    transform: &Transform,
    when: When,
) -> io::Result<()> {
    let why = match check(line) {
        Ok(call) => return sound(output, line, &call, None, transform, when),
        Err(why) => why,
    };
    let repaired = match repair(line, why) {
        Ok(repaired) => repaired,
        Err(invalid) => return rejected(output, &invalid),
    };
    match check(&repaired) {
        Ok(call) => {
            let note = Some(Note::repaired());
            sound(output, &repaired, &call, note, transform, when)
        }
        Err(invalid) => rejected(output, &invalid),
    }
}

/// The same of a line that the socket takes, perhaps after a repair.
fn sound(
    output: &mut impl Write,
    line: &[u8],
    call: &Call<'_>,
    repaired: Option<Note>,
    transform: &Transform,
    when: When,
) -> io::Result<()> {
    let id = json(&call.message_id)?;
    if let Some(kind) = call.kind.ignored() {
        return writeln!(output, r#"{{"messageId":{id},"ignored":"{kind}"}}"#);
    }
    let with = |notes: Vec<Note>| -> io::Result<String> {
        let notes: Vec<Note> = repaired.clone().into_iter().chain(notes).collect();
        Ok(match notes.is_empty() {
            true => String::new(),
            false => format!(r#","notes":{}"#, serde_json::to_string(&notes)?),
        })
    };
    match transform.payload(line, when.of(call), None, &|_| false) {
        Ok(payload) => {
            write!(output, r#"{{"messageId":{id},"event":"#)?;
            output.write_all(&payload.json)?;
            writeln!(output, "{}}}", with(payload.notes)?)
        }
        Err(unsendable) => match unsendable.why.reason() {
            Some(reason) => {
                let (detail, notes) = (json(&unsendable.why.to_string())?, with(unsendable.notes)?);
                writeln!(
                    output,
                    r#"{{"messageId":{id},"dead":{{"reason":"{reason}","detail":{detail}}}{notes}}}"#
                )
            }
            None => writeln!(
                output,
                r#"{{"rejected":{}}}"#,
                json(&unsendable.why.to_string())?
            ),
        },
    }
}

fn rejected(output: &mut impl Write, invalid: &Invalid) -> io::Result<()> {
    writeln!(output, r#"{{"rejected":{}}}"#, json(&invalid.to_string())?)
}

fn json(text: &str) -> io::Result<String> {
    Ok(serde_json::to_string(text)?)
}

pub(super) enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads up to the next line feed or the end into `line`, without the line end (LF or CRLF).
/// Of a line over `limit` bytes the rest is read and let go.
///
/// # Errors
/// The input's.
pub(super) fn read_line(
    input: &mut impl BufRead,
    line: &mut Vec<u8>,
    limit: usize,
) -> io::Result<Line> {
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
    use crate::transform::Options;
    use std::io::BufReader;

    fn written(input: &[u8], capacity: usize, limit: usize) -> Vec<String> {
        let Ok(transform) = Transform::new(Options::default()) else {
            panic!()
        };
        let mut output = Vec::new();
        let input = BufReader::with_capacity(capacity, input);
        lines(input, &mut output, &transform, 1_700_000_000, limit).unwrap();
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
        );
        let expected = [
            r#"{"messageId":"a\"1","event":{"event_name":"page_visit","action_source":"web","event_time":1700000000,"event_id":"a\"1","user_data":{"em":["e@x.org"],"client_user_agent":"Mozilla/5.0"}}}"#,
            r#"{"messageId":"b","dead":{"reason":"no_match_key","detail":"no match key: Pinterest needs an email (em), or client_ip_address together with client_user_agent; there is no em, and no client_ip_address"}}"#,
            r#"{"messageId":"c","ignored":"identify"}"#,
            r#"{"messageId":"d","ignored":"group"}"#,
            r#"{"messageId":"e","ignored":"alias"}"#,
            r#"{"rejected":"not valid JSON: expected ident at column 2"}"#,
            r#"{"messageId":"f","event":{"event_name":"page_visit","action_source":"web","event_time":1600000000,"event_id":"f","user_data":{"client_ip_address":"2001:db8::1","client_user_agent":"Mozilla/5.0"}}}"#,
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
        let told = format!(r#"{{"rejected":"event is over {limit} bytes"}}"#);
        let ok = r#"{"messageId":"m","ignored":"alias"}"#.to_owned();
        let input = format!("{fits}\r\n {fits}\r\n {fits}\n{fits}\n{fits} \n{fits}");
        for capacity in [1, 5, 8192] {
            let expected = [&ok, &told, &told, &ok, &told, &ok].map(Clone::clone);
            assert_eq!(written(input.as_bytes(), capacity, limit), expected);
        }
        let endless = vec![b'x'; 1 << 20];
        assert_eq!(written(&endless, 8192, limit), [told]);
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
