//! The sockets: those that systemd passes, or our own; and whether clients find them.
//!
//! Invariant: what is listened on has a file that leads to it, or that is told. A file that was
//! removed is bound anew; at the end only files are removed that still are our own.

use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::unistd::{Gid, Group, chown};

use super::error::DaemonError;
use crate::config::{Admin, Config, Ingest};
use crate::net::{self, BindError, SocketFile};

/// Who comes through a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Producers.
    Ingest,
    /// Operators.
    Admin,
}

/// The listeners, for the parts that serve them.
pub(super) struct Listeners {
    pub ingest: Vec<UnixListener>,
    pub admin: UnixListener,
}

/// The files of the sockets.
pub(super) struct Sockets {
    ingest: Ingest,
    admin: Admin,
    files: Mutex<Vec<Watched>>,
    /// What is listened on and has no file.
    without_file: Vec<String>,
}

struct Watched {
    used_by: Use,
    path: PathBuf,
    /// `None`: it was not there when it was looked for.
    file: Option<SocketFile>,
    /// Mode and group of a file that systemd made.
    rights: Option<(u32, u32)>,
    /// Bound here, and so removed here.
    ours: bool,
    /// Why it could not be bound anew.
    wrong: Option<String>,
}

impl Sockets {
    /// Takes what systemd passes for ingest, or binds it, and binds the admin socket.
    ///
    /// # Errors
    /// Where one cannot be had, or what is passed cannot be served.
    pub fn open(config: &Config) -> Result<(Self, Listeners), DaemonError> {
        let mut sockets = Self {
            ingest: config.ingest.clone(),
            admin: config.admin.clone(),
            files: Mutex::default(),
            without_file: Vec::new(),
        };
        let mut ingest = passed()?;
        for listener in &ingest {
            let address = listener.local_addr().ok();
            match address.as_ref().and_then(|address| address.as_pathname()) {
                Some(path) => sockets.watch(Use::Ingest, path, false),
                None => sockets.without_file.push(format!("{address:?}")),
            }
        }
        if ingest.is_empty() {
            ingest.push(sockets.bind(Use::Ingest)?);
            sockets.watch(Use::Ingest, &config.ingest.socket, true);
        } else if !sockets.paths(Use::Ingest).contains(&config.ingest.socket) {
            tracing::warn!(
                "ingest.socket is {}, and systemd passes {}: clients that go by the config do not \
                 find the daemon; make ListenStream= and ingest.socket the same",
                config.ingest.socket.display(),
                sockets.listened_on(Use::Ingest)
            );
        }
        let admin = sockets.bind(Use::Admin)?;
        sockets.watch(Use::Admin, &config.admin.socket, true);
        Ok((sockets, Listeners { ingest, admin }))
    }

    fn watch(&self, used_by: Use, path: &Path, ours: bool) {
        // A listener that is passed may have lost its file, in whose place stands what a process
        // that was killed had bound anew: nobody listens there.
        let leads_somewhere = ours || net::is_listened_on(path);
        let about = fs::symlink_metadata(path).ok().filter(|_| !ours);
        self.lock().push(Watched {
            used_by,
            path: path.to_owned(),
            file: SocketFile::at(path).ok().filter(|_| leads_somewhere),
            rights: about.map(|about| (about.mode() & 0o777, about.gid())),
            ours,
            wrong: None,
        });
    }

    fn bind(&self, used_by: Use) -> Result<UnixListener, BindError> {
        match used_by {
            Use::Ingest => self.bind_ingest(&self.ingest.socket),
            Use::Admin => admin(&self.admin),
        }
    }

    fn bind_ingest(&self, path: &Path) -> Result<UnixListener, BindError> {
        net::bind(path, 0o660, &self.ingest.group)
    }

    fn paths(&self, used_by: Use) -> Vec<PathBuf> {
        let files = self.lock();
        let of_it = files.iter().filter(|watched| watched.used_by == used_by);
        of_it.map(|watched| watched.path.clone()).collect()
    }

    /// What is really listened on, for people.
    pub fn listened_on(&self, used_by: Use) -> String {
        let paths = self.paths(used_by);
        let mut shown: Vec<_> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        if used_by == Use::Ingest {
            shown.extend(self.without_file.iter().cloned());
        }
        shown.join(", ")
    }

    /// Why producers do not find the daemon, one reason for each of their sockets that is not
    /// where it was.
    pub fn missing(&self) -> Vec<String> {
        let files = self.lock();
        let gone = (files.iter()).filter(|w| w.used_by == Use::Ingest && !w.is_there());
        gone.map(|watched| {
            let path = watched.path.display();
            match &watched.wrong {
                Some(why) => format!("the ingest socket {path} is gone: {why}"),
                None => format!("the ingest socket {path} is gone"),
            }
        })
        .collect()
    }

