//! Files and environments as an operator writes them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::secret::Token;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    }
}

fn env<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = (String, String)> + 'a {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
}

fn read(text: &str, vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let folder = Folder::new();
    let file = folder.file("pinrelay.toml", text);
    load(Some(&file), env(vars))
}

/// The problems, the folder taken out.
fn problems(text: &str, vars: &[(&str, &str)]) -> Vec<String> {
    let said = match read(text, vars) {
        Err(ConfigError::Invalid(problems)) => problems,
        other => panic!("{text}: {other:?}"),
    };
    let short = said.iter().map(|p| {
        let said = p.to_string();
        said.rsplit_once("pinrelay.toml:")
            .map_or(said.clone(), |(_, rest)| rest.to_owned())
    });
    short.collect()
}

const FULL: &str = r#"
[pinterest]
ad_account_id = "549755885175"
app_name = "ss-mystorefront"
token_file = "/etc/pinrelay/token"
base_url = "https://api.pinterest.com/v5"
test = false
default_action_source = "web"
default_currency = "USD"
tag = "none"
[ingest]
socket = "/run/pinrelay/ingest.sock"
group = "pinrelay-ingest"
max_event_bytes = 262144
http_socket = "/run/pinrelay/http.sock"
http_listen = ""
http_tls_cert = ""
http_tls_key = ""
http_behind_proxy = false
http_trust_forwarded = false
http_max_body = "4MiB"
[queue]
engine = "sled"
path = "/var/lib/pinrelay/queue"
dedup_window = "7d"
max_bytes = "8GiB"
min_free = "256MiB"
machine_id_file = "/etc/machine-id"
generation_events = 200000
[postgres]
url_file = ""
ca_file = ""
schema = "pinrelay"
durability = "replicated"
lease = "10s"
[delivery]
max_batch_events = 1000
max_batch_bytes = "2MiB"
linger = "200ms"
max_in_flight = 20
request_timeout = "30s"
max_age = "7d"
max_calls_per_minute = "auto"
backoff_initial = "1s"
backoff_max = "5m"
late_after = "1h"
on_late = "deliver"
drain_deadline = "20s"
[dead_letters]
retention = "30d"
max_bytes = "1GiB"
[user_data]
hashing = "raw"
sources = "document"
codes = false
default_user_agent = "Mozilla/5.0"
[event_names]
"Signed Up" = "signup"
[[mappings]]
source = "properties.loyalty_tier"
destination = "properties.loyalty_tier"
[[mappings]]
source = "properties.total"
destination = "properties.value"
[consent]
require = []
missing = "deny"
ldp_states = []
[catalog]
content_id = ["product_id", "sku"]
[event_time]
unreadable = "dead_letter"
[custom_properties]
on_refused = "strip"
[admin]
socket = "/run/pinrelay/admin.sock"
group = ""
[metrics]
listen = ""
[notify]
webhook_url_file = ""
min_interval = "15m"
backlog_age = "30m"
[log]
level = "info"
format = "auto"
"#;

#[test]
fn the_full_file_says_what_the_defaults_say() {
    let full = read(FULL, &[]).expect("the full file");
    let bare = load(None, env(&[])).expect("no file");
    assert_eq!(full.ingest, bare.ingest);
    assert_eq!(full.queue, bare.queue);
    assert_eq!(full.postgres, bare.postgres);
    assert_eq!(full.delivery, bare.delivery);
    assert_eq!(full.dead_letters, bare.dead_letters);
    assert_eq!(full.user_data, bare.user_data);
    assert_eq!(full.consent, bare.consent);
    assert_eq!(full.catalog, bare.catalog);
    assert_eq!(full.event_time, bare.event_time);
    assert_eq!(full.custom_properties, bare.custom_properties);
    assert_eq!(full.admin, bare.admin);
    assert_eq!(full.metrics, bare.metrics);
    assert_eq!(full.notify, bare.notify);
    assert_eq!(full.log, bare.log);
    assert_eq!(full.pinterest.base_url, bare.pinterest.base_url);
    let restart = full.needs_restart(&bare);
    assert_eq!(restart.len(), 1);
    assert_eq!(restart[0].key, "pinterest.ad_account_id");
    // A key of the table that FULL leaves out would make this test say less than it seems to.
    assert_eq!(full.texts.len(), KEYS.len());

    assert_eq!(full.delivery.linger, Duration::from_millis(200));
    assert_eq!(full.queue.max_bytes, 8 << 30);
    assert_eq!(full.delivery.max_age, Duration::from_secs(7 * 86_400));
    let required = full.require_run().expect("both are set");
    assert_eq!(required.ad_account_id, "549755885175");
    assert_eq!(required.app_name, "ss-mystorefront");
    let pair = |p: &Pair| (p.from.clone(), p.to.clone());
    assert_eq!(
        full.event_names.iter().map(pair).collect::<Vec<_>>(),
        [("Signed Up".into(), "signup".into())]
    );
    assert_eq!(full.mappings.len(), 2);
    assert_eq!(
        pair(&full.mappings[1]),
        ("properties.total".into(), "properties.value".into())
    );
    let before = FULL.rfind("[[mappings]]").map(|at| &FULL[..at]);
    let line = before.map_or(0, |text| text.lines().count() + 1);
    assert!(
        matches!(full.mappings[1].place, Place::Line(_, at) if at == line),
        "{:?}",
        full.mappings[1].place
    );
}

