//! Of one event: which source gave each field of the payload, what was tried before, what was
//! omitted and why, and which mapping stands over it.
//!
//! The values are those of the payload itself; only where they came from is worked out here, by
//! the rows of [`super::rows`]. Properties in the tests hold the two together.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use super::apply::{Fixed, Transform, identity};
use super::custom_data::OPT_OUT_TYPE;
use super::envelope;
use super::mappings::{Finding, Found};
use super::outcome::Dead;
use super::reading::{Reading, Why};
use super::rows::{EVERY, EXTENDED, Otherwise, PAGE, PLATFORM, Row, TRACK};
use super::scalar::value_at;
use super::user_data::LISTS;
use crate::event::time::{self, Choice, Odd, PATHS};
use crate::event::{self, Arena, Invalid, Kind, Node};
use crate::note::{Note, Word};

/// A payload, field by field.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The event's messageId.
    #[serde(rename = "messageId")]
    pub message_id: String,
    /// `track`, `page` or `screen`.
    pub kind: &'static str,
    /// Why it would be a dead letter, if it would.
    pub dead: Option<String>,
    /// The reason that it would have.
    pub reason: Option<&'static str>,
    /// Every field that the schema has for such an event, in the order of the payload.
    pub fields: Vec<Field>,
    /// What each of `[[mappings]]` did, in file order.
    pub mappings: Vec<MappingNote>,
    /// What is there and could not be read as it stands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

/// One field of the payload.
#[derive(Clone, Debug, Serialize)]
pub struct Field {
    /// Where it stands, like `user_data.em`.
    pub field: String,
    /// What is sent; `null`: nothing.
    pub value: Value,
    /// What gave the value: a dot path into the event, or a key of the config.
    pub source: Option<String>,
    /// What was looked at before, in its order.
    pub tried: Vec<Tried>,
    /// Which of `[[mappings]]` (from 1) gave the value instead.
    pub mapping: Option<usize>,
    /// Why nothing is sent.
    pub omitted: Option<String>,
    /// The source that is there and could not be read, where it leaves nothing to stand in for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// What is told of this field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

/// A source that gave nothing.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// A dot path into the event.
    pub source: Cow<'static, str>,
    /// Why not. Holds nothing of the event.
    pub why: &'static str,
    /// What it is, if it is there and could not be read as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word: Option<Word>,
}

impl Tried {
    fn new(source: impl Into<Cow<'static, str>>, why: Why) -> Self {
        Self {
            source: source.into(),
            why: why.reason,
            word: why.word,
        }
    }
}

/// What one of `[[mappings]]` did.
#[derive(Clone, Debug, Serialize)]
pub struct MappingNote {
    /// From 1.
    pub number: usize,
    /// The dot path into the event.
    pub source: String,
    /// The payload's field.
    pub field: String,
    /// What came of it.
    pub outcome: String,
}

