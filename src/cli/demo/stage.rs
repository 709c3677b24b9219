//! The processes of a demo and their folder. Leaving the stage ends and removes them all.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use tempfile::TempDir;

use crate::cli::daemon;
use crate::cli::send::{self, Tally};
use crate::lifecycle;
use crate::mock_pinterest::{Seen, Totals};

/// Events of one request at most; two are under way at a time.
pub const BATCH: u64 = 25;

/// Between two looks at another process.
const LOOK: Duration = Duration::from_millis(10);
/// For one call to the stand-in.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `status` says, as far as the demo needs it.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Status {
    pub queued: u64,
    pub sending: u64,
    pub in_doubt: u64,
    pub dead: std::collections::BTreeMap<String, u64>,
    pub ledger: Ledger,
}

/// The daemon's own account.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Ledger {
    pub accepted: u64,
    pub queued: u64,
    pub sending: u64,
    pub delivered: u64,
    pub dead: u64,
    pub purged: u64,
    pub set_aside: u64,
    pub ledger_imbalance: i64,
}

/// Children by role. Shared with the thread that ends them when the demo itself is stopped.
#[derive(Default)]
struct Cast {
    stand_in: Option<Child>,
    daemon: Option<Child>,
}

impl Cast {
    fn end(&mut self) {
        for mut child in self.daemon.take().into_iter().chain(self.stand_in.take()) {
            // Fails only if it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Where the demo plays.
pub struct Stage {
    folder: TempDir,
    cast: Arc<Mutex<Cast>>,
    /// `host:port` of the stand-in.
    address: String,
    deadline: Instant,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.cast().end();
    }
}

impl Stage {
    /// Makes the folder and starts the stand-in, which refuses this event with these words.
    pub fn set(refused: &str, refusal: &str, deadline: Instant) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("pinrelay-demo-")
            .tempdir()
            .context("the demo needs a temporary folder; set TMPDIR")?;
        let mut stage = Self {
            folder,
            cast: Arc::default(),
            address: String::new(),
            deadline,
        };
        stage.end_with_us()?;
        let mut command = stage.command("mock-pinterest")?;
        command.args(["--listen", "127.0.0.1:0", "--token", "demo"]);
        // Long enough for a kill to come between a request and its answer.
        command.args(["--latency-ms", "300", "--refuse-event-ids", refused]);
        command.args(["--refuse-message", refusal]);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take();
        stage.cast().stand_in = Some(child);
        let mut line = String::new();
        if let Some(out) = out {
            BufReader::new(out).read_line(&mut line)?;
        }
        stage.address = line
            .trim()
            .strip_prefix("listening on http://")
            .ok_or_else(|| anyhow!("the stand-in did not start: {}", stage.log()))?
            .to_owned();
        stage.configure()?;
        Ok(stage)
    }

    /// Ends the children when the demo itself is told to stop.
    fn end_with_us(&self) -> Result<()> {
        let mut signals = lifecycle::signals().context("signals cannot be taken")?;
        let (cast, folder) = (self.cast.clone(), self.folder.path().to_owned());
        std::thread::spawn(move || {
            while let Some(signal) = signals.blocking_recv() {
                if signal == lifecycle::Signal::Stop {
                    cast.lock().unwrap_or_else(PoisonError::into_inner).end();
                    let _ = fs::remove_dir_all(folder);
                    std::process::exit(1);
                }
            }
        });
        Ok(())
    }

    fn configure(&self) -> Result<()> {
        let at = self.folder.path().display();
        let text = format!(
            "[pinterest]\nad_account_id = \"549755885175\"\napp_name = \"ss-demo\"\n\
             token_file = \"{at}/token\"\nbase_url = \"http://{}/v5\"\n\
             [ingest]\nsocket = \"{at}/ingest.sock\"\ngroup = \"\"\n\
             [admin]\nsocket = \"{at}/admin.sock\"\n\
             [queue]\npath = \"{at}/queue\"\nmin_free = \"1MiB\"\n\
             [delivery]\nmax_batch_events = {BATCH}\nmax_in_flight = 2\n\
             [log]\nformat = \"human\"\n",
            self.address
        );
        fs::write(self.folder.path().join("pinrelay.toml"), text)?;
        let token = self.folder.path().join("token");
        fs::write(&token, "demo\n")?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(token, mode)?;
        Ok(())
    }

    /// This binary again, with nothing of the operator's own settings, its stderr in the log.
    fn command(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("PINRELAY_") {
                command.env_remove(variable);
            }
        }
        for variable in [
            "CREDENTIALS_DIRECTORY",
            "NOTIFY_SOCKET",
            "LISTEN_FDS",
            "RUST_LOG",
        ] {
            command.env_remove(variable);
        }
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("log"))?;
        command.arg(name).stdin(Stdio::null()).stderr(log);
        Ok(command)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn cast(&self) -> MutexGuard<'_, Cast> {
        self.cast.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the processes logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Starts the daemon and waits until it takes events.
    pub fn start_daemon(&mut self) -> Result<()> {
        let mut command = self.command("run")?;
        command.arg("--config").arg(self.path("pinrelay.toml"));
        let child = command.stdout(Stdio::null()).spawn()?;
        self.cast().daemon = Some(child);
        self.until("the daemon to take events", |stage| {
            if let Some(status) = stage.daemon_ended()? {
                bail!("the daemon ended with {status}:\n{}", stage.log());
            }
            Ok(stage.status().ok().map(|_| ()))
        })
    }

