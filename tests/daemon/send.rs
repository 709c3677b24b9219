//! `pinrelay send`: its input, what it says of each line, and how it ends.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{PINRELAY, Process, Sample, Site, StandIn, bare, ms, s, samples};

fn text(samples: &[Sample]) -> String {
    samples.iter().map(|s| format!("{}\n", s.line)).collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text).expect("packed");
    gzip.finish().expect("packed")
}

/// Exit code, stdout and stderr.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let out = command.output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

/// The same with this on its stdin.
fn fed(command: &mut Command, stdin: &[u8]) -> (Option<i32>, String) {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let process = Process::start_with(command, Stdio::from(OwnedFd::from(reader)));
    let written = writer.write_all(stdin);
    drop(writer);
    let ended = process.ended(s(20));
    written.expect("all of it was read");
    (ended.code, ended.output)
}

/// A site that delivers nowhere, over a socket and over HTTP.
fn nowhere() -> (Site, String) {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("its address").to_string();
    let site = Site::at("http://127.0.0.1:9/v5").set("ingest", "http_listen", &address);
    (site, format!("http://{address}"))
}

#[test]
fn several_files_are_sent_and_each_reject_is_told_by_its_place() {
    let (site, _) = nowhere();
    let daemon = site.start();
    let all = samples("many", 0..4);
    let (first, packed, line) = (site.path("a.ndjson"), site.path("b.log"), &all[3].line);
    fs::write(&first, format!("{}nonsense\n", text(&all[..2]))).expect("a file");
    let members = [gzip(text(&all[2..3]).as_bytes()), gzip(b"\n{}\n")].concat();
    fs::write(&packed, members).expect("a file");
    let mut send = site.command(&["send", "--json"]);
    send.args([&first, &packed]).arg("-");
    let (code, said) = fed(&mut send, format!("{line}\n[]\n").as_bytes());
    assert_eq!(code, Some(65), "{said}");
    let told: Value = serde_json::from_str(said.lines().next().expect("a line")).expect(&said);
    assert_eq!(told["queued"], 4, "{told}");
    let places: Vec<_> = (told["rejects"].as_array().expect("a list").iter())
        .map(|reject| (reject["file"].as_str().expect("a name"), &reject["line"]))
        .collect();
    let named = [first.display().to_string(), packed.display().to_string()];
    let due = [
        (named[0].as_str(), &Value::from(3)),
        (named[1].as_str(), &Value::from(3)),
        ("stdin", &Value::from(2)),
    ];
    assert_eq!(places, due);
    let (code, _, said) = run(site.command(&["send"]).args([&first, &packed]));
    assert_eq!(code, Some(65));
    for name in &named {
        assert!(said.contains(&format!("  {name}:3: ")), "{said}");
    }
    assert!(
        said.starts_with("5 answered: 0 queued, 3 duplicate"),
        "{said}"
    );
    assert_eq!(daemon.status()["ledger"]["accepted"], 4);
    // Nothing of any is sent where one cannot be opened.
    fs::write(&first, text(&samples("none", 0..2))).expect("a file");
    let gone = site.path("gone.ndjson");
    let (code, _, said) = run(site.command(&["send"]).args([&first, &gone]));
    assert_eq!(code, Some(74), "{said}");
    assert!(
        said.contains("gone.ndjson") && said.contains("nothing was sent"),
        "{said}"
    );
    let (code, _, said) = run(site.command(&["send"]).arg(&first).arg(site.path(".")));
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("a folder"), "{said}");
    assert_eq!(run(&mut site.command(&["send", "-", "-"])).0, Some(64));
    assert_eq!(daemon.status()["ledger"]["accepted"], 4);
}

