//! The Pinterest Tag beside us: names that differ make Pinterest count an event twice.

use super::finding::Finding::{self, Advice, Fine};
use crate::config::{Config, TagKind};
use crate::transform::Transform;

/// What differs, each with the line that cures it.
pub(super) fn findings(config: &Config, transform: &Transform) -> Vec<Finding> {
    let tag = match config.pinterest.tag {
        TagKind::None => return Vec::new(),
        TagKind::Custom if config.tag_names.is_empty() => {
            let text = "tag = \"custom\", and nothing can be compared: say under [tag_names] what the \
                        Tag calls each event, like \"Product Viewed\" = \"ViewContent\"";
            return vec![Advice(text.into())];
        }
        TagKind::Custom => "the Tag",
        TagKind::Chord => "Chord's Tag",
    };
    let unlike = transform.unlike_tag();
    if unlike.is_empty() {
        let text = "the Pinterest Tag gives the same names to events: what both send counts once";
        return vec![Fine(text.into())];
    }
    let said = unlike.into_iter().map(|unlike| {
        Advice(format!(
            "{tag} sends {:?} as {:?}, and it goes out here as {:?}: Pinterest counts it twice. Under \
             [event_names], the line for one name: {}{}",
            unlike.event,
            unlike.tag,
            unlike.here,
            unlike.cure(),
            match unlike.is_costly() {
                true => format!(
                    " (a custom event then; if the Tag can be made to send {} instead, do that)",
                    unlike.here
                ),
                false => String::new(),
            }
        ))
    });
    said.collect()
}
