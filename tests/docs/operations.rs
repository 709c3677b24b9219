//! docs/operations.md, docs/privacy.md and docs/postgres.md: what they quote is what the program says,
//! and what they name is there. Screens are compared where their commands are tested.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use pinrelay::config::KEYS;
use pinrelay::deliver::Reason;
use pinrelay::notify::Kind;
use pinrelay::queue::DeadReason;

use super::blocks::blocks;
use super::support::{PINRELAY, bare};
use super::{code, read, rows, section};

const PAGES: [&str; 3] = ["docs/operations.md", "docs/privacy.md", "docs/postgres.md"];

/// The pages, one behind the other.
fn pages() -> String {
    PAGES.map(read).concat()
}

/// The pages without their fenced blocks.
fn prose() -> String {
    pages().split("\n```").step_by(2).collect()
}

/// The strings in the source that is not tests, with `…` for each placeholder.
fn said() -> Vec<String> {
    let mut said = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") && !name.contains("tests") {
                let text = fs::read_to_string(&path).expect("a source");
                said.extend(strings(&text));
            }
        }
    }
    said
}

/// The string literals of a source above its tests.
fn strings(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod tests {").next();
    let lines = source.unwrap_or_default().lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    let source: String = lines.flat_map(|line| [line, "\n"]).collect();
    // A quotation mark as a character would shift all that follow.
    let source = source.replace("'\"'", "' '").replace("'\\\"'", "' '");
    let (mut strings, mut open) = (Vec::new(), None::<String>);
    let mut characters = source.chars().peekable();
    while let Some(c) = characters.next() {
        match (&mut open, c) {
            (None, '"') => open = Some(String::new()),
            (None, _) => {}
            (Some(_), '"') => strings.extend(open.take().map(|text| template(&text))),
            (Some(text), '\\') => match characters.next() {
                // The string goes on in the next line.
                Some('\n') => while characters.next_if(|c| c.is_whitespace()).is_some() {},
                Some(escaped) => text.push(escaped),
                None => {}
            },
            (Some(text), c) => text.push(c),
        }
    }
    strings
}

/// A format string with `…` for what is filled in.
fn template(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        let Some((_, behind)) = behind.split_once('}') else {
            break;
        };
        out.extend([before, "…"]);
        rest = behind;
    }
    out + rest
}

#[test]
fn strings_are_found_with_their_placeholders() {
    let source = "// \"no\nlet a = '\"'; say(\"one {x:?} \\\n    two\"); \"\"\n\
                  #[cfg(test)]\nmod tests {\n\"three\"";
    assert_eq!(strings(source), ["one … two", ""]);
}

#[test]
fn what_is_quoted_is_said() {
    let said = said();
    let prose = prose();
    let quoted = prose.split('“').skip(1);
    let quoted: Vec<_> = (quoted.map(|part| part.split_once('”').expect(part).0))
        .filter(|quote| *quote != "these quotes")
        .collect();
    assert!(quoted.len() > 40, "{quoted:?}");
    for quote in quoted {
        // What is filled in at either end may be of another string.
        let words = quote.trim_matches('…');
        let is_said = said.iter().any(|text| text.contains(words));
        assert!(is_said, "nothing says “{quote}”");
    }
}

#[test]
fn every_notification_alert_and_reason_is_explained_and_no_other() {
    let page = prose();
    let told = page.split("*kind* `").skip(1);
    let told: BTreeSet<_> = told.filter_map(|part| part.split('`').next()).collect();
    assert_eq!(told, Kind::ALL.iter().map(|kind| kind.name()).collect());

    let alerts = read("packaging/prometheus-alerts.yml");
    let alerts: BTreeSet<_> = (alerts.lines())
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .map(str::to_owned)
        .collect();
    let named = section(&page, "## What is wrong");
    let named = code(named).into_iter();
    assert_eq!(
        alerts,
        named.filter(|name| name.starts_with("Pinrelay")).collect()
    );

    // Of the gate, as STATUS has them; a pause has its own form.
    let gate = code(section(&page, "## What is wrong")).into_iter();
    let gate: BTreeSet<_> = gate.filter(|span| span.starts_with('(')).collect();
    assert_eq!(gate.len(), 5, "{gate:?}");
    for span in gate {
        let name = span.trim_matches(['(', ')']);
        let reason: Reason = serde_json::from_value(name.into()).expect(name);
        assert_eq!(reason.name(), name);
    }

    let reasons = rows(section(&page, "## Dead letters")).into_iter();
    let reasons: BTreeSet<_> = reasons.map(|row| row[0].replace('`', "")).collect();
    let all = DeadReason::ALL
        .iter()
        .map(|reason| reason.name().to_owned());
    assert_eq!(reasons, all.collect());
}

