//! The sockets: those that systemd passes, or our own; and whether clients find them.
//!
//! Invariant: what is listened on has a file that leads to it, or that is told. A file that was
//! removed is bound anew; at the end only files are removed that still are our own.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::unistd::{Gid, Group, chown};

use super::error::DaemonError;
use super::passed::passed;
use crate::config::{Admin, Config, Ingest, Place};
use crate::net::{self, BindError, SocketFile};

/// Who comes through a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Producers, with lines of JSON.
    Ingest,
    /// Producers, with HTTP.
    Http,
    /// Operators.
    Admin,
}

impl Use {
    /// The key of the config that says where.
    const fn key(self) -> &'static str {
        match self {
            Self::Ingest => "ingest.socket",
            Self::Http => "ingest.http_socket",
            Self::Admin => "admin.socket",
        }
    }
}

/// The listeners, for the parts that serve them.
pub(super) struct Listeners {
    pub ingest: Vec<UnixListener>,
    pub http: Vec<UnixListener>,
    pub http_tcp: Vec<TcpListener>,
    pub admin: UnixListener,
}

/// The files of the sockets.
pub(super) struct Sockets {
    ingest: Ingest,
    admin: Admin,
    files: Mutex<Vec<Watched>>,
    /// What is listened on and has no file.
    without_file: Vec<(Use, String)>,
    /// TCP addresses that systemd passes.
    tcp: Vec<SocketAddr>,
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
    /// Takes what systemd passes for ingest and HTTP, or binds it, and binds the admin socket.
    ///
    /// # Errors
    /// Where one cannot be had, or what is passed cannot be served.
    pub fn open(config: &Config) -> Result<(Self, Listeners), DaemonError> {
        let mut sockets = Self {
            ingest: config.ingest.clone(),
            admin: config.admin.clone(),
            files: Mutex::default(),
            without_file: Vec::new(),
            tcp: Vec::new(),
        };
        let mut passed = passed(config)?;
        let ingest = Some(config.ingest.socket.as_path());
        let http = config.ingest.http_socket.as_deref();
        sockets.take_passed(Use::Ingest, &passed.ingest, ingest);
        sockets.take_passed(Use::Http, &passed.http, http);
        if passed.ingest.is_empty() {
            passed.ingest.push(sockets.bind(Use::Ingest)?);
            sockets.watch(Use::Ingest, &config.ingest.socket, true);
        }
        if let (true, Some(path)) = (passed.http.is_empty(), http) {
            match sockets.bind(Use::Http) {
                Ok(listener) => {
                    passed.http.push(listener);
                    sockets.watch(Use::Http, path, true);
                }
                // A daemon that did without so far must not fail for it.
                Err(error) if config.http_socket_from == Place::Nowhere => tracing::warn!(
                    "HTTP is not served on a Unix socket: {error}; set ingest.http_socket to \
                     another path, or to \"\" to do without"
                ),
                Err(error) => return Err(error.into()),
            }
        }
        for listener in &passed.http_tcp {
            sockets.tcp.extend(listener.local_addr());
        }
        let mut http_tcp = passed.http_tcp;
        if let Some(address) = config.ingest.http_listen
            && !sockets.tcp.contains(&address)
        {
            http_tcp.push(http_listen(address)?);
        }
        let tcp = http_tcp.iter().filter_map(|tcp| tcp.local_addr().ok());
        sockets.tcp = tcp.collect();
        let tcp = sockets
            .tcp
            .iter()
            .map(|address| (Use::Http, address.to_string()));
        sockets.without_file.extend(tcp);
        let admin = sockets.bind(Use::Admin)?;
        sockets.watch(Use::Admin, &config.admin.socket, true);
        let listeners = Listeners {
            ingest: passed.ingest,
            http: passed.http,
            http_tcp,
            admin,
        };
        Ok((sockets, listeners))
    }

    /// Watches what systemd passes, and says so where clients that go by the config do not find it.
    fn take_passed(&mut self, used_by: Use, passed: &[UnixListener], configured: Option<&Path>) {
        for listener in passed {
            let address = listener.local_addr().ok();
            match address.as_ref().and_then(|address| address.as_pathname()) {
                Some(path) => self.watch(used_by, path, false),
                None => self.without_file.push((used_by, format!("{address:?}"))),
            }
        }
        if passed.is_empty() {
            return;
        }
        let (key, shown) = (used_by.key(), self.listened_on(used_by));
        match configured {
            Some(path) if self.paths(used_by).iter().any(|passed| passed == path) => {}
            Some(path) => tracing::warn!(
                "{key} is {}, and systemd passes {shown}: clients that go by the config do not find \
                 the daemon; make ListenStream= and {key} the same",
                path.display()
            ),
            None => tracing::warn!(
                "{key} is empty, and systemd passes {shown}, which is served; to do without take its \
                 ListenStream= out (`systemctl edit pinrelay.socket`)"
            ),
        }
    }

