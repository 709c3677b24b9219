//! The one place where a failed read of a queue's file ends the process before anybody can take
//! it for something else.
//!
//! sled 0.34 takes a failed read for the end of its log: its recovery drops the error, cuts the
//! store off there, and writes over what follows. One EIO at a start made 1,500 acknowledged
//! events unreadable for good. What reads through std, ours included, calls C symbols, and a
//! symbol that the program defines itself wins over libc's. So here they are the same system
//! calls, with one difference: when one of them fails on a file below a folder that [`watch`] was
//! told of, the error is told and the process ends with 74. Whoever asked is never answered.
//!
//! And where sled, while it opens a store, is about to overwrite bytes that are there with others,
//! the store is copied first ([`before_changes`]): that happens where its log ends in something
//! torn or damaged, and from then on the copy is the only evidence.
//!
//! The price at run time is one load of an atomic per call. [`in_force`] refuses a process in which
//! these are not the symbols that are called.

// The exception to `unsafe_code = "deny"`: C symbols cannot be defined, nor raw descriptors read,
// without it.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libc::{c_int, c_void, off64_t, size_t, ssize_t};

/// Calls of each symbol since the process began: they show that std calls these.
static CALLS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

const READ: usize = 0;
const PREAD: usize = 1;
const PWRITE: usize = 2;
const READDIR: usize = 3;

/// The folders whose files are a queue's, and whom to tell.
static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

/// How long `on_failure` has to end the process in order.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How many stores are being opened; their files are in [`OPENING`].
static OPENINGS: AtomicUsize = AtomicUsize::new(0);
static OPENING: Mutex<Vec<Arc<Opening>>> = Mutex::new(Vec::new());

struct Watched {
    root: PathBuf,
    on_failure: Arc<dyn Fn(&str) + Send + Sync>,
}

/// A store's data file while sled opens it.
struct Opening {
    file: FileId,
    copy: Mutex<Copy>,
}

enum Copy {
    Due(Box<dyn FnOnce() -> bool + Send>),
    Made,
    /// It failed: nothing may be changed.
    Failed,
}

/// What a name stands for: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    dev: u64,
    ino: u64,
}

