//! Signals as messages.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::mpsc;

/// What the system asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: drain and stop.
    Stop,
    /// SIGHUP: read the token and the config again.
    Reload,
}

/// Takes SIGTERM, SIGINT and SIGHUP from here on.
///
/// # Errors
/// The system's, if they cannot be taken or the thread that waits for them not be started.
pub fn signals() -> io::Result<mpsc::UnboundedReceiver<Signal>> {
    let mut caught = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (send, receive) = mpsc::unbounded_channel();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in caught.forever() {
                let signal = if signal == SIGHUP {
                    Signal::Reload
                } else {
                    Signal::Stop
                };
                if send.send(signal).is_err() {
                    return;
                }
            }
        })?;
    Ok(receive)
}
