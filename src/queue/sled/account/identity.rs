//! Whose queue this is: the lock that keeps a second daemon out, and the `format` file with the
//! version of the whole folder and the key of its messageId hashes.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use siphasher::sip128::SipHasher24;

use crate::files::dangling_link;
use crate::queue::contract::OpenError;
use crate::queue::record::codec::{self, FORMAT_VERSION};
use crate::queue::sled::disk::{
    At, GENERATIONS, StoreError, create_private_dir, is_there,
    layout::{FORMAT, LOCK},
    meta_folder, replace, sync_dir,
};

/// Held while this process owns the folder.
pub struct Lock(#[allow(dead_code, reason = "held for its lock")] Flock<File>);

/// Takes the folder for this process, making it if need be.
pub fn lock(root: &Path) -> Result<Lock, OpenError> {
    create_private_dir(root).map_err(|error| no_folder(root, error))?;
    let path = root.join(LOCK);
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

/// Why there is no folder, where the system's word for it misleads.
fn no_folder(root: &Path, error: StoreError) -> OpenError {
    let shown = root.display();
    if let Some(link) = dangling_link(root) {
        let next = "make that folder, or set queue.path";
        return OpenError::Io(format!("queue folder {shown}: {link}: {next}"));
    }
    match root.symlink_metadata() {
        Ok(_) => OpenError::Io(format!(
            "queue folder {shown} is not a folder: set queue.path to one"
        )),
        Err(_) => error.into(),
    }
}

/// The queue's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// A random id, told in logs, so that a copied folder can be recognised.
    pub id: uuid::Uuid,
    /// Key of the messageId hashes.
    pub key: [u8; 16],
    /// Keyed hash of the id of the machine it was made on or adopted by; none where that has
    /// no id, as in containers.
    pub machine: Option<u128>,
}

impl Identity {
    /// A new one, on a machine with this id.
    pub fn new(machine_id: Option<&str>) -> Self {
        let key = *uuid::Uuid::new_v4().as_bytes();
        Self {
            id: uuid::Uuid::new_v4(),
            key,
            machine: machine_id.map(|id| machine_hash(key, id)),
        }
    }

    /// Whether the queue may run on a machine with this id: where either has none, it may.
    pub fn is_at_home(&self, machine_id: Option<&str>) -> bool {
        match (self.machine, machine_id) {
            (Some(made_on), Some(id)) => made_on == machine_hash(self.key, id),
            _ => true,
        }
    }

    /// The same queue, begun anew on a machine with this id.
    pub fn adopted(&self, machine_id: Option<&str>) -> Self {
        Self {
            id: uuid::Uuid::new_v4(),
            key: self.key,
            machine: machine_id.map(|id| machine_hash(self.key, id)),
        }
    }

    /// As the file has it.
    pub fn text(&self) -> String {
        let key = u128::from_be_bytes(self.key);
        let machine = match self.machine {
            Some(machine) => format!("machine {machine:032x}\n"),
            None => String::new(),
        };
        let id = self.id;
        let body = format!("pinrelay-queue {FORMAT_VERSION}\nid {id}\nkey {key:032x}\n{machine}");
        let sum = codec::checksum(b"format", body.as_bytes());
        format!("{body}checksum {sum:016x}\n")
    }

    /// Writes the file in place of what is there.
    pub fn write(&self, root: &Path) -> Result<(), StoreError> {
        let path = root.join(FORMAT);
        replace(&path, &path.with_extension("tmp"), self.text().as_bytes())
    }
}

/// The machine's id stays out of backups of the queue: it is meant to be kept to itself.
fn machine_hash(key: [u8; 16], machine_id: &str) -> u128 {
    SipHasher24::new_with_key(&key)
        .hash(machine_id.trim().as_bytes())
        .into()
}

/// Reads the identity, or makes one for a folder that holds nothing yet.
pub fn load_or_create(root: &Path, machine_id: Option<&str>) -> Result<Identity, StoreError> {
    let path = root.join(FORMAT);
    match load(root)? {
        Some(identity) => Ok(identity),
        None => {
            for store in [meta_folder(root), root.join(GENERATIONS)] {
                if is_there(&store)? {
                    return Err(StoreError::damaged(
                        &path,
                        "it holds the key of the messageIds and is missing; `pinrelay verify \
                         --repair` may find it in the account, else restore it from a backup, \
                         or move the folder away, with the file .anchor beside it",
                    ));
                }
            }
            let identity = Identity::new(machine_id);
            identity.write(root)?;
            if let Some(parent) = root.parent() {
                sync_dir(parent)?;
            }
            Ok(identity)
        }
    }
}

/// Reads the identity; none if there is no file.
pub fn load(root: &Path) -> Result<Option<Identity>, StoreError> {
    let path = root.join(FORMAT);
    match fs::read(&path) {
        // What is no text is no identity; its checksum would not hold.
        Ok(bytes) => parse(&path, &String::from_utf8_lossy(&bytes)).map(Some),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Io { path, source }),
    }
}

/// Reads the text of the file at `path`.
pub fn parse(path: &Path, text: &str) -> Result<Identity, StoreError> {
    let damaged = |what: &str| StoreError::damaged(path, what);
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
            machine: field("machine ").and_then(|v| u128::from_str_radix(v, 16).ok()),
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
        let made = load_or_create(dir.path(), Some("a machine")).unwrap();
        assert_eq!(load_or_create(dir.path(), None).unwrap(), made);
        let path = dir.path().join("format");
        let text = fs::read_to_string(&path).unwrap();
        for (changed, newer) in [
            (text.replace("queue 1", "queue 2"), true),
            (text.replace("key ", "key 1"), false),
            ("something else\n".into(), false),
            (String::new(), false),
        ] {
            fs::write(&path, &changed).unwrap();
            let error = load_or_create(dir.path(), None).unwrap_err();
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
            load_or_create(dir.path(), None),
            Err(StoreError::Damaged { .. })
        ));
    }

    #[test]
    fn only_two_different_machine_ids_are_strangers() {
        let here = Identity::new(Some("4c4c4544\n"));
        assert!(here.is_at_home(Some("4c4c4544")) && here.is_at_home(None));
        assert!(!here.is_at_home(Some("4c4c4545")));
        assert!(Identity::new(None).is_at_home(Some("4c4c4545")));
        let there = here.adopted(Some("4c4c4545"));
        assert!(there.is_at_home(Some("4c4c4545")) && !there.is_at_home(Some("4c4c4544")));
        assert_eq!((there.key == here.key, there.id == here.id), (true, false));
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