#[test]
fn rejected_lines_go_to_a_file_as_they_came() {
    let (site, url) = nowhere();
    let daemon = site.start();
    let input = site.path("in.ndjson");
    let rejected = "{\"type\":\"purchase\"}\n nonsense \"\u{e4}\r\n{ }\n";
    let good = text(&samples("kept", 0..2));
    fs::write(&input, format!("{good}{rejected}")).expect("a file");
    let admin = site.admin().display().to_string();
    let ways: [&[&str]; 4] = [
        &[],
        &["--http", &url],
        &["--assign-message-ids"],
        &["--follow", "--admin-socket", &admin],
    ];
    for (n, way) in ways.into_iter().enumerate() {
        let file = site.path(&format!("rejected-{n}"));
        let send = || {
            let mut send = bare(Path::new(PINRELAY));
            send.args(["send", "--json", "--rejects"]).arg(&file);
            send.args(way).arg(&input);
            if way.first() != Some(&"--http") {
                send.arg("--socket").arg(site.socket());
            }
            run(&mut send)
        };
        let (code, told, said) = send();
        assert_eq!(code, Some(65), "{way:?}: {said}");
        let told: Value = serde_json::from_str(&told).expect(&told);
        let mut kept: Vec<_> = (fs::read_to_string(&file).expect("a file"))
            .split_inclusive('\n')
            .map(str::to_owned)
            .collect();
        kept.sort();
        let mut due: Vec<_> = rejected.split_inclusive('\n').collect();
        due.sort();
        // With an id of its own `{}` still has no type.
        assert_eq!(kept, due, "{way:?}");
        assert_eq!(told["rejects_file"]["lines"], 3, "{told}");
        assert!(
            said.contains(&format!("3 rejected lines are in {}", file.display())),
            "{said}"
        );
        let mode = fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // What is there may be the only copy.
        let before = fs::read(&file).expect("a file");
        let (code, _, said) = send();
        assert_eq!(code, Some(73), "{said}");
        assert!(
            said.contains("is there already") && said.contains("--rejects"),
            "{said}"
        );
        assert_eq!(fs::read(&file).expect("a file"), before);
    }
    // Where nothing is rejected there is no file, and the next run can make it.
    fs::write(&input, good).expect("a file");
    let none = site.path("none");
    for _ in 0..2 {
        let mut send = site.command(&["send"]);
        let (code, _, said) = run(send.arg("--rejects").arg(&none).arg(&input));
        assert_eq!(code, Some(0), "{said}");
        assert!(!none.exists());
    }
    assert_eq!(daemon.stop(s(10)).code, Some(0));
    // What has no answer was not rejected.
    let mut send = site.command(&["send", "--timeout", "1"]);
    let (code, _, said) = run(send.arg("--rejects").arg(&none).arg(&input));
    assert_eq!(code, Some(69), "{said}");
    assert!(!none.exists());
}

#[test]
fn gzip_that_is_cut_short_is_named_and_what_was_whole_is_accounted_for() {
    let (site, url) = nowhere();
    let daemon = site.start();
    let all = samples("cut", 0..2000);
    let whole = gzip(text(&all).as_bytes());
    let (cut, behind) = (site.path("cut.gz"), site.path("behind.ndjson"));
    fs::write(&cut, &whole[..whole.len() / 2]).expect("a file");
    fs::write(&behind, "\n").expect("a file");
    for way in [&[][..], &["--http", &url]] {
        let mut send = bare(Path::new(PINRELAY));
        send.args(["send", "--json"]).args(way);
        if way.is_empty() {
            send.arg("--socket").arg(site.socket());
        }
        let (code, told, said) = run(send.args([&cut, &behind]));
        assert_eq!(code, Some(74), "{said}");
        let told: Value = serde_json::from_str(&told).expect(&told);
        let lines = told["queued"].as_u64().max(told["duplicate"].as_u64());
        let lines = lines.expect("a count");
        assert!((1..2000).contains(&lines), "{told}");
        assert_eq!(told["rejected"], 0, "half a line is none: {told}");
        for part in [
            format!("reading {} failed after {lines} whole lines", cut.display()),
            "gzip data is cut short".to_owned(),
            format!("nothing was read of {}", behind.display()),
        ] {
            assert!(said.contains(&part), "{part}: {said}");
        }
    }
    // Whole and on stdin all of it goes.
    let (code, said) = fed(&mut site.command(&["send"]), &whole);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2000 answered"), "{said}");
    assert_eq!(daemon.status()["ledger"]["accepted"], 2000);
}

