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
        "custom_data.currency         0 added, 0 removed, 1 with another value (like o-1)",
    ] {
        assert!(said.contains(part), "{part}\n---\n{said}");
    }
    let json: Value =
        serde_json::from_str(&transform(&file, &[&args[..], &["--json"]].concat())).expect("JSON");
    assert_eq!(json["dead_before"], 1);
    assert!(!said.contains("example.com"), "no values: {said}");
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
