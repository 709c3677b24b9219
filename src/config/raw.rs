//! The file and the environment as text with places, before any of it has a meaning.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeArray, DeTable, DeValue};

use super::filters;
use super::key::Key;
use super::suggest::suggestion;
use super::values::{Kind, Parsed};
use crate::policy::Filter;

/// Something wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The place.
    pub place: Place,
    /// What is wrong there and what to do. Never the value itself.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Where a value stands. Ordered as an operator reads: the file from the top, then the rest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file, lines from 1.
    Line(PathBuf, usize),
    /// In this environment variable.
    Variable(String),
    /// Nowhere: it is the default, or it is missing.
    Nowhere,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Nowhere => f.write_str("configuration"),
        }
    }
}

/// A `source`/`destination` pair of `[[mappings]]`, or a key and value of `[event_names]` and
/// `[tag_names]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// `source`, or the Chord event.
    pub from: String,
    /// `destination`, or the event_name.
    pub to: String,
    /// Where it stands.
    pub place: Place,
}

/// One of `[[filters]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterEntry {
    /// What it says.
    pub filter: Filter,
    /// Where it stands.
    pub place: Place,
}

/// An entry of `[[ingest.write_keys]]`, yet to be judged. No `Debug`: it holds a key.
pub(super) struct WriteKeyTexts {
    pub name: Option<String>,
    pub key: Option<String>,
    pub key_file: Option<String>,
    pub place: Place,
}

/// By section and name, what a key was set to and where.
pub(super) type Texts = BTreeMap<(&'static str, &'static str), (String, Place)>;

/// Texts with places, and the problems found so far.
pub(super) struct Raw {
    /// Every scalar key there is.
    keys: &'static [Key],
    file: PathBuf,
    /// Offset of each line's start.
    lines: Vec<usize>,
    values: Texts,
    /// Other defaults than the table's.
    fallbacks: BTreeMap<(&'static str, &'static str), String>,
    /// A value was found that means nothing.
    pub unparsed: bool,
    /// The keys whose values mean nothing. What stands there may be a secret that strayed.
    pub unusable: BTreeSet<(&'static str, &'static str)>,
    pub event_names: Vec<Pair>,
    pub tag_names: Vec<Pair>,
    pub mappings: Vec<Pair>,
    pub write_keys: Vec<WriteKeyTexts>,
    pub filters: Vec<FilterEntry>,
    pub problems: Vec<Problem>,
}

/// The parts of a config that are for the file alone.
const EVENT_NAMES: &str = "event_names";
const TAG_NAMES: &str = "tag_names";
const MAPPINGS: &str = "mappings";
const FILTERS: &str = "filters";
/// Under `[ingest]`.
const WRITE_KEYS: &str = "write_keys";

/// A list of tables, for errors.
struct List {
    heading: &'static str,
    one: &'static str,
}

const MAPPING: List = List {
    heading: "[[mappings]]",
    one: "mapping",
};
const FILTER: List = List {
    heading: "[[filters]]",
    one: "filter",
};
const WRITE_KEY: List = List {
    heading: "[[ingest.write_keys]]",
    one: "key",
};

impl List {
    fn has_to_be(&self) -> String {
        format!("write each {} under its own {}", self.one, self.heading)
    }
}

