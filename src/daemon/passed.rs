//! The listeners that systemd passes, and what is spoken on each.
//!
//! Invariant: each that is passed is served, or refused by name: nobody waits on one for an answer
//! that does not come.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;

use super::error::DaemonError;
use crate::config::{Config, Ingest};

/// `FileDescriptorName=` of a socket unit whose sockets are for HTTP.
const HTTP: &str = "http";
/// The file of the HTTP socket in the units as shipped, which have a name for both.
const HTTP_FILE: &str = "http.sock";

/// By what is spoken on them.
#[derive(Default)]
pub(super) struct Passed {
    /// Lines of JSON.
    pub ingest: Vec<UnixListener>,
    pub http: Vec<UnixListener>,
    pub http_tcp: Vec<TcpListener>,
}

/// What is passed to this process.
///
/// # Errors
/// One that is neither a Unix stream socket nor TCP, and a TCP one that the config does not let be
/// open to the network.
pub(super) fn passed(config: &Config) -> Result<Passed, DaemonError> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut given = ListenFd::from_env();
    let mut passed = Passed::default();
    for at in 0..given.len() {
        let name = names.next().unwrap_or_default();
        let unix = given.take_unix_listener(at);
        match (unix, given.take_tcp_listener(at)) {
            (Ok(Some(listener)), _) => {
                listener.set_nonblocking(true).map_err(not_usable)?;
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                match speaks_http(name, path, &config.ingest) {
                    true => passed.http.push(listener),
                    false => passed.ingest.push(listener),
                }
            }
            (_, Ok(Some(listener))) => {
                listener.set_nonblocking(true).map_err(not_usable)?;
                let address = listener.local_addr().map_err(not_usable)?;
                config.may_listen(address).map_err(|why| {
                    DaemonError::Config(format!("the TCP socket passed by systemd: {why}"))
                })?;
                passed.http_tcp.push(listener);
            }
            (Err(error), _) => {
                let which = format!("number {}, {name}: {error}", at + 1);
                return Err(DaemonError::Config(format!(
                    "the socket passed by systemd ({which}) is neither a Unix stream socket nor \
                     TCP, and events are taken on those alone; see `systemctl cat pinrelay.socket` \
                     and take its line out"
                )));
            }
            // Taken already, which nobody does.
            (Ok(None), _) => {}
        }
    }
    Ok(passed)
}

fn not_usable(error: std::io::Error) -> DaemonError {
    DaemonError::Io(format!(
        "a socket passed by systemd cannot be used: {error}; see `systemctl cat pinrelay.socket`"
    ))
}

/// By the name that its unit gives it, else by its file, which the config or the shipped unit names.
fn speaks_http(name: &str, path: Option<&Path>, ingest: &Ingest) -> bool {
    let is_configured = path.is_some() && path == ingest.http_socket.as_deref();
    let is_others = path == Some(&ingest.socket);
    let is_shipped = path.and_then(Path::file_name) == Some(HTTP_FILE.as_ref());
    name == HTTP || is_configured || (is_shipped && !is_others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read;

    #[test]
    fn a_unix_socket_is_for_http_by_its_name_or_else_by_its_file() {
        let config = |text: &str| {
            let text = format!("[ingest]\n{text}");
            let config = read(Some((Path::new("a.toml"), &text)), std::iter::empty());
            config.expect("a config").ingest
        };
        let (plain, moved) = (config(""), config("http_socket = \"/srv/web\"\n"));
        let none = config("http_socket = \"\"\n");
        let odd = config("socket = \"/srv/http.sock\"\nhttp_socket = \"/srv/ingest.sock\"\n");
        let unit = "pinrelay.socket";
        for (name, path, ingest, is_http) in [
            (unit, Some("/run/pinrelay/ingest.sock"), &plain, false),
            (unit, Some("/run/pinrelay/http.sock"), &plain, true),
            ("http", Some("/run/pinrelay/ingest.sock"), &plain, true),
            ("http", None, &plain, true),
            ("", None, &plain, false),
            ("", None, &none, false),
            (unit, Some("/srv/web"), &moved, true),
            (unit, Some("/srv/other"), &moved, false),
            // The unit goes on passing it: lines of JSON are not what its clients send.
            (unit, Some("/run/pinrelay/http.sock"), &moved, true),
            (unit, Some("/run/pinrelay/http.sock"), &none, true),
            (unit, Some("/srv/http.sock"), &odd, false),
            (unit, Some("/srv/ingest.sock"), &odd, true),
        ] {
            let path = path.map(Path::new);
            assert_eq!(speaks_http(name, path, ingest), is_http, "{name} {path:?}");
        }
    }
}
