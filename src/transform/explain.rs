//! Of one event: which source gave each field of the payload, what was tried before, what was
//! omitted and why, and which mapping stands over it.
//!
//! The values are those of the payload itself; only where they came from is worked out here, by
//! the rows of [`super::rows`]. Properties in the tests hold the two together.

use serde::Serialize;
use serde_json::Value;

use super::apply::{Transform, identity};
use super::envelope::{self, action_source_named};
use super::mappings::Finding;
use super::outcome::Dead;
use super::reading::value_at;
use super::rows::{EVERY, Otherwise, PAGE, PLATFORM, Row, TRACK};
use crate::event::{self, Arena, Invalid, Kind, Node};

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
    /// Every field that the schema has for such an event, in the order of the payload.
    pub fields: Vec<Field>,
    /// What each of `[[mappings]]` did, in file order.
    pub mappings: Vec<MappingNote>,
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
}

/// A source that gave nothing.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// A dot path into the event.
    pub source: &'static str,
    /// Why not. Holds nothing of the event.
    pub why: &'static str,
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
    /// Explains what is sent for a line under this config. `accepted_at`: Unix seconds, for
    /// events that tell no time.
    ///
    /// # Errors
    /// What the socket would refuse the line for.
    pub fn explain(&self, body: &[u8], accepted_at: i64) -> Result<Explanation, Invalid> {
        let call = event::check(body)?;
        let arena = Arena::default();
        let root = event::parse(&arena, body)?;
        let of @ (kind, message_id, name) = identity(&root)?;
        let event_name = self.names.wire(kind, name);
        let event_time = call.event_time.unwrap_or(accepted_at);
        let (event, _) = self.event(&root, of, &event_name, event_time, &|_| false);
        let dead = event.user_data.missing_match_key();
        let dead = dead.map(|missing| Dead::NoMatchKey { missing }.to_string());
        let payload = serde_json::to_value(&event).unwrap_or_default();
        let found = self.mappings.findings(&root);

        let explained = Explained {
            root: &root,
            payload: &payload,
            found: &found,
        };
        let mut fields = vec![
            explained.plain("event_name", self.names.source(kind, name)),
            explained.action_source(kind),
            explained.plain("event_id", "messageId"),
            explained.plain("partner_name", "pinterest.app_name of the config"),
        ];
        fields.extend(EVERY.iter().map(|row| explained.row(row)));
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
        Ok(Explanation {
            message_id: message_id.to_owned(),
            kind: kind.name(),
            dead,
            mappings: explained.notes(),
            fields,
        })
    }
}

/// An event, its payload, and what the mappings found.
struct Explained<'t> {
    root: &'t Node<'t>,
    payload: &'t Value,
    found: &'t [Finding<'t>],
}

impl Explained<'_> {
    fn value(&self, field: &str) -> Value {
        let at = field.split('.').try_fold(self.payload, |v, key| v.get(key));
        at.cloned().unwrap_or_default()
    }

    /// The last usable mapping of a field, from 1.
    fn mapping(&self, field: &str) -> Option<usize> {
        let of_field = |f: &Finding<'_>| f.usable && f.field == field;
        self.found.iter().rposition(of_field).map(|i| i + 1)
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
        }
    }

    fn row(&self, row: &Row) -> Field {
        let mut tried = Vec::new();
        let mut source = None;
        for candidate in row.sources {
            let node = value_at(self.root, candidate.path);
            match candidate.reading.refusal(node, self.root) {
                Some(why) => tried.push(Tried {
                    source: candidate.path,
                    why,
                }),
                None => {
                    source = Some(candidate.path.to_owned());
                    break;
                }
            }
        }
        let value = self.value(row.field);
        let mapping = self.mapping(row.field);
        if source.is_none() && mapping.is_none() && !value.is_null() {
            source = match row.otherwise {
                Otherwise::Given(what) | Otherwise::Products(what) => Some(what.to_owned()),
                Otherwise::Omitted => None,
            };
        }
        let omitted =
            value.is_null().then(
                || match (source.is_some() || mapping.is_some(), row.otherwise) {
                    (true, _) => {
                        "nothing is left of it after normalising (user_data.hashing)".into()
                    }
                    (false, Otherwise::Omitted) => "no source has it".to_owned(),
                    (false, Otherwise::Given(what)) => {
                        format!("no source has it, and {what} is empty")
                    }
                    (false, Otherwise::Products(what)) => {
                        format!("no source has it, nor is there {what}")
                    }
                },
            );
        Field {
            field: row.field.to_owned(),
            value,
            source,
            tried,
            mapping,
            omitted,
        }
    }

    fn action_source(&self, kind: Kind) -> Field {
        let mut tried = Vec::new();
        let mut say = |source, why| tried.push(Tried { source, why });
        let properties = self.root.at("properties");
        let own = properties.at("action_source").as_str();
        let url = envelope::url(self.root.at("context").at("page"));
        let hint = |path: &str| {
            value_at(self.root, path)
                .as_str()
                .and_then(envelope::platform)
        };
        let source = 'found: {
            if own.and_then(action_source_named).is_some() {
                break 'found "properties.action_source";
            }
            say(
                "properties.action_source",
                "not one of web, app_android, app_ios, offline",
            );
            if kind != Kind::Screen && url.is_some() {
                break 'found "context.page.url, which makes it web";
            }
            say(
                "context.page.url",
                match kind {
                    Kind::Screen => "not looked at on a screen",
                    _ => "missing",
                },
            );
            for path in PLATFORM {
                if hint(path).is_some() {
                    break 'found path;
                }
                say(path, "names neither Android nor iOS");
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
        }
    }

    fn not_of_kind(&self, field: &str, kind: Kind) -> Field {
        let carries = match kind {
            Kind::Page => "a page carries content_ids, and what is mapped",
            _ => "a screen carries only what is mapped",
        };
        let mapped = self.mapped_alone(field);
        Field {
            omitted: mapped.value.is_null().then(|| carries.to_owned()),
            ..mapped
        }
    }

    fn mapped_alone(&self, field: &str) -> Field {
        let value = self.value(field);
        Field {
            field: field.to_owned(),
            mapping: self.mapping(field),
            omitted: value.is_null().then(|| "no mapping gives it".to_owned()),
            value,
            source: None,
            tried: Vec::new(),
        }
    }

    fn notes(&self) -> Vec<MappingNote> {
        let note = |(i, finding): (usize, &Finding<'_>)| {
            let last = self.mapping(&finding.field);
            let outcome = match (finding.node, finding.usable) {
                (None, _) => "its source is missing or null: nothing done".to_owned(),
                (Some(_), false) => {
                    "its value cannot be brought to the field's type: the computed value stays"
                        .to_owned()
                }
                (Some(_), true) if last == Some(i + 1) => "gives the value".to_owned(),
                (Some(_), true) => format!(
                    "a later one, mappings[{}], gives the value",
                    last.unwrap_or_default()
                ),
            };
            MappingNote {
                number: i + 1,
                source: finding.source.clone(),
                field: finding.field.clone(),
                outcome,
            }
        };
        self.found.iter().enumerate().map(note).collect()
    }
}
