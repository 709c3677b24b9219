//! Real PostgreSQL servers, for tests and benchmarks: each in a folder of its own, on loopback and
//! a Unix socket there. They run as somebody without rights also when the tests are root, and end
//! by process id with their value, or with the process of the tests, whatever ends that.
//!
//! Where no PostgreSQL is installed, a test says that it is skipped; it fails instead where
//! `PINRELAY_POSTGRES_REQUIRED` is set.

mod copies;
mod life;
mod programs;
mod session;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

pub use copies::Backup;
use life::Life;
use programs::Programs;
pub use session::Session;

/// What every server begins with. Small, and several of them fit on one machine.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("shared_buffers", "32MB"),
    ("max_connections", "100"),
    ("wal_level", "replica"),
    ("max_wal_senders", "4"),
    ("hot_standby", "on"),
    ("max_wal_size", "256MB"),
    ("log_line_prefix", "%m [%p] %a "),
    ("timezone", "UTC"),
];

/// The superuser comes in without a password, everybody else with one.
const ACCESS: &str = "local all,replication all trust\n\
     host all postgres 127.0.0.1/32 trust\n\
     host replication postgres 127.0.0.1/32 trust\n\
     host all all 127.0.0.1/32 scram-sha-256\n";

/// Longest wait for a server to do what it was asked for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what tells no event of its own.
const LOOK: Duration = Duration::from_millis(10);

/// One server, running or not. Its address and its settings stay over its lives.
pub struct Server {
    programs: Programs,
    folder: tempfile::TempDir,
    port: u16,
    settings: Mutex<BTreeMap<String, String>>,
    life: Mutex<Option<Life>>,
}

impl Server {
    /// A new server with these settings; `None`: no PostgreSQL is installed, and that has been
    /// said.
    ///
    /// # Panics
    /// If it does not start, or one is required and not there.
    pub fn start(settings: &[(&str, &str)]) -> Option<Self> {
        let Some(programs) = Programs::find() else {
            let required = std::env::var_os("PINRELAY_POSTGRES_REQUIRED").is_some();
            assert!(!required, "PostgreSQL 15 or newer is required and not here");
            println!("skipped: no PostgreSQL here (15 or newer)");
            return None;
        };
        let server = Self::new(programs, SETTINGS.iter().chain(settings));
        let mut initdb = server.programs.command("initdb");
        initdb.args([
            "--no-sync",
            "--no-locale",
            "-E",
            "UTF8",
            "-A",
            "trust",
            "-U",
            "postgres",
            "-D",
        ]);
        programs::run(initdb.arg(server.data()));
        server.restart();
        Some(server)
    }

