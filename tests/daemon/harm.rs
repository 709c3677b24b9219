//! What somebody, or a disk, does to the queue's folder: what is lost by it is counted and told,
//! by a start and by `verify` alike, never as delivered, and shown until it is acknowledged.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Client, Daemon, Site, StandIn, s, samples};

const QUEUED: usize = 330;
const DELIVERED: usize = 200;

/// A queue in a folder of its own, with what stands beside it.
fn site(stand_in: &StandIn) -> Site {
    let site = Site::new(stand_in)
        .set("queue", "generation_events", "100")
        .set("delivery", "drain_deadline", "0s");
    fs::create_dir(site.path("state")).expect("a folder");
    let queue = site.path("state/queue").display().to_string();
    site.set("queue", "path", &queue)
}

fn run(site: &Site, args: &[&str]) -> (Option<i32>, String) {
    let out = site.command(args).output().expect("it runs");
    let text = [out.stdout, out.stderr].concat();
    (
        out.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Delivers some, and leaves others waiting.
fn fill(site: &Site, stand_in: &StandIn) {
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("sent", 0..DELIVERED));
    daemon.shows(s(30), "delivered", |status| {
        status["delivered"] == DELIVERED
    });
    stand_in.mode(json!({"fault": "503"}));
    // In several generations: the next one is made while this one fills.
    for part in samples("waits", 0..QUEUED).chunks(30) {
        Client::queue(&daemon.socket(), part);
    }
    assert_eq!(daemon.stop(s(20)).code, Some(0));
}

/// The account after a loss of these: none of them is counted as delivered.
fn holds(daemon: &Daemon<'_>, lost: usize) -> Value {
    let status = daemon.status();
    let ledger = &status["ledger"];
    assert_eq!(ledger["set_aside"], lost, "{status:#}");
    assert_eq!(ledger["ledger_imbalance"], 0, "{status:#}");
    assert_eq!(ledger["delivered"], DELIVERED, "{status:#}");
    assert_eq!(ledger["queued"], QUEUED - lost, "{status:#}");
    status
}

fn remove(folder: &Path) {
    fs::remove_dir_all(folder).expect("removed");
}

/// Takes all that is in a folder out of it, whoever writes there meanwhile.
fn empty(folder: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name");
        fs::rename(&path, to.join(name)).expect("moved away");
    }
}

#[test]
fn what_is_lost_with_the_account_is_set_aside_and_not_delivered() {
    for lost in [&["meta", "gen"][..], &["meta", "gen", "dead"]] {
        let stand_in = StandIn::start();
        let site = site(&stand_in);
        fill(&site, &stand_in);
        for folder in lost {
            remove(&site.path("state/queue").join(folder));
        }
        let (code, text) = run(&site, &["verify"]);
        assert_eq!(code, Some(65), "{text}");
        assert!(text.contains("330 acknowledged events"), "{text}");
        let daemon = site.start();
        holds(&daemon, QUEUED);
        assert!(
            daemon.log().contains("330 acknowledged events"),
            "{}",
            daemon.log()
        );
        let (_, text) = run(&site, &["status"]);
        assert!(
            text.contains("LOST") && text.contains("330 events"),
            "{text}"
        );
        assert_eq!(run(&site, &["verify"]).0, Some(0));
        assert_eq!(daemon.stop(s(20)).code, Some(0));
        assert_eq!(
            run(&site, &["verify"]).0,
            Some(0),
            "it was told, and is mended"
        );
    }
}

#[test]
fn letters_that_are_lost_with_the_account_are_set_aside() {
    let stand_in = StandIn::start();
    let site = site(&stand_in);
    stand_in.mode(json!({"refuse_containing": "bad"}));
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("bad", 0..40));
    daemon.shows(s(30), "dead", |status| status["dead_total"] == 40);
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    for folder in ["meta", "dead"] {
        remove(&site.path("state/queue").join(folder));
    }
    let daemon = site.start();
    let status = daemon.status();
    assert_eq!(status["ledger"]["set_aside"], 40, "{status:#}");
    assert_eq!(status["ledger"]["delivered"], 0, "{status:#}");
    assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
    daemon.stop(s(20));
}