impl Raw {
    /// Nothing yet, of these keys.
    pub fn new(keys: &'static [Key]) -> Self {
        Self {
            keys,
            file: PathBuf::new(),
            lines: Vec::new(),
            values: BTreeMap::new(),
            fallbacks: BTreeMap::new(),
            unparsed: false,
            unusable: BTreeSet::new(),
            event_names: Vec::new(),
            tag_names: Vec::new(),
            mappings: Vec::new(),
            write_keys: Vec::new(),
            filters: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Reads a file's text; unknown keys and wrong types are problems.
    pub fn file(&mut self, path: &Path, text: &str) {
        self.file = path.to_owned();
        let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
        self.lines = std::iter::once(0)
            .chain(breaks.map(|(i, _)| i + 1))
            .collect();
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let place = self.place(&error.span().unwrap_or_default());
            self.problem(place, error.message().to_owned());
        }
        for (name, value) in table.get_ref() {
            let place = self.place(&name.span());
            match (name.get_ref().as_ref(), value.get_ref()) {
                (EVENT_NAMES, DeValue::Table(names)) => {
                    self.event_names = self.names(EVENT_NAMES, names);
                }
                (TAG_NAMES, DeValue::Table(names)) => {
                    self.tag_names = self.names(TAG_NAMES, names);
                }
                (EVENT_NAMES | TAG_NAMES, _) => {
                    self.problem(place, format!("[{}] has to be a table", name.get_ref()));
                }
                (MAPPINGS, DeValue::Array(mappings)) => self.mappings(mappings),
                (MAPPINGS, _) => self.problem(place, MAPPING.has_to_be()),
                (FILTERS, DeValue::Array(filters)) => self.filters(filters),
                (FILTERS, _) => self.problem(place, FILTER.has_to_be()),
                (WRITE_KEYS, _) => self.problem(place, WRITE_KEY.has_to_be()),
                (section, value) => self.section(section, place, value),
            }
        }
    }

    fn section(&mut self, section: &str, place: Place, value: &DeValue<'_>) {
        if !self.keys.iter().any(|k| k.section == section) {
            let sections = self.keys.iter().map(|k| k.section).chain([
                EVENT_NAMES,
                TAG_NAMES,
                MAPPINGS,
                FILTERS,
            ]);
            let hint = suggestion(section, sections);
            // A key above the first section, perhaps.
            let owner = self.keys.iter().find(|k| k.name == section);
            return self.problem(
                place,
                match owner {
                    Some(key) => format!("`{section}` belongs under [{}]", key.section),
                    None => format!("unknown section [{section}]{hint}"),
                },
            );
        }
        let DeValue::Table(table) = value else {
            return self.problem(place, format!("[{section}] has to be a table"));
        };
        for (name, value) in table {
            let place = self.place(&name.span());
            let name = name.get_ref().as_ref();
            if (section, name) == ("ingest", WRITE_KEYS) {
                self.write_keys(place, value.get_ref());
                continue;
            }
            match self.find(section, name) {
                Some(key) => match as_text(value.get_ref(), key.kind) {
                    Ok(text) => {
                        self.values.insert((key.section, key.name), (text, place));
                    }
                    Err(found) => self.problem(
                        place,
                        format!("`{name}` has to be {}, not {found}", key.kind.name()),
                    ),
                },
                None => {
                    let here = self
                        .keys
                        .iter()
                        .filter(|k| k.section == section)
                        .map(|k| k.name)
                        .chain((section == "ingest").then_some(WRITE_KEYS));
                    let hint = match self.keys.iter().find(|k| k.name == name) {
                        Some(key) => format!(": it belongs under [{}]", key.section),
                        None => suggestion(name, here),
                    };
                    self.problem(place, format!("unknown key `{name}` in [{section}]{hint}"));
                }
            }
        }
    }

    /// Events and the names for them.
    fn names(&mut self, section: &str, names: &DeTable<'_>) -> Vec<Pair> {
        let mut pairs = Vec::new();
        // The parser's table is sorted by key; the order of the file is what one sees.
        let mut names: Vec<_> = names.iter().collect();
        names.sort_by_key(|(from, _)| from.span().start);
        for (from, to) in names {
            let place = self.place(&from.span());
            let from = from.get_ref().as_ref();
            match to.get_ref() {
                _ if from.trim().is_empty() => {
                    self.problem(place, format!("an event of [{section}] has no name"));
                }
                DeValue::String(to) if !to.trim().is_empty() => pairs.push(Pair {
                    from: from.to_owned(),
                    to: to.as_ref().to_owned(),
                    place,
                }),
                _ => self.problem(
                    place,
                    format!("`{from}` has to be given an event_name, like \"signup\""),
                ),
            }
        }
        pairs
    }

    fn mappings(&mut self, mappings: &DeArray<'_>) {
        for (parts, place) in self.tables(&MAPPING, mappings, ["source", "destination"]) {
            match parts {
                [Some(from), Some(to)] => self.mappings.push(Pair { from, to, place }),
                _ => self.problem(
                    place,
                    "a mapping needs a `source` and a `destination`".into(),
                ),
            }
        }
    }

    fn filters(&mut self, filters: &DeArray<'_>) {
        for table in filters {
            let place = self.place(&table.span());
            let DeValue::Table(table) = table.get_ref() else {
                self.problem(place, FILTER.has_to_be());
                continue;
            };
            match filters::filter(table) {
                Ok(filter) => self.filters.push(FilterEntry { filter, place }),
                Err((at, what)) => {
                    let place = at.map_or(place, |at| self.place(&at));
                    self.problem(place, what);
                }
            }
        }
    }

    fn write_keys(&mut self, place: Place, value: &DeValue<'_>) {
        let before = self.problems.len();
        match value {
            DeValue::Array(keys) => {
                let parts = ["name", "key", "key_file"];
                for ([name, key, key_file], place) in self.tables(&WRITE_KEY, keys, parts) {
                    self.write_keys.push(WriteKeyTexts {
                        name,
                        key,
                        key_file,
                        place,
                    });
                }
            }
            _ => self.problem(place, WRITE_KEY.has_to_be()),
        }
        self.unparsed |= self.problems.len() > before;
    }

    /// The tables of a list with their places, but those in which something is wrong, which is a
    /// problem. Never says a value: some are secret.
    fn tables<const N: usize>(
        &mut self,
        list: &List,
        tables: &DeArray<'_>,
        names: [&'static str; N],
    ) -> Vec<([Option<String>; N], Place)> {
        let mut found = Vec::new();
        for table in tables {
            let place = self.place(&table.span());
            let DeValue::Table(table) = table.get_ref() else {
                self.problem(place, list.has_to_be());
                continue;
            };
            let mut parts = [const { None }; N];
            let before = self.problems.len();
            for (name, value) in table {
                let place = self.place(&name.span());
                let name = name.get_ref().as_ref();
                match (names.iter().position(|n| *n == name), value.get_ref()) {
                    (Some(i), DeValue::String(text)) => parts[i] = Some(text.as_ref().to_owned()),
                    (Some(_), _) => self.problem(place, format!("`{name}` has to be a string")),
                    (None, _) => {
                        let hint = suggestion(name, names.into_iter());
                        let heading = list.heading;
                        self.problem(place, format!("unknown key `{name}` in {heading}{hint}"));
                    }
                }
            }
            if self.problems.len() == before {
                found.push((parts, place));
            }
        }
        found
    }

    /// Lays `PINRELAY_<SECTION>__<KEY>` over what the file says.
    pub fn variable(&mut self, name: &str, value: String) {
        let Some((section, key)) = name
            .strip_prefix("PINRELAY_")
            .and_then(|n| n.split_once("__"))
        else {
            return;
        };
        let place = Place::Variable(name.to_owned());
        let lower = section.to_ascii_lowercase();
        if [EVENT_NAMES, TAG_NAMES, MAPPINGS, FILTERS].contains(&lower.as_str()) {
            return self.problem(
                place,
                format!("tables and lists are for the file alone: write it under `{lower}` there"),
            );
        }
        if (lower.as_str(), key.to_ascii_lowercase().as_str()) == ("ingest", WRITE_KEYS) {
            let text = "lists are for the file alone: write each key under its own \
                        [[ingest.write_keys]] there";
            return self.problem(place, text.into());
        }
        match self.keys.iter().find(|k| k.variable() == name) {
            Some(key) => {
                self.values.insert((key.section, key.name), (value, place));
            }
            None => {
                let variables: Vec<String> = self.keys.iter().map(Key::variable).collect();
                let hint = suggestion(name, variables.iter().map(String::as_str));
                let key = key.to_ascii_lowercase();
                self.problem(place, format!("there is no key `{key}` in [{lower}]{hint}"));
            }
        }
    }

    /// Another default of a key, for what neither file nor environment sets.
    pub fn fallback(&mut self, section: &'static str, name: &'static str, text: String) {
        let value = self.values.entry((section, name));
        value.or_insert((text.clone(), Place::Nowhere));
        self.fallbacks.insert((section, name), text);
    }

    /// The value of a key, or of its default. A value that does not parse is a problem, and the
    /// default stands in for it; `None` only if that does not parse either.
    pub fn take<T>(
        &mut self,
        section: &'static str,
        name: &'static str,
        default: &'static str,
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Option<T> {
        let (text, place) = match self.values.get(&(section, name)) {
            Some((text, place)) => (text.as_str(), place.clone()),
            None => (default, Place::Nowhere),
        };
        match parse(text) {
            Ok(value) => Some(value),
            Err(expected) => {
                self.problem(place, format!("`{name}` has to be {expected}"));
                self.unparsed = true;
                self.unusable.insert((section, name));
                let fallback = self.fallbacks.get(&(section, name));
                parse(fallback.map_or(default, String::as_str)).ok()
            }
        }
    }

    /// What a key was set to, or its other default.
    pub fn text_of(&self, section: &'static str, name: &'static str) -> Option<&str> {
        let found = self.values.get(&(section, name));
        found.map(|(text, _)| text.as_str())
    }

    /// Where a key was set.
    pub fn place_of(&self, section: &'static str, name: &'static str) -> Place {
        let found = self.values.get(&(section, name));
        found.map_or(Place::Nowhere, |(_, place)| place.clone())
    }

    /// The texts that were set, and where: for telling a reload what changed, and people what is in
    /// effect.
    pub fn into_texts(self) -> Texts {
        self.values
    }

    pub fn problem(&mut self, place: Place, message: String) {
        self.problems.push(Problem { place, message });
    }

    fn find(&self, section: &str, name: &str) -> Option<&'static Key> {
        let mut keys = self.keys.iter();
        keys.find(|k| k.section == section && k.name == name)
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let line = self.lines.partition_point(|start| *start <= span.start);
        Place::Line(self.file.clone(), line.max(1))
    }
}

/// A scalar as text, if it has the type that the kind asks for; otherwise the type it has.
fn as_text(value: &DeValue<'_>, kind: Kind) -> Result<String, &'static str> {
    match (kind, value) {
        (Kind::Text | Kind::Duration | Kind::Size | Kind::Calls, DeValue::String(text)) => {
            Ok(text.as_ref().to_owned())
        }
        (Kind::Flag, DeValue::Boolean(flag)) => Ok(flag.to_string()),
        (Kind::Number | Kind::Size | Kind::Calls, DeValue::Integer(n)) => {
            i64::from_str_radix(n.as_str(), n.radix())
                .map(|n| n.to_string())
                .map_err(|_| "so large a number")
        }
        (Kind::List, DeValue::Array(entries)) => {
            let text = |entry: &DeValue<'_>| match entry {
                DeValue::String(text) if text.contains(',') => Err("one with a comma in an entry"),
                DeValue::String(text) if text.trim().is_empty() => Err("one with an empty entry"),
                DeValue::String(text) => Ok(text.as_ref().to_owned()),
                _ => Err("one of something else"),
            };
            let entries = entries.iter().map(|entry| text(entry.get_ref()));
            Ok(entries.collect::<Result<Vec<_>, _>>()?.join(", "))
        }
        (_, DeValue::String(_)) => Err("a string"),
        (_, DeValue::Integer(_)) => Err("an integer"),
        (_, DeValue::Float(_)) => Err("a fraction"),
        (_, DeValue::Boolean(_)) => Err("true or false"),
        (_, DeValue::Datetime(_)) => Err("a date"),
        (_, DeValue::Array(_)) => Err("a list"),
        (_, DeValue::Table(_)) => Err("a table"),
    }
}
