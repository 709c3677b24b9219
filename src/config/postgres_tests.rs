//! `[postgres]`, and what it makes of the rest.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::queue::{Durability, Storage};

const URL: (&str, &str) = ("PINRELAY_DB_URL", "postgres://u:SECRET@h/d");

fn with(text: &str, vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let text = format!("[pinterest]\nad_account_id = \"7\"\napp_name = \"ss\"\n{text}");
    let env = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    read(Some((Path::new("a.toml"), &text)), env)
}

fn storage(config: &Config) -> Result<Storage, ConfigError> {
    let machine_id = config.machine_id()?;
    let options = config.queue_options(machine_id, Arc::new(|_| {}));
    options.map(|options| options.storage)
}

#[test]
fn every_key_arrives_and_nothing_shows_the_url() {
    let keys = "[queue]\nengine = \"postgres\"\nmachine_id_file = \"/\"\n[postgres]\n\
                ca_file = \"/ca\"\nschema = \"shop\"\ndurability = \"managed\"\nlease = \"3s\"\n";
    let config = with(&format!("test = true\n{keys}"), &[URL]).expect("a config");
    let Ok(Storage::Postgres(place)) = storage(&config) else {
        panic!("in a database");
    };
    assert_eq!(place.url.expose(), URL.1);
    assert_eq!(place.ca_file.as_deref(), Some(Path::new("/ca")));
    assert_eq!((&place.schema[..], &place.account[..]), ("shop_test", "7"));
    assert_eq!(
        (place.durability, place.lease.as_secs()),
        (Durability::Managed, 3)
    );
    assert!(place.is_test && place.generation_events > 0 && place.table_ids > 0);
    let shown = Storage::Postgres(place.clone()).shown();
    assert_eq!(
        shown.as_deref(),
        Ok("schema shop_test at h:5432, database d")
    );
    let schema = config.effective_settings(None).into_iter();
    let schema: Vec<_> = schema
        .filter(|setting| setting.key.name == "schema")
        .collect();
    assert_eq!(schema[0].value, "shop_test");
    assert_eq!(schema[0].origin, Origin::Key("pinterest.test"));
    assert!(!format!("{config:?}{place:?}{:?}", config.settings(None)).contains("SECRET"));
    let live = with(keys, &[URL]).expect("a config");
    assert_eq!(live.queue_schema(), "shop");
    let restart = live.needs_restart(&with("", &[]).expect("a config"));
    let keys: Vec<_> = restart.iter().map(|change| change.key.as_str()).collect();
    for key in [
        "queue.engine",
        "postgres.schema",
        "postgres.durability",
        "postgres.lease",
    ] {
        assert!(keys.contains(&key), "{key}: {keys:?}");
    }
}

#[test]
fn what_is_missing_is_told() {
    let engine = "[queue]\nengine = \"postgres\"\n";
    let error = storage(&with(engine, &[]).expect("a config"))
        .err()
        .map(|e| e.to_string());
    assert!(error.is_some_and(|error| error.contains("url_file")));
    let nobody = read(Some((Path::new("a.toml"), engine)), std::iter::empty()).expect("a config");
    let error = storage(&nobody).err().map(|e| e.to_string());
    assert!(error.is_some_and(|error| error.contains("ad_account_id")));
    for (wrong, words) in [
        (
            "[queue]\nengine = \"mysql\"\n",
            "one of \"sled\", \"postgres\"",
        ),
        ("[postgres]\nschema = \"A-b\"\n", "a-z, 0-9 and _"),
        ("[postgres]\nlease = \"1s\"\n", "a duration from 2s to 5m"),
        ("[postgres]\ndurability = \"none\"\n", "\"replicated\""),
        ("[postgres]\nurl_flie = \"SECRET\"\n", "did you mean"),
    ] {
        let error = with(wrong, &[]).expect_err("wrong").to_string();
        assert!(
            error.contains(words) && !error.contains("SECRET"),
            "{error}"
        );
    }
}

#[test]
fn what_does_not_count_is_known_where_somebody_set_it() {
    let unused = |text: &str, vars: &[(&str, &str)]| {
        with(text, vars)
            .expect("a config")
            .unused_queue_keys()
            .join(" ")
    };
    let folder = "path = \"/q\"\nmin_free = \"1GiB\"\ndedup_window = \"1d\"\n";
    assert_eq!(unused(&format!("[queue]\n{folder}"), &[]), "");
    assert_eq!(
        unused(
            &format!("[queue]\nengine = \"postgres\"\n{folder}"),
            &[("PINRELAY_QUEUE__GENERATION_EVENTS", "300")]
        ),
        "queue.generation_events queue.min_free queue.path"
    );
    assert_eq!(
        unused("[postgres]\nschema = \"a\"\n", &[]),
        "postgres.schema"
    );
}
