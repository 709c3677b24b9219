//! The TCP ports that are to be listened on: whether they can be had, and who has them.
//!
//! Invariant: the daemon that runs on this config has them rightly. It is known by its admin socket;
//! another process is named as far as this user may see it.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Uid, User};

use super::finding::Finding::{self, Advice, Fine, Wrong};
use crate::config::Config;

/// Whoever runs the daemon.
#[derive(Clone, Copy)]
struct Process {
    pid: i32,
    uid: u32,
}

/// A socket that is listened on.
#[derive(Debug, PartialEq, Eq)]
struct Listening {
    at: SocketAddr,
    uid: u32,
    inode: u64,
}

/// What is to be said of each port that is not simply free.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let ports = [
        ("metrics.listen", config.metrics.listen),
        ("ingest.http_listen", config.ingest.http_listen),
    ];
    let set = ports.into_iter().filter_map(|(key, at)| Some((key, at?)));
    set.filter_map(|(key, at)| finding(key, at, &config.admin.socket))
        .collect()
}

fn finding(key: &str, at: SocketAddr, admin: &Path) -> Option<Finding> {
    let error = TcpListener::bind(at).err()?;
    Some(match error.kind() {
        ErrorKind::AddrInUse => taken(key, at, admin),
        ErrorKind::AddrNotAvailable => Wrong(format!(
            "{key}: {at}: {error}; name an address of this machine"
        )),
        // systemd may pass it.
        ErrorKind::PermissionDenied => Advice(format!(
            "{key}: {at}: {error}; choose a port from 1024 on, unless systemd passes it: a \
             ListenStream= more in pinrelay.socket"
        )),
        _ => Wrong(format!("{key}: {at}: {error}; choose another address")),
    })
}

/// Who has the port.
fn taken(key: &str, at: SocketAddr, admin: &Path) -> Finding {
    let next = "stop that, or choose another port";
    let Some(listening) = listening().into_iter().find(|other| overlap(other.at, at)) else {
        return Wrong(format!(
            "{key}: {at} is in use (`ss -ltnp` says by whom): {next}"
        ));
    };
    let holders = holders(listening.inode);
    let daemons = daemon(admin).is_some_and(|daemon| match holders.is_empty() {
        true => daemon.uid == listening.uid,
        false => holders.contains(&daemon.pid),
    });
    if daemons {
        let whose = match holders.is_empty() {
            true => "a process of the running daemon's user",
            false => "the running daemon",
        };
        return Fine(format!("{key}: {at} is in use by {whose}"));
    }
    let by_systemd = match holders.is_empty() {
        true => listening.uid == 0,
        false => holders.contains(&1),
    };
    if by_systemd && key == "ingest.http_listen" {
        return Advice(format!(
            "{key}: {at} is in use by root: right, if systemd passes it to the daemon; otherwise \
             {next}"
        ));
    }
    let names: Vec<_> = holders.iter().map(|pid| named(*pid)).collect();
    let whose = match names.is_empty() {
        true => format!("a process of {}", user(listening.uid)),
        false => names.join(", "),
    };
    Wrong(format!("{key}: {at} is in use by {whose}: {next}"))
}

/// The process that listens on the admin socket, if one does.
fn daemon(admin: &Path) -> Option<Process> {
    let peer = getsockopt(&UnixStream::connect(admin).ok()?, PeerCredentials).ok()?;
    Some(Process {
        pid: peer.pid(),
        uid: peer.uid(),
    })
}

/// Every TCP socket of this network namespace that is listened on.
fn listening() -> Vec<Listening> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = tables
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok());
    tables
        .flat_map(|table| table.lines().filter_map(row).collect::<Vec<_>>())
        .collect()
}

/// A row of such a table: its local address, its state (0A: listened on), user and inode.
fn row(line: &str) -> Option<Listening> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (ip, port) = fields.get(1)?.split_once(':')?;
    if *fields.get(3)? != "0A" {
        return None;
    }
    // Words of 32 bits, each as this machine has them in memory.
    let words: Option<Vec<u8>> = (0..ip.len() / 8)
        .map(|i| u32::from_str_radix(ip.get(i * 8..i * 8 + 8)?, 16).ok())
        .map(|word| word.map(u32::to_ne_bytes))
        .collect::<Option<Vec<_>>>()
        .map(|words| words.concat());
    let words = words?;
    let ip = match words.len() {
        4 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(words).ok()?)),
        16 => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?)),
        _ => return None,
    };
    Some(Listening {
        at: SocketAddr::new(ip.to_canonical(), u16::from_str_radix(port, 16).ok()?),
        uid: fields.get(7)?.parse().ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Whether only one of the two can be had.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port() && (a == b || a.is_unspecified() || b.is_unspecified())
}

/// The processes that have this socket open, as far as this user may see them.
fn holders(inode: u64) -> BTreeSet<i32> {
    let name = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let has_it = |pid: &i32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten();
        let mut names = open.filter_map(|fd| fs::read_link(fd.path()).ok());
        names.any(|open| open.as_os_str() == name.as_str())
    };
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(has_it).collect()
}

fn named(pid: i32) -> String {
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("{} (pid {pid})", name.trim()),
        Err(_) => format!("pid {pid}"),
    }
}

fn user(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| format!("the user {uid}"), |user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_systems_table_is_read() {
        let own = TcpListener::bind("127.0.0.1:0").expect("a port");
        let other = TcpListener::bind("[::1]:0");
        let ports = [Some(own), other.ok()].into_iter().flatten();
        for port in ports {
            let at = port.local_addr().expect("its address");
            let found = listening()
                .into_iter()
                .find(|row| row.at == at)
                .expect("a row");
            assert_eq!(found.uid, nix::unistd::getuid().as_raw());
            let own = i32::try_from(std::process::id()).expect("a pid");
            assert!(holders(found.inode).contains(&own));
        }
        assert_eq!(row("  sl  local_address rem_address   st"), None);
    }
}
