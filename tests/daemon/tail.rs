//! `pinrelay tail` and `send --follow`: events as they pass.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    Client, PINRELAY, Page, Process, Site, StandIn, bare, get, s, samples, within,
};

/// A tail that listens: the daemon says so by the head of its answer, so the first event of
/// its own is sent until it is seen.
fn tail(site: &Site, args: &[&str]) -> Process {
    let mut command = site.command(&["tail"]);
    let process = Process::start(command.args(args));
    let listening = std::cell::Cell::new(0);
    within(s(20), "a tail that listens", || {
        let n = listening.get();
        listening.set(n + 1);
        let hello = json!({"messageId": format!("hello-{n}"), "type": "track", "event": "Hello",
            "context": {"ip": "203.0.113.9", "userAgent": "UA"}});
        Client::connect(&site.socket()).ask(&hello.to_string());
        process.output().contains("hello-").then_some(())
    });
    process
}

fn told(process: &Process) -> Vec<Value> {
    let output = process.output();
    let lines = output.lines().filter(|line| !line.contains("hello-"));
    lines
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

#[test]
fn a_tail_shows_each_stage_and_no_personal_data() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"refuse_event_ids": ["t-000001"]}));
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let tail = tail(&site, &["--json"]);
    Client::queue(&daemon.socket(), &samples("t", 0..3));
    let mut client = Client::connect(&daemon.socket());
    client.ask("nonsense");
    client.ask(&samples("t", 0..1)[0].line);
    let lines = within(s(20), "everything told", || {
        let lines = told(&tail);
        let ends = lines
            .iter()
            .filter(|l| l["status"] == "delivered" || l["status"] == "dead");
        (ends.count() == 3).then_some(lines)
    });
    let stages = |id: &str| -> Vec<&str> {
        let of = lines.iter().filter(|line| line["messageId"] == id);
        of.filter_map(|line| line["status"].as_str()).collect()
    };
    let life = stages("t-000000");
    let expected = ["queued", "sending", "delivered"].map(|stage| {
        life.iter()
            .position(|s| *s == stage)
            .unwrap_or_else(|| panic!("{stage}: {life:?}"))
    });
    assert!(expected.is_sorted(), "{life:?}");
    assert!(life.contains(&"duplicate"), "{life:?}");
    assert!(stages("t-000001").ends_with(&["dead"]), "{lines:?}");
    let dead = lines
        .iter()
        .find(|line| line["status"] == "dead")
        .expect("one");
    assert_eq!(dead["reason"], "refused");
    assert!(dead["message"].is_string(), "{dead}");
    let delivered =
        |line: &&Value| line["status"] == "delivered" && line["messageId"] == "t-000000";
    let delivered = lines.iter().find(delivered).expect("one");
    assert_eq!(delivered["event"], "Order Completed");
    assert_eq!(delivered["event_name"], "checkout");
    let rejected = lines
        .iter()
        .find(|line| line["status"] == "rejected")
        .expect("one");
    assert!(
        rejected["message"]
            .as_str()
            .is_some_and(|why| !why.contains("nonsense"))
    );
    for personal in ["mail.example", "203.0.113", "Byron", "555 010"] {
        assert!(!tail.output().contains(personal), "{personal}");
    }
}

#[test]
fn filters_hold_and_full_shows_the_line_and_what_is_sent() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let full = tail(&site, &["--json", "--full"]);
    let filtered = [
        "--json",
        "--status",
        "delivered",
        "--event",
        "Order Completed",
    ];
    let mut command = site.command(&["tail"]);
    let filtered = Process::start(command.args(filtered));
    // Its own listener, seen by its first match.
    let seen = |n: usize| filtered.output().lines().count() > n;
    let mut n = 0;
    within(s(20), "a filtered tail that listens", || {
        n += 1;
        Client::queue(&daemon.socket(), &samples(&format!("w{n}"), 0..1));
        seen(0).then_some(())
    });
    Client::queue(&daemon.socket(), &samples("f", 0..10));
    within(s(20), "both orders", || {
        filtered.output().contains("f-000005").then_some(())
    });
    for line in filtered.output().lines() {
        let line: Value = serde_json::from_str(line).expect(line);
        assert_eq!(line["status"], "delivered");
        assert_eq!(line["event"], "Order Completed");
    }
    let lines = within(s(20), "in full", || {
        let lines = told(&full);
        let delivered =
            |line: &Value| line["status"] == "delivered" && line["messageId"] == "f-000000";
        lines.iter().any(delivered).then_some(lines)
    });
    let delivered =
        |line: &&Value| line["status"] == "delivered" && line["messageId"] == "f-000000";
    let line = lines.iter().find(delivered).expect("one");
    assert_eq!(
        line["line"]["context"]["traits"]["email"],
        "customer0@mail.example"
    );
    assert_eq!(line["payload"]["event_name"], "checkout");
    assert_eq!(line["payload"]["event_id"], "f-000000");
    // A status that there is not.
    let out = (site.command(&["tail", "--status", "deliverd"]).output()).expect("it runs");
    assert_eq!(out.status.code(), Some(65), "{out:?}");
    assert!(
        String::from_utf8_lossy(&out.stderr).contains("there are queued"),
        "{out:?}"
    );
}