    fn daemon_ended(&self) -> Result<Option<std::process::ExitStatus>> {
        match &mut self.cast().daemon {
            Some(child) => Ok(child.try_wait()?),
            None => bail!("there is no daemon"),
        }
    }

    /// SIGKILL.
    pub fn kill_daemon(&mut self) -> Result<()> {
        let child = self.cast().daemon.take();
        let mut child = child.context("there is no daemon")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM; the daemon's last word.
    pub fn stop_daemon(&mut self) -> Result<String> {
        let pid = self.cast().daemon.as_ref().map(Child::id);
        let pid = i32::try_from(pid.context("there is no daemon")?)?;
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        let status = self.until("the daemon's end", Self::daemon_ended)?;
        self.cast().daemon = None;
        let log = self.log();
        ensure!(status.success(), "the daemon ended with {status}:\n{log}");
        let last = log.lines().last().unwrap_or_default();
        // Without time and level.
        let word = last.find("drained in").map_or(last, |at| &last[at..]);
        let folder = format!(" in {}", self.path("queue").display());
        Ok(word.replace(&folder, ""))
    }

    /// Sends these lines and waits for every answer.
    pub fn send(&self, lines: &str) -> Result<Tally> {
        let patience = self.deadline.saturating_duration_since(Instant::now());
        let (tally, end) = send::lines(lines.to_owned(), &self.path("ingest.sock"), patience);
        end.map_err(|failure| failure.error)?;
        Ok(tally)
    }

    /// What `pinrelay status` says.
    pub fn status(&self) -> Result<Status> {
        let text = daemon::Client::connect(&self.path("admin.sock"))
            .and_then(|daemon| daemon.get("/status", PATIENCE))
            .map_err(|f| f.error)?;
        serde_json::from_str(&text).context("the daemon's status")
    }

    /// Waits until status is so.
    pub fn await_status(&self, what: &str, is: impl Fn(&Status) -> bool) -> Result<Status> {
        self.until(what, |stage| Ok(Some(stage.status()?).filter(&is)))
    }

    fn until<T>(&self, what: &str, look: impl Fn(&Self) -> Result<Option<T>>) -> Result<T> {
        while Instant::now() < self.deadline {
            if let Some(seen) = look(self)? {
                return Ok(seen);
            }
            // Another process tells no event of its own.
            std::thread::sleep(LOOK);
        }
        bail!("waited too long for {what}:\n{}", self.log())
    }

    /// Every event that the stand-in took.
    pub fn seen(&self) -> Result<Vec<Seen>> {
        let body = self.control("/_control/events")?;
        let lines = body.lines().map(serde_json::from_str);
        Ok(lines.collect::<Result<_, _>>()?)
    }

    /// The stand-in's sums.
    pub fn totals(&self) -> Result<Totals> {
        let body = self.control("/_control/account")?;
        serde_json::from_str(&body).context("the stand-in's account")
    }

    fn control(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let host = &self.address;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        Ok(body.to_owned())
    }

    /// Ends everything. The folder, if it is kept.
    pub fn leave(mut self, keep: bool) -> Option<PathBuf> {
        self.cast().end();
        self.folder.disable_cleanup(keep);
        keep.then(|| self.folder.path().to_owned())
    }
}
