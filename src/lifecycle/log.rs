//! The log: for people on a terminal, for journald under systemd, else as JSON lines.

use std::fmt;
use std::io::{IsTerminal, Write as _};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// By where stderr leads.
    Auto,
    /// Time, level, text.
    Human,
    /// A priority prefix and the text; journald adds the time.
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
pub fn init(level: &str, format: Format) -> Result<(), LogError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(filter),
        // The libraries' own chatter is theirs to ask for.
        _ => EnvFilter::try_new(format!("warn,pinrelay={level}")),
    };
    let filter = filter.map_err(|e| LogError(e.to_string()))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let set = match resolve(format) {
        Format::Journald => log.event_format(Prefixed).try_init(),
        Format::Json => log.json().flatten_event(true).with_target(false).try_init(),
        _ => log
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .try_init(),
    };
    set.map_err(|e| LogError(e.to_string()))?;
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

fn resolve(format: Format) -> Format {
    match format {
        Format::Auto if std::io::stderr().is_terminal() => Format::Human,
        // systemd sets it when stderr leads to the journal.
        Format::Auto if std::env::var_os("JOURNAL_STREAM").is_some() => Format::Journald,
        Format::Auto => Format::Json,
        format => format,
    }
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
