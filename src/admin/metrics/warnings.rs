//! Pinterest's warnings by kind, as a label: from a fixed list, so that no text of an answer
//! becomes one.

use std::collections::BTreeMap;

/// Fields of an event that a warning may speak of; what speaks of none is `other`.
const KINDS: [&str; 14] = [
    "event_name",
    "event_time",
    "event_id",
    "action_source",
    "external_id",
    "click_id",
    "partner_id",
    "client_ip_address",
    "client_user_agent",
    "user_data",
    "custom_data",
    "currency",
    "value",
    "content_ids",
];
const OTHER: &str = "other";

/// How often each kind came, every kind named. `warnings`: by normalised text.
pub(super) fn by_kind(warnings: &BTreeMap<String, u64>) -> BTreeMap<&'static str, u64> {
    let mut kinds: BTreeMap<_, _> = KINDS.iter().map(|kind| (*kind, 0)).collect();
    kinds.insert(OTHER, 0);
    for (text, count) in warnings {
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        let named = words.filter_map(|word| KINDS.iter().find(|kind| **kind == word));
        let kind = named.copied().next().unwrap_or(OTHER);
        *kinds.entry(kind).or_default() += count;
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_counts_under_the_field_that_it_names() {
        let warnings = [
            ("external_id is missing", 3),
            ("'external_id' is missing.", 4),
            ("click_id is missing", 5),
            ("someone@mail.example is odd", 6),
        ];
        let warnings = warnings.map(|(text, count)| (text.to_owned(), count));
        let kinds = by_kind(&warnings.into());
        assert_eq!((kinds["external_id"], kinds["click_id"]), (7, 5));
        assert_eq!((kinds[OTHER], kinds["event_name"]), (6, 0));
        assert_eq!(kinds.len(), KINDS.len() + 1);
    }
}
