//! Text of others reaches people, and steers neither their terminals nor their chats.

use std::fs;
use std::io::Read;
use std::time::Duration;

use serde_json::json;

use crate::support::{Client, Process, Site, StandIn, s, within};

/// What a terminal obeys, and what a chat takes for a mention or a link.
const NASTY: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}gnp\u{9b}31m <!channel> @everyone";

fn harmless(what: &str, said: &str) {
    for nasty in ['\u{1b}', '\u{7}', '\u{202e}', '\u{9b}'] {
        assert!(!said.contains(nasty), "{what}: {nasty:?} in {said:?}");
    }
}

/// Each command that shows what somebody else wrote.
#[test]
fn no_command_lets_through_what_a_terminal_obeys() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    // An event that is refused in these words, whose own id and name are as bad; and a line that is
    // none.
    stand_in.mode(json!({"refuse_containing": "nasty", "refuse_message": format!("no: {NASTY}")}));
    let id = format!("nasty-{NASTY}");
    let event = json!({"messageId": id, "type": "track", "event": NASTY,
        "properties": {"email": "a@example.com", "title": NASTY, "nasty": NASTY}});
    let mut tail = Process::start(&mut site.command(&["tail"]));
    let mut full = Process::start(&mut site.command(&["tail", "--full"]));
    within(s(10), "listeners", || {
        (tail.running() && full.running()).then_some(())
    });
    let file = site.path("events");
    fs::write(
        &file,
        format!("{event}\n{{\"messageId\":\"{}\n", "\u{202e}\u{1b}"),
    )
    .expect("a file");
    let file = file.to_str().expect("a path");
    let mut said = Vec::new();
    let mut run = |args: &[&str]| {
        let out = site.command(args).output().expect("it runs");
        let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        said.push((args.join(" "), text));
    };
    run(&[
        "send",
        "--socket",
        site.socket().to_str().expect("a path"),
        file,
    ]);
    daemon.shows(s(20), "a dead letter", |status| status["dead_total"] == 1);
    run(&["transform", file]);
    run(&["transform", "--explain", file]);
    run(&["dead", "list"]);
    run(&["dead", "list", "--json"]);
    run(&["dead", "show", &id]);
    run(&["trace", &id]);
    run(&["trace", "--json", &id]);
    run(&[
        "transform",
        "--from",
        "dead",
        "--compare",
        site.config_file().to_str().expect("a path"),
    ]);
    // Pinterest, or whoever stands in its place, says it of the token.
    stand_in.mode(json!({"fault": "401", "fault_message": NASTY}));
    let sample =
        json!({"messageId": "m", "type": "page", "properties": {"email": "a@example.com"}});
    Client::connect(&site.socket()).ask(&sample.to_string());
    daemon.shows(s(20), "parked", |status| status["state"] == "parked");
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["status", "--check"],
        &["check", "--online"],
        &["send", "--follow", "--timeout", "1", file],
        &["verify"],
        &["losses"],
    ] {
        run(args);
    }
    said.push(("tail".into(), tail.output()));
    said.push(("tail --full".into(), full.output()));
    said.push(("the log".into(), daemon.log()));
    for (what, text) in &said {
        harmless(what, text);
        assert!(!text.is_empty(), "{what} said nothing");
    }
    let of = |what: &str| {
        let found = said.iter().find(|(of, _)| of == what);
        found.map(|(_, text)| text.as_str()).unwrap_or_default()
    };
    // It is shown all the same.
    for what in [
        "status",
        "check --online",
        "dead list",
        "tail",
        "status --check",
    ] {
        assert!(
            of(what).contains("<!channel>") || of(what).contains("gnp"),
            "{what}: {}",
            of(what)
        );
    }
    tail.kill();
    full.kill();
    assert_eq!(daemon.stop(s(20)).code, Some(0));
}

#[test]
fn top_draws_nothing_that_a_terminal_obeys_but_its_own() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"fault": "401", "fault_message": NASTY}));
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let sample =
        json!({"messageId": "m", "type": "page", "properties": {"email": "a@example.com"}});
    Client::connect(&site.socket()).ask(&sample.to_string());
    daemon.shows(s(20), "parked", |status| status["state"] == "parked");
    let size = nix::pty::Winsize {
        ws_row: 24,
        ws_col: 200,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = nix::pty::openpty(Some(&size), None).expect("a terminal");
    let mut command = site.command(&["top"]);
    command.stdin(terminal.slave.try_clone().expect("a second handle"));
    command.stdout(terminal.slave);
    let mut top = command.spawn().expect("it starts");
    drop(command);
    let mut eye = fs::File::from(terminal.master);
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while !String::from_utf8_lossy(&seen).contains("HTTP") {
        assert!(
            std::time::Instant::now() < end,
            "{}",
            String::from_utf8_lossy(&seen)
        );
        let n = eye.read(&mut buffer).expect("it draws");
        seen.extend_from_slice(&buffer[..n]);
    }
    top.kill().expect("our own child");
    top.wait().expect("gone");
    let seen = String::from_utf8_lossy(&seen);
    assert!(
        !seen.contains("\u{1b}]0;owned") && !seen.contains('\u{202e}') && !seen.contains('\u{9b}')
    );
}

/// Each letter kept its message whole, however long Pinterest, or whoever answered, made it.
#[test]
fn a_long_message_is_cut_on_a_character_and_says_so() {
    let stand_in = StandIn::start();
    let long = format!("no: {}", "é".repeat(200_000));
    stand_in.mode(json!({"refuse_containing": "long-", "refuse_message": long}));
    let site = Site::new(&stand_in);
    let daemon = site.start();
    for n in 0..5 {
        let event = json!({"messageId": format!("long-{n}"), "type": "page",
            "properties": {"email": "a@example.com", "title": format!("long-{n}")}});
        Client::connect(&site.socket()).ask(&event.to_string());
    }
    daemon.shows(s(20), "dead letters", |status| status["dead_total"] == 5);
    let stream = std::os::unix::net::UnixStream::connect(site.admin()).expect("connected");
    let (code, page) = crate::support::get(stream, "/dead");
    assert_eq!(code, 200);
    assert!(page.len() < 20_000, "{}", page.len());
    let page: serde_json::Value = serde_json::from_str(&page).expect("JSON");
    let message = page["letters"][0]["message"].as_str().expect("a message");
    assert!(message.starts_with("no: éé"), "{message}");
    assert!(
        message.ends_with("… (cut, 400004 bytes in all)"),
        "{message}"
    );
}
