//! `--rejects`: the lines that were rejected, as they came, to be mended and sent again.
//!
//! Invariant: what is said to be in the file is in it, in whole lines, and where nothing was rejected
//! there is none. Each line is written by itself, so that a kill costs none before it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, anyhow};

use super::super::exit::{Exit, Failure, OrExit};
use super::super::new_file::private;

/// The file.
pub struct Rejects {
    path: PathBuf,
    file: File,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    written: u64,
    /// The length of these lines.
    bytes: u64,
    left_out: u64,
    error: Option<io::Error>,
    /// Nothing was in it, and it was taken away.
    is_gone: bool,
}

impl Rejects {
    /// Makes the file, for its owner alone.
    ///
    /// # Errors
    /// With exit 73 if something is there, 74 if it cannot be made.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let file = match private(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Failure {
                    exit: Exit::Exists,
                    error: anyhow!(
                        "{} is there already, and may hold what was rejected before; nothing was \
                         sent: name another file with --rejects",
                        path.display()
                    ),
                });
            }
            made => made
                .with_context(|| format!("cannot write {}; nothing was sent", path.display()))
                .or_exit(Exit::Io)?,
        };
        Ok(Self {
            path: path.to_owned(),
            file,
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line, given with its line feed. After an error no more is written.
    pub fn add(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.error.is_some() {
            return;
        }
        match (&self.file).write_all(line) {
            Ok(()) => {
                state.written += 1;
                state.bytes += line.len() as u64;
            }
            Err(error) => {
                // Half a line is none; that it is there is told with the error all the same.
                let _ = self.file.set_len(state.bytes);
                state.error = Some(error);
            }
        }
    }

    /// A line was rejected that is too long to be held.
    pub fn leave_out(&self) {
        self.lock().left_out += 1;
    }

    /// What is in it, in words; empty if nothing was rejected, and then the file is taken away, so
    /// that the next run can make it.
    ///
    /// # Errors
    /// With exit 74 if not all that was rejected could be written.
    pub fn finish(&self) -> Result<String, Failure> {
        let mut state = self.lock();
        let synced = match &state.error {
            Some(error) => Err(anyhow!("{error}")),
            None => self.file.sync_all().map_err(anyhow::Error::from),
        };
        let (path, written) = (self.path.display(), state.written);
        let failed = || {
            format!(
                "cannot write {path}: it has the first {written} rejected lines and not all of \
                 them; make room, and send the same input again with another --rejects"
            )
        };
        synced.with_context(failed).or_exit(Exit::Io)?;
        let mut text = match written {
            0 => String::new(),
            1 => format!("1 rejected line is in {path}: mend it and send that file\n"),
            _ => format!("{written} rejected lines are in {path}: mend them and send that file\n"),
        };
        if written == 0 {
            self.remove(&mut state);
        }
        match state.left_out {
            0 => {}
            count => text.push_str(&format!(
                "{count} rejected for being longer than 16 MiB: not written to {path}\n"
            )),
        }
        Ok(text)
    }

    /// Where it is and how many lines are in it.
    pub fn held(&self) -> (&Path, u64) {
        (&self.path, self.lock().written)
    }

    fn remove(&self, state: &mut State) {
        if !std::mem::replace(&mut state.is_gone, true) {
            // A file that stays and is empty says nothing that is wrong.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for Rejects {
    /// Of a command that failed before it sent anything.
    fn drop(&mut self) {
        let mut state = self.lock();
        if state.written == 0 && state.error.is_none() {
            self.remove(&mut state);
        }
    }
}
