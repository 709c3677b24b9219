//! The answers counted, and what is without one.

use super::answer::Answer;
use super::input::LineAt;

/// Rejected lines that are told by their place.
const SHOWN_IN_FULL: usize = 10;

/// Final answers, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Safe on disk.
    pub queued: u64,
    /// Accepted before.
    pub duplicate: u64,
    /// Of a kind that is not forwarded.
    pub ignored: u64,
    /// Not events.
    pub rejected: u64,
    /// The first of these: where they stand and why.
    pub rejects: Vec<(LineAt, String)>,
}

impl Tally {
    /// All final answers.
    pub fn total(&self) -> u64 {
        self.queued + self.duplicate + self.ignored + self.rejected
    }

    /// Counts the answer to the line there; whether it is a final one.
    pub(super) fn count(&mut self, at: LineAt, answer: Answer) -> bool {
        match answer {
            Answer::Queued => self.queued += 1,
            Answer::Duplicate => self.duplicate += 1,
            Answer::Ignored => self.ignored += 1,
            Answer::Rejected(why) => self.reject(at, why),
            Answer::Unavailable(_) => return false,
        }
        true
    }

    /// Counts a line that is no event.
    pub(super) fn reject(&mut self, at: LineAt, why: String) {
        self.rejected += 1;
        if self.rejects.len() < SHOWN_IN_FULL {
            self.rejects.push((at, why));
        }
    }
}

/// Lines that were read and have no final answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unanswered {
    /// How many.
    pub lines: u64,
    /// How many of them were sent: they may be on the daemon's disk or not.
    pub sent: u64,
    /// The first of all.
    pub first: Option<LineAt>,
    /// No line of the input is left that was not even read.
    pub is_all_read: bool,
}