#[test]
fn remembered_ids_that_are_gone_are_counted_and_shown_until_acknowledged() {
    let stand_in = StandIn::start();
    let site = site(&stand_in);
    fill(&site, &stand_in);
    stand_in.well();
    let daemon = site.start();
    daemon.shows(s(30), "delivered", |status| {
        status["delivered"] == DELIVERED + QUEUED
    });
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    let files: Vec<_> = (fs::read_dir(site.path("state/queue/seen")).expect("a folder"))
        .map(|file| file.expect("a file").path())
        .collect();
    assert!(files.len() > 1, "{files:?}");
    for file in &files {
        fs::remove_file(file).expect("removed");
    }
    let (code, text) = run(&site, &["verify"]);
    assert_eq!(code, Some(65), "{text}");
    let daemon = site.start();
    let log = daemon.log();
    assert!(log.contains("ids are no longer remembered"), "{log}");
    assert!(log.contains("duplicates are possible until"), "{log}");
    let status = daemon.status();
    let losses = status["losses"].as_array().expect("a list");
    let lost: u64 = losses
        .iter()
        .map(|loss| loss["count"].as_u64().expect("a count"))
        .sum();
    let there = QUEUED + DELIVERED;
    assert!((100..=there as u64).contains(&lost), "{status:#}");
    // Shown again after a restart, and no more once the operator knows.
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    let daemon = site.start();
    assert_eq!(daemon.status()["losses"], status["losses"]);
    let (code, text) = run(&site, &["losses"]);
    assert!(
        code == Some(0) && text.contains("messageIds of seen/"),
        "{text}"
    );
    let (code, text) = run(&site, &["losses", "--acknowledge"]);
    assert!(code == Some(0) && text.contains("acknowledged"), "{text}");
    assert_eq!(daemon.status()["losses"], json!([]));
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    let daemon = site.start();
    assert_eq!(daemon.status()["losses"], json!([]));
    daemon.stop(s(20));
}

/// More was acknowledged into files that nobody would find again, and a stop called it safe.
#[test]
fn a_folder_that_is_emptied_under_the_daemon_ends_it_and_the_next_start_knows() {
    let stand_in = StandIn::start();
    let site = site(&stand_in);
    fill(&site, &stand_in);
    let daemon = site.start();
    let queue = site.path("state/queue");
    empty(&queue, &site.path("elsewhere"));
    let ended = daemon.end(s(10));
    assert_eq!(ended.code, Some(74), "{}", ended.output);
    assert!(
        ended.output.contains("cannot be promised"),
        "{}",
        ended.output
    );
    assert!(!ended.output.contains("safe in"), "{}", ended.output);
    let (code, text) = run(&site, &["verify"]);
    assert_eq!(code, Some(65), "{text}");
    assert!(text.contains("330 undelivered events"), "{text}");
    let daemon = site.start();
    assert!(
        daemon.log().contains("its folder was emptied: 330"),
        "{}",
        daemon.log()
    );
    holds(&daemon, QUEUED);
    // It goes on: what comes now is as safe as ever.
    Client::queue(&daemon.socket(), &samples("new", 0..10));
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    assert_eq!(run(&site, &["verify"]).0, Some(0));
}

/// The end comes a moment after the trouble is seen; until then clients are answered.
#[test]
fn a_folder_that_is_gone_at_a_stop_is_not_called_safe() {
    let stand_in = StandIn::start();
    let site = site(&stand_in);
    fill(&site, &stand_in);
    let daemon = site.start();
    fs::rename(site.path("state/queue"), site.path("elsewhere")).expect("moved away");
    let ended = daemon.stop(s(20));
    assert_eq!(ended.code, Some(74), "{}", ended.output);
    assert!(!ended.output.contains("safe in"), "{}", ended.output);
    let (code, text) = run(&site, &["verify"]);
    assert!(
        code == Some(65) && text.contains("its folder is gone: 330"),
        "{text}"
    );
    let daemon = site.start();
    holds(&daemon, QUEUED);
    daemon.stop(s(20));
}

/// A copy of yesterday's folder has as queued what was delivered since.
#[test]
fn a_folder_put_back_from_a_copy_is_refused_until_it_is_adopted() {
    let stand_in = StandIn::start();
    let site = site(&stand_in);
    fill(&site, &stand_in);
    let copied = Command::new("cp")
        .args(["-a"])
        .arg(site.path("state/queue"))
        .arg(site.path("yesterday"))
        .status();
    assert!(copied.expect("cp").success());
    stand_in.well();
    let daemon = site.start();
    daemon.shows(s(30), "delivered", |status| {
        status["delivered"] == DELIVERED + QUEUED
    });
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    remove(&site.path("state/queue"));
    fs::rename(site.path("yesterday"), site.path("state/queue")).expect("put back");
    let ended = site.fails();
    assert_eq!(ended.code, Some(78), "{}", ended.output);
    assert!(ended.output.contains("pinrelay adopt"), "{}", ended.output);
    let (code, text) = run(&site, &["verify"]);
    assert!(
        code == Some(65) && text.contains("pinrelay adopt"),
        "{text}"
    );
    let (code, text) = run(&site, &["adopt"]);
    assert_eq!(code, Some(0), "{text}");
    let daemon = site.start();
    let status = daemon.shows(s(30), "delivered", |status| {
        status["delivered"] == DELIVERED + QUEUED
    });
    // Each of them at least once: an attempt that fails is counted again.
    let resent = status["ledger"]["resent"].as_u64().expect("a count");
    assert!(resent >= QUEUED as u64, "{status:#}");
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    let daemon = site.start();
    daemon.stop(s(20));
}

