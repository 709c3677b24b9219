//! What the running daemon remembers of what passes through it, for those who watch.
//!
//! Five memories, each bounded; the hours of the last outlive a restart:
//!
//! * [`Meters`]: how long things took and how large they were, since the start.
//! * [`Passing`]: events as they pass, for listeners. Nothing is built while nobody does,
//!   and a listener that is slow loses events and is told how many.
//! * [`History`]: what arrived and what was attempted lately, to trace one event by.
//! * [`Noted`]: what of the delivered could not be read as it stood.
//! * [`Quality`]: which parts the delivered had that Pinterest can match by.
//!
//! The parts that move events tell this module and never wait for it. What it costs is paid
//! per block and per request; only what was not delivered, and what somebody listens to, is
//! paid for event by event.

mod history;
mod meters;
mod noted;
mod passing;
mod past;
mod quality;
mod rates;
mod tries;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use history::{Arrival, Attempt, BOUND_BYTES, End, History, Peer, Step, Verdict, short};
pub use meters::{CLASSES, Meters};
pub use noted::{Count, Noted, Told};
pub use passing::{Held, Listener, Passed, Passing, Sent, Stage};
pub use past::{Past, Remembered};
pub use quality::{Kept, Looked, OTHER, Quality, Span, Tally, Window};
pub use rates::{Rates, Reading};
pub use tries::{Attempts, Tries};

/// The five memories. Clones share them.
#[derive(Clone, Default)]
pub struct Observer(Arc<Inner>);

#[derive(Default)]
struct Inner {
    meters: Meters,
    passing: Passing,
    history: Mutex<History>,
    noted: Noted,
    quality: Quality,
}

impl Observer {
    /// Durations and sizes.
    pub fn meters(&self) -> &Meters {
        &self.0.meters
    }

    /// Events as they pass.
    pub fn passing(&self) -> &Passing {
        &self.0.passing
    }

    /// What could not be read as it stood.
    pub fn noted(&self) -> &Noted {
        &self.0.noted
    }

    /// Which parts the delivered had.
    pub fn quality(&self) -> &Quality {
        &self.0.quality
    }

    /// What happened lately. Held for a moment only: the daemon's loops write to it.
    pub fn history(&self) -> MutexGuard<'_, History> {
        // The history is whole between statements.
        self.0
            .history
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
