//! What systemd hands in and hears.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Stdio;

use nix::sys::signal::Signal;

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

#[test]
fn readiness_reload_and_stop_are_told() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let path = site.path("notify");
    let notify = UnixDatagram::bind(&path).expect("bound");
    notify.set_read_timeout(Some(s(10))).expect("a time-out");
    let mut command = site.run();
    command.env("NOTIFY_SOCKET", &path);
    let mut buffer = [0; 4096];
    let mut hear = |start: &str| {
        within(s(10), start, || {
            let n = notify.recv(&mut buffer).expect("a word");
            let word = String::from_utf8_lossy(&buffer[..n]).into_owned();
            word.starts_with(start).then_some(word)
        })
    };
    let process = Process::start(&mut command);
    hear("READY=1");
    // Ready means ready.
    let daemon = site.ready(process);
    Client::queue(&daemon.socket(), &samples("told", 0..3));
    daemon.signal(Signal::SIGHUP);
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
    hear("READY=1");
    daemon.signal(Signal::SIGTERM);
    hear("STOPPING=1");
    assert!(hear("STATUS=drained in").contains("0 still queued"));
    assert_eq!(daemon.end(s(10)).code, Some(0));
    let _ = fs::remove_file(path);
}
