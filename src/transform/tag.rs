//! The Pinterest Tag beside us: which of the events that both send Pinterest will count twice.
//!
//! Two events are one to Pinterest if event_id **and** event_name are the same. Chord gives both
//! senders the messageId; the names are each sender's own, and where they differ the sale is counted
//! twice.

use super::envelope::Names;
use super::options::Tag;
use crate::event::Kind;
use crate::event_name::standard;

/// Names that Chord's destination for the Tag gives to tracks; any other goes as it is. From Chord's
/// documentation of that destination.
const CHORD: [(&str, &str); 5] = [
    ("Order Completed", "Checkout"),
    ("Product Added", "AddToCart"),
    ("Products Searched", "Search"),
    ("Product List Viewed", "ViewCategory"),
    ("Products List Filtered", "Search"),
];

/// Tracks that Chord has a name for in either destination.
const CHORD_TRACKS: [&str; 8] = [
    "Order Completed",
    "Checkout Started",
    "Product Added",
    "Product Viewed",
    "Products Searched",
    "Product Added to Wishlist",
    "Product List Viewed",
    "Products List Filtered",
];

/// An event that goes out under two names, and so counts twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlike {
    /// The track's event, as it is known.
    pub event: String,
    /// The event_name that it has here.
    pub here: String,
    /// The name that the Tag gives to it.
    pub tag: String,
}

impl Unlike {
    /// The line under `[event_names]` with which both have one name.
    pub fn cure(&self) -> String {
        let name = standard(&self.tag).unwrap_or(&self.tag);
        // JSON's strings are TOML's as well.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        format!("{} = {}", quoted(&self.event), quoted(name))
    }

    /// Whether the cure costs a name that Pinterest knows.
    pub fn is_costly(&self) -> bool {
        standard(&self.tag).is_none() && standard(&self.here).is_some()
    }
}

impl Tag {
    /// The tracks that the Tag and `names` send under different names.
    pub(super) fn unlike(&self, names: &Names) -> Vec<Unlike> {
        let known = |event: &str| event.trim().to_lowercase();
        let mut events: Vec<&str> = match self {
            Self::None => return Vec::new(),
            Self::Chord => CHORD_TRACKS.to_vec(),
            Self::Custom(named) => named.iter().map(|(event, _)| event.as_str()).collect(),
        };
        // Whatever the config renames goes as it is in Chord's Tag.
        if *self == Self::Chord {
            let is_known = |event: &&str| CHORD_TRACKS.iter().any(|of| known(of) == known(event));
            events.extend(names.configured().filter(|event| !is_known(event)));
        }
        let unlike = events.into_iter().filter_map(|event| {
            let here = names.wire(Kind::Track, event);
            let tag = self.name(event);
            let is_one = match standard(tag) {
                Some(name) => standard(&here) == Some(name),
                None => *here == *tag,
            };
            (!is_one).then(|| Unlike {
                event: event.trim().to_owned(),
                here: here.to_string(),
                tag: tag.to_owned(),
            })
        });
        unlike.collect()
    }

    /// What the Tag calls a track.
    fn name<'n>(&'n self, event: &'n str) -> &'n str {
        let is = |from: &str| from.trim().to_lowercase() == event.trim().to_lowercase();
        let found = match self {
            Self::None => None,
            Self::Chord => (CHORD.iter()).find_map(|(from, to)| is(from).then_some(*to)),
            Self::Custom(named) => {
                (named.iter()).find_map(|(from, to)| is(from).then_some(to.as_str()))
            }
        };
        found.unwrap_or(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unlike(tag: &Tag, event_names: &[(&str, &str)]) -> Vec<Unlike> {
        let owned = |(from, to): &(&str, &str)| ((*from).to_owned(), (*to).to_owned());
        let names: Vec<_> = event_names.iter().map(owned).collect();
        tag.unlike(&Names::new(&names).unwrap())
    }

    #[test]
    fn the_five_that_chord_spells_apart_and_the_lines_that_cure_them() {
        let found = unlike(&Tag::Chord, &[]);
        let told = found
            .iter()
            .map(|of| (of.here.as_str(), of.tag.as_str(), of.cure(), of.is_costly()));
        let cure = str::to_owned;
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                (
                    "initiate_checkout",
                    "Checkout Started",
                    cure(r#""Checkout Started" = "Checkout Started""#),
                    true
                ),
                (
                    "view_content",
                    "Product Viewed",
                    cure(r#""Product Viewed" = "Product Viewed""#),
                    true
                ),
                (
                    "add_to_wishlist",
                    "Product Added to Wishlist",
                    cure(r#""Product Added to Wishlist" = "Product Added to Wishlist""#),
                    true
                ),
                (
                    "Product List Viewed",
                    "ViewCategory",
                    cure(r#""Product List Viewed" = "view_category""#),
                    false
                ),
                (
                    "Products List Filtered",
                    "Search",
                    cure(r#""Products List Filtered" = "search""#),
                    false
                ),
            ]
        );
        let cured = [
            ("checkout started", "Checkout Started"),
            (" Product Viewed", "Product Viewed"),
            ("Product Added to Wishlist", "Product Added to Wishlist"),
            ("Product List Viewed", "view_category"),
            ("Products List Filtered", "search"),
        ];
        assert_eq!(unlike(&Tag::Chord, &cured), []);
        assert_eq!(unlike(&Tag::None, &[]), []);
    }

    #[test]
    fn what_the_config_renames_goes_as_it_is_in_chords_tag() {
        let found = unlike(
            &Tag::Chord,
            &[("Signed Up", "signup"), ("Order Completed", "lead")],
        );
        let has = |event: &str, tag: &str, cure: &str| {
            let found = found.iter().find(|of| of.event == event).unwrap();
            assert_eq!((found.tag.as_str(), found.cure()), (tag, cure.to_owned()));
        };
        has("Signed Up", "Signed Up", r#""Signed Up" = "Signed Up""#);
        has(
            "Order Completed",
            "Checkout",
            r#""Order Completed" = "checkout""#,
        );
        assert_eq!(found.len(), 7);
    }

    #[test]
    fn another_tag_is_compared_by_its_own_names() {
        let tag = |names: &[(&str, &str)]| {
            let owned = |(from, to): &(&str, &str)| ((*from).to_owned(), (*to).to_owned());
            Tag::Custom(names.iter().map(owned).collect())
        };
        let same = [
            (" product viewed ", "viewContent"),
            ("Ring Sized", "Ring Sized"),
        ];
        assert_eq!(unlike(&tag(&same), &[]), []);
        let found = unlike(&tag(&[("Ring Sized", "ring sized\"")]), &[]);
        // A custom name is one byte for byte.
        assert_eq!(found[0].here, "Ring Sized");
        assert_eq!(found[0].cure(), r#""Ring Sized" = "ring sized\"""#);
    }
}
