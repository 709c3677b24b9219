//! A folder with a config, and the daemon that runs there.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::process::{Ended, Process, bare, pinrelay};
use super::{Client, StandIn, s, within};

/// Where a daemon lives. Outlives its processes.
pub struct Site {
    folder: tempfile::TempDir,
    env: BTreeMap<String, String>,
}

impl Site {
    /// Delivers to this stand-in. Quick to retry, so that tests are.
    pub fn new(stand_in: &StandIn) -> Self {
        Self::at(&stand_in.url())
    }

    /// Delivers to this address.
    pub fn at(base_url: &str) -> Self {
        let site = Self {
            folder: tempfile::tempdir().expect("a folder"),
            env: BTreeMap::new(),
        };
        site.token("pina_first");
        site.config("");
        site.set("pinterest", "base_url", base_url)
            .set("delivery", "backoff_initial", "50ms")
            .set("delivery", "backoff_max", "500ms")
            .set("delivery", "linger", "50ms")
            .set("queue", "min_free", "1MiB")
    }

    /// Sets a key from the next start on, by its environment variable.
    pub fn set(mut self, section: &str, key: &str, value: &str) -> Self {
        let name = format!("PINRELAY_{section}__{key}").to_ascii_uppercase();
        self.env.insert(name, value.to_owned());
        self
    }

    /// Takes a key back to what the file or the default says.
    pub fn unset(mut self, section: &str, key: &str) -> Self {
        let name = format!("PINRELAY_{section}__{key}").to_ascii_uppercase();
        self.env.remove(&name);
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn config_file(&self) -> PathBuf {
        self.path("pinrelay.toml")
    }

    pub fn socket(&self) -> PathBuf {
        self.path("ingest.sock")
    }

    pub fn admin(&self) -> PathBuf {
        self.path("admin.sock")
    }

    /// Writes the token file.
    pub fn token(&self, token: &str) {
        let file = self.path("token");
        fs::write(&file, format!("{token}\n")).expect("a token file");
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("a mode");
    }

    /// Writes the config, with this behind it.
    pub fn config(&self, more: &str) {
        let at = self.folder.path().display();
        let text = format!(
            "[pinterest]\nad_account_id = \"549755885175\"\napp_name = \"ss-test\"\n\
             token_file = \"{at}/token\"\n\
             [ingest]\nsocket = \"{at}/ingest.sock\"\ngroup = \"\"\n\
             [admin]\nsocket = \"{at}/admin.sock\"\n\
             [queue]\npath = \"{at}/queue\"\n{more}"
        );
        fs::write(self.config_file(), text).expect("a config file");
    }

    /// `pinrelay run` here, not started.
    pub fn run(&self) -> Command {
        self.environment(pinrelay(), &["run"])
    }

    /// The same with a program before it.
    pub fn run_under(&self, program: &str, args: &[&str]) -> Command {
        let mut command = bare(Path::new(program));
        command.args(args).arg(super::process::PINRELAY);
        self.environment(command, &["run"])
    }

    /// Any command of the binary under this config.
    pub fn command(&self, args: &[&str]) -> Command {
        self.environment(pinrelay(), args)
    }

    fn environment(&self, mut command: Command, args: &[&str]) -> Command {
        command.args(args).arg("--config").arg(self.config_file());
        command.envs(&self.env);
        command
    }

    /// Starts the daemon and waits until it takes events.
    pub fn start(&self) -> Daemon<'_> {
        self.ready(Process::start(&mut self.run()))
    }

    /// Waits until this process takes events.
    pub fn ready(&self, mut process: Process) -> Daemon<'_> {
        within(s(30), "a daemon that takes events", || {
            assert!(process.running(), "it ended: {}", process.output());
            Client::try_connect(&self.socket()).ok()
        });
        // Events are taken a moment before the first status can be asked for.
        within(s(30), "an admin socket", || {
            UnixStream::connect(self.admin()).ok()
        });
        Daemon {
            site: self,
            process,
        }
    }

    /// Starts a daemon that is not to come up, and waits for its end.
    pub fn fails(&self) -> Ended {
        Process::start(&mut self.run()).ended(s(20))
    }
}

/// A running daemon.
pub struct Daemon<'a> {
    site: &'a Site,
    process: Process,
}

impl Daemon<'_> {
    pub fn socket(&self) -> PathBuf {
        self.site.socket()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    pub fn running(&mut self) -> bool {
        self.process.running()
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// SIGTERM, and its end.
    pub fn stop(self, limit: Duration) -> Ended {
        self.signal(Signal::SIGTERM);
        self.process.ended(limit)
    }

    /// Waits for its end.
    pub fn end(self, limit: Duration) -> Ended {
        self.process.ended(limit)
    }

    /// What `pinrelay status --json` says.
    pub fn status(&self) -> Value {
        let out = (self.site.command(&["status", "--json"]).output()).expect("status runs");
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "{out:?}");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// The same of a daemon that may be gone.
    pub fn try_status(&self) -> Option<Value> {
        let out = self.site.command(&["status", "--json"]).output().ok()?;
        serde_json::from_slice(&out.stdout).ok()
    }

    /// Waits until status is so.
    pub fn shows(&self, limit: Duration, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let end = std::time::Instant::now() + limit;
        while std::time::Instant::now() < end {
            last = self.status();
            if is(&last) {
                return last;
            }
            std::thread::sleep(super::LOOK);
        }
        panic!("not within {limit:?}: {what}\n{last:#}");
    }
}
