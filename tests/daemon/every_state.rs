//! Every command that speaks to the daemon, in every state that it may be met in.

use std::process::Output;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Client, Daemon, Site, StandIn, s, samples, within};

/// With the exit codes that are right while a daemon is there.
const COMMANDS: &[(&[&str], &[i32])] = &[
    (&["status"], &[0]),
    (&["status", "--json"], &[0]),
    (&["trace", "state-000000"], &[0]),
    (&["trace", "state-000000", "--json"], &[0]),
    (&["trace", "nobody-knows"], &[1]),
    (&["dead", "list"], &[0]),
    (&["dead", "list", "--json"], &[0]),
    (&["dead", "show", "1"], &[65]),
    (&["dead", "export"], &[0]),
    (&["dead", "retry", "--json"], &[0]),
    (&["dead", "purge", "--yes"], &[0]),
    (&["verify", "--json"], &[0]),
    (&["transform", "--from", "queue", "--limit", "3"], &[0]),
    (&["check"], &[0]),
    (&["reload", "--json"], &[0]),
    (&["clock"], &[0]),
    (&["clock", "show", "--json"], &[0]),
    (&["clock", "trust", "--json"], &[0]),
    (&["pause", "--for", "1ms", "--json"], &[0]),
];

fn run(site: &Site, args: &[&str]) -> Output {
    site.command(args).output().expect("it runs")
}

/// Each does what it does, and says so.
fn all_work(site: &Site, state: &str) {
    for (args, codes) in COMMANDS {
        let out = run(site, args);
        let said = format!(
            "{state}: {args:?}: {:?} {} {}",
            out.status.code(),
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        let code = out.status.code().unwrap_or_else(|| panic!("{said}"));
        assert!(codes.contains(&code), "{said}");
        assert!(!said.contains("a bug"), "{said}");
        if args.contains(&"--json") {
            serde_json::from_slice::<Value>(&out.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
        }
    }
}

fn state(daemon: &Daemon<'_>, wanted: &str) {
    within(s(20), wanted, || {
        (daemon.status()["state"] == wanted).then_some(())
    });
}

#[test]
fn healthy() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("state", 0..50));
    stand_in.takes(50, s(10));
    state(&daemon, "delivering");
    all_work(&site, "healthy");
    assert_eq!(daemon.stop(s(10)).code, Some(0));
}

#[test]
fn parked() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"fault": "401"}));
    let site = Site::new(&stand_in);
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("state", 0..50));
    state(&daemon, "parked");
    all_work(&site, "parked");
    assert_eq!(daemon.status()["ledger"]["ledger_imbalance"], 0);
    assert_eq!(daemon.stop(s(10)).code, Some(0));
}

#[test]
fn draining() {
    let stand_in = StandIn::start();
    // Nothing is answered before the stop is over.
    stand_in.mode(json!({"latency_ms": 60_000}));
    let site = Site::new(&stand_in).set("delivery", "drain_deadline", "1h");
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("state", 0..50));
    within(s(10), "a request under way", || {
        (daemon.status()["sending"].as_u64() > Some(0)).then_some(())
    });
    daemon.signal(Signal::SIGTERM);
    state(&daemon, "draining");
    for (args, codes) in COMMANDS {
        let out = run(&site, args);
        let code = out.status.code();
        // What the daemon no longer does is refused as such, not left hanging.
        let right = code.is_some_and(|code| codes.contains(&code) || code == 69);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(right, "{args:?}: {code:?} {said}");
    }
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.end(s(10)).code, Some(0));
}

#[test]
fn full() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"fault": "503"}));
    let site = Site::new(&stand_in).set("queue", "max_bytes", "1MiB");
    let daemon = site.start();
    let mut client = Client::connect(&daemon.socket());
    client.patience(s(3));
    for sample in samples("state", 0..100_000) {
        let written = client.write(format!("{}\n", sample.line).as_bytes());
        if written.is_err() || client.answer().is_err() {
            break;
        }
    }
    within(s(20), "a full queue", || {
        let said = daemon.status()["not_accepting"].to_string();
        said.contains("max_bytes").then_some(())
    });
    all_work(&site, "full");
    assert_eq!(daemon.stop(s(10)).code, Some(0));
}

#[test]
fn gone() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    assert_eq!(site.start().stop(s(10)).code, Some(0));
    for (args, _) in COMMANDS {
        if ["check", "verify"].contains(&args[0]) {
            assert_eq!(
                run(&site, args).status.code(),
                Some(0),
                "{args:?} needs no daemon"
            );
            continue;
        }
        let out = run(&site, args);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(69), "{args:?}: {said}");
        assert!(
            said.contains("admin.sock") && said.contains("running"),
            "{args:?}: {said}"
        );
    }
}
