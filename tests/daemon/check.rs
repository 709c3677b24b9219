//! `pinrelay check` finds what `pinrelay run` would stumble over, and in the same words.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use nix::unistd::geteuid;

use crate::support::{Mount, PINRELAY, Process, Site, StandIn, bare, s};

/// Nobody in particular.
const UNPRIVILEGED: u32 = 65_534;

fn text(out: &Output) -> String {
    let said = [&out.stdout[..], &out.stderr[..]].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// What `check` calls wrong.
fn wrongs(out: &Output) -> Vec<String> {
    let said = text(out);
    let wrongs = said
        .lines()
        .filter_map(|line| line.strip_prefix("wrong   "));
    wrongs.map(str::to_owned).collect()
}

fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// `check` calls one thing wrong, and nothing else, with these words; `run` ends with this code and these words.
fn both(site: &Site, checks: &[&str], code: i32, runs: &[&str]) {
    let out = site.command(&["check"]).output().expect("it runs");
    assert_eq!(wrongs(&out).len(), 1, "{}", text(&out));
    both_of(site.command(&["check"]), site.run(), checks, code, runs);
}

fn both_of(mut check: Command, mut run: Command, checks: &[&str], code: i32, runs: &[&str]) {
    let out = check.output().expect("it runs");
    assert_eq!(out.status.code(), Some(78), "{}", text(&out));
    let is_it = |wrong: &String| checks.iter().all(|part| wrong.contains(part));
    assert!(wrongs(&out).iter().any(is_it), "{checks:?}: {}", text(&out));
    let ended = Process::start(&mut run).ended(s(20));
    assert_eq!(ended.code, Some(code), "{}", ended.output);
    says(&ended.output, runs);
    assert!(!ended.output.contains("panicked"), "{}", ended.output);
}

/// It is fine, and a daemon starts.
fn well(site: &Site) -> String {
    let out = site.command(&["check"]).output().expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    let daemon = site.start();
    // With a daemon there it is fine as well.
    let again = site.command(&["check"]).output().expect("it runs");
    assert_eq!(again.status.code(), Some(0), "{}", text(&again));
    assert_eq!(daemon.stop(s(10)).code, Some(0));
    text(&out)
}

#[test]
fn no_socket_has_a_path_of_more_than_107_bytes() {
    let stand_in = StandIn::start();
    for (section, key) in [
        ("ingest", "socket"),
        ("ingest", "http_socket"),
        ("admin", "socket"),
    ] {
        let site = Site::new(&stand_in);
        let of = |length: usize| {
            let folder = site.path("").display().to_string();
            format!("{folder}{}", "s".repeat(length - folder.len()))
        };
        let (longest, longer) = (of(107), of(108));
        let site = site.set(section, key, &longer);
        let variable = format!("PINRELAY_{section}__{key}").to_uppercase();
        let words = [
            &variable,
            &format!("`{key}` in [{section}] has 108 bytes, and the path of a socket at most 107"),
            "choose a shorter one",
        ];
        both(&site, &words, 78, &words);
        let site = site.set(section, key, &longest);
        let out = site.command(&["check"]).output().expect("it runs");
        assert_eq!(out.status.code(), Some(0), "{}", text(&out));
        let mut daemon = Process::start(&mut site.run());
        daemon.says_in("ready: taking events", s(20));
    }
    // One that nobody asked for is done without.
    let site = Site::new(&stand_in);
    let folder = site.path(
        "d".repeat(107 - site.path("d/s").display().to_string().len() + 1)
            .as_str(),
    );
    fs::create_dir(&folder).expect("made");
    let socket = folder.join("s").display().to_string();
    let site = site.set("ingest", "socket", &socket);
    let out = site.command(&["check"]).output().expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    says(
        &text(&out),
        &[
            "advice  ingest.http_socket",
            "has 115 bytes, and the path of a socket at most 107",
        ],
    );
    let mut daemon = Process::start(&mut site.run());
    daemon.says_in("has 115 bytes, and that of a socket at most 107", s(20));
    daemon.says_in("ready: taking events", s(20));
}

#[test]
fn a_file_in_a_sockets_place_is_no_socket() {
    let stand_in = StandIn::start();
    for (key, name) in [
        ("ingest.socket", "ingest.sock"),
        ("admin.socket", "admin.sock"),
    ] {
        let site = Site::new(&stand_in);
        fs::write(site.path(name), "precious").expect("written");
        let words = ["a file that is no socket stands there"];
        both(&site, &[key, words[0]], 78, &words);
    }
    // The HTTP socket beside the other was not asked for, and is done without.
    let site = Site::new(&stand_in);
    fs::write(site.path("http.sock"), "precious").expect("written");
    let said = well(&site);
    says(&said, &["advice  ingest.http_socket", "HTTP is not served"]);
}

#[test]
fn a_link_to_nothing_is_named_with_where_it_leads() {
    let stand_in = StandIn::start();
    let gone = |site: &Site, name: &str| {
        symlink(site.path("gone"), site.path(name)).expect("a link");
        let (link, target) = (site.path(name), site.path("gone"));
        format!(
            "{} is a symbolic link to {}, which is not there",
            link.display(),
            target.display()
        )
    };
    let site = Site::new(&stand_in);
    let link = gone(&site, "queue");
    both(
        &site,
        &[&link, "set queue.path"],
        74,
        &[&link, "set queue.path"],
    );

    // On the way there, too.
    let site = Site::new(&stand_in);
    let link = gone(&site, "way");
    let path = site.path("way/queue").display().to_string();
    let site = site.set("queue", "path", &path);
    both(
        &site,
        &[&link, "set queue.path"],
        74,
        &[&link, "set queue.path"],
    );

    let site = Site::new(&stand_in);
    fs::remove_file(site.path("token")).expect("removed");
    let link = gone(&site, "token");
    both(
        &site,
        &["the token file", &link, "name another"],
        78,
        &[&link, "name another"],
    );

    for key in ["socket", "http_socket"] {
        let site = Site::new(&stand_in);
        let link = gone(&site, "way");
        let path = site.path("way/a.sock").display().to_string();
        let site = site.set("ingest", key, &path);
        let words = [&format!("ingest.{key}"), &link, "make it"];
        // The HTTP socket stands beside the other, unless it was asked for.
        both(
            &site,
            &words,
            78,
            &[&link, "make it, or choose another path"],
        );
    }
    let site = Site::new(&stand_in);
    let link = gone(&site, "way");
    let path = site.path("way/a.sock").display().to_string();
    let site = site.set("admin", "socket", &path);
    both(
        &site,
        &["admin.socket", &link],
        78,
        &[&link, "make it, or choose another path"],
    );

    for (key, other) in [
        ("http_tls_cert", "http_tls_key"),
        ("http_tls_key", "http_tls_cert"),
    ] {
        let site = Site::new(&stand_in);
        let link = gone(&site, "pem");
        let path = |name: &str| site.path(name).display().to_string();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
        fs::copy(fixtures.join("localhost.pem"), site.path("other")).expect("copied");
        let (pem, there) = (path("pem"), path("other"));
        let site = site.set("ingest", key, &pem).set("ingest", other, &there);
        let words = [
            &format!("ingest.{key}"),
            &link,
            "put it there, or name another",
        ];
        both(&site, &words, 78, &words);
    }
}

#[test]
fn the_queue_needs_a_folder_on_a_file_system_that_can() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    fs::write(site.path("queue"), "a file in its place").expect("written");
    let words = ["is not a folder", "set queue.path"];
    both(&site, &words, 74, &words);

    let path = site.path("queue/below").display().to_string();
    let below = site.set("queue", "path", &path);
    both(
        &below,
        &["is not a folder", "set queue.path"],
        74,
        &["Not a directory"],
    );

    // A file that no process of any rights can be made beside.
    let site = Site::new(&stand_in).set("queue", "path", "/proc/pinrelay-queue");
    both(
        &site,
        &["/proc/pinrelay-queue", "set queue.path"],
        74,
        &["/proc/pinrelay-queue"],
    );

    if geteuid().is_root() {
        no_permission(&stand_in);
    } else {
        println!("skipped: only root can start a daemon as somebody else");
    }
    full_and_read_only(&stand_in);
    without_syncs(&stand_in);
}