#[test]
fn run_needs_an_account_and_a_name() {
    let bare = load(None, env(&[])).expect("no file");
    let said = bare
        .require_run()
        .expect_err("both are missing")
        .to_string();
    assert_eq!(said.lines().count(), 2);
    assert!(said.contains("`ad_account_id` is not set"), "{said}");
    assert!(said.contains("PINRELAY_PINTEREST__APP_NAME"), "{said}");
    let half = read("[pinterest]\nad_account_id = \"1\"\napp_name = \"\"", &[]).expect("a file");
    let said = half.require_run().expect_err("empty is unset").to_string();
    assert!(
        said.contains("app_name") && !said.contains("ad_account_id"),
        "{said}"
    );
}

#[test]
fn every_problem_of_a_file_is_told_with_its_line() {
    let said = problems(
        "[pinterset]\n[delivery]\nlingr = \"1s\"\nmax_in_flight = \"20\"\nmax_batch_events = 1001\n\
         request_timeout = \"forever\"\n[queue]\nlinger = \"1s\"\n[log]\nlevel = 3\n\
         [[mappings]]\nsource = \"properties.a\"\ndestinaton = \"properties.b\"\n[[mappings]]\n\
         source = \"x\"\n",
        &[],
    );
    for line in [
        "1: unknown section [pinterset]; did you mean `pinterest`?",
        "3: unknown key `lingr` in [delivery]; did you mean `linger`?",
        "4: `max_in_flight` has to be an integer, not a string",
        "5: `max_batch_events` has to be an integer from 1 to 1000",
        "6: `request_timeout` has to be a whole number with one of ms, s, m, h, d, w, like \"200ms\"",
        "8: unknown key `linger` in [queue]: it belongs under [delivery]",
        "10: `level` has to be a string, not an integer",
        "13: unknown key `destinaton` in [[mappings]]; did you mean `destination`?",
        "14: a mapping needs a `source` and a `destination`",
    ] {
        assert!(said.iter().any(|s| s == line), "{line} in {said:#?}");
    }
    assert_eq!(said.len(), 9, "{said:#?}");
}

