//! How far `send` is, on a terminal.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

use super::super::text::say;

/// How far it is. Drawn on a terminal alone.
#[derive(Clone)]
pub struct Bar {
    drawn: ProgressBar,
    /// Bytes of the input read so far, as they are on disk.
    pub read: Arc<AtomicU64>,
}

impl Bar {
    /// Of so many bytes, where that is known.
    pub fn new(size: Option<u64>) -> Self {
        if !io::stderr().is_terminal() {
            return Self::hidden();
        }
        let template = match size {
            Some(_) => "{bar:30} {bytes} of {total_bytes}, {msg}, {eta} left",
            None => "{spinner} {bytes}, {msg}",
        };
        let bar = size.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let drawn = match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        Self {
            drawn,
            ..Self::hidden()
        }
    }

    /// None.
    pub fn hidden() -> Self {
        Self {
            drawn: ProgressBar::hidden(),
            read: Arc::default(),
        }
    }

    /// So many lines have an answer.
    pub fn moved(&self, total: u64) {
        self.drawn.set_position(self.read.load(Ordering::Relaxed));
        self.drawn.set_message(format!("{total} answered"));
    }

    /// Says it on stderr, beside the bar.
    pub fn say(&self, said: &str) {
        self.drawn.suspend(|| say(&format!("pinrelay: {said}\n")));
    }

    /// It is over.
    pub fn clear(&self) {
        self.drawn.finish_and_clear();
    }
}
