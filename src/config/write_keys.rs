//! Who may send over HTTP: `[[ingest.write_keys]]`, each a key with a name.
//!
//! Invariant: a key is never shown, not in an error, not by `Debug`, not where two configs are
//! compared; and no key has two names, or nobody could say who had sent an event.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::keys::Ingest;
use super::raw::{Place, Raw, WriteKeyTexts};
use crate::files;
use crate::secret::Secret;

/// No key's file is larger, in bytes.
const LARGEST: u64 = 64 << 10;
/// No name is longer.
const LONGEST_NAME: usize = 64;

/// An entry, as the config has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteKeyEntry {
    /// Stands in logs and counts where the key must not.
    pub name: String,
    /// Where the key is.
    pub source: WriteKeySource,
    /// Where the entry stands.
    pub place: Place,
}

/// Where a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteKeySource {
    /// In the config itself.
    Config(Secret),
    /// In this file.
    File(PathBuf),
}

/// A key that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteKey {
    /// Whose it is.
    pub name: String,
    /// The key.
    pub key: Secret,
    /// Its file; `None`: it stands in the config.
    pub file: Option<PathBuf>,
    /// The file can be read by every user of the machine.
    pub exposed: bool,
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WriteKeyError {
    /// A file cannot be read.
    #[error(
        "the file {file} of the write key `{name}` cannot be read: {error}; {}",
        files::next_step(error)
    )]
    Unreadable {
        /// Whose key it is.
        name: String,
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file holds nothing that can be a key.
    #[error(
        "the file {file} does not hold the write key `{name}`: it {what}; write the key there, alone \
         on one line"
    )]
    Malformed {
        /// Whose key it is.
        name: String,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Two have the same.
    #[error("the write keys `{0}` and `{1}` are the same: give each sender a key of its own")]
    Same(String, String),
}

/// Why events must not be taken on this TCP address under this config, and what to do; `None`: they
/// may be.
///
/// Invariant: nobody on the network sends events without a key, nor shows theirs to others on the
/// way, unless the operator has said that a proxy sees to both.
pub(super) fn refused(address: SocketAddr, ingest: &Ingest, keys: usize) -> Option<String> {
    let kept = keys > 0 && ingest.http_tls_cert.is_some() && ingest.http_tls_key.is_some();
    // An IPv4 address may stand in an IPv6 one.
    let is_loopback = address.ip().to_canonical().is_loopback();
    (!is_loopback && !kept && !ingest.http_behind_proxy).then(|| {
        format!(
            "{address} is not a loopback address, and whoever reaches it could send events, or read \
             those of others on their way: set [[ingest.write_keys]], `http_tls_cert` and \
             `http_tls_key`; or `http_behind_proxy` = true where a proxy in front sees to both; or \
             listen on a loopback address"
        )
    })
}

/// The entries that are in order; the others are problems.
pub(super) fn entries(raw: &mut Raw) -> Vec<WriteKeyEntry> {
    let mut entries: Vec<WriteKeyEntry> = Vec::new();
    for texts in std::mem::take(&mut raw.write_keys) {
        let place = texts.place.clone();
        let entry = entry(texts).and_then(|entry| match entries.iter().find(|e| same(e, &entry)) {
            Some(other) if other.name == entry.name => Err(format!(
                "two write keys are named `{}`: give each a name of its own",
                entry.name
            )),
            Some(other) => Err(WriteKeyError::Same(other.name.clone(), entry.name).to_string()),
            None => Ok(entry),
        });
        match entry {
            Ok(entry) => entries.push(entry),
            Err(message) => {
                raw.problem(place, message);
                raw.unparsed = true;
            }
        }
    }
    entries
}

/// Two that cannot stand beside each other. What is in files is compared when they are read.
fn same(one: &WriteKeyEntry, other: &WriteKeyEntry) -> bool {
    one.name == other.name || one.source == other.source
}

fn entry(texts: WriteKeyTexts) -> Result<WriteKeyEntry, String> {
    let needed = "a write key needs a `name`, and a `key` or a `key_file`";
    let name = texts.name.ok_or(needed)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !(1..=LONGEST_NAME).contains(&name.len()) || !name.chars().all(plain) {
        return Err("`name` has to be 1 to 64 of A-Z, a-z, 0-9, _, . and -".into());
    }
    let source = match (texts.key, texts.key_file) {
        (Some(_), Some(_)) => {
            return Err(format!("`{name}` has a `key` and a `key_file`: keep one"));
        }
        (Some(key), None) => {
            let key = Secret::parse(&key)
                .map_err(|what| format!("the `key` of `{name}` {what}: write the key alone"))?;
            WriteKeySource::Config(key)
        }
        (None, Some(file)) if !file.trim().is_empty() => WriteKeySource::File(file.into()),
        (None, Some(_)) => return Err(format!("`key_file` of `{name}` has to be a path")),
        (None, None) => return Err(needed.into()),
    };
    Ok(WriteKeyEntry {
        name,
        source,
        place: texts.place,
    })
}

/// Every key, out of the files that have one.
///
/// # Errors
/// [`WriteKeyError`], of the first that cannot be used.
pub(super) fn read(entries: &[WriteKeyEntry]) -> Result<Vec<WriteKey>, WriteKeyError> {
    let mut keys: Vec<WriteKey> = Vec::with_capacity(entries.len());
    for entry in entries {
        let key = match &entry.source {
            WriteKeySource::Config(key) => WriteKey {
                name: entry.name.clone(),
                key: key.clone(),
                file: None,
                exposed: false,
            },
            WriteKeySource::File(file) => in_file(&entry.name, file)?,
        };
        if let Some(other) = keys.iter().find(|other| other.key == key.key) {
            return Err(WriteKeyError::Same(other.name.clone(), key.name));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn in_file(name: &str, file: &Path) -> Result<WriteKey, WriteKeyError> {
    let (bytes, about) = files::read(file, LARGEST).map_err(|error| WriteKeyError::Unreadable {
        name: name.to_owned(),
        file: file.to_owned(),
        error,
    })?;
    let malformed = |what: String| WriteKeyError::Malformed {
        name: name.to_owned(),
        file: file.to_owned(),
        what,
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed("is not text".into()))?;
    // Editors end a line, and some begin one.
    let key = Secret::parse(text.trim()).map_err(|what| malformed(what.to_string()))?;
    Ok(WriteKey {
        name: name.to_owned(),
        key,
        file: Some(file.to_owned()),
        exposed: about.mode() & 0o004 != 0,
    })
}
