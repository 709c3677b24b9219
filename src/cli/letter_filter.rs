//! `--reason`, `--event` and the others: which dead letters a command is about.

use clap::builder::PossibleValuesParser;

use super::since::moment;
use crate::clock::Millis;
use crate::queue::DeadReason;

/// Which letters; all that are given have to hold. None: all letters.
#[derive(clap::Args, Debug, Clone, Default)]
pub(super) struct FilterArgs {
    /// Dead for this reason.
    #[arg(long, value_parser = PossibleValuesParser::new(DeadReason::ALL.map(DeadReason::name)))]
    reason: Option<String>,
    /// Whose event (`Order Completed`) or type (`page`) is this.
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Died then or later: 15:00, 2026-01-31, both, or how long ago, like 2h.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    since: Option<Millis>,
    /// Died before, in the same words.
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    until: Option<Millis>,
    /// With this text in the message.
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// The one with this messageId or, if there is none, with this number.
    #[arg(long, value_name = "MESSAGE_ID or NUMBER")]
    id: Option<String>,
}

impl FilterArgs {
    /// The one letter with this messageId or number.
    pub(super) fn of(id: &str) -> Self {
        Self {
            id: Some(id.to_owned()),
            ..Self::default()
        }
    }

    /// The same, and the one letter with this messageId or number if it is given.
    pub fn with_id(&self, id: Option<&str>) -> Self {
        let mut filter = self.clone();
        filter.id = id.map(str::to_owned).or(filter.id);
        filter
    }

    /// Whether it means all letters.
    pub(super) fn is_empty(&self) -> bool {
        self.query(None, None).is_empty()
    }

    /// As the admin socket reads it, with numbers from `after` up to `to`.
    pub(super) fn query(&self, after: Option<u64>, to: Option<u64>) -> String {
        let number = |number: Option<u64>| number.map(|n| n.to_string());
        let millis = |time: Option<Millis>| time.map(|t| t.to_string());
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (key, value) in [
            ("reason", self.reason.clone()),
            ("event", self.event.clone()),
            ("since", millis(self.since)),
            ("until", millis(self.until)),
            ("message", self.message.clone()),
            ("id", self.id.clone()),
            ("after", number(after)),
            ("to", number(to)),
        ] {
            if let Some(value) = value {
                query.append_pair(key, &value);
            }
        }
        query.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_asked_for_and_nothing_else() {
        let filter = FilterArgs {
            event: Some("Order & more".into()),
            ..FilterArgs::default()
        };
        assert_eq!(filter.query(None, None), "event=Order+%26+more");
        assert_eq!(
            FilterArgs::of("m 1").query(Some(1), Some(9)),
            "id=m+1&after=1&to=9"
        );
    }
}
