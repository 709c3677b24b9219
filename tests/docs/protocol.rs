//! docs/protocol.md: its transcripts are run, in the order of the page, against one daemon, and
//! its routes are those of the router's source.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use pinrelay::config::KEYS;
use pinrelay::event::MAX_MESSAGE_ID_BYTES;

use super::blocks::{Block, blocks, fits};
use super::support::{Client, Daemon, Site, StandIn, request, s};
use super::{read, runs};

const PAGE: &str = "docs/protocol.md";

#[test]
fn the_transcripts_are_what_the_daemon_says() {
    let stand_in = StandIn::start();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr());
    let port = port.expect("a port that was free a moment ago").to_string();
    let site = Site::new(&stand_in).set("metrics", "listen", &port);
    let daemon = site.start();
    for block in blocks(&read(PAGE)) {
        match block.kind.as_str() {
            "ndjson-transcript" => converse(&daemon, &block),
            "admin-transcript" => ask(&site, &daemon, &block),
            "sh" => shell(&site, &port, &block),
            kind => panic!("{PAGE}:{}: nothing runs {kind:?}", block.line),
        }
    }
}

/// Nothing is under way any more, unless nothing may leave.
fn settled(daemon: &Daemon<'_>) {
    daemon.shows(s(20), "all settled, or paused", |status| {
        status["gate"]["state"] == "paused" || (status["queued"] == 0 && status["sending"] == 0)
    });
}

/// One connection: each line that is written, and the answers that are read.
fn converse(daemon: &Daemon<'_>, block: &Block) {
    settled(daemon);
    let mut client = Client::connect(&daemon.socket());
    for line in block.text.lines() {
        let at = format!("{PAGE}:{}: {line}", block.line);
        if let Some(sent) = line.strip_prefix("> ") {
            client.write(format!("{sent}\n").as_bytes()).expect(&at);
        } else if let Some(told) = line.strip_prefix("< ") {
            // As text, for the order of the keys is told as well.
            let answer = client.answer_line().expect(&at);
            assert!(fits(told, &answer), "{at}\nanswered: {answer}");
        } else {
            panic!("{at}: neither > nor <");
        }
    }
    assert_eq!(client.finish(), [], "{PAGE}:{}: more answers", block.line);
}

/// Requests with their answers: a status and what the body is, over more than one line.
fn ask(site: &Site, daemon: &Daemon<'_>, block: &Block) {
    let mut lines = block.text.lines().peekable();
    while let Some(line) = lines.next() {
        let at = format!("{PAGE}:{}: {line}", block.line);
        let (method, rest) = line.split_once(' ').expect(&at);
        let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
        let event = lines.next_if(|line| line.starts_with("> "));
        let head = lines.next().expect(&at);
        let (status, first) = head.split_once(' ').expect(&at);
        let mut told = vec![first];
        let is_body = |line: &&str| !line.starts_with("GET ") && !line.starts_with("POST ");
        while let Some(more) = lines.next_if(is_body) {
            told.push(more);
        }
        settled(daemon);
        let stream = UnixStream::connect(site.admin()).expect(&at);
        let (code, answer) = match event {
            Some(event) => tail(stream, daemon, path, &event[2..]),
            None => request(stream, method, path, body),
        };
        assert_eq!(code.to_string(), status, "{at}\nanswered: {answer}");
        // JSON is folded in the page; text is not.
        let told = match answer.starts_with('{') {
            true => told.iter().map(|part| part.trim_start()).collect(),
            false => told.join("\n"),
        };
        assert!(
            fits(&told, answer.trim_end()),
            "{at}\ntold:     {told}\nanswered: {answer}"
        );
    }
}

/// The first line that a tail gives of this event.
fn tail(mut stream: UnixStream, daemon: &Daemon<'_>, path: &str, event: &str) -> (u16, String) {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: pinrelay\r\n\r\n").expect("written");
    stream.set_read_timeout(Some(s(20))).expect("a time-out");
    let mut until = |end: &[u8]| {
        let mut got = Vec::new();
        while !got.ends_with(end) {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("more of the answer");
            got.push(byte[0]);
        }
        String::from_utf8(got).expect("text")
    };
    let head = until(b"\r\n\r\n");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let answer = Client::connect(&daemon.socket()).ask(event);
    assert_eq!(answer.status(), "queued", "{answer:?}");
    // The size of the piece, then the line.
    until(b"\r\n");
    (status.expect("a status"), until(b"\n"))
}

/// The page's commands, with the paths and the port of this site.
fn shell(site: &Site, port: &str, block: &Block) {
    if !runs("curl") {
        println!("SKIPPED: no curl here, so the curl lines of {PAGE} were not run");
        return;
    }
    let here = format!("{}/", site.path("").display());
    let script = (block.text.replace("/run/pinrelay/", &here)).replace("127.0.0.1:9464", port);
    assert_ne!(script, block.text, "{PAGE}:{}: no path of ours", block.line);
    let script = script.replace("curl -sS ", "curl -sS --fail ");
    let out = Command::new("bash").args(["-euc", &script]).output();
    let out = out.expect("bash runs");
    assert!(out.status.success(), "{script}{out:?}");
}

#[test]
fn every_route_stands_in_the_page_and_no_other() {
    let mut served = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the door") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).expect("source");
            for route in source.split(".route(").skip(1) {
                let mut parts = route.splitn(3, '"').skip(1);
                let path = parts.next().expect("a path");
                let method = parts.next().expect("a method").trim_matches([',', ' ']);
                let method = method.split('(').next().expect("a word");
                served.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    let page = read(PAGE);
    let told: BTreeSet<_> = (page.lines())
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
        .map(str::to_owned)
        .collect();
    assert!(served.contains("GET /status"), "{served:?}");
    assert_eq!(told, served);
    // And each is shown at work.
    let shown: Vec<_> = (blocks(&page).into_iter())
        .filter(|block| block.kind == "admin-transcript")
        .flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    for route in &told {
        let is = |line: &String| {
            line.strip_prefix(route)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['?', ' ']))
        };
        assert!(shown.iter().any(is), "{route} has no transcript");
    }
}

#[test]
fn the_limits_are_those_of_the_source() {
    let page = read(PAGE);
    let key = KEYS.iter().find(|key| key.name == "max_event_bytes");
    let line = key.expect("the key").default;
    for told in [
        format!("at most {MAX_MESSAGE_ID_BYTES} bytes of UTF-8"),
        format!("At most {line} bytes without the line end (`ingest.max_event_bytes`)"),
    ] {
        assert!(page.contains(&told), "{told}");
    }
}
