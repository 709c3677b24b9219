//! The programs of a PostgreSQL that is installed, and who runs them.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User};

/// The oldest that the engine supports.
const OLDEST: u32 = 15;

/// Where the programs are, and as whom they run.
#[derive(Clone)]
pub struct Programs {
    folder: PathBuf,
    user: Option<(u32, u32)>,
}

impl Programs {
    /// The newest of Debian's folders, else what is on the PATH.
    pub fn find() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter();
        let folders = versions
            .flatten()
            .flatten()
            .map(|entry| entry.path().join("bin"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = folders.chain(std::env::split_paths(&path)).collect();
        let version = |folder: &PathBuf| Some((version(folder)?, folder.clone()));
        let all = folders.iter().filter_map(version);
        let (_, folder) =
            (all.filter(|(version, _)| *version >= OLDEST)).max_by_key(|(version, _)| *version)?;
        Some(Self {
            folder,
            user: unprivileged(),
        })
    }

    /// Who runs them, if that is not who runs the tests: a server refuses to be root's.
    pub fn user(&self) -> Option<(u32, u32)> {
        self.user
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// One of the programs with nothing of this process's environment but the PATH.
    pub fn bare(&self, name: &str) -> Command {
        bare(&self.path(name))
    }

    /// The same as whoever owns the server.
    pub fn command(&self, name: &str) -> Command {
        self.by_owner(&self.path(name))
    }

    /// Any program as whoever owns the server.
    pub fn by_owner(&self, program: &Path) -> Command {
        let mut command = bare(program);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("LC_ALL", "C");
    // It may be one that the server's owner must not enter.
    command.current_dir("/");
    command.stdin(Stdio::null());
    command
}

/// Of a folder that has all that is needed.
fn version(folder: &Path) -> Option<u32> {
    let needed = ["initdb", "postgres", "pg_basebackup", "psql"];
    if !needed.iter().all(|name| folder.join(name).exists()) {
        return None;
    }
    let out = bare(&folder.join("postgres")).arg("--version").output();
    let out = String::from_utf8(out.ok()?.stdout).ok()?;
    // "postgres (PostgreSQL) 15.18 (Debian …)"
    let number = out.split(' ').nth(2)?;
    let number = number.split(|c: char| !c.is_ascii_digit()).next()?;
    let number: u32 = number.parse().ok()?;
    (number >= OLDEST).then_some(number)
}

fn unprivileged() -> Option<(u32, u32)> {
    if !Uid::effective().is_root() {
        return None;
    }
    let user = |name| User::from_name(name).ok().flatten();
    let user = user("postgres").or_else(|| user("nobody"));
    let user = user.expect("somebody without rights");
    Some((user.uid.as_raw(), user.gid.as_raw()))
}

/// Runs a program to its end.
///
/// # Panics
/// If it fails.
pub fn run(command: &mut Command) {
    let out = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {said}");
}

/// Runs a program that is given a text; its lines.
///
/// # Errors
/// What it complained of, if it fails.
pub fn ask(command: &mut Command, text: &str) -> Result<Vec<String>, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut stdin = child.stdin.take().expect("piped");
    // Who has ended already says why.
    let _ = stdin.write_all(text.as_bytes());
    drop(stdin);
    let out = child.wait_with_output().expect("our own child");
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&out.stdout);
    Ok(text.lines().map(str::to_owned).collect())
}
