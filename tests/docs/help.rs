//! What the program says of itself: help, manual and completions, of every command.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command as Program, Stdio};

use clap::Command;
use pinrelay::cli::command_line;
use pinrelay::cli::help::{GROUPS, Parts};

use super::runs;
use super::support::{PINRELAY, bare};

/// A command as it is called, without `pinrelay`.
type Called = Vec<String>;

/// Every command, those with others below them too.
fn commands() -> Vec<(Called, Command)> {
    fn below(command: &Command, path: &[String], found: &mut Vec<(Called, Command)>) {
        for command in command.get_subcommands().filter(|c| c.get_name() != "help") {
            let mut path = path.to_vec();
            path.push(command.get_name().to_owned());
            found.push((path.clone(), command.clone()));
            below(command, &path, found);
        }
    }
    let mut command = command_line();
    command.build();
    let mut found = Vec::new();
    below(&command, &[], &mut found);
    assert!(found.len() > 25);
    found
}

fn said(args: &[&str]) -> (Option<i32>, String, String) {
    let out = bare(Path::new(PINRELAY))
        .args(args)
        .output()
        .expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (out.status.code(), text(out.stdout), text(out.stderr))
}

#[test]
fn the_front_page_has_every_command_in_one_group() {
    let (code, page, _) = said(&["--help"]);
    assert_eq!(code, Some(0));
    let mut there: Vec<&str> = GROUPS
        .iter()
        .flat_map(|(_, names)| *names)
        .copied()
        .collect();
    let mut titles: Vec<&str> = Vec::new();
    let mut shown = Vec::new();
    for line in page.lines().take_while(|line| *line != "Options:") {
        if let Some(title) = line.strip_suffix(':') {
            titles.push(title);
        } else if let Some(row) = line.strip_prefix("  ") {
            shown.push(row.split(' ').next().unwrap_or_default());
            let about = row.get(16..).unwrap_or_default();
            assert!(about.starts_with(char::is_uppercase), "{line}");
            assert!(line.chars().count() <= 80, "longer than a line: {line}");
        }
    }
    let due: Vec<&str> = GROUPS.iter().map(|(title, _)| *title).collect();
    assert_eq!(titles, due);
    let mut commands: Vec<String> = command_line()
        .get_subcommands()
        .map(|c| c.get_name().to_owned())
        .chain(["help".to_owned()])
        .collect();
    for names in [&mut there, &mut shown] {
        names.sort_unstable();
    }
    commands.sort_unstable();
    assert_eq!(there, commands, "each stands in one group");
    assert_eq!(shown, commands, "and is shown once");
}

/// About, usage, options, what is good to know, exit codes, examples: in this order, all of them.
#[test]
fn every_page_has_one_layout() {
    for (path, command) in commands() {
        let name = path.join(" ");
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let (code, page, err) = said(&args);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{name}");
        let short = said(&[&args[..args.len() - 1], &["-h"]].concat());
        assert_eq!(short.1, page, "{name}: -h says the same");
        let about = command
            .get_about()
            .expect("it says what it does")
            .to_string();
        // It may take several lines.
        let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.starts_with(&about), "{name}: {page}");
        let parts = Parts::of(&command);
        let mut marks = vec!["\n\nUsage: pinrelay", "\nOptions:\n"];
        if !command.has_subcommands() {
            let codes = parts.codes();
            let numbers: Vec<u32> = (codes.iter())
                .map(|(number, _)| {
                    number
                        .parse()
                        .unwrap_or_else(|_| panic!("{name}: {number}"))
                })
                .collect();
            assert!(
                !numbers.is_empty() && numbers.is_sorted(),
                "{name}: {numbers:?}"
            );
            assert!(
                codes.iter().all(|(_, meaning)| meaning.len() > 4),
                "{name}: {codes:?}"
            );
            let known = [0, 1, 2, 64, 65, 69, 73, 74, 78, 130, 143];
            assert!(
                numbers.iter().all(|n| known.contains(n)),
                "{name}: {numbers:?}"
            );
            marks.extend(["\n\nExit codes: ", "\n\nExample"]);
        }
        let at: Vec<_> = marks.iter().map(|mark| page.find(mark)).collect();
        assert!(
            at.iter().all(Option::is_some) && at.is_sorted(),
            "{name}: {marks:?}: {page}"
        );
        assert_eq!(page.matches("\nOptions:").count(), 1, "{name}: {page}");
    }
}

