//! Who may use the admin socket.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::unistd::{Gid, Group, getgid};

use crate::support::{Site, StandIn};

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
