//! What root does in the folders of others: it works there as their owner, and follows nothing
//! that they could have put in its way.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Output;

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Gid, Uid, chown, geteuid};

use crate::support::{Client, Process, Site, StandIn, s, samples, within};

/// Stands in for the daemon's user: one without an entry would do as well.
const OWNER: u32 = 65534;

/// Whether this is root, without whom there is nothing to see; the reason is printed.
fn is_root() -> bool {
    let is = geteuid().is_root();
    if !is {
        println!("skipped: only root can work as another user");
    }
    is
}

/// Everything in and below a path.
fn all(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    if fs::symlink_metadata(path).expect("it is there").is_dir() {
        for entry in fs::read_dir(path).expect("a folder") {
            found.extend(all(&entry.expect("an entry").path()));
        }
    }
    found
}

fn give(path: &Path, owner: u32) {
    let (uid, gid) = (Uid::from_raw(owner), Gid::from_raw(owner));
    for path in all(path) {
        chown(&path, Some(uid), Some(gid)).expect("root gives it away");
    }
}

/// Names, sizes and owners: what a walk in a wrong place would change.
fn picture(path: &Path) -> Vec<(PathBuf, u64, u32, i64)> {
    let mut seen: Vec<_> = (all(path).into_iter())
        .map(|path| {
            let about = fs::symlink_metadata(&path).expect("it is there");
            (path, about.len(), about.uid(), about.mtime_nsec())
        })
        .collect();
    seen.sort();
    seen
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&[&out.stdout[..], &out.stderr[..]].concat()).into_owned()
}

fn run(site: &Site, args: &[&str]) -> Output {
    site.command(args).output().expect("it runs")
}

/// A stopped queue of root's with events in it.
fn queue_of_roots(stand_in: &StandIn) -> Site {
    stand_in.mode(serde_json::json!({"fault": "503"}));
    let site = Site::new(stand_in).set("delivery", "drain_deadline", "0s");
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("root", 0..20));
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    site
}

/// User, groups and all, for good: what stays of root could be taken back.
#[test]
fn root_takes_on_the_owner_whole() {
    if !is_root() {
        return;
    }
    let stand_in = StandIn::start();
    let site = queue_of_roots(&stand_in);
    give(&site.path(""), OWNER);
    // A daemon has the folder, as far as the command can tell, and is asked.
    let lock = fs::File::open(site.path("queue/lock")).expect("a lock");
    let _held = Flock::lock(lock, FlockArg::LockExclusiveNonblock).expect("nobody has it");
    let _ = fs::remove_file(site.admin());
    let listener = UnixListener::bind(site.admin()).expect("bound");
    give(&site.admin(), OWNER);
    let mut command = Process::start(&mut site.command(&["verify"]));
    let (asked, _) = listener.accept().expect("it asks");
    let status = fs::read_to_string(format!("/proc/{}/status", command.pid())).expect("it waits");
    let ids = |name: &str| -> Vec<String> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let ids = line.expect("a line").split_whitespace();
        ids.map(str::to_owned).collect()
    };
    assert_eq!(ids("Uid:"), vec![OWNER.to_string(); 4]);
    let group = ids("Gid:")[0].clone();
    assert_ne!(group, "0");
    assert_eq!(ids("Gid:"), vec![group.clone(); 4]);
    assert!(ids("Groups:").iter().all(|id| *id == group), "{status}");
    drop((asked, listener));
    command.kill();
}

#[test]
fn what_root_repairs_stays_its_owners() {
    if !is_root() {
        return;
    }
    let stand_in = StandIn::start();
    let site = queue_of_roots(&stand_in);
    fs::remove_file(site.path("queue/high")).expect("removed");
    give(&site.path(""), OWNER);
    let out = run(&site, &["verify", "--repair"]);
    assert!(said(&out).contains("after the repair"), "{}", said(&out));
    let adopted = run(&site, &["adopt"]);
    assert!(adopted.status.success(), "{}", said(&adopted));
    for path in all(&site.path("")) {
        let about = fs::symlink_metadata(&path).expect("there");
        assert_eq!(about.uid(), OWNER, "{}", path.display());
        if path.starts_with(site.path("queue")) {
            assert_eq!(about.mode() & 0o077, 0, "{}", path.display());
        }
    }
}