/// The same command as somebody else, who can read all that it needs.
fn as_nobody(site: &Site, like: Command) -> Command {
    let program = site.path("pinrelay");
    if !program.exists() {
        fs::copy(PINRELAY, &program).expect("copied");
    }
    for (name, mode) in [("", 0o777), ("token", 0o644), ("pinrelay.toml", 0o644)] {
        fs::set_permissions(site.path(name), fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let mut command = bare(&program);
    command.args(like.get_args());
    command.envs(like.get_envs().filter_map(|(k, v)| Some((k, v?))));
    command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    command
}

/// Root ignores modes, so this runs as somebody else.
fn no_permission(stand_in: &StandIn) {
    let site = Site::new(stand_in);
    fs::create_dir(site.path("queue")).expect("made");
    let check = as_nobody(&site, site.command(&["check"]));
    let run = as_nobody(&site, site.run());
    let words = ["Permission denied"];
    let checks = ["EACCES", "give it to the daemon's user, or set queue.path"];
    both_of(check, run, &checks, 74, &words);
}

fn full_and_read_only(stand_in: &StandIn) {
    let site = Site::new(stand_in);
    let Some(mount) = Mount::tmpfs(&site, 8) else {
        return;
    };
    let path = site.path("disk/queue").display().to_string();
    let site = site
        .set("queue", "path", &path)
        .set("queue", "min_free", "0");
    let within = |words: &str| {
        let mut command = mount.run(&site);
        let args: Vec<OsString> = command.get_args().map(OsString::from).collect();
        let args = args.into_iter().map(|arg| match arg == "run" {
            true => OsString::from(words),
            false => arg,
        });
        let mut like = bare(Path::new("nsenter"));
        like.args(args);
        like.envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
        command = like;
        command
    };
    mount.fill("ballast", 0);
    let full = "No space left on device";
    let next = "free space or inodes there (`df`, `df -i`)";
    both_of(within("check"), within("run"), &[full, next], 74, &[full]);
    fs::remove_file(mount.path("ballast")).expect("removed");
    let out = within("check").output().expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));

    let remount = mount.shell("mount -o remount,ro \"$1\"");
    assert!(remount.status.success(), "{}", text(&remount));
    let words = ["Read-only file system"];
    both_of(
        within("check"),
        within("run"),
        &["EROFS", "set queue.path"],
        74,
        &words,
    );
}

