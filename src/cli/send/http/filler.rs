//! Makes requests' loads of the input.

use std::io::Read;
use std::sync::Arc;

use serde::de::IgnoredAny;
use tokio::sync::mpsc;

use super::super::input::{Input, Piece, ReadError};
use super::books::Books;
use super::load::Load;
use crate::event::readable;

/// Events in a request to a path that takes several.
const EVENTS: usize = 100;
/// Their bytes, well below what the daemon takes.
const BYTES: usize = 1 << 20;

/// Makes loads of the input.
pub(super) struct Filler {
    /// The path takes an object with an array `batch`.
    pub is_batch: bool,
    pub books: Arc<Books>,
    /// Where they go.
    pub fill: mpsc::Sender<Load>,
}

impl Filler {
    /// Up to the end of the input, or until nobody takes them.
    ///
    /// # Errors
    /// The input's; what was whole before is handed on.
    pub fn fill<R: Read>(self, mut input: Input<R>) -> Result<(), ReadError> {
        let mut load = Load::default();
        let end = loop {
            match input.next() {
                Ok(Some(piece)) => self.take(piece, &mut load),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if !load.lines.is_empty() {
            self.hand_on(&mut load);
        }
        if end.is_ok() {
            self.books.all_read();
        }
        end
    }

    fn take(&self, piece: Piece, load: &mut Load) {
        let most = if self.is_batch { EVENTS } else { 1 };
        piece
            .too_long
            .iter()
            .for_each(|at| self.books.reject_too_long(*at));
        let chunk = Arc::new(piece.chunk);
        for i in 0..chunk.lines.len() {
            let text = chunk.line(i).trim_ascii();
            match serde_json::from_slice::<IgnoredAny>(&readable(text)) {
                Ok(_) => load.push(&chunk, i, self.is_batch),
                Err(_) => self.books.reject(&chunk, i, "not valid JSON"),
            }
            if load.lines.len() >= most || load.body.len() >= BYTES {
                self.hand_on(load);
            }
        }
    }

    fn hand_on(&self, load: &mut Load) {
        let load = std::mem::take(load).closed(self.is_batch);
        self.books.opened(&load);
        let _ = self.fill.blocking_send(load);
    }
}
