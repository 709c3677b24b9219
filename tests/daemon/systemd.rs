//! What systemd hands in and hears.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Client, Process, Site, StandIn, s, samples, within};

#[test]
fn a_listener_that_is_passed_is_used_and_left_in_place() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let listener = UnixListener::bind(site.socket()).expect("bound");
    // Whoever holds the listener holds what waits in it: this client comes before the daemon.
    let mut early = Client::connect(&site.socket());
    let samples = samples("passed", 0..20);
    early
        .write(format!("{}\n", samples[0].line).as_bytes())
        .expect("written");
    // The variables name the process that they are for, which a shell knows before it execs.
    let script = "export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\" 3<&0 </dev/null";
    let mut command = site.run_under("/bin/sh", &["-c", script]);
    let held: OwnedFd = listener.try_clone().expect("a second handle").into();
    let daemon = site.ready(Process::start_with(&mut command, Stdio::from(held)));
    assert_eq!(early.answer().expect("an answer").status(), "queued");
    Client::queue(&site.socket(), &samples[1..]);
    stand_in.takes(20, s(10));
    assert_eq!(daemon.stop(s(10)).code, Some(0));
    assert!(site.socket().exists(), "it belongs to systemd");
    drop(listener);
}

/// What stands in systemd's place at the other end of NOTIFY_SOCKET.
struct Ear(UnixDatagram);

impl Ear {
    fn new(site: &Site, command: &mut Command) -> Self {
        let path = site.path("notify");
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("bound");
        socket.set_read_timeout(Some(s(20))).expect("a time-out");
        command.env("NOTIFY_SOCKET", &path);
        Self(socket)
    }

    fn word(&self) -> String {
        let mut buffer = [0; 4096];
        let n = self.0.recv(&mut buffer).expect("a word");
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }

    /// The next word that holds this; what came before is passed over.
    fn hear(&self, what: &str) -> String {
        within(s(20), what, || {
            Some(self.word()).filter(|word| word.contains(what))
        })
    }

    /// Everything up to the word that holds this.
    fn until(&self, what: &str) -> Vec<String> {
        let mut words = Vec::new();
        while words
            .last()
            .is_none_or(|word: &String| !word.contains(what))
        {
            words.push(self.word());
        }
        words
    }
}

#[test]
fn readiness_reload_and_stop_are_told() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("pinterest", "test", "true");
    let mut command = site.run();
    let ear = Ear::new(&site, &mut command);
    let process = Process::start(&mut command);
    assert!(
        ear.hear("READY=1")
            .contains("STATUS=delivering, 0 queued, TEST MODE")
    );
    // Ready means ready.
    let daemon = site.ready(process);
    Client::queue(&daemon.socket(), &samples("told", 0..3));
    let paused = site
        .command(&["pause", "--reason", "a move"])
        .output()
        .expect("it runs");
    assert!(paused.status.success(), "{paused:?}");
    daemon.signal(Signal::SIGHUP);
    assert!(ear.hear("RELOADING=1").contains("MONOTONIC_USEC="));
    let ready = ear.hear("READY=1");
    assert!(
        ready.contains("STATUS=paused") && ready.contains("a move"),
        "{ready}"
    );
    let resumed = site.command(&["resume"]).output().expect("it runs");
    assert!(resumed.status.success(), "{resumed:?}");
    daemon.signal(Signal::SIGTERM);
    ear.hear("STOPPING=1");
    assert!(ear.hear("STATUS=drained in").contains("0 still queued"));
    assert_eq!(daemon.end(s(10)).code, Some(0));
}

