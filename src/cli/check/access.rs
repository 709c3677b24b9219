//! Who among those that may send events could read what is the daemon's alone.
//!
//! Invariant: to send is one trust, to read the token another. Whoever is in the group of the
//! ingest socket or the HTTP socket, by membership or as a primary group, must reach neither the
//! token nor the webhook's URL nor the write keys nor the certificate's key nor the queue, and must not be able to change the config, which says where the
//! token is sent. Judged by owners, groups and modes; access control lists are not looked at. A
//! folder that is shut on the way counts only against what everybody may: a secret that is given
//! to somebody is one chmod of another's folder away from them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist};

use super::finding::Finding::{self, Advice, Wrong};
use super::http::secret_files;
use super::places::nearest;
use crate::config::{Config, Engine};

const READ: u32 = 4;
const WRITE: u32 = 2;
const SEARCH: u32 = 1;

/// The user and the group that the package makes for the daemon.
const OWN: &str = "pinrelay";
/// The group that it makes for those who send.
const SENDERS: &str = "pinrelay-ingest";

/// Somebody, as the system sees them at a file.
struct Who {
    name: String,
    /// `None`: whoever else is in the groups.
    uid: Option<u32>,
    groups: Vec<u32>,
}

/// What lets somebody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Owning,
    Group(u32),
    Everybody,
}

impl Who {
    /// Whether they have this right, and what gives it.
    fn may(&self, right: u32, about: &Metadata) -> Option<By> {
        let (shift, by) = if self.uid == Some(about.uid()) {
            (6, By::Owning)
        } else if self.groups.contains(&about.gid()) {
            (3, By::Group(about.gid()))
        } else {
            (0, By::Everybody)
        };
        (about.mode() >> shift & right == right).then_some(by)
    }

    /// The same of the file at a path.
    fn reach(&self, right: u32, file: &Path) -> Option<By> {
        // What cannot be looked at is told where it is used.
        let file = fs::canonicalize(file).ok()?;
        let enters = |folder: &Path| {
            fs::metadata(folder).is_ok_and(|about| self.may(SEARCH, &about).is_some())
        };
        let by = self.may(right, &fs::metadata(&file).ok()?)?;
        let shut = || !file.ancestors().skip(1).all(enters);
        (by != By::Everybody || !shut()).then_some(by)
    }

    /// Whether they could write a file, or put another in its place.
    fn could_change(&self, file: &Path) -> bool {
        let replaces = |folder: &Path| {
            let sticky = fs::metadata(folder).is_ok_and(|about| about.mode() & 0o1000 != 0);
            !sticky && self.reach(WRITE | SEARCH, folder).is_some()
        };
        // A folder on the way is replaced with all that is in it. Of a link the way to where it
        // leads counts, and the folder that it stands in.
        let leads_to = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let mut folders = leads_to.ancestors().skip(1).chain(file.parent());
        self.reach(WRITE, file).is_some() || folders.any(replaces)
    }
}

/// One wrong for each file and each who should not reach it; nothing where all is well. `secrets`:
/// files that were found elsewhere.
pub(super) fn findings(config: &Config, mut secrets: Vec<PathBuf>) -> Vec<Finding> {
    let queue = (config.queue.engine == Engine::Sled).then(|| config.queue_folder());
    let daemon = daemon_user(queue.as_deref());
    secrets.extend(config.notify.webhook_url_file.clone());
    secrets.extend(secret_files(config).into_iter().map(Path::to_owned));
    let groups = socket_groups(config, daemon.as_ref());
    let mut found = Vec::new();
    let senders = senders(&groups, daemon.as_ref()).unwrap_or_else(|error| {
        found.push(Advice(format!(
            "who is in the group of those who may send events cannot be looked up: {error}; \
             whether one of them can read the token is not known"
        )));
        Vec::new()
    });
    for file in &secrets {
        let parting = Parting {
            sockets: producers_sockets(config),
            own: daemon.as_ref().map(|user| user.gid.as_raw()),
        };
        found.extend(readers(file, &groups, &senders, &parting));
    }
    let enters = |who: &&Who| {
        let reaches = |right| queue.as_deref().and_then(|queue| who.reach(right, queue));
        reaches(READ).is_some() || reaches(SEARCH).is_some()
    };
    let anyone: Vec<Who> = groups.iter().filter_map(|gid| anyone_in(*gid)).collect();
    if let Some((queue, who)) = (queue.as_deref()).zip(anyone.iter().chain(&senders).find(enters)) {
        found.push(Wrong(format!(
            "the queue folder {0} can be entered by {1}, who may send events, and holds personal \
             data: chmod 0700 {0}, and see whose it is",
            queue.display(),
            who.name
        )));
    }
    for who in &senders {
        found.extend((config.file.iter().filter(|file| who.could_change(file))).map(|file| {
            Wrong(format!(
                "{0} can be changed by {1}, who may send events, and says where the token goes: \
                 give it and its folder to root, writable for nobody else",
                file.display(),
                who.name
            ))
        }));
    }
    found
}

