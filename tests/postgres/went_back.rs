//! A base backup restored under a daemon: what it acknowledged since is not there. It tells so, takes
//! nothing more, and goes on once the operator adopts the queue.

use nix::sys::signal::Signal;
use serde_json::json;

use super::server::Server;
use super::shop::{FAST, prepare, said, site, url, verify};
use super::support::{Client, Daemon, Site, StandIn, get, s, samples, within};

/// A server with the shop's database, a stand-in that takes nothing, and a site there.
fn start() -> Option<(Server, StandIn, Site)> {
    let server = Server::start(FAST)?;
    prepare(&server);
    let stand_in = StandIn::start();
    let site = site(&stand_in, &url(&[&server]), "single");
    Some((server, stand_in, site))
}

fn metric(daemon: &Daemon<'_>, site: &Site, name: &str) -> String {
    assert!(daemon.pid() > 0);
    let admin = std::os::unix::net::UnixStream::connect(site.admin()).expect("an admin socket");
    let (_, text) = get(admin, "/metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.expect("a metric").trim().to_owned()
}

/// It is told within a minute, everywhere, and nothing more is acknowledged.
fn is_told(daemon: &Daemon<'_>, site: &Site) {
    let told = |log: &str| {
        let is_told = |line: &&str| line.contains("ERROR") && line.contains("pinrelay adopt");
        log.lines().filter(is_told).count()
    };
    within(s(60), "an error that names `pinrelay adopt`", || {
        (told(&daemon.log()) > 0).then_some(())
    });
    daemon.shows(s(10), "why nothing is taken", |status| {
        status["not_accepting"]
            .to_string()
            .contains("pinrelay adopt")
    });
    let (_, text) = said(site, &["status"]);
    assert!(text.contains("pinrelay adopt"), "{text}");
    let times = metric(daemon, site, "pinrelay_database_went_back_total");
    assert_eq!(times, "1");
    for n in 0..3 {
        let answer = Client::connect(&site.socket()).ask(&samples("refused", n..n + 1)[0].line);
        assert_eq!(answer.status(), "unavailable", "{answer:?}");
    }
    assert_eq!(told(&daemon.log()), 1, "{}", daemon.log());
}

/// What `adopt` says, once the turn that the backup knew of is over.
fn adopt(site: &Site) -> String {
    within(s(20), "an adoption", || {
        let (code, text) = said(site, &["adopt"]);
        match code {
            Some(0) => Some(text),
            // The lease of the backup's turn runs out by itself.
            Some(69) => None,
            code => panic!("{code:?}: {text}"),
        }
    })
}

const WAITING: usize = 20;

/// Restores what was there before all was delivered, and perhaps before more was accepted.
fn restored_while_it_runs(more: usize) {
    let Some((server, stand_in, site)) = start() else {
        return;
    };
    let daemon = site.start();
    stand_in.mode(json!({"fault": "503"}));
    let waiting = samples("waiting", 0..WAITING);
    Client::queue(&site.socket(), &waiting);
    // Nothing is being written meanwhile.
    let backup = server.backup();
    stand_in.well();
    stand_in.takes(WAITING as u64, s(20));
    let lost = samples("lost", 0..more);
    Client::queue(&site.socket(), &lost);
    let delivered = (WAITING + more) as u64;
    daemon.shows(s(20), "all delivered", |status| {
        status["delivered"] == delivered
    });

    server.restore(&backup);
    is_told(&daemon, &site);
    let (code, text) = said(&site, &["verify"]);
    assert_eq!(code, Some(0), "{text}");
    // A daemon that was told so delivers nothing, for it does not know what was.
    assert_eq!(stand_in.totals().distinct_event_ids, delivered);
    stand_in.mode(json!({"fault": "503"}));
    let text = adopt(&site);
    assert!(
        text.contains("20 events queued, 20 of them in doubt"),
        "{text}"
    );

    // The running daemon goes on as a new writer.
    let next = samples("next", 0..5);
    for sample in &next {
        within(s(30), "an answer that counts", || {
            let answer = Client::connect(&site.socket()).ask(&sample.line);
            (answer.status() == "queued").then_some(())
        });
    }
    let status = daemon.shows(s(10), "all of it", |status| {
        status["ledger"]["accepted"] == WAITING + 5
    });
    assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
    assert!(
        status["in_doubt"].as_u64() >= Some(WAITING as u64),
        "{status:#}"
    );
    assert_eq!(status["not_accepting"], json!([]), "{status:#}");
    stand_in.well();
    let status = daemon.shows(s(30), "all settled", |status| {
        status["ledger"]["delivered"] == WAITING + 5
    });
    assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
    assert!(
        status["ledger"]["resent"].as_u64() >= Some(WAITING as u64),
        "{status:#}"
    );
    let totals = stand_in.totals();
    assert_eq!(totals.duplicates, WAITING as u64, "{totals:?}");
    assert_eq!((totals.renamed, totals.changed), (0, 0), "{totals:?}");
    verify(&site, "running");
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    verify(&site, "in the end");
}

#[test]
fn what_was_accepted_since_is_missing() {
    restored_while_it_runs(10);
}

/// Then the journal of the turn alone can tell.
#[test]
fn what_was_delivered_since_is_missing() {
    restored_while_it_runs(0);
}

/// The daemon's own beginning is all that it knows of.
#[test]
fn a_daemon_that_has_acknowledged_nothing_finds_itself_missing() {
    let Some((server, stand_in, site)) = start() else {
        return;
    };
    let daemon = site.start();
    Client::queue(&site.socket(), &samples("before", 0..3));
    stand_in.takes(3, s(20));
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    let backup = server.backup();
    let daemon = site.start();
    server.restore(&backup);
    is_told(&daemon, &site);
    adopt(&site);
    within(s(30), "an answer that counts", || {
        let answer = Client::connect(&site.socket()).ask(&samples("next", 0..1)[0].line);
        (answer.status() == "queued").then_some(())
    });
    stand_in.takes(4, s(20));
}

#[test]
fn a_queue_is_adopted_while_no_daemon_has_the_turn() {
    let Some((server, stand_in, site)) = start() else {
        return;
    };
    let daemon = site.start();
    stand_in.mode(json!({"fault": "503"}));
    Client::queue(&site.socket(), &samples("waiting", 0..WAITING));
    // Whoever has the turn would go on beside it.
    daemon.shows(s(10), "a turn that is held", |_| {
        let sql = "SELECT count(*) FROM pinrelay.lease WHERE token IS NOT NULL";
        server.try_sql("shop", sql).expect("a count") == ["1"]
    });
    let (code, text) = said(&site, &["adopt"]);
    assert_eq!(code, Some(69), "{text}");
    assert!(
        text.contains("a daemon on") && text.contains("adopt again"),
        "{text}"
    );
    let backup = server.backup();
    stand_in.well();
    stand_in.takes(WAITING as u64, s(20));
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.end(s(20)).code, Some(0));
    server.restore(&backup);
    let text = adopt(&site);
    assert!(
        text.contains("20 events queued, 20 of them in doubt"),
        "{text}"
    );
    stand_in.mode(json!({"fault": "503"}));
    let daemon = site.start();
    let status = daemon.status();
    assert_eq!(status["in_doubt"], WAITING, "{status:#}");
    assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
    stand_in.well();
    let status = daemon.shows(s(30), "all settled", |status| {
        status["ledger"]["delivered"] == WAITING
    });
    assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
    assert_eq!(stand_in.totals().duplicates, WAITING as u64);
    verify(&site, "in the end");
}
