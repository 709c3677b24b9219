//! `pinrelay transform` as an operator uses it on a mapping that is not right yet.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Client, PINRELAY, Site, StandIn, bare, s, samples, within};

const ORDER: &str = r#"{"messageId":"o-1","type":"track","event":"Order Completed","properties":{"email":"ada@example.com","total":42,"price":"many","products":[{"product_id":"p1","price":10.5,"quantity":2}]}}"#;
const NOBODY: &str =
    r#"{"messageId":"n-1","type":"page","properties":{"contact":"eve@example.com"}}"#;

fn transform(file: &Path, args: &[&str]) -> String {
    let mut command = bare(Path::new(PINRELAY));
    let out = command
        .arg("transform")
        .args(args)
        .arg(file)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(0), "{said}");
    String::from_utf8(out.stdout).expect("text")
}

fn events() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("events.ndjson");
    fs::write(
        &file,
        format!("{ORDER}\n{NOBODY}\n{{\"type\":\"identify\",\"messageId\":\"i\"}}\nnonsense\n"),
    )
    .expect("a file");
    (folder, file)
}

#[test]
fn explain_names_the_source_of_each_field_and_what_was_tried() {
    let (_folder, file) = events();
    let said = transform(&file, &["--explain"]);
    for part in [
        "track o-1\n  event_name                   \"checkout\"\n      from event, a standard name",
        "custom_data.value            -\n      omitted: properties.price is there and cannot be read, and nothing",
        "note, unreadable: properties.price is no number from 0",
        "tried properties.value: missing\n      tried properties.price: is no number from 0",
        "from the sum of quantity over properties.products",
        "tried properties.phone, context.traits.phone: missing",
        "page n-1\n  would be a dead letter (no_match_key)",
        "ignored: identify is not forwarded",
        "rejected: not valid JSON",
    ] {
        assert!(said.contains(part), "{part}\n---\n{said}");
    }
}

#[test]
fn a_mapping_and_a_name_are_tried_without_writing_them() {
    let (_folder, file) = events();
    let tried = [
        "--explain",
        "--json",
        "--map",
        "properties.total=properties.value",
        "--map",
        "properties.contact=properties.email",
        "--event-name",
        "order completed =purchase",
    ];
    let said = transform(&file, &tried);
    let mut told = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let (order, nobody) = (
        told.next().expect("the order"),
        told.next().expect("the page"),
    );
    let field = |told: &Value, name: &str| {
        let fields = told["fields"].as_array().expect("fields");
        fields
            .iter()
            .find(|f| f["field"] == name)
            .expect("told")
            .clone()
    };
    assert_eq!(field(&order, "event_name")["value"], "purchase");
    let value = field(&order, "custom_data.value");
    assert_eq!(
        (&value["value"], &value["mapping"]),
        (&"42".into(), &1.into())
    );
    assert_eq!(nobody["dead"], Value::Null);
    assert_eq!(field(&nobody, "user_data.em")["mapping"], 2);
    assert_eq!(
        order["mappings"][1]["outcome"],
        "its source is missing or empty: nothing done"
    );
}

