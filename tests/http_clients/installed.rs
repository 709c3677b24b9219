//! The clients, set up below the target folder: their packages once, their scripts each time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::support::bare;

/// A client, or what is missing here to run it.
pub type Installed = Result<Command, String>;

/// A script of the folder `node`.
pub fn node(script: &str) -> Installed {
    let mut command = bare(Path::new("node"));
    command.arg(node_folder()?.join(script));
    Ok(command)
}

/// A script that stands elsewhere, with this module loaded before it.
pub fn node_text(name: &str, text: &str, before: Option<&str>) -> Installed {
    let folder = node_folder()?;
    let mut command = bare(Path::new("node"));
    if let Some(module) = before {
        command.arg("--import").arg(folder.join(module));
    }
    command.arg(written(&folder.join(name), text));
    Ok(command)
}

fn node_folder() -> Result<PathBuf, String> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        runs("node")?;
        runs("npm")?;
        set_up("node", "package.json", "node_modules", |folder| {
            let mut npm = Command::new("npm");
            npm.args(["install", "--no-audit", "--no-fund", "--no-package-lock"]);
            // Nothing is built, and one package wants Redis for what is not used here.
            npm.args(["--ignore-scripts", "--omit=optional"]);
            succeeds(npm.arg("--fetch-retries=1").current_dir(folder))
        })
    });
    folder.clone()
}

/// A script of the folder `python`.
pub fn python(script: &str) -> Installed {
    let folder = python_folder()?;
    let mut command = bare(&folder.join("venv/bin/python"));
    command.arg(folder.join(script));
    Ok(command)
}

/// A script that stands elsewhere.
pub fn python_text(name: &str, text: &str) -> Installed {
    let folder = python_folder()?;
    let mut command = bare(&folder.join("venv/bin/python"));
    command.arg(written(&folder.join(name), text));
    Ok(command)
}

fn python_folder() -> Result<PathBuf, String> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        runs("python3")?;
        set_up("python", "requirements.txt", "venv", |folder| {
            let mut venv = Command::new("python3");
            succeeds(venv.args(["-m", "venv", "venv"]).current_dir(folder))?;
            let mut pip = Command::new(folder.join("venv/bin/python"));
            pip.args(["-m", "pip", "install", "--quiet", "--retries", "1"]);
            succeeds(pip.args(["-r", "requirements.txt"]).current_dir(folder))
        })
    });
    folder.clone()
}

/// The script for curl, which needs no packages.
pub fn curl() -> Installed {
    for program in ["bash", "curl", "gzip"] {
        runs(program)?;
    }
    let mut command = bare(Path::new("bash"));
    command.arg(sources().join("curl.sh"));
    Ok(command)
}

/// A program of the machine. Some stand where only root's PATH leads.
pub fn program(name: &str) -> Installed {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    let found = folders.iter().map(|folder| folder.join(name));
    let found = found.into_iter().find(|file| file.is_file());
    found
        .map(|file| bare(&file))
        .ok_or_else(|| format!("there is no {name} here"))
}

fn written(file: &Path, text: &str) -> PathBuf {
    fs::write(file, text).expect("a script");
    file.to_owned()
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http_clients")
}

/// Copies a folder of scripts to where packages may lie beside them, and installs these into
/// `packages` unless the same `list` of them was installed there before.
fn set_up(
    name: &str,
    list: &str,
    packages: &str,
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("http_clients");
    let folder = folder.join(name);
    copied(&sources().join(name), &folder).expect("the scripts are copied");
    let wanted = fs::read(folder.join(list)).expect("a list of packages");
    // Written last, so half an installation is none.
    let stamp = folder.join("installed");
    if fs::read(&stamp).is_ok_and(|had| had == wanted) {
        return Ok(folder);
    }
    match fs::remove_dir_all(folder.join(packages)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => panic!("{}: {e}", folder.display()),
        _ => install(&folder)?,
    }
    fs::write(stamp, wanted).expect("a stamp");
    Ok(folder)
}

fn copied(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn runs(program: &str) -> Result<(), String> {
    succeeds(Command::new(program).arg("--version"))
}

/// With this process's whole environment: it may say where packages come from.
fn succeeds(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = (command.output()).map_err(|e| format!("{program} does not run here: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    let said =
        String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    Err(format!("{command:?} failed: {}", said.trim()))
}
