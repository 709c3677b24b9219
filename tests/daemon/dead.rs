//! `pinrelay dead`: the events that could not be delivered, as the operator meets them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Client, Daemon, Process, Sample, Site, StandIn, request, s, samples};

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }
}

fn dead(site: &Site, args: &[&str]) -> Said {
    let mut all = vec!["dead"];
    all.extend(args);
    let out = site.command(&all).output().expect("it runs");
    Said {
        code: out.status.code(),
        out: String::from_utf8_lossy(&out.stdout).into_owned(),
        err: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

/// Without an email, and with an address alone: a match key only where the config adds a user
/// agent.
const NO_AGENT: &str = "[user_data]\ndefault_user_agent = \"\"\n";

/// `n` events of which nobody can be told who they are about under [`NO_AGENT`].
fn faceless(series: &str, n: usize) -> Vec<Sample> {
    let now = jiff::Timestamp::now().to_string();
    let line = |n: usize| {
        json!({
            "messageId": format!("{series}-{n:05}"), "type": "track", "event": "Product Viewed",
            "timestamp": now,
            "context": {"ip": "203.0.113.7"},
        })
    };
    (0..n)
        .map(|n| Sample {
            id: format!("{series}-{n:05}"),
            event_name: "view_content",
            line: line(n).to_string(),
        })
        .collect()
}

/// Waits until all are dead.
fn die(daemon: &Daemon<'_>, samples: &[Sample], total: usize) {
    Client::queue(&daemon.socket(), samples);
    daemon.shows(s(60), "dead letters", |status| {
        status["dead_total"] == total
    });
}

fn ledger(daemon: &Daemon<'_>) -> Value {
    let status = daemon.status();
    assert_eq!(status["ledger"]["ledger_imbalance"], 0, "{status:#}");
    status["ledger"].clone()
}

/// An export, with this done to each of its events.
fn edit(file: &Path, change: impl Fn(&mut Value)) {
    let text = fs::read_to_string(file).expect("an export");
    let edited = text.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).expect(line);
        change(&mut line["event"]);
        format!("{line}\n")
    });
    let edited: String = edited.collect();
    fs::write(file, edited).expect("written");
}

fn add_email(event: &mut Value) {
    event["context"]["traits"] = json!({"email": "a@mail.example"});
}

#[test]
fn a_retry_delivers_what_a_mended_config_cures_under_its_first_event_id() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.config(NO_AGENT);
    let daemon = site.start();
    let samples = faceless("cured", 30);
    die(&daemon, &samples, 30);
    // Before it is mended nothing is won: all are dead again, and the retry ends.
    assert_eq!(
        dead(&site, &["retry", "--json"]).json(),
        json!({"revived": 30})
    );
    daemon.shows(s(10), "dead again", |status| status["dead_total"] == 30);
    assert_eq!(stand_in.totals().requests, 0);
    let before = dead(&site, &["show", "cured-00007", "--json"]).json();
    assert!(before["would_die"].is_string(), "{before}");

    site.config("");
    assert_eq!(
        site.command(&["reload"])
            .output()
            .expect("it runs")
            .status
            .code(),
        Some(0)
    );
    let shown = dead(&site, &["show", "cured-00007", "--json"]).json();
    assert_eq!(shown["payload"]["event_id"], "cured-00007", "{shown}");
    let event_time = shown["payload"]["event_time"].as_i64();
    assert_eq!(event_time, shown["event_time"].as_i64());

    let said = dead(&site, &["retry", "cured-00007"]);
    assert_eq!(
        said.out, "1 dead letter went back into the queue\n",
        "{}",
        said.err
    );
    stand_in.takes(1, s(10));
    stand_in.holds(&samples[7..8]);
    let said = dead(&site, &["retry", "--reason", "no_match_key"]);
    assert_eq!(
        said.out, "29 dead letters went back into the queue\n",
        "{}",
        said.err
    );
    stand_in.takes(30, s(10));
    stand_in.holds(&samples);
    daemon.shows(s(10), "settled", |status| status["delivered"] == 30);
    let ledger = ledger(&daemon);
    assert_eq!(
        (&ledger["revived"], &ledger["dead"]),
        (&json!(60), &json!(0))
    );
    assert_eq!(stand_in.totals().duplicates, 0);
    let log = daemon.log();
    assert!(!log.contains("203.0.113.7"), "{log}");
}

