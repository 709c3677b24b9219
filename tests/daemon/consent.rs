//! Consent and filters: what may not go is not stored, sent or logged, and is counted by its rule.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Client, Site, StandIn, is_stored, request, s};

const REQUIRE: &str = "[consent]\nrequire = [\"Marketing\", \"sale_of_data\"]\n\
                       [[filters]]\nname = \"clicks\"\nevent = \"product clicked\"\naction = \"drop\"\n";

/// What an event of this number says of its customer's choices, and the rule that keeps it back.
fn choices(n: usize) -> (Value, &'static str) {
    let said = |preferences: Value| json!({"consent": {"categoryPreferences": preferences}});
    match n % 10 {
        0 => (json!({}), "consent[missing]"),
        1 => (json!({"consent": "all"}), "consent[unreadable]"),
        2 => (
            said(json!({"marketing": false, "sale_of_data": true})),
            "consent[Marketing]",
        ),
        3 => (said(json!({"marketing": true})), "consent[sale_of_data]"),
        4 => (
            said(json!({"marketing": "yes", "sale_of_data": true})),
            "consent[unreadable]",
        ),
        5 => (
            said(json!({"MARKETING": true, "Sale_Of_Data": true})),
            "clicks",
        ),
        _ => (
            said(json!({"marketing": true, "sale_of_data": true, "x": 7})),
            "",
        ),
    }
}

/// Whose events must not be found anywhere: the name tells them.
fn event(n: usize) -> (String, &'static str) {
    let (mut context, rule) = choices(n);
    let whose = if rule.is_empty() {
        "granted"
    } else {
        "refused"
    };
    context["ip"] = "203.0.113.7".into();
    context["traits"] = json!({"email": format!("{whose}-{n}@mail.example")});
    let name = if rule == "clicks" {
        "Product Clicked"
    } else {
        "Product Viewed"
    };
    let event = json!({
        "messageId": format!("{whose}-{n}"), "type": "track", "event": name,
        "timestamp": jiff::Timestamp::now().to_string(), "context": context,
    });
    (event.to_string(), rule)
}

