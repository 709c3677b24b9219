//! What the stand-in does besides answering well: command-line flags and control API alike.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the stand-in behaves. The field names are the keys of `/_control/mode`; the flags are
/// the same names with dashes.
#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Milliseconds to wait before each answer.
    #[arg(long, default_value_t = 0)]
    pub latency_ms: u64,
    /// Only this Bearer token is let in (401, code 2, otherwise); without it any token is.
    #[arg(long)]
    pub token: Option<String>,
    /// Only this ad account exists (404, code 2, otherwise); without it any does.
    #[arg(long)]
    pub ad_account: Option<String>,

    /// Instead of a good answer: a status from 300 to 599, or one of reset, close, silent,
    /// trickle, short-list, long-list, odd-status, unreadable.
    #[arg(long)]
    pub fault: Option<Fault>,
    /// Only the first so many event requests since this was set meet the fault.
    #[arg(long)]
    pub fault_first: Option<u64>,
    /// Only requests whose body contains this text meet the fault.
    #[arg(long, value_name = "TEXT")]
    pub fault_containing: Option<String>,
    /// The probability, 0 to 1, with which a request meets the fault.
    #[arg(long, default_value_t = 1.0)]
    pub fault_probability: f64,
    /// Seed of that probability's draws.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The events of a request that meets a fault are processed all the same: the client
    /// cannot know.
    #[arg(long)]
    pub fault_processed: bool,
    /// `message` of a status fault instead of the usual one.
    #[arg(long)]
    pub fault_message: Option<String>,
    /// `code` of a status fault instead of the usual one.
    #[arg(long)]
    pub fault_code: Option<i64>,
    /// The body of a status fault is an HTML page with this title, as a gateway's is.
    #[arg(long, value_name = "TITLE")]
    pub fault_page: Option<String>,
    /// `Retry-After` of a status fault, in seconds.
    #[arg(long)]
    pub retry_after: Option<u64>,
    /// `X-RateLimit-Reset` of a status fault, in seconds.
    #[arg(long)]
    pub rate_limit_reset: Option<u64>,
    /// Every answer says in its headers that no call is left for so many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub no_calls_left: Option<u64>,
    /// Milliseconds between the bytes of a trickled answer.
    #[arg(long, default_value_t = 20)]
    pub trickle_ms: u64,

    /// Refuse every event.
    #[arg(long)]
    pub refuse_all: bool,
    /// Refuse the events with these event_ids.
    #[arg(long, value_name = "EVENT_ID")]
    pub refuse_event_ids: Vec<String>,
    /// Refuse the events with these event_names.
    #[arg(long, value_name = "EVENT_NAME")]
    pub refuse_names: Vec<String>,
    /// Refuse the events whose JSON, written without spaces, contains this text.
    #[arg(long, value_name = "TEXT")]
    pub refuse_containing: Option<String>,
    /// How to refuse them: the events alone, or the whole request with a 400.
    #[arg(long, value_enum, default_value_t = RefuseAs::Failed)]
    pub refuse_as: RefuseAs,
    /// What is said of refused events.
    #[arg(long, default_value = REFUSAL)]
    pub refuse_message: String,
    /// Status of an answer in which some events failed and some did not: 200 or 422.
    #[arg(long, default_value_t = 200, value_parser = list_status)]
    pub mixed_status: u16,
    /// Status of an answer in which every event failed: 200 or 422.
    #[arg(long, default_value_t = 422, value_parser = list_status)]
    pub all_failed_status: u16,

    /// Count which fields the processed events of each name have, for `/_control/fields`.
    #[arg(long)]
    pub count_fields: bool,

    /// Leave the counters out of answers: they will go, Pinterest says of null fields.
    #[arg(long)]
    pub without_counters: bool,
    /// Leave out messages that say nothing.
    #[arg(long)]
    pub without_messages: bool,
    /// What becomes of an event_name that is not a standard one.
    #[arg(long, value_enum, default_value_t = Names::Warning)]
    pub nonstandard_names: Names,
    /// What becomes of custom_data keys outside the schema.
    #[arg(long, value_enum, default_value_t = CustomKeys::Refuse)]
    pub custom_keys: CustomKeys,
    /// Answer 413 to longer bodies.
    #[arg(long)]
    pub max_body_bytes: Option<usize>,
    /// An event_time further ahead of the clock than this fails.
    #[arg(long)]
    pub max_ahead_seconds: Option<u64>,
    /// Calls a minute before a 429; also gives every answer the X-RateLimit headers.
    #[arg(long)]
    pub calls_per_minute: Option<u64>,
    /// Calls a second before a 429 in test mode.
    #[arg(long, default_value_t = 10)]
    pub test_calls_per_second: u64,
    /// Seconds added to the clock for the `Date` header.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub date_offset_seconds: i64,
}

const REFUSAL: &str = "The event was refused";