#[test]
fn an_edited_export_comes_back_under_its_message_ids() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.config(NO_AGENT);
    let daemon = site.start();
    let samples = faceless("edited", 40);
    die(&daemon, &samples, 40);
    let file = site.path("dead.ndjson");
    let name = file.to_str().expect("UTF-8");
    let said = dead(&site, &["export", "-o", name, "--json"]);
    assert_eq!(said.json(), json!({"exported": 40}));
    let mode = fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let first = fs::read_to_string(&file).expect("an export");
    assert_eq!(first.lines().count(), 40);
    let line: Value = serde_json::from_str(first.lines().next().expect("a line")).expect("JSON");
    for key in [
        "number",
        "accepted_at",
        "died_at",
        "reason",
        "message",
        "event",
    ] {
        assert!(line.get(key).is_some(), "{key}: {line}");
    }
    // The bytes are the client's, whatever their order of keys.
    assert!(first.contains(&samples[0].line), "{first}");

    edit(&file, add_email);
    let bad = "{\"event\":{\"type\":\"page\"}}\nnonsense\n\n{\"event\":{\"messageId\":\"new\",\
               \"type\":\"page\",\"context\":{\"traits\":{\"email\":\"b@mail.example\"}}}}\n";
    let text = fs::read_to_string(&file).expect("an export");
    fs::write(&file, format!("{text}{bad}")).expect("written");
    let said = dead(&site, &["import", name, "--json"]);
    assert_eq!(said.code, Some(65), "{}", said.err);
    let tally: Value = serde_json::from_str(&said.out).expect("JSON");
    let counts = ["revived", "queued", "duplicate", "rejected"].map(|key| tally[key].as_u64());
    assert_eq!(counts, [Some(40), Some(1), Some(0), Some(2)], "{tally}");
    assert_eq!(tally["errors"][0]["line"], 41);
    assert_eq!(tally["errors"][1]["line"], 42);
    stand_in.takes(41, s(10));
    daemon.shows(s(10), "settled", |status| status["delivered"] == 41);
    let ledger = ledger(&daemon);
    assert_eq!(
        (&ledger["revived"], &ledger["dead"]),
        (&json!(40), &json!(0))
    );
    assert_eq!(ledger["accepted"], 41);
    // Once is enough.
    fs::write(&file, text).expect("written");
    let said = dead(&site, &["import", name, "--json"]);
    assert_eq!(said.json()["duplicate"], 40);
    assert_eq!(stand_in.totals().duplicates, 0);
    assert!(!daemon.log().contains("mail.example"));
}

/// What stands there may be somebody else's, open for reading, or lead to where they want it.
#[test]
fn an_export_makes_a_file_of_its_own_and_follows_no_link() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.config(NO_AGENT);
    let daemon = site.start();
    die(&daemon, &faceless("exported", 3), 3);
    let empty = site.path("empty");
    fs::write(&empty, "").expect("a file");
    let (to_a_file, to_nothing) = (site.path("to-a-file"), site.path("to-nothing"));
    std::os::unix::fs::symlink(&empty, &to_a_file).expect("a link");
    std::os::unix::fs::symlink(site.path("victim"), &to_nothing).expect("a link");
    for path in [&empty, &to_a_file, &to_nothing] {
        let name = path.to_str().expect("UTF-8");
        let said = dead(&site, &["export", "-o", name]);
        assert_eq!(said.code, Some(73), "{name}: {}{}", said.out, said.err);
        assert!(said.err.contains(name), "{}", said.err);
    }
    assert_eq!(fs::metadata(&empty).expect("there").len(), 0);
    assert!(!site.path("victim").exists());
}

