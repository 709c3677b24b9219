//! What the routes share.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::command::Command;
use super::report::Report;
use crate::clock::{Clock, Millis, WallTrust};
use crate::note::Note;
use crate::observe::Observer;
use crate::queue::{Queue, Whose};

/// Makes a report of this moment.
pub type Source =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Report> + Send>> + Send + Sync + 'static>;

/// Whom a request is about.
pub enum Person {
    /// By an address.
    Email(String),
    /// By a `userId`.
    UserId(String),
}

/// Says by the config in effect whose events are meant; `None` where the name holds nothing.
pub type Persons = Arc<dyn Fn(Person) -> Option<Whose> + Send + Sync>;

/// What of a stored line cannot be read as it stands, by the config of this moment: the line, when it
/// was accepted (Unix milliseconds), its event_time (Unix seconds).
pub type Noting = Arc<dyn Fn(&[u8], Millis, i64) -> Vec<Note> + Send + Sync>;

/// The settings that advice is about.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `catalog.content_id`.
    pub content_ids: Vec<String>,
    /// `user_data.default_user_agent`.
    pub default_user_agent: Option<String>,
    /// What the Pinterest Tag names otherwise.
    pub unlike_tag: Vec<UnlikeTag>,
}

/// An event that the Tag beside us sends under another name.
#[derive(Debug, Clone, Default)]
pub struct UnlikeTag {
    /// Chord's name.
    pub event: String,
    /// The event_name here.
    pub here: String,
    /// The Tag's.
    pub tag: String,
    /// The line under `[event_names]` that gives both one name.
    pub cure: String,
    /// Whether that costs a name that Pinterest knows.
    pub is_costly: bool,
}

/// The settings that advice on match quality is about, as they are at this moment.
pub type Advised = Arc<dyn Fn() -> Settings + Send + Sync>;

/// What every route works on: all that one may ask or change.
#[derive(Clone)]
pub struct AdminState {
    /// The queue.
    pub queue: Queue,
    /// What the parts have told.
    pub observer: Observer,
    /// Reports.
    pub report: Source,
    /// The time.
    pub clock: Clock,
    /// Whether it is believed.
    pub trust: WallTrust,
    /// Whose events are meant by a name.
    pub persons: Persons,
    /// What of an event cannot be read as it stands.
    pub noting: Noting,
    /// The settings that advice is about.
    pub advised: Advised,
    /// What only the daemon's own loop can do.
    pub commands: mpsc::UnboundedSender<Command>,
}
