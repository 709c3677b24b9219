//! The wall clock leaps by eight days, at a start or while the daemon runs: no event expires by
//! it, no messageId is forgotten, and it is said once. The monotonic clock stays true.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::{Client, Daemon, Process, Site, StandIn, s, samples};

/// The preloaded library, where the distributions have it.
fn library() -> Option<PathBuf> {
    let found = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .iter()
        .flat_map(|arch| {
            [
                format!("/usr/lib/{arch}/faketime"),
                "/usr/lib64/faketime".into(),
            ]
        })
        .map(|folder| Path::new(&folder).join("libfaketimeMT.so.1"))
        .find(|path| path.exists());
    if found.is_none() {
        println!("skipped: there is no libfaketime here (package faketime)");
    }
    found
}

/// The wall clock is that of the machine plus what this file says, read at each look.
fn set(site: &Site, offset: &str) {
    fs::write(site.path("offset.new"), format!("{offset}\n")).expect("written");
    fs::rename(site.path("offset.new"), site.path("offset")).expect("in place");
}

fn start<'a>(site: &'a Site, library: &Path) -> Daemon<'a> {
    let mut command: Command = site.run();
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", site.path("offset"))
        .env("FAKETIME_NO_CACHE", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1");
    site.ready(Process::start(&mut command))
}

/// Nothing expired, nothing is forgotten, said once; and then all is delivered.
fn holds(daemon: &Daemon<'_>, stand_in: &StandIn, delivered: usize, queued: usize) {
    // The look at what is due by the clock comes every ten seconds.
    std::thread::sleep(s(13));
    let status = daemon.status();
    assert_eq!(status["ledger"]["dead"], 0, "{status:#}");
    assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
    assert_eq!(
        status["ledger"]["queued"].as_u64().unwrap_or(0)
            + status["ledger"]["sending"].as_u64().unwrap_or(0),
        queued as u64,
        "{status:#}"
    );
    let again = Client::send(&daemon.socket(), &samples("old", 0..delivered));
    let forgotten = again.iter().filter(|a| a.status() != "duplicate").count();
    assert_eq!(forgotten, 0, "of {delivered}");
    stand_in.well();
    stand_in.takes((delivered + queued) as u64, s(20));
    // Pinterest's `Date` disagrees, which is said as little again.
    let log = daemon.log();
    let said = log.matches("the wall clock").count();
    assert_eq!(said, 1, "{log}");
    let status = daemon.status();
    assert_eq!(status["ledger"]["dead"], 0, "{status:#}");
}

fn leap(offset: &str, while_running: bool) {
    let Some(library) = library() else { return };
    let stand_in = StandIn::start();
    // Small generations: the ids of the first ones are on disk, where forgetting takes them.
    let site = (Site::new(&stand_in).set("queue", "generation_events", "100")).set(
        "delivery",
        "drain_deadline",
        "1s",
    );
    set(&site, "+0");
    let daemon = start(&site, &library);
    Client::queue(&site.socket(), &samples("old", 0..350));
    stand_in.takes(350, s(20));
    stand_in.mode(json!({"fault": "503"}));
    Client::queue(&site.socket(), &samples("new", 0..50));
    let daemon = if while_running {
        set(&site, offset);
        daemon
    } else {
        assert_eq!(daemon.stop(s(30)).code, Some(0));
        set(&site, offset);
        start(&site, &library)
    };
    holds(&daemon, &stand_in, 350, 50);
    assert_eq!(daemon.stop(s(30)).code, Some(0));
}

#[test]
fn eight_days_ahead_at_a_start() {
    leap("+8d", false);
}

#[test]
fn eight_days_behind_at_a_start() {
    leap("-8d", false);
}

#[test]
fn eight_days_ahead_while_it_runs() {
    leap("+8d", true);
}

#[test]
fn eight_days_behind_while_it_runs() {
    leap("-8d", true);
}

/// A pause is measured by the monotonic clock while the process lives; over a restart it goes by
/// the wall clock, but not by one that is not believed.
#[test]
fn a_leap_ends_no_pause_before_its_time() {
    let Some(library) = library() else { return };
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let pause = |length: &str| {
        let out = site.command(&["pause", "--for", length]).output();
        assert!(out.expect("it runs").status.success());
    };
    set(&site, "+0");
    let daemon = start(&site, &library);
    pause("4s");
    Client::queue(&site.socket(), &samples("held", 0..20));
    set(&site, "+8d");
    daemon.shows(s(3), "events that gather", |status| {
        status["state"] == "paused" && status["delivery"]["ready"] == 20
    });
    std::thread::sleep(s(1));
    assert_eq!(stand_in.totals().requests, 0);
    stand_in.takes(20, s(20));
    set(&site, "+0");
    pause("1h");
    daemon.kill();
    set(&site, "+8d");
    let daemon = start(&site, &library);
    assert_eq!(daemon.status()["state"], "paused");
    daemon.kill();
    // Two hours later by a clock that agrees with the last one it is over.
    set(&site, "+2h");
    let daemon = start(&site, &library);
    assert_eq!(daemon.status()["state"], "delivering");
    assert!(
        daemon
            .log()
            .contains("the pause has ended while pinrelay was stopped")
    );
}

/// The faked clock is the one that the daemon goes by, or the tests above show nothing.
#[test]
fn the_daemon_goes_by_the_faked_clock() {
    let Some(library) = library() else { return };
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    set(&site, "+8d");
    let daemon = start(&site, &library);
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs() as i64;
    let ahead = jiff::Timestamp::from_second(now + 8 * 86_400).expect("this century");
    let day = ahead.to_string()[..10].to_owned();
    let log = daemon.log();
    assert!(log.contains(&day), "{day}: {log}");
}