    /// Nothing is in its folder yet.
    fn new<'a>(programs: Programs, settings: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        if let Some((user, group)) = programs.user() {
            chown(folder.path(), Some(user), Some(group)).expect("root gives it away");
        }
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            programs,
            folder,
            port: free_port(),
            settings: Mutex::new(settings.map(own).collect()),
            life: Mutex::default(),
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where its Unix socket is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, as a URL of several hosts lists them.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// For the superuser, who needs no password.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address())
    }

    /// For a role that was given this password.
    pub fn url_of(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@{}/{database}", self.address())
    }

    /// What it logged, over all its lives.
    pub fn log(&self) -> String {
        let log = fs::read(self.folder.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Runs statements as the superuser, each for itself; the rows of all, columns between bars.
    /// They wait for no standby unless they ask for it.
    ///
    /// # Panics
    /// If one fails.
    pub fn sql(&self, statements: &str) -> Vec<String> {
        self.try_sql("postgres", statements)
            .unwrap_or_else(|error| panic!("{statements}: {error}\n{}", self.log_end()))
    }

    /// The same in any database; what `psql` says of a statement that fails, behind which none is
    /// run.
    ///
    /// # Errors
    /// A text for people.
    pub fn try_sql(&self, database: &str, statements: &str) -> Result<Vec<String>, String> {
        let mut psql = self.psql("postgres", database);
        psql.args(["-v", "ON_ERROR_STOP=1", "-f", "-"]);
        programs::ask(&mut psql, statements)
    }

    /// The first column of the first row.
    pub fn value(&self, statement: &str) -> String {
        let rows = self.sql(statement);
        rows.into_iter().next().unwrap_or_default()
    }

    /// A connection that stays, as this role.
    pub fn session(&self, role: &str, database: &str) -> Session {
        Session::begin(self.psql(role, database))
    }

    fn psql(&self, role: &str, database: &str) -> std::process::Command {
        let mut psql = self.programs.bare("psql");
        psql.args(["-X", "-A", "-t", "-q", "-U", role, "-d", database]);
        psql.arg("-h").arg(self.folder.path());
        psql.args(["-p", &self.port.to_string()]);
        // What the tests arrange must not wait for what they broke.
        psql.env(
            "PGOPTIONS",
            "-c synchronous_commit=local -c statement_timeout=60s",
        );
        psql.env("PGCONNECT_TIMEOUT", "20");
        psql.env("PGAPPNAME", "test");
        psql.stderr(Stdio::piped());
        psql
    }

    /// Changes a setting; a running server has read it when this returns. Some count from the next
    /// start on only.
    pub fn set(&self, name: &str, value: &str) {
        self.settings().insert(name.to_owned(), value.to_owned());
        self.write_settings();
        if let Some(pid) = self.pid() {
            let before = self.value("SELECT pg_conf_load_time()");
            life::signal(pid, Signal::SIGHUP);
            self.shows("the setting read", "SELECT pg_conf_load_time()", |time| {
                *time != before
            });
        }
    }

    fn settings(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.settings.lock().expect("nobody panics with it")
    }

    fn write_settings(&self) {
        let mut text = String::new();
        for (name, value) in &*self.settings() {
            text += &format!("{name} = '{}'\n", value.replace('\'', "''"));
        }
        let folder = self.folder.path();
        text += &format!(
            "port = {}\nunix_socket_directories = '{}'\nhba_file = '{}'\n",
            self.port,
            folder.display(),
            folder.join("access").display()
        );
        self.write(&folder.join("access"), ACCESS);
        self.write(&folder.join("settings"), &text);
    }

    /// A file that the server may read, and that is there as a whole or not at all.
    fn write(&self, path: &Path, text: &str) {
        let new = path.with_extension("new");
        fs::write(&new, text).expect("a file in our folder");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).expect("our own file");
        fs::rename(&new, path).expect("within a folder");
    }

    /// Ends it in order, if it runs.
    pub fn stop(&self) {
        if let Some(life) = self.life.lock().expect("nobody panics with it").take() {
            life.stop(PATIENCE);
        }
    }

    /// Ends it as a loss of its machine would: the server and all its processes at one instant,
    /// without another word to anybody.
    pub fn kill9(&self) {
        if let Some(life) = self.life.lock().expect("nobody panics with it").take() {
            life.kill();
        }
    }

    /// Ends it in order, if it runs, and starts it; it takes connections when this returns.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn restart(&self) {
        self.stop();
        self.write_settings();
        let begun = Instant::now();
        let life = Life::begin(&self.programs, self.folder.path(), &self.data());
        while !life.takes_connections(&self.data()) {
            let is_late = begun.elapsed() > PATIENCE;
            assert!(
                !is_late && !life.has_ended(LOOK),
                "it does not start:\n{}",
                self.log_end()
            );
        }
        *self.life.lock().expect("nobody panics with it") = Some(life);
    }

    /// Of the running server's first process.
    pub fn pid(&self) -> Option<i32> {
        let life = self.life.lock().expect("nobody panics with it");
        life.as_ref().map(Life::pid)
    }

    /// All its processes stand still, as on a machine that has been suspended.
    pub fn pause(&self) {
        self.pid().into_iter().for_each(life::pause);
    }

    /// They go on.
    pub fn resume(&self) {
        self.pid().into_iter().for_each(life::resume);
    }

    /// Ends the connections of which this is true in `pg_stat_activity`; how many there were.
    pub fn terminate_backends(&self, condition: &str) -> usize {
        self.backends("pg_terminate_backend", condition)
    }

    /// The same for what they are doing: a commit that waits for its standby waits no more.
    pub fn cancel_backends(&self, condition: &str) -> usize {
        self.backends("pg_cancel_backend", condition)
    }

    fn backends(&self, what: &str, condition: &str) -> usize {
        let rows = self.sql(&format!(
            "SELECT {what}(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() \
             AND backend_type = 'client backend' AND ({condition})"
        ));
        rows.iter().filter(|row| *row == "t").count()
    }

    /// Waits until the value of this statement is so.
    ///
    /// # Panics
    /// If it takes too long.
    pub fn shows(&self, what: &str, statement: &str, is: impl Fn(&String) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let value = self.value(statement);
            if is(&value) {
                return value;
            }
            let is_late = begun.elapsed() > PATIENCE;
            assert!(
                !is_late,
                "not within {PATIENCE:?}: {what}, but {value}\n{}",
                self.log_end()
            );
            std::thread::sleep(LOOK);
        }
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            eprintln!("--- log of {}:\n{}", self.address(), self.log_end());
        }
    }
}

/// A port where nobody listens, below those that outgoing connections are given: it has to be free
/// at each start of its server.
fn free_port() -> u16 {
    const FIRST: u16 = 15_000;
    const COUNT: u16 = 15_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes run side by side: each begins somewhere else.
    let own = (std::process::id() % u32::from(COUNT / 50)) as u16 * 50;
    for _ in 0..COUNT {
        let at = own.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind(("127.0.0.1", FIRST + at)).is_ok() {
            return FIRST + at;
        }
    }
    panic!("no port is free");
}
