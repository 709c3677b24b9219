//! What has been read and not yet answered: shared by the thread that reads the input, the one
//! that writes to the socket and the one that reads the answers.
//!
//! Invariant: a line is in exactly one of `waiting`, `sent`, `refused` until its final answer
//! is counted. A broken connection only moves the writer back to the first unanswered line.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::answer::{self, Answer};
use super::follow::Followed;
use super::input::{Chunk, LineAt, Piece, ReadError};
use super::rejects::Rejects;
use super::tally::{Tally, Unanswered};

/// Chunks read ahead of the socket.
const AHEAD: usize = 4;

/// Bytes of unanswered lines on the way, the chunk that goes beyond it included whole.
const UNANSWERED: usize = 16 << 20;

/// Why a line is rejected that is not even held.
pub(super) const TOO_LONG: &str = "the line is longer than 16 MiB";

/// The first and the longest pause before lines come again that the daemon had no room for.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

struct Sent {
    chunk: Arc<Chunk>,
    answered: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Chunk>,
    sent: VecDeque<Sent>,
    /// How many of `sent` this connection's writer has taken.
    taken: usize,
    unanswered: usize,
    refused: Chunk,
    pause: Duration,
    again_at: Option<Instant>,
    /// The last answer was that there is no room.
    is_short: bool,
    input_ended: bool,
    input_error: Option<ReadError>,
    broken: bool,
    tally: Tally,
    /// Since when there are lines without an answer, or since the last final one.
    quiet_since: Option<Instant>,
    followed: Option<Arc<Followed>>,
    rejects: Option<Arc<Rejects>>,
}

impl State {
    /// Nothing read and unanswered.
    fn idle(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty() && self.refused.lines.is_empty()
    }

    fn finished(&self) -> bool {
        self.input_ended && self.idle()
    }

    /// The next chunk of the input, unless enough is on the way.
    fn next_waiting(&mut self) -> Option<Arc<Chunk>> {
        if self.unanswered >= UNANSWERED {
            return None;
        }
        let chunk = self.waiting.pop_front()?;
        Some(self.push_sent(chunk))
    }

    fn push_sent(&mut self, chunk: Chunk) -> Arc<Chunk> {
        let chunk = Arc::new(chunk);
        self.unanswered += chunk.bytes.len();
        self.sent.push_back(Sent {
            chunk: chunk.clone(),
            answered: 0,
        });
        self.taken += 1;
        chunk
    }

    /// # Errors
    /// The answer is none, or one too many.
    fn settle(&mut self, line: &[u8], now: Instant) -> Result<(), String> {
        let answer = answer::parse(line)
            .ok_or("what answers there is not pinrelay: is it another program's socket?")?;
        let Some(front) = self.sent.front_mut() else {
            return Err("the daemon sent more answers than it was sent lines".into());
        };
        let i = front.answered;
        front.answered += 1;
        if let Some(followed) = &self.followed {
            followed.answered(&front.chunk, i, &answer);
        }
        if let (Answer::Rejected(_), Some(rejects)) = (&answer, &self.rejects) {
            rejects.add(front.chunk.as_it_came(i));
        }
        if !self.tally.count(front.chunk.lines[i].at, answer) {
            if self.refused.lines.is_empty() {
                self.pause = (self.pause * 2).clamp(PAUSE.0, PAUSE.1);
                self.again_at = Some(now + self.pause);
                self.is_short = true;
            }
            self.refused.push_from(&front.chunk, i);
        }
        if front.answered == front.chunk.lines.len() {
            self.unanswered -= front.chunk.bytes.len();
            self.sent.pop_front();
            self.taken = self.taken.saturating_sub(1);
        }
        Ok(())
    }
}

/// The shared state. Every operation is per chunk or per buffer of answers, never per line.
#[derive(Default)]
pub struct Window {
    state: Mutex<State>,
    changed: Condvar,
}

/// What a buffer of answers left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    /// All input is read and answered.
    pub finished: bool,
    /// Final answers so far.
    pub total: u64,
}

