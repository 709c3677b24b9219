//! `pinrelay verify`, `--repair` and `adopt`, as the operator runs them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Client, Site, StandIn, s, samples};

const EVENTS: usize = 600;

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(site: &Site, args: &[&str]) -> Said {
    let out = site.command(args).output().expect("it runs");
    Said {
        code: out.status.code(),
        out: String::from_utf8_lossy(&out.stdout).into_owned(),
        err: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

fn verdict(site: &Site) -> (Option<i32>, Value) {
    let said = run(site, &["verify", "--json"]);
    let verdict = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {}", said.out));
    (said.code, verdict)
}

/// A stopped daemon with events in several generations and nobody to deliver them to.
fn queued(stand_in: &StandIn) -> Site {
    stand_in.mode(serde_json::json!({"fault": "503"}));
    let site = Site::new(stand_in)
        .set("queue", "generation_events", "100")
        .set("delivery", "drain_deadline", "0s");
    let daemon = site.start();
    for part in samples("verify", 0..EVENTS).chunks(50) {
        Client::queue(&daemon.socket(), part);
    }
    let (code, running) = verdict(&site);
    assert_eq!((code, &running["undelivered"]), (Some(0), &EVENTS.into()));
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    site
}

/// The stores of events, oldest first.
fn generations(site: &Site) -> Vec<PathBuf> {
    let folders = fs::read_dir(site.path("queue/gen")).expect("a folder");
    let mut folders: Vec<_> = folders.map(|f| f.expect("an entry").path()).collect();
    folders.sort();
    folders
}

fn cut_in_half(file: &Path) {
    let bytes = fs::read(file).expect("a file");
    let used = bytes.len() - bytes.iter().rev().take_while(|b| **b == 0).count();
    fs::write(file, &bytes[..used / 2]).expect("a shorter file");
}

#[test]
fn a_whole_queue_passes_running_and_stopped_and_nothing_stays_behind() {
    let stand_in = StandIn::start();
    let site = queued(&stand_in);
    let before = fs::read_dir(site.path("queue/quarantine"))
        .expect("there")
        .count();
    let (code, verdict) = verdict(&site);
    assert_eq!((code, &verdict["ledger_imbalance"]), (Some(0), &0.into()));
    assert_eq!(verdict["checked"]["events"], EVENTS);
    assert_eq!(verdict["undelivered"], EVENTS);
    let after = fs::read_dir(site.path("queue/quarantine"))
        .expect("there")
        .count();
    assert_eq!(before, after);
    let said = run(&site, &["verify", "--repair"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    // Nothing was touched: all of it is delivered.
    stand_in.well();
    let daemon = site.start();
    let said = run(&site, &["verify", "--repair"]);
    assert_eq!(said.code, Some(69), "{}", said.err);
    stand_in.takes(EVENTS as u64, s(60));
    daemon.shows(s(20), "all settled", |status| status["delivered"] == EVENTS);
    assert_eq!(run(&site, &["verify"]).code, Some(0));
    daemon.stop(s(20));
}

#[test]
fn damage_is_found_repaired_and_told_and_the_rest_is_delivered() {
    let stand_in = StandIn::start();
    let site = queued(&stand_in);
    let harmed = generations(&site).swap_remove(0);
    cut_in_half(&harmed.join("db"));
    let name = harmed
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let (code, found) = verdict(&site);
    assert_eq!(code, Some(65), "{found:#}");
    let finding = &found["findings"][0];
    let text = finding.to_string();
    assert!(text.contains("cannot be delivered"), "{text}");
    assert!(text.contains("--repair"), "{text}");

    let said = run(&site, &["verify", "--repair"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(said.out.contains("after the repair"), "{}", said.out);
    let kept: Vec<_> = (fs::read_dir(site.path("queue/quarantine")).expect("there"))
        .map(|f| {
            f.expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert!(
        kept.iter()
            .any(|kept_name| kept_name.starts_with(&format!("gen-{name}"))),
        "{kept:?}"
    );
    let (code, found) = verdict(&site);
    assert_eq!((code, &found["findings"]), (Some(0), &Value::Array(vec![])));

    stand_in.well();
    let daemon = site.start();
    let status = daemon.shows(s(60), "all settled", |status| {
        status["queued"] == 0 && status["sending"] == 0
    });
    let lost = status["ledger"]["set_aside"].as_u64().expect("a count");
    assert!((1..EVENTS as u64).contains(&lost), "{status:#}");
    assert_eq!(status["delivered"], EVENTS as u64 - lost);
    assert_eq!(status["ledger"]["ledger_imbalance"], 0);
    stand_in.takes(EVENTS as u64 - lost, s(20));
    daemon.stop(s(20));
}

/// Without a repair the daemon does the same, and says so.
#[test]
fn a_daemon_that_meets_damage_says_which_store_and_delivers_the_rest() {
    let stand_in = StandIn::start();
    let site = queued(&stand_in);
    for file in ["meta/conf", "high"] {
        fs::remove_file(site.path("queue").join(file)).expect("a file");
    }
    let harmed = generations(&site).swap_remove(0);
    fs::remove_file(harmed.join("db")).expect("a file");
    let kept = format!(
        "gen-{}",
        harmed.file_name().expect("a name").to_string_lossy()
    );
    stand_in.well();
    let daemon = site.start();
    let status = daemon.shows(s(60), "all settled", |status| {
        status["queued"] == 0 && status["sending"] == 0
    });
    let log = daemon.log();
    let told = [
        "queue: high: it is damaged or missing",
        "queue: meta: its file `conf` is missing",
        &kept,
        "quarantine",
    ];
    for told in told {
        assert!(log.contains(told), "{told}: {log}");
    }
    let ledger = &status["ledger"];
    assert_eq!(ledger["ledger_imbalance"], 0, "{status:#}");
    let lost = ledger["set_aside"].as_u64().expect("a count");
    assert!((1..EVENTS as u64).contains(&lost), "{status:#}");
    assert_eq!(ledger["accepted"], EVENTS, "{status:#}");
    stand_in.takes(EVENTS as u64 - lost, s(20));
    assert_eq!(verdict(&site).0, Some(0));
    daemon.stop(s(20));
}

#[test]
fn a_lost_format_file_is_found_in_the_account() {
    let stand_in = StandIn::start();
    let site = queued(&stand_in);
    fs::write(site.path("queue/format"), "pinrelay-queue 1\ngarbage\n").expect("written");
    let ended = site.fails();
    assert_eq!(ended.code, Some(74), "{}", ended.output);
    let (code, found) = verdict(&site);
    assert_eq!(code, Some(65));
    assert!(
        found.to_string().contains("the account holds a copy"),
        "{found:#}"
    );
    assert_eq!(run(&site, &["verify", "--repair"]).code, Some(0));
    stand_in.well();
    let daemon = site.start();
    stand_in.takes(EVENTS as u64, s(60));
    // The same key: what was accepted is still known.
    let again = Client::send(&daemon.socket(), &samples("verify", 0..10));
    assert!(again.iter().all(|answer| answer.status() == "duplicate"));
    daemon.stop(s(20));
}

#[test]
fn a_newer_queue_is_refused_untouched() {
    let stand_in = StandIn::start();
    let site = queued(&stand_in);
    let file = site.path("queue/format");
    let text = fs::read_to_string(&file).expect("a file");
    fs::write(&file, text.replace("pinrelay-queue 1", "pinrelay-queue 2")).expect("written");
    let ended = site.fails();
    assert_eq!(ended.code, Some(78), "{}", ended.output);
    assert!(ended.output.contains("newer pinrelay"), "{}", ended.output);
    assert_eq!(run(&site, &["verify"]).code, Some(78));
    assert_eq!(run(&site, &["verify", "--repair"]).code, Some(78));
}

/// On another machine the queue is refused; adopted, everything unsettled in it is in doubt.
#[test]
fn a_queue_of_another_machine_is_refused_until_it_is_adopted() {
    let stand_in = StandIn::start();
    let id_file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(id_file.path(), "4c4c4544000000000000000000000001\n").expect("written");
    let here = |site: Site| {
        site.set(
            "queue",
            "machine_id_file",
            &id_file.path().display().to_string(),
        )
    };
    stand_in.mode(serde_json::json!({"fault": "503"}));
    let site = here(Site::new(&stand_in)).set("delivery", "drain_deadline", "0s");
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("adopt", 0..50));
    assert_eq!(daemon.stop(s(20)).code, Some(0));

    fs::write(id_file.path(), "4c4c4544000000000000000000000002\n").expect("written");
    let ended = site.fails();
    assert_eq!(ended.code, Some(78), "{}", ended.output);
    assert!(ended.output.contains("pinrelay adopt"), "{}", ended.output);
    // An empty id, as in a container, is not compared.
    fs::write(id_file.path(), "\n").expect("written");
    let daemon = site.start();
    assert_eq!(run(&site, &["adopt"]).code, Some(69));
    assert_eq!(daemon.stop(s(20)).code, Some(0));

    fs::write(id_file.path(), "4c4c4544000000000000000000000002\n").expect("written");
    let said = run(&site, &["adopt", "--json"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let told: serde_json::Value = serde_json::from_str(&said.out).expect("one object");
    assert_eq!(
        (&told["queued"], &told["in_doubt"]),
        (&50.into(), &50.into())
    );
    // The first answer takes long enough to look before it.
    stand_in.mode(serde_json::json!({"latency_ms": 3000}));
    let daemon = site.start();
    assert_eq!(daemon.status()["in_doubt"], 50);
    stand_in.takes(50, s(30));
    let status = daemon.shows(s(20), "all settled", |status| status["delivered"] == 50);
    assert_eq!(status["ledger"]["resent"], 50, "{status:#}");
    assert_eq!(status["in_doubt"], 0, "{status:#}");
    assert_eq!(verdict(&site).0, Some(0));
    daemon.stop(s(20));
}

/// It counted letters that were queued again or purged, and no messageId that was not yet in a file
/// of its own.
#[test]
fn its_numbers_are_those_of_status_through_retries_purges_and_imports() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in)
        .set("queue", "generation_events", "100")
        .set("delivery", "drain_deadline", "0s");
    site.config("");
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("sold", 0..300));
    daemon.shows(s(20), "delivered", |status| status["delivered"] == 300);
    let faceless = |n: usize| crate::support::Sample {
        id: format!("faceless-{n}"),
        event_name: "page_visit",
        line: serde_json::json!({"messageId": format!("faceless-{n}"), "type": "page"}).to_string(),
    };
    let nobody: Vec<_> = (0..20).map(faceless).collect();
    Client::queue(&daemon.socket(), &nobody);
    daemon.shows(s(20), "dead", |status| status["dead_total"] == 20);
    let export = site.path("export");
    let export = export.to_str().expect("a path");
    let asked = |args: &[&str]| {
        let said = run(&site, args);
        assert_eq!(said.code, Some(0), "{args:?}: {} {}", said.out, said.err);
    };
    asked(&["dead", "export", "-o", export]);
    // Twice: each retry dies again, under a new number.
    for _ in 0..2 {
        asked(&["dead", "retry", "--id", "faceless-3"]);
        asked(&["dead", "retry", "--id", "faceless-4"]);
        daemon.shows(s(20), "dead again", |status| status["dead_total"] == 20);
    }
    for purged in ["faceless-5", "faceless-6", "faceless-7"] {
        asked(&["dead", "purge", "--yes", "--id", purged]);
    }
    // The three come back, and die as well.
    asked(&["dead", "import", export]);
    daemon.shows(s(20), "dead again", |status| {
        status["dead_total"] == 20 && status["queued"] == 0
    });
    asked(&["dead", "purge", "--yes", "--id", "faceless-8"]);
    stand_in.mode(serde_json::json!({"fault": "503"}));
    Client::queue(&daemon.socket(), &samples("waits", 0..30));
    let paused = run(&site, &["pause"]);
    assert_eq!(paused.code, Some(0), "{}", paused.err);
    let status = daemon.shows(s(20), "nothing under way", |status| status["sending"] == 0);
    let compare = |code: Option<i32>, verdict: &Value| {
        assert_eq!(code, Some(0), "{verdict:#}");
        for key in [
            "accepted",
            "queued",
            "sending",
            "delivered",
            "dead",
            "purged",
            "set_aside",
        ] {
            assert_eq!(
                verdict["ledger"][key], status["ledger"][key],
                "{key}: {verdict:#}"
            );
        }
        assert_eq!(verdict["ledger"]["in_doubt"], status["in_doubt"]);
        assert_eq!(
            verdict["checked"]["dead_letters"], status["dead_total"],
            "{verdict:#}"
        );
        assert_eq!(verdict["checked"]["message_ids"], 350, "{verdict:#}");
        assert_eq!(verdict["undelivered"], 30 + 19);
    };
    assert_eq!(status["ledger"]["purged"], 1);
    let (code, running) = verdict(&site);
    compare(code, &running);
    let people = run(&site, &["verify"]).out;
    for words in [
        "19 dead letters, 350 remembered messageIds",
        "350 accepted = 30 queued + 0 sending + 300 delivered + 19 dead + 1 purged + 0 set aside",
        "49 are not delivered yet",
    ] {
        assert!(people.contains(words), "{words}: {people}");
    }
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    let (code, stopped) = verdict(&site);
    compare(code, &stopped);
}