/// The daemon's user owns the folder that its queue is in, and may put there what it likes.
#[test]
fn root_follows_no_link_of_anothers() {
    if !is_root() {
        return;
    }
    let stand_in = StandIn::start();
    let elsewhere = queue_of_roots(&stand_in);
    let victim = elsewhere.path("queue");
    let site = Site::new(&stand_in);
    fs::create_dir(site.path("state")).expect("a folder");
    // The folder itself is the link; a folder on the way to it is one; root made the link.
    symlink(&victim, site.path("state/queue")).expect("a link");
    symlink(victim.parent().expect("a folder"), site.path("state/shop")).expect("a link");
    give_link(&site.path("state/queue"));
    give_link(&site.path("state/shop"));
    give_link(&site.path("state"));
    symlink(&victim, site.path("by-root")).expect("a link");
    let before = picture(elsewhere.path("").as_path());
    for queue in ["state/queue", "state/queue/", "state/shop/queue", "by-root"] {
        let queue = site.path("").join(queue);
        let queue = queue.to_str().expect("a path");
        for args in [
            &["verify", "--queue", queue][..],
            &["verify", "--repair", "--queue", queue],
            &["adopt", "--queue", queue],
        ] {
            let out = run(&site, args);
            assert_eq!(out.status.code(), Some(74), "{args:?}: {}", said(&out));
            for words in ["is a link", "does not follow", "sudo -u"] {
                assert!(said(&out).contains(words), "{args:?}: {}", said(&out));
            }
        }
        let site = Site::new(&stand_in).set("queue", "path", queue);
        let ended = site.fails();
        assert_eq!(ended.code, Some(74), "{}", ended.output);
        assert!(ended.output.contains("is a link"), "{}", ended.output);
        assert_eq!(picture(&elsewhere.path("")), before);
    }
    // A link that only root can change is the machine's own way of putting things elsewhere.
    symlink(victim.parent().expect("a folder"), site.path("data")).expect("a link");
    let queue = site.path("data/queue");
    let out = run(
        &site,
        &["verify", "--queue", queue.to_str().expect("a path")],
    );
    assert!(out.status.success(), "{}", said(&out));
}

fn give_link(path: &Path) {
    let (uid, gid) = (Uid::from_raw(OWNER), Gid::from_raw(OWNER));
    let at = nix::fcntl::AT_FDCWD;
    let no_follow = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
    nix::unistd::fchownat(at, path, Some(uid), Some(gid), no_follow).expect("given");
}

/// Beside the folder root would write as root, where another decides what stands there.
#[test]
fn a_queue_of_roots_in_anothers_folder_is_refused() {
    if !is_root() {
        return;
    }
    let stand_in = StandIn::start();
    let site = queue_of_roots(&stand_in);
    give_link(&site.path(""));
    let before = picture(&site.path("queue"));
    let out = run(&site, &["verify", "--repair"]);
    assert_eq!(out.status.code(), Some(74), "{}", said(&out));
    assert!(said(&out).contains("chown"), "{}", said(&out));
    assert_eq!(picture(&site.path("queue")), before);
}

/// Files of root's in the queue would keep the service from starting.
#[test]
fn a_daemon_that_root_starts_by_hand_runs_as_its_folders_owner() {
    if !is_root() {
        return;
    }
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    give(&site.path(""), OWNER);
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("by-hand", 0..5));
    stand_in.takes(5, s(10));
    assert!(daemon.log().contains("going on as"), "{}", daemon.log());
    assert_eq!(daemon.stop(s(10)).code, Some(0));
    for path in all(&site.path("")) {
        let about = fs::symlink_metadata(&path).expect("there");
        assert_eq!(about.uid(), OWNER, "{}", path.display());
    }
}

/// The folder is yet to be made: by whom it will belong to.
#[test]
fn what_is_not_there_is_not_made_by_root() {
    if !is_root() {
        return;
    }
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    give(&site.path(""), OWNER);
    let out = run(&site, &["verify"]);
    assert_eq!(out.status.code(), Some(74), "{}", said(&out));
    assert!(!site.path("queue").exists());
    let daemon = site.start();
    daemon.kill();
    within(s(5), "a queue", || {
        site.path("queue/format").exists().then_some(())
    });
    let owner = fs::metadata(site.path("queue")).expect("there");
    assert_eq!(
        (owner.uid(), owner.permissions().mode() & 0o777),
        (OWNER, 0o700)
    );
}
