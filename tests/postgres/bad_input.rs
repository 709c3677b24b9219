//! What is wrong with the database or what is said of it: one line with the object and the next
//! step, 78 where the config is wrong; a database that is away is waited for.

use nix::sys::signal::Signal;

use super::server::Server;
use super::shop::{FAST, PASSWORD, prepare, said, site, url};
use super::support::{Client, Process, Site, StandIn, s, samples, within};

/// A start that ends with 78 and one line that says all of this.
fn refused(site: &Site, words: &[&str]) {
    let ended = site.fails();
    let output = &ended.output;
    assert_eq!(ended.code, Some(78), "{output}");
    let lines: Vec<&str> = output
        .lines()
        .filter(|line| line.contains(words[0]))
        .collect();
    assert_eq!(lines.len(), 1, "{words:?}: {output}");
    for word in words {
        assert!(lines[0].contains(word), "{word}: {output}");
    }
}

#[test]
fn what_is_wrong_ends_a_start() {
    let Some(server) = Server::start(FAST) else {
        return;
    };
    prepare(&server);
    server.sql(&format!(
        "CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE outside PASSWORD '{PASSWORD}'"
    ));
    let stand_in = StandIn::start();
    let good = url(&[&server]);
    let as_role = |role: &str, password: &str| server.url_of(role, password, "shop");

    let wrong = site(&stand_in, &as_role("shop", "another"), "single");
    refused(
        &wrong,
        &["the password was refused", "URL", &server.address()],
    );
    let outside = site(&stand_in, &as_role("outside", PASSWORD), "single");
    refused(&outside, &["does not let this user in", "LOGIN"]);
    // A role without CREATE, with and without a schema.
    let guest = site(&stand_in, &as_role("guest", PASSWORD), "single");
    refused(
        &guest,
        &[
            "schema pinrelay is not there",
            "CREATE SCHEMA pinrelay",
            "GRANT",
        ],
    );
    server
        .try_sql("shop", "CREATE SCHEMA others AUTHORIZATION shop")
        .expect("made");
    let guest = guest.set("postgres", "schema", "others");
    refused(&guest, &["schema others", "GRANT USAGE, CREATE ON SCHEMA"]);
    // What is promised is not to be had.
    let replicated = site(&stand_in, &good, "replicated");
    refused(
        &replicated,
        &[
            "synchronous_standby_names is empty",
            "[postgres] durability",
        ],
    );
    server.set("synchronous_standby_names", "nobody");
    refused(&replicated, &["fsync is off", "switch it on"]);
    server.set("synchronous_standby_names", "");

    // Another account's, and the test queue of the same.
    let first = site(&stand_in, &good, "single");
    first.start().stop(s(20));
    let other = site(&stand_in, &good, "single").set("pinterest", "ad_account_id", "549755885176");
    refused(
        &other,
        &[
            "schema pinrelay holds",
            "549755885175",
            "549755885176",
            "[postgres] schema",
        ],
    );
    let (code, text) = said(&other, &["adopt"]);
    assert_eq!(code, Some(78), "{text}");

    // A newer one is left as it is.
    let count = "SELECT count(*) FROM pinrelay.migrations";
    let newer = "INSERT INTO pinrelay.migrations (number) VALUES (999)";
    server.try_sql("shop", newer).expect("put in");
    refused(
        &first,
        &["made by a newer pinrelay", "999", "install that one"],
    );
    assert_eq!(server.try_sql("shop", count).expect("a count"), ["2"]);
    for command in ["adopt", "verify"] {
        let (code, text) = said(&first, &[command]);
        assert_eq!(code, Some(78), "{command}: {text}");
    }
    server
        .try_sql("shop", "DELETE FROM pinrelay.migrations WHERE number = 999")
        .expect("taken out");
    assert_eq!(first.start().stop(s(20)).code, Some(0));
}

