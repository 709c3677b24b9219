//! What is outside and blocks holds up nothing: neither delivery, nor a command, nor the end.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Client, Site, StandIn, ms, s, samples, within};

/// No command of an operator takes longer, whatever blocks.
const CONTROL: Duration = Duration::from_secs(5);

/// A pipe that is full, and its other end, from which nobody reads.
fn full_pipe() -> (Stdio, io::PipeReader) {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let room = fcntl(&writer, FcntlArg::F_GETPIPE_SZ).expect("its size");
    writer
        .write_all(&vec![b'.'; usize::try_from(room).expect("a size")])
        .expect("exactly full");
    (Stdio::from(OwnedFd::from(writer)), reader)
}

/// Runs the command, which has to end in time.
fn in_time(mut command: Command) -> (Option<i32>, String) {
    let begun = Instant::now();
    let out = command.output().expect("it runs");
    assert!(
        begun.elapsed() < CONTROL,
        "{command:?}: {:?}",
        begun.elapsed()
    );
    let text = [out.stdout, out.stderr].concat();
    (
        out.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// With stderr's pipe full a reload hung, SIGTERM was ignored and delivery stopped, while ingest
/// went on answering `queued`.
#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("delivery", "drain_deadline", "2s");
    let (stderr, _reader) = full_pipe();
    let mut daemon = (site.run().stdin(Stdio::null()).stdout(Stdio::null()))
        .stderr(stderr)
        .env("RUST_LOG", "pinrelay=debug")
        .spawn()
        .expect("it starts");
    let pid = Pid::from_raw(i32::try_from(daemon.id()).expect("a pid"));
    within(s(20), "an ingest socket", || {
        Client::try_connect(&site.socket()).ok()
    });
    Client::queue(&site.socket(), &samples("mute", 0..200));
    stand_in.takes(200, s(10));
    // Enough lines that some must be dropped.
    for _ in 0..12_000 {
        drop(Client::connect(&site.socket()));
    }
    for args in [
        &["status"][..],
        &["reload"],
        &["pause", "--for", "1m"],
        &["resume"],
        &["clock"],
        &["dead", "list"],
    ] {
        let (code, said) = in_time(site.command(args));
        assert_eq!(code, Some(0), "{args:?}: {said}");
    }
    within(s(10), "the number of lines that nobody will read", || {
        let (_, said) = in_time(site.command(&["status"]));
        (said.contains("log") && said.contains("lines dropped")).then_some(())
    });
    Client::queue(&site.socket(), &samples("mute", 200..300));
    stand_in.takes(300, s(10));
    kill(pid, Signal::SIGTERM).expect("our own child");
    let ended = within(s(8), "its end", || {
        daemon.try_wait().expect("our own child")
    });
    assert_eq!(ended.code(), Some(0));
}

/// A process that is stopped takes connections, in its backlog, and answers none.
#[test]
fn no_command_waits_for_a_daemon_that_does_not_answer() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    daemon.signal(Signal::SIGSTOP);
    for args in [
        &["status"][..],
        &["reload"],
        &["pause"],
        &["resume"],
        &["clock"],
        &["losses"],
        &["trace", "m-1"],
        &["dead", "list"],
    ] {
        let (code, said) = in_time(site.command(args));
        assert_eq!(code, Some(69), "{args:?}: {said}");
        assert!(said.contains("does not answer"), "{args:?}: {said}");
    }
    // Until the backlog is full as well.
    let mut waiting = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20_000 {
                match nonblocking(&site) {
                    Some(stream) => waiting.push(stream),
                    None => return,
                }
            }
        });
    });
    let (code, said) = in_time(site.command(&["status"]));
    assert_eq!(code, Some(69), "{said}");
    daemon.signal(Signal::SIGCONT);
}

/// A connection to the admin socket, if there is room in its backlog.
fn nonblocking(site: &Site) -> Option<OwnedFd> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    use std::os::fd::AsRawFd;
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None).expect("a socket");
    let address = UnixAddr::new(&site.admin()).expect("a path");
    connect(socket.as_raw_fd(), &address).ok()?;
    Some(socket)
}

/// It said that the queue had stopped, and that nothing was in flight; and a client that did not
/// read its answers held it up for five seconds.
#[test]
fn a_second_signal_is_not_held_up_and_its_report_is_true() {
    let stand_in = StandIn::with(&["--fault", "silent"]);
    let site = Site::new(&stand_in);
    let daemon = site.start();
    Client::queue(&site.socket(), &samples("flight", 0..50));
    stand_in.asked(1, s(5));
    // Answers that find no room.
    let mut deaf = Client::connect(&site.socket());
    let lines: String = (samples("deaf", 0..6000).iter())
        .map(|sample| format!("{}\n", sample.line))
        .collect();
    let mut writer = deaf.writer();
    let wrote = std::thread::spawn(move || writer.write_all(lines.as_bytes()));
    daemon.shows(s(20), "a client that is owed answers", |status| {
        status["ledger"]["accepted"].as_u64() > Some(1500)
    });
    daemon.signal(Signal::SIGTERM);
    within(s(5), "a word of the stop", || {
        daemon.log().contains("stopping").then_some(())
    });
    let begun = Instant::now();
    let ended = daemon.stop(s(10));
    assert!(begun.elapsed() < ms(2500), "{:?}", begun.elapsed());
    let _ = wrote.join();
    let _ = deaf.answer();
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let last = ended.output.lines().last().unwrap_or_default();
    assert!(last.contains("a second signal ended the waiting"), "{last}");
    assert!(!last.contains(" 0 requests were under way"), "{last}");
    assert!(!last.contains(" 0 of them in doubt"), "{last}");
}

/// A token path that is a FIFO, or a device that never ends.
#[test]
fn a_reload_does_not_wait_for_a_file_that_never_comes() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("delivery", "drain_deadline", "2s");
    let daemon = site.start();
    let token = site.path("token");
    std::fs::remove_file(&token).expect("removed");
    nix::unistd::mkfifo(&token, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let (code, said) = in_time(site.command(&["reload"]));
    assert_eq!(code, Some(78), "{said}");
    Client::queue(&site.socket(), &samples("fifo", 0..10));
    stand_in.takes(10, s(10));
    let begun = Instant::now();
    let ended = daemon.stop(s(10));
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(begun.elapsed() < s(5));
}