#[test]
fn the_keys_are_there_and_are_what_is_said_of_them() {
    let page = prose();
    let mut pieces = page.split('`').skip(1);
    let (mut keys, mut remarks) = (0, 0);
    while let (Some(name), behind) = (pieces.next(), pieces.next().unwrap_or_default()) {
        let name = name.split(" = ").next().unwrap_or_default();
        let Some((section, key)) = name.split_once('.') else {
            continue;
        };
        if !KEYS.iter().any(|key| key.section == section) {
            continue;
        }
        let key = KEYS.iter().find(|k| k.section == section && k.name == key);
        let key = key.unwrap_or_else(|| panic!("there is no key {name}"));
        keys += 1;
        let Some((remark, _)) = behind.strip_prefix(" (").and_then(|b| b.split_once(')')) else {
            continue;
        };
        remarks += 1;
        match remark.split_once(' ') {
            // Its default, such as `20 s` or `7 days`.
            Some((number, unit)) => {
                let default = format!("{number}{}", &unit[..1]);
                assert_eq!(default, key.default, "{name}");
            }
            None => assert_eq!(remark == "restart", !key.reloadable, "{name}: {remark}"),
        }
    }
    assert!(keys > 30 && remarks > 5, "{keys} keys, {remarks} remarks");
}

/// The command lines of the pages, each from the word `pinrelay` on.
fn command_lines() -> BTreeSet<String> {
    let shell = blocks(&pages())
        .into_iter()
        .filter(|b| ["sh", "text"].contains(&b.kind.as_str()));
    let shell = shell.flat_map(|block| match block.kind.as_str() {
        "sh" => block.text.lines().map(str::to_owned).collect(),
        // A screen: its first line is the command.
        _ => vec![block.text.lines().next().unwrap_or_default().to_owned()],
    });
    let mut commands = BTreeSet::new();
    for line in shell.chain(code(&prose())) {
        let line = line.split(" #").next().unwrap_or_default();
        for command in line.split(['|', '&', ';']) {
            let words: Vec<_> = (command.split_whitespace())
                .skip_while(|word| ["$", "sudo"].contains(word))
                .collect();
            // `sudo -u pinrelay pinrelay check`: the user is no command.
            let words = words.strip_prefix(&["-u", "pinrelay"]).unwrap_or(&words);
            if words.first() == Some(&"pinrelay") && words.len() > 1 {
                commands.insert(words[1..].join(" "));
            }
        }
    }
    commands
}

#[test]
fn the_commands_and_their_options_are_there() {
    let mut helps: BTreeMap<Vec<String>, String> = BTreeMap::new();
    let commands = command_lines();
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        let words: Vec<_> = command.split(' ').map(str::to_owned).collect();
        let is_group = ["config", "dead", "queue"].contains(&words[0].as_str());
        let path = words[..if is_group { 2 } else { 1 }].to_vec();
        let help = helps.entry(path.clone()).or_insert_with(|| {
            let mut run = bare(Path::new(PINRELAY));
            let out = run.args(&path).arg("--help").output().expect("it runs");
            assert!(out.status.success(), "pinrelay {command}: no such command");
            String::from_utf8(out.stdout).expect("text")
        });
        let options = words.iter().filter(|word| word.starts_with('-'));
        for option in options {
            let is_there = help.split([' ', ',', '\n']).any(|word| word == option);
            assert!(is_there, "pinrelay {command}: no {option}");
        }
    }
}

#[test]
fn the_exit_codes_are_those_of_the_program() {
    let page = prose();
    let codes = read("src/cli/exit.rs");
    let mut seen = BTreeSet::new();
    for (before, behind) in [("status=", "/"), ("exit ", ""), ("| ", ", “")] {
        for part in page.split(before).skip(1) {
            let number = part.get(..2).filter(|n| n.parse::<u8>().is_ok());
            let number = number.filter(|_| part[2..].starts_with(behind));
            seen.extend(number.map(str::to_owned));
        }
    }
    let due = ["69", "74", "78"].map(str::to_owned);
    assert_eq!(seen, BTreeSet::from(due));
    for code in seen {
        assert!(codes.contains(&format!(" = {code},")), "{code}");
    }
}

/// As a heading is linked to.
fn anchor(title: &str) -> String {
    let title = title.to_lowercase().replace(' ', "-");
    let keep = |c: &char| c.is_alphanumeric() || "-_".contains(*c);
    title.chars().filter(keep).collect()
}

#[test]
fn the_links_of_the_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = fs::read_dir(root.join("docs")).expect("the pages");
    let pages = folder.map(|entry| entry.expect("an entry").path());
    let mut links = 0;
    for page in pages.filter(|path| path.extension().is_some_and(|e| e == "md")) {
        let text = fs::read_to_string(&page).expect("a page");
        let text: String = text.split("\n```").step_by(2).collect();
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            if link.contains("://") {
                continue;
            }
            let (file, title) = link.split_once('#').unwrap_or((link, ""));
            let at = match file {
                "" => page.clone(),
                file => page.with_file_name(file),
            };
            assert!(at.exists(), "{}: {link}", page.display());
            links += 1;
            if title.is_empty() {
                continue;
            }
            let there = fs::read_to_string(&at).expect("a page");
            let titles = there.lines().filter(|line| line.starts_with('#'));
            let mut titles = titles.map(|line| anchor(line.trim_start_matches(['#', ' '])));
            assert!(titles.any(|t| t == title), "{}: {link}", page.display());
        }
    }
    assert!(links > 20, "{links} links");
}
