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
    assert_eq!(out.status.code(), Some(64), "{out:?}");
    assert!(
        String::from_utf8_lossy(&out.stderr).contains("[possible values: queued, "),
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

/// Waits until a tail listens.
fn listened(site: &Site) {
    within(s(20), "a tail that listens", || {
        let admin = UnixStream::connect(site.admin()).ok()?;
        let page = Page::read(&get(admin, "/metrics").1);
        (page.value("pinrelay_tail_listeners") >= 1.0).then_some(())
    });
}

/// A daemon that ends is told once, the next one is found, and stdout has nothing but events.
#[test]
fn a_tail_goes_on_with_the_next_daemon_and_says_that_it_may_have_missed_some() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let file = site.path("told");
    let mut command = bare("sh".as_ref());
    command.args(["-c", r#"out=$1; shift; exec "$0" tail "$@" > "$out""#]);
    command.arg(PINRELAY).arg(&file);
    command.args(["--json", "--status", "queued", "--limit", "3", "--config"]);
    let mut tail = Process::start(command.arg(site.config_file()));
    listened(&site);
    Client::queue(&daemon.socket(), &samples("first", 0..1));
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    tail.says_in("the daemon has ended; tail waits", s(20));
    let daemon = site.start();
    tail.says_in("is back; events may have passed unseen", s(20));
    Client::queue(&daemon.socket(), &samples("second", 0..2));
    let ended = tail.ended(s(20));
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let said: Vec<&str> = ended.output.lines().collect();
    assert_eq!(said.len(), 2, "{said:?}");
    let text = fs::read_to_string(file).expect("what it told");
    let ids: Vec<Value> = (text.lines())
        .map(|line| serde_json::from_str::<Value>(line).expect(line)["messageId"].clone())
        .collect();
    assert_eq!(ids, ["first-000000", "second-000000", "second-000001"]);
    // Where none was there to begin with there is nothing to wait for.
    daemon.kill();
    let out = site.command(&["tail"]).output().expect("it runs");
    assert_eq!(out.status.code(), Some(69), "{out:?}");
}

#[test]
fn a_tail_that_waits_for_a_daemon_ends_when_nobody_reads_it() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let mut command = site.command(&["tail"]);
    command.stdout(std::process::Stdio::piped());
    let mut child = command
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it runs");
    listened(&site);
    daemon.kill();
    drop(child.stdout.take());
    let code = within(s(20), "its end", || {
        child.try_wait().expect("our own child")
    });
    assert_eq!(code.code(), Some(0));
}

#[test]
fn one_event_alone_and_so_many_and_no_more() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let id = "one-000002";
    let mut command = site.command(&["tail", "--json", "--id", id, "--limit", "3"]);
    let tail = Process::start(&mut command);
    listened(&site);
    Client::queue(&daemon.socket(), &samples("one", 0..5));
    let ended = tail.ended(s(20));
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let lines = ended
        .output
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect(line));
    let told: Vec<_> = lines
        .map(|line| (line["messageId"].clone(), line["status"].clone()))
        .collect();
    let due = ["queued", "sending", "delivered"].map(|status| (json!(id), json!(status)));
    assert_eq!(told, due);
}

/// What is known of the past is shown, what is not is said, and live events follow.
#[test]
fn since_shows_what_is_remembered_and_says_what_is_not() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"refuse_event_ids": ["past-000001"]}));
    let site = Site::new(&stand_in);
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("past", 0..3));
    daemon.shows(s(20), "all settled", |status| {
        status["ledger"]["delivered"] == 2
    });
    daemon.shows(s(20), "one is dead", |status| status["dead_total"] == 1);
    let mut command = site.command(&["tail", "--json", "--since", "1h", "--limit", "7"]);
    let mut tail = Process::start(&mut command);
    within(s(20), "the past", || {
        (tail.output().lines().count() >= 7).then_some(())
    });
    assert!(tail.running(), "six steps of the past are no seven");
    Client::queue(&daemon.socket(), &samples("live", 0..1));
    let ended = tail.ended(s(20));
    let lines: Vec<Value> = (ended.output.lines())
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    assert!(lines[0]["remembered_since"].is_i64(), "{lines:?}");
    let past = &lines[1..7];
    let of = |status: &str| past.iter().filter(|line| line["status"] == status).count();
    assert_eq!(
        [of("queued"), of("delivered"), of("dead")],
        [3, 2, 1],
        "{past:?}"
    );
    for line in past {
        assert_eq!(
            (&line["remembered"], &line["messageId"]),
            (&json!(true), &json!(""))
        );
        assert_eq!(line["event"], "", "no name is remembered: {line}");
    }
    // The steps of one event have one hash.
    let hash = |line: &Value| line["id_hash"].as_str().expect("a hash").to_owned();
    let dead = past
        .iter()
        .find(|line| line["status"] == "dead")
        .expect("one");
    let same = past.iter().filter(|line| hash(line) == hash(dead)).count();
    assert_eq!(same, 2, "{past:?}");
    assert_eq!(lines[7]["messageId"], "live-000000", "{lines:?}");

    // Asked for by its id it is that event's; for people what is not known is said.
    let id = [
        "tail",
        "--id",
        "past-000001",
        "--since",
        "1h",
        "--limit",
        "2",
    ];
    let out = site.command(&id).output().expect("it runs");
    let (shown, said) = (
        String::from_utf8_lossy(&out.stdout).into_owned(),
        String::from_utf8_lossy(&out.stderr).into_owned(),
    );
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(
        shown.lines().all(|line| line.contains("  past-000001")),
        "{shown}"
    );
    assert!(
        shown.contains(" dead ") && shown.contains("  refused"),
        "{shown}"
    );
    assert!(
        said.contains("remembered back to ") && said.contains("names, notes"),
        "{said}"
    );
    let status = ["tail", "--since", "1h", "--status", "dead", "--limit", "1"];
    let out = site.command(&status).output().expect("it runs");
    let shown = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(shown.contains(" dead ") && shown.contains("  #"), "{shown}");
    // No name is remembered that a filter could go by.
    let named = ["tail", "--since", "1h", "--event", "Lead"];
    let out = site.command(&named).output().expect("it runs");
    assert_eq!(out.status.code(), Some(64), "{out:?}");
    let admin = UnixStream::connect(site.admin()).expect("a socket");
    let (code, why) = get(admin, "/tail?since=0&event=Lead");
    assert_eq!(code, 400, "{why}");
    assert!(why.contains("no names are remembered"), "{why}");
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
