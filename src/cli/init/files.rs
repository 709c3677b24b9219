//! Config and token on disk: whole or not at all, and readable by the daemon alone.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use nix::unistd::{Gid, Group, fchown};

use super::ask::Answers;
use crate::cli::exit::{Exit, Failure, OrExit};
use crate::cli::text::say;

/// The shipped config, all keys with their defaults; its two needed ones are replaced.
const SHIPPED: &str = include_str!("../../../systemd/pinrelay.toml");
/// Whose members may read the files.
const GROUP: &str = "pinrelay";

/// Says so where the token's place cannot stand in a config, which is UTF-8.
///
/// # Errors
/// With exit 64.
pub(super) fn refuse_unwritable(token: &Path) -> Result<(), Failure> {
    match token.to_str() {
        Some(_) => Ok(()),
        None => Err(Failure {
            exit: Exit::Usage,
            error: anyhow!(
                "{}: the path of the config and its token has to be UTF-8: name another with \
                 --config",
                token.display()
            ),
        }),
    }
}

/// Says so, with exit 73, if one of the files is there; moves them aside under `force`.
///
/// # Errors
/// A file is there, or cannot be moved.
pub(super) fn refuse_existing(files: &[&PathBuf], force: bool) -> Result<(), Failure> {
    for file in files {
        if fs::symlink_metadata(file).is_err() {
            continue;
        }
        if !force {
            return Err(Failure {
                exit: Exit::Exists,
                error: anyhow!(
                    "{} is there already: edit it, or replace it with --force, which keeps it \
                     as .bak",
                    file.display()
                ),
            });
        }
        let mut kept = file.as_os_str().to_owned();
        kept.push(".bak");
        fs::rename(file, &kept)
            .with_context(|| format!("keeping {} as .bak", file.display()))
            .or_exit(Exit::Io)?;
    }
    Ok(())
}

/// Writes both. `base_url`: of the environment, in which the config is about to be tried; the
/// service has another environment, and must not send elsewhere than was tried.
///
/// # Errors
/// The system's, naming the file.
pub(super) fn write(
    config: &Path,
    token: &Path,
    answers: &Answers,
    base_url: Option<&str>,
) -> Result<(), Failure> {
    let group = Group::from_name(GROUP)
        .ok()
        .flatten()
        .map(|group| group.gid);
    let folder = config.parent().unwrap_or(Path::new("."));
    make_folder(folder, group)
        .with_context(|| format!("making {}", folder.display()))
        .or_exit(Exit::Io)?;
    let text = filled(answers, token, base_url);
    let secret = format!("{}\n", answers.token.expose());
    for (file, text) in [(token, secret), (config, text)] {
        put(file, &text, group)
            .with_context(|| format!("writing {}", file.display()))
            .or_exit(Exit::Io)?;
    }
    if group.is_none() {
        say(&format!(
            "There is no group {GROUP} yet, so only this user can read the files: make it with \
             systemd-sysusers, then chgrp {GROUP} {} {}\n",
            config.display(),
            token.display()
        ));
    }
    Ok(())
}

/// The shipped config with the answers in it.
fn filled(answers: &Answers, token: &Path, base_url: Option<&str>) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let lines = SHIPPED.lines().map(|line| {
        if line.starts_with("ad_account_id =") {
            format!("ad_account_id = {}", quoted(&answers.ad_account_id))
        } else if line.starts_with("app_name =") {
            format!("app_name = {}", quoted(&answers.app_name))
        } else if line.starts_with("#token_file =")
            && token != Path::new(crate::config::DEFAULT_TOKEN_FILE)
        {
            format!("token_file = {}", quoted(&token.display().to_string()))
        } else if let (true, Some(url)) = (line.starts_with("#base_url ="), base_url) {
            format!("base_url = {}", quoted(url))
        } else if let Some(of) = answers.lines.iter().find(|of| is_default_of(line, of.key)) {
            format!("{} = {}", of.key, of.value)
        } else {
            line.to_owned()
        }
    });
    lines.map(|line| line + "\n").collect()
}

/// Whether the shipped config shows the default of this key here.
fn is_default_of(line: &str, key: &str) -> bool {
    let shown = line
        .strip_prefix('#')
        .and_then(|line| line.strip_prefix(key));
    shown.is_some_and(|rest| rest.starts_with(" ="))
}

fn make_folder(folder: &Path, group: Option<Gid>) -> std::io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(folder)?;
    let mut options = OpenOptions::new();
    options.custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW);
    give(&options.read(true).open(folder)?, group)
}

/// A new file under its name only when it is whole: mode 0640 for the group, or 0600.
fn put(file: &Path, text: &str, group: Option<Gid>) -> std::io::Result<()> {
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty());
    // Made 0600, so nobody reads it before its group is right.
    let mut new = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    new.write_all(text.as_bytes())?;
    give(new.as_file(), group)?;
    let mode = if group.is_some() { 0o640 } else { 0o600 };
    new.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    Ok(())
}

/// To the group, where this user may. What is open is given, whatever stands at its name by now.
fn give(file: &File, group: Option<Gid>) -> std::io::Result<()> {
    match fchown(file, None, group) {
        // Somebody trying it out without being root: the files are theirs.
        Err(nix::errno::Errno::EPERM) => Ok(()),
        done => done.map_err(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ask::CHOICES;
    use super::*;

    #[test]
    fn whatever_is_chosen_has_a_line_in_the_shipped_config() {
        for choice in &CHOICES {
            let lines = SHIPPED.lines();
            let shown = lines.filter(|line| is_default_of(line, choice.key));
            assert_eq!(shown.count(), 1, "{}", choice.key);
        }
    }
}