/// A file system on which a sync fails.
fn without_syncs(stand_in: &StandIn) {
    if bare(Path::new("strace")).arg("-V").output().is_err() {
        println!("skipped: no strace");
        return;
    }
    let site = Site::new(stand_in);
    let under = |command: &str| {
        let inject = "inject=fsync,fdatasync:error=EINVAL";
        let like = site.command(&[command]);
        let mut strace = bare(Path::new("strace"));
        strace.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=fsync,fdatasync",
            "-e",
            inject,
        ]);
        strace.arg(PINRELAY).args(like.get_args());
        strace.envs(like.get_envs().filter_map(|(k, v)| Some((k, v?))));
        strace
    };
    let checks = [
        "a sync fails there: Invalid argument",
        "set queue.path to a local file system",
    ];
    both_of(
        under("check"),
        under("run"),
        &checks,
        74,
        &["Invalid argument"],
    );
}

#[test]
fn a_port_that_another_has_is_named_with_who_has_it() {
    let stand_in = StandIn::start();
    for (section, key) in [("metrics", "listen"), ("ingest", "http_listen")] {
        let other = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = other.local_addr().expect("its address").to_string();
        let site = Site::new(&stand_in).set(section, key, &at);
        let pid = format!("(pid {})", std::process::id());
        let name = format!("{section}.{key}: {at}");
        both(
            &site,
            &[&name, "is in use by", &pid, "choose another port"],
            69,
            &[&name, "in use"],
        );
        drop(other);
        // Its own daemon has it rightly.
        well(&site);
    }
    let site = Site::new(&stand_in).set("ingest", "http_listen", "192.0.2.1:8080");
    let site = site.set("ingest", "http_behind_proxy", "true");
    let words = [
        "ingest.http_listen: 192.0.2.1:8080",
        "name an address of this machine",
    ];
    both(&site, &words, 74, &words);
}

/// Whose port it is can be told by the system's table alone.
#[test]
fn a_port_of_a_process_that_may_not_be_looked_at_is_named_with_its_user() {
    if !geteuid().is_root() {
        println!("skipped: only root can look as somebody else");
        return;
    }
    let stand_in = StandIn::start();
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = other.local_addr().expect("its address").to_string();
    let kinds = [
        ("metrics", "listen", "wrong   "),
        // systemd is root's, too, and may pass it.
        ("ingest", "http_listen", "advice  "),
    ];
    for (section, key, kind) in kinds {
        let site = Site::new(&stand_in).set(section, key, &at);
        let out = as_nobody(&site, site.command(&["check"])).output();
        let said = text(&out.expect("it runs"));
        let line = format!("{kind}{section}.{key}: {at} is in use by ");
        let found = said.lines().find(|l| l.starts_with(&line));
        let found = found.unwrap_or_else(|| panic!("{line}: {said}"));
        says(found, &["root", "choose another port"]);
    }
}

