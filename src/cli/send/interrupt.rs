//! Ctrl-C and SIGTERM while lines are on their way: the account so far is given all the same.
//!
//! Invariant: one account is given, by whoever takes the last word first: the command at its own
//! end, or this at a signal. Neither a terminal that is read, nor a daemon that hangs, nor whoever
//! reads no account holds up a second signal.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::super::exit::Exit;
use crate::lifecycle::{self, Ending};

/// What a signal meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Lines are on their way: the account is given and the process ends.
    Sending,
    /// The lines are accounted for: nothing more is waited for.
    Waiting,
    /// The command gives the account itself and ends.
    Ending,
    /// A signal came first.
    Interrupted,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    signals: u32,
}

/// Who gives the account.
#[derive(Clone)]
pub struct LastWord(Arc<Mutex<State>>);

impl LastWord {
    /// From here on a signal has `account` given, with the signal's name, and ends the process with
    /// 130 or 143.
    ///
    /// # Errors
    /// The system's, if signals cannot be taken.
    pub fn watch(account: impl FnOnce(&'static str) + Send + 'static) -> io::Result<Self> {
        let word = Self(Arc::new(Mutex::new(State {
            phase: Phase::Sending,
            signals: 0,
        })));
        let watched = word.clone();
        let mut account = Some(account);
        lifecycle::on_ending(move |ending| {
            let (exit, name) = match ending {
                Ending::Interrupt => (Exit::Interrupted, "SIGINT"),
                Ending::Terminate => (Exit::Terminated, "SIGTERM"),
            };
            let (met, signals) = watched.signalled();
            match (met, account.take()) {
                (Phase::Sending, Some(account)) => {
                    // The next signal is taken meanwhile.
                    thread::spawn(move || {
                        account(name);
                        std::process::exit(exit as i32);
                    });
                }
                (Phase::Ending | Phase::Interrupted, _) if signals > 1 => {
                    std::process::exit(exit as i32);
                }
                (_, left) => account = left,
            }
        })?;
        Ok(word)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a signal; what it met, and the how manieth it is.
    fn signalled(&self) -> (Phase, u32) {
        let mut state = self.lock();
        state.signals += 1;
        let met = state.phase;
        if met == Phase::Sending {
            state.phase = Phase::Interrupted;
        }
        (met, state.signals)
    }

    /// The command gives the account itself. Does not return where a signal was first.
    pub fn take(&self) {
        self.enter(Phase::Ending);
    }

    /// The lines are accounted for: from here on a signal ends the waiting alone. Does not return
    /// where a signal was first.
    pub fn wait(&self) {
        self.enter(Phase::Waiting);
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.lock();
        if state.phase != Phase::Interrupted {
            state.phase = phase;
            return;
        }
        drop(state);
        // Whoever gives the account ends the process.
        loop {
            thread::park();
        }
    }

    /// Whether a signal has ended the waiting.
    pub fn is_over(&self) -> bool {
        self.lock().signals > 0
    }
}