#[test]
fn a_tail_that_does_not_read_holds_up_nothing_and_is_told_what_it_missed() {
    let stand_in = StandIn::counting();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let mut slow = UnixStream::connect(site.admin()).expect("a socket");
    slow.set_read_timeout(Some(s(20))).expect("a time-out");
    let ask = "GET /tail HTTP/1.1\r\nHost: x\r\n\r\n";
    std::io::Write::write_all(&mut slow, ask.as_bytes()).expect("written");
    let mut head = [0; 12];
    slow.read_exact(&mut head).expect("a head");
    assert_eq!(&head, b"HTTP/1.1 200");
    Client::queue(&daemon.socket(), &samples("slow", 0..20_000));
    daemon.shows(s(60), "all delivered beside it", |status| {
        status["ledger"]["delivered"] == 20_000
    });
    let mut text = Vec::new();
    let mut piece = vec![0; 1 << 16];
    let missed = |text: &[u8]| String::from_utf8_lossy(text).contains("\"missed\":");
    while !missed(&text) {
        let n = slow.read(&mut piece).expect("more");
        assert!(n > 0, "the end, and nothing missed");
        text.extend_from_slice(&piece[..n]);
    }
    // Once it has left nothing is built for it any more.
    let listeners = || {
        let admin = UnixStream::connect(site.admin()).expect("a socket");
        Page::read(&get(admin, "/metrics").1).value("pinrelay_tail_listeners")
    };
    assert_eq!(listeners(), 1.0);
    drop(slow);
    within(s(20), "no listener", || (listeners() == 0.0).then_some(()));
}

fn follow(site: &Site, file: &str, timeout: &str) -> Command {
    let mut command = bare(PINRELAY.as_ref());
    command.arg("send").arg(site.path(file)).arg("--follow");
    command
        .args(["--timeout", timeout])
        .arg("--socket")
        .arg(site.socket());
    command.arg("--admin-socket").arg(site.admin());
    command
}

#[test]
fn send_follow_waits_for_each_and_says_what_became_of_it() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let text = |series: &str, n| -> String {
        samples(series, 0..n)
            .iter()
            .map(|s| format!("{}\n", s.line))
            .collect()
    };
    fs::write(site.path("good"), text("good", 3000)).expect("a file");
    let out = follow(&site, "good", "60").output().expect("it runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(
        said.contains("followed: 3000 delivered, 0 dead, 0 still queued"),
        "{said}"
    );

    // One without anything to match it by, one whose click_id is missing.
    let lonely = json!({"messageId": "lonely", "type": "track", "event": "Lead"});
    let clickless = json!({"messageId": "clickless", "type": "track", "event": "Lead", "userId": "u",
        "context": {"ip": "203.0.113.9", "userAgent": "UA"}});
    fs::write(site.path("mixed"), format!("{lonely}\n{clickless}\n")).expect("a file");
    let out = follow(&site, "mixed", "60").output().expect("it runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(
        said.contains("followed: 1 delivered, 1 dead, 0 still queued"),
        "{said}"
    );
    assert!(said.contains("lonely: dead, no_match_key"), "{said}");
    assert!(
        said.contains("with a warning: ") && said.contains("click_id is missing"),
        "{said}"
    );

    // For programs one object, and nothing else on stdout.
    let other = lonely.to_string().replace("lonely", "lonelier");
    fs::write(site.path("more"), format!("{other}\nno event\n")).expect("a file");
    let out = follow(&site, "more", "60").arg("--json").output();
    let out = out.expect("it runs");
    assert_eq!(out.status.code(), Some(65), "{out:?}");
    let told: serde_json::Value = serde_json::from_slice(&out.stdout).expect("one object");
    let counts = ["queued", "duplicate", "ignored", "rejected"].map(|of| told[of].clone());
    assert_eq!(counts, [1, 0, 0, 1].map(serde_json::Value::from), "{told}");
    assert_eq!(told["rejects"][0]["line"], 2);
    let followed = json!({"delivered": 0, "dead": 1, "queued": 0});
    assert_eq!(told["followed"], followed);

    // What came in an event does not steer the terminal, whoever wrote it.
    let nasty = json!({"messageId": "n\u{1b}]0;t\u{7}\u{9b}2J\u{202e}", "type": "track",
        "event": "Lead\u{1b}[2J", "userId": "u", "context": {"ip": "203.0.113.9", "userAgent": "UA"}});
    fs::write(site.path("nasty"), format!("{nasty}\n")).expect("a file");
    let out = follow(&site, "nasty", "60").output().expect("it runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("n·]0;t··2J·: delivered"), "{said:?}");
    let explained = bare(PINRELAY.as_ref())
        .args(["transform", "--explain", "--config"])
        .args([site.config_file(), site.path("nasty")])
        .output()
        .expect("it runs");
    for text in [said.into_bytes(), explained.stdout] {
        let text = String::from_utf8(text).expect("text");
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(steers), "{text:?}");
    }

    // Nothing gets through: interrupted, it says what is still queued.
    stand_in.mode(json!({"token": "another"}));
    fs::write(site.path("stuck"), text("stuck", 2)).expect("a file");
    let mut process = Process::start(&mut follow(&site, "stuck", "600"));
    process.says("waiting for 2 to be delivered", s(20));
    daemon.shows(s(20), "parked", |status| status["state"] == "parked");
    process.signal(Signal::SIGINT);
    let ended = process.ended(s(5));
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(
        ended.output.contains("0 dead, 2 still queued"),
        "{}",
        ended.output
    );
}
