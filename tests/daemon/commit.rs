//! The sync comes before the answer, as the kernel sees it.

use std::collections::HashMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::process::Command;

use crate::support::{Client, Process, Site, request, s, samples, within};

const CLIENTS: usize = 4;
const ROUNDS: usize = 25;
const LINES: usize = 10;

/// What the kernel shows of a protocol.
struct Marks {
    /// Within a read of events.
    read: &'static str,
    /// At the beginning of an answer that acknowledges some.
    answer: &'static str,
}

const LINES_OF_JSON: Marks = Marks {
    read: "anonymousId",
    answer: r#""{\"status\":\"queued"#,
};
const HTTP: Marks = Marks {
    read: "POST /v1/",
    answer: r#""HTTP/1.1 200 "#,
};

#[test]
fn a_sync_returns_before_each_answer_is_written() {
    let client = |site: &Site, client: usize| {
        let mut connection = Client::connect(&site.socket());
        let series = format!("sync{client}");
        for round in 0..ROUNDS {
            let samples = samples(&series, round * LINES..(round + 1) * LINES);
            let text: String = samples.iter().map(|s| format!("{}\n", s.line)).collect();
            connection.write(text.as_bytes()).expect("written");
            // In lockstep, so that each answer's lines are known to be the last read.
            for _ in 0..LINES {
                assert_eq!(connection.answer().expect("an answer").status(), "queued");
            }
        }
    };
    traced(&LINES_OF_JSON, client);
}

#[test]
fn a_sync_returns_before_each_200_is_written() {
    let client = |site: &Site, client: usize| {
        let series = format!("sync{client}");
        for round in 0..ROUNDS {
            let samples = samples(&series, round * LINES..(round + 1) * LINES);
            let stream = UnixStream::connect(site.path("http.sock")).expect("a connection");
            let (path, body) = match round % 2 {
                0 => ("/v1/track", samples[0].line.clone()),
                _ => {
                    let lines: Vec<_> = samples.iter().map(|s| s.line.as_str()).collect();
                    ("/v1/batch", format!("{{\"batch\":[{}]}}", lines.join(",")))
                }
            };
            let (status, body) = request(stream, "POST", path, &body);
            assert_eq!(status, 200, "{body}");
        }
    };
    traced(&HTTP, client);
}

/// Runs the clients against a daemon that is traced; each answer comes after a sync that began
/// after its events were read.
fn traced(marks: &Marks, client: impl Fn(&Site, usize) + Sync) {
    let traced = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    if !traced.is_ok_and(|out| out.status.success()) {
        println!("skipped: there is no strace here, or it may not trace");
        return;
    }
    // Nobody to deliver to: every sync seen is one of the accept side's or none of its stores.
    let site = Site::at("http://127.0.0.1:9/v5");
    let trace = site.path("trace");
    let out = trace.display().to_string();
    let calls = "trace=fsync,fdatasync,write,writev,sendto,sendmsg,read,recvfrom";
    // -D: the daemon is the child, so that it ends with the test.
    let args = ["-D", "-f", "-y", "-s", "40", "-o", &out, "-e", calls];
    let daemon = site.ready(Process::start(&mut site.run_under("strace", &args)));
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (client, site) = (&client, &site);
            scope.spawn(move || client(site, number));
        }
    });
    daemon.kill();
    let text = within(s(10), "the end of the trace", || {
        let text = fs::read_to_string(&trace).ok()?;
        text.contains("+++ killed by SIGKILL").then_some(text)
    });
    let answers = check(&text, marks);
    assert!(
        answers >= CLIENTS * ROUNDS,
        "{answers} writes of answers seen"
    );
}

/// How many writes of answers there are; each is preceded by a sync of the store that began
/// after its lines were read.
fn check(trace: &str, marks: &Marks) -> usize {
    // By descriptor: the line on which the last read of events ended.
    let mut read: HashMap<&str, usize> = HashMap::new();
    // By thread: the call that is under way, and the line on which it began.
    let mut begun: HashMap<&str, (&str, usize)> = HashMap::new();
    // When the last sync that has returned began.
    let mut synced = None;
    let mut answers = 0;
    for (at, line) in trace.lines().enumerate() {
        let (thread, rest) = line.split_once(' ').unwrap_or_default();
        let rest = rest.trim_start();
        let (call, start) = match rest.strip_prefix("<... ") {
            Some(_) => begun.remove(thread).unwrap_or((rest, at)),
            None => (rest, at),
        };
        let descriptor = (call
            .split_once('(')
            .and_then(|(_, args)| args.split_once('>')))
        .map_or("", |(descriptor, _)| descriptor);
        let begins = start == at;
        let ends = !rest.ends_with("<unfinished ...>");
        if !ends {
            begun.insert(thread, (rest, at));
        }
        if begins && descriptor.contains("<socket:") && call.contains(marks.answer) {
            answers += 1;
            let read = read
                .get(descriptor)
                .expect("lines were read before they are answered");
            assert!(
                synced.is_some_and(|synced| synced > *read),
                "line {}: answered before a sync: {line}",
                at + 1
            );
        }
        if !ends {
            continue;
        }
        if call.contains("sync(") && call.contains("/queue/gen/") && rest.ends_with("= 0") {
            synced = synced.max(Some(start));
        }
        let is_read = call.starts_with("recvfrom(") || call.starts_with("read(");
        let shown = call.contains(marks.read) || rest.contains(marks.read);
        if is_read && shown && descriptor.contains("<socket:") {
            read.insert(descriptor, at);
        }
    }
    answers
}

#[test]
fn the_reader_of_traces_can_say_no() {
    let read = r#"7 recvfrom(14<socket:[1]>, "{\"anonymousId\":\"a"..., 131072) = 900"#;
    let begin = "8 fdatasync(12</t/queue/gen/0000000001/db> <unfinished ...>";
    let end = "8 <... fdatasync resumed>) = 0";
    let answer = r#"7 sendto(14<socket:[1]>, "{\"status\":\"queued\",\"mess"..., 90) = 90"#;
    assert_eq!(
        check(&[read, begin, end, answer].join("\n"), &LINES_OF_JSON),
        1
    );
    for wrong in [
        [read, begin, answer, end],
        [begin, read, end, answer],
        [begin, end, read, answer],
    ] {
        let text = wrong.join("\n");
        assert!(
            std::panic::catch_unwind(|| check(&text, &LINES_OF_JSON)).is_err(),
            "{text}"
        );
    }
}