/// What is needed to say how one group becomes two.
struct Parting<'a> {
    /// Of producers.
    sockets: Vec<&'a Path>,
    /// The daemon's own group.
    own: Option<u32>,
}

fn readers(
    file: &Path,
    groups: &BTreeSet<u32>,
    senders: &[Who],
    parting: &Parting<'_>,
) -> Vec<Finding> {
    let show = file.display();
    for gid in groups {
        let own = parting.own == Some(*gid);
        let group = group_name(*gid);
        let next = match anyone_in(*gid).and_then(|who| who.reach(READ, file)) {
            Some(By::Group(_)) if own => format!(
                "by the group {group}, which is the daemon's and the socket's at once: set \
                 [ingest] group to {SENDERS} (`groupadd --system {SENDERS}`, where it is not \
                 there), for each producer `usermod -a -G {SENDERS} USER` and a restart of it, \
                 then `sudo -u pinrelay chgrp {SENDERS} {}`, `gpasswd -d USER {group}`, and a \
                 restart once more",
                listed(&parting.sockets)
            ),
            Some(By::Group(_)) => {
                format!("by the group {group}, whose members may send events: chgrp {OWN} {show}")
            }
            Some(By::Everybody) => format!(
                "by every user of this machine, those who may send events among them: chmod 0640 \
                 {show}"
            ),
            Some(By::Owning) | None => continue,
        };
        return vec![Wrong(format!("{show} can be read {next}"))];
    }
    let told = senders.iter().filter_map(|who| {
        let name = &who.name;
        let next = match who.reach(READ, file)? {
            By::Owning => format!("it is theirs: chown root {show}"),
            By::Group(gid) => {
                let group = group_name(gid);
                format!(
                    "they are in the group {group} as well: `gpasswd -d {name} {group}` (or \
                     another primary group, `usermod -g`), then restart what runs as {name}"
                )
            }
            By::Everybody => format!("everybody can: chmod 0640 {show}"),
        };
        Some(Wrong(format!(
            "{show} can be read by {name}, who may send events; {next}"
        )))
    });
    told.collect()
}

/// Whoever is in this group and has no name; root's is no group of producers.
fn anyone_in(gid: u32) -> Option<Who> {
    (gid != 0).then(|| Who {
        name: format!("the group {}", group_name(gid)),
        uid: None,
        groups: vec![gid],
    })
}

/// Those who may connect to the sockets of producers: the groups that these have, and the one that
/// they are to get.
fn socket_groups(config: &Config, daemon: Option<&User>) -> BTreeSet<u32> {
    let sockets: Vec<Metadata> = (producers_sockets(config).into_iter())
        .filter_map(|socket| fs::metadata(socket).ok())
        .filter(|about| about.file_type().is_socket() && about.mode() & 0o020 != 0)
        .collect();
    let named = Group::from_name(&config.ingest.group).ok().flatten();
    let due = match (named, sockets.is_empty()) {
        (Some(group), _) => Some(group.gid.as_raw()),
        // It keeps the daemon's own.
        (None, true) => daemon.map(|user| user.gid.as_raw()),
        (None, false) => None,
    };
    due.into_iter()
        .chain(sockets.iter().map(|about| about.gid()))
        .collect()
}

