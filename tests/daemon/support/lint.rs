//! Prometheus' text format, read and held to its conventions.

use std::collections::{BTreeMap, BTreeSet};

/// What a page says.
#[derive(Default)]
pub struct Page {
    pub help: BTreeMap<String, String>,
    pub kind: BTreeMap<String, String>,
    /// By name with labels, as written.
    pub series: BTreeMap<String, f64>,
}

impl Page {
    /// Reads a page.
    ///
    /// # Panics
    /// If a line is not of the format, or a series or a description stands twice.
    pub fn read(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines() {
            let described = |rest: &str| {
                let (name, what) = rest.split_once(' ').expect(line);
                (name.to_owned(), what.to_owned())
            };
            let twice = if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = described(rest);
                page.help.insert(name, help).is_some()
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = described(rest);
                page.kind.insert(name, kind).is_some()
            } else {
                let (series, value) = line.rsplit_once(' ').expect(line);
                let value = value.parse().expect(line);
                page.series.insert(series.to_owned(), value).is_some()
            };
            assert!(!twice, "twice: {line}");
        }
        page
    }

    /// The value of a series.
    pub fn value(&self, series: &str) -> f64 {
        *self
            .series
            .get(series)
            .unwrap_or_else(|| panic!("no {series}: {:#?}", self.series))
    }

    /// What is against the conventions.
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut values: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for series in self.series.keys() {
            let (name, labels) = split(series);
            let family = self.family(name);
            if !self.kind.contains_key(family) {
                wrong.push(format!("{name}: no TYPE"));
            }
            for (label, value) in labels {
                values
                    .entry((family.to_owned(), label))
                    .or_default()
                    .insert(value);
            }
        }
        for (name, kind) in &self.kind {
            let mut say = |what: &str| wrong.push(format!("{name}: {what}"));
            if self.help.get(name).is_none_or(|help| help.len() < 10) {
                say("no HELP");
            }
            if (kind == "counter") != name.ends_with("_total") {
                say("_total belongs on counters, and on them alone");
            }
            if !name.starts_with("pinrelay_") && !name.starts_with("process_") {
                say("not ours");
            }
            if name.chars().any(|c| !c.is_ascii_lowercase() && c != '_') {
                say("an odd name");
            }
            let units = [
                "milliseconds",
                "_ms",
                "_minutes",
                "_hours",
                "_days",
                "kilobytes",
                "_kb",
                "_mib",
                "percent",
            ];
            if units.iter().any(|unit| name.contains(unit)) {
                say("not a base unit");
            }
            if ["_count", "_sum", "_bucket"]
                .iter()
                .any(|end| name.ends_with(end))
            {
                say("ends like a part of a histogram");
            }
            if !["counter", "gauge", "histogram"].contains(&kind.as_str()) {
                say("an odd TYPE");
            }
            if !self
                .series
                .keys()
                .any(|series| self.family(split(series).0) == name)
            {
                say("no series");
            }
        }
        for ((name, label), values) in values {
            let bounded = values.len() <= 64 && values.iter().all(|value| value.len() <= 40);
            if !bounded {
                wrong.push(format!("{name}: {label} has too many values: {values:?}"));
            }
        }
        wrong
    }

    /// The family of a sample's name.
    fn family<'a>(&self, name: &'a str) -> &'a str {
        let ends = ["_bucket", "_sum", "_count"];
        let stem = ends.iter().find_map(|end| name.strip_suffix(end));
        let is_histogram = |stem: &&str| self.kind.get(*stem).is_some_and(|k| k == "histogram");
        stem.filter(is_histogram).unwrap_or(name)
    }
}

/// Name and labels.
fn split(series: &str) -> (&str, Vec<(String, String)>) {
    let Some((name, labels)) = series.split_once('{') else {
        return (series, Vec::new());
    };
    let labels = labels.strip_suffix('}').expect(series);
    let pairs = labels.split("\",").map(|pair| {
        let (label, value) = pair.split_once("=\"").expect(series);
        (label.to_owned(), value.trim_end_matches('"').to_owned())
    });
    (name, pairs.collect())
}

#[test]
fn the_linter_finds_what_is_wrong() {
    let wrong = |text: &str| Page::read(text).wrong().join("; ");
    let sound = "# HELP pinrelay_a_total Things, counted.\n# TYPE pinrelay_a_total counter\n\
                 pinrelay_a_total{reason=\"x\"} 1\npinrelay_a_total{reason=\"y\"} 1\n";
    assert_eq!(wrong(sound), "");
    assert!(wrong("pinrelay_a 1\n").contains("no TYPE"));
    let named = |name: &str, kind: &str| {
        wrong(&format!(
            "# HELP {name} Things, counted.\n# TYPE {name} {kind}\n{name} 1\n"
        ))
    };
    assert!(named("pinrelay_a", "counter").contains("_total"));
    assert!(named("pinrelay_a_total", "gauge").contains("_total"));
    assert!(named("pinrelay_a_milliseconds", "gauge").contains("base unit"));
    assert!(named("other_a", "gauge").contains("not ours"));
    let many: String = (0..80)
        .map(|n| format!("pinrelay_a{{x=\"{n}\"}} 1\n"))
        .collect();
    let many = format!("# HELP pinrelay_a Things, counted.\n# TYPE pinrelay_a gauge\n{many}");
    assert!(wrong(&many).contains("too many"));
}
