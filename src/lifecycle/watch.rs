//! A file that is watched: what is written in place, renamed over it, or reached through
//! another symlink is noticed alike.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::sync::mpsc;

/// After the first sign, so that what changes in several steps is read once.
const SETTLES: Duration = Duration::from_millis(200);
/// As many symlinks as the system follows.
const LINKS: u32 = 40;

/// Entries of a folder that come and go. Not every write: a file is looked at once its writer
/// has closed it, never half-written.
const NAMES: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVE)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR);
/// The same, and what happens to a file itself.
const CONTENTS: AddWatchFlags = NAMES
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_ATTRIB);

/// Watches one path, on a thread that ends with this value.
pub struct FileWatch {
    changes: mpsc::UnboundedReceiver<io::Result<()>>,
    #[allow(dead_code, reason = "its other end tells the thread of its drop")]
    end: UnixStream,
}

impl FileWatch {
    /// Watches `path`, which need not be there yet; its folder must be readable if it is. The first
    /// change is told at once, for there may have been one before it was watched.
    ///
    /// # Errors
    /// The system's, if the file's folder cannot be watched or no thread be started.
    pub fn new(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let armed = Armed::new(&path)?;
        let (end, ended) = UnixStream::pair()?;
        let (tell, changes) = mpsc::unbounded_channel();
        std::thread::Builder::new()
            .name("file watch".into())
            .spawn(move || watch(&path, armed, &ended, &tell))?;
        Ok(Self { changes, end })
    }

    /// Resolves when the file may be another one or hold something else. Whoever reads it then
    /// misses nothing: what happens from here on is told again. Cancel-safe.
    ///
    /// # Errors
    /// The system's; nothing is watched any more then.
    pub async fn changed(&mut self) -> io::Result<()> {
        let gone = || io::Error::other("the thread that watches it has ended");
        self.changes.recv().await.unwrap_or_else(|| Err(gone()))
    }
}

fn watch(
    path: &Path,
    mut armed: Armed,
    ended: &UnixStream,
    tell: &mpsc::UnboundedSender<io::Result<()>>,
) {
    let mut changed = true;
    loop {
        if changed {
            // Other links may lead there now. Armed before it is read.
            let outcome = Armed::new(path).map(|now| armed = now);
            let failed = outcome.is_err();
            if tell.send(outcome).is_err() || failed {
                return;
            }
        }
        match armed.wait(path, ended) {
            Ok(Some(seen)) => changed = seen,
            Ok(None) => return,
            Err(errno) => {
                let _ = tell.send(Err(errno.into()));
                return;
            }
        }
        if changed && until_end(ended, SETTLES) {
            return;
        }
    }
}

/// Whether the value is dropped within this time.
fn until_end(ended: &UnixStream, limit: Duration) -> bool {
    let mut fds = [PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
    let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
    matches!(poll(&mut fds, limit), Ok(1..))
}

/// Every folder on the way to the file, watched.
struct Armed {
    inotify: Inotify,
    /// The names that count in each.
    names: HashMap<WatchDescriptor, HashSet<OsString>>,
}

impl Armed {
    fn new(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut folders: HashMap<PathBuf, (AddWatchFlags, HashSet<OsString>)> = HashMap::new();
        for step in way(path) {
            let (mask, names) =
                (folders.entry(step.folder)).or_insert_with(|| (NAMES, HashSet::new()));
            if step.last {
                *mask |= CONTENTS;
            }
            names.insert(step.name);
        }
        let mut watched = HashMap::new();
        for (folder, (mask, names)) in folders {
            match inotify.add_watch(&folder, mask) {
                Ok(descriptor) => {
                    watched.insert(descriptor, names);
                }
                // One that is yet to come is told by the folder above it.
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                // Without this one few changes would be seen; the folders above rarely change.
                Err(errno) if path.parent() == Some(&folder) => return Err(errno.into()),
                Err(_) => {}
            }
        }
        Ok(Self {
            inotify,
            names: watched,
        })
    }

    /// Waits for the next events; whether one counts. `None`: the value was dropped.
    fn wait(&self, path: &Path, ended: &UnixStream) -> Result<Option<bool>, Errno> {
        let mut fds = [
            PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN),
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) if fds[1].any() == Some(true) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        match self.inotify.read_events() {
            Ok(events) => Ok(Some(events.iter().any(|event| self.counts(path, event)))),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Some(false)),
            Err(errno) => Err(errno),
        }
    }

    /// Whether an event may have to do with the file.
    fn counts(&self, path: &Path, event: &InotifyEvent) -> bool {
        let Some(name) = &event.name else {
            // The folder itself, or more events than could be kept.
            return true;
        };
        let ours = (self.names.get(&event.wd)).is_some_and(|names| names.contains(name));
        // A file that is made is yet to be written, which its closing tells.
        ours && !(event.mask == AddWatchFlags::IN_CREATE && is_being_made(path))
    }
}

