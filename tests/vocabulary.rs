//! One word for one thing: the names of states, receipts, reasons and losses are those of the
//! table in ARCHITECTURE.md, in the code, the help and the docs; and words that were given up do
//! not come back.

use std::path::Path;
use std::process::Command;

#[allow(dead_code, reason = "shared with the rules for imports")]
#[path = "imports/code.rs"]
mod code;
#[path = "vocabulary/identifiers.rs"]
mod identifiers;
#[path = "vocabulary/names.rs"]
mod names;

use code::{Sources, sources, without_tests, without_texts};

/// Words that code had, and what it says instead. A word is found wherever an identifier holds it
/// as one of its parts, a capitalised one as a whole identifier only.
const GIVEN_UP: &[(&str, &str)] = &[
    ("revive", "retry"),
    ("revived", "retried"),
    ("revives", "retries"),
    ("reviving", "retrying"),
    ("bury", "retire_letter"),
    ("buried", "retired"),
    ("set_apart", "deferred"),
    ("queue_apart", "queue_letter"),
    ("unborn", "was_never_committed"),
    ("remade", "rebuilt"),
    ("patiently", "retry_without_fds"),
    ("fenced", "catching_panics"),
    ("shelve", "cache_open"),
    ("lent", "borrowed"),
    ("obey", "on_command"),
    ("hear", "observe_headers, on_message"),
    ("Whither", "LetterMove"),
    ("Taken", "IdentityHasher, Admission"),
    ("Nearness", "QuotaWarning"),
    ("Guard", "Evidence"),
    ("Unpackable", "UnpackError"),
    ("Bad", "DecodeError"),
    ("Door", "AdminState"),
    ("Surroundings", "Environment"),
    ("Apart", "Deferred"),
];

/// Where an identifier may still hold one: a file, and the identifier.
const EXCEPT: &[(&str, &str)] = &[];

#[test]
fn words_that_were_given_up_do_not_come_back() {
    let sources: Sources = (without_tests(&sources()).into_iter())
        .filter(|(file, _)| !file.starts_with("mock_pinterest/"))
        .map(|(file, text)| (file, without_texts(&text)))
        .collect();
    let found = identifiers::given_up(&sources, GIVEN_UP, EXCEPT);
    assert!(found.is_empty(), "{found:#?}");
}

/// Every fixed list of names is a row of the table, word for word, and every row is a list.
#[test]
fn the_lists_of_names_are_those_of_the_table() {
    let found = names::lists(&without_tests(&sources()));
    let wrong = names::wrong(&names::table(&page()), &names::older(&page()), &found);
    assert!(wrong.is_empty(), "ARCHITECTURE.md, its words: {wrong:#?}");
}

/// The pages and the help that a row names say each of its words.
#[test]
fn docs_and_help_say_the_same_words() {
    let mut wrong = Vec::new();
    for row in names::table(&page()) {
        for place in &row.said_in {
            let text = said(place);
            let missing = (row.words.iter()).filter(|word| !names::says(&text, word));
            wrong.extend(missing.map(|word| format!("{place} does not say {word}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Where a public word is older than the code's, the file that ties them together has both.
#[test]
fn older_public_words_are_tied_to_the_codes() {
    let sources = sources();
    let older = names::older(&page());
    assert!(!older.is_empty(), "the table is not where it was");
    for names::Older { public, code, file } in older {
        let text = (sources.get(&file)).unwrap_or_else(|| panic!("there is no {file}"));
        for word in [&public, &code] {
            assert!(names::says(text, word), "{file} does not say {word}");
        }
    }
}

fn page() -> String {
    read("ARCHITECTURE.md")
}

/// A page of the repository, or what a command says of itself.
fn said(place: &str) -> String {
    let Some(command) = place.strip_prefix("pinrelay ") else {
        return read(place);
    };
    let mut program = Command::new(env!("CARGO_BIN_EXE_pinrelay"));
    let out = program.args(command.split(' ')).output();
    String::from_utf8(out.expect("the command runs").stdout).expect("text")
}

fn read(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}
