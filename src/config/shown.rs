//! What each key is, and where that comes from.
//!
//! Invariant: no secret is shown. Tokens, write keys and URLs that are secret stand in files, which
//! are named; and a value that means nothing is not shown, for it may be a secret that strayed.

use std::path::PathBuf;

use super::key::Key;
use super::keys::KEYS;
use super::raw::Place;
use super::settings::Config;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the file, from 1 on.
    Line(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// `--instance` of this name sets another default.
    Instance(String),
    /// Another key, named `section.name`.
    Key(&'static str),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The row of the table.
    pub key: &'static Key,
    /// As the file would have it; empty where nothing is set. Of a value that means nothing the one
    /// that stands in for it.
    pub value: String,
    /// Where it comes from, or what stands there and means nothing.
    pub origin: Origin,
    /// Whether what stands there can be used.
    pub is_usable: bool,
}

impl Config {
    /// Every key in the order of the table, as it is set; `instance`: the name that was given.
    pub fn settings(&self, instance: Option<&str>) -> Vec<Setting> {
        KEYS.iter().map(|key| self.setting(key, instance)).collect()
    }

    /// The same as it counts: with what one key makes of another, and whole paths.
    pub fn effective_settings(&self, instance: Option<&str>) -> Vec<Setting> {
        let (mut settings, relative) = (self.settings(instance), self.relative_paths());
        let shown = |path: PathBuf| path.display().to_string();
        for setting in &mut settings {
            let (section, name) = (setting.key.section, setting.key.name);
            let by_test_mode = match (section, name) {
                ("queue", "path") => Some(self.queue_folder().display().to_string()),
                ("postgres", "schema") => Some(self.queue_schema()),
                ("delivery", "max_batch_events") => Some(self.max_batch_events().to_string()),
                _ => None,
            };
            let by_test_mode = by_test_mode.filter(|_| self.pinterest.test);
            if let Some(value) = by_test_mode.filter(|value| *value != setting.value) {
                setting.value = value;
                setting.origin = Origin::Key("pinterest.test");
            } else if relative.contains(&format!("{section}.{name}").as_str()) {
                let whole = std::path::absolute(&setting.value);
                setting.value = whole.map_or_else(|_| setting.value.clone(), shown);
            }
        }
        settings
    }

    fn setting(&self, key: &'static Key, instance: Option<&str>) -> Setting {
        let name = (key.section, key.name);
        let is_usable = !self.unusable.contains(&name);
        let set = self.texts.get(&name);
        let origin = match (set.map(|(_, place)| place), instance) {
            (Some(Place::Line(file, line)), _) => Origin::Line(file.clone(), *line),
            (Some(Place::Variable(variable)), _) => Origin::Variable(variable.clone()),
            (Some(Place::Nowhere), _) if name == ("ingest", "http_socket") => {
                Origin::Key("ingest.socket")
            }
            (Some(Place::Nowhere), Some(instance)) => Origin::Instance(instance.to_owned()),
            _ => Origin::Default,
        };
        let value = match set {
            Some((text, _)) if is_usable => text,
            _ => key.default,
        };
        Setting {
            key,
            value: value.to_owned(),
            origin,
            is_usable,
        }
    }
}
