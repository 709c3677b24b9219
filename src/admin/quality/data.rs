//! The answer, as data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::admin::report::NoteCount;
use crate::clock::Millis;
use crate::coverage::FIELDS;
use crate::observe::{Span, Tally, Window};

/// Match quality within a window. No personal data in it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct QualityReport {
    /// `1h`, `24h` or `start`.
    pub window: String,
    /// From when on what is said here was counted, Unix milliseconds: later than the window begins
    /// if counting began later.
    pub since: Millis,
    /// This moment, Unix milliseconds.
    pub now: Millis,
    /// By event_name, the most events first; `other` is all that have no place of their own.
    pub names: Vec<NameQuality>,
    /// What would mend what is missing, the most events first.
    pub advice: Vec<Advice>,
    /// How many events of each name were looked at closely, for advice, within the last hours.
    pub looked_at: BTreeMap<String, u64>,
    /// Pinterest's warnings by kind, since the start.
    pub warnings: BTreeMap<String, u64>,
    /// Notes of the last hour, by field and word.
    pub notes: Vec<NoteCount>,
}

/// Events of one name that were delivered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NameQuality {
    /// On the wire.
    pub event_name: String,
    /// How many.
    pub events: u64,
    /// Of these: later than `delivery.late_after`.
    pub late: u64,
    /// Of these: in test mode, recorded nowhere.
    pub test: u64,
    /// Of these: with `user_data.default_user_agent` in place of their own.
    pub default_user_agent: u64,
    /// Of these: with a value of 0.
    pub zero_value: u64,
    /// The mean of the eleven parts that Pinterest scores, in per cent, to a tenth.
    pub score: f64,
    /// Of these: with each field.
    pub fields: Vec<FieldCovered>,
}

/// How many events have a field.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FieldCovered {
    /// On the wire; `client_user_agent` is the event's own.
    pub field: String,
    /// Its name in Pinterest's Event Quality Score, if it has one.
    pub component: Option<String>,
    /// Events that have it.
    pub events: u64,
    /// In per cent of all, to a tenth.
    pub percent: f64,
}

/// One thing that would mend something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Advice {
    /// The events it is about; `null`: all.
    pub event_name: Option<String>,
    /// The field it is about, if it is about one.
    pub field: Option<String>,
    /// What was counted, in words.
    pub text: String,
    /// The line of the config that mends it, if one does.
    pub line: Option<String>,
    /// Events that it would mend, for their order.
    #[serde(skip)]
    pub weight: u64,
}

impl QualityReport {
    /// The counts of a window.
    pub(super) fn new(span: Span, window: &Window, now: Millis) -> Self {
        let names = window.names.iter();
        let mut names: Vec<_> = names
            .map(|(name, tally)| NameQuality::new(name, tally))
            .collect();
        names.sort_by(|a, b| {
            b.events
                .cmp(&a.events)
                .then(a.event_name.cmp(&b.event_name))
        });
        Self {
            window: match span {
                Span::Hour => "1h",
                Span::Day => "24h",
                Span::Start => "start",
            }
            .to_owned(),
            since: window.since,
            now,
            names,
            ..Self::default()
        }
    }
}

impl NameQuality {
    fn new(name: &str, tally: &Tally) -> Self {
        let scored = FIELDS.iter().zip(tally.fields);
        let scored = scored.filter(|((_, component), _)| component.is_some());
        let (parts, with) = scored.fold((0, 0), |(parts, with), (_, events)| {
            (parts + 1, with + events)
        });
        let fields = FIELDS.iter().zip(tally.fields);
        let fields = fields.map(|((field, component), events)| FieldCovered {
            field: (*field).to_owned(),
            component: component.map(str::to_owned),
            events,
            percent: percent(events, tally.events),
        });
        Self {
            event_name: name.to_owned(),
            events: tally.events,
            late: tally.late,
            test: tally.test,
            default_user_agent: tally.default_agent,
            zero_value: tally.zero_value,
            score: percent(with, parts * tally.events),
            fields: fields.collect(),
        }
    }

    /// How many have this field.
    pub fn with(&self, field: &str) -> u64 {
        let found = self.fields.iter().find(|of| of.field == field);
        found.map_or(0, |of| of.events)
    }
}

/// To a tenth; nothing of nothing is 0.
pub(super) fn percent(some: u64, all: u64) -> f64 {
    match all {
        0 => 0.0,
        all => (some as f64 * 1000.0 / all as f64).round() / 10.0,
    }
}