#[test]
fn a_purged_event_comes_back_by_import_alone() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.config(NO_AGENT);
    let daemon = site.start();
    let samples = faceless("purged", 20);
    die(&daemon, &samples, 20);
    let file = site.path("dead.ndjson");
    let name = file.to_str().expect("UTF-8");
    assert_eq!(dead(&site, &["export", "-o", name]).code, Some(0));
    // An export may be the only copy there is.
    let kept = fs::read(&file).expect("an export");
    let again = dead(&site, &["export", "--event", "nothing", "-o", name]);
    assert_eq!(again.code, Some(73), "{}", again.err);
    assert!(again.err.contains(name), "{}", again.err);
    assert_eq!(fs::read(&file).expect("an export"), kept);
    edit(&file, add_email);

    // There is nobody to ask.
    let said = dead(&site, &["purge"]);
    assert_eq!(said.code, Some(64), "{}", said.err);
    assert!(said.err.contains("--yes"), "{}", said.err);
    assert_eq!(ledger(&daemon)["dead"], 20);
    let said = dead(&site, &["purge", "--yes", "--json"]);
    assert_eq!(said.json(), json!({"purged": 20}));
    let after = ledger(&daemon);
    assert_eq!((&after["dead"], &after["purged"]), (&json!(0), &json!(20)));
    assert_eq!(dead(&site, &["show", "purged-00003"]).code, Some(65));

    // The kill comes right behind the word that it was done.
    daemon.kill();
    let daemon = site.start();
    assert_eq!(ledger(&daemon)["purged"], 20);
    for answer in Client::send(&daemon.socket(), &samples) {
        assert_eq!(answer.status(), "duplicate", "{answer:?}");
    }
    let said = dead(&site, &["import", name, "--json"]);
    assert_eq!(said.json()["revived"], 20);
    daemon.kill();
    let daemon = site.start();
    stand_in.takes(20, s(20));
    stand_in.holds(&samples);
    daemon.shows(s(10), "settled", |status| status["delivered"] == 20);
    let after = ledger(&daemon);
    assert_eq!(
        (&after["purged"], &after["revived"]),
        (&json!(0), &json!(20))
    );
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    let verdict = site.command(&["verify"]).output().expect("it runs");
    assert_eq!(verdict.status.code(), Some(0), "{verdict:?}");
}

/// A backend whose messageIds are order numbers must not purge the letter that is numbered so.
#[test]
fn an_id_of_digits_is_a_message_id_before_it_is_a_number() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.config(NO_AGENT);
    let daemon = site.start();
    let numbered = ["2", "987654321098765432109"];
    let mut all = faceless("plain", 3);
    for (sample, id) in all.iter_mut().zip(numbered) {
        sample.line = sample.line.replace(&sample.id, id);
        sample.id = id.to_owned();
    }
    for (n, sample) in all.iter().enumerate() {
        die(&daemon, std::slice::from_ref(sample), n + 1);
    }
    let purged = dead(&site, &["purge", "--id", "2", "--yes", "--json"]).json();
    assert_eq!(purged, json!({"purged": 1}));
    assert_ne!(
        dead(&site, &["show", "1"]).code,
        Some(0),
        "order 2 is letter 1"
    );
    let long = dead(&site, &["show", numbered[1], "--json"]).json();
    assert_eq!(long["event"]["messageId"], numbered[1]);
    // Now that no letter has that messageId, it is a number.
    assert_eq!(dead(&site, &["show", "2", "--json"]).json(), long);
    ledger(&daemon);
}

#[test]
fn on_a_terminal_a_purge_asks_first() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.config(NO_AGENT);
    let daemon = site.start();
    die(&daemon, &faceless("asked", 3), 3);
    for (answer, code, left) in [("\n", 1, 3), ("no\n", 1, 3), ("y\n", 0, 0)] {
        let terminal = nix::pty::openpty(None, None).expect("a terminal");
        let mut hand = fs::File::from(terminal.master);
        hand.write_all(answer.as_bytes()).expect("typed");
        let mut purge = site.command(&["dead", "purge"]);
        let out = purge.stdin(terminal.slave).output().expect("it runs");
        let asked = String::from_utf8_lossy(&out.stderr);
        assert!(asked.contains("Purge 3 dead letters?"), "{asked}");
        assert_eq!(out.status.code(), Some(code), "{answer:?}: {asked}");
        assert_eq!(ledger(&daemon)["dead"], left, "{answer:?}");
    }
}

