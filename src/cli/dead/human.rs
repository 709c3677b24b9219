//! Dead letters for people: how many.

/// `n` of a thing, in words.
pub(super) fn count(n: u64) -> String {
    match n {
        1 => "1 dead letter".into(),
        n => format!("{n} dead letters"),
    }
}
