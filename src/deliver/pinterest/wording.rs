//! How Pinterest words its refusals: which custom keys they are about, and whether the event's
//! name.

use crate::event_name::STANDARD;

/// Which of a request's custom keys a refusal is about: those it quotes; all of them if it
/// speaks of unexpected properties and quotes none of ours; none if it speaks of something
/// else.
pub fn refused_keys(message: &str, keys: &[String]) -> Vec<String> {
    let quotes = |key: &&String| {
        ['\'', '"', '`']
            .iter()
            .any(|q| message.contains(&format!("{q}{key}{q}")))
    };
    let quoted: Vec<String> = keys.iter().filter(quotes).cloned().collect();
    if !quoted.is_empty() {
        return quoted;
    }
    let lower = message.to_lowercase();
    let about_keys = [
        "additional propert",
        "unknown propert",
        "unexpected propert",
        "was unexpected",
        "were unexpected",
    ]
    .iter()
    .any(|words| lower.contains(words));
    if about_keys {
        keys.to_vec()
    } else {
        Vec::new()
    }
}

/// Whether a refusal is about the event's name, and the name none of Pinterest's own.
pub fn blames_name(message: &str, name: &str) -> bool {
    let lower = message.to_lowercase();
    let about_name = lower.contains("event_name") || lower.contains("event name");
    // A refusal of a standard name is never the name's fault.
    about_name && !STANDARD.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_quoted_keys_or_all_or_none() {
        let keys = ["gift".to_owned(), "tier".to_owned()];
        let refused = |message| refused_keys(message, &keys);
        let live = "Additional properties are not allowed ('tier' was unexpected)";
        assert_eq!(refused(live), ["tier"]);
        assert_eq!(refused("Additional properties are not allowed"), keys);
        assert!(refused("'USDX' is not a currency").is_empty());
        assert!(refused("tiers are odd").is_empty());
    }
}
