//! Where the log's lines wait for whoever takes them: a bounded queue, and a thread of its own that
//! writes.
//!
//! Invariant: nothing that logs ever waits for the log's reader. A pipe that nobody empties, or a
//! journal that does not take, would otherwise hold up delivery, a reload and the signal that is to
//! end it all. What finds no room is dropped and counted, and the number is told when there is room
//! again. Not `tracing-appender`, whose end writes to stdout where its queue is stuck, and whose
//! lines are bounded in number alone.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that wait at once: some thousand lines.
const ROOM: usize = 1 << 20;

/// The queue. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Sink(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write, or nothing any more.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The thread has one in hand.
    writing: bool,
    /// Lines that found no room, or that could not be written; ever, and since it was last told.
    dropped: u64,
    untold: u64,
}

impl Sink {
    /// Starts the thread, which gives each line to `write`, whole. `told`: what to do about a number of
    /// lines that were dropped, once there is room again.
    ///
    /// # Errors
    /// The system's, where no thread can be started.
    pub fn start(
        &self,
        mut write: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
        told: impl Fn(u64) + Send + 'static,
    ) -> io::Result<()> {
        let this = self.clone();
        let thread = std::thread::Builder::new().name("log writer".into());
        thread.spawn(move || {
            loop {
                let line = this.next();
                let outcome = write(&line);
                let untold = this.written(outcome.is_ok());
                if untold > 0 {
                    told(untold);
                }
            }
        })?;
        Ok(())
    }

    /// Hands over one line. Never waits.
    pub fn push(&self, line: Vec<u8>) {
        let mut state = self.lock();
        if state.bytes + line.len() > ROOM {
            state.dropped += 1;
            state.untold += 1;
            return;
        }
        state.bytes += line.len();
        state.waiting.push_back(line);
        drop(state);
        self.0.changed.notify_all();
    }

    /// Lines that nobody will see, since the start.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Waits until all is written, `limit` at most.
    pub fn flush(&self, limit: Duration) {
        let busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        let waited = (self.0.changed).wait_timeout_while(self.lock(), limit, busy);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn next(&self) -> Vec<u8> {
        let none = |state: &mut State| state.waiting.is_empty();
        let waited = self.0.changed.wait_while(self.lock(), none);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let line = state.waiting.pop_front().unwrap_or_default();
        state.bytes -= line.len();
        state.writing = true;
        line
    }

    /// How many were dropped and are yet to be told of.
    fn written(&self, is_written: bool) -> u64 {
        let mut state = self.lock();
        state.writing = false;
        state.dropped += u64::from(!is_written);
        // Of those that could not be written nothing can be told in the same place.
        let untold = std::mem::take(&mut state.untold);
        drop(state);
        self.0.changed.notify_all();
        untold
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `tracing` writes one line to; it is handed over as a whole.
pub(super) struct Line {
    sink: Sink,
    bytes: Vec<u8>,
}

impl Line {
    pub fn new(sink: &Sink) -> Self {
        Self {
            sink: sink.clone(),
            bytes: Vec::new(),
        }
    }
}

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.bytes.is_empty() {
            self.sink.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_reader_that_does_not_take_holds_up_nobody_and_the_loss_is_told() {
        let sink = Sink::default();
        let (begun, has_begun) = mpsc::channel();
        let (let_go, go) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let mut first = true;
        let write = move |_: &[u8]| {
            if std::mem::take(&mut first) {
                begun.send(()).unwrap();
                go.recv().unwrap();
            }
            Ok(())
        };
        sink.start(write, move |number| tell.send(number).unwrap())
            .unwrap();
        sink.push(b"the one that hangs".to_vec());
        has_begun.recv_timeout(SOON).unwrap();
        let fits = ROOM / 1024;
        for _ in 0..fits + 7 {
            sink.push(vec![b'.'; 1024]);
        }
        assert_eq!(sink.dropped(), 7);
        // An end does not wait for it for ever either.
        sink.flush(Duration::from_millis(20));
        let_go.send(()).unwrap();
        assert_eq!(told.recv_timeout(SOON).unwrap(), 7);
        sink.flush(SOON);
        sink.push(vec![b'.'; 1024]);
        sink.flush(SOON);
        assert_eq!(sink.dropped(), 7);
        assert!(told.try_recv().is_err(), "told once");
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let sink = Sink::default();
        let broken = |_: &[u8]| Err(io::ErrorKind::BrokenPipe.into());
        sink.start(broken, |_| {}).unwrap();
        for _ in 0..3 {
            sink.push(b"into nothing".to_vec());
        }
        sink.flush(SOON);
        assert_eq!(sink.dropped(), 3);
    }
}
