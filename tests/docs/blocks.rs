//! The fenced blocks of a page, and outputs in which `…` stands for what differs.

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// What stands behind the opening fence.
    pub kind: String,
    /// Its lines, each with its line feed.
    pub text: String,
    /// Where it opens in the page, from 1.
    pub line: usize,
}

/// The blocks of a page in order.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(page.lines()) {
        match (line.strip_prefix("```"), &mut open) {
            (Some(kind), None) => {
                open = Some(Block {
                    kind: kind.to_owned(),
                    text: String::new(),
                    line: number,
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block has no end: {open:?}");
    blocks
}

/// Whether `text` is what was told, where each `…` stands for anything, or nothing.
pub fn fits(told: &str, text: &str) -> bool {
    let mut parts = told.split('…');
    // Unwrap safety: a split has a first part.
    let Some(mut rest) = text.strip_prefix(parts.next().expect("a part")) else {
        return false;
    };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else {
            return false;
        };
        rest = behind;
    }
    rest.ends_with(last)
}

#[test]
fn an_ellipsis_stands_for_anything_and_nothing_else_does() {
    for (told, text, is) in [
        ("abc", "abc", true),
        ("abc", "abcd", false),
        ("abc…", "abcd", true),
        ("a…d", "abcd", true),
        ("a…d", "ad", true),
        ("a…d", "abde", false),
        ("…b…", "abc", true),
        ("…x…", "abc", false),
        ("a…c…c", "abc", false),
        ("", "a", false),
    ] {
        assert_eq!(fits(told, text), is, "{told:?} {text:?}");
    }
}