impl Transform {
    /// Explains what is sent for a line under this config.
    ///
    /// # Errors
    /// What the socket would refuse the line for.
    pub fn explain(&self, body: &[u8], fixed: Fixed) -> Result<Explanation, Invalid> {
        event::check(body)?;
        let arena = Arena::default();
        let root = event::parse(&arena, body)?;
        let of @ (kind, message_id, name) = identity(&root)?;
        let event_name = self.names.wire(kind, name);
        let made = self.event(&root, &arena, of, &event_name, fixed, &|_| false);
        let dead = self.dead(&made);
        let payload = serde_json::to_value(&made.event).unwrap_or_default();
        let found = self.mappings.findings(&root, &arena, &self.catalog);

        let explained = Explained {
            transform: self,
            root: &root,
            payload: &payload,
            found: &found,
            notes: &made.notes,
        };
        let mut fields = vec![
            explained.plain("event_name", self.names.source(kind, name)),
            explained.action_source(kind),
            explained.event_time(made.time, fixed.accepted_at),
            explained.plain("event_id", "messageId"),
            explained.plain("partner_name", "pinterest.app_name of the config"),
        ];
        let is_of_person = |row: &&Row| row.field.starts_with("user_data.");
        let added = EXTENDED.iter().filter(|_| self.is_extended());
        let (of_person, before) = EVERY.iter().partition::<Vec<_>, _>(is_of_person);
        let (added_of_person, added) = added.partition::<Vec<_>, _>(is_of_person);
        let rows = [before, added, of_person, added_of_person].concat();
        fields.extend(rows.into_iter().map(|row| explained.row(row)));
        let of_kind = match kind {
            Kind::Track => TRACK,
            Kind::Page => PAGE,
            _ => &[],
        };
        for row in TRACK {
            let here = of_kind.iter().find(|other| other.field == row.field);
            fields.push(match here {
                Some(row) => explained.row(row),
                None => explained.not_of_kind(row.field, kind),
            });
        }
        // What only a mapping fills.
        for finding in &found {
            if !fields.iter().any(|known| known.field == finding.field) {
                fields.push(explained.mapped_alone(&finding.field));
            }
        }
        if made.event.user_data.is_limited {
            let field = format!("custom_data.{OPT_OUT_TYPE}");
            fields.retain(|known| known.field != field);
            fields.push(explained.plain(
                &field,
                "the customer's refusal of sale_of_data, under [consent] of the config",
            ));
        }
        Ok(Explanation {
            message_id: message_id.to_owned(),
            kind: kind.name(),
            reason: dead.as_ref().and_then(Dead::reason),
            dead: dead.map(|dead| dead.to_string()),
            mappings: explained.mappings(),
            fields,
            notes: made.notes,
        })
    }
}

/// Where the field of a note stands in the payload.
fn place_of(field: &str) -> String {
    match field {
        "line" | "event_time" | "action_source" | "event_source_url" | "opt_out" => {
            field.to_owned()
        }
        "items" => "custom_data.content_ids".to_owned(),
        _ if LISTS.iter().any(|list| list.field == field) => format!("user_data.{field}"),
        "external_id" | "client_ip_address" | "client_user_agent" | "click_id" | "partner_id"
        | "customer_type" => {
            format!("user_data.{field}")
        }
        _ if EXTENDED.iter().any(|row| row.field == field) => field.to_owned(),
        _ => format!("custom_data.{field}"),
    }
}

fn unreadable(source: &str) -> String {
    format!("{source} is there and cannot be read, and nothing stands in for it")
}

/// An event, its payload, and what the mappings found.
struct Explained<'t> {
    transform: &'t Transform,
    root: &'t Node<'t>,
    payload: &'t Value,
    found: &'t [Finding<'t>],
    notes: &'t [Note],
}