fn posted(site: &Site, lines: &[String]) -> Vec<Value> {
    let body = format!(r#"{{"batch":[{}]}}"#, lines.join(","));
    let stream = UnixStream::connect(site.path("http.sock")).expect("a connection");
    let (status, answer) = request(stream, "POST", "/v1/batch", &body);
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    answer["results"].as_array().cloned().unwrap_or_default()
}

#[test]
fn what_has_no_consent_is_nowhere_and_the_counts_agree() {
    let count = std::env::var("PINRELAY_CONSENT_EVENTS").map_or(5_000, |n| n.parse().expect("n"));
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.config(REQUIRE);
    let mut run = site.run();
    run.env("RUST_LOG", "trace");
    let daemon = site.ready(crate::support::Process::start(&mut run));
    let mut expected = std::collections::BTreeMap::<&str, u64>::new();
    let mut client = Client::connect(&daemon.socket());
    let numbers: Vec<usize> = (0..count).collect();
    for (part, numbers) in numbers.chunks(500).enumerate() {
        let events: Vec<_> = numbers.iter().map(|n| event(*n)).collect();
        let lines: Vec<String> = events.iter().map(|(line, _)| line.clone()).collect();
        // One half over either protocol.
        let answers: Vec<Value> = match part % 2 {
            0 => {
                client
                    .write((lines.join("\n") + "\n").as_bytes())
                    .expect("written");
                let answers = lines.iter().map(|_| client.answer().expect("an answer").0);
                answers.collect()
            }
            _ => posted(&site, &lines),
        };
        for ((line, rule), answer) in events.iter().zip(answers) {
            if rule.is_empty() {
                assert_eq!(answer["status"], "queued", "{line}");
                continue;
            }
            let reason = if *rule == "clicks" {
                "filtered"
            } else {
                "consent"
            };
            let id = serde_json::from_str::<Value>(line).expect("JSON")["messageId"].clone();
            let due = json!({"status": "ignored", "messageId": id, "reason": reason, "rule": rule});
            assert_eq!(answer, due, "{line}");
            *expected.entry(rule).or_default() += 1;
        }
    }
    let refused: u64 = expected.values().sum();
    let granted = count as u64 - refused;
    stand_in.takes(granted, s(60));
    let status = daemon.shows(s(20), "all is delivered", |status| {
        status["ledger"]["delivered"] == granted
    });
    assert_eq!(status["ledger"]["ignored"], refused, "{status:#}");
    let rules = status["rules"].as_array().expect("the rules");
    let kept = |rule: &str| {
        rules
            .iter()
            .find(|of| of["rule"] == rule)
            .map(|of| of["kept_back"].clone())
    };
    for (rule, count) in &expected {
        assert_eq!(kept(rule), Some((*count).into()), "{rule}: {rules:#?}");
    }
    let shown = site.command(&["status"]).output().expect("it runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("kept back") && shown.contains("since the start"),
        "{shown}"
    );
    let metrics = UnixStream::connect(site.admin()).expect("a connection");
    let (_, metrics) = crate::support::get(metrics, "/metrics");
    for (rule, count) in &expected {
        let reason = if *rule == "clicks" {
            "filtered"
        } else {
            "consent"
        };
        let line =
            format!("pinrelay_kept_back_total{{reason=\"{reason}\",rule=\"{rule}\"}} {count}");
        assert!(metrics.lines().any(|l| l == line), "{line}: {metrics}");
    }
    let log = daemon.log();
    assert!(
        log.contains("TRACE") || log.contains("DEBUG"),
        "the log says more than usual"
    );
    daemon.kill();
    assert!(!log.contains("refused-"), "in the log");
    let folder = site.path("queue");
    assert!(is_stored(&folder, "granted-9"), "what is stored is found");
    assert!(!is_stored(&folder, "refused-"), "on disk");
    // What the ledger had counted it still knows, after a kill.
    let daemon = site.start();
    assert_eq!(daemon.status()["ledger"]["ignored"], refused);
}

#[test]
fn a_reload_changes_the_rules_for_what_comes_next() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let mut client = Client::connect(&daemon.socket());
    let (refused, _) = event(2);
    assert_eq!(client.ask(&refused).status(), "queued");
    site.config(REQUIRE);
    let out = site.command(&["reload"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert!(
        said.contains("consent.require") && said.contains("filters"),
        "{said}"
    );
    // The same client, over the same connection; the id is still known, and says nothing here.
    let answer = client.ask(&refused);
    assert_eq!(
        (answer.status(), &answer.0["rule"]),
        ("ignored", &json!("consent[Marketing]"))
    );
    // What is wrong changes nothing.
    site.config("[[filters]]\naction = \"drop\"\n");
    let out = site.command(&["reload"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(
        !out.status.success() && said.contains("asks for nothing"),
        "{said}"
    );
    assert_eq!(client.ask(&refused).status(), "ignored");
    site.config("");
    let out = site.command(&["reload"]).output().expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert_eq!(client.ask(&refused).status(), "duplicate");
}

#[test]
fn transform_says_what_would_be_kept_back_and_by_which_rule() {
    let site = Site::at("http://127.0.0.1:9/v5");
    site.config(REQUIRE);
    let file = site.path("events");
    let lines: Vec<String> = [2, 5, 9].iter().map(|n| event(*n).0).collect();
    fs::write(&file, lines.join("\n")).expect("a file");
    let run = |args: &[&str], file: &Path| {
        let mut command = site.command(&[&["transform"], args].concat());
        let out = command.arg(file).output().expect("it runs");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let told = run(&[], &file);
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(
        told[..2],
        [
            r#"{"messageId":"refused-2","ignored":"consent","rule":"consent[Marketing]"}"#,
            r#"{"messageId":"refused-5","ignored":"filtered","rule":"clicks"}"#,
        ]
    );
    assert!(told[2].contains("granted-9@mail.example"), "{}", told[2]);
    let explained = run(&["--explain"], &file);
    assert!(
        explained.contains("ignored: filtered, by clicks"),
        "{explained}"
    );
}

#[test]
fn who_refuses_the_sale_of_data_in_such_a_state_is_processed_within_limits() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.config(
        "[consent]\nrequire = [\"marketing\", \"sale_of_data\"]\nldp_states = [\"CA\"]\n\
         [[mappings]]\nsource = \"properties.opt\"\ndestination = \"properties.opt_out_type\"\n",
    );
    stand_in.mode(json!({"refuse_containing": "\"opt_out_type\":\"LDP\"", "refuse_message": "no"}));
    let daemon = site.start();
    let mut client = Client::connect(&daemon.socket());
    let mut ask = |id: &str, address: Value, sale: bool| {
        let event = json!({
            "messageId": id, "type": "track", "event": "Product Viewed",
            "properties": {"address": address, "opt": "NONE"},
            "context": {"ip": "203.0.113.7",
                "consent": {"categoryPreferences": {"marketing": true, "sale_of_data": sale}}},
        });
        client.ask(&event.to_string()).0["rule"].clone()
    };
    assert_eq!(
        ask(
            "limited",
            json!({"state": "California", "country": "US"}),
            false
        ),
        Value::Null
    );
    assert_eq!(ask("bare", json!({"state": "ca"}), false), Value::Null);
    assert_eq!(ask("free", json!({"state": "CA"}), true), Value::Null);
    let kept = json!("consent[sale_of_data]");
    assert_eq!(ask("elsewhere", json!({"state": "Oregon"}), false), kept);
    assert_eq!(
        ask("abroad", json!({"state": "CA", "country": "Canada"}), false),
        kept
    );
    assert_eq!(ask("nowhere", json!({}), false), kept);
    // Those alone that say so are refused, and so told apart.
    let status = daemon.shows(s(20), "all is answered", |status| {
        status["ledger"]["delivered"] == 1 && status["dead_total"] == 2
    });
    assert_eq!(status["ledger"]["ignored"], 3);
    let out = site
        .command(&["dead", "list", "--each", "--json"])
        .output()
        .expect("it runs");
    let letters = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        letters.contains("\"limited\"") && letters.contains("\"bare\""),
        "{letters}"
    );
}
