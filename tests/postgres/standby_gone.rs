//! The standby is gone: nothing is acknowledged, whatever befalls the commits that wait for it. When
//! it is back, all of it is resolved, and who asks again is answered rightly.

use super::server::Server;
use super::shop::{Pair, WAITS, all_delivered, is_silent, site, verify};
use super::support::{Client, Daemon, Sample, StandIn, ms, s, samples, within};

const EACH: usize = 5;
/// Long enough for an answer that somebody does not hold back.
const SILENCE: std::time::Duration = ms(700);

/// Sends these, and does not wait for the answers.
fn send(daemon: &Daemon<'_>, samples: &[Sample]) -> Client {
    let mut client = Client::connect(&daemon.socket());
    let text: String = samples
        .iter()
        .map(|sample| format!("{}\n", sample.line))
        .collect();
    client.write(text.as_bytes()).expect("written");
    client
}

fn all_are(client: &mut Client, samples: &[Sample], status: &str) {
    for sample in samples {
        let answer = client.answer().expect("an answer");
        assert_eq!(answer.status(), status, "{answer:?}");
        // One that is not taken in is told without its id.
        if status != "unavailable" {
            assert_eq!(answer.message_id(), sample.id);
        }
    }
}

/// What befalls the commits that wait.
fn trouble(pair: &Pair, what: &str) {
    let primary: &Server = pair.primary();
    let known = pair.waiting();
    match what {
        "nothing" => {}
        "cancelled" => assert!(primary.cancel_backends(WAITS) > 0),
        "terminated" => assert!(primary.terminate_backends(WAITS) > 0),
        "names emptied" => {
            primary.set("synchronous_standby_names", "");
            primary.shows(
                "a commit that waits no more",
                &format!("SELECT count(*) FROM pg_stat_activity WHERE {WAITS}"),
                |count| count == "0",
            );
        }
        "restarted" => primary.restart(),
        what => panic!("{what}"),
    }
    // The engine has found out, and asks anew: only behind that does silence say anything.
    match what {
        "nothing" | "names emptied" => {}
        _ => pair.another_waits(&known),
    }
}

#[test]
fn nothing_is_acknowledged_and_all_is_resolved() {
    let Some(pair) = Pair::start() else {
        return;
    };
    let stand_in = StandIn::start();
    let site = site(&stand_in, &pair.url(), "replicated");
    let daemon = site.start();
    let mut sent = samples("before", 0..EACH);
    Client::queue(&site.socket(), &sent);
    for what in [
        "nothing",
        "cancelled",
        "terminated",
        "names emptied",
        "restarted",
    ] {
        println!("{what}");
        // Two that wait for their answer, and one that goes away.
        let stays = samples(&format!("stays {what}"), 0..EACH);
        let goes = samples(&format!("goes {what}"), 0..EACH);
        pair.standby().kill9();
        let gone = send(&daemon, &goes);
        pair.commits_wait();
        drop(gone);
        let mut client = send(&daemon, &stays);
        trouble(&pair, what);
        assert!(is_silent(&mut client, SILENCE));
        if what == "names emptied" {
            let status = daemon.shows(s(10), "why nothing is taken", |status| {
                status["not_accepting"].to_string().contains("away")
            });
            let mut other = Client::connect(&site.socket());
            assert_eq!(
                other.ask(&samples("other", 0..1)[0].line).status(),
                "unavailable"
            );
            assert!(
                daemon.log().contains("synchronous_standby_names is empty"),
                "{status:#}"
            );
            let name = pair.standbys_name();
            pair.primary().set("synchronous_standby_names", name);
            pair.commits_wait();
            assert!(is_silent(&mut client, SILENCE));
        }
        pair.standby_back();
        all_are(&mut client, &stays, "queued");
        // Whoever went away hears that its events are known.
        all_are(&mut send(&daemon, &goes), &goes, "duplicate");
        all_are(&mut send(&daemon, &stays), &stays, "duplicate");
        sent.extend(stays);
        sent.extend(goes);
    }
    let status = all_delivered(&daemon, &stand_in, &sent);
    assert_eq!(status["ledger"]["resent"], 0, "{status:#}");
    verify(&site, "in the end");
}

/// A commit that waits longer than a client may: it is told so, and asks again.
#[test]
fn a_client_waits_half_a_minute_and_then_asks_again() {
    let Some(pair) = Pair::start() else {
        return;
    };
    let stand_in = StandIn::start();
    let site = site(&stand_in, &pair.url(), "replicated");
    let daemon = site.start();
    let sent = samples("late", 0..EACH);
    pair.standby().kill9();
    let mut client = send(&daemon, &sent);
    assert!(is_silent(&mut client, s(25)));
    all_are(&mut client, &sent, "unavailable");
    pair.standby_back();
    // It is unavailable until what waits is resolved.
    let mut told = Vec::new();
    for sample in &sent {
        let status = within(s(20), "an answer that counts", || {
            let answer = client.ask(&sample.line);
            (answer.status() != "unavailable").then(|| answer.status().to_owned())
        });
        told.push(status);
    }
    assert!(told.iter().all(|status| status == "duplicate"), "{told:?}");
    all_delivered(&daemon, &stand_in, &sent);
}

/// The server that takes the place of a lost one asks for no standby: nothing is acknowledged there
/// until it does.
#[test]
fn a_server_that_is_promoted_without_names_acknowledges_nothing() {
    let Some(mut pair) = Pair::start() else {
        return;
    };
    let stand_in = StandIn::start();
    let site = site(&stand_in, &pair.url(), "replicated");
    let daemon = site.start();
    let before = samples("before", 0..EACH);
    Client::queue(&site.socket(), &before);
    let waiting = samples("waiting", 0..EACH);
    pair.standby().kill9();
    let mut client = send(&daemon, &waiting);
    pair.commits_wait();
    // Found committed by a second connection, whose own commit waits: but the standby has none of
    // it.
    let known = pair.waiting();
    assert!(pair.primary().terminate_backends(WAITS) > 0);
    pair.another_waits(&known);
    pair.primary().kill9();
    pair.standby().restart();
    pair.fail_over();
    within(s(20), "that it asks for no standby", || {
        let answer = Client::connect(&site.socket()).ask(&samples("other", 0..1)[0].line);
        assert_eq!(answer.status(), "unavailable", "{answer:?}");
        (answer
            .error()
            .contains("synchronous_standby_names is empty"))
        .then_some(())
    });
    assert!(is_silent(&mut client, SILENCE));
    pair.mend();
    all_are(&mut client, &waiting, "queued");
    all_are(&mut send(&daemon, &waiting), &waiting, "duplicate");
    let sent = [before, waiting].concat();
    all_delivered(&daemon, &stand_in, &sent);
    verify(&site, "in the end");
}