#[test]
fn compare_counts_what_another_config_makes_differently() {
    let (folder, file) = events();
    let old = folder.path().join("old.toml");
    fs::write(&old, "[pinterest]\ndefault_currency = \"EUR\"\n").expect("a file");
    let args = [
        "--compare",
        old.to_str().expect("a path"),
        "--map",
        "properties.contact=properties.email",
    ];
    let said = transform(&file, &args);
    for part in [
        "2 events, 2 of them changed; 2 lines that are not sent at all",
        "dead: 1 under the old config, 0 under this one",
        "custom_data.currency         1 with another value, like o-1: \"EUR\" → \"USD\"",
        "  dead                         1 removed, like n-1: \"no_match_key\" → -",
        "events.ndjson:4: rejected: not valid JSON",
    ] {
        assert!(said.contains(part), "{part}\n---\n{said}");
    }
    let json: Value =
        serde_json::from_str(&transform(&file, &[&args[..], &["--json"]].concat())).expect("JSON");
    assert_eq!(json["dead_before"], 1);
    assert_eq!(json["rejects"][0]["line"], 4);
    assert!(!said.contains("example.com"), "no values: {said}");
    assert!(
        !json.to_string().contains("example.com"),
        "no values: {json}"
    );
    // What says something of a person is shown as its shape, or because it was asked for.
    fs::write(&old, "[user_data]\nhashing = \"sha256\"\n").expect("a file");
    let args = ["--compare", old.to_str().expect("a path")];
    let said = transform(&file, &args);
    let changed = "user_data.em                 1 with another value, like o-1: ";
    let shapes = "(list of 1: text, 64 characters) → (list of 1: text, 15 characters)";
    assert!(said.contains(&format!("{changed}{shapes}")), "{said}");
    let said = transform(&file, &[&args[..], &["--full"]].concat());
    assert!(said.contains("→ [\"ada@example.com\"]"), "{said}");
    let json: Value = serde_json::from_str(&transform(
        &file,
        &[&args[..], &["--full", "--json"]].concat(),
    ))
    .expect("JSON");
    let example = &json["fields"]["user_data.em"]["examples"]["other_value"];
    assert_eq!(example["messageId"], "o-1");
    assert_eq!(example["after"]["value"], json!(["ada@example.com"]));
}

#[test]
fn in_brief_only_what_is_sent_and_the_notes() {
    let (_folder, file) = events();
    let said = transform(&file, &["--explain", "--brief"]);
    for part in [
        "track o-1\n  event_name                   \"checkout\"\n  action_source",
        "\n  note, unreadable: properties.price is no number from 0",
        "page n-1\n  would be a dead letter (no_match_key)",
        "events.ndjson:3: ignored: identify is not forwarded",
        "events.ndjson:4: rejected: not valid JSON",
    ] {
        assert!(said.contains(part), "{part}\n---\n{said}");
    }
    assert!(
        !said.contains("tried ") && !said.contains("omitted"),
        "{said}"
    );
    assert!(
        !said.contains("custom_data.value "),
        "it is not sent: {said}"
    );
    let told = transform(&file, &["--explain", "--brief", "--json"]);
    let told: Vec<Value> = (told.lines())
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let fields = told[0]["fields"].as_array().expect("fields");
    assert!(fields.iter().all(|field| !field["value"].is_null()));
    assert_eq!(told[0]["notes"][0]["word"], "unreadable");
    assert_eq!((&told[3]["line"], told.len()), (&json!(4), 4));
}

#[test]
fn a_rejected_line_is_told_by_its_place() {
    let (_folder, file) = events();
    let told = transform(&file, &[]);
    let last: Value = serde_json::from_str(told.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["line"], 4);
    assert_eq!(last["file"], file.display().to_string());
}

/// By the daemon's own rules, at this moment.
#[test]
fn what_would_be_late_or_expire_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, config) = (folder.path().join("events"), folder.path().join("c.toml"));
    let event = |id: &str, hours_ago: i64| {
        let at = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours_ago);
        json!({"messageId": id, "type": "page", "timestamp": at.to_string(),
            "properties": {"email": "ada@example.com"}})
    };
    let events = [("young", 0), ("late", 2), ("old", 24 * 8)].map(|(id, ago)| event(id, ago));
    fs::write(&file, events.map(|event| format!("{event}\n")).concat()).expect("a file");
    let ages = |args: &[&str]| -> Vec<Value> {
        let told = transform(&file, args);
        let lines = told.lines().map(serde_json::from_str::<Value>);
        lines
            .map(|told| told.expect("JSON")["age"].clone())
            .collect()
    };
    let late = |dead: bool| json!({"reason": "late", "dead": dead});
    let expired = json!({"reason": "expired", "dead": true});
    let due = [Value::Null, late(false), expired.clone()];
    assert_eq!(ages(&[]), due);
    assert_eq!(ages(&["--explain", "--json"]), due);
    assert_eq!(ages(&["--explain", "--json", "--brief"]), due);
    let said = transform(&file, &["--explain"]);
    for part in [
        "page late\n  would be late: it happened 2 h ago (delivery.late_after); it is sent",
        "page old\n  would be a dead letter (expired): it is 8 d old (delivery.max_age",
    ] {
        assert!(said.contains(part), "{part}\n---\n{said}");
    }
    fs::write(&config, "[delivery]\non_late = \"dead_letter\"\n").expect("a file");
    let config = config.to_str().expect("a path");
    assert_eq!(
        ages(&["--config", config]),
        [Value::Null, late(true), expired]
    );
    let said = transform(&file, &["--compare", config]);
    assert!(
        said.contains("1 would be late") && said.contains("1 would expire"),
        "{said}"
    );
}