/// One name that is looked up on the way to a file.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    folder: PathBuf,
    name: OsString,
    /// What it leads to is the file, or a link to it.
    last: bool,
}

/// Every name that is looked up, links followed.
fn way(path: &Path) -> Vec<Step> {
    let parts = |path: &Path| -> VecDeque<PathBuf> {
        path.components()
            .map(|part| PathBuf::from(part.as_os_str()))
            .collect()
    };
    let mut steps = Vec::new();
    let (mut at, mut left, mut links) = (PathBuf::new(), parts(path), 0);
    while let Some(part) = left.pop_front() {
        match part.components().next() {
            Some(Component::Normal(name)) => {
                steps.push(Step {
                    folder: at.clone(),
                    name: name.to_owned(),
                    last: left.is_empty(),
                });
                match fs::read_link(at.join(name)) {
                    Ok(target) if links < LINKS => {
                        links += 1;
                        let mut target = parts(&target);
                        target.append(&mut left);
                        left = target;
                    }
                    _ => at.push(name),
                }
            }
            Some(Component::ParentDir) => {
                at.pop();
            }
            Some(Component::RootDir | Component::Prefix(_)) => at = PathBuf::from("/"),
            Some(Component::CurDir) | None => {}
        }
    }
    steps
}

fn is_being_made(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.nlink() == 1)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    async fn told(watch: &mut FileWatch) {
        let told = tokio::time::timeout(SOON, watch.changed()).await;
        told.expect("told").expect("watched");
    }

    async fn quiet(watch: &mut FileWatch) {
        let told = tokio::time::timeout(SETTLES * 3, watch.changed()).await;
        assert!(told.is_err(), "nothing has changed");
    }

    #[tokio::test]
    async fn writing_renaming_removing_and_making_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let mut watch = FileWatch::new(&file).unwrap();
        told(&mut watch).await;
        quiet(&mut watch).await;
        fs::write(&file, "a").unwrap();
        told(&mut watch).await;
        fs::write(&file, "b").unwrap();
        told(&mut watch).await;
        let new = folder.path().join("new");
        fs::write(&new, "c").unwrap();
        quiet(&mut watch).await;
        fs::rename(&new, &file).unwrap();
        told(&mut watch).await;
        fs::remove_file(&file).unwrap();
        told(&mut watch).await;
    }

    #[tokio::test]
    async fn a_file_that_is_open_for_writing_is_not_told() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let mut watch = FileWatch::new(&path).unwrap();
        told(&mut watch).await;
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        file.flush().unwrap();
        quiet(&mut watch).await;
        drop(file);
        told(&mut watch).await;
    }

    #[tokio::test]
    async fn links_are_followed_and_their_swaps_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["one", "two"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("token"), name).unwrap();
        }
        // As secrets are mounted: token -> data/token, data -> one.
        symlink("one", at("data")).unwrap();
        symlink("data/token", at("token")).unwrap();
        let mut watch = FileWatch::new(&at("token")).unwrap();
        told(&mut watch).await;
        symlink("two", at("data.new")).unwrap();
        quiet(&mut watch).await;
        fs::rename(at("data.new"), at("data")).unwrap();
        told(&mut watch).await;
        assert_eq!(fs::read_to_string(at("token")).unwrap(), "two");
        // What is behind the new link is watched from now on, the old one no more.
        fs::write(at("one/token"), "old").unwrap();
        quiet(&mut watch).await;
        fs::write(at("two/token"), "new").unwrap();
        told(&mut watch).await;
    }

    #[tokio::test]
    async fn a_folder_that_is_swapped_as_a_whole_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["secrets", "new"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("token"), name).unwrap();
        }
        let mut watch = FileWatch::new(&at("secrets/token")).unwrap();
        told(&mut watch).await;
        fs::rename(at("secrets"), at("old")).unwrap();
        told(&mut watch).await;
        fs::rename(at("new"), at("secrets")).unwrap();
        told(&mut watch).await;
        quiet(&mut watch).await;
        fs::write(at("secrets/token"), "again").unwrap();
        told(&mut watch).await;
    }

    #[test]
    fn a_loop_of_links_ends() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        assert!(way(&folder.path().join("a")).len() < 60);
    }
}