#[test]
fn a_log_filter_that_cannot_be_read_is_wrong() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let with = |mut command: Command, value: &[u8]| {
        command.env("RUST_LOG", OsString::from_vec(value.to_vec()));
        command
    };
    for (value, why) in [
        (&b"pinrelay=loud"[..], "error parsing level filter"),
        (b"\xff", "RUST_LOG is not UTF-8"),
    ] {
        let (check, run) = (
            with(site.command(&["check"]), value),
            with(site.run(), value),
        );
        let words = [
            "the log cannot be set up",
            why,
            "see RUST_LOG and [log] level",
        ];
        both_of(check, run, &words, 78, &words);
    }
    let out = with(site.command(&["check"]), b"pinrelay=debug")
        .output()
        .expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
}

/// It would be a folder of another name.
#[test]
fn a_variable_that_is_not_utf_8_is_refused() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let with = |mut command: Command| {
        let value = [site.path("qu").as_os_str().as_bytes(), b"\xff"].concat();
        command.env("PINRELAY_QUEUE__PATH", OsString::from_vec(value));
        command
    };
    let words = [
        "PINRELAY_QUEUE__PATH",
        "its value is not UTF-8",
        "set it anew",
    ];
    both_of(
        with(site.command(&["check"])),
        with(site.run()),
        &words,
        78,
        &words,
    );
    let names = fs::read_dir(site.path("")).expect("listed").flatten();
    assert!(
        names.into_iter().all(|entry| !entry.path().is_dir()),
        "nothing was made"
    );
}

#[test]
fn a_folder_whose_name_is_not_utf_8_is_one_like_others() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let folder = site
        .path("")
        .join(OsString::from_vec(b"con\xfffig".to_vec()));
    fs::create_dir(&folder).expect("made");
    let file = folder.join("pinrelay.toml");
    fs::copy(site.config_file(), &file).expect("copied");
    fs::write(folder.join(OsString::from_vec(b"n\xff.toml".to_vec())), "").expect("written");
    let mut check = bare(Path::new(PINRELAY));
    check.arg("check").arg("--config").arg(&file);
    check.envs(site.run().get_envs().filter_map(|(k, v)| Some((k, v?))));
    let out = check.output().expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));

    // A config cannot name it, as the token's place.
    let mut init = bare(Path::new(PINRELAY));
    init.args([
        "init",
        "--non-interactive",
        "--offline",
        "--ad-account-id",
        "1",
    ]);
    init.args(["--app-name", "ss-a", "--token-file"])
        .arg(site.path("token"));
    init.arg("--config").arg(folder.join("new.toml"));
    let out = init.output().expect("it runs");
    assert_eq!(out.status.code(), Some(64), "{}", text(&out));
    says(
        &text(&out),
        &["has to be UTF-8: name another with --config"],
    );
    assert!(!folder.join("new.toml").exists() && !folder.join("token").exists());
}

#[test]
fn a_relative_path_is_told_with_where_it_leads() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("queue", "path", "queue");
    let here = site.path("");
    let mut check = site.command(&["check"]);
    let out = check.current_dir(&here).output().expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    says(
        &text(&out),
        &[
            "advice  queue.path counts from the folder",
            "and / in the shipped service",
        ],
    );
    let mut run = Process::start(site.run().current_dir(&here));
    run.says_in("the queue is in", s(20));
    run.says_in("ready: taking events", s(20));
    let queue = site.path("queue").display().to_string();
    says(
        &run.output(),
        &[&format!("the queue is in {queue}"), "write the whole path"],
    );
    assert!(site.path("queue/format").exists());
}

/// Copies that somebody keeps beside a config are nobody's config.
#[test]
fn what_lies_beside_it_is_compared_only_where_a_daemon_runs_on_it() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    for copy in [
        "good.toml",
        "old.toml",
        "pinrelay.toml.bak",
        "pinrelay.toml~",
        "x.toml.dpkg-dist",
    ] {
        fs::copy(site.config_file(), site.path(copy)).expect("copied");
    }
    let out = site.command(&["check"]).output().expect("it runs");
    assert_eq!(wrongs(&out), [""; 0], "{}", text(&out));
    says(
        &text(&out),
        &["ok      not compared, for nothing says that a daemon runs on it: "],
    );
    assert_eq!(out.status.code(), Some(0));
    // One with a token of its own is another daemon's.
    fs::write(site.path("old.token"), "pina_other").expect("written");
    let out = site.command(&["check"]).output().expect("it runs");
    let old = site.path("old.toml").display().to_string();
    assert!(
        wrongs(&out)
            .iter()
            .any(|w| w.contains("the queue") && w.contains(&old)),
        "{}",
        text(&out)
    );
    assert!(
        !wrongs(&out).iter().any(|w| w.contains("good.toml")),
        "{}",
        text(&out)
    );
    assert_eq!(out.status.code(), Some(78));
}