#[test]
fn filters_choose_and_a_list_shows_no_personal_data() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.config(NO_AGENT);
    let daemon = site.start();
    let said = dead(&site, &["list"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (Some(0), "no dead letters\n")
    );
    assert_eq!(dead(&site, &["list", "--json"]).json()["groups"], json!([]));
    assert_eq!(
        dead(&site, &["retry", "--json"]).json(),
        json!({"revived": 0})
    );

    die(&daemon, &faceless("some", 5), 5);
    let page = |n: usize| Sample {
        id: format!("page-{n}"),
        event_name: "page_visit",
        line: json!({"messageId": format!("page-{n}"), "type": "page",
            "context": {"ip": "203.0.113.7", "traits": {"lastName": "Byron"}}})
        .to_string(),
    };
    die(&daemon, &[page(0), page(1)], 7);
    let count = |args: &[&str]| {
        let mut all = vec!["list", "--json"];
        all.extend(args);
        dead(&site, &all).json()["letters"]
            .as_u64()
            .expect("a count")
    };
    let number = dead(&site, &["show", "page-0", "--json"]).json()["number"].to_string();
    for (args, letters) in [
        (&["--reason", "no_match_key"][..], 7),
        (&["--reason", "refused"], 0),
        (&["--event", "Product Viewed"], 5),
        (&["--event", "page"], 2),
        (&["--event", "track", "--reason", "no_match_key"], 5),
        (&["--since", "1h"], 7),
        (&["--until", "1h"], 0),
        (&["--since", "2100-01-01T00:00:00Z"], 0),
        (&["--message", "em"], 7),
        (&["--message", "no such words"], 0),
        (&["--id", "some-00003"], 1),
        (&["--id", &number], 1),
        (&["--id", "some-99999"], 0),
        (&["--id", "99999"], 0),
    ] {
        assert_eq!(count(args), letters, "{args:?}");
    }
    assert_eq!(
        dead(&site, &["list", "--reason", "bad_luck"]).code,
        Some(64)
    );
    let table = dead(&site, &["list"]).out;
    assert!(
        table.contains("no_match_key") && table.contains("7 dead letters"),
        "{table}"
    );
    let json = dead(&site, &["list", "--json"]).out;
    for personal in ["203.0.113.7", "Byron"] {
        assert!(
            !table.contains(personal) && !json.contains(personal),
            "{table}{json}"
        );
    }
    let shown = dead(&site, &["show", "page-0"]).out;
    assert!(
        shown.contains("Byron") && shown.contains("would not be sent now"),
        "{shown}"
    );

    let said = dead(&site, &["purge", "--event", "page", "--yes"]);
    assert_eq!(said.out, "2 dead letters purged\n");
    assert_eq!(count(&[]), 5);
    assert_eq!(ledger(&daemon)["purged"], 2);
    let verdict = site.command(&["verify"]).output().expect("it runs");
    assert_eq!(verdict.status.code(), Some(0), "{verdict:?}");
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    for verb in ["list", "retry", "export", "import"] {
        let said = dead(&site, &[verb]);
        assert_eq!(said.code, Some(69), "{verb}: {}", said.err);
    }
}

/// `curl --data` puts a filter into the body, where it would narrow nothing down.
#[test]
fn a_filter_that_is_not_in_the_query_moves_nothing() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.config(NO_AGENT);
    let daemon = site.start();
    die(&daemon, &faceless("some", 3), 3);
    for verb in ["retry", "purge"] {
        let admin = UnixStream::connect(site.admin()).expect("an admin socket");
        let body = r#"{"reason":"expired"}"#;
        let (status, said) = request(admin, "POST", &format!("/dead/{verb}"), body);
        assert_eq!(status, 400, "{said}");
        assert!(said.contains("query"), "{said}");
    }
    let before = ledger(&daemon);
    assert_eq!((&before["dead"], &before["purged"]), (&json!(3), &json!(0)));
    // An empty object is no filter.
    let admin = UnixStream::connect(site.admin()).expect("an admin socket");
    let (status, said) = request(admin, "POST", "/dead/purge", "{}");
    assert_eq!(status, 200, "{said}");
    assert_eq!(ledger(&daemon)["purged"], 3);
}