/// Cuts a line of a shell into its commands, and these into words.
fn shell(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word) = (vec![], vec![], None::<String>);
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, '|' | '&' | ';' | '<' | '>') => {
                words.extend(word.take());
                commands.push(std::mem::take(&mut words));
            }
            (None, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    commands.push(words);
    commands
}

/// Each is a command line that is taken.
#[test]
fn every_example_is_a_command_line_that_is_taken() {
    let mut tried = 0;
    for (path, command) in commands() {
        let examples = Parts::of(&command).examples.unwrap_or_default();
        let lines = examples.replace("\\\n", " ");
        for words in lines.lines().skip(1).flat_map(shell) {
            let sudo = ["sudo", "-u", "pinrelay"];
            let rest = match words.first().map(String::as_str) {
                Some("sudo") if words.len() > 3 && words[1] == "-u" => &words[sudo.len()..],
                Some("sudo") => &words[1..],
                _ => &words[..],
            };
            if rest.first().is_none_or(|word| word != "pinrelay") {
                continue;
            }
            tried += 1;
            let taken = command_line().try_get_matches_from(rest);
            assert!(taken.is_ok(), "{path:?}: {rest:?}: {:?}", taken.err());
        }
    }
    assert!(tried > 40, "{tried}");
}

/// One flag is one thing, in one set of words.
#[test]
fn the_same_flag_is_described_in_the_same_words() {
    // The reason of a pause is another thing than that of a death.
    let shared = [
        "config", "instance", "socket", "queue", "yes", "since", "until",
    ];
    let mut words: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, command) in commands() {
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let (Some(flag), Some(help)) = (arg.get_long(), arg.get_help()) else {
                continue;
            };
            let help = help.to_string();
            if flag == "json" {
                let is_said = help.contains("JSON") && help.ends_with("for programs");
                assert!(is_said, "{path:?} --json: {help}");
            }
            // `send` speaks to another socket, and `tail` looks back at what passed.
            let others = [("socket", "send"), ("since", "tail")];
            if shared.contains(&flag) && !others.contains(&(flag, path[0].as_str())) {
                words.entry(flag.to_owned()).or_default().insert(help);
            }
        }
    }
    for (flag, words) in words {
        assert_eq!(words.len(), 1, "--{flag}: {words:?}");
    }
}

/// Names of the field, spelled in one way wherever the program speaks of itself.
#[test]
fn help_has_one_vocabulary() {
    let given_up = [
        ("message id", "messageId"),
        ("message ID", "messageId"),
        ("deadletter", "dead letter"),
        ("dead-letter", "dead letter"),
        ("config-file", "config"),
        ("settings file", "config"),
        ("ad-account", "ad account"),
    ];
    for (path, _) in commands() {
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let (_, page, _) = said(&args);
        // Flags and values are names, not words.
        let words = page
            .split_whitespace()
            .filter(|word| !word.starts_with("--"));
        let words = words.collect::<Vec<_>>().join(" ");
        for (other, ours) in given_up {
            assert!(!words.contains(other), "{path:?}: {other}: say {ours}");
        }
    }
}

#[test]
fn the_manual_has_a_page_for_each_command_and_each_page_its_sections() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().to_str().expect("UTF-8");
    assert_eq!(said(&["man", "--dir", at]).0, Some(0));
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(folder.path()).expect("listed") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        pages.insert(name, fs::read_to_string(&path).expect("a page"));
    }
    let mut due: BTreeSet<String> = commands().iter().map(|(path, _)| page_of(path)).collect();
    due.insert("pinrelay".to_owned());
    assert_eq!(pages.keys().cloned().collect::<BTreeSet<_>>(), due);
    for (name, page) in &pages {
        assert!(page.is_ascii(), "{name}");
        for section in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "EXIT STATUS",
            "ENVIRONMENT",
            "FILES",
        ] {
            let heading = [format!(".SH {section}\n"), format!(".SH \"{section}\"\n")];
            assert!(
                heading.iter().any(|h| page.contains(h)),
                "{name}: no {section}"
            );
        }
        let plain = page
            .replace("\\fB", "")
            .replace("\\fR", "")
            .replace("\\-", "-");
        for (before, _) in plain.match_indices("(1)").map(|(at, _)| plain.split_at(at)) {
            let named = before
                .rsplit(|c: char| c.is_whitespace())
                .next()
                .unwrap_or_default();
            assert!(pages.contains_key(named), "{name}: {named}(1) is not there");
        }
    }
    renders(folder.path());
}

