//! `[[filters]]`: from the file's tables to what each asks for. Only their form is judged here; what
//! they mean together is the policy's.

use toml::de::{DeTable, DeValue};

use super::suggest::suggestion;
use crate::event::Kind;
use crate::policy::{Action, Filter, Scalar, Test, Where};

const KEYS: [&str; 6] = ["name", "event", "type", "where", "bots", "action"];
const TESTS: [&str; 3] = ["equals", "in", "exists"];

/// What is wrong in a table: at which of its keys, if at one, and in words.
pub(super) type Wrong = (Option<std::ops::Range<usize>>, String);

/// A filter out of its table.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn filter(table: &DeTable<'_>) -> Result<Filter, Wrong> {
    let mut filter = Filter {
        name: None,
        events: Vec::new(),
        kinds: Vec::new(),
        conditions: Vec::new(),
        bots: false,
        action: Action::Drop,
    };
    let mut action = None;
    for (key, value) in table {
        let at = Some(key.span());
        let wrong = |what: &str| {
            (
                at.clone(),
                format!("`{}` in [[filters]] has to be {what}", key.get_ref()),
            )
        };
        let value = value.get_ref();
        match key.get_ref().as_ref() {
            "name" => match value {
                DeValue::String(name) if is_name(name) => filter.name = Some(name.to_string()),
                _ => {
                    return Err(wrong("a name of up to 64 letters, digits, - and _"));
                }
            },
            "event" => {
                let events =
                    texts(value).filter(|events| !events.iter().any(|e| e.trim().is_empty()));
                filter.events =
                    events.ok_or_else(|| wrong("the name of a track, or a list of them"))?;
            }
            "type" => {
                let kinds = texts(value).unwrap_or_default();
                let kinds: Option<Vec<_>> = kinds.iter().map(|kind| sent(kind)).collect();
                let kinds = kinds.filter(|kinds| !kinds.is_empty());
                filter.kinds =
                    kinds.ok_or_else(|| wrong("track, page or screen, or a list of these"))?;
            }
            "where" => filter.conditions = conditions(value).map_err(|what| (at.clone(), what))?,
            "bots" => match value {
                DeValue::Boolean(bots) => filter.bots = *bots,
                _ => return Err(wrong("true or false")),
            },
            "action" => match value {
                DeValue::String(word) if word == "drop" => action = Some(Action::Drop),
                DeValue::String(word) if word == "keep" => action = Some(Action::Keep),
                _ => return Err(wrong("\"drop\" or \"keep\"")),
            },
            other => {
                let hint = suggestion(other, KEYS.into_iter());
                return Err((at, format!("unknown key `{other}` in [[filters]]{hint}")));
            }
        }
    }
    filter.action = action.ok_or_else(|| {
        let what =
            "a filter needs an `action`: \"drop\" keeps such events back, \"keep\" lets them go";
        (None, what.to_owned())
    })?;
    Ok(filter)
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=64).contains(&name.len()) && name.chars().all(plain)
}

/// The kinds that are sent; the others are ignored by themselves.
fn sent(name: &str) -> Option<Kind> {
    Kind::from_name(name).filter(|kind| kind.ignored().is_none())
}

/// A text, or some.
fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    match value {
        DeValue::String(text) => Some(vec![text.to_string()]),
        DeValue::Array(list) if !list.is_empty() => {
            let text = |entry: &DeValue<'_>| match entry {
                DeValue::String(text) => Some(text.to_string()),
                _ => None,
            };
            list.iter().map(|entry| text(entry.get_ref())).collect()
        }
        _ => None,
    }
}

/// A condition, or a list of them.
fn conditions(value: &DeValue<'_>) -> Result<Vec<Where>, String> {
    let what = "`where` has to be { path = …, equals = … }, with `in` or `exists` in place of `equals`, \
                or a list of these";
    match value {
        DeValue::Table(table) => Ok(vec![condition(table)?]),
        DeValue::Array(list) if !list.is_empty() => {
            let one = |entry: &DeValue<'_>| match entry {
                DeValue::Table(table) => condition(table),
                _ => Err(what.to_owned()),
            };
            list.iter().map(|entry| one(entry.get_ref())).collect()
        }
        _ => Err(what.to_owned()),
    }
}

fn condition(table: &DeTable<'_>) -> Result<Where, String> {
    let (mut path, mut tests) = (None, Vec::new());
    for (key, value) in table {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("path", DeValue::String(text)) => path = Some(text.to_string()),
            ("path", _) => return Err("`path` in `where` has to be a string".to_owned()),
            ("equals", value) => tests.push(Test::In(vec![scalar(value)?])),
            ("in", DeValue::Array(list)) if !list.is_empty() => {
                let values = list.iter().map(|value| scalar(value.get_ref()));
                tests.push(Test::In(values.collect::<Result<_, _>>()?));
            }
            ("in", _) => return Err("`in` in `where` has to be a list of values".to_owned()),
            ("exists", DeValue::Boolean(exists)) => tests.push(Test::Exists(*exists)),
            ("exists", _) => return Err("`exists` in `where` has to be true or false".to_owned()),
            (other, _) => {
                let known = ["path"].into_iter().chain(TESTS);
                return Err(format!(
                    "unknown key `{other}` in `where`{}",
                    suggestion(other, known)
                ));
            }
        }
    }
    match (path, tests.pop(), tests.is_empty()) {
        (Some(path), Some(test), true) => Ok(Where { path, test }),
        (None, ..) => Err("`where` needs a `path`, such as context.page.url".to_owned()),
        _ => Err("`where` needs exactly one of `equals`, `in` and `exists`".to_owned()),
    }
}

fn scalar(value: &DeValue<'_>) -> Result<Scalar, String> {
    match value {
        DeValue::String(text) => Ok(Scalar::Text(text.to_string())),
        DeValue::Boolean(flag) => Ok(Scalar::Flag(*flag)),
        DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix())
            .map(|n| Scalar::Number(n.to_string()))
            .map_err(|_| "a number in `where` is too large".to_owned()),
        DeValue::Float(n) => Ok(Scalar::Number(n.as_str().to_owned())),
        _ => Err("a value in `where` has to be a string, a number, or true or false".to_owned()),
    }
}

/// In one line, for people: what it asks for and does.
pub fn show_filter(filter: &Filter) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(filter.name.iter().map(|name| format!("{name}:")));
    parts.push(match filter.action {
        Action::Drop => "drop".to_owned(),
        Action::Keep => "keep".to_owned(),
    });
    let kinds: Vec<_> = filter.kinds.iter().map(|kind| kind.name()).collect();
    parts.extend((!kinds.is_empty()).then(|| kinds.join(" or ")));
    let events: Vec<_> = filter
        .events
        .iter()
        .map(|event| format!("{event:?}"))
        .collect();
    parts.extend((!events.is_empty()).then(|| events.join(" or ")));
    parts.extend(filter.bots.then(|| "of bots".to_owned()));
    parts.extend(filter.conditions.iter().map(|of| match &of.test {
        Test::Exists(true) => format!("where {} exists", of.path),
        Test::Exists(false) => format!("where {} is missing", of.path),
        Test::In(values) => {
            let values: Vec<_> = values.iter().map(shown).collect();
            format!("where {} is {}", of.path, values.join(" or "))
        }
    }));
    parts.join(" ")
}

fn shown(value: &Scalar) -> String {
    match value {
        Scalar::Text(text) => format!("{text:?}"),
        Scalar::Number(digits) => digits.clone(),
        Scalar::Flag(flag) => flag.to_string(),
    }
}
