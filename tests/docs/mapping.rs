//! docs/mapping.md against what the transform tries.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use pinrelay::transform::{Explanation, Field, Fixed, MappingRule, Options, Transform};

use super::{blocks, code, read, rows, section};

const PAGE: &str = "docs/mapping.md";

/// An event of this kind with nothing else in it.
fn explained(kind: &str, options: Options) -> Explanation {
    let transform = Transform::new(options).expect("options");
    let line = format!(r#"{{"messageId":"m","type":"{kind}","event":"X"}}"#);
    let fixed = Fixed {
        accepted_at: 0,
        event_time: 0,
    };
    transform.explain(line.as_bytes(), fixed).expect("an event")
}

fn options() -> Options {
    Options {
        partner_name: Some("ss-test".to_owned()),
        ..Options::default()
    }
}

/// The sources of a field in their order, and what stands behind them, in words.
fn told(field: &Field) -> (Vec<String>, String) {
    let behind = field.source.as_ref().or(field.omitted.as_ref());
    let behind = behind.expect("a source or why there is none").clone();
    if field.tried.is_empty() {
        // A field with one source that is always there: its path is the first word.
        let path = behind.split([' ', ',']).next().unwrap_or_default();
        return (vec![path.to_owned()], String::new());
    }
    let tried = field.tried.iter().map(|tried| tried.source.to_string());
    (tried.collect(), behind)
}

/// Every row of these fields is as `due` says, and there is no other.
fn compare(title: &str, mut due: BTreeMap<String, (Vec<String>, String)>) {
    let page = read(PAGE);
    for cells in rows(section(&page, title)) {
        let [field, sources, otherwise, ..] = &cells[..] else {
            panic!("{title}: {cells:?}");
        };
        let field = field.trim_matches('`');
        // Tables of something else stand in the same section.
        let Some((tried, behind)) = due.remove(field) else {
            assert!(!field.contains("_data."), "{title}: {field} is not tried");
            continue;
        };
        assert_eq!(code(sources), tried, "{title}: {field}");
        match otherwise.as_str() {
            "omitted" => assert_eq!(behind, "no source has it", "{title}: {field}"),
            words => assert!(behind.contains(words), "{title}: {field}: {behind}"),
        }
        assert_eq!(otherwise.is_empty(), behind.is_empty(), "{title}: {field}");
    }
    assert_eq!(due, BTreeMap::new(), "{title}: without a row");
}

#[test]
fn every_field_has_its_row_with_the_sources_that_are_tried() {
    let (mut envelope, mut user_data) = (BTreeMap::new(), BTreeMap::new());
    for kind in ["page", "screen", "track"] {
        let mut custom_data = BTreeMap::new();
        for field in explained(kind, options()).fields {
            let (sources, behind) = told(&field);
            if field.field.starts_with("custom_data.") {
                // What this kind does not carry is tried nowhere.
                if !field.tried.is_empty() {
                    custom_data.insert(field.field, (sources, behind));
                }
                continue;
            }
            let place = match field.field.starts_with("user_data.") {
                true => &mut user_data,
                false => &mut envelope,
            };
            let row = place.entry(field.field);
            let (known, _) = row.or_insert_with(|| (Vec::new(), behind));
            // Only the name has another source for another kind.
            for source in sources {
                if !known.contains(&source) {
                    known.push(source);
                }
            }
        }
        compare(&format!("### Of a {kind}"), custom_data);
    }
    compare("## Envelope", envelope);
    compare("## user_data", user_data);
}

/// The rows of what is tried besides under the extended sources, and of no other field.
#[test]
fn the_extended_sources_have_their_rows() {
    let sources = |options: Options| -> BTreeMap<String, Vec<String>> {
        let fields = explained("screen", options).fields.into_iter();
        let tried = fields.filter(|field| !field.tried.is_empty());
        let of = |field: Field| {
            let sources = field.tried.iter().map(|tried| tried.source.to_string());
            (field.field.clone(), sources.collect())
        };
        tried.map(of).collect()
    };
    let by_default = sources(options());
    let mut due = sources(Options {
        extended: true,
        ..options()
    });
    due.retain(|field, sources| by_default.get(field) != Some(sources));
    let page = read(PAGE);
    let part = section(&page, "### Extended sources");
    for cells in rows(part.split("\n### ").next().unwrap_or_default()) {
        let field = cells[0].trim_matches('`');
        assert_eq!(due.remove(field), Some(code(&cells[1])), "{field}");
    }
    assert_eq!(due, BTreeMap::new(), "without a row");
}

#[test]
fn destinations_fill_what_the_page_says() {
    let page = read(PAGE);
    let rule = |destination: &str| Options {
        mappings: vec![MappingRule {
            source: "properties.x".to_owned(),
            destination: destination.to_owned(),
        }],
        ..options()
    };
    let part = section(&page, "## Further properties");
    let part = part.split("\n### ").next().unwrap_or_default();
    let (mut fills, mut refused) = (BTreeSet::new(), BTreeSet::new());
    for cells in rows(part) {
        let names = code(&cells[0]);
        if names[0].starts_with("properties.") || names[0].starts_with("user_data.") {
            let notes = explained("track", rule(&names[0])).mappings;
            assert_eq!(notes[0].field, cells[1].trim_matches('`'), "{}", names[0]);
            fills.insert(notes[0].field.clone());
        } else {
            for name in names {
                let destination = format!("properties.{}", name.replace('*', "id"));
                let refusal = Transform::new(rule(&destination)).err();
                let why = refusal.map(|e| e.to_string()).unwrap_or_default();
                assert!(why.contains(&cells[1]), "{name}: {why}");
                refused.insert(name);
            }
        }
    }
    // Everything that is computed can be mapped over.
    let computed = explained("track", options()).fields;
    for field in computed.iter().map(|field| &field.field) {
        let is_custom = field.starts_with("custom_data.");
        assert!(!is_custom || fills.contains(field), "{field}");
    }
    let source = read("src/transform/destinations.rs");
    let list = source.split("const REFUSED").nth(1).expect("the list");
    let list = list.split("];").next().unwrap_or_default();
    let names = list.split('(').skip(1).filter_map(|t| t.split('"').nth(1));
    let listed: BTreeSet<String> = names.map(str::to_owned).collect();
    assert_eq!(refused, listed);
}

#[test]
fn each_row_is_held_by_a_test_that_exists() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transform_golden");
    let mut tests = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("the folder") {
        let file = entry.expect("an entry").path();
        let module = file.file_stem().expect("a name").to_string_lossy();
        let text = fs::read_to_string(&file).expect("a file");
        for test in text.split("#[test]\nfn ").skip(1) {
            let name = test.split('(').next().unwrap_or_default();
            tests.insert(format!("{module}::{name}"));
        }
    }
    let page = read(PAGE);
    let named: BTreeSet<String> = (code(&page).into_iter())
        .filter(|text| text.contains("::"))
        .filter(|text| text.chars().next().is_some_and(char::is_alphabetic))
        .collect();
    for name in &named {
        assert!(tests.contains(name), "{name} is no test");
    }
    let tables = page.split("\n\n").filter(|part| part.starts_with("| "));
    for table in tables {
        let mut lines = table.lines();
        let head = lines.next().unwrap_or_default();
        // What delivery does with custom properties is not the transform's.
        if head.contains("under `on_refused`") {
            continue;
        }
        assert!(head.ends_with("| shown by |"), "{head}");
        for row in lines.skip(1) {
            let last = row.trim_end_matches([' ', '|']).rsplit('|').next();
            let test = last.unwrap_or_default().trim().trim_matches('`');
            assert!(named.contains(test), "{row}");
        }
    }
}

#[test]
fn the_example_is_what_is_sent() {
    let page = read(PAGE);
    let blocks = blocks(&page, "json");
    let [event, sent] = blocks[..] else {
        panic!("one event and its payload: {blocks:?}");
    };
    let transform = Transform::new(Options {
        partner_name: Some("ss-mystorefront".to_owned()),
        ..Options::default()
    });
    let call = pinrelay::event::check(event.as_bytes()).expect("an event");
    // Long after it.
    let accepted_at = 4_000_000_000;
    let fixed = Fixed {
        accepted_at,
        event_time: call.event_time(accepted_at),
    };
    let transform = transform.expect("options");
    let payload = transform.payload(event.as_bytes(), fixed, None, &|_| false);
    let json = String::from_utf8(payload.expect("sent").json).expect("UTF-8");
    assert_eq!(json, sent);
}
