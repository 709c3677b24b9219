//! The code of a source: comments gone, and what is compiled for its tests alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Sources by path, from `src` on: `queue/mod.rs`.
pub type Sources = BTreeMap<String, String>;

/// The whole of `src` but `main.rs`, which is a crate of its own.
pub fn sources() -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Sources::new();
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the package") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(&root).expect("below it");
                let text = fs::read_to_string(&path).expect("a source");
                sources.insert(name.to_string_lossy().into_owned(), text);
            }
        }
    }
    sources.remove("main.rs");
    assert!(sources.len() > 40, "the sources are not where they were");
    sources
}

/// Without the files that only tests are compiled from: those may use what they like.
pub fn without_tests(sources: &Sources) -> Sources {
    let files = sources.iter();
    let files = files.filter(|(name, _)| !is_for_tests(name));
    files.map(|(n, text)| (n.clone(), text.clone())).collect()
}

/// Folders and files that are named `tests`, or end so.
fn is_for_tests(name: &str) -> bool {
    let mut parts = name.split('/').map(|part| part.trim_end_matches(".rs"));
    parts.any(|part| part == "tests" || part.ends_with("_tests") || part == "fixture")
}

/// The code with its texts in it: what the reader of a message may see counts.
pub fn with_texts(source: &str) -> String {
    cut(source, false)
}

/// The code with its texts emptied: what stands in them names nothing.
pub fn without_texts(source: &str) -> String {
    cut(source, true)
}

fn cut(source: &str, texts: bool) -> String {
    let bare = blanked(source, true);
    let mut code = blanked(source, texts).into_bytes();
    for (from, to) in test_items(&bare) {
        code[from..to].fill(b' ');
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// Comments made blank and, if `texts` are too, what stands between quotes. The length stays.
fn blanked(source: &str, texts: bool) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let after_word = at > 0 && is_word(bytes[at - 1]);
        let (length, blank) = if rest.starts_with(b"//") {
            let end = rest.iter().position(|b| *b == b'\n');
            (end.unwrap_or(rest.len()), true)
        } else if rest.starts_with(b"/*") {
            (block_comment(rest), true)
        } else if let Some(length) = raw_text(rest).filter(|_| !after_word) {
            (length, texts)
        } else if rest[0] == b'"' {
            (text(rest, b'"'), texts)
        } else if let Some(length) = character(rest).filter(|_| !after_word) {
            (length, texts)
        } else {
            (1, false)
        };
        if blank {
            let gone = out[at..at + length].iter_mut().filter(|b| **b != b'\n');
            gone.for_each(|b| *b = b' ');
        }
        at += length;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// They nest.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// From a quote to the one that ends it.
fn text(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// `r"…"`, `br#"…"#` and the like.
fn raw_text(rest: &[u8]) -> Option<usize> {
    let letters = rest.iter().take_while(|b| b"bcr".contains(*b)).count();
    let hashes = rest[letters..].iter().take_while(|b| **b == b'#').count();
    let start = letters + hashes;
    if !rest[..letters].ends_with(b"r") || rest.get(start) != Some(&b'"') {
        return None;
    }
    let end = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = &rest[start + 1..];
    let found = body.windows(end.len()).position(|w| w == end);
    Some(found.map_or(rest.len(), |found| start + 1 + found + end.len()))
}

/// `'x'`, and no lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    if rest[0] != b'\'' {
        return None;
    }
    if rest.get(1) == Some(&b'\\') {
        return Some(text(rest, b'\''));
    }
    // One character, of up to four bytes.
    (3..=6).find(|end| {
        rest.get(end - 1) == Some(&b'\'')
            && std::str::from_utf8(&rest[1..end - 1]).is_ok_and(|c| c.chars().count() == 1)
    })
}

/// Where the items stand that `#[cfg(test)]` is written over.
fn test_items(bare: &str) -> Vec<(usize, usize)> {
    const MARK: &str = "#[cfg(test)]";
    let found = bare.match_indices(MARK);
    let items = found.filter_map(|(at, _)| Some((at, item_end(bare, at + MARK.len())?)));
    items.collect()
}

/// The end of the item that begins here, other attributes before it. `None`: it is none.
fn item_end(bare: &str, mut at: usize) -> Option<usize> {
    let bytes = bare.as_bytes();
    loop {
        at += bytes[at..]
            .iter()
            .take_while(|b| b.is_ascii_whitespace())
            .count();
        if !bytes[at..].starts_with(b"#[") {
            break;
        }
        at += bare[at..].find(']')? + 1;
    }
    const ITEMS: [&str; 12] = [
        "mod", "use", "fn", "impl", "struct", "enum", "const", "static", "type", "trait", "async",
        "unsafe",
    ];
    let mut rest = bare[at..].trim_start();
    if let Some(visible) = rest.strip_prefix("pub") {
        rest = visible.trim_start();
        if rest.starts_with('(') {
            rest = rest[rest.find(')')? + 1..].trim_start();
        }
    }
    let mut kind = rest.split(|c: char| !c.is_alphanumeric()).next()?;
    if kind == "const" && is_const_fn(rest) {
        kind = "fn";
    }
    if !ITEMS.contains(&kind) {
        return None;
    }
    let mut depth = 0usize;
    for (i, byte) in bytes.iter().enumerate().skip(at) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 && !["use", "const", "static"].contains(&kind) {
                    return Some(i + 1);
                }
            }
            b';' if depth == 0 => return Some(i + 1),
            _ => {}
        }
    }
    None
}