fn page_of(path: &[String]) -> String {
    format!("pinrelay-{}", path.join("-"))
}

/// Without a warning, where groff is.
fn renders(folder: &Path) {
    if !runs("groff") {
        println!("skipped: no groff");
        return;
    }
    for entry in fs::read_dir(folder).expect("listed") {
        let page = entry.expect("an entry").path();
        let mut groff = Program::new("groff");
        groff
            .args(["-man", "-Tutf8", "-ww", "-z"])
            .arg(&page)
            .stdin(Stdio::null());
        let out = groff.output().expect("groff runs");
        let warnings = String::from_utf8_lossy(&out.stderr);
        assert!(
            out.status.success() && warnings.is_empty(),
            "{}: {warnings}",
            page.display()
        );
    }
}

/// As bash completes it: the words so far, the last of them unfinished.
fn completed(script: &Path, words: &[&str]) -> Vec<String> {
    let ask = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
               _pinrelay pinrelay \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"; \
               printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Program::new("bash");
    bash.args(["--norc", "-c", ask, "bash"])
        .arg(script)
        .args(words);
    let out = bash.output().expect("bash runs");
    let out = String::from_utf8_lossy(&out.stdout).into_owned();
    out.lines().map(str::to_owned).collect()
}

#[test]
fn values_are_completed() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("pinrelay.bash");
    let (code, text, _) = said(&["completions", "bash"]);
    assert_eq!(code, Some(0));
    fs::write(&script, text).expect("written");
    let cases: [(&[&str], &[&str]); 7] = [
        (
            &["tail", "--status", ""],
            &["queued", "delivered", "in_doubt", "dead"],
        ),
        (
            &["dead", "list", "--reason", ""],
            &["refused", "no_match_key", "late"],
        ),
        (&["dead", "purge", "--reason", "ref"], &["refused"]),
        (&["transform", "--from", ""], &["queue", "dead"]),
        (&["run", "--log-format", ""], &["human", "journald", "json"]),
        (&["completions", ""], &["bash", "fish", "zsh"]),
        (&["config", ""], &["show"]),
    ];
    for (words, due) in cases {
        let words = [&["pinrelay"], words].concat();
        let completed = completed(&script, &words);
        for value in due {
            assert!(
                completed.iter().any(|c| c == value),
                "{words:?}: {value}: {completed:?}"
            );
        }
    }
}

#[test]
fn the_config_is_named_before_the_command_or_behind_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("named.toml");
    fs::write(&file, "[log]\nlevel = \"debug\"\n").expect("written");
    let file = file.to_str().expect("UTF-8");
    let both = format!("--config={file}");
    for args in [
        &["-c", file, "config", "show"][..],
        &["--config", file, "config", "show"],
        &[&both, "config", "show"],
        &["config", "-c", file, "show"],
        &["config", "show", "-c", file],
        &["config", "show", "--config", file],
        // The nearer one counts.
        &["-c", "/nowhere/x.toml", "config", "show", "-c", file],
    ] {
        let (code, shown, err) = said(args);
        assert_eq!(code, Some(0), "{args:?}: {err}");
        assert!(shown.contains(&format!("{file}:2")), "{args:?}: {shown}");
    }
    for (args, why) in [
        (
            &["-c", file, "demo"][..],
            "`pinrelay demo` reads no configuration",
        ),
        (
            &["man", "--instance", "shop"],
            "`pinrelay man` reads no configuration",
        ),
        (
            &["-c", file, "status", "--instance", "shop"],
            "give one of them",
        ),
    ] {
        let (code, _, err) = said(args);
        assert_eq!(code, Some(64), "{args:?}: {err}");
        assert!(err.contains(why), "{args:?}: {err}");
    }
    let (_, page, _) = said(&["demo", "--help"]);
    assert!(!page.contains("--config"), "{page}");
}