    /// Binds anew what is gone; the listeners are for the parts that serve them. Each trouble is
    /// told once.
    ///
    /// Blocks: groups are looked up, and whoever knows them may not answer. The lock is not held
    /// meanwhile, for `status` asks for it.
    pub fn mend(&self) -> Vec<(Use, UnixListener)> {
        let mut bound = Vec::new();
        let gone: Vec<_> = (self.lock().iter().enumerate())
            .filter(|(_, watched)| !watched.is_there())
            .map(|(at, watched)| (at, watched.used_by, watched.path.clone(), watched.rights))
            .collect();
        for (at, used_by, path, rights) in gone {
            let listener = match (used_by, rights) {
                (Use::Ingest, Some(rights)) => bind_as_it_was(&path, rights),
                (Use::Ingest, None) => self.bind_ingest(&path),
                (Use::Admin, _) => admin(&self.admin),
            };
            let mut files = self.lock();
            let watched = &mut files[at];
            match listener {
                Ok(listener) => {
                    let of_systemd = match watched.ours {
                        true => "",
                        false => "; `systemctl restart pinrelay.socket` gives it back to systemd",
                    };
                    tracing::warn!(
                        "the socket {} was removed, and clients did not find it: bound anew; see \
                         who removes it{of_systemd}",
                        path.display()
                    );
                    (watched.file, watched.ours) = (SocketFile::at(&path).ok(), true);
                    watched.wrong = None;
                    bound.push((watched.used_by, listener));
                }
                Err(error) => {
                    let wrong = error.to_string();
                    if watched.wrong.as_ref() != Some(&wrong) {
                        tracing::error!(
                            "the socket {} is gone, and cannot be bound anew: {wrong}",
                            path.display()
                        );
                    }
                    watched.wrong = Some(wrong);
                }
            }
        }
        bound
    }

    /// Removes the files of our own making.
    pub fn remove(&self) {
        for watched in self.lock().iter().filter(|watched| watched.ours) {
            if let Some(file) = &watched.file {
                file.remove();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// With the mode and the group that systemd gave it.
fn bind_as_it_was(path: &Path, (mode, gid): (u32, u32)) -> Result<UnixListener, BindError> {
    let listener = net::bind(path, mode, "")?;
    if let Err(errno) = chown(path, None, Some(Gid::from_raw(gid))) {
        tracing::warn!(
            "socket {}: it cannot be given to the group {gid} that it had ({errno}): restart \
             pinrelay.socket",
            path.display()
        );
    }
    Ok(listener)
}

impl Watched {
    fn is_there(&self) -> bool {
        self.file.as_ref().is_some_and(SocketFile::is_there)
    }
}

/// The listeners that systemd passes, each of them.
///
/// # Errors
/// One that is no Unix stream socket is refused by name: nobody would ever be answered on it.
fn passed() -> Result<Vec<UnixListener>, DaemonError> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for at in 0..passed.len() {
        let listener = passed.take_unix_listener(at).and_then(|listener| {
            if let Some(listener) = &listener {
                listener.set_nonblocking(true)?;
            }
            Ok(listener)
        });
        match listener {
            Ok(listener) => listeners.extend(listener),
            Err(error) => {
                let tcp = passed.take_tcp_listener(at).ok().flatten();
                let address = tcp.and_then(|tcp| tcp.local_addr().ok());
                let name = match address {
                    Some(address) => format!("TCP {address}"),
                    None => format!("number {} of those it passes: {error}", at + 1),
                };
                return Err(DaemonError::Config(format!(
                    "the socket passed by systemd ({name}) is no Unix stream socket, and events are \
                     taken on those alone; see `systemctl cat pinrelay.socket` and take its line out"
                )));
            }
        }
    }
    Ok(listeners)
}

/// The admin socket: of the daemon's user alone, and of `[admin] group` if that can be had.
///
/// Invariant: it is never open to another group: whoever may send events need not command.
fn admin(admin: &Admin) -> Result<UnixListener, BindError> {
    let listener = net::bind(&admin.socket, 0o600, "")?;
    if admin.group.is_empty() {
        return Ok(listener);
    }
    if let Err(why) = open_to(admin) {
        tracing::warn!(
            "admin socket {}: it cannot be given to the group {} ({why}); only the daemon's user \
             and root can use it",
            admin.socket.display(),
            admin.group
        );
    }
    Ok(listener)
}

/// Where metrics are served.
///
/// # Errors
/// [`DaemonError::InUse`] if somebody listens there already.
pub(super) fn metrics(address: SocketAddr) -> Result<TcpListener, DaemonError> {
    let listener = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|e| {
        let message =
            format!("metrics.listen: {address}: {e}; choose another port, or leave it empty");
        match e.kind() {
            std::io::ErrorKind::AddrInUse => DaemonError::InUse(message),
            _ => DaemonError::Io(message),
        }
    })
}

fn open_to(admin: &Admin) -> Result<(), String> {
    let group = match Group::from_name(&admin.group) {
        Ok(Some(group)) => group.gid,
        Ok(None) => return Err("there is no such group".into()),
        Err(errno) => return Err(errno.to_string()),
    };
    chown(&admin.socket, None, Some(group)).map_err(|errno| {
        format!("{errno}: the daemon's user has to be a member (SupplementaryGroups=)")
    })?;
    fs::set_permissions(&admin.socket, Permissions::from_mode(0o660)).map_err(|e| e.to_string())
}