#[test]
fn a_byte_order_mark_is_told_and_utf_16_refused() {
    let (site, _) = nowhere();
    let daemon = site.start();
    let line = &samples("mark", 0..1)[0].line;
    let file = site.path("marked.ndjson");
    fs::write(&file, format!("\u{feff}{line}\n")).expect("a file");
    let (code, _, said) = run(site.command(&["send"]).arg(&file));
    assert_eq!(code, Some(0), "{said}");
    let note = "marked.ndjson begins with a byte order mark (BOM), which is left out";
    assert_eq!(said.matches(note).count(), 1, "{said}");
    let units = format!("\u{feff}{line}\n");
    let utf_16: Vec<u8> = units.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(&file, utf_16).expect("a file");
    for command in ["send", "transform"] {
        let (code, _, said) = run(site.command(&[command]).arg(&file));
        assert_eq!(code, Some(74), "{said}");
        assert!(said.contains("UTF-16") && said.contains("iconv"), "{said}");
    }
    assert_eq!(daemon.status()["ledger"]["rejected"], 0);
}

/// A socket whose other side is the test.
struct Peer {
    listener: UnixListener,
    folder: tempfile::TempDir,
}

impl Peer {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("s")).expect("a socket");
        Self { listener, folder }
    }

    fn send(&self, more: &[&str]) -> Command {
        let mut command = bare(Path::new(PINRELAY));
        command
            .arg("send")
            .arg("--socket")
            .arg(self.folder.path().join("s"));
        command.args(more);
        command
    }

    /// Takes a connection and reads so many lines of it.
    fn takes(&self, lines: usize) -> BufReader<UnixStream> {
        let (stream, _) = self.listener.accept().expect("a connection");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        for _ in 0..lines {
            assert!(reader.read_line(&mut line).expect("a line") > 0);
        }
        reader
    }
}

