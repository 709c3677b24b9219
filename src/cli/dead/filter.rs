//! `--reason`, `--event` and the others: which letters a verb is about.

use clap::builder::PossibleValuesParser;

use crate::clock::Clock;
use crate::clock::Millis;
use crate::config;
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
    /// Died then or later: RFC 3339, or how long ago, like 2h.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Millis>,
    /// Died before: RFC 3339, or how long ago, like 2h.
    #[arg(long, value_name = "TIME", value_parser = time)]
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

/// A moment: RFC 3339, or as long ago as this.
fn time(text: &str) -> Result<Millis, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let ago = config::parse_duration(text).map_err(|_| {
        "RFC 3339 like 2026-01-31T18:00:00Z, or how long ago, like 30m, 2h or 7d".to_owned()
    })?;
    let ago = Millis::try_from(ago.as_millis()).unwrap_or(Millis::MAX);
    Ok(Clock::system().now().saturating_sub(ago))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moments_or_spans_back() {
        assert_eq!(time("2026-01-31T18:00:00Z"), Ok(1_769_882_400_000));
        assert_eq!(time("2026-01-31T18:00:00+01:00"), Ok(1_769_878_800_000));
        let before = Clock::system().now();
        let since = time("2h").unwrap() + 7_200_000;
        assert!((before..=Clock::system().now()).contains(&since));
        for bad in ["", "yesterday", "2", "2026-01-31"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

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
