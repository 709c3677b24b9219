//! `pinrelay config show`: what each key is, and where that comes from.

use std::io::{self, Write};

use anyhow::anyhow;
use serde_json::{Value, json};

use super::config_arg::{ConfigArg, Salvaged};
use super::exit::{Exit, Failure, OrExit, Outcome};
use super::text::{out, printable};
use crate::config::{
    Config, FilterEntry, Kind, Origin, Pair, Place, Setting, WriteKeyEntry, WriteKeySource,
    entries, show_filter,
};

/// Flags of `pinrelay config`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Show each key with its value, and where that comes from. Shows no secret.
    Show(ShowArgs),
}

/// Flags of `pinrelay config show`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Where a value comes from is `default`, a file and its line, an environment variable, `--instance`, \
or another key. Of tokens, write keys and the webhook the file is shown that they are in. Of a \
config that is broken it shows what can be used; a running daemon may have been started with \
another one.

Exit codes: 0 shown · 74 stdout cannot be written · 78 the config is broken, each reason is named

Examples:
  pinrelay config show
  pinrelay config show --effective --json | jq '.keys[] | select(.key == \"queue.path\")'")]
struct ShowArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// As it counts: with what test mode makes of other keys, whole paths, `RUST_LOG`, and which
    /// access token it is.
    #[arg(long)]
    effective: bool,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// Prints the keys; exit 78 with every reason when the config is broken.
pub fn run(args: Args) -> Outcome {
    let Verb::Show(args) = args.verb;
    let Salvaged { config, wrong } = args.config.salvage()?;
    let wrong = match wrong {
        Some(wrong) => Some(wrong),
        None => config.transform().err(),
    };
    let instance = args
        .config
        .instance
        .as_ref()
        .map(|instance| instance.name());
    let mut settings = match args.effective {
        true => config.effective_settings(instance),
        false => config.settings(instance),
    };
    if args.effective {
        by_rust_log(&mut settings, std::env::var("RUST_LOG").ok());
    }
    let token = args.effective.then(|| token(&config));
    let written = match args.json {
        true => {
            let reasons = wrong.as_ref().map(ToString::to_string);
            let answer = as_json(&config, &settings, token.as_deref(), reasons.as_deref());
            writeln!(out(true), "{answer}")
        }
        false => for_people(&config, &settings, token.as_deref()),
    };
    written.or_exit(Exit::Io)?;
    match wrong {
        None => Ok(Exit::Ok),
        Some(wrong) => Err(Failure {
            exit: Exit::Config,
            error: anyhow!(wrong),
        }),
    }
}

/// `RUST_LOG` stands before the level.
fn by_rust_log(settings: &mut [Setting], filter: Option<String>) {
    let is_level =
        |setting: &&mut Setting| (setting.key.section, setting.key.name) == ("log", "level");
    if let (Some(level), Some(filter)) = (
        settings.iter_mut().find(is_level),
        filter.filter(|filter| !filter.is_empty()),
    ) {
        level.value = filter;
        level.origin = Origin::Variable("RUST_LOG".to_owned());
    }
}

/// Where the access token is that counts, or why there is none.
fn token(config: &Config) -> String {
    match config.token.read() {
        Ok(found) => match found.file {
            Some(file) => format!("in {}", file.display()),
            None => format!("in the variable {}", crate::config::TOKEN_VARIABLE),
        },
        Err(error) => error.to_string(),
    }
}

fn for_people(config: &Config, settings: &[Setting], token: Option<&str>) -> io::Result<()> {
    let mut rows: Vec<[String; 3]> = settings.iter().map(row).collect();
    rows.extend(config.write_key_entries.iter().map(write_key));
    rows.extend(pairs("event_names", &config.event_names));
    rows.extend(pairs("tag_names", &config.tag_names));
    rows.extend(pairs("mappings", &config.mappings));
    rows.extend(config.filters.iter().map(filter));
    let widest = |column: usize, most: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0).min(most)
    };
    let (first, second) = (widest(0, 40), widest(1, 40));
    let mut out = out(false);
    for [key, value, from] in &rows {
        writeln!(out, "{key:<first$}  {value:<second$}  {from}")?;
    }
    match token {
        Some(token) => writeln!(out, "The access token: {}", printable(token)),
        None => Ok(()),
    }
}