/// `const fn`, `const unsafe fn` and the like.
fn is_const_fn(item: &str) -> bool {
    let before_name = item.split(['(', ':', '=', ';']).next().unwrap_or_default();
    before_name.split_whitespace().any(|word| word == "fn")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_for_tests_by_a_whole_part_of_its_name() {
        for name in ["a/tests/b.rs", "a/tests.rs", "a/b_tests.rs", "a/fixture.rs"] {
            assert!(is_for_tests(name), "{name}");
        }
        for name in ["a/contests.rs", "a/tests_of.rs", "attests/b.rs"] {
            assert!(!is_for_tests(name), "{name}");
        }
    }

    #[test]
    fn a_function_that_is_const_ends_with_its_body() {
        let code =
            without_texts("#[cfg(test)]\npub const fn z() {}\nuse crate::a;\nconst X: u8 = 1;");
        assert!(code.contains("crate::a"), "{code}");
        let code = without_texts("#[cfg(test)]\nconst Z: fn() = f;\nuse crate::a;");
        assert!(
            code.contains("crate::a") && !code.contains("const Z"),
            "{code}"
        );
    }

    #[test]
    fn comments_texts_and_tests_are_cut_and_nothing_else() {
        let source = r##"
//! crate::a
use crate::b; /* crate::c /* nested */ crate::c */
const T: &str = "crate::d \" // no comment";
const R: &str = r#"crate::e " "#;
const C: [char; 2] = ['"', '\''];
fn f<'a>(x: &'a str) { crate::g() }
#[cfg(test)]
use crate::h::{i, j};
#[cfg(test)]
#[path = "x.rs"]
mod tests;
impl X {
    #[cfg(test)]
    pub(in crate::k) fn only() { if true { crate::l() } }
    fn kept() { crate::m() }
}
#[cfg(test)]
mod tests { use crate::n; }
use crate::o;
"##;
        let code = without_texts(source);
        for kept in ["b", "g", "m", "o"] {
            assert!(code.contains(&format!("crate::{kept}")), "{kept}: {code}");
        }
        assert_eq!(code.matches("crate::").count(), 4, "{code}");
        let texts = with_texts(source);
        for kept in ["b", "d", "e", "g", "m", "o"] {
            assert!(texts.contains(&format!("crate::{kept}")), "{kept}: {texts}");
        }
        assert_eq!(texts.matches("crate::").count(), 6, "{texts}");
    }
}
