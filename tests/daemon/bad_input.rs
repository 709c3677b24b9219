//! What clients get wrong, and that nobody else notices.

use std::io::Write;
use std::os::unix::net::UnixStream;

use serde_json::json;

use crate::support::{Client, Site, StandIn, ms, s, sample, samples};

#[test]
fn every_bad_line_gets_its_answer_and_the_next_is_taken() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("ingest", "max_event_bytes", "4096");
    let daemon = site.start();
    let mut client = Client::connect(&daemon.socket());
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"messageId":"n","type":"page","properties":{open}{close}}}"#)
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"{\"messageId\":".to_vec(), "not valid JSON"),
        (b"nonsense".to_vec(), "not valid JSON"),
        (
            b"{\"messageId\":\"a\",\"type\":\"page\"} x".to_vec(),
            "not valid JSON",
        ),
        (b"[1,2]".to_vec(), "object"),
        (b"\"text\"".to_vec(), "object"),
        (b"{}".to_vec(), "messageId"),
        (br#"{"type":"page"}"#.to_vec(), "messageId"),
        (br#"{"messageId":"","type":"page"}"#.to_vec(), "messageId"),
        (
            br#"{"messageId":" \t","type":"page"}"#.to_vec(),
            "messageId",
        ),
        (br#"{"messageId":7,"type":"page"}"#.to_vec(), "messageId"),
        (br#"{"messageId":null,"type":"page"}"#.to_vec(), "messageId"),
        (
            format!(r#"{{"messageId":"{}","type":"page"}}"#, "m".repeat(513)).into_bytes(),
            "512",
        ),
        (br#"{"messageId":"a"}"#.to_vec(), "type"),
        (br#"{"messageId":"a","type":"Page"}"#.to_vec(), "type"),
        (br#"{"messageId":"a","type":"purchase"}"#.to_vec(), "type"),
        (br#"{"messageId":"a","type":"track"}"#.to_vec(), "event"),
        (
            br#"{"messageId":"a","type":"track","event":" "}"#.to_vec(),
            "event",
        ),
        (
            b"{\"messageId\":\"a\xff\",\"type\":\"page\"}".to_vec(),
            "UTF-8",
        ),
        (
            br#"{"messageId":"a","type":"track","event":"\ud800"}"#.to_vec(),
            "event holds",
        ),
        (
            br#"{"messageId":"a","type":"page","x":"\ud80"}"#.to_vec(),
            "not valid JSON",
        ),
        (nested(200).into_bytes(), ""),
        (vec![b'x'; 4097], "4096"),
        (vec![b'x'; 3 << 20], "4096"),
        (b"\0".to_vec(), "not valid JSON"),
    ];
    let count = cases.len();
    let mut line = 0;
    for (i, (bytes, says)) in cases.into_iter().enumerate() {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
        client.write(&bytes).expect("written");
        // A blank line before the next counts and gets no answer.
        client.write(b"\n \r\n").expect("written");
        line += 1;
        let answer = client.answer().unwrap_or_else(|e| panic!("{shown}: {e}"));
        assert_eq!(answer.status(), "rejected", "{shown}: {answer:?}");
        assert_eq!(answer.0["line"], json!(line), "{shown}");
        assert!(answer.error().contains(says), "{shown}: {answer:?}");
        assert!(!answer.error().is_empty());
        let good = sample("good", i);
        assert_eq!(client.ask(&good.line).status(), "queued", "after {shown}");
        line += 2;
    }
    assert_eq!(client.finish().len(), 0);
    stand_in.takes(count as u64, s(10));
    let status = daemon.status();
    assert_eq!(status["ledger"]["rejected"], count as u64);
    assert_eq!(status["ledger"]["accepted"], count as u64);
}

#[test]
fn ten_thousand_levels_are_rejected_with_the_default_limit() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let mut daemon = site.start();
    let mut client = Client::connect(&daemon.socket());
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let (open, close) = (open.repeat(10_000), close.repeat(10_000));
        let middle = if open.starts_with('{') { "1" } else { "" };
        let line = format!(r#"{{"messageId":"n","type":"page","x":{open}{middle}{close}}}"#);
        let answer = client.ask(&line);
        assert_eq!(answer.status(), "rejected");
        assert!(answer.error().contains("recursion limit"), "{answer:?}");
    }
    assert!(daemon.running());
    assert_eq!(client.ask(&sample("deep", 0).line).status(), "queued");
}

#[test]
fn line_ends_and_half_close() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let mut client = Client::connect(&daemon.socket());
    let [a, b, c] = [0, 1, 2].map(|n| sample("ends", n).line);
    // CRLF, a blank one, and a last line without an end.
    client
        .write(format!("{a}\r\n\n\t\n{b}\n{c}").as_bytes())
        .expect("written");
    let answers = client.finish();
    let ids: Vec<_> = answers
        .iter()
        .map(|a| (a.status(), a.message_id()))
        .collect();
    assert_eq!(
        ids,
        [
            ("queued", "ends-000000"),
            ("queued", "ends-000001"),
            ("queued", "ends-000002")
        ]
    );
    stand_in.takes(3, s(5));
    // Nothing at all gets nothing at all.
    assert_eq!(Client::connect(&daemon.socket()).finish().len(), 0);
}

#[test]
fn a_client_that_goes_away_within_a_line_leaves_nothing_behind() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let whole = sample("half", 0).line;
    for cut in [1, 20, whole.len() / 2] {
        let mut stream = UnixStream::connect(daemon.socket()).expect("connected");
        stream.write_all(&whole.as_bytes()[..cut]).expect("written");
        drop(stream);
    }
    Client::queue(&daemon.socket(), &samples("other", 0..10));
    stand_in.takes(10, s(5));
    let status = daemon.status();
    assert_eq!(status["ledger"]["accepted"], 10);
}

#[test]
fn clients_that_never_read_stop_nobody_else() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("delivery", "drain_deadline", "3s");
    let daemon = site.start();
    let socket = daemon.socket();
    let silent: Vec<_> = (0..8)
        .map(|n| {
            let stream = UnixStream::connect(&socket).expect("connected");
            stream.set_write_timeout(Some(ms(500))).expect("a time-out");
            let mut writer = stream.try_clone().expect("a second handle");
            let text: String = (samples(&format!("mute{n}"), 0..50).iter())
                .map(|s| format!("{}\n", s.line))
                .collect();
            let filled = std::thread::spawn(move || {
                // Until nobody reads any more, or far more than any buffer holds.
                for _ in 0..2000 {
                    if writer.write_all(text.as_bytes()).is_err() {
                        return true;
                    }
                }
                false
            });
            (stream, filled)
        })
        .collect();
    // Meanwhile the others are answered as ever.
    Client::queue(&socket, &samples("reads", 0..500));
    let mut kept = Vec::new();
    for (stream, filled) in silent {
        assert!(
            filled.join().expect("a writer"),
            "it went on reading without end"
        );
        kept.push(stream);
    }
    Client::queue(&socket, &samples("reads", 500..1000));
    stand_in.takes(1000 + 8 * 50, s(20));
    // They do not hold up the stop either.
    let ended = daemon.stop(s(8));
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}