/// "No dead letters" would be taken for good news.
#[test]
fn a_filter_that_fits_nothing_says_so() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.config(NO_AGENT);
    let daemon = site.start();
    die(&daemon, &faceless("some", 1), 1);
    let said = dead(&site, &["list", "--event", "Product Veiwed"]);
    assert_eq!(said.code, Some(0));
    assert_eq!(
        said.out,
        "no dead letters fit this filter; `pinrelay dead list` shows all\n"
    );
    drop(daemon);
}

#[test]
fn a_group_leaves_out_what_pinterests_words_quote_and_show_tells_it() {
    let stand_in = StandIn::start();
    let words = "unknown person 'Byron' at a@mail.example";
    stand_in.mode(json!({"refuse_containing": "quoted", "refuse_message": words}));
    let site = Site::new(&stand_in);
    let daemon = site.start();
    die(&daemon, &samples("quoted", 0..3), 3);
    let list = dead(&site, &["list", "--json"]).json();
    assert_eq!(list["groups"][0]["count"], 3, "{list}");
    assert_eq!(list["groups"][0]["message"], "unknown person … at …");
    let shown = dead(&site, &["show", "quoted-000001", "--json"]).json();
    assert_eq!(shown["message"], words);
    // What Pinterest refused is sent again as it is, once it may be.
    stand_in.well();
    let said = dead(&site, &["retry", "--message", "unknown person"]);
    assert_eq!(
        said.out, "3 dead letters went back into the queue\n",
        "{}",
        said.err
    );
    daemon.shows(s(10), "delivered", |status| status["delivered"] == 3);
    stand_in.holds(&samples("quoted", 0..3));
}

#[test]
fn a_kill_amid_a_retry_and_an_import_keeps_the_books() {
    const LETTERS: usize = 20_000;
    let stand_in = StandIn::counting();
    let site = Site::new(&stand_in);
    site.config(NO_AGENT);
    let daemon = site.start();
    die(&daemon, &faceless("killed", LETTERS), LETTERS);
    let file = site.path("dead.ndjson");
    let name = file.to_str().expect("UTF-8");
    assert_eq!(dead(&site, &["export", "-o", name]).code, Some(0));
    edit(&file, add_email);
    // Nothing is cured, so what went back dies anew, under higher numbers, while the rest goes.
    let retry = Process::start(&mut site.command(&["dead", "retry"]));
    daemon.shows(s(30), "a retry under way", |status| {
        status["ledger"]["revived"].as_u64() > Some(0)
    });
    daemon.kill();
    let ended = retry.ended(s(30));
    // It may have been done already; it is never silent about not being.
    assert!(matches!(ended.code, Some(0 | 69)), "{}", ended.output);
    let daemon = site.start();
    let after = ledger(&daemon);
    assert_eq!(
        (&after["accepted"], &after["delivered"]),
        (&json!(LETTERS), &json!(0))
    );
    daemon.shows(s(60), "dead again", |status| {
        status["dead_total"] == LETTERS
    });

    let import = Process::start(&mut site.command(&["dead", "import", name]));
    stand_in.takes_some(s(30));
    daemon.kill();
    let ended = import.ended(s(30));
    assert!(matches!(ended.code, Some(0 | 69)), "{}", ended.output);
    let daemon = site.start();
    ledger(&daemon);
    // The same again: what was taken is a duplicate.
    let said = dead(&site, &["import", name, "--json"]).json();
    let [revived, duplicate] = ["revived", "duplicate"].map(|key| said[key].as_u64());
    assert_eq!(
        revived.zip(duplicate).map(|(r, d)| r + d),
        Some(LETTERS as u64),
        "{said}"
    );
    daemon.shows(s(60), "delivered", |status| status["delivered"] == LETTERS);
    let after = ledger(&daemon);
    assert_eq!((&after["dead"], &after["queued"]), (&json!(0), &json!(0)));
    // Only what was in doubt at the kill may have gone out twice, and that is counted.
    let totals = stand_in.totals();
    assert!(
        Some(totals.duplicates) <= after["resent"].as_u64(),
        "{totals:?} {after}"
    );
}

