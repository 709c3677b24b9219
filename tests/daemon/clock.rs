//! The wall clock is wrong by days or a month, at a start or while the daemon runs, with and
//! without a `Date` of Pinterest's: until something agrees with it nothing expires, is purged or
//! is forgotten, and it is said once; then all of what is due. Time since boot stays true: the
//! preloaded library fakes neither CLOCK_MONOTONIC nor CLOCK_BOOTTIME when told not to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::{Client, Daemon, Process, Site, StandIn, s, samples, within};

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

/// Delivered and remembered, one dead letter, and 50 events that wait: all of it due to go after
/// a day. Small generations: the ids of the first ones are on disk, where forgetting takes them.
fn site(stand_in: &StandIn) -> Site {
    (Site::new(stand_in).set("queue", "generation_events", "100"))
        .set("queue", "dedup_window", "1d")
        .set("dead_letters", "retention", "1d")
        .set("delivery", "max_age", "1d")
        .set("delivery", "drain_deadline", "1s")
}

const DELIVERED: usize = 350;
const WAITING: usize = 50;

fn fill(site: &Site, daemon: &Daemon<'_>, stand_in: &mut StandIn, while_down: While) {
    Client::queue(&site.socket(), &samples("old", 0..DELIVERED));
    stand_in.takes(DELIVERED as u64, s(20));
    let nobody = json!({"messageId": "nobody", "type": "track", "event": "Order Completed"});
    let answer = Client::connect(&site.socket()).ask(&nobody.to_string());
    assert_eq!(answer.status(), "queued");
    daemon.shows(s(20), "all settled", |status| {
        status["delivered"] == DELIVERED && status["dead_total"] == 1
    });
    match while_down {
        While::Answering => stand_in.mode(json!({"fault": "503"})),
        While::Silent => stand_in.kill(),
    }
    Client::queue(&site.socket(), &samples("new", 0..WAITING));
}

/// What Pinterest is like while the clock is wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum While {
    /// It refuses, and each refusal bears the true `Date`.
    Answering,
    /// Nobody is there.
    Silent,
}

/// Which of the delivered are remembered no more.
fn forgotten(daemon: &Daemon<'_>) -> usize {
    let again = Client::send(&daemon.socket(), &samples("old", 0..DELIVERED));
    again.iter().filter(|a| a.status() != "duplicate").count()
}

/// The look at what is due by the clock comes every ten seconds, that of delivery every thirty
/// and at each claim; nothing tells of a look that finds nothing due.
fn everything_is_kept(site: &Site, daemon: &Daemon<'_>) {
    std::thread::sleep(s(32));
    let status = daemon.status();
    let ledger = &status["ledger"];
    assert_eq!(
        (
            &ledger["dead"],
            &ledger["purged"],
            &ledger["ledger_imbalance"]
        ),
        (&json!(1), &json!(0), &json!(0)),
        "{status:#}"
    );
    let waiting = ledger["queued"].as_u64().unwrap_or(0) + ledger["sending"].as_u64().unwrap_or(0);
    assert_eq!(waiting, WAITING as u64, "{status:#}");
    assert_eq!(forgotten(daemon), 0, "of {DELIVERED}");
    // It is said once, in the log, and shown.
    let log = daemon.log();
    assert_eq!(log.matches("the wall clock").count(), 1, "{log}");
    assert!(log.contains("pinrelay clock trust"), "{log}");
    assert_eq!(status["clock"]["believed"], false, "{status:#}");
    let shown = site.command(&["status"]).output().expect("it runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("NOT BELIEVED"), "{shown}");
    assert!(shown.contains("`pinrelay clock trust`"), "{shown}");
}

fn leap(offset: &str, while_running: bool, during: While) {
    let Some(library) = library() else { return };
    let mut stand_in = StandIn::start();
    let site = site(&stand_in);
    set(&site, "+0");
    let mut daemon = start(&site, &library);
    fill(&site, &daemon, &mut stand_in, during);
    if while_running {
        set(&site, offset);
    } else {
        assert_eq!(daemon.stop(s(30)).code, Some(0));
        set(&site, offset);
        daemon = start(&site, &library);
    }
    everything_is_kept(&site, &daemon);
    let doubt = daemon.status()["clock"]["doubt"].clone();
    match during {
        While::Answering => assert_eq!(doubt, "date"),
        While::Silent if while_running => assert_eq!(doubt, "leapt"),
        While::Silent => assert_eq!(doubt, "last_stop"),
    }
    let gone = |daemon: &Daemon<'_>| {
        let status = daemon.shows(s(60), "what is due to be gone", |status| {
            status["ledger"]["purged"] == 1 && status["dead"]["expired"] == WAITING
        });
        assert_eq!(status["clock"]["believed"], true, "{status:#}");
        // What stands in unsealed generations is remembered longer. Each try queues anew what
        // was forgotten.
        let mut found = 0;
        within(s(40), "ids that are forgotten", || {
            found += forgotten(daemon);
            (found >= 100).then_some(())
        });
    };
    if during == While::Silent && offset.starts_with('+') {
        // The operator says that so much time has passed: then all of it is due.
        let out = site.command(&["clock", "trust"]).output().expect("it runs");
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success() && said.contains("believed"), "{out:?}");
        gone(&daemon);
    } else {
        // It is put right, and nothing of what happened meanwhile looks old by it.
        set(&site, "+0");
        let status = daemon.shows(s(20), "a clock that is believed", |status| {
            status["clock"]["believed"] == true
        });
        assert_eq!(status["clock"]["waiting_for"], json!(null));
        match during {
            While::Answering => stand_in.well(),
            While::Silent => stand_in.restart(),
        }
        let all = DELIVERED + WAITING;
        daemon.shows(s(60), "all delivered", |status| status["delivered"] == all);
        let status = daemon.status();
        let ledger = &status["ledger"];
        let kept = (&ledger["dead"], &ledger["purged"]);
        assert_eq!(kept, (&json!(1), &json!(0)), "{status:#}");
        assert_eq!(forgotten(&daemon), 0);
    }
    assert_eq!(daemon.stop(s(30)).code, Some(0));
}

