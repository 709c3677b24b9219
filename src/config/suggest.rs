//! What somebody may have meant by a key that is none.

/// `"; did you mean …?"` if something known is close enough to be a slip of the hand.
pub(super) fn suggestion<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> String {
    let distance = |word: &str| {
        strsim::damerau_levenshtein(&written.to_ascii_lowercase(), &word.to_ascii_lowercase())
    };
    known
        .map(|word| (distance(word), word))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, word)| *distance <= 1 + word.len() / 4)
        .map_or_else(String::new, |(_, word)| format!("; did you mean `{word}`?"))
}
