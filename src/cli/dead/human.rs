//! Dead letters for people: how many, and when.

use crate::clock::Millis;

/// `n` of a thing, in words.
pub(super) fn count(n: u64) -> String {
    match n {
        1 => "1 dead letter".into(),
        n => format!("{n} dead letters"),
    }
}

/// RFC 3339, to the second.
pub(super) fn time(at: Millis) -> String {
    match jiff::Timestamp::from_second(at.div_euclid(1000)) {
        Ok(time) => time.to_string(),
        Err(_) => at.to_string(),
    }
}