impl FileId {
    pub fn of(meta: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self {
            dev: meta.dev(),
            ino: meta.ino(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on, a failed read of a file below `root` is reported to `on_failure`, which replaces
/// the one given for that folder before. The process ends with 74 a moment later, whatever it does.
pub fn watch(root: &Path, on_failure: Arc<dyn Fn(&str) + Send + Sync>) {
    // As the system names open files. What cannot be resolved is not there yet; its name holds.
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let mut watched = lock(&WATCHED);
    watched.retain(|other| other.root != root);
    watched.push(Watched { root, on_failure });
}

/// Whether std's reads, writes and listings call the symbols of this file; asked after at least
/// one of each.
pub fn in_force() -> bool {
    let listed = cfg!(not(target_env = "gnu")) || CALLS[READDIR].load(Ordering::Relaxed) > 0;
    let called = [READ, PREAD, PWRITE].map(|call| CALLS[call].load(Ordering::Relaxed) > 0);
    listed && called == [true; 3]
}

/// Runs `open`, which opens the store whose data file is `file`; `copy` runs before the first
/// write that changes bytes of that file. Where it says no, that write and all later ones fail.
pub fn before_changes<T>(
    file: FileId,
    copy: impl FnOnce() -> bool + Send + 'static,
    open: impl FnOnce() -> T,
) -> T {
    struct Ends(Arc<Opening>);
    impl Drop for Ends {
        fn drop(&mut self) {
            lock(&OPENING).retain(|other| !Arc::ptr_eq(other, &self.0));
            OPENINGS.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let opening = Arc::new(Opening {
        file,
        copy: Mutex::new(Copy::Due(Box::new(copy))),
    });
    lock(&OPENING).push(opening.clone());
    OPENINGS.fetch_add(1, Ordering::SeqCst);
    let _ends = Ends(opening);
    open()
}

/// Stands in for libc's `read`.
///
/// # Safety
/// As libc's: `buf` has room for `count` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(fd: c_int, buf: *mut c_void, count: size_t) -> ssize_t {
    CALLS[READ].fetch_add(1, Ordering::Relaxed);
    // SAFETY: the caller's promise is passed on.
    let read = unsafe { libc::syscall(libc::SYS_read, fd, buf, count) };
    if read < 0 {
        failed(fd, "read");
    }
    read as ssize_t
}

/// Stands in for libc's `pread64`.
///
/// # Safety
/// As libc's: `buf` has room for `count` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pread64(
    fd: c_int,
    buf: *mut c_void,
    count: size_t,
    offset: off64_t,
) -> ssize_t {
    CALLS[PREAD].fetch_add(1, Ordering::Relaxed);
    // SAFETY: the caller's promise is passed on.
    let read = unsafe { pread(fd, buf, count, offset) };
    if read < 0 {
        failed(fd, "read");
    }
    read
}

/// Stands in for libc's `pwrite64`.
///
/// # Safety
/// As libc's: `buf` holds `count` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(
    fd: c_int,
    buf: *const c_void,
    count: size_t,
    offset: off64_t,
) -> ssize_t {
    CALLS[PWRITE].fetch_add(1, Ordering::Relaxed);
    if OPENINGS.load(Ordering::SeqCst) > 0 {
        // SAFETY: the caller promises that `buf` holds `count` bytes.
        let bytes = unsafe { std::slice::from_raw_parts(buf.cast::<u8>(), count) };
        if !may_change(fd, bytes, offset) {
            errno::set_errno(errno::Errno(libc::EIO));
            return -1;
        }
    }
    // SAFETY: the caller's promise is passed on.
    let written = unsafe { libc::syscall(libc::SYS_pwrite64, fd, buf, count, offset) };
    written as ssize_t
}

/// The system call alone.
///
/// # Safety
/// `buf` has room for `count` bytes.
unsafe fn pread(fd: c_int, buf: *mut c_void, count: size_t, offset: off64_t) -> ssize_t {
    // SAFETY: as the caller promises.
    unsafe { libc::syscall(libc::SYS_pread64, fd, buf, count, offset) as ssize_t }
}

/// Listings of folders: what std drops (sled the entry that could not be read, std a failed close
/// by a panic) ends the process as well. glibc alone; elsewhere libc's own stand.
#[cfg(target_env = "gnu")]
mod folders {
    use std::sync::OnceLock;

    use crate::queue::sled::disk::syscalls::{
        CALLS, Ordering, READDIR, c_int, end_if_watched, failed, path_of,
    };

    type Readdir = unsafe extern "C" fn(*mut libc::DIR) -> *mut libc::dirent64;
    type Closedir = unsafe extern "C" fn(*mut libc::DIR) -> c_int;

    fn next(name: &std::ffi::CStr) -> usize {
        // SAFETY: looks up a name, no more.
        let symbol = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) } as usize;
        assert!(symbol != 0, "libc has no {name:?}");
        symbol
    }

    /// Stands in for libc's `readdir64`.
    ///
    /// # Safety
    /// As libc's: `dir` is an open stream.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn readdir64(dir: *mut libc::DIR) -> *mut libc::dirent64 {
        static REAL: OnceLock<usize> = OnceLock::new();
        CALLS[READDIR].fetch_add(1, Ordering::Relaxed);
        let real = *REAL.get_or_init(|| next(c"readdir64"));
        // SAFETY: libc's own function of this name and type.
        let real = unsafe { std::mem::transmute::<usize, Readdir>(real) };
        // The end of a folder and an error look alike but for errno.
        errno::set_errno(errno::Errno(0));
        // SAFETY: the caller's promise is passed on.
        let entry = unsafe { real(dir) };
        if entry.is_null() && errno::errno().0 != 0 {
            // SAFETY: the stream is open.
            failed(unsafe { libc::dirfd(dir) }, "listing");
        }
        entry
    }

    /// Stands in for libc's `closedir`.
    ///
    /// # Safety
    /// As libc's: `dir` is an open stream, and is used no more.
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn closedir(dir: *mut libc::DIR) -> c_int {
        static REAL: OnceLock<usize> = OnceLock::new();
        let real = *REAL.get_or_init(|| next(c"closedir"));
        // SAFETY: libc's own function of this name and type.
        let real = unsafe { std::mem::transmute::<usize, Closedir>(real) };
        // SAFETY: the stream is open until the call below. Its name is gone afterwards.
        let path = path_of(unsafe { libc::dirfd(dir) });
        // SAFETY: the caller's promise is passed on.
        let closed = unsafe { real(dir) };
        if closed != 0 {
            end_if_watched(path, "closing");
        }
        closed
    }
}

/// The path of an open file, as the system has it.
fn path_of(fd: c_int) -> Option<PathBuf> {
    let link = format!("/proc/self/fd/{fd}\0");
    let link = CStr::from_bytes_with_nul(link.as_bytes()).ok()?;
    let mut path = [0u8; libc::PATH_MAX as usize];
    // SAFETY: the buffer has the room that is said.
    let len = unsafe { libc::readlink(link.as_ptr(), path.as_mut_ptr().cast(), path.len()) };
    let len = usize::try_from(len).ok()?;
    Some(PathBuf::from(OsStr::from_bytes(&path[..len])))
}

