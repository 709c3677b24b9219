//! A connection that stays: for transactions that are held open, and what a role sees.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Written behind each answer; no row looks like it.
const END: &str = "--- that was it ---";

/// A session of `psql`. Ends with its value: what it has open is rolled back.
pub struct Session {
    psql: Child,
    stdin: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Session {
    pub(super) fn begin(psql: Command) -> Self {
        // Rows and complaints in one stream, in their order.
        let mut merged = Command::new("/bin/sh");
        merged.args(["-c", r#"exec "$@" 2>&1"#, "sh"]);
        merged.arg(psql.get_program()).args(psql.get_args());
        merged.env_clear().current_dir("/");
        for (name, value) in psql.get_envs() {
            merged.env(name, value.expect("one that is set"));
        }
        // It sits idle for as long as its test wants.
        merged.env("PGOPTIONS", "-c synchronous_commit=local");
        merged.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut psql = merged.spawn().expect("a shell");
        let stdin = psql.stdin.take().expect("piped");
        let lines = BufReader::new(psql.stdout.take().expect("piped"));
        Self { psql, stdin, lines }
    }

    /// Runs statements; rows and complaints, line by line.
    pub fn ask(&mut self, statements: &str) -> Vec<String> {
        self.send(statements);
        self.answer()
    }

    /// Has statements run, and does not wait for it.
    pub fn send(&mut self, statements: &str) {
        // A session that has broken off says so in its answer.
        let _ = writeln!(self.stdin, "{statements};\n\\echo {END}");
    }

    /// What the oldest of those sent came to.
    pub fn answer(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).expect("our own child");
            let line = line.trim_end_matches('\n');
            if read == 0 || line == END {
                return lines;
            }
            lines.push(line.to_owned());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}
