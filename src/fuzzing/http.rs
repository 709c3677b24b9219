//! What holds of the events that come over HTTP.

use crate::event;
use crate::ingest::properties::by_http;
use crate::transform::{Fixed, Options, Transform};

const RECEIVED_AT: &str = "2026-11-30T12:00:00.000Z";
const ACCEPTED_AT: i64 = 1_796_040_000;

/// An event that the socket would take is taken over HTTP under the same id and at the same time;
/// alone it gives the same payload with the same notes; and it is one line. What the socket would
/// take after a repair is repaired alike.
///
/// The first byte chooses between one event and a batch; the rest is the body.
pub fn http(data: &[u8]) {
    let [choice, body @ ..] = data else {
        return;
    };
    let is_batch = choice & 1 == 1;
    let fixed = |event_time| Fixed {
        accepted_at: ACCEPTED_AT,
        event_time,
    };
    let transform = Transform::new(Options::default()).expect("the defaults");
    let payload =
        |line: &[u8], event_time| transform.payload(line, fixed(event_time), None, &|_| false);
    for (event, line) in by_http(body, is_batch, RECEIVED_AT) {
        let Ok(event) = event::sound(&event) else {
            continue;
        };
        let own = event::check(&event).expect("it is sound");
        let line = event::sound(&line).expect("what the socket takes is taken");
        let sent = event::check(&line).expect("it is sound");
        assert_eq!((sent.kind, &sent.message_id), (own.kind, &own.message_id));
        assert!(memchr::memchr2(b'\n', b'\r', &line).is_none(), "one line");
        if is_batch {
            // What the batch says of its events is theirs.
            continue;
        }
        let time = own.event_time(ACCEPTED_AT);
        assert_eq!(sent.event_time(ACCEPTED_AT), time);
        if own.kind.ignored().is_none() {
            assert_eq!(payload(&line, time), payload(&event, time));
        }
    }
}