fn row(setting: &Setting) -> [String; 3] {
    let key = format!("{}.{}", setting.key.section, setting.key.name);
    let value = match setting.value.as_str() {
        "" => "\"\"".to_owned(),
        value => printable(value),
    };
    let from = origin(&setting.origin);
    match setting.is_usable {
        true => [key, value, from],
        false => [
            key,
            value,
            format!("default: what {from} says cannot be used"),
        ],
    }
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        Origin::Line(file, line) => format!("{}:{line}", file.display()),
        Origin::Variable(name) => name.clone(),
        Origin::Instance(name) => format!("--instance {name}"),
        Origin::Key(key) => format!("by {key}"),
    }
}

/// By its name and its file alone.
fn write_key(entry: &WriteKeyEntry) -> [String; 3] {
    let value = match &entry.source {
        WriteKeySource::Config(_) => format!("{}, its key not shown", entry.name),
        WriteKeySource::File(file) => format!("{}, in {}", entry.name, file.display()),
    };
    let key = "ingest.write_keys".to_owned();
    [key, printable(&value), place(&entry.place)]
}

fn pairs<'a>(key: &'a str, pairs: &'a [Pair]) -> impl Iterator<Item = [String; 3]> + 'a {
    pairs.iter().map(move |pair| {
        let value = printable(&format!("{} = {}", pair.from, pair.to));
        [key.to_owned(), value, place(&pair.place)]
    })
}

fn filter(entry: &FilterEntry) -> [String; 3] {
    let key = "filters".to_owned();
    [
        key,
        printable(&show_filter(&entry.filter)),
        place(&entry.place),
    ]
}

fn place(place: &Place) -> String {
    match place {
        Place::Nowhere => "default".to_owned(),
        place => place.to_string(),
    }
}

fn as_json(
    config: &Config,
    settings: &[Setting],
    token: Option<&str>,
    reasons: Option<&str>,
) -> Value {
    let keys: Vec<Value> = settings.iter().map(key_as_json).collect();
    let pair = |pair: &Pair| json!({"from": pair.from, "to": pair.to, "at": place(&pair.place)});
    let write_keys = config.write_key_entries.iter().map(|entry| {
        let file = match &entry.source {
            WriteKeySource::Config(_) => None,
            WriteKeySource::File(file) => Some(file.display().to_string()),
        };
        json!({"name": entry.name, "key_file": file, "at": place(&entry.place)})
    });
    let reasons: Vec<&str> = reasons.into_iter().flat_map(str::lines).collect();
    let mut answer = json!({
        "ok": reasons.is_empty(),
        "file": config.file.as_ref().map(|file| file.display().to_string()),
        "keys": keys,
        "write_keys": write_keys.collect::<Vec<_>>(),
        "event_names": config.event_names.iter().map(pair).collect::<Vec<_>>(),
        "tag_names": config.tag_names.iter().map(pair).collect::<Vec<_>>(),
        "mappings": config.mappings.iter().map(pair).collect::<Vec<_>>(),
        "filters": config.filters.iter()
            .map(|entry| json!({"filter": show_filter(&entry.filter), "at": place(&entry.place)}))
            .collect::<Vec<_>>(),
        "wrong": reasons,
    });
    if let Some(token) = token {
        answer["access_token"] = token.into();
    }
    answer
}

fn key_as_json(setting: &Setting) -> Value {
    let text = setting.value.as_str();
    let typed = match setting.key.kind {
        Kind::Flag => text.parse::<bool>().ok().map(Value::from),
        Kind::Number => text.parse::<u64>().ok().map(Value::from),
        Kind::List => Some(entries(text).collect()),
        _ => None,
    };
    let mut row = json!({
        "key": format!("{}.{}", setting.key.section, setting.key.name),
        "value": typed.unwrap_or_else(|| text.into()),
        "reload": setting.key.reloadable,
        "usable": setting.is_usable,
    });
    row["from"] = match &setting.origin {
        Origin::Default => json!({"kind": "default"}),
        Origin::Line(file, line) => {
            json!({"kind": "file", "file": file.display().to_string(), "line": line})
        }
        Origin::Variable(name) => json!({"kind": "environment", "variable": name}),
        Origin::Instance(name) => json!({"kind": "flag", "flag": format!("--instance {name}")}),
        Origin::Key(key) => json!({"kind": "key", "key": key}),
    };
    row
}
