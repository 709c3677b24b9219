//! `pinrelay config show`: each key, its value and where it comes from, and no secret.

use std::fs;
use std::process::{Command, Output};

use pinrelay::config::KEYS;
use serde_json::Value;

use crate::support::Site;

fn run(mut command: Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// The value and the origin of a key.
fn row(shown: &str, key: &str) -> (String, String) {
    let line = shown
        .lines()
        .find(|line| line.split(' ').next() == Some(key));
    let line = line.unwrap_or_else(|| panic!("{key}: {shown}"));
    let rest = line[key.len()..].trim();
    let (value, from) = rest.split_once("  ").expect("two columns");
    (value.to_owned(), from.trim().to_owned())
}

#[test]
fn each_key_stands_there_with_where_it_comes_from() {
    let site = Site::at("http://127.0.0.1:1");
    let file = site.config_file().display().to_string();
    let (code, shown, said) = run(site.command(&["config", "show"]));
    assert_eq!((code, said.as_str()), (Some(0), ""), "{shown}");
    for key in KEYS {
        row(&shown, &format!("{}.{}", key.section, key.name));
    }
    let here = |name: &str| site.path(name).display().to_string();
    let expected = [
        (
            "pinterest.ad_account_id",
            "549755885175".to_owned(),
            format!("{file}:2"),
        ),
        (
            "pinterest.base_url",
            "http://127.0.0.1:1".to_owned(),
            "PINRELAY_PINTEREST__BASE_URL".to_owned(),
        ),
        ("pinterest.token_file", here("token"), format!("{file}:4")),
        (
            "ingest.http_socket",
            here("http.sock"),
            "by ingest.socket".to_owned(),
        ),
        ("ingest.group", "\"\"".to_owned(), format!("{file}:7")),
        ("queue.max_bytes", "8GiB".to_owned(), "default".to_owned()),
        ("metrics.listen", "\"\"".to_owned(), "default".to_owned()),
    ];
    for (key, value, from) in expected {
        assert_eq!(row(&shown, key), (value, from), "{key}");
    }
}

#[test]
fn secrets_are_not_shown_and_their_files_are() {
    let site = Site::at("http://127.0.0.1:1");
    let file = site.path("app.key").display().to_string();
    fs::write(&file, "SECRET-2\n").expect("written");
    site.config(&format!(
        "[[ingest.write_keys]]\nname = \"shop\"\nkey = \"SECRET-1\"\n\
         [[ingest.write_keys]]\nname = \"app\"\nkey_file = \"{file}\"\n\
         [event_names]\n\"Signed Up\" = \"signup\"\n"
    ));
    for flags in [
        &[][..],
        &["--json"],
        &["--effective"],
        &["--effective", "--json"],
    ] {
        let mut command = site.command(&[&["config", "show"], flags].concat());
        command.env("PINRELAY_TOKEN", "SECRET-3");
        let (code, shown, said) = run(command);
        assert_eq!(code, Some(0), "{said}");
        for secret in ["SECRET", "pina_first"] {
            assert!(
                !shown.contains(secret) && !said.contains(secret),
                "{shown}{said}"
            );
        }
        for part in [&file, "shop", "app", "Signed Up", "signup"] {
            assert!(shown.contains(part), "{flags:?}: {part}: {shown}");
        }
        let token = site.path("token").display().to_string();
        assert!(shown.contains(&token), "{shown}");
    }
    // A secret that strayed into another key means nothing there.
    let strayed = Site::at("http://127.0.0.1:1").set("pinterest", "ad_account_id", "pina_SECRET");
    let (code, shown, said) = run(strayed.command(&["config", "show"]));
    assert_eq!(code, Some(78));
    assert!(
        !shown.contains("SECRET") && !said.contains("SECRET"),
        "{shown}{said}"
    );
    let from = "default: what PINRELAY_PINTEREST__AD_ACCOUNT_ID says cannot be used";
    assert_eq!(
        row(&shown, "pinterest.ad_account_id"),
        ("\"\"".to_owned(), from.to_owned())
    );
    assert!(
        said.contains("PINRELAY_PINTEREST__AD_ACCOUNT_ID: `ad_account_id` has to be"),
        "{said}"
    );
}

#[test]
fn effective_is_what_the_daemon_makes_of_it() {
    let site = Site::at("http://127.0.0.1:1").set("pinterest", "test", "true");
    let shown = |flags: &[&str]| {
        let mut command = site.command(&[&["config", "show"], flags].concat());
        command
            .env("RUST_LOG", "pinrelay=debug")
            .env("PINRELAY_ADMIN__SOCKET", "admin.sock");
        command.current_dir(site.path(""));
        let (code, shown, said) = run(command);
        assert_eq!(code, Some(0), "{said}");
        shown
    };
    let plain = shown(&[]);
    let queue = site.path("queue").display().to_string();
    assert_eq!(row(&plain, "queue.path").0, queue);
    assert_eq!(
        row(&plain, "log.level"),
        ("info".to_owned(), "default".to_owned())
    );
    assert_eq!(row(&plain, "admin.socket").0, "admin.sock");
    let effective = shown(&["--effective"]);
    let by_test = "by pinterest.test".to_owned();
    assert_eq!(
        row(&effective, "queue.path"),
        (format!("{queue}-test"), by_test.clone())
    );
    assert_eq!(
        row(&effective, "delivery.max_batch_events"),
        ("20".to_owned(), by_test)
    );
    let level = ("pinrelay=debug".to_owned(), "RUST_LOG".to_owned());
    assert_eq!(row(&effective, "log.level"), level);
    let admin = site.admin().display().to_string();
    assert_eq!(
        row(&effective, "admin.socket"),
        (admin, "PINRELAY_ADMIN__SOCKET".to_owned())
    );
    let token = format!("The access token: in {}", site.path("token").display());
    assert!(effective.ends_with(&format!("{token}\n")), "{effective}");
}

#[test]
fn programs_get_it_as_json() {
    let site = Site::at("http://127.0.0.1:1");
    let (code, shown, _) = run(site.command(&["config", "show", "--json"]));
    assert_eq!(code, Some(0));
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["ok"], true);
    let keys = shown["keys"].as_array().expect("keys");
    assert_eq!(keys.len(), KEYS.len());
    let of = |name: &str| keys.iter().find(|key| key["key"] == name).expect("the key");
    let file = site.config_file().display().to_string();
    let account = of("pinterest.ad_account_id");
    assert_eq!(account["value"], "549755885175");
    assert_eq!(
        account["from"],
        serde_json::json!({"kind": "file", "file": file, "line": 2})
    );
    assert_eq!(of("pinterest.test")["value"], false);
    assert_eq!(of("delivery.max_in_flight")["value"], 20);
    let variable = &of("delivery.linger")["from"];
    assert_eq!(variable["variable"], "PINRELAY_DELIVERY__LINGER");
}