#[test]
fn a_signal_ends_it_with_the_account_so_far() {
    for (signal, code, json) in [
        (Signal::SIGINT, 130, false),
        (Signal::SIGTERM, 143, false),
        (Signal::SIGINT, 130, true),
    ] {
        let peer = Peer::new();
        let rejects = peer.folder.path().join("rejects");
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let mut send = peer.send(&["--rejects", rejects.to_str().expect("a path")]);
        if json {
            send.arg("--json");
        }
        let process = Process::start_with(&mut send, Stdio::from(OwnedFd::from(reader)));
        // Whoever writes has not come to an end yet.
        writer.write_all(b"a\nb\nc\nd\n").expect("written");
        let mut stream = peer.takes(4);
        let answers = "{\"status\":\"queued\",\"messageId\":\"a\"}\n\
                       {\"status\":\"rejected\",\"error\":\"no event\"}\n";
        stream
            .get_mut()
            .write_all(answers.as_bytes())
            .expect("written");
        // A rejected line is in the file once its answer was read.
        crate::support::within(s(10), "a line in the file", || {
            let kept = fs::read(&rejects).ok()?;
            (kept == b"b\n").then_some(())
        });
        process.signal(signal);
        let begun = Instant::now();
        let ended = process.ended(s(10));
        assert!(begun.elapsed() < s(3), "{:?}", begun.elapsed());
        assert_eq!(ended.code, Some(code), "{}", ended.output);
        let said = ended.output;
        let counts = match json {
            true => "\"duplicate\":0,\"ignored\":0,\"queued\":1,\"rejected\":1",
            false => "2 answered: 1 queued, 0 duplicate, 0 ignored, 1 rejected",
        };
        for part in [
            counts,
            "1 rejected line is in ",
            "2 of the lines read have no answer, stdin:3 first; all were sent, and may have been taken",
            "what was taken is known by its messageId",
            "not read to its end",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(said.contains(&format!("pinrelay: {signal}: ")), "{said}");
        drop(writer);
    }
}

/// How it ended, which has to be `seconds` after its start and no later.
fn after(mut command: Command, seconds: u64) -> String {
    let begun = Instant::now();
    let (code, _, said) = run(&mut command);
    let took = begun.elapsed();
    assert_eq!(code, Some(69), "{command:?}: {said}");
    let due = s(seconds).saturating_sub(ms(200))..s(seconds) + Duration::from_secs(2);
    assert!(due.contains(&took), "{command:?}: {took:?}: {said}");
    assert!(said.contains(&format!("for {seconds} s")), "{said}");
    said
}

/// The same over HTTP: what was sent and has no answer is counted.
#[test]
fn a_signal_ends_it_with_the_account_so_far_over_http() {
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", deaf.local_addr().expect("its address"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("events");
    fs::write(&file, "{\n{}\n{}\n").expect("a file");
    let mut send = bare(Path::new(PINRELAY));
    let process = Process::start(send.args(["send", "--http", &url]).arg(&file));
    let (stream, _) = deaf.accept().expect("a connection");
    let mut line = String::new();
    let mut request = BufReader::new(stream);
    request.read_line(&mut line).expect("a request");
    process.signal(Signal::SIGTERM);
    let ended = process.ended(s(10));
    assert_eq!(ended.code, Some(143), "{}", ended.output);
    for part in [
        "1 answered: 0 queued, 0 duplicate, 0 ignored, 1 rejected",
        "2 of the lines read have no answer, ",
        "events:2 first; all were sent",
    ] {
        assert!(ended.output.contains(part), "{part}: {}", ended.output);
    }
}

/// From there on a signal ends the waiting alone, and a daemon that is stopped does not make it
/// longer.
#[test]
fn a_signal_or_the_time_out_ends_the_waiting_of_follow() {
    let stand_in = StandIn::start();
    stand_in.mode(serde_json::json!({"fault": "503"}));
    let site = Site::new(&stand_in);
    let daemon = site.start();
    for (n, signal) in [Some(Signal::SIGINT), None].into_iter().enumerate() {
        let file = site.path("events");
        fs::write(&file, text(&samples(&format!("wait{n}"), 0..1))).expect("a file");
        let mut send = site.command(&["send", "--follow", "--timeout", "4"]);
        let mut process = Process::start(send.arg(&file));
        process.says_in("waiting for 1 to be delivered, at most 4 s", s(10));
        let begun = Instant::now();
        match signal {
            Some(signal) => process.signal(signal),
            None => daemon.signal(Signal::SIGSTOP),
        }
        let ended = process.ended(s(20));
        daemon.signal(Signal::SIGCONT);
        let most = if signal.is_some() { s(3) } else { s(8) };
        assert!(begun.elapsed() < most, "{:?}", begun.elapsed());
        assert_eq!(ended.code, Some(1), "{}", ended.output);
        let told = "followed: 0 delivered, 0 dead, 1 still queued";
        assert!(ended.output.contains(told), "{}", ended.output);
    }
}

#[test]
fn rejected_lines_that_find_no_room_are_told() {
    let (site, _) = nowhere();
    let _daemon = site.start();
    let (file, rejects) = (site.path("events"), site.path("rejects"));
    fs::write(&file, "[]\n".repeat(700)).expect("a file");
    // No file may grow beyond two blocks of 1024, or of 512, bytes.
    let limited = "trap '' XFSZ; ulimit -f 2; exec \"$@\"";
    let mut send = bare(Path::new("sh"));
    send.args(["-c", limited, "sh", PINRELAY, "send", "--socket"]);
    send.arg(site.socket())
        .arg("--rejects")
        .arg(&rejects)
        .arg(&file);
    let (code, _, said) = run(&mut send);
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("700 rejected"), "{said}");
    let kept = fs::read_to_string(&rejects).expect("a file");
    let lines = kept.lines().count();
    assert!(
        (1..700).contains(&lines) && kept.len() == 3 * lines,
        "{lines}"
    );
    let told = format!(
        "cannot write {}: it has the first {lines} ",
        rejects.display()
    );
    assert!(said.contains(&told), "{said}");
}

