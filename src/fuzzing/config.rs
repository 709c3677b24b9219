//! What holds of the reading of a config.

use std::path::Path;
use std::sync::Arc;

use toml::{Table, Value};

use crate::config::{self, Config, ConfigError, Engine, KEYS, Place, Problem};
use crate::config::{show_duration, show_size};
use crate::queue::Storage;

const FILE: &str = "pinrelay.toml";

/// No text is more than a list of problems, each with a place that exists and words for it; a
/// value never comes back in them; what is taken serves every part and reads the same twice.
///
/// What follows a NUL is the value of an environment variable: the byte after the NUL says
/// which, and the rest is its value.
pub fn config(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let variable = parts.next().and_then(|rest| rest.split_first());
    let variable = variable.map(|(which, value)| {
        let key = &KEYS[usize::from(*which) % KEYS.len()];
        (key.variable(), String::from_utf8_lossy(value).into_owned())
    });
    match read(&text, variable.clone()) {
        Ok(config) => serves(&text, variable, &config),
        Err(error) => explains(&error, &text),
    }
    secrets_stay(&text);
}

fn read(text: &str, variable: Option<(String, String)>) -> Result<Config, ConfigError> {
    config::read(Some((Path::new(FILE), text)), variable.into_iter())
}

fn explains(error: &ConfigError, text: &str) {
    let ConfigError::Invalid(problems) = error else {
        panic!("nothing was read from a disk: {error}");
    };
    assert!(!problems.is_empty(), "refused without a problem");
    assert!(problems.is_sorted_by(|a, b| a.place <= b.place));
    let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
    for Problem { place, message } in problems {
        assert!(!message.trim().is_empty(), "{place}: says nothing");
        match place {
            Place::Line(file, line) => {
                assert!(
                    file == Path::new(FILE) && (1..=lines).contains(line),
                    "{place}"
                );
            }
            Place::Variable(name) => assert!(KEYS.iter().any(|key| key.variable() == *name)),
            // Every default is good, so that nothing without a place can be wrong.
            Place::Nowhere => panic!("{message}: nowhere"),
        }
    }
}

fn serves(text: &str, variable: Option<(String, String)>, config: &Config) {
    let again = read(text, variable).expect("what was taken is taken again");
    assert_eq!(&again, config);
    assert!(config.needs_restart(&again).is_empty());
    if let Err(error) = config.transform() {
        explains_in_a_line(&error, text);
    }
    if let Err(error) = config.policy() {
        explains_in_a_line(&error, text);
    }
    let _ = config.require_run();
    let ingest = config.ingest_options(1024);
    assert!(ingest.max_event_bytes > 0);
    assert!(!config.queue_schema().is_empty() && !config.postgres.lease.is_zero());
    if config.queue.engine == Engine::Sled {
        let queue = config.queue_options(None, Arc::new(|_| {}));
        let storage = queue.expect("nothing else has to be read").storage;
        assert!(matches!(&storage, Storage::Folder(folder) if folder.roll_events > 0));
    }
    assert!(config.queue.max_bytes > 0);
    let delivery = config.delivery_options("1").limits;
    assert!((1..=1000).contains(&delivery.max_batch_events));
    assert!(delivery.max_batch_bytes > 0 && delivery.max_in_flight > 0);
    assert!(!delivery.backoff_initial.is_zero());
    assert!(delivery.backoff_initial <= delivery.backoff_max);
    // What `check` shows can be written into a file.
    let shown = format!(
        "[delivery]\nbackoff_initial = \"{}\"\nbackoff_max = \"{}\"\nmax_age = \"{}\"\n\
         [queue]\nmax_bytes = \"{}\"\n",
        show_duration(delivery.backoff_initial),
        show_duration(delivery.backoff_max),
        show_duration(delivery.max_age),
        show_size(config.queue.max_bytes),
    );
    let shown = read(&shown, None).expect("what is shown can be read");
    assert_eq!(shown.delivery.backoff_initial, delivery.backoff_initial);
    assert_eq!(shown.delivery.backoff_max, delivery.backoff_max);
    assert_eq!(shown.delivery.max_age, delivery.max_age);
    assert_eq!(shown.queue.max_bytes, config.queue.max_bytes);
}

/// The complaints of transform and policy are about mappings and filters; each stands in a line.
fn explains_in_a_line(error: &ConfigError, text: &str) {
    let ConfigError::Invalid(problems) = error else {
        panic!("{error}");
    };
    let in_a_line = |problem: &Problem| matches!(problem.place, Place::Line(..));
    assert!(problems.iter().all(in_a_line), "{error}");
    explains(error, text);
}

/// A token that strayed into the value of any key does not come back in a message.
fn secrets_stay(text: &str) {
    const SECRET: &str = "pina_5e3cr3t";
    let Some((before, after)) = text.split_once('"') else {
        return;
    };
    let strayed = format!("{before}\"{SECRET}{after}");
    // Keys are told; only a value must not be. What is no TOML has none.
    let Ok(table) = strayed.parse::<Table>() else {
        return;
    };
    if !any_key(&Value::Table(table), &|key| key.contains(SECRET))
        && let Err(error) = read(&strayed, None)
    {
        let words = error.to_string();
        assert!(!words.contains(SECRET), "{words}");
    }
}

fn any_key(value: &Value, is: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::Table(table) => table.iter().any(|(key, v)| is(key) || any_key(v, is)),
        Value::Array(list) => list.iter().any(|v| any_key(v, is)),
        _ => false,
    }
}
