//! Signals as messages, and an end that comes whatever hangs.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

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

/// Who asks a command to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// SIGINT: whoever sits at the terminal.
    Interrupt,
    /// SIGTERM: whoever manages the process.
    Terminate,
}

/// How the process ends after a [`Signal::Stop`] if nothing else ends it.
pub struct LastResort {
    /// How long a stop may take, asked again while it lasts: a first one, and any further one.
    pub within: Arc<dyn Fn(Stops) -> Duration + Send + Sync>,
    /// Ends the process.
    pub end: fn(),
}

/// How often a stop was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stops {
    /// Once.
    Once,
    /// Again: somebody is in a hurry.
    Again,
}

/// Takes SIGTERM, SIGINT and SIGHUP from here on.
///
/// # Errors
/// The system's, if they cannot be taken or the thread that waits for them not be started.
pub fn signals() -> io::Result<mpsc::UnboundedReceiver<Signal>> {
    take(|| {})
}

/// The same for a process that must end by a signal even where whoever takes the messages hangs.
///
/// # Errors
/// Those of [`signals`].
pub fn signals_with(last_resort: LastResort) -> io::Result<mpsc::UnboundedReceiver<Signal>> {
    let (stop, stops) = channel();
    let thread = std::thread::Builder::new().name("last resort".into());
    thread.spawn(move || last_resort.wait(&stops))?;
    take(move || {
        let _ = stop.send(());
    })
}

/// Takes SIGINT and SIGTERM from here on: each is handed to `on`, on a thread of its own.
///
/// # Errors
/// Those of [`signals`].
pub fn on_ending(mut on: impl FnMut(Ending) + Send + 'static) -> io::Result<()> {
    let mut caught = Signals::new([SIGTERM, SIGINT])?;
    let thread = std::thread::Builder::new().name("signals".into());
    thread.spawn(move || {
        for signal in caught.forever() {
            on(match signal {
                SIGINT => Ending::Interrupt,
                _ => Ending::Terminate,
            });
        }
    })?;
    Ok(())
}

fn take(on_stop: impl Fn() + Send + 'static) -> io::Result<mpsc::UnboundedReceiver<Signal>> {
    let mut caught = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let (send, receive) = mpsc::unbounded_channel();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in caught.forever() {
                let signal = if signal == SIGHUP {
                    Signal::Reload
                } else {
                    on_stop();
                    Signal::Stop
                };
                if send.send(signal).is_err() {
                    return;
                }
            }
        })?;
    Ok(receive)
}

impl LastResort {
    fn wait(&self, stops: &Receiver<()>) {
        if stops.recv().is_err() {
            return;
        }
        let (mut asked, mut begun) = (Stops::Once, Instant::now());
        loop {
            // Asked again each time: a stop that came while the queue was being opened is given the
            // time of a running daemon once that is what it ends.
            let left = (self.within)(asked).saturating_sub(begun.elapsed());
            if left.is_zero() {
                return (self.end)();
            }
            match stops.recv_timeout(left) {
                Ok(()) if asked == Stops::Once => {
                    (asked, begun) = (Stops::Again, Instant::now());
                }
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    static ENDED: AtomicBool = AtomicBool::new(false);

    #[test]
    fn a_second_stop_shortens_what_a_first_one_may_take() {
        let within = |stops| match stops {
            Stops::Once => Duration::from_secs(3600),
            Stops::Again => Duration::from_millis(10),
        };
        let last_resort = LastResort {
            within: Arc::new(within),
            end: || ENDED.store(true, Ordering::SeqCst),
        };
        let (stop, stops) = channel();
        let waiting = std::thread::spawn(move || last_resort.wait(&stops));
        stop.send(()).unwrap();
        assert!(!ENDED.load(Ordering::SeqCst));
        stop.send(()).unwrap();
        waiting.join().unwrap();
        assert!(ENDED.load(Ordering::SeqCst));
    }
}