/// Where events come in: the ingest socket, and the HTTP socket if it is there.
fn producers_sockets(config: &Config) -> Vec<&Path> {
    let http = config.ingest.http_socket.as_deref();
    let http = http.filter(|socket| socket.exists());
    std::iter::once(config.ingest.socket.as_path())
        .chain(http)
        .collect()
}

fn listed(sockets: &[&Path]) -> String {
    let shown: Vec<_> = sockets.iter().map(|s| s.display().to_string()).collect();
    shown.join(" ")
}

/// Everyone in these groups, but root and the daemon itself.
fn senders(groups: &BTreeSet<u32>, daemon: Option<&User>) -> io::Result<Vec<Who>> {
    let mut users: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for gid in groups {
        let group = Group::from_gid(Gid::from_raw(*gid))?;
        for name in group.into_iter().flat_map(|group| group.mem) {
            // One that is gone is still in the list.
            if let Some(user) = User::from_name(&name)? {
                users.insert(name, (user.uid.as_raw(), user.gid.as_raw()));
            }
        }
    }
    // A primary group has no list of its members.
    let passwd = match fs::read_to_string("/etc/passwd") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    for line in passwd.lines() {
        let mut fields = line.split(':');
        let (name, uid, gid) = (fields.next(), fields.nth(1), fields.next());
        let number = |field: Option<&str>| field?.parse::<u32>().ok();
        if let (Some(name), Some(uid), Some(gid)) = (name, number(uid), number(gid))
            && groups.contains(&gid)
        {
            users.insert(name.to_owned(), (uid, gid));
        }
    }
    let itself = daemon.map(|user| user.uid.as_raw());
    let others = (users.into_iter()).filter(|(_, (uid, _))| *uid != 0 && Some(*uid) != itself);
    let known = others.map(|(name, (uid, gid))| {
        let listed = getgrouplist(&CString::new(name.as_str())?, Gid::from_raw(gid))?;
        Ok(Who {
            name,
            uid: Some(uid),
            groups: listed.iter().map(|group| group.as_raw()).collect(),
        })
    });
    known.collect()
}

/// Whom the daemon runs as: the owner of its queue or of the folder that this is to be made in,
/// else the package's user, else whoever looks.
fn daemon_user(queue: Option<&Path>) -> Option<User> {
    let folder = queue.and_then(|queue| match queue.exists() {
        true => Some(queue),
        false => nearest(queue),
    });
    let owner = folder.and_then(|folder| fs::metadata(folder).ok());
    let owner = owner.filter(|about| about.uid() != 0);
    let of = |uid: Uid| User::from_uid(uid).ok().flatten();
    owner
        .and_then(|about| of(Uid::from_raw(about.uid())))
        .or_else(|| User::from_name(OWN).ok().flatten())
        .or_else(|| of(geteuid()))
}

fn group_name(gid: u32) -> String {
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    group.map_or_else(|| gid.to_string(), |group| group.name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Only the first class that somebody is in counts, also where a later one gives more.
    #[test]
    fn owner_group_and_others_are_asked_in_this_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        fs::write(&file, "").expect("a file");
        let about = |mode: u32| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
            fs::metadata(&file).expect("there")
        };
        let (uid, gid) = (about(0o600).uid(), about(0o600).gid());
        let who = |uid: Option<u32>, groups: &[u32]| Who {
            name: String::new(),
            uid,
            groups: groups.to_vec(),
        };
        let owner = who(Some(uid), &[gid]);
        assert_eq!(owner.may(READ, &about(0o600)), Some(By::Owning));
        assert_eq!(owner.may(READ, &about(0o044)), None);
        let member = who(Some(uid + 1), &[gid + 1, gid]);
        assert_eq!(member.may(READ, &about(0o640)), Some(By::Group(gid)));
        assert_eq!(member.may(READ, &about(0o604)), None);
        assert_eq!(member.may(WRITE, &about(0o640)), None);
        let other = who(None, &[gid + 1]);
        assert_eq!(other.may(READ, &about(0o604)), Some(By::Everybody));
        assert_eq!(other.may(READ, &about(0o660)), None);
    }
}