/// `verify` finds what a start refuses, and what the start advises helps.
#[test]
fn a_queue_without_format_and_account_is_found_and_repaired() {
    for has_anchor in [true, false] {
        let stand_in = StandIn::start();
        let site = site(&stand_in);
        fill(&site, &stand_in);
        fs::remove_file(site.path("state/queue/format")).expect("removed");
        remove(&site.path("state/queue/meta"));
        if !has_anchor {
            fs::remove_file(site.path("state/queue.anchor")).expect("removed");
            let ended = site.fails();
            assert_eq!(ended.code, Some(74), "{}", ended.output);
            assert!(ended.output.contains("verify --repair"), "{}", ended.output);
        }
        let (code, text) = run(&site, &["verify"]);
        assert_eq!(code, Some(65), "{text}");
        let (code, text) = run(&site, &["verify", "--repair"]);
        assert_eq!(code, Some(0), "{text}");
        let daemon = site.start();
        let status = holds(&daemon, 0);
        assert_eq!(status["in_doubt"], QUEUED, "{status:#}");
        daemon.stop(s(20));
    }
}

/// 64 flipped bytes cost some events, and their bytes are kept when the rest is done with.
#[test]
fn what_is_set_aside_has_its_bytes_in_quarantine() {
    let stand_in = StandIn::start();
    let site = site(&stand_in);
    fill(&site, &stand_in);
    let generations = site.path("state/queue/gen");
    let mut folders: Vec<_> = (fs::read_dir(&generations).expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    folders.sort();
    assert!(folders.len() > 2, "{folders:?}");
    let db = folders[0].join("db");
    let mut bytes = fs::read(&db).expect("a file");
    let used = bytes.len() - bytes.iter().rev().take_while(|b| **b == 0).count();
    for byte in &mut bytes[used / 2..used / 2 + 64] {
        *byte ^= 0x55;
    }
    fs::write(&db, &bytes).expect("written");
    let (code, text) = run(&site, &["verify"]);
    assert_eq!(code, Some(65), "{text}");
    stand_in.well();
    let daemon = site.start();
    let status = daemon.shows(s(60), "all settled", |status| {
        status["queued"] == 0 && status["sending"] == 0
    });
    let lost = status["ledger"]["set_aside"].as_u64().expect("a count");
    assert!(lost > 0, "{status:#}");
    // The generation goes when all of it is settled.
    crate::support::within(s(30), "the store is done with", || {
        (!folders[0].exists()).then_some(())
    });

    let kept: Vec<_> = (fs::read_dir(site.path("state/queue/quarantine")).expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let has_bytes = kept.iter().any(|folder| {
        let kept = fs::read(folder.join("db")).unwrap_or_default();
        kept.len() >= used && kept[..used] == bytes[..used]
    });
    assert!(has_bytes, "{kept:?}");
    daemon.stop(s(20));
}

/// What is acknowledged until it is noticed is lost as well, and counted; then clients are told
/// that nothing more is taken, before the process ends.
#[test]
fn clients_are_answered_unavailable_before_the_end_and_what_they_lost_is_counted() {
    let stand_in = StandIn::start();
    let site = site(&stand_in);
    fill(&site, &stand_in);
    let daemon = site.start();
    let mut client = Client::connect(&daemon.socket());
    empty(&site.path("state/queue"), &site.path("elsewhere"));
    let (mut acknowledged, mut last) = (0, String::new());
    for sample in (0..).flat_map(|n| samples("lost", n..n + 1)) {
        let asked = client.write(format!("{}\n", sample.line).as_bytes());
        let Ok(answer) = asked.and_then(|()| client.answer()) else {
            break;
        };
        acknowledged += usize::from(answer.status() == "queued");
        answer.status().clone_into(&mut last);
    }
    assert_eq!(last, "unavailable", "after {acknowledged} more");
    assert_eq!(daemon.end(s(10)).code, Some(74));
    let daemon = site.start();
    let status = daemon.status();
    let ledger = &status["ledger"];
    assert_eq!(ledger["set_aside"], QUEUED + acknowledged, "{status:#}");
    assert_eq!(ledger["delivered"], DELIVERED, "{status:#}");
    assert_eq!(ledger["ledger_imbalance"], 0, "{status:#}");
    daemon.stop(s(20));
}