/// Bounds that a whole set in memory, a sync per letter, or an unpacking of its group for each
/// letter would break.
#[test]
fn fifty_thousand_are_listed_exported_and_retried_in_no_time() {
    const LETTERS: usize = 50_000;
    let stand_in = StandIn::counting();
    let site = Site::new(&stand_in);
    site.config(NO_AGENT);
    let daemon = site.start();
    die(&daemon, &faceless("many", LETTERS), LETTERS);
    let timed = |what: &str, limit: u64, args: &[&str]| {
        let begun = Instant::now();
        let said = dead(&site, args);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(limit), "{what}: {took:?}");
        said
    };
    let said = timed("list", 20, &["list", "--json"]);
    assert_eq!(said.json()["letters"], LETTERS);
    let file = site.path("dead.ndjson");
    let name = file.to_str().expect("UTF-8");
    let said = timed("export", 30, &["export", "-o", name, "--json"]);
    assert_eq!(said.json(), json!({"exported": LETTERS}));
    site.config("");
    assert_eq!(
        site.command(&["reload"])
            .output()
            .expect("it runs")
            .status
            .code(),
        Some(0)
    );
    let said = timed("retry", 30, &["retry", "--json"]);
    assert_eq!(said.json(), json!({"revived": LETTERS}));
    // Events that come in meanwhile do not wait behind them.
    Client::queue(&daemon.socket(), &faceless("fresh", 1));
    daemon.shows(s(60), "delivered", |status| {
        status["delivered"] == LETTERS + 1
    });
    let after = ledger(&daemon);
    assert_eq!(
        (&after["revived"], &after["dead"]),
        (&json!(LETTERS), &json!(0))
    );
}

#[test]
fn each_letter_has_a_line_and_no_personal_data() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.config(NO_AGENT);
    let daemon = site.start();
    die(&daemon, &faceless("faceless", 3), 3);
    // The destination quotes the event it refuses.
    stand_in.mode(
        json!({"refuse_containing": "quoted-", "refuse_message": "no customer0@mail.example"}),
    );
    let mut quoted = samples("quoted", 0..1);
    quoted[0].line = quoted[0].line.replace("203.0.113", "198.51.100");
    die(&daemon, &quoted, 4);
    let lines = |args: &[&str]| -> Vec<Value> {
        let said = dead(&site, &[&["list", "--each", "--json"], args].concat());
        assert_eq!(said.code, Some(0), "{}", said.err);
        let lines = said.out.lines();
        lines
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    };
    let all = lines(&[]);
    let ids: Vec<_> = all.iter().map(|line| line["messageId"].clone()).collect();
    assert_eq!(
        ids,
        [
            "faceless-00000",
            "faceless-00001",
            "faceless-00002",
            "quoted-000000"
        ]
    );
    assert_eq!(all[3]["reason"], "refused");
    assert_eq!(all[3]["event"], "Order Completed");
    assert!(
        all.iter()
            .all(|line| line["died_at"].is_i64() && line["message"] != ""),
        "{all:?}"
    );
    // The last to die, at the end; filters hold.
    assert_eq!(lines(&["--limit", "2"]), all[2..]);
    assert_eq!(
        lines(&["--reason", "no_match_key", "--limit", "9"]),
        all[..3]
    );
    assert_eq!(lines(&["--id", "faceless-00001"]), all[1..2]);
    let said = dead(&site, &["list", "--each", "--limit", "1"]);
    let shown: Vec<&str> = said.out.lines().collect();
    assert_eq!(shown.len(), 2, "{}", said.out);
    assert_eq!(shown[0], "3 dead letters died before these");
    assert!(
        shown[1].contains("refused") && shown[1].contains("  quoted-000000  "),
        "{}",
        said.out
    );
    for text in [said.out, format!("{all:?}")] {
        for personal in ["mail.example", "203.0.113", "198.51.100", "555 010"] {
            assert!(!text.contains(personal), "{personal}: {text}");
        }
    }
    // Without --each there is nothing to limit.
    assert_eq!(dead(&site, &["list", "--limit", "1"]).code, Some(64));
}