#[test]
fn a_change_is_tried_on_what_the_daemon_holds() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("queue", "generation_events", "100");
    let daemon = site.start();
    stand_in.mode(json!({"fault": "503"}));
    let nobody: String = (0..30)
        .map(|i| format!(r#"{{"messageId":"n-{i}","type":"page","properties":{{"contact":"eve@example.com"}}}}"#) + "\n")
        .collect();
    let mut client = Client::connect(&daemon.socket());
    client.write(nobody.as_bytes()).expect("written");
    client.finish();
    for part in samples("held", 0..450).chunks(50) {
        Client::queue(&daemon.socket(), part);
    }
    within(s(20), "30 dead letters", || {
        (daemon.status()["dead_total"] == 30).then_some(())
    });
    let old = site.path("old.toml");
    fs::write(&old, "").expect("a file");
    let try_on = |which: &str, more: &[&str]| {
        let old = old.to_str().expect("a path");
        let args = ["transform", "--from", which, "--json", "--compare", old];
        let mut command = site.command(&args);
        let out = command.args(more).output().expect("it runs");
        assert_eq!(
            out.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        serde_json::from_slice::<Value>(&out.stdout).expect("JSON")
    };
    let map = ["--map", "properties.contact=properties.email"];
    let dead = try_on("dead", &map);
    assert_eq!(dead["dead_before"], 30);
    assert_eq!(dead["dead_after"], 0);
    // Those that `dead list` would count, and no others.
    let of = |filter: &[&str]| try_on("dead", filter)["events"].clone();
    assert_eq!(of(&["--reason", "no_match_key"]), 30);
    assert_eq!(of(&["--reason", "expired"]), 0);
    assert_eq!(of(&["--event", "page", "--since", "1h"]), 30);
    assert_eq!(of(&["--id", "n-7"]), 1);
    let mut misplaced = site.command(&["transform", "--from", "queue", "--reason", "late"]);
    let out = misplaced.output().expect("it runs");
    assert_eq!(out.status.code(), Some(64), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("--from dead"));
    // Over the ends of generations; none is claimed by being looked at.
    let queued = try_on("queue", &["--event-name", "order completed=purchase"]);
    assert!(queued["events"].as_u64() >= Some(450), "{queued}");
    assert!(
        queued["fields"]["event_name"]["other_value"].as_u64() > Some(0),
        "{queued}"
    );
    assert_eq!(try_on("queue", &["--limit", "7"])["events"], 7);
    let mut explain = site.command(&["transform", "--from", "queue", "--explain", "--limit=2"]);
    let out = explain.output().expect("it runs");
    assert_eq!(
        String::from_utf8_lossy(&out.stdout)
            .matches(" held-")
            .count(),
        2
    );
    stand_in.well();
    stand_in.takes(450, s(20));
    assert_eq!(daemon.stop(s(10)).code, Some(0));
    let out = site
        .command(&["transform", "--from", "queue"])
        .output()
        .expect("it runs");
    assert_eq!(out.status.code(), Some(69));
}