/// `systemctl reload` waits for the command; what it reads is in effect when it ends.
#[test]
fn the_reload_command_ends_when_the_reload_has() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let mut command = site.run();
    let ear = Ear::new(&site, &mut command);
    let _daemon = site.ready(Process::start(&mut command));
    ear.hear("READY=1");
    for (config, code) in [("", 0), ("[delivery]\nlingr = 1\n", 78)] {
        site.config(config);
        let admin = site.admin();
        let args = ["reload", "--socket", admin.to_str().expect("a path")];
        let out = site.command(&args).output().expect("it runs");
        assert_eq!(out.status.code(), Some(code), "{out:?}");
        // Both have been said by now: the file decides nothing of that.
        ear.0.set_nonblocking(true).expect("a mode");
        let words = ear.until("READY=1");
        ear.0.set_nonblocking(false).expect("a mode");
        assert!(
            words.iter().any(|word| word.starts_with("RELOADING=1")),
            "{words:?}"
        );
    }
}

#[test]
fn a_start_that_reads_much_and_a_drain_that_gets_on_ask_for_time() {
    let stand_in = StandIn::start();
    let site = (Site::new(&stand_in))
        .set("delivery", "max_batch_events", "5")
        .set("delivery", "max_in_flight", "1");
    let daemon = site.start();
    stand_in.mode(json!({"fault": "503"}));
    Client::queue(&daemon.socket(), &samples("slow", 0..60));
    daemon.kill();
    stand_in.mode(json!({"latency_ms": 400}));
    let mut command = site.run();
    let ear = Ear::new(&site, &mut command);
    let process = Process::start(&mut command);
    let before = ear.until("READY=1");
    let asked = |words: &[String]| {
        let asks = |word: &&String| word.contains("EXTEND_TIMEOUT_USEC=");
        words.iter().filter(asks).count()
    };
    assert!(asked(&before) > 0, "{before:?}");
    let daemon = site.ready(process);
    daemon.signal(Signal::SIGTERM);
    let words = ear.until("STATUS=drained in");
    // Twelve requests one by one: it gets on for several seconds.
    assert!(asked(&words) >= 3, "{words:?}");
    let last = words.last().expect("a report");
    assert!(
        last.contains("60 delivered") && last.contains("0 still queued"),
        "{last}"
    );
    assert_eq!(daemon.end(s(10)).code, Some(0));
}

#[test]
fn the_watchdog_is_fed_while_the_disk_answers_and_no_longer() {
    let traced = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .output();
    if !traced.is_ok_and(|out| out.status.success()) {
        println!("skipped: there is no strace here, or it may not trace");
        return;
    }
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    // Each thread's syncs of data take ten seconds from its twelfth on: an opening has fewer.
    let hang = "inject=fdatasync:delay_enter=10000000:when=12+";
    let args = [
        "-D",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "trace=fdatasync",
        "-e",
        hang,
    ];
    let mut command = site.run_under("strace", &args);
    command.env("WATCHDOG_USEC", "300000");
    let ear = Ear::new(&site, &mut command);
    let process = Process::start(&mut command);
    ear.hear("READY=1");
    let daemon = site.ready(process);
    let mut beats = Vec::new();
    while beats.len() < 10 {
        ear.hear("WATCHDOG=1");
        beats.push(Instant::now());
    }
    let well = beats.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(well < Some(s(2)), "{well:?}");
    // Every event is a commitment of its own, until the syncs hang.
    let mut client = Client::connect(&daemon.socket());
    client.patience(s(2));
    let mut hung = false;
    for sample in samples("hang", 0..200) {
        client
            .write(format!("{}\n", sample.line).as_bytes())
            .expect("written");
        hung = client.answer().is_err();
        if hung {
            break;
        }
    }
    assert!(hung, "no sync was late");
    // It hangs since two seconds ago: what was said before is in the socket, and then nothing.
    ear.0.set_nonblocking(true).expect("a mode");
    let mut buffer = [0; 4096];
    while ear.0.recv(&mut buffer).is_ok() {}
    ear.0.set_nonblocking(false).expect("a mode");
    ear.0.set_read_timeout(Some(s(1))).expect("a time-out");
    assert!(
        ear.0.recv(&mut buffer).is_err(),
        "it was fed while the disk hangs"
    );
    daemon.kill();
}
