//! The journal's own protocol: fields stay fields, levels become priorities.
//!
//! An event is one datagram. It is made here and sent by the log's own thread
//! ([`super::sink`]), for a journal that does not take blocks whoever sends.

use std::fmt::{self, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::sink::Sink;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// A field longer than this is cut, so that an event always fits into one datagram.
const LONGEST: usize = 16 << 10;

/// The way to the journal.
pub(super) struct Journal(UnixDatagram);

impl Journal {
    /// # Errors
    /// The system's, if no journal listens.
    pub fn connect() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        Ok(Self(socket))
    }

    /// Sends one event; waits while the journal does not take it. One that was started anew is
    /// found again.
    pub fn send(&mut self, event: &[u8]) -> io::Result<()> {
        if self.0.send(event).is_err() {
            *self = Self::connect()?;
            self.0.send(event)?;
        }
        Ok(())
    }
}

/// Turns events into datagrams.
pub(super) struct Fields(pub Sink);

impl<S: Subscriber> Layer<S> for Fields {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.push(datagram(event));
    }
}

/// `<3>` to `<7>` of syslog.
pub(super) const fn priority(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

fn datagram(event: &Event<'_>) -> Vec<u8> {
    let meta = event.metadata();
    let mut out = Datagram(Vec::with_capacity(512));
    out.field("PRIORITY", &priority(meta.level()).to_string());
    out.field("SYSLOG_IDENTIFIER", "pinrelay");
    out.field("TARGET", meta.target());
    if let (Some(file), Some(line)) = (meta.file(), meta.line()) {
        out.field("CODE_FILE", file);
        out.field("CODE_LINE", &line.to_string());
    }
    event.record(&mut out);
    out.0
}

struct Datagram(Vec<u8>);

impl Datagram {
    /// The name, then the length and the bytes: so a value may hold line feeds.
    fn field(&mut self, name: &str, value: &str) {
        let longest = (0..=LONGEST.min(value.len())).rev();
        let end = longest.into_iter().find(|at| value.is_char_boundary(*at));
        let value = &value[..end.unwrap_or(0)];
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'\n');
        self.0
            .extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

impl Visit for Datagram {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.field("MESSAGE", value),
            // What a record of the `log` crate carries beside its text.
            name if name.starts_with("log.") => {}
            name => self.field(&name_of(name), value),
        }
    }
}

/// A field's name as the journal takes names, apart from its own.
fn name_of(name: &str) -> String {
    let upper = name.bytes().map(|byte| match byte {
        b if b.is_ascii_alphanumeric() => b.to_ascii_uppercase() as char,
        _ => '_',
    });
    let mut out = "PINRELAY_".to_owned();
    out.extend(upper.take(48));
    out
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// The fields of a datagram, as the journal reads them.
    fn read(mut bytes: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let end = bytes.iter().position(|b| *b == b'\n').expect("a name");
            let name = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let (length, rest) = bytes[end + 1..].split_at(8);
            let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
            let value = String::from_utf8(rest[..length].to_vec()).unwrap();
            assert_eq!(rest[length], b'\n');
            bytes = &rest[length + 1..];
            fields.push((name, value));
        }
        fields
    }

    #[test]
    fn an_event_has_its_fields_its_priority_and_its_line_feeds() {
        let (send, sent) = mpsc::channel();
        let sink = Sink::default();
        let write = move |bytes: &[u8]| {
            send.send(bytes.to_vec()).unwrap();
            Ok(())
        };
        sink.start(write, |_| {}).unwrap();
        let subscriber = tracing_subscriber::registry().with(Fields(sink));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(socket = %"/run/x", n = 7, "two\nlines of {}", "é".repeat(LONGEST));
        });
        let fields = read(&sent.recv_timeout(Duration::from_secs(10)).unwrap());
        let is = |name: &str| {
            let found = fields.iter().find(|(of, _)| of == name);
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        assert_eq!((is("PRIORITY"), is("PINRELAY_N")), ("4", "7"));
        assert_eq!(is("PINRELAY_SOCKET"), "/run/x");
        assert_eq!(is("SYSLOG_IDENTIFIER"), "pinrelay");
        assert!(is("MESSAGE").starts_with("two\nlines of é"));
        assert!(is("MESSAGE").len() <= LONGEST, "cut on a character");
    }
}
