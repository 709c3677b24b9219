//! What is there and cannot be read as it stands: through the socket to Pinterest, to the dead
//! letters, and to every screen.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::{
    Client, Page, Process, Sample, Site, StandIn, deliver_all, get, s, samples, within,
};

/// One event, and what is right.
struct Case {
    id: &'static str,
    /// Members of the event beside its id; `@` stands for a time of an hour ago, as far as the
    /// seconds: `2026-11-20T10:00:00`.
    members: &'static str,
    /// Pointers into what is sent and their values; null for what is left out. A dead letter has
    /// none.
    sent: &'static [(&'static str, &'static str)],
    dead: Option<&'static str>,
    /// Field and word.
    notes: &'static [(&'static str, &'static str)],
}

const TRACK: &str = r#""type":"track","event":"Order Completed","context":{"ip":"203.0.113.7"}"#;

const CASES: &[Case] = &[
    Case {
        id: "offset-without-colon",
        members: r#"TRACK,"timestamp":"@+0000","properties":{}"#,
        sent: &[("/event_time", "AN_HOUR_AGO")],
        dead: None,
        notes: &[],
    },
    Case {
        id: "no-zone",
        members: r#"TRACK,"timestamp":"@.898","properties":{}"#,
        sent: &[("/event_time", "AN_HOUR_AGO")],
        dead: None,
        notes: &[("event_time", "assumed_utc")],
    },
    Case {
        id: "month-first",
        members: r#"TRACK,"timestamp":"11/20/2026 10:00","sentAt":"@Z","properties":{}"#,
        sent: &[],
        dead: Some("unreadable_time"),
        notes: &[("event_time", "unreadable")],
    },
    Case {
        id: "clock-ahead",
        members: r#"TRACK,"timestamp":"2100-01-01T00:00:00Z","receivedAt":"@Z","properties":{}"#,
        sent: &[("/event_time", "AN_HOUR_AGO")],
        dead: None,
        notes: &[("event_time", "future")],
    },
    Case {
        id: "cut-emoji",
        members: r#"TRACK,"properties":{"revenue":5,"products":[{"product_id":"p1","name":"Mug \ud83c"}]}"#,
        sent: &[
            ("/custom_data/value", r#""5""#),
            ("/custom_data/contents/0/item_name", "\"Mug \u{fffd}\""),
        ],
        dead: None,
        notes: &[("line", "repaired")],
    },
    Case {
        id: "one-price",
        members: r#"TRACK,"properties":{"products":[{"product_id":"a","price":"80,00"},{"product_id":"b","price":10}]}"#,
        sent: &[
            ("/custom_data/value", "null"),
            ("/custom_data/contents/1/item_price", r#""10""#),
        ],
        dead: None,
        notes: &[("value", "unreadable"), ("contents", "unreadable")],
    },
    Case {
        id: "yen",
        members: r#"TRACK,"properties":{"revenue":5000,"currency":"¥"}"#,
        sent: &[
            ("/custom_data/value", r#""5000""#),
            ("/custom_data/currency", "null"),
        ],
        dead: None,
        notes: &[("currency", "unreadable")],
    },
    Case {
        id: "returned-item",
        members: r#"TRACK,"properties":{"products":[{"sku":"a","price":50,"quantity":1},{"sku":"b","price":20,"quantity":-1}]}"#,
        sent: &[
            ("/custom_data/value", r#""30""#),
            ("/custom_data/num_items", "1"),
        ],
        dead: None,
        notes: &[("contents", "negative"), ("num_items", "negative")],
    },
    Case {
        id: "proxies",
        members: r#""type":"page","context":{"ip":"10.0.0.3, 203.0.113.7:51234"},"userId":0,"anonymousId":"a""#,
        sent: &[
            ("/user_data/client_ip_address", r#""203.0.113.7""#),
            ("/user_data/external_id", r#"["a"]"#),
        ],
        dead: None,
        notes: &[("external_id", "placeholder")],
    },
    Case {
        id: "nobody",
        members: r#""type":"page","context":{"ip":"10.0.0.3"},"properties":{"email":"n/a"}"#,
        sent: &[],
        dead: Some("no_match_key"),
        notes: &[("em", "placeholder"), ("client_ip_address", "unreadable")],
    },
    Case {
        id: "gap-in-a-list",
        members: r#"TRACK,"properties":{"products":{"0":{"sku":"a","price":3},"2":{"sku":"b","price":4}}}"#,
        sent: &[("/custom_data/value", r#""7""#)],
        dead: None,
        notes: &[("items", "list")],
    },
];

/// Unix seconds of a whole hour ago, and the same as `2026-11-20T10:00:00`.
fn an_hour_ago() -> (i64, String) {
    let seconds = jiff::Timestamp::now().as_second() - 3600;
    let text = jiff::Timestamp::from_second(seconds)
        .expect("a time")
        .to_string();
    (seconds, text.trim_end_matches('Z').to_owned())
}

fn line(case: &Case, hour: &str) -> String {
    let members = case.members.replace("TRACK", TRACK).replace('@', hour);
    format!(r#"{{"messageId":"{}",{members}}}"#, case.id)
}

/// A tail of what is delivered or dead, in full; it listens.
fn tail(site: &Site) -> Process {
    let args = ["tail", "--full", "--json", "--status", "delivered,dead"];
    let process = Process::start(&mut site.command(&args));
    let mut sent = 0;
    within(s(20), "a tail that listens", || {
        sent += 1;
        let hello = json!({"messageId": format!("hello-{sent}"), "type": "page",
            "context": {"ip": "203.0.113.9", "userAgent": "UA"}});
        Client::connect(&site.socket()).ask(&hello.to_string());
        process.output().contains("hello-").then_some(())
    });
    process
}

fn said(site: &Site, args: &[&str]) -> String {
    let out = site.command(args).output().expect("it runs");
    String::from_utf8(out.stdout).expect("UTF-8")
}

#[test]
fn what_cannot_be_read_is_told_on_every_screen() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let tail = tail(&site);
    let (hour, text) = an_hour_ago();
    let mut client = Client::connect(&site.socket());
    for case in CASES {
        assert_eq!(
            client.ask(&line(case, &text)).status(),
            "queued",
            "{}",
            case.id
        );
    }
    let told: Vec<Value> = within(s(20), "all of them told", || {
        let output = tail.output();
        let lines = output.lines().filter(|line| !line.contains("hello-"));
        let lines: Vec<Value> = lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        (lines.len() == CASES.len()).then_some(lines)
    });
    for case in CASES {
        let of = told
            .iter()
            .find(|line| line["messageId"] == case.id)
            .expect(case.id);
        let status = if case.dead.is_some() {
            "dead"
        } else {
            "delivered"
        };
        assert_eq!(of["status"], status, "{of}");
        assert_eq!(of["reason"].as_str(), case.dead, "{of}");
        for (pointer, value) in case.sent {
            let value = value.replace("AN_HOUR_AGO", &hour.to_string());
            let value: Value = serde_json::from_str(&value).expect("JSON");
            let sent = of["payload"].pointer(pointer).unwrap_or(&Value::Null);
            assert_eq!(*sent, value, "{}: {pointer}", case.id);
        }
        // A line is repaired before anybody hears of what is made of it.
        let made = case.notes.iter().filter(|(field, _)| *field != "line");
        assert_eq!(
            pairs(&of["notes"]),
            made.copied().collect::<Vec<_>>(),
            "{of}"
        );
        let trace: Value =
            serde_json::from_str(&said(&site, &["trace", case.id, "--json"])).expect("JSON");
        assert_eq!(pairs(&trace["notes"]), case.notes, "{trace}");
        let trace = said(&site, &["trace", case.id]);
        for (field, word) in case.notes {
            assert!(
                trace.contains(&format!("note, {field} {word}: ")),
                "{trace}"
            );
        }
    }
    // In `status`, in the metrics, once each in the log.
    let count: usize = CASES.iter().map(|case| case.notes.len()).sum();
    let status = said(&site, &["status"]);
    let row = format!("notes        {count} notes in the last hour: ");
    assert!(status.contains(&row), "{status}");
    let admin = std::os::unix::net::UnixStream::connect(site.admin()).expect("connected");
    let page = Page::read(&get(admin, "/metrics").1);
    let (mut kinds, log) = (std::collections::BTreeMap::new(), daemon.log());
    for (field, word) in CASES.iter().flat_map(|case| case.notes) {
        *kinds.entry((field, word)).or_insert(0.0) += 1.0;
    }
    for ((field, word), count) in kinds {
        let series = format!("pinrelay_notes_total{{field=\"{field}\",word=\"{word}\"}}");
        assert_eq!(page.value(&series), count, "{series}");
        let told = log.lines().filter(|line| {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            line["field"] == **field && line["word"] == **word && line["messageId"].is_string()
        });
        assert_eq!(told.count(), 1, "{field} {word}: {log}");
    }
    let quiet = "pinrelay_notes_total{field=\"ph\",word=\"unreadable\"}";
    assert_eq!(page.value(quiet), 0.0, "there before it rises");
    for secret in ["80,00", "¥", "10.0.0.3", "n/a"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
    // What waits in a file is told the same.
    let file = site.path("events.ndjson");
    let lines: String = CASES.iter().map(|case| line(case, &text) + "\n").collect();
    fs::write(&file, format!("\u{feff}{lines}")).expect("written");
    let file = file.to_str().expect("UTF-8");
    for (case, told) in CASES.iter().zip(said(&site, &["transform", file]).lines()) {
        let told: Value = serde_json::from_str(told).expect("JSON");
        assert_eq!(told["dead"]["reason"].as_str(), case.dead, "{told}");
        assert_eq!(pairs(&told["notes"]), case.notes, "{told}");
    }
    let explained = said(&site, &["transform", "--explain", file]);
    assert!(explained.contains("\n  2 notes\n") && explained.contains("note, repaired: the line"));
    assert_eq!(daemon.stop(s(10)).code, Some(0));
}

fn pairs(notes: &Value) -> Vec<(&str, &str)> {
    let notes = notes.as_array().map_or(&[][..], Vec::as_slice);
    let mut all: Vec<_> = notes
        .iter()
        .map(|note| {
            (
                note["field"].as_str().expect("a field"),
                note["word"].as_str().expect("a word"),
            )
        })
        .collect();
    // One event's own are in the order of the payload; a repair is told last.
    all.sort_by_key(|(field, _)| (*field != "line", 0));
    all
}

#[test]
fn a_time_that_cannot_be_read_waits_and_is_cured_by_an_edit_or_by_the_config() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let (hour, text) = an_hour_ago();
    let odd = |n: usize| Sample {
        id: format!("odd-{n}"),
        event_name: "checkout",
        line: format!(
            r#"{{"messageId":"odd-{n}",{TRACK},"timestamp":"20 past ten","sentAt":"{text}Z"}}"#
        ),
    };
    let odd: Vec<Sample> = (0..4).map(odd).collect();
    Client::queue(&site.socket(), &odd);
    daemon.shows(s(10), "four dead", |status| {
        status["dead"]["unreadable_time"] == 4
    });
    assert_eq!(stand_in.totals().requests, 0);
    let letter = said(&site, &["dead", "show", "odd-0"]);
    assert!(
        letter.contains("timestamp is there, but is no time that can be read"),
        "{letter}"
    );
    // Retried as it is, it dies again.
    said(&site, &["dead", "retry", "--reason", "unreadable_time"]);
    let again = |status: &Value| status["ledger"]["revived"] == 4 && status["dead_total"] == 4;
    daemon.shows(s(10), "dead again", again);
    // An edit fixes the time anew, from the new bytes.
    let file = site.path("dead.ndjson");
    let file = file.to_str().expect("UTF-8");
    said(&site, &["dead", "export", "--id", "odd-0", "-o", file]);
    let exported = fs::read_to_string(file).expect("an export");
    let edited = site.path("edited.ndjson");
    let good = exported.replace("20 past ten", &format!("{text}Z"));
    fs::write(&edited, good).expect("written");
    said(&site, &["dead", "import", edited.to_str().expect("UTF-8")]);
    stand_in.takes(1, s(10));
    let time_of = |id: &str| {
        let events = stand_in.events();
        events
            .iter()
            .find(|e| &*e.event_id == id)
            .expect("there")
            .event_time
    };
    assert_eq!(time_of("odd-0"), hour);
    // The others by the config's word, at the moment when they were accepted.
    site.config("[event_time]\nunreadable = \"accepted_at\"\n");
    assert!(said(&site, &["reload"]).contains("event_time.unreadable"));
    said(&site, &["dead", "retry", "--reason", "unreadable_time"]);
    stand_in.takes(4, s(10));
    assert!((time_of("odd-1") - hour - 3600).abs() < 60);
    let status = daemon.shows(s(10), "settled", |status| status["delivered"] == 4);
    assert_eq!(status["dead_total"], 0);
    assert_eq!(daemon.stop(s(10)).code, Some(0));
}

/// Ten thousand with damaged text among good ones; each resend is of the same repaired bytes.
#[test]
fn damaged_text_is_repaired_alike_in_every_resend_over_kills() {
    const EVENTS: usize = 10_000;
    let stand_in = StandIn::with(&["--latency-ms", "10"]);
    let site = Site::new(&stand_in)
        .set("delivery", "max_batch_events", "100")
        .set("delivery", "linger", "5ms");
    let mut all = samples("torn", 0..EVENTS);
    for (n, sample) in all.iter_mut().enumerate().filter(|(n, _)| n % 3 != 0) {
        let torn = ["cut \\ud83c", "\\uDE00\\uD83D\\uDE00 \\ud83d", "\\udfff"][n % 3];
        let whole = sample.line.strip_suffix('}').expect("an object");
        sample.line = format!(r#"{whole},"torn":"{torn}"}}"#);
        let name = r#""properties":{"#;
        assert!(sample.line.contains(name), "{}", sample.line);
        let told = format!(r#"{name}"title":"{torn}","query":"{torn}","#);
        sample.line = sample.line.replacen(name, &told, 1);
    }
    let answered = AtomicUsize::new(0);
    let daemon = std::thread::scope(|scope| {
        let sender = scope.spawn(|| deliver_all(&site.socket(), &all, 100, &answered, s(60)));
        for kill in 1..=5 {
            let daemon = site.start();
            within(s(60), "answers", || {
                (answered.load(Ordering::Relaxed) >= EVENTS * kill / 6).then_some(())
            });
            daemon.kill();
        }
        let daemon = site.start();
        sender.join().expect("a sender");
        daemon
    });
    let totals = stand_in.takes(EVENTS as u64, s(60));
    let status = daemon.shows(s(20), "all settled", |status| {
        status["ledger"]["queued"] == 0 && status["ledger"]["sending"] == 0
    });
    stand_in.holds(&all);
    assert_eq!((totals.changed, totals.renamed, totals.failed), (0, 0, 0));
    assert!(totals.duplicates <= status["ledger"]["resent"].as_u64().expect("a count"));
    assert_eq!(status["ledger"]["ledger_imbalance"], 0);
    assert_eq!(daemon.stop(s(20)).code, Some(0));
}

/// Raw bytes that are no UTF-8, a byte-order mark, and what names the event.
#[test]
fn bytes_that_are_no_text_cost_no_event_and_make_no_other_of_it() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let mut client = Client::connect(&site.socket());
    let line = |id: &[u8], event: &[u8], name: &[u8]| {
        let parts: [&[u8]; 7] = [
            b"{\"messageId\":\"",
            id,
            b"\",\"type\":\"track\",\"event\":\"",
            event,
            b"\",\"context\":{\"ip\":\"203.0.113.7\"},\"properties\":{\"query\":\"",
            name,
            b"\"}}\n",
        ];
        parts.concat()
    };
    let marked = [b"\xef\xbb\xbf".as_slice(), &line(b"a", b"X", b"well")].concat();
    let mut ask = |bytes: &[u8]| {
        client.write(bytes).expect("written");
        client.answer().expect("an answer")
    };
    assert_eq!(ask(&marked).status(), "queued");
    assert_eq!(
        ask(&line(b"b", b"X", b"\xff\xfe M\xfcller")).status(),
        "queued"
    );
    for (damaged, field) in [
        (line(b"c\xff", b"X", b""), "messageId"),
        (line(b"d", b"X\xff", b""), "event"),
        (line(b"e\\ud800", b"X", b""), "messageId"),
    ] {
        let answer = ask(&damaged);
        assert_eq!(answer.status(), "rejected");
        assert!(
            answer.error().starts_with(&format!("{field} holds")),
            "{}",
            answer.error()
        );
    }
    // Later it is no mark.
    assert_eq!(ask(&marked).status(), "rejected");
    assert_eq!(ask(&line(b"b", b"X", b"")).status(), "duplicate");
    stand_in.takes(2, s(10));
    let trace = said(&site, &["trace", "b"]);
    assert!(
        trace.contains("note, line repaired: the line held text"),
        "{trace}"
    );
    let status = daemon.shows(s(10), "both delivered", |status| status["delivered"] == 2);
    assert_eq!(status["ledger"]["rejected"], 4);
    assert_eq!(daemon.stop(s(10)).code, Some(0));
}

/// The limit is the account's own, as its answers say; never above what is configured.
#[test]
fn calls_a_minute_are_as_many_as_the_headers_say() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"calls_per_minute": 120_000}));
    let site = Site::new(&stand_in);
    let daemon = site.start();
    assert_eq!(daemon.status()["delivery"]["calls_per_minute"], 5000);
    let shows = |most: u64| {
        daemon.shows(s(10), "the limit", |s| {
            s["delivery"]["calls_per_minute"] == most
        })
    };
    Client::queue(&site.socket(), &samples("rate", 0..1));
    shows(120_000);
    assert!(said(&site, &["status"]).contains("at most 120,000 a minute"));
    stand_in.mode(json!({"calls_per_minute": 700}));
    Client::queue(&site.socket(), &samples("rate", 1..2));
    shows(700);
    site.config("[delivery]\nmax_calls_per_minute = 300\n");
    said(&site, &["reload"]);
    shows(300);
    assert_eq!(daemon.stop(s(10)).code, Some(0));
}