#[test]
fn a_database_that_is_away_at_the_start_is_waited_for() {
    let Some(server) = Server::start(FAST) else {
        return;
    };
    prepare(&server);
    let stand_in = StandIn::start();
    let site = site(&stand_in, &url(&[&server]), "single");
    server.kill9();
    // Told to end, it does so in order.
    let mut waits = Process::start(&mut site.run());
    waits.says_in("the database is away", s(20));
    waits.signal(Signal::SIGTERM);
    let ended = waits.ended(s(20));
    assert_eq!(ended.code, Some(0), "{}", ended.output);

    let mut waits = Process::start(&mut site.run());
    waits.says_in("the database is away", s(20));
    let (code, text) = said(&site, &["check"]);
    assert_eq!(code, Some(0), "{text}");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("the database is away"), "{text}");
    server.restart();
    let daemon = site.ready(waits);
    Client::queue(&site.socket(), &samples("after", 0..5));
    stand_in.takes(5, s(20));
    let log = daemon.log();
    assert_eq!(log.matches("the database is away").count(), 1, "{log}");
    assert_eq!(log.matches("the database is back").count(), 1, "{log}");
    assert!(log.contains(&server.address()), "{log}");
}

/// It is waited for until it is promoted.
#[test]
fn a_standby_in_place_of_a_primary_is_waited_for() {
    let Some(server) = Server::start(FAST) else {
        return;
    };
    prepare(&server);
    let standby = server.standby("second");
    let stand_in = StandIn::start();
    let site = site(&stand_in, &url(&[&standby]), "single");
    let mut waits = Process::start(&mut site.run());
    waits.says_in("it is a standby and takes no writes", s(20));
    assert!(waits.running());
    server.kill9();
    standby.promote();
    let _daemon = site.ready(waits);
    Client::queue(&site.socket(), &samples("after", 0..5));
    stand_in.takes(5, s(20));
}

/// Of one text, so many lines are logged in half a minute, and those behind are counted.
const FOLDED_BEHIND: usize = 3;

/// Away, read-only or full: one line of the log each way, `unavailable` meanwhile, and by itself.
#[test]
fn later_it_is_waited_for_likewise() {
    let Some(server) = Server::start(FAST) else {
        return;
    };
    prepare(&server);
    let stand_in = StandIn::start();
    let site = site(&stand_in, &url(&[&server]), "single");
    let daemon = site.start();
    Client::queue(&site.socket(), &samples("before", 0..5));
    for (n, what) in ["killed", "stopped", "read-only", "full"]
        .into_iter()
        .enumerate()
    {
        match what {
            "killed" => server.kill9(),
            "stopped" => server.stop(),
            "read-only" => server.set("default_transaction_read_only", "on"),
            // As a full disk is told: the statement is refused, and its connection stays.
            _ => {
                let sql = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS \
                    $$BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END$$; \
                    CREATE TRIGGER full_disk BEFORE INSERT ON pinrelay.chunks_1 \
                    EXECUTE FUNCTION full_disk()";
                server.try_sql("shop", sql).expect("a trigger");
            }
        }
        let known = samples(what, 0..1);
        let mut waits = Client::connect(&site.socket());
        waits
            .write(format!("{}\n", known[0].line).as_bytes())
            .expect("written");
        daemon.shows(s(30), "why nothing is taken", |status| {
            status["not_accepting"]
                .to_string()
                .contains("the database is away")
        });
        let refused = Client::connect(&site.socket()).ask(&samples("refused", n..n + 1)[0].line);
        assert_eq!(refused.status(), "unavailable", "{what}: {refused:?}");
        match what {
            "killed" | "stopped" => server.restart(),
            "read-only" => server.set("default_transaction_read_only", "off"),
            _ => {
                let sql = "DROP TRIGGER full_disk ON pinrelay.chunks_1";
                server.try_sql("shop", sql).expect("no trigger");
            }
        }
        // It returns by itself.
        daemon.shows(s(30), "events that are taken", |status| {
            status["not_accepting"] == serde_json::json!([])
        });
        let answer = waits.answer().expect("an answer");
        let told = ["queued", "unavailable"];
        assert!(told.contains(&answer.status()), "{what}: {answer:?}");
        let more = samples(&format!("after {what}"), 0..5);
        Client::queue(&site.socket(), &more);
        for words in ["the database is away", "the database is back"] {
            within(s(5), words, || {
                let (log, due) = (daemon.log(), (n + 1).min(FOLDED_BEHIND));
                let count = log.matches(words).count();
                assert!(count <= n + 1, "{what}, {words}: {log}");
                (count >= due).then_some(())
            });
        }
    }
    let status = daemon.shows(s(30), "all delivered", |status| {
        status["ledger"]["queued"] == 0 && status["ledger"]["sending"] == 0
    });
    assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
    assert_eq!(
        status["ledger"]["delivered"], status["ledger"]["accepted"],
        "{status:#}"
    );
    assert_eq!(stand_in.totals().duplicates, 0);
}
