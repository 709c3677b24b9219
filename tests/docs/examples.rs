//! docs/examples: the clients of docs/first-hour.md, word for word, against connections that break
//! and a daemon that is killed.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::blocks::blocks;
use super::support::{Process, Sample, Site, StandIn, bare, s, samples, within};
use super::{read, runs};

#[test]
fn the_page_shows_the_files_as_they_are() {
    let shown = blocks(&read("docs/first-hour.md"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    let mut files = 0;
    for entry in fs::read_dir(folder).expect("the examples") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("an example");
        let same = shown.iter().filter(|block| block.text == text).count();
        assert_eq!(same, 1, "{} in the page", path.display());
        files += 1;
    }
    assert_eq!(files, 3);
}

#[test]
fn python_loses_nothing_and_doubles_nothing() {
    survives("python3", "send.py");
}

#[test]
fn node_loses_nothing_and_doubles_nothing() {
    survives("node", "send.mjs");
}

#[test]
fn php_loses_nothing_and_doubles_nothing() {
    survives("php", "send.php");
}

/// Lines that a client sends at once.
const WINDOW: usize = 100;
/// Whole answers that pass before the first connection is cut within the next.
const PASSED: usize = 30;

fn survives(program: &str, example: &str) {
    if !runs(program) {
        println!("SKIPPED: no {program} here, so docs/examples/{example} was not run");
        return;
    }
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let connections = relay(&site.path("relay.sock"), site.socket());
    let due = samples(example, 0..2 * WINDOW);

    let (events, mut feed) = io::pipe().expect("a pipe");
    let mut command = bare(Path::new(program));
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    command
        .arg(examples.join(example))
        .arg(site.path("relay.sock"));
    let mut client = Process::start_with(&mut command, Stdio::from(events));
    let mut write = |samples: &[Sample]| {
        let lines: String = samples.iter().map(|s| format!("{}\n", s.line)).collect();
        feed.write_all(lines.as_bytes()).expect("it reads");
    };

    // A connection that breaks within an answer, and answers that come in pieces.
    write(&due[..WINDOW]);
    answers(&mut client, WINDOW);
    stand_in.takes(WINDOW as u64, s(20));
    daemon.shows(s(20), "all settled", |status| {
        status["queued"] == 0 && status["sending"] == 0
    });

    // A daemon that takes the connection, never answers, and is killed.
    let before = connections.load(Ordering::Relaxed);
    daemon.signal(Signal::SIGSTOP);
    write(&due[WINDOW..]);
    within(s(20), "a connection to the stopped daemon", || {
        (connections.load(Ordering::Relaxed) > before).then_some(())
    });
    daemon.kill();
    let daemon = site.start();
    answers(&mut client, 2 * WINDOW);
    drop(feed);
    let answers = answers(&mut client, 2 * WINDOW);
    let ended = client.ended(s(20));
    assert_eq!(ended.code, Some(0), "{}", ended.output);

    let ids: Vec<_> = answers.iter().map(|answer| &answer["messageId"]).collect();
    assert_eq!(ids, due.iter().map(|s| s.id.as_str()).collect::<Vec<_>>());
    let count = |status| answers.iter().filter(|a| a["status"] == status).count();
    assert_eq!(count("queued") + count("duplicate"), 2 * WINDOW);
    assert!(count("duplicate") > 0, "the answer that was cut was stored");
    stand_in.takes(2 * WINDOW as u64, s(20));
    stand_in.holds(&due);
    for event in stand_in.events() {
        assert_eq!(event.count, 1, "{} was sent twice", event.event_id);
    }
    let status = daemon.shows(s(20), "all settled", |status| status["sending"] == 0);
    assert_eq!(status["ledger"]["ledger_imbalance"], 0);
    assert_eq!(status["ledger"]["accepted"], 2 * WINDOW);
}

/// Waits until the client has told so many answers; all of them.
fn answers(client: &mut Process, count: usize) -> Vec<Value> {
    within(s(60), "answers", || {
        let output = client.output();
        let lines = output.lines().filter(|line| line.starts_with('{'));
        let told: Vec<_> = lines.map(|l| serde_json::from_str(l).expect(l)).collect();
        assert!(told.len() >= count || client.running(), "ended: {output}");
        (told.len() >= count).then_some(told)
    })
}

/// Passes connections on to the daemon, answers in small pieces; the first one is cut within an
/// answer. How many were passed on. Its threads end with the test's process.
fn relay(at: &Path, daemon: PathBuf) -> Arc<AtomicUsize> {
    let listener = UnixListener::bind(at).expect("a socket");
    let passed_on = Arc::new(AtomicUsize::new(0));
    let count = passed_on.clone();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.expect("a client");
            // A daemon that is away is a connection that ends.
            let Ok(daemon) = UnixStream::connect(&daemon) else {
                continue;
            };
            let first = count.fetch_add(1, Ordering::Relaxed) == 0;
            let (from, to) = (client.try_clone(), daemon.try_clone());
            let (mut from, mut to) = (from.expect("a handle"), to.expect("a handle"));
            thread::spawn(move || {
                // Ends where either end is gone.
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            thread::spawn(move || pass(&daemon, &client, first));
        }
    });
    passed_on
}

fn pass(mut daemon: &UnixStream, mut client: &UnixStream, cut: bool) {
    let (mut piece, mut answers) = ([0; 7], 0);
    while let Ok(n @ 1..) = daemon.read(&mut piece) {
        answers += piece[..n].iter().filter(|b| **b == b'\n').count();
        if client.write_all(&piece[..n]).is_err() {
            break;
        }
        if cut && answers >= PASSED {
            // A few bytes of the next answer: it is longer than two pieces.
            let more = daemon.read(&mut piece).unwrap_or(0);
            let _ = client.write_all(&piece[..more]);
            break;
        }
    }
    for end in [daemon, client] {
        // Fails only where it is closed already.
        let _ = end.shutdown(Shutdown::Both);
    }
}