impl Window {
    /// Whose answers are told to `followed` as well, and whose rejected lines go to `rejects`.
    pub fn new(followed: Option<Arc<Followed>>, rejects: Option<Arc<Rejects>>) -> Self {
        let window = Self::default();
        let mut state = window.lock();
        (state.followed, state.rejects) = (followed, rejects);
        drop(state);
        window
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a piece of the input; waits while enough is waiting.
    pub fn push(&self, piece: Piece) {
        let mut state = self.lock();
        for at in piece.too_long {
            state.tally.reject(at, TOO_LONG.into());
            if let Some(rejects) = &state.rejects {
                rejects.leave_out();
            }
        }
        if !piece.chunk.lines.is_empty() {
            while state.waiting.len() >= AHEAD {
                state = self.wait(state);
            }
            if state.idle() {
                state.quiet_since = Some(Instant::now());
            }
            state.waiting.push_back(piece.chunk);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// The input is at its end, or failed.
    pub fn end(&self, error: Option<ReadError>) {
        let mut state = self.lock();
        state.input_ended = true;
        state.input_error = error;
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until there is something to send, and says whether it had to; `None`: all is done.
    pub fn wait_for_work(&self) -> Option<bool> {
        let mut state = self.lock();
        let waited = state.idle();
        while state.idle() && !state.input_ended {
            state = self.wait(state);
        }
        (!state.idle()).then_some(waited)
    }

    /// A new connection: everything unanswered is to be written again, from its first
    /// unanswered line.
    pub fn connected(&self) {
        let mut state = self.lock();
        state.taken = 0;
        state.broken = false;
    }

    /// The connection is gone; its writer ends.
    pub fn broken(&self) {
        self.lock().broken = true;
        self.changed.notify_all();
    }

    /// What to write next, from which byte of it; waits for it. `None`: nothing more on this
    /// connection.
    pub fn next_to_write(&self) -> Option<(Arc<Chunk>, usize)> {
        let mut state = self.lock();
        loop {
            if state.broken || state.finished() {
                return None;
            }
            if let Some(sent) = state.sent.get(state.taken) {
                let again = (sent.chunk.clone(), sent.chunk.start(sent.answered));
                state.taken += 1;
                return Some(again);
            }
            // While lines wait to come again no others go: memory stays bounded.
            let now = Instant::now();
            state = match state.again_at {
                Some(at) if at > now => {
                    let timed = self.changed.wait_timeout(state, at - now);
                    timed.unwrap_or_else(PoisonError::into_inner).0
                }
                // The answers still due may add to what comes again.
                Some(_) if !state.sent.is_empty() => self.wait(state),
                Some(_) => {
                    state.again_at = None;
                    let refused = std::mem::take(&mut state.refused);
                    return Some((state.push_sent(refused), 0));
                }
                None => match state.next_waiting() {
                    Some(chunk) => {
                        drop(state);
                        self.changed.notify_all();
                        return Some((chunk, 0));
                    }
                    None => self.wait(state),
                },
            };
        }
    }

    /// Settles the complete lines of `answers`; the rest of it is another call's. Returns how
    /// many bytes were settled.
    ///
    /// # Errors
    /// Something on the other side is not the daemon.
    pub fn settle(&self, answers: &[u8]) -> Result<(usize, After), String> {
        let now = Instant::now();
        let mut state = self.lock();
        let before = state.tally.total();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', answers) {
            state.settle(&answers[start..end], now)?;
            start = end + 1;
        }
        if state.tally.total() > before {
            state.is_short = false;
            state.quiet_since = (!state.idle()).then_some(now);
            if state.again_at.is_none() {
                state.pause = Duration::ZERO;
            }
        }
        let after = After {
            finished: state.finished(),
            total: state.tally.total(),
        };
        drop(state);
        self.changed.notify_all();
        Ok((start, after))
    }

    /// Whether all input is read and answered.
    pub fn finished(&self) -> bool {
        self.lock().finished()
    }

    /// The final answers so far.
    pub fn tally(&self) -> Tally {
        self.lock().tally.clone()
    }

    /// How long nothing has been answered although there are lines without an answer.
    pub fn quiet(&self) -> Option<Duration> {
        self.lock().quiet_since.map(|since| since.elapsed())
    }

    /// Whether the daemon answered last that it has no room.
    pub fn is_short(&self) -> bool {
        self.lock().is_short
    }

    /// The lines that were read and have no final answer.
    pub fn unanswered(&self) -> Unanswered {
        let state = self.lock();
        let sent: Vec<_> = (state.sent.iter())
            .map(|s| &s.chunk.lines[s.answered..])
            .collect();
        let waiting = state.waiting.iter().map(|c| &c.lines[..]);
        let not_sent = waiting.chain([&state.refused.lines[..]]);
        let sent_lines = sent.iter().map(|lines| lines.len() as u64).sum();
        let open: Vec<_> = sent.into_iter().chain(not_sent).collect();
        let first: Option<LineAt> = (open.iter())
            .filter_map(|lines| lines.first())
            .map(|line| line.at)
            .min();
        Unanswered {
            lines: open.iter().map(|lines| lines.len() as u64).sum(),
            sent: sent_lines,
            first,
            is_all_read: state.input_ended && state.input_error.is_none(),
        }
    }

    /// What ended the input early.
    pub fn input_error(&self) -> Option<ReadError> {
        self.lock().input_error.take()
    }
}