/// The examples of a command's help, run as they stand but for the port.
#[test]
fn the_examples_of_the_help_run() {
    let (site, url) = nowhere();
    let _daemon = site.start();
    let here = tempfile::tempdir().expect("a folder");
    let all = samples("shown", 0..3);
    for name in ["events.ndjson", "monday.ndjson"] {
        fs::write(here.path().join(name), text(&all)).expect("a file");
    }
    for name in ["events.ndjson.gz", "tuesday.ndjson.gz"] {
        fs::write(here.path().join(name), gzip(text(&all).as_bytes())).expect("a file");
    }
    fs::write(here.path().join("pinrelay.toml.old"), "").expect("a file");
    let bin = Path::new(PINRELAY).parent().expect("a folder");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = format!("{}:{}", bin.display(), path.to_string_lossy());
    for command in ["send", "transform"] {
        let (_, help, _) = run(bare(Path::new(PINRELAY)).args([command, "--help"]));
        let examples = help.split("Examples:\n").nth(1).expect("examples");
        let examples: Vec<_> = examples.lines().map(str::trim).collect();
        assert!(examples.len() > 3, "{help}");
        for example in examples {
            let line = example.replace("http://127.0.0.1:8080", &url);
            let line = line.replace("--timeout 30", "--timeout 1");
            let mut shell = bare(Path::new("sh"));
            shell.args(["-c", &line]).current_dir(here.path());
            shell
                .env("PATH", &path)
                .env("PINRELAY_CONFIG", site.config_file());
            let (code, _, said) = run(&mut shell);
            // Nothing is delivered here, which --follow says.
            let due = i32::from(example.contains("--follow"));
            assert!(
                [0, due].map(Some).contains(&code),
                "{example}: {code:?}: {said}"
            );
        }
    }
}

#[test]
fn nothing_is_waited_for_longer_than_the_time_out() {
    let peer = Peer::new();
    let file = peer.folder.path().join("events");
    fs::write(&file, "a\nb\n").expect("a file");
    let file = file.to_str().expect("a path");
    // A socket that takes connections, in its backlog, and never answers.
    let said = after(peer.send(&["--timeout", "1", file]), 1);
    assert!(
        said.contains("gave no answer to what it was sent"),
        "{said}"
    );
    // More than its buffer holds.
    let long = peer.folder.path().join("long");
    fs::write(&long, "x".repeat(99).repeat(100_000) + "\n").expect("a file");
    after(
        peer.send(&["--timeout", "1", long.to_str().expect("a path")]),
        1,
    );
    // One that takes no connection any more.
    let crowd = std::iter::from_fn(|| nonblocking(&peer.folder.path().join("s")));
    let crowd: Vec<_> = crowd.take(100_000).collect();
    let said = after(peer.send(&["--timeout", "2", file]), 2);
    assert!(said.contains("connections are not taken"), "{said}");
    drop(crowd);
    // Over HTTP.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", deaf.local_addr().expect("its address"));
    let mut send = bare(Path::new(PINRELAY));
    send.args(["send", "--http", &url, "--timeout", "2"]);
    fs::write(file, "{}\n").expect("a file");
    send.arg(file);
    let said = after(send, 2);
    assert!(said.contains("no answer") && said.contains(&url), "{said}");
    assert!(
        said.contains("1 of the lines read have no answer"),
        "{said}"
    );
}

/// A connection, if there is room in the backlog.
fn nonblocking(path: &Path) -> Option<OwnedFd> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    use std::os::fd::AsRawFd;
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None).expect("a socket");
    let address = UnixAddr::new(path).expect("a path");
    connect(socket.as_raw_fd(), &address).ok()?;
    Some(socket)
}