#[test]
fn odd_files() {
    for (text, line) in [
        (
            "ad_account_id = \"1\"\n",
            "1: `ad_account_id` belongs under [pinterest]",
        ),
        (
            "[log]\n\nzzzzzzzz = 1\n",
            "3: unknown key `zzzzzzzz` in [log]",
        ),
        ("log = 3\n", "1: [log] has to be a table"),
        ("event_names = 3\n", "1: [event_names] has to be a table"),
        ("tag_names = 3\n", "1: [tag_names] has to be a table"),
        (
            "filters = 3\n",
            "1: write each filter under its own [[filters]]",
        ),
        (
            "[[filters]]\nevent = \"A\"\n",
            "1: a filter needs an `action`: \"drop\" keeps such events back, \"keep\" lets them go",
        ),
        (
            "[[filters]]\nevnt = \"A\"\naction = \"drop\"\n",
            "2: unknown key `evnt` in [[filters]]; did you mean `event`?",
        ),
        (
            "[[filters]]\naction = \"drop\"\ntype = \"identify\"\n",
            "3: `type` in [[filters]] has to be track, page or screen, or a list of these",
        ),
        (
            "[[filters]]\naction = \"drop\"\nwhere = { path = \"a\" }\n",
            "3: `where` needs exactly one of `equals`, `in` and `exists`",
        ),
        (
            "[[filters]]\naction = \"drop\"\nwhere = { path = \"a\", equal = 1 }\n",
            "3: unknown key `equal` in `where`; did you mean `equals`?",
        ),
        (
            "[consent]\nrequire = \"marketing\"\n",
            "2: `require` has to be a list of strings, not a string",
        ),
        (
            "[consent]\nrequire = [\"a,b\"]\n",
            "2: `require` has to be a list of strings, not one with a comma in an entry",
        ),
        (
            "[pinterest]\ntag = \"custom\"\n[tag_names]\nX = \"a\"\n\"x \" = \"b\"\n",
            "5: `x ` matches the same events as `X`: case and blanks around do not count; keep one",
        ),
        (
            "[pinterest]\ntag = \"chord\"\n[tag_names]\nX = \"a\"\n",
            "4: [tag_names] is for another Tag than Chord's: set tag = \"custom\" in [pinterest], \
             or remove it",
        ),
        (
            "[mappings]\nsource = \"a\"\n",
            "1: write each mapping under its own [[mappings]]",
        ),
        (
            "mappings = [1]\n",
            "1: write each mapping under its own [[mappings]]",
        ),
        (
            "[event_names]\nX = 1\n",
            "2: `X` has to be given an event_name, like \"signup\"",
        ),
        (
            "[event_names]\nX = \" \"\n",
            "2: `X` has to be given an event_name, like \"signup\"",
        ),
        (
            "[delivery]\nlinger = 200\n",
            "2: `linger` has to be a duration like \"200ms\", not an integer",
        ),
        (
            "[pinterest]\ntest = \"false\"\n",
            "2: `test` has to be true or false, not a string",
        ),
        (
            "[pinterest]\ntest = 1979-05-27\n",
            "2: `test` has to be true or false, not a date",
        ),
        (
            "[delivery]\nmax_in_flight = -1\n",
            "2: `max_in_flight` has to be an integer from 1 to 256",
        ),
        (
            "[delivery]\nmax_in_flight = 1.5\n",
            "2: `max_in_flight` has to be an integer, not a fraction",
        ),
        ("[queue]\npath = \"\"\n", "2: `path` has to be a path"),
        (
            "[delivery]\nmax_age = \"8d\"\n",
            "2: `max_age` has to be a duration from 6m to 7d",
        ),
        (
            "[delivery]\nbackoff_max = \"1s\"\nbackoff_initial = \"2s\"\n",
            "3: `backoff_initial` is longer than `backoff_max`",
        ),
        (
            "[admin]\nsocket = \"/run/pinrelay/ingest.sock\"\n",
            "2: `socket` is the same file in [ingest] and [admin]",
        ),
        (
            "[event_names]\n\"Signed Up\" = \"signup\"\n\" signed up\" = \"lead\"\n",
            "3: ` signed up` matches the same events as `Signed Up`: case and blanks around do \
             not count; keep one",
        ),
    ] {
        assert_eq!(problems(text, &[]), [line], "{text}");
    }
    assert!(read("", &[]).is_ok());
    assert!(
        read(
            "[delivery]\nmax_in_flight = 0x10\nmax_batch_bytes = 65536\n",
            &[]
        )
        .is_ok_and(|c| c.delivery.max_in_flight == 16 && c.delivery.max_batch_bytes == 65536)
    );
}

#[test]
fn broken_toml_is_told_with_its_line_and_without_its_text() {
    let said = problems(
        "[pinterest]\n\napp_name = \"pina_SECRET\n[log]\nlevel = loud\n",
        &[],
    );
    assert!(said[0].starts_with("3: "), "{said:?}");
    assert!(!said.concat().contains("SECRET"), "{said:?}");
    let twice = problems("[log]\nlevel = \"info\"\nlevel = \"warn\"\n", &[]);
    assert!(
        twice[0].starts_with("3: ") && twice[0].contains("duplicate"),
        "{twice:?}"
    );
}

