//! Fixed lists of names: as the code has them, and as ARCHITECTURE.md says.

use std::collections::BTreeMap;

use super::code::{Sources, with_texts};
use super::identifiers::snake;

/// A list of the code: an enum with a function `name`. By file and enum.
pub type Lists = BTreeMap<(String, String), Vec<Name>>;

/// A variant, and its name for the public.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub variant: String,
    pub word: String,
}

/// Every `fn name(self)` that gives fixed words.
pub fn lists(sources: &Sources) -> Lists {
    let mut lists = Lists::new();
    for (file, text) in sources {
        let code = with_texts(text);
        for (at, head) in code.match_indices("fn name(self) -> &'static str {") {
            let body = code[at + head.len()..].split("\n    }").next();
            let arms = body.unwrap_or_default().lines().filter_map(arm);
            let names: Vec<_> = arms.collect();
            let owner = code[..at].rsplit("\nimpl ").next().unwrap_or_default();
            let owner = owner.split_whitespace().next().unwrap_or_default();
            if !names.is_empty() {
                lists.insert((file.clone(), owner.to_owned()), names);
            }
        }
    }
    lists
}

/// `Self::NoMatchKey => "no_match_key",`; none where the text is a phrase and no name.
fn arm(line: &str) -> Option<Name> {
    let (variant, word) = line.trim().strip_prefix("Self::")?.split_once(" => \"")?;
    let word = word.strip_suffix("\",")?;
    let is_name = word
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    is_name.then(|| Name {
        variant: variant.to_owned(),
        word: word.to_owned(),
    })
}

/// A row of the table of the lists.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    pub list: String,
    pub words: Vec<String>,
    pub file: String,
    pub said_in: Vec<String>,
}

/// The table `| list | words | where | said in |`.
pub fn table(page: &str) -> Vec<Row> {
    let rows = cells(page, "| list |");
    let rows = rows.iter().map(|cells| Row {
        list: ticked(&cells[0]).pop().expect("a list's name"),
        words: ticked(&cells[1]),
        file: ticked(&cells[2]).pop().expect("a file"),
        said_in: ticked(&cells[3]),
    });
    rows.collect()
}

/// A public word that is older than the code's, and the file that ties them together.
#[derive(Debug, PartialEq, Eq)]
pub struct Older {
    pub public: String,
    pub code: String,
    pub file: String,
}

/// The table `| public word | code word | where |`: an entry for each file.
pub fn older(page: &str) -> Vec<Older> {
    let rows = cells(page, "| public word |");
    let entries = rows.iter().flat_map(|cells| {
        let public = ticked(&cells[0]).pop().expect("a public word");
        let code = ticked(&cells[1]).pop().expect("a code word");
        let files = ticked(&cells[2]).into_iter();
        files.map(move |file| Older {
            public: public.clone(),
            code: code.clone(),
            file,
        })
    });
    entries.collect()
}

fn cells(page: &str, head: &str) -> Vec<Vec<String>> {
    let lines = page.lines().skip_while(|line| !line.starts_with(head));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    let rows = rows.map(|line| {
        let inner = line.trim_matches(['|', ' ']);
        inner
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect()
    });
    rows.collect()
}

fn ticked(text: &str) -> Vec<String> {
    let between = text.split('`').skip(1).step_by(2);
    between.map(str::to_owned).collect()
}

/// Where code and table differ; and each name that is not its variant's own, unless the other
/// table has that.
pub fn wrong(table: &[Row], older: &[Older], lists: &Lists) -> Vec<String> {
    let mut wrong = Vec::new();
    for ((file, list), names) in lists {
        let words: Vec<_> = names.iter().map(|name| name.word.clone()).collect();
        match table
            .iter()
            .find(|row| row.list == *list && row.file == *file)
        {
            None => wrong.push(format!("{list} of {file} has no row")),
            Some(row) if row.words != words => {
                wrong.push(format!(
                    "{list} of {file}: {words:?} is not {:?}",
                    row.words
                ));
            }
            Some(_) => {}
        }
        for Name { variant, word } in names {
            let is_older = |o: &Older| o.public == *word && o.file == *file;
            if snake(variant) != *word && !older.iter().any(is_older) {
                wrong.push(format!("{list} of {file} calls {variant} {word}"));
            }
        }
    }
    for row in table {
        if !lists.contains_key(&(row.file.clone(), row.list.clone())) {
            wrong.push(format!("{} has no list {}", row.file, row.list));
        }
    }
    wrong
}

/// Whether a text has this word, as a whole; with a dash for an underscore too, and as a part of a
/// metric's name.
pub fn says(text: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric();
    [word.to_owned(), word.replace('_', "-")]
        .iter()
        .any(|word| {
            text.match_indices(word.as_str()).any(|(at, word)| {
                let after = &text[at + word.len()..];
                !text[..at].ends_with(is_word) && !after.starts_with(is_word)
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
| list | words | where | said in |
|---|---|---|---|
| `Stage` | `queued` `revived` | `a.rs` | `docs/x.md`, `pinrelay tail --help` |

| public word | code word | where |
|---|---|---|
| `revived` | `Retried` | `a.rs`, `b.rs` |
";

    const CODE: &str = "
impl Stage {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => \"queued\",
            Self::Retried => \"revived\",
        }
    }
}
";

    fn of(code: &str) -> Vec<String> {
        let lists = lists(&[("a.rs".to_owned(), code.to_owned())].into());
        wrong(&table(PAGE), &older(PAGE), &lists)
    }

    #[test]
    fn a_list_that_differs_from_its_row_is_found() {
        assert_eq!(of(CODE), Vec::<String>::new());
        let more = CODE.replace(
            "        }",
            "            Self::Dead => \"dead\",\n        }",
        );
        assert_eq!(of(&more).len(), 1);
        let other = CODE.replace("Self::Queued =>", "Self::Waiting =>");
        assert_eq!(of(&other), ["Stage of a.rs calls Waiting queued"]);
        let owner = CODE.replace("impl Stage", "impl Step");
        let expected = ["Step of a.rs has no row", "a.rs has no list Stage"];
        assert_eq!(of(&owner), expected);
    }

    #[test]
    fn the_tables_are_read() {
        let row = table(PAGE).pop().expect("a row");
        assert_eq!(row.said_in, ["docs/x.md", "pinrelay tail --help"]);
        assert_eq!(older(PAGE).len(), 2, "one for each file");
    }

    #[test]
    fn a_word_is_found_as_a_whole() {
        assert!(says("`queued`, or", "queued") && says("events_revived_total", "revived"));
        assert!(says("`too-large`", "too_large"));
        assert!(!says("requeued", "queued") && !says("lateness", "late"));
    }
}