/// Stopped, and at its quota, where it takes lines and answers none of them.
#[test]
fn a_daemon_that_does_not_answer_is_not_waited_for_longer_than_the_time_out() {
    let (site, url) = nowhere();
    let site = site.set("queue", "max_bytes", "1MiB");
    let daemon = site.start();
    let file = site.path("events");
    // The quota is looked at once a second: a quick machine takes more in before it is noticed.
    let mut from = 0;
    let said = loop {
        fs::write(&file, text(&samples("full", from..from + 20_000))).expect("a file");
        let mut send = site.command(&["send", "--timeout", "3"]);
        let (code, _, said) = run(send.arg(&file));
        if code != Some(0) {
            assert_eq!(code, Some(69), "{said}");
            break said;
        }
        from += 20_000;
        assert!(from < 1_000_000, "the quota is never noticed: {said}");
    };
    assert!(
        said.contains("for 3 s") && said.contains("queue.max_bytes"),
        "{said}"
    );
    fs::write(&file, text(&samples("more", 0..500))).expect("a file");
    for way in [&[][..], &["--http", &url]] {
        let mut send = bare(Path::new(PINRELAY));
        send.args(["send", "--timeout", "2"]).args(way);
        if way.is_empty() {
            send.arg("--socket").arg(site.socket());
        }
        send.arg(&file);
        after(send, 2);
    }
    daemon.signal(Signal::SIGSTOP);
    let mut send = site.command(&["send", "--timeout", "1"]);
    send.arg(&file);
    after(send, 1);
    daemon.signal(Signal::SIGCONT);
}

#[test]
fn a_socket_that_refuses_says_which_group_to_join() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let is_root = nix::unistd::geteuid().is_root();
    let open = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    };
    // The binary may lie where only root gets to.
    let outside = tempfile::tempdir().expect("a folder");
    let (program, file) = (
        outside.path().join("pinrelay"),
        outside.path().join("events"),
    );
    fs::copy(PINRELAY, &program).expect("copied");
    fs::write(&file, text(&samples("denied", 0..1))).expect("a file");
    open(outside.path(), 0o755);
    let send = || {
        use std::os::unix::process::CommandExt;
        let mut send = bare(&program);
        send.arg("send")
            .arg(&file)
            .arg("--socket")
            .arg(site.socket());
        if is_root {
            send.uid(65534).gid(65534);
        }
        let (code, _, said) = run(&mut send);
        assert_eq!(code, Some(69), "{said}");
        said
    };
    let folder = site.socket().parent().expect("a folder").to_owned();
    // Nobody is told to join root's.
    let gid = match is_root {
        true => nix::unistd::Gid::from_raw(1),
        false => nix::unistd::getegid(),
    };
    let group = nix::unistd::Group::from_gid(gid);
    let group = group.expect("a group file").expect("a name").name;
    for path in [&folder, &site.socket()] {
        nix::unistd::chown(path, None, Some(gid)).expect("given away");
    }
    let user = nix::unistd::User::from_uid(match is_root {
        true => nix::unistd::Uid::from_raw(65534),
        false => nix::unistd::geteuid(),
    });
    let user = user.expect("a user file").expect("a name").name;
    open(&folder, 0o010);
    let said = send();
    open(&folder, 0o755);
    let join = format!("`sudo usermod -aG {group} {user}`, then log in anew");
    let named = format!("the folder {} lets in the group {group}", folder.display());
    assert!(said.contains(&join) && said.contains(&named), "{said}");
    open(&folder, 0o000);
    let said = send();
    open(&folder, 0o755);
    assert!(
        said.contains("lets in its owner") && !said.contains("usermod"),
        "{said}"
    );
    open(&site.socket(), 0o060);
    let said = send();
    assert!(
        said.contains(&join) && said.contains("the socket lets in the group"),
        "{said}"
    );
    assert!(!said.contains("the folder"), "{said}");
    assert_eq!(daemon.status()["ledger"]["accepted"], 0);
}