#[test]
fn a_secret_in_the_wrong_key_is_not_repeated() {
    let text = "[pinterest]\nad_account_id = \"pina_SECRET\"\ntoken = \"pina_SECRET\"\n\
                base_url = \"pina_SECRET\"\ndefault_currency = \"pina_SECRET\"\n\
                [delivery]\nlinger = \"pina_SECRET\"\n";
    let said = problems(text, &[("PINRELAY_LOG__LEVEL", "pina_SECRET")]);
    assert_eq!(said.len(), 6, "{said:#?}");
    assert!(!said.concat().contains("SECRET"), "{said:#?}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let said = load(Some(Path::new("/nowhere/pinrelay.toml")), env(&[]));
    let said = said.expect_err("no such file").to_string();
    assert!(
        said.contains("/nowhere/pinrelay.toml") && said.contains("--config"),
        "{said}"
    );
}

#[test]
fn every_scalar_key_has_a_variable() {
    for key in KEYS {
        if key.name == "engine" && !cfg!(feature = "postgres") {
            continue;
        }
        let other = match (key.name, key.kind) {
            ("ad_account_id", _) => "7",
            ("base_url", _) => "http://127.0.0.1:1",
            ("default_action_source", _) => "offline",
            ("default_currency", _) => "eur",
            ("tag", _) => "chord",
            ("hashing", _) => "sha256",
            ("sources", _) => "extended",
            ("missing", _) => "allow",
            ("on_refused" | "on_late", _) => "dead_letter",
            ("unreadable", _) => "accepted_at",
            ("listen" | "http_listen", _) => "127.0.0.1:1",
            ("level", _) => "debug",
            ("format", _) => "json",
            ("backoff_initial" | "backoff_max", _) => "2s",
            ("max_age" | "retention", _) => "1h",
            ("generation_events", _) => "300",
            ("engine", _) => "postgres",
            ("schema", _) => "other",
            ("durability", _) => "single",
            (_, Kind::Text) => "/other",
            ("ldp_states", _) => "CA, va",
            (_, Kind::List) => "one, two",
            (_, Kind::Number | Kind::Calls) => "3",
            (_, Kind::Flag) => "true",
            (_, Kind::Duration) => "3s",
            (_, Kind::Size) => "3MiB",
        };
        // One of these alone is an error.
        let beside: &[(&str, &str)] = match key.name {
            "http_tls_cert" => &[("PINRELAY_INGEST__HTTP_TLS_KEY", "/key")],
            "http_tls_key" => &[("PINRELAY_INGEST__HTTP_TLS_CERT", "/cert")],
            _ => &[],
        };
        let bare = load(None, env(&[])).expect("defaults");
        let name = key.variable();
        let vars = [&[(name.as_str(), other)], beside].concat();
        let set = load(None, env(&vars)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let typed = |c: &Config| {
            format!(
                "{:?}",
                (
                    &c.pinterest,
                    &c.ingest,
                    (&c.queue, &c.postgres),
                    &c.delivery,
                    &c.dead_letters,
                    &c.user_data,
                    &c.custom_properties,
                    &c.admin,
                    &c.metrics,
                    (&c.notify, &c.log, &c.event_time, &c.catalog, &c.consent)
                )
            )
        };
        assert_ne!(
            typed(&bare),
            typed(&set),
            "{} has no effect",
            key.variable()
        );
        assert_eq!(
            bare.needs_restart(&set).is_empty(),
            key.reloadable,
            "{}",
            key.variable()
        );
    }
}

#[test]
fn the_environment_overrides_the_file() {
    let file = "[delivery]\nlinger = \"1s\"\nmax_in_flight = 3\n";
    let vars = [
        ("PINRELAY_DELIVERY__LINGER", "2s"),
        ("PINRELAY_PINTEREST__AD_ACCOUNT_ID", "42"),
    ];
    let config = read(file, &vars).expect("valid");
    assert_eq!(config.delivery.linger, Duration::from_secs(2));
    assert_eq!(config.delivery.max_in_flight, 3);
    assert_eq!(config.pinterest.ad_account_id.as_deref(), Some("42"));
    // A value of the file that is overridden is not judged.
    assert!(read("[delivery]\nlinger = \"x\"\n", &vars).is_ok());
}

#[test]
fn wrong_variables_are_errors() {
    for (name, value, said) in [
        (
            "PINRELAY_DELIVERY__LINGR",
            "1s",
            "there is no key `lingr` in [delivery]; did you mean `PINRELAY_DELIVERY__LINGER`?",
        ),
        ("PINRELAY_X__Y", "1", "there is no key `y` in [x]"),
        (
            "PINRELAY_EVENT_NAMES__X",
            "signup",
            "tables and lists are for the file alone: write it under `event_names` there",
        ),
        (
            "PINRELAY_MAPPINGS__0",
            "x",
            "tables and lists are for the file alone: write it under `mappings` there",
        ),
        (
            "PINRELAY_INGEST__WRITE_KEYS",
            "SECRET",
            "lists are for the file alone: write each key under its own [[ingest.write_keys]] there",
        ),
        (
            "PINRELAY_DELIVERY__LINGER",
            "1",
            "`linger` has to be a whole number with one of",
        ),
        (
            "PINRELAY_delivery__linger",
            "1s",
            "there is no key `linger` in [delivery]; did you mean",
        ),
        (
            "PINRELAY_QUEUE__MAX_BYTES",
            "1KiB",
            "`max_bytes` has to be a size from 1MiB to",
        ),
    ] {
        let found = problems("", &[(name, value)]);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert!(
            found[0].starts_with(&format!("{name}: {said}")),
            "{found:?}"
        );
    }
    let fine = [
        ("PINRELAY_CONFIG", "x"),
        ("PINRELAY_TOKEN", "x"),
        ("PATH", "x__y"),
        ("X__Y", ""),
    ];
    assert!(read("", &fine).is_ok());
}

#[test]
fn test_mode_makes_small_batches() {
    let config = read("[pinterest]\ntest = true\n", &[]).expect("valid");
    assert_eq!(config.max_batch_events(), 20);
    let small = read(
        "[pinterest]\ntest = true\n[delivery]\nmax_batch_events = 7\n",
        &[],
    );
    assert_eq!(small.expect("valid").max_batch_events(), 7);
    assert_eq!(
        load(None, env(&[])).expect("valid").max_batch_events(),
        1000
    );
}

/// Sources in a folder: the default file `a`, the credential `b`.
fn sources(folder: &Folder, variable: Option<&str>) -> TokenSources {
    TokenSources {
        explicit: None,
        default_file: folder.0.path().join("a"),
        credential: Some(folder.0.path().join("b")),
        variable: variable.map(Token::new),
    }
}

fn found(sources: &TokenSources) -> Result<String, String> {
    let read = sources.read().map(|found| found.token.expose().to_owned());
    read.map_err(|e| e.to_string())
}

#[test]
fn the_first_token_source_that_exists_counts() {
    let folder = Folder::new();
    let said = found(&sources(&folder, None)).expect_err("none");
    assert!(
        said.contains("there is no Pinterest access token"),
        "{said}"
    );
    assert_eq!(found(&sources(&folder, Some(" v\n"))), Ok("v".into()));
    folder.file("b", "credential\n");
    assert_eq!(found(&sources(&folder, Some("v"))), Ok("credential".into()));
    folder.file("a", "\tfile ");
    assert_eq!(found(&sources(&folder, Some("v"))), Ok("file".into()));
}

#[test]
fn a_named_token_file_is_used_alone() {
    let folder = Folder::new();
    folder.file("a", "file");
    let mut named = sources(&folder, Some("v"));
    named.explicit = Some(folder.0.path().join("named"));
    let said = found(&named).expect_err("it is not there");
    assert!(said.contains("named cannot be read"), "{said}");
    folder.file("named", "mine");
    assert_eq!(found(&named), Ok("mine".into()));

    let set = [
        ("PINRELAY_PINTEREST__TOKEN_FILE", "/t"),
        ("CREDENTIALS_DIRECTORY", "/c"),
        ("PINRELAY_TOKEN", "v"),
    ];
    let config = load(None, env(&set)).expect("valid");
    assert_eq!(config.token.explicit.as_deref(), Some(Path::new("/t")));
    assert_eq!(
        config.token.credential.as_deref(),
        Some(Path::new("/c/pinterest-token"))
    );
    assert_eq!(config.token.default_file, Path::new("/etc/pinrelay/token"));
    assert!(
        !format!("{config:?}").contains("\"v\""),
        "the token shows in Debug"
    );
}

#[test]
fn a_source_that_exists_and_cannot_be_read_is_never_skipped() {
    let folder = Folder::new();
    folder.file("b", "credential");
    // A folder in the place of the file fails for root too.
    fs::create_dir(folder.0.path().join("a")).expect("a folder");
    let said = found(&sources(&folder, Some("v"))).expect_err("a folder is no token");
    assert!(said.contains("/a cannot be read"), "{said}");
    fs::remove_dir(folder.0.path().join("a")).expect("removed");
    // So does a link that leads nowhere.
    std::os::unix::fs::symlink("nowhere", folder.0.path().join("a")).expect("a link");
    assert!(found(&sources(&folder, Some("v"))).is_err());
}

#[test]
fn what_is_no_token_is_an_error_that_does_not_repeat_it() {
    let folder = Folder::new();
    for (text, said) in [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("pina_S ECRET", "more than one word"),
        ("pina_S\nECRET\n", "more than one word"),
        ("pina_Sécret", "odd characters"),
    ] {
        folder.file("a", text);
        let found = found(&sources(&folder, Some("v"))).expect_err(text);
        assert!(found.contains(said) && !found.contains("pina_"), "{found}");
    }
    fs::write(folder.0.path().join("a"), [0xff, 0xfe]).expect("a file");
    assert!(
        found(&sources(&folder, None))
            .expect_err("bytes")
            .contains("is not text")
    );
    fs::remove_file(folder.0.path().join("a")).expect("removed");
    let said = found(&sources(&folder, Some(""))).expect_err("empty");
    assert!(
        said.contains("PINRELAY_TOKEN") && said.contains("it is empty"),
        "{said}"
    );
}

#[test]
fn a_token_file_open_to_everyone_is_noticed() {
    let folder = Folder::new();
    let file = folder.file("a", "t");
    for (mode, exposed) in [(0o640, false), (0o600, false), (0o644, true)] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).expect("a mode");
        let read = sources(&folder, None).read().expect("a token");
        assert_eq!(read.exposed, exposed, "{mode:o}");
        assert_eq!(read.file.as_ref(), Some(&file));
    }
}

