//! What has been answered over HTTP and what has not.
//!
//! Invariant: a line that was handed on is in exactly one of `open` and the tally.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::answer::Answer;
use super::super::input::{Chunk, LineAt};
use super::super::rejects::Rejects;
use super::super::tally::{Tally, Unanswered};
use super::super::window::TOO_LONG;
use super::load::Load;

/// Shared by those who read, who send and who tell.
#[derive(Default)]
pub struct Books {
    state: Mutex<State>,
    rejects: Option<Arc<Rejects>>,
}

#[derive(Default)]
struct State {
    tally: Tally,
    /// Loads without an answer by their first line: how many lines, and whether they were sent.
    open: BTreeMap<LineAt, (u64, bool)>,
    is_all_read: bool,
}

impl Books {
    /// Whose rejected lines go to `rejects`.
    pub fn new(rejects: Option<Arc<Rejects>>) -> Self {
        Self {
            rejects,
            ..Self::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The final answers so far.
    pub fn tally(&self) -> Tally {
        self.lock().tally.clone()
    }

    /// How many there are.
    pub(super) fn total(&self) -> u64 {
        self.lock().tally.total()
    }

    /// The lines that were read and have no final answer.
    pub fn unanswered(&self) -> Unanswered {
        let state = self.lock();
        let count = |is_meant: &dyn Fn(bool) -> bool| {
            let open = state.open.values().filter(|(_, sent)| is_meant(*sent));
            open.map(|(lines, _)| lines).sum()
        };
        Unanswered {
            lines: count(&|_| true),
            sent: count(&|sent| sent),
            first: state.open.keys().next().copied(),
            is_all_read: state.is_all_read,
        }
    }

    /// It is about to be handed on.
    pub(super) fn opened(&self, load: &Load) {
        let lines = load.lines.len() as u64;
        self.lock().open.insert(load.first(), (lines, false));
    }

    /// It is about to leave.
    pub(super) fn sent(&self, load: &Load) {
        if let Some((_, sent)) = self.lock().open.get_mut(&load.first()) {
            *sent = true;
        }
    }

    /// Each of its lines has this answer.
    pub(super) fn answered(&self, load: &Load, answers: Vec<Answer>) {
        let mut state = self.lock();
        state.open.remove(&load.first());
        for ((chunk, i), answer) in load.lines.iter().zip(answers) {
            if let (Answer::Rejected(_), Some(rejects)) = (&answer, &self.rejects) {
                rejects.add(chunk.as_it_came(*i));
            }
            state.tally.count(chunk.lines[*i].at, answer);
        }
    }

    /// A line that would take the others of its request with it.
    pub(super) fn reject(&self, chunk: &Chunk, i: usize, why: &str) {
        if let Some(rejects) = &self.rejects {
            rejects.add(chunk.as_it_came(i));
        }
        self.lock().tally.reject(chunk.lines[i].at, why.to_owned());
    }

    /// A line that was not even held.
    pub(super) fn reject_too_long(&self, at: LineAt) {
        if let Some(rejects) = &self.rejects {
            rejects.leave_out();
        }
        self.lock().tally.reject(at, TOO_LONG.to_owned());
    }

    /// The input was read to its end.
    pub(super) fn all_read(&self) {
        self.lock().is_all_read = true;
    }
}