/// A call on `fd` has failed, as errno says. Returns only where that is nothing to end for; errno
/// is then as it was.
#[cold]
fn failed(fd: c_int, what: &str) {
    let before = errno::errno();
    let benign = [
        libc::EINTR,
        libc::EAGAIN,
        libc::EBADF,
        libc::EFAULT,
        libc::EINVAL,
        libc::ESPIPE,
        libc::EISDIR,
    ];
    // Nothing is a queue's before one is opened: then not even the name is asked for.
    if !benign.contains(&before.0) && !lock(&WATCHED).is_empty() {
        end_if_watched(path_of(fd), what);
    }
    errno::set_errno(before);
}

/// Ends the process if the file is below a watched folder.
fn end_if_watched(path: Option<PathBuf>, what: &str) {
    let before = errno::errno();
    let error = io::Error::from_raw_os_error(before.0);
    let watched = lock(&WATCHED);
    let on_failure = match &path {
        Some(path) => watched
            .iter()
            .find(|watched| path.starts_with(&watched.root)),
        // The system does not say whose it is: it may be a store's, and then going on would harm.
        None => watched.first(),
    };
    let on_failure = on_failure.map(|watched| watched.on_failure.clone());
    drop(watched);
    let Some(on_failure) = on_failure else {
        errno::set_errno(before);
        return;
    };
    let path = path.unwrap_or_else(|| "a file of the queue".into());
    on_failure(&format!("{}: {what} failed: {error}", path.display()));
    // `on_failure` ends the process by then. The caller of the read must never be answered.
    std::thread::sleep(LAST_WORDS);
    // SAFETY: ends the process; nothing of it runs on, which is what is wanted.
    unsafe { libc::_exit(74) }
}

/// Whether these bytes may be written: they change nothing of a store that is being opened, or it
/// has been copied.
fn may_change(fd: c_int, bytes: &[u8], offset: off64_t) -> bool {
    let mut stat = std::mem::MaybeUninit::<libc::stat64>::uninit();
    // SAFETY: the buffer is one stat64.
    if unsafe { libc::fstat64(fd, stat.as_mut_ptr()) } != 0 {
        failed(fd, "looking at it");
        return false;
    }
    // SAFETY: filled in, as the call succeeded.
    let stat = unsafe { stat.assume_init() };
    let file = FileId {
        dev: stat.st_dev,
        ino: stat.st_ino,
    };
    let opening = lock(&OPENING).iter().find(|o| o.file == file).cloned();
    let Some(opening) = opening else { return true };
    if !changes(fd, bytes, offset) {
        return true;
    }
    let mut copy = lock(&opening.copy);
    *copy = match std::mem::replace(&mut *copy, Copy::Failed) {
        Copy::Due(make) => match make() {
            true => Copy::Made,
            false => Copy::Failed,
        },
        before => before,
    };
    matches!(*copy, Copy::Made)
}

/// Whether writing `bytes` at `offset` changes any byte that the file holds there now.
fn changes(fd: c_int, bytes: &[u8], offset: off64_t) -> bool {
    let mut there = vec![0u8; bytes.len()];
    let mut len = 0;
    while len < there.len() {
        let rest = &mut there[len..];
        // SAFETY: the buffer has that room.
        let read = unsafe {
            pread(
                fd,
                rest.as_mut_ptr().cast(),
                rest.len(),
                offset + len as i64,
            )
        };
        match usize::try_from(read) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(_) if errno::errno().0 == libc::EINTR => {}
            Err(_) => {
                failed(fd, "read");
                return true;
            }
        }
    }
    there[..len] != bytes[..len]
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn std_comes_by_here() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        file.write_all_at(b"1", 0).unwrap();
        file.read_exact_at(&mut [0], 0).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"1");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(in_force());
    }

    #[test]
    fn the_first_change_of_what_is_there_is_preceded_by_the_copy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        fs::write(&path, b"abc").unwrap();
        let file = (OpenOptions::new().read(true).write(true).open(&path)).unwrap();
        let id = FileId::of(&file.metadata().unwrap());
        let copies = Arc::new(Mutex::new(Vec::new()));
        let copy = {
            let (copies, path) = (copies.clone(), path.clone());
            move || {
                lock(&copies).push(fs::read(path).unwrap());
                true
            }
        };
        before_changes(id, copy, || {
            file.write_all_at(b"bc", 1).unwrap();
            file.write_all_at(b"cde", 2).unwrap();
            assert!(
                lock(&copies).is_empty(),
                "the same bytes, and new ones behind"
            );
            file.write_all_at(b"x", 0).unwrap();
            file.write_all_at(b"y", 0).unwrap();
        });
        file.write_all_at(b"z", 0).unwrap();
        assert_eq!(*lock(&copies), [b"abcde".to_vec()]);
        before_changes(
            id,
            || false,
            || {
                assert!(file.write_all_at(b"q", 0).is_err());
                assert!(file.write_all_at(b"q", 1).is_err(), "no later one either");
            },
        );
        assert_eq!(&fs::read(&path).unwrap()[..2], b"zb");
    }
}
