//! A child process whose output is kept and which ends with its value.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::within;

/// The binary under test.
pub const PINRELAY: &str = env!("CARGO_BIN_EXE_pinrelay");

pub struct Process {
    child: Child,
    output: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

/// How a process ended.
pub struct Ended {
    /// `None`: by a signal.
    pub code: Option<i32>,
    /// Its stderr, and of its stdout what nobody has taken.
    pub output: String,
}

/// The binary with nothing of this process's environment but the PATH.
pub fn pinrelay() -> Command {
    bare(Path::new(PINRELAY))
}

/// Any program with nothing of this process's environment but the PATH.
pub fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::null())
    }

    /// With this as its stdin.
    pub fn start_with(command: &mut Command, stdin: Stdio) -> Self {
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let output = Arc::default();
        let out = child.stdout.take().expect("piped");
        let err = child.stderr.take().expect("piped");
        let readers = vec![keep(out, &output), keep(err, &output)];
        Self {
            child,
            output,
            readers,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("a pid"));
        kill(pid, signal).expect("a signal to our own child");
    }

    /// What it wrote so far.
    pub fn output(&self) -> String {
        self.output.lock().expect("no reader panics").clone()
    }

    pub fn running(&mut self) -> bool {
        self.status().is_none()
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// Waits for its end.
    pub fn ended(mut self, limit: Duration) -> Ended {
        let what = format!("the end of process {}", self.pid());
        let end = std::time::Instant::now() + limit;
        while self.running() {
            assert!(
                std::time::Instant::now() < end,
                "not within {limit:?}: {what}\n{}",
                self.output()
            );
            std::thread::sleep(super::LOOK);
        }
        let status = self.status().expect("it has ended");
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader");
        }
        Ended {
            code: status.code(),
            output: self.output(),
        }
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&mut self) {
        // Fails only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it has said this, wherever in a line.
    pub fn says_in(&mut self, words: &str, limit: Duration) {
        within(limit, words, || {
            let output = self.output();
            let said = output.contains(words);
            assert!(said || self.running(), "ended: {output}");
            said.then_some(())
        });
    }

    /// Waits for a line that starts so; the rest of it.
    pub fn says(&mut self, start: &str, limit: Duration) -> String {
        within(limit, start, || {
            let output = self.output();
            let line = output.lines().find_map(|line| line.strip_prefix(start));
            let found = line.map(str::to_owned);
            assert!(found.is_some() || self.running(), "ended: {output}");
            found
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- output of {}:\n{}", self.pid(), self.output());
        }
    }
}

fn keep(from: impl Read + Send + 'static, output: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let output = output.clone();
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(from.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line);
            output.lock().expect("no reader panics").push_str(&text);
            line.clear();
        }
    })
}
