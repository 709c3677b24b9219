//! The log: for people on a terminal, for journald under systemd, otherwise as JSON lines. Repeats
//! are folded ([`super::fold`]); a thread of its own writes ([`super::sink`]).

use std::env::VarError;
use std::fmt;
use std::io::{self, IsTerminal, Write as _};
use std::sync::OnceLock;
use std::time::Duration;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

use super::fold::Fold;
use super::journal::{Fields, Journal, priority};
use super::sink::{Line, Sink};

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// By where stderr leads.
    Auto,
    /// Time, level, text.
    Human,
    /// The journal's own protocol; where no journal listens, lines with a priority in front.
    Journald,
    /// One object per line.
    Json,
}

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the log cannot be set up: {0}; see RUST_LOG and [log] level")]
pub struct LogError(String);

/// This process' log, once there is one.
static SINK: OnceLock<Sink> = OnceLock::new();

/// Sends the log to stderr or the journal from here on. `RUST_LOG` overrides `level`.
///
/// # Errors
/// A filter that cannot be read, a second call, or no thread to write it.
pub fn init(level: &str, format: LogFormat) -> Result<(), LogError> {
    let filter = filter(level)?;
    let sink = Sink::default();
    let lines = tracing_subscriber::fmt::layer().with_writer({
        let sink = sink.clone();
        move || Line::new(&sink)
    });
    let format = resolve(format);
    let journal = match format {
        LogFormat::Journald => Journal::connect().ok(),
        _ => None,
    };
    let shown: Box<dyn Layer<_> + Send + Sync> = match (format, &journal) {
        (LogFormat::Journald, Some(_)) => Fields(sink.clone()).boxed(),
        // stderr may lead there all the same.
        (LogFormat::Journald, None) => lines.event_format(Prefixed).boxed(),
        (LogFormat::Json, _) => lines.json().flatten_event(true).with_target(false).boxed(),
        _ => lines
            .with_target(false)
            .with_ansi(io::stderr().is_terminal())
            .boxed(),
    };
    let started = match journal {
        Some(mut journal) => sink.start(move |event| journal.send(event), tell_dropped),
        None => sink.start(|line| io::stderr().write_all(line), tell_dropped),
    };
    started.map_err(|e| LogError(e.to_string()))?;
    let log = tracing_subscriber::registry()
        .with(shown)
        .with(Fold::new())
        .with(filter_fn(may_say))
        .with(filter);
    log.try_init().map_err(|e| LogError(e.to_string()))?;
    let _ = SINK.set(sink);
    std::panic::set_hook(Box::new(|panic| {
        // A bug; the text of the panic may quote data, its place may not.
        let place = panic
            .location()
            .map_or_else(String::new, ToString::to_string);
        if place.contains("/sled-0.") {
            // How the embedded database meets damage; who reads from it tells what it means.
            tracing::warn!("the embedded database gave up at {place}");
            return;
        }
        tracing::error!("a bug: panicked at {place}");
    }));
    Ok(())
}

/// Whether [`init`] could read its filter.
///
/// # Errors
/// As [`init`].
pub fn check_filter(level: &str) -> Result<(), LogError> {
    filter(level).map(|_| ())
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => filter,
        Err(VarError::NotUnicode(_)) => return Err(LogError("RUST_LOG is not UTF-8".into())),
        // The libraries' own chatter is theirs to ask for.
        _ => format!("warn,pinrelay={level}"),
    };
    EnvFilter::try_new(filter).map_err(|e| LogError(e.to_string()))
}

/// Waits until what was logged is written, `limit` at most: its reader may take nothing.
pub fn flush(limit: Duration) {
    if let Some(sink) = SINK.get() {
        sink.flush(limit);
    }
}

/// Lines of the log that nobody will see, since the start.
pub fn dropped() -> u64 {
    SINK.get().map_or(0, Sink::dropped)
}

fn tell_dropped(number: u64) {
    tracing::warn!(
        "{number} lines of the log were dropped: whoever reads it (stderr, or the journal) did not \
         take them in time"
    );
}

/// What of the libraries may be logged at all, whatever is asked for: below `info` the embedded
/// database tells the bytes that it stores, which are events and the key of the id hashes.
fn may_say(what: &Metadata<'_>) -> bool {
    let ours = what.target() == "pinrelay" || what.target().starts_with("pinrelay::");
    ours || *what.level() <= Level::INFO
}

fn resolve(format: LogFormat) -> LogFormat {
    match format {
        LogFormat::Auto if std::io::stderr().is_terminal() => LogFormat::Human,
        LogFormat::Auto if leads_to_the_journal() => LogFormat::Journald,
        LogFormat::Auto => LogFormat::Json,
        format => format,
    }
}

/// systemd names the stream that it connected to the journal. A child of that service whose
/// stderr leads elsewhere has the name as well, so the stream is compared.
fn leads_to_the_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else {
        return false;
    };
    let stderr = nix::sys::stat::fstat(std::io::stderr());
    stderr.is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// `<3>text key=value`: what journald reads a priority from.
struct Prefixed;

impl<S, N> FormatEvent<S, N> for Prefixed
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(event.metadata().level()))?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
