//! Who may use the admin socket.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use nix::unistd::{Gid, Group, getgid};

use crate::support::{Site, StandIn, get, request, s};

/// Mode and group of the admin socket under this `[admin] group`, and what was logged of it.
fn admin(group: &str) -> (u32, Gid, bool) {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("admin", "group", group);
    let daemon = site.start();
    let about = fs::metadata(site.admin()).expect("a socket");
    let checked = site.command(&["check"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert_eq!(said.contains("admin socket"), !group.is_empty(), "{said}");
    let told = daemon.log().contains("cannot be given to the group");
    (about.mode() & 0o777, about.gid().into(), told)
}

#[test]
fn a_group_that_is_named_may_use_it() {
    // Root may give it to any group, others to one of theirs.
    let other = Group::from_name("daemon").ok().flatten();
    let other = other.filter(|_| nix::unistd::geteuid().is_root());
    let own = || Group::from_gid(getgid()).ok().flatten();
    let Some(group) = other.or_else(own) else {
        println!("skipped: the group of this process has no name");
        return;
    };
    assert_eq!(admin(&group.name), (0o660, group.gid, false));
}

#[test]
fn without_one_nobody_else_may() {
    let (mode, group, told) = admin("");
    assert_eq!((mode, told), (0o600, false));
    // Nor may the daemon's own group where the one that is named cannot be had.
    assert_eq!(admin("surely-no-such-group"), (0o600, group, true));
}

/// A parameter that is misspelt would not narrow anything down.
#[test]
fn what_a_route_does_not_know_is_refused_by_name() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let _daemon = site.start();
    let admin = || {
        let stream = UnixStream::connect(site.admin()).expect("an admin socket");
        // A tail that is let in has no end.
        stream.set_read_timeout(Some(s(20))).expect("a time-out");
        stream
    };
    for path in ["/tail?evnt=Paid", "/queue?limt=1", "/trace?id=a&evnt=Paid"] {
        let (status, said) = get(admin(), path);
        assert_eq!(status, 400, "{path}: {said}");
        assert!(said.contains("unknown field"), "{path}: {said}");
    }
    let (status, said) = get(admin(), "/stauts");
    assert_eq!(status, 404);
    assert!(
        said.contains("/stauts") && said.contains("/status"),
        "{said}"
    );
    let (status, said) = request(admin(), "GET", "/pause", "");
    assert_eq!(status, 405);
    assert!(said.contains("GET /pause"), "{said}");
}