#[test]
fn of_a_broken_config_what_can_be_shown_is() {
    let site = Site::at("http://127.0.0.1:1");
    site.config("max_bytes = \"much\"\nmax_byts = 1\n[log]\nlevel = \"warn\"\n");
    let file = site.config_file().display().to_string();
    let (code, shown, said) = run(site.command(&["config", "show"]));
    assert_eq!(code, Some(78), "{shown}");
    assert_eq!(
        row(&shown, "log.level"),
        ("warn".to_owned(), format!("{file}:15"))
    );
    let from = format!("default: what {file}:12 says cannot be used");
    assert_eq!(row(&shown, "queue.max_bytes"), ("8GiB".to_owned(), from));
    assert!(
        said.contains(&format!("{file}:12: `max_bytes` has to be")),
        "{said}"
    );
    assert!(
        said.contains(&format!("{file}:13: unknown key `max_byts`")),
        "{said}"
    );
    assert!(!shown.contains("much") && !said.contains("much"));
    let (code, shown, _) = run(site.command(&["config", "show", "--json"]));
    assert_eq!(code, Some(78));
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(
        (&shown["ok"], shown["wrong"].as_array().map(Vec::len)),
        (&false.into(), Some(2))
    );

    // A mapping that cannot be.
    site.config("[[mappings]]\nsource = \"a\"\ndestination = \"properties.price\"\n");
    let (code, _, said) = run(site.command(&["config", "show"]));
    assert_eq!(code, Some(78), "{said}");
    fs::remove_file(site.config_file()).expect("removed");
    let (code, shown, said) = run(site.command(&["config", "show"]));
    assert_eq!((code, shown.as_str()), (Some(78), ""));
    assert!(
        said.contains(&file) && said.contains("name another with --config"),
        "{said}"
    );
}
