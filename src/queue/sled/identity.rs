//! Whose queue this is: the lock that keeps a second daemon out, and the `format` file with the
//! version of the whole folder and the key of its messageId hashes.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::codec::{self, FORMAT_VERSION};
use super::store::{At, StoreError, create_private_dir, sync_dir};
use crate::queue::OpenError;

/// Held while this process owns the folder.
pub(super) struct Lock(#[allow(dead_code, reason = "held for its lock")] Flock<File>);

/// Takes the folder for this process, making it if need be.
pub(super) fn lock(root: &Path) -> Result<Lock, OpenError> {
    create_private_dir(root)?;
    let path = root.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .at(&path)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Lock(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Err(OpenError::InUse(format!(
            "queue folder {}: another pinrelay is running on it; stop that one, or give this \
             instance a queue.path of its own",
            root.display()
        ))),
        Err((_, errno)) => Err(StoreError::Io {
            path,
            source: errno.into(),
        }
        .into()),
    }
}

/// The queue's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// A random id, told in logs, so that a copied folder can be recognised.
    pub(super) id: uuid::Uuid,
    /// Key of the messageId hashes.
    pub(super) key: [u8; 16],
}

/// Reads the identity, or makes one for a folder that holds nothing yet.
pub(super) fn load_or_create(root: &Path) -> Result<Identity, StoreError> {
    let path = root.join("format");
    match fs::read_to_string(&path) {
        Ok(text) => parse(&path, &text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            for store in ["meta", "gen"] {
                if root.join(store).exists() {
                    let what = "its file `format`, which holds the key of its messageIds, is \
                                missing; restore it from a backup, or move the folder away"
                        .into();
                    return Err(StoreError::Damaged {
                        path: root.into(),
                        what,
                    });
                }
            }
            create(root, &path)
        }
        Err(source) => Err(StoreError::Io { path, source }),
    }
}

fn create(root: &Path, path: &Path) -> Result<Identity, StoreError> {
    let identity = Identity {
        id: uuid::Uuid::new_v4(),
        key: *uuid::Uuid::new_v4().as_bytes(),
    };
    let key = u128::from_be_bytes(identity.key);
    let body = format!(
        "pinrelay-queue {FORMAT_VERSION}\nid {}\nkey {key:032x}\n",
        identity.id
    );
    let sum = codec::checksum(b"format", body.as_bytes());
    let tmp = path.with_extension("tmp");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&tmp)
        .at(&tmp)?;
    file.write_all(format!("{body}checksum {sum:016x}\n").as_bytes())
        .at(&tmp)?;
    file.sync_all().at(&tmp)?;
    fs::rename(&tmp, path).at(path)?;
    sync_dir(root)?;
    if let Some(parent) = root.parent() {
        sync_dir(parent)?;
    }
    Ok(identity)
}

fn parse(path: &Path, text: &str) -> Result<Identity, StoreError> {
    let damaged = |what: &str| StoreError::Damaged {
        path: path.into(),
        what: what.into(),
    };
    let version = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("pinrelay-queue "));
    match version.and_then(|v| v.parse::<u8>().ok()) {
        Some(FORMAT_VERSION) => {}
        Some(version) if version > FORMAT_VERSION => {
            return Err(StoreError::Newer {
                path: path.into(),
                version,
            });
        }
        _ => {
            return Err(damaged(
                "this is not a pinrelay queue; point queue.path elsewhere",
            ));
        }
    }
    let (body, sum) = text
        .rsplit_once("checksum ")
        .ok_or_else(|| damaged("it is cut short"))?;
    if format!("{:016x}", codec::checksum(b"format", body.as_bytes())) != sum.trim_end() {
        return Err(damaged("its checksum does not hold"));
    }
    let field = |name: &str| body.lines().find_map(|line| line.strip_prefix(name));
    let id = field("id ").and_then(|v| v.parse().ok());
    let key = field("key ").and_then(|v| u128::from_str_radix(v, 16).ok());
    match (id, key) {
        (Some(id), Some(key)) => Ok(Identity {
            id,
            key: key.to_be_bytes(),
        }),
        _ => Err(damaged("a line is missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_stays_and_a_newer_or_foreign_one_is_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        let made = load_or_create(dir.path()).unwrap();
        assert_eq!(load_or_create(dir.path()).unwrap(), made);
        let path = dir.path().join("format");
        let text = fs::read_to_string(&path).unwrap();
        for (changed, newer) in [
            (text.replace("queue 1", "queue 2"), true),
            (text.replace("key ", "key 1"), false),
            ("something else\n".into(), false),
            (String::new(), false),
        ] {
            fs::write(&path, &changed).unwrap();
            let error = load_or_create(dir.path()).unwrap_err();
            assert_eq!(
                matches!(error, StoreError::Newer { version: 2, .. }),
                newer,
                "{error}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), changed);
        }
    }

    #[test]
    fn a_queue_without_its_format_file_is_not_taken_for_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("gen")).unwrap();
        assert!(matches!(
            load_or_create(dir.path()),
            Err(StoreError::Damaged { .. })
        ));
    }

    #[test]
    fn a_second_lock_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        assert!(matches!(lock(dir.path()), Err(OpenError::InUse(_))));
        drop(held);
        assert!(lock(dir.path()).is_ok());
    }
}
