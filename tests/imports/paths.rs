//! The paths that a file writes to name other files of this crate.

/// Every path that begins with `crate`, `super` or `self`, or with a module that the file
/// declares; groups spread out. A path in a visibility names its module like any other.
pub fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for root in ["crate", "super", "self"] {
        for at in heads(code, root) {
            spread(&mut Vec::new(), &code[at..], &mut found);
        }
    }
    for child in children(code) {
        for at in heads(code, &child) {
            spread(&mut vec!["self".to_owned()], &code[at..], &mut found);
        }
    }
    found
}

/// The modules that the file declares, with files of their own.
pub fn children(code: &str) -> Vec<String> {
    let declared = code.match_indices("mod ").filter_map(|(at, head)| {
        if code[..at].ends_with(is_word) {
            return None;
        }
        let name = word(&code[at + head.len()..]);
        let ends = code[at + head.len() + name.len()..].starts_with(';');
        (ends && !name.is_empty()).then(|| name.to_owned())
    });
    declared.collect()
}

/// Where `name::` begins a path.
fn heads(code: &str, name: &str) -> Vec<usize> {
    let head = format!("{name}::");
    let found = code.match_indices(&head).map(|(at, _)| at);
    // `my_crate::` names something else, and `a::name::` goes on; `$crate::` is the crate.
    let starts = |at: &usize| !code[..*at].ends_with(|c| is_word(c) || [':', '.'].contains(&c));
    found.filter(starts).collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word(text: &str) -> &str {
    let text = text.trim_start();
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    &text[..end]
}

fn spread(before: &mut Vec<String>, rest: &str, found: &mut Vec<Vec<String>>) {
    let rest = rest.trim_start();
    if let Some(group) = rest.strip_prefix('{') {
        let (mut depth, mut start) = (0usize, 0);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                '}' | ',' if depth == 0 => {
                    if !group[start..i].trim().is_empty() {
                        spread(before, &group[start..i], found);
                    }
                    start = i + 1;
                    if c == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let name = match rest.starts_with('*') {
        true => "*",
        false => word(rest),
    };
    let depth = before.len();
    if !name.is_empty() {
        before.push(name.to_owned());
    }
    match rest[name.len()..].trim_start().strip_prefix("::") {
        Some(more) => spread(before, more, found),
        None => found.push(before.clone()),
    }
    before.truncate(depth);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_of_imports_sees_them() {
        let code = "use crate::queue::{Millis, Entry as E};\nuse crate::{clock, event::{self, Kind}};\n\
                    mod child;\npub use child::{One, two::*};\n\
                    fn f() { crate::cli::main(); super::super::g(); x.child::<u8>(); a::child::h() }";
        let found: Vec<_> = paths(code).iter().map(|path| path.join("::")).collect();
        assert_eq!(
            found,
            [
                "crate::queue::Millis",
                "crate::queue::Entry",
                "crate::clock",
                "crate::event::self",
                "crate::event::Kind",
                "crate::cli::main",
                "super::super::g",
                "self::child::One",
                "self::child::two::*",
            ]
        );
    }
}