#[test]
fn a_month_ahead_at_a_start_with_a_date() {
    leap("+30d", false, While::Answering);
}

#[test]
fn a_month_ahead_at_a_start_without_a_date() {
    leap("+30d", false, While::Silent);
}

#[test]
fn four_and_a_half_days_ahead_at_a_start_without_a_date() {
    leap("+108h", false, While::Silent);
}

#[test]
fn a_month_behind_at_a_start_with_a_date() {
    leap("-30d", false, While::Answering);
}

#[test]
fn a_month_behind_at_a_start_without_a_date() {
    leap("-30d", false, While::Silent);
}

#[test]
fn a_month_ahead_while_it_runs_with_a_date() {
    leap("+30d", true, While::Answering);
}

#[test]
fn a_month_ahead_while_it_runs_without_a_date() {
    leap("+30d", true, While::Silent);
}

#[test]
fn a_month_behind_while_it_runs_with_a_date() {
    leap("-30d", true, While::Answering);
}

#[test]
fn a_month_behind_while_it_runs_without_a_date() {
    leap("-30d", true, While::Silent);
}

/// A new queue has nothing to compare the clock with: what comes in stamped by others looks a
/// month old, and waits until Pinterest can be asked.
#[test]
fn a_new_queue_under_a_clock_that_is_a_month_ahead_ends_nothing() {
    let Some(library) = library() else { return };
    let mut stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    stand_in.kill();
    set(&site, "+30d");
    let daemon = start(&site, &library);
    Client::queue(&site.socket(), &samples("new", 0..WAITING));
    let status = daemon.shows(s(20), "events in hand", |status| {
        status["delivery"]["in_hand"] == WAITING
    });
    assert_eq!(status["clock"]["doubt"], "unconfirmed", "{status:#}");
    assert_eq!(status["dead_total"], 0);
    stand_in.restart();
    let status = daemon.shows(s(60), "all delivered", |status| {
        status["delivered"] == WAITING && status["clock"]["doubt"] == "date"
    });
    assert_eq!(status["dead_total"], 0, "{status:#}");
}

/// The operator's word outlasts the process: the next start compares with it.
#[test]
fn the_operators_word_is_remembered_over_a_restart() {
    let Some(library) = library() else { return };
    let mut stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    stand_in.kill();
    set(&site, "+30d");
    let daemon = start(&site, &library);
    let shown = site.command(&["clock"]).output().expect("it runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("the queue is new"), "{shown}");
    let out = site.command(&["clock", "trust", "--json"]).output();
    let out = out.expect("it runs").stdout;
    let said: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(said["believed"], true);
    assert!(
        daemon
            .log()
            .contains("the operator vouches for the wall clock")
    );
    assert_eq!(daemon.stop(s(30)).code, Some(0));
    let daemon = start(&site, &library);
    assert_eq!(daemon.status()["clock"]["believed"], true);
    daemon.kill();
    set(&site, "+0");
    let daemon = start(&site, &library);
    assert_eq!(daemon.status()["clock"]["doubt"], "last_stop");
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
    // In order, so that the next start knows what to compare its clock with.
    assert_eq!(daemon.stop(s(30)).code, Some(0));
    set(&site, "+8d");
    let daemon = start(&site, &library);
    assert_eq!(daemon.status()["state"], "paused");
    daemon.kill();
    // By a clock that agrees with the last one the pause is over when its time is.
    set(&site, "+0");
    let daemon = start(&site, &library);
    pause("5m");
    daemon.kill();
    set(&site, "+6m");
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