#[test]
fn the_example_shows_every_key_with_its_default() {
    let example = include_str!("../../systemd/pinrelay.toml");
    let shipped = read(example, &[]).expect("the example as it is");
    assert!(shipped.require_run().is_ok());
    // Prose follows `# `, a default follows `#`.
    let uncommented: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(value) if !value.starts_with(' ') => format!("{value}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let all = read(&uncommented, &[]).expect("the example with its defaults");
    assert_eq!(all.texts.len(), KEYS.len());
    assert_eq!((all.event_names.len(), all.mappings.len()), (1, 1));
    assert_eq!(all.write_key_entries.len(), 1);
    for key in KEYS {
        let reloadable = example
            .split("\n\n")
            .find(|part| part.starts_with(&format!("[{}]", key.section)))
            .and_then(|part| {
                let before = part.split(&format!("\n#{} =", key.name)).next()?;
                let before = before.split(&format!("\n{} =", key.name)).next()?;
                let comment = before.lines().rev().take_while(|l| l.starts_with("# "));
                Some(comment.into_iter().any(|l| l.contains("(reload)")))
            });
        assert_eq!(
            reloadable,
            Some(key.reloadable),
            "{}.{}",
            key.section,
            key.name
        );
        // Token sources have no default that could be written, nor has what has to be set.
        if !key.default.is_empty() {
            let (text, _) = &all.texts[&(key.section, key.name)];
            assert_eq!(text, key.default, "{}.{}", key.section, key.name);
        }
    }
}

#[test]
fn the_unit_waits_longer_than_a_drain() {
    let unit = include_str!("../../systemd/pinrelay.service");
    let seconds = unit
        .lines()
        .find_map(|line| line.strip_prefix("TimeoutStopSec="))
        .and_then(|text| text.parse().ok())
        .expect("a TimeoutStopSec in seconds");
    let drain = load(None, env(&[]))
        .expect("defaults")
        .delivery
        .drain_deadline;
    assert!(Duration::from_secs(seconds) > drain + Duration::from_secs(10));
}

#[test]
fn a_write_keys_file_that_depends_on_the_folder_is_named() {
    let text =
        |file: &str| format!("[[ingest.write_keys]]\nname = \"shop\"\nkey_file = \"{file}\"\n");
    let relative = |file| read(&text(file), &[]).expect("a config").relative_paths();
    assert_eq!(relative("shop.key"), ["ingest.write_keys"]);
    assert!(relative("/etc/pinrelay/shop.key").is_empty());
}