impl Default for Switches {
    fn default() -> Self {
        Self {
            latency_ms: 0,
            token: None,
            ad_account: None,
            fault: None,
            fault_first: None,
            fault_containing: None,
            fault_probability: 1.0,
            seed: 1,
            fault_processed: false,
            fault_message: None,
            fault_code: None,
            fault_page: None,
            retry_after: None,
            rate_limit_reset: None,
            no_calls_left: None,
            trickle_ms: 20,
            refuse_all: false,
            refuse_event_ids: Vec::new(),
            refuse_names: Vec::new(),
            refuse_containing: None,
            refuse_as: RefuseAs::Failed,
            refuse_message: REFUSAL.into(),
            mixed_status: 200,
            all_failed_status: 422,
            count_fields: false,
            without_counters: false,
            without_messages: false,
            nonstandard_names: Names::Warning,
            custom_keys: CustomKeys::Refuse,
            max_body_bytes: None,
            max_ahead_seconds: None,
            calls_per_minute: None,
            test_calls_per_second: 10,
            date_offset_seconds: 0,
        }
    }
}

impl Switches {
    /// Whether the refuse switches name this event.
    pub fn refuses(&self, event_id: &str, event_name: &str, json: &str) -> bool {
        self.refuse_all
            || self.refuse_event_ids.iter().any(|id| id == event_id)
            || self.refuse_names.iter().any(|name| name == event_name)
            || self
                .refuse_containing
                .as_deref()
                .is_some_and(|text| json.contains(text))
    }
}

fn list_status(text: &str) -> Result<u16, String> {
    match text {
        "200" => Ok(200),
        "422" => Ok(422),
        _ => Err("200 or 422".into()),
    }
}

/// What a request meets instead of a good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Fault {
    /// This status with Pinterest's body for it; 3xx with a `Location`.
    Status(u16),
    /// The connection is reset after the body was read.
    Reset,
    /// The connection is closed after the body was read.
    Close,
    /// No answer, the connection stays open.
    Silent,
    /// A good answer, byte by byte.
    Trickle,
    /// A 200 whose list lacks its last entry.
    ShortList,
    /// A 200 whose list has an entry too many.
    LongList,
    /// A 200 in which each event has a status that nobody knows.
    OddStatus,
    /// A 200 whose body breaks off within the JSON.
    Unreadable,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "reset" => Self::Reset,
            "close" => Self::Close,
            "silent" => Self::Silent,
            "trickle" => Self::Trickle,
            "short-list" => Self::ShortList,
            "long-list" => Self::LongList,
            "odd-status" => Self::OddStatus,
            "unreadable" => Self::Unreadable,
            _ => match text.parse() {
                Ok(status @ 300..=599) => Self::Status(status),
                _ => {
                    return Err(
                        "a status from 300 to 599, or reset, close, silent, trickle, short-list, \
                         long-list, odd-status, unreadable"
                            .into(),
                    );
                }
            },
        })
    }
}

impl TryFrom<String> for Fault {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status(status) => return write!(f, "{status}"),
            Self::Reset => "reset",
            Self::Close => "close",
            Self::Silent => "silent",
            Self::Trickle => "trickle",
            Self::ShortList => "short-list",
            Self::LongList => "long-list",
            Self::OddStatus => "odd-status",
            Self::Unreadable => "unreadable",
        })
    }
}

/// How the refuse switches refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefuseAs {
    /// `failed` at the event's position.
    Failed,
    /// 400, code 4196, for the whole request.
    Request,
}

/// What becomes of a non-standard event_name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Names {
    /// Processed, with a warning.
    Warning,
    /// Failed.
    Failed,
}

/// What becomes of unknown custom_data keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CustomKeys {
    /// 400 for the whole request, as the published schema says.
    Refuse,
    /// Taken.
    Accept,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        switches: Switches,
    }

    #[test]
    fn flags_and_json_share_defaults_and_names() {
        let flags = Flags::try_parse_from(["mock"]).expect("no flags");
        assert_eq!(flags.switches, Switches::default());
        let json = serde_json::to_value(Switches::default()).expect("json");
        let back: Switches = serde_json::from_value(json).expect("back");
        assert_eq!(back, Switches::default());
        let same: Switches =
            serde_json::from_str(r#"{"fault":"503","fault_first":3,"custom_keys":"accept"}"#)
                .expect("json");
        let flags = Flags::try_parse_from([
            "mock",
            "--fault",
            "503",
            "--fault-first=3",
            "--custom-keys",
            "accept",
        ])
        .expect("flags");
        assert_eq!(flags.switches, same);
    }

    #[test]
    fn unknown_switches_and_faults_are_refused() {
        assert!(serde_json::from_str::<Switches>(r#"{"latency":3}"#).is_err());
        assert!(serde_json::from_str::<Switches>(r#"{"fault":"200"}"#).is_err());
        assert!("600".parse::<Fault>().is_err());
        assert!("resett".parse::<Fault>().is_err());
        for fault in [
            "404",
            "reset",
            "close",
            "silent",
            "trickle",
            "short-list",
            "long-list",
            "unreadable",
        ] {
            assert_eq!(
                fault.parse::<Fault>().map(|f| f.to_string()),
                Ok(fault.into())
            );
        }
    }
}