    /// Whether what is listened on may be under another config.
    ///
    /// # Errors
    /// Why not: a reload must not open to everybody what was opened to those with a key.
    pub fn allowed_by(&self, config: &Config) -> Result<(), String> {
        let judged = self
            .tcp
            .iter()
            // What takes a restart is as it was, whatever the config says by now.
            .map(|address| config.may_listen_as(*address, &self.ingest));
        let judged: Result<(), String> = judged.collect();
        judged.map_err(|why| format!("HTTP is listened on there until a restart: {why}"))
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
            Use::Ingest => self.bind_for_producers(&self.ingest.socket),
            Use::Http => {
                let path = self.ingest.http_socket.as_deref();
                self.bind_for_producers(path.unwrap_or(Path::new("")))
            }
            Use::Admin => admin(&self.admin),
        }
    }

    fn bind_for_producers(&self, path: &Path) -> Result<UnixListener, BindError> {
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
        let without_file = (self.without_file.iter()).filter(|(of, _)| *of == used_by);
        shown.extend(without_file.map(|(_, shown)| shown.clone()));
        shown.join(", ")
    }

    /// Why producers do not find the daemon, one reason for each of their sockets that is not
    /// where it was.
    pub fn missing(&self) -> Vec<String> {
        let files = self.lock();
        let gone = files.iter().filter(|watched| !watched.is_there());
        gone.filter_map(|watched| {
            let path = watched.path.display();
            let gone = match watched.used_by {
                Use::Ingest => format!("the ingest socket {path} is gone"),
                Use::Http => format!("the HTTP socket {path} is gone"),
                Use::Admin => return None,
            };
            Some(match &watched.wrong {
                Some(why) => format!("{gone}: {why}"),
                None => gone,
            })
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
                (Use::Ingest | Use::Http, Some(rights)) => bind_as_it_was(&path, rights),
                (Use::Ingest | Use::Http, None) => self.bind_for_producers(&path),
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
    let next = |_| "choose another port, or leave it empty";
    listen("metrics.listen", address, next)
}

/// Where HTTP is taken over TCP.
///
/// # Errors
/// As [`metrics`].
fn http_listen(address: SocketAddr) -> Result<TcpListener, DaemonError> {
    let next = |kind| match kind {
        ErrorKind::AddrInUse => "see who listens there (`ss -ltnp`), or choose another port",
        ErrorKind::AddrNotAvailable => "name an address of this machine",
        ErrorKind::PermissionDenied => {
            "choose a port from 1024 on, or have systemd pass it: a ListenStream= more in \
             pinrelay.socket"
        }
        _ => "choose another address, or leave it empty",
    };
    listen("ingest.http_listen", address, next)
}

fn listen(
    key: &str,
    address: SocketAddr,
    next: impl Fn(ErrorKind) -> &'static str,
) -> Result<TcpListener, DaemonError> {
    let listener = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|e| {
        let message = format!("{key}: {address}: {e}; {}", next(e.kind()));
        match e.kind() {
            ErrorKind::AddrInUse => DaemonError::InUse(message),
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

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::config::read;

    /// A config whose sockets are in a folder, with this under `[ingest]`.
    fn config(folder: &TempDir, ingest: &str) -> Config {
        let at = folder.path().display();
        let text = format!(
            "[admin]\nsocket = \"{at}/admin.sock\"\n\
             [ingest]\nsocket = \"{at}/ingest.sock\"\ngroup = \"\"\n{ingest}"
        );
        let read = read(Some((Path::new("a.toml"), &text)), std::iter::empty());
        read.unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn open(folder: &TempDir, ingest: &str) -> (Sockets, Listeners) {
        match Sockets::open(&config(folder, ingest)) {
            Ok(opened) => opened,
            Err(error) => panic!("{ingest}: {error}"),
        }
    }

    fn refused(folder: &TempDir, ingest: &str) -> DaemonError {
        let Err(error) = Sockets::open(&config(folder, ingest)) else {
            panic!("{ingest}: it opened");
        };
        error
    }

    #[test]
    fn the_http_socket_is_bound_as_the_other_and_removed_with_it() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("http.sock");
        let (sockets, listeners) = open(&folder, "");
        assert_eq!((listeners.ingest.len(), listeners.http.len()), (1, 1));
        assert!(listeners.http_tcp.is_empty());
        assert_eq!(sockets.listened_on(Use::Http), path.display().to_string());
        let mode = |name: &str| {
            fs::metadata(folder.path().join(name))
                .expect("there")
                .mode()
        };
        assert_eq!(mode("http.sock"), mode("ingest.sock"));
        assert_eq!(sockets.missing(), [""; 0]);
        sockets.remove();
        assert!(!path.exists());
        // It is not to be had, and nothing was said of it.
        let (sockets, listeners) = open(&folder, "http_socket = \"\"\n");
        assert!(listeners.http.is_empty() && !path.exists());
        assert_eq!(sockets.listened_on(Use::Http), "");
    }

    #[test]
    fn an_http_socket_that_is_removed_is_told_and_bound_anew() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("http.sock");
        let (sockets, _listeners) = open(&folder, "");
        fs::remove_file(&path).expect("removed");
        fs::write(&path, "in the way").expect("a file");
        assert!(sockets.mend().is_empty());
        let missing = sockets.missing();
        let gone = format!("the HTTP socket {} is gone: ", path.display());
        assert!(
            missing.len() == 1 && missing[0].starts_with(&gone),
            "{missing:?}"
        );
        fs::remove_file(&path).expect("removed");
        let mended = sockets.mend();
        assert!(matches!(mended[..], [(Use::Http, _)]));
        assert!(net::is_listened_on(&path));
        assert_eq!(sockets.missing(), [""; 0]);
    }

    /// A daemon that was upgraded has had no HTTP socket, and needs none.
    #[test]
    fn an_http_socket_that_nobody_asked_for_may_be_in_the_way() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("http.sock");
        fs::write(&path, "in the way").expect("a file");
        let (sockets, listeners) = open(&folder, "");
        assert!(listeners.http.is_empty());
        assert_eq!(listeners.ingest.len(), 1);
        assert_eq!(sockets.missing(), [""; 0]);
        sockets.remove();
        assert!(path.exists(), "it is another's");
        let asked = format!("http_socket = \"{}\"\n", path.display());
        let error = refused(&folder, &asked);
        assert!(matches!(error, DaemonError::Config(_)), "{error}");
        assert!(error.to_string().contains("http.sock"), "{error}");
    }

    #[test]
    fn an_address_that_is_taken_is_in_use() {
        let folder = TempDir::new().expect("a folder");
        let (sockets, listeners) = open(&folder, "http_listen = \"127.0.0.1:0\"\n");
        let address = listeners.http_tcp[0].local_addr().expect("an address");
        assert_ne!(address.port(), 0);
        let shown = sockets.listened_on(Use::Http);
        assert!(shown.ends_with(&format!("http.sock, {address}")), "{shown}");
        drop((sockets, listeners.ingest, listeners.http));
        let error = refused(&folder, &format!("http_listen = \"{address}\"\n"));
        assert!(matches!(error, DaemonError::InUse(_)), "{error}");
        let said = format!("ingest.http_listen: {address}: ");
        assert!(error.to_string().starts_with(&said), "{error}");
        // Of documentation's addresses no machine has one.
        let none = "http_listen = \"192.0.2.1:1\"\nhttp_behind_proxy = true\n";
        let error = refused(&folder, none);
        assert!(matches!(error, DaemonError::Io(_)), "{error}");
        assert!(error.to_string().ends_with("of this machine"), "{error}");
    }

    #[test]
    fn a_reload_does_not_open_to_everybody_what_systemd_passed() {
        let folder = TempDir::new().expect("a folder");
        let tls = "http_tls_cert = \"/c\"\nhttp_tls_key = \"/k\"\n";
        let key = "[[ingest.write_keys]]\nname = \"shop\"\nkey = \"SECRET\"\n";
        let (mut sockets, _listeners) = open(&folder, tls);
        let allowed =
            |sockets: &Sockets, ingest: &str| sockets.allowed_by(&config(&folder, ingest));
        assert_eq!(allowed(&sockets, ""), Ok(()));
        sockets.tcp = vec!["127.0.0.1:1".parse().expect("an address")];
        assert_eq!(allowed(&sockets, ""), Ok(()));
        sockets.tcp.push("0.0.0.0:1".parse().expect("an address"));
        assert_eq!(allowed(&sockets, &[tls, key].concat()), Ok(()));
        // A certificate is as it was at the start, a proxy that the config now speaks of is none.
        assert_eq!(allowed(&sockets, key), Ok(()));
        for less in ["", tls, "http_behind_proxy = true\n"] {
            let why = allowed(&sockets, less).expect_err("it is open to everybody");
            assert!(why.contains("until a restart: 0.0.0.0:1 is not"), "{why}");
        }
        sockets.ingest.http_tls_cert = None;
        assert!(allowed(&sockets, &[tls, key].concat()).is_err());
    }
}
