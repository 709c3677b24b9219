//! Identifiers, and the words they are made of.

use super::code::Sources;

/// Where an identifier holds a word that was given up: `file:line: identifier → what to say`.
/// `except` has a file and an identifier each.
pub fn given_up(sources: &Sources, words: &[(&str, &str)], except: &[(&str, &str)]) -> Vec<String> {
    let mut found = Vec::new();
    for (file, code) in sources {
        for (line, number) in code.lines().zip(1..) {
            for identifier in identifiers(line) {
                if except.contains(&(file.as_str(), identifier)) {
                    continue;
                }
                let word = words.iter().find(|(word, _)| holds(identifier, word));
                if let Some((_, instead)) = word {
                    found.push(format!("{file}:{number}: {identifier} → {instead}"));
                }
            }
        }
    }
    found
}

/// Every identifier of a line of code without texts and comments, lifetimes and keywords too.
fn identifiers(line: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| !c.is_alphanumeric() && c != '_';
    line.split(ends).filter(|word| !word.is_empty())
}

/// A capitalised word stands for a whole identifier, another one for some of its parts in a row.
fn holds(identifier: &str, word: &str) -> bool {
    if word.starts_with(char::is_uppercase) {
        return identifier == word;
    }
    let parts = |text: &str| {
        snake(text)
            .split('_')
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (all, some) = (parts(identifier), parts(word));
    all.windows(some.len()).any(|window| window == some)
}

/// `NoMatchKey` as `no_match_key`, and `IDSet` as `id_set`.
pub fn snake(identifier: &str) -> String {
    let mut snake = String::new();
    let mut before = None;
    let mut left = identifier.chars().peekable();
    while let Some(c) = left.next() {
        let after_word = before.is_some_and(|b: char| b.is_lowercase() || b.is_numeric());
        let before_word = left.peek().is_some_and(|next| next.is_lowercase());
        let after_capital = before.is_some_and(char::is_uppercase);
        if c.is_uppercase() && (after_word || after_capital && before_word) {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
        before = Some(c);
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &[(&str, &str)] = &[("revive", "retry"), ("set_apart", "defer"), ("Guard", "no")];

    fn found(code: &str) -> Vec<String> {
        let sources = [("a.rs".to_owned(), code.to_owned())].into();
        given_up(&sources, WORDS, &[("a.rs", "revive_old")])
    }

    #[test]
    fn a_word_that_was_given_up_is_found() {
        assert_eq!(
            found("fn x() {}\nself.revive(1)"),
            ["a.rs:2: revive → retry"]
        );
        for planted in [
            "fn revive_all() {}",
            "enum A { ReviveLetters }",
            "struct IDRevive;",
            "const SET_APART: u8 = 1;",
            "events_set_apart_total",
            "struct Guard<'a>;",
        ] {
            assert_eq!(found(planted).len(), 1, "{planted}");
        }
    }

    #[test]
    fn other_words_are_not() {
        for fine in [
            "fn retry() {}",
            "MutexGuard::map(guard, f)",
            "let set = apart;",
            "fn revive_old() {}",
            "reviver",
        ] {
            assert_eq!(found(fine), Vec::<String>::new(), "{fine}");
        }
    }
}
