//! The log: for people on a terminal, for journald under systemd, otherwise as JSON lines. Repeats
//! are folded ([`super::fold`]).

use std::fmt;
use std::io::{IsTerminal, Write as _};

use tracing::{Event, Level, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

use super::fold::Fold;

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

/// Sends the log to stderr from here on. `RUST_LOG` overrides `level`.
///
/// # Errors
/// A filter that cannot be read, or a second call.
pub fn init(level: &str, format: LogFormat) -> Result<(), LogError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(filter),
        // The libraries' own chatter is theirs to ask for.
        _ => EnvFilter::try_new(format!("warn,pinrelay={level}")),
    };
    let filter = filter.map_err(|e| LogError(e.to_string()))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let shown: Box<dyn Layer<_> + Send + Sync> = match resolve(format) {
        LogFormat::Journald => match journal() {
            Ok(journal) => journal.boxed(),
            // stderr may lead there all the same.
            Err(_) => lines.event_format(Prefixed).boxed(),
        },
        LogFormat::Json => lines.json().flatten_event(true).with_target(false).boxed(),
        _ => lines
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .boxed(),
    };
    let log = tracing_subscriber::registry()
        .with(shown)
        .with(Fold::new())
        .with(filter);
    log.try_init().map_err(|e| LogError(e.to_string()))?;
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
        let _ = writeln!(std::io::stderr(), "pinrelay: a bug: panicked at {place}");
    }));
    Ok(())
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

/// The journal's own protocol: fields stay fields, levels become priorities.
///
/// # Errors
/// The system's, if no journal listens.
fn journal() -> std::io::Result<tracing_journald::Layer> {
    let priorities = PriorityMappings {
        info: Priority::Informational,
        debug: Priority::Debug,
        ..PriorityMappings::new()
    };
    let journal = tracing_journald::layer()?
        .with_field_prefix(Some("PINRELAY".to_owned()))
        .with_priority_mappings(priorities)
        .with_syslog_identifier("pinrelay".to_owned());
    Ok(journal)
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
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