impl Explained<'_> {
    fn value(&self, field: &str) -> Value {
        let at = field.split('.').try_fold(self.payload, |v, key| v.get(key));
        at.cloned().unwrap_or_default()
    }

    /// The last mapping of a field, from 1, that gives it or ends it.
    fn mapping(&self, field: &str) -> Option<usize> {
        let counts =
            |f: &Finding<'_>| matches!(f.outcome, Found::Usable | Found::Ends) && f.field == field;
        self.found.iter().rposition(counts).map(|i| i + 1)
    }

    /// The mapping that leaves nothing to stand in for it, if the last one does.
    fn ended_by(&self, field: &str) -> Option<&Finding<'_>> {
        let last = &self.found[self.mapping(field)? - 1];
        (last.outcome == Found::Ends).then_some(last)
    }

    /// What is told of a field. What is told of the products stands at their ids.
    fn notes_of(&self, field: &str) -> Vec<Note> {
        // A custom property may have the name of a field elsewhere.
        let of_field = |note: &&Note| place_of(note.field) == field;
        self.notes.iter().filter(of_field).cloned().collect()
    }

    /// A field with one source that is always there, or none.
    fn plain(&self, field: &str, source: &str) -> Field {
        let value = self.value(field);
        let given = !value.is_null();
        Field {
            field: field.to_owned(),
            source: given.then(|| source.to_owned()),
            omitted: (!given).then(|| format!("{source} is not set")),
            value,
            tried: Vec::new(),
            mapping: None,
            ended_by: None,
            notes: Vec::new(),
        }
    }

    /// Where a field is looked for under this config.
    fn candidates(&self, row: &Row) -> Vec<(Cow<'static, str>, Reading)> {
        let extended = row.extended.iter().filter(|_| self.transform.is_extended());
        let sources = row.sources.iter().chain(extended);
        let each = sources.flat_map(|source| match source.reading {
            Reading::OwnId => {
                let keys = self.transform.catalog.ids.iter();
                let own = keys.map(|key| format!("{}.{key}", source.path).into());
                own.map(|path| (path, Reading::OwnId)).collect()
            }
            reading => vec![(source.path.into(), reading)],
        });
        each.collect()
    }

    fn row(&self, row: &Row) -> Field {
        let mut tried = Vec::new();
        let (mut source, mut ended_by) = (None, None);
        let catalog = &self.transform.catalog;
        for (path, reading) in self.candidates(row) {
            let node = value_at(self.root, &path);
            let Some(why) = reading.refusal(node, self.root, catalog) else {
                source = Some(path.into_owned());
                break;
            };
            let ends = row.ends && why.word.is_some();
            tried.push(Tried::new(path.clone(), why));
            if ends {
                ended_by = Some(path.into_owned());
                break;
            }
        }
        let value = self.value(row.field);
        let mapping = self.mapping(row.field);
        if let Some(finding) = self.ended_by(row.field) {
            ended_by = Some(finding.source.to_owned());
        } else if mapping.is_some() {
            ended_by = None;
        }
        if source.is_none() && ended_by.is_none() && mapping.is_none() && !value.is_null() {
            source = match row.otherwise {
                Otherwise::Given(what) | Otherwise::Products(what) | Otherwise::Parts(what) => {
                    Some(what.to_owned())
                }
                Otherwise::Omitted => None,
            };
        }
        let omitted = value.is_null().then(|| match (&ended_by, row.otherwise) {
            (Some(path), _) => unreadable(path),
            (None, _) if source.is_some() || mapping.is_some() => match row.field {
                "opt_out" => "only what says that tracking is off is sent".to_owned(),
                _ => "nothing is left of it after normalising (user_data.hashing)".to_owned(),
            },
            (None, Otherwise::Omitted) => "no source has it".to_owned(),
            (None, Otherwise::Given(what)) => format!("no source has it, and {what} is empty"),
            (None, Otherwise::Parts(what)) => {
                format!("made on screens and in apps, of {what}")
            }
            (None, Otherwise::Products(what)) => match self.notes_of(row.field).is_empty() {
                true => format!("no source has it, nor is there {what}"),
                false => format!("no source has it, and {what} cannot be told"),
            },
        });
        Field {
            field: row.field.to_owned(),
            value,
            source,
            tried,
            mapping,
            omitted,
            ended_by,
            notes: self.notes_of(row.field),
        }
    }

    /// By the same choice as the payload's.
    fn event_time(&self, time: Choice, accepted_at: i64) -> Field {
        let mut odd = [None; PATHS.len()];
        let read = |at: usize| self.root.at(PATHS[at]).as_time();
        time::choose(accepted_at, read, |at, what| odd[at] = Some(what));
        let chosen = match time {
            Choice::Of(at, _) => Some(at),
            Choice::Accepted | Choice::Unreadable => None,
        };
        let asked = (0..PATHS.len()).take_while(|at| chosen != Some(*at));
        let asked =
            asked.filter(|at| *at < 2 || odd[..2].iter().all(|o| *o != Some(Odd::Unreadable)));
        let tried = asked.map(|at| {
            let missing = Why {
                word: None,
                reason: "missing",
            };
            let why = odd[at].map_or(missing, |odd| {
                let fault = envelope::odd_time(odd);
                Why {
                    word: Some(fault.word),
                    reason: fault.reason,
                }
            });
            Tried::new(PATHS[at], why)
        });
        let unreadable = odd.iter().position(|odd| *odd == Some(Odd::Unreadable));
        Field {
            field: "event_time".to_owned(),
            value: self.value("event_time"),
            source: Some(match time {
                Choice::Of(at, _) => PATHS[at].to_owned(),
                Choice::Accepted => "the moment of acceptance".to_owned(),
                Choice::Unreadable => {
                    "the moment of acceptance, where [event_time] unreadable allows it".to_owned()
                }
            }),
            tried: tried.collect(),
            mapping: None,
            omitted: None,
            ended_by: (time == Choice::Unreadable)
                .then(|| unreadable.map(|at| PATHS[at].to_owned()))
                .flatten(),
            notes: self.notes_of("event_time"),
        }
    }

    fn action_source(&self, kind: Kind) -> Field {
        let mut tried = Vec::new();
        let mut say = |source, word, reason| tried.push(Tried::new(source, Why { word, reason }));
        let own = value_at(self.root, "properties.action_source");
        let own = envelope::own_action_source(own);
        let url = envelope::url(value_at(self.root, "context.page.url"));
        let hint = |path: &str| {
            value_at(self.root, path)
                .as_str()
                .and_then(envelope::platform)
        };
        let source = 'found: {
            match own {
                Ok(Some(_)) => break 'found "properties.action_source",
                Ok(None) => say("properties.action_source", None, "missing"),
                Err(fault) => say("properties.action_source", Some(fault.word), fault.reason),
            }
            if kind != Kind::Screen && matches!(url, Ok(Some(_))) {
                break 'found "context.page.url, which makes it web";
            }
            let why = match (kind, url) {
                (Kind::Screen, _) => "not looked at on a screen",
                (_, Err(fault)) => fault.reason,
                _ => "missing",
            };
            say("context.page.url", None, why);
            for path in PLATFORM {
                if hint(path).is_some() {
                    break 'found path;
                }
                say(path, None, "names neither Android nor iOS");
            }
            "pinterest.default_action_source of the config"
        };
        Field {
            field: "action_source".to_owned(),
            value: self.value("action_source"),
            source: Some(source.to_owned()),
            tried,
            mapping: None,
            omitted: None,
            ended_by: None,
            notes: self.notes_of("action_source"),
        }
    }

    fn not_of_kind(&self, field: &str, kind: Kind) -> Field {
        let carries = match kind {
            Kind::Page => "a page carries content_ids, and what is mapped",
            _ => "a screen carries only what is mapped",
        };
        let mapped = self.mapped_alone(field);
        Field {
            omitted: match mapped.mapping {
                None => mapped.value.is_null().then(|| carries.to_owned()),
                Some(_) => mapped.omitted,
            },
            ..mapped
        }
    }

    fn mapped_alone(&self, field: &str) -> Field {
        let value = self.value(field);
        Field {
            field: field.to_owned(),
            mapping: self.mapping(field),
            omitted: value.is_null().then(|| match self.ended_by(field) {
                Some(finding) => unreadable(finding.source),
                None => "no mapping gives it".to_owned(),
            }),
            value,
            source: None,
            tried: Vec::new(),
            ended_by: self
                .ended_by(field)
                .map(|finding| finding.source.to_owned()),
            notes: self.notes_of(field),
        }
    }

    fn mappings(&self) -> Vec<MappingNote> {
        let note = |(i, finding): (usize, &Finding<'_>)| {
            let last = self.mapping(&finding.field);
            let is_last = last == Some(i + 1);
            let outcome = match finding.outcome {
                Found::Nothing => "its source is missing or empty: nothing done".to_owned(),
                Found::Unusable => {
                    "its value cannot be brought to the field's type: the computed value stays"
                        .to_owned()
                }
                Found::Ends if is_last => {
                    "its value cannot be read, and nothing stands in for it: the field is omitted"
                        .to_owned()
                }
                Found::Usable if is_last => "gives the value".to_owned(),
                Found::Ends | Found::Usable => format!(
                    "a later one, mappings[{}], counts",
                    last.unwrap_or_default()
                ),
            };
            MappingNote {
                number: i + 1,
                source: finding.source.to_owned(),
                field: finding.field.clone(),
                outcome,
            }
        };
        self.found.iter().enumerate().map(note).collect()
    }
}
