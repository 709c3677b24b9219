//! Two trusts, two groups: who may send events need not read the token. On a machine with users
//! of its own, as root may make one for a process.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use nix::unistd::{Gid, Uid, chown, geteuid};
use serde_json::Value;

use crate::support::{Process, Site, StandIn, bare, s};

const DAEMON: u32 = 990;
const INGEST: u32 = 991;
const USERS: &str = "root:x:0:0::/root:/bin/sh\n\
    pinrelay:x:990:990::/nonexistent:/bin/false\n\
    www-data:x:33:33::/nonexistent:/bin/false\n\
    till:x:34:991::/nonexistent:/bin/false\n\
    ada:x:35:35::/nonexistent:/bin/false\n";
/// As the package makes them.
const GROUPS: &str = "root:x:0:\npinrelay:x:990:\npinrelay-ingest:x:991:pinrelay,www-data\n\
    www-data:x:33:\nada:x:35:\n";
/// As they were when producers were to join the daemon's own.
const ONE_GROUP: &str = "root:x:0:\npinrelay:x:990:www-data\nwww-data:x:33:\nada:x:35:\n";

/// A site whose files are as on a machine where the package is installed.
struct Machine(Site);

impl Machine {
    /// `None`, with the reason printed, where mounts are not permitted.
    fn new(stand_in: &StandIn) -> Option<Self> {
        let machine = Self(Site::new(stand_in));
        let tried = machine.on(GROUPS, bare(Path::new("true"))).output();
        if !geteuid().is_root() || !tried.is_ok_and(|out| out.status.success()) {
            println!("skipped: only root may give a process users of its own");
            return None;
        }
        let site = &machine.0;
        fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o755)).expect("a mode");
        fs::create_dir(site.path("etc")).expect("a folder");
        machine.own("etc", 0, DAEMON, 0o750);
        for (name, text) in [
            ("token", "pina_first-SECRET\n"),
            ("webhook", "https://127.0.0.1/hooks/SECRET\n"),
        ] {
            let name = format!("etc/{name}");
            fs::write(site.path(&name), text).expect("a file");
            machine.own(&name, 0, DAEMON, 0o640);
        }
        fs::create_dir(site.path("state")).expect("a folder");
        machine.own("state", DAEMON, DAEMON, 0o700);
        fs::create_dir(site.path("run")).expect("a folder");
        machine.own("run", DAEMON, DAEMON, 0o755);
        machine.config("");
        Some(machine)
    }

    /// With this under `[ingest]`.
    fn config(&self, ingest: &str) {
        let at = self.0.path("");
        let at = at.to_str().expect("a path").trim_end_matches('/');
        let text = format!(
            "[pinterest]\nad_account_id = \"549755885175\"\napp_name = \"ss-test\"\n\
             token_file = \"{at}/etc/token\"\n[queue]\npath = \"{at}/state/queue\"\n\
             [notify]\nwebhook_url_file = \"{at}/etc/webhook\"\n\
             [admin]\nsocket = \"{at}/run/admin.sock\"\n\
             [ingest]\nsocket = \"{at}/run/ingest.sock\"\n{ingest}\n"
        );
        fs::write(self.0.path("etc/pinrelay.toml"), text).expect("a config");
        self.own("etc/pinrelay.toml", 0, DAEMON, 0o640);
    }

    fn own(&self, name: &str, user: u32, group: u32, mode: u32) {
        let path = self.0.path(name);
        chown(&path, Some(Uid::from_raw(user)), Some(Gid::from_raw(group))).expect("given");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    }

    /// The command where these are the groups.
    fn on(&self, groups: &str, command: Command) -> Command {
        fs::write(self.0.path("passwd"), USERS).expect("users");
        fs::write(self.0.path("group"), groups).expect("groups");
        let script = "mount --bind \"$1\" /etc/passwd && mount --bind \"$2\" /etc/group && \
                      shift 2 && exec \"$@\"";
        let mut under = bare(Path::new("unshare"));
        under.args(["-m", "--propagation", "private", "sh", "-c", script, "sh"]);
        under.arg(self.0.path("passwd")).arg(self.0.path("group"));
        under.arg(command.get_program()).args(command.get_args());
        under.envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
        under
    }

    /// What `check` calls wrong, as the daemon's user and as root alike.
    fn wrong(&self, groups: &str) -> Vec<String> {
        let config = self.0.path("etc/pinrelay.toml");
        let args = ["check", "--json", "--config"];
        let mut by_root = bare(Path::new(crate::support::PINRELAY));
        by_root.args(args).arg(&config);
        let mut by_daemon = bare(Path::new("setpriv"));
        by_daemon.args(["--reuid=990", "--regid=990", "--init-groups"]);
        by_daemon
            .arg(crate::support::PINRELAY)
            .args(args)
            .arg(&config);
        let [root, daemon] = [by_root, by_daemon].map(|command| {
            let out = self.on(groups, command).output().expect("it runs");
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            let said: Value = serde_json::from_str(&text)
                .unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&out.stderr)));
            assert!(!text.contains("SECRET"), "{text}");
            let findings = said["findings"].as_array().expect("findings").iter();
            let wrong: Vec<String> = (findings.filter(|f| f["kind"] == "wrong"))
                .map(|f| f["text"].as_str().expect("a text").to_owned())
                .collect();
            assert_eq!(
                out.status.code(),
                Some(if wrong.is_empty() { 0 } else { 78 })
            );
            wrong
        });
        assert_eq!(root, daemon);
        root
    }

    /// A daemon of the user `pinrelay`.
    fn daemon(&self, groups: &str) -> Process {
        let mut command = bare(Path::new("setpriv"));
        command.args(["--reuid=990", "--regid=990", "--init-groups"]);
        command
            .arg(crate::support::PINRELAY)
            .arg("run")
            .arg("--config");
        command.arg(self.0.path("etc/pinrelay.toml"));
        command.env("PINRELAY_PINTEREST__BASE_URL", "http://127.0.0.1:9/v5");
        let mut process = Process::start(&mut self.on(groups, command));
        process.says_in(": taking events", s(30));
        process
    }

    /// The group and mode of the sockets that take events.
    fn socket(&self) -> (u32, u32) {
        let [lines, http] = ["run/ingest.sock", "run/http.sock"].map(|socket| {
            let about = fs::metadata(self.0.path(socket)).expect("a socket");
            (about.gid(), about.mode() & 0o777)
        });
        assert_eq!(lines, http);
        lines
    }
}

/// All of them by their names, and each with what to do.
fn names(wrong: &[String], words: &[&str]) {
    for words in words {
        assert!(
            wrong.iter().any(|w| w.contains(words)),
            "{words}: {wrong:#?}"
        );
    }
}

#[test]
fn producers_that_can_read_a_secret_are_wrong() {
    let stand_in = StandIn::start();
    let Some(machine) = Machine::new(&stand_in) else {
        return;
    };
    assert_eq!(machine.wrong(GROUPS), [""; 0], "as the package makes it");

    // A producer that is still in the daemon's group.
    let both = GROUPS.replace("pinrelay:x:990:", "pinrelay:x:990:www-data");
    let wrong = machine.wrong(&both);
    names(
        &wrong,
        &[
            "etc/token",
            "etc/webhook",
            "www-data",
            "gpasswd -d www-data pinrelay",
        ],
    );
    // One whose primary group is that of the producers.
    let primary = GROUPS.replace("pinrelay:x:990:", "pinrelay:x:990:till,ada");
    let wrong = machine.wrong(&primary);
    names(&wrong, &["etc/token", "till", "gpasswd -d till pinrelay"]);
    assert!(
        wrong.iter().all(|w| !w.contains("ada")),
        "she sends nothing: {wrong:#?}"
    );
    // One who owns the file.
    machine.own("etc", 0, DAEMON, 0o755);
    machine.own("etc/token", 33, DAEMON, 0o640);
    names(
        &machine.wrong(GROUPS),
        &["etc/token", "www-data", "chown root"],
    );
    // The producers' group has it.
    machine.own("etc/token", 0, INGEST, 0o640);
    names(
        &machine.wrong(GROUPS),
        &["etc/token", "pinrelay-ingest", "chgrp pinrelay "],
    );
    // Everybody.
    machine.own("etc/token", 0, DAEMON, 0o644);
    names(&machine.wrong(GROUPS), &["etc/token", "chmod 0640"]);
    // Behind a folder that they may not enter, what everybody may read nobody does.
    machine.own("etc", 0, DAEMON, 0o750);
    assert_eq!(machine.wrong(GROUPS), [""; 0]);
    machine.own("etc/token", 0, DAEMON, 0o640);

    // Who can change the config can send the token elsewhere.
    machine.own("etc", 0, 33, 0o775);
    names(&machine.wrong(GROUPS), &["etc/pinrelay.toml", "www-data"]);
    machine.own("etc", 0, DAEMON, 0o755);
    assert_eq!(machine.wrong(GROUPS), [""; 0]);
    // Or put another folder in the place of the one that it is in.
    machine.own("", 0, 33, 0o775);
    names(&machine.wrong(GROUPS), &["etc/pinrelay.toml", "www-data"]);
    machine.own("", 0, 0, 0o755);
    machine.own("etc", 0, DAEMON, 0o750);
    // The queue is personal data and the key of the ids.
    fs::create_dir(machine.0.path("state/queue")).expect("a folder");
    machine.own("state/queue", DAEMON, INGEST, 0o750);
    names(&machine.wrong(GROUPS), &["state/queue", "pinrelay-ingest"]);
}

/// Where producers were in the daemon's group, as the first release said.
#[test]
fn one_group_for_both_is_wrong_and_said_how_to_part() {
    let stand_in = StandIn::start();
    let Some(machine) = Machine::new(&stand_in) else {
        return;
    };
    machine.config("group = \"pinrelay\"");
    let wrong = machine.wrong(ONE_GROUP);
    names(
        &wrong,
        &[
            "etc/token",
            "group pinrelay",
            "pinrelay-ingest",
            "gpasswd -d",
        ],
    );
    // The same by what the socket is, whatever the config says of it.
    let mut daemon = machine.daemon(ONE_GROUP);
    assert_eq!(machine.socket(), (DAEMON, 0o660), "it works as before");
    let log = daemon.output();
    assert!(
        log.contains("can be read by everyone who may send"),
        "{log}"
    );
    machine.config("group = \"pinrelay-ingest\"");
    names(
        &machine.wrong(GROUPS),
        &["etc/token", "group pinrelay", "gpasswd -d"],
    );
    // Through either socket they may send.
    machine.own("run/ingest.sock", DAEMON, INGEST, 0o660);
    names(&machine.wrong(GROUPS), &["etc/token", "run/http.sock"]);
    machine.own("run/http.sock", DAEMON, INGEST, 0o660);
    assert_eq!(machine.wrong(GROUPS), [""; 0]);
    daemon.kill();
}

/// What one producer may read another may, and send in its name.
#[test]
fn producers_that_can_read_what_keeps_others_out_of_http_are_wrong() {
    let stand_in = StandIn::start();
    let Some(machine) = Machine::new(&stand_in) else {
        return;
    };
    let tls = "tests/fixtures/tls/localhost";
    let fixture = |end: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{tls}.{end}"));
    fs::copy(fixture("pem"), machine.0.path("etc/cert")).expect("a certificate");
    fs::copy(fixture("key"), machine.0.path("etc/cert.key")).expect("its key");
    fs::write(machine.0.path("etc/shop.key"), "SECRET-shop\n").expect("a write key");
    machine.own("etc/cert", 0, DAEMON, 0o644);
    for secret in ["etc/cert.key", "etc/shop.key"] {
        machine.own(secret, 0, DAEMON, 0o640);
    }
    let at = machine.0.path("etc");
    let at = at.display();
    let entry =
        |name: &str, what: &str| format!("[[ingest.write_keys]]\nname = \"{name}\"\n{what}\n");
    let in_file = entry("shop", &format!("key_file = \"{at}/shop.key\""));
    let tls = format!("http_tls_cert = \"{at}/cert\"\nhttp_tls_key = \"{at}/cert.key\"\n");
    machine.config(&format!("{tls}{in_file}"));
    assert_eq!(machine.wrong(GROUPS), [""; 0]);
    for secret in ["etc/cert.key", "etc/shop.key"] {
        machine.own(secret, 0, INGEST, 0o640);
        names(
            &machine.wrong(GROUPS),
            &[secret, "pinrelay-ingest", "chgrp pinrelay "],
        );
        machine.own(secret, 0, DAEMON, 0o640);
    }
    // The config itself, once a key stands in it.
    machine.own("etc/pinrelay.toml", 0, INGEST, 0o640);
    machine.own("etc", 0, DAEMON, 0o755);
    assert_eq!(machine.wrong(GROUPS), [""; 0]);
    machine.config(&entry("app", "key = \"SECRET-app\""));
    assert_eq!(machine.wrong(GROUPS), [""; 0]);
    machine.own("etc/pinrelay.toml", 0, INGEST, 0o640);
    names(
        &machine.wrong(GROUPS),
        &["etc/pinrelay.toml", "chgrp pinrelay "],
    );
}

#[test]
fn the_socket_is_the_producers_and_without_their_group_no_more_open_than_before() {
    let stand_in = StandIn::start();
    let Some(machine) = Machine::new(&stand_in) else {
        return;
    };
    let mut daemon = machine.daemon(GROUPS);
    assert_eq!(machine.socket(), (INGEST, 0o660));
    let log = daemon.output();
    // But that it is a stand-in.
    let warns = |line: &&str| line.contains("WARN") && !line.contains("do not go to Pinterest");
    assert_eq!(log.lines().find(warns), None, "{log}");
    daemon.kill();
    let mut daemon = machine.daemon(ONE_GROUP);
    assert_eq!(machine.socket(), (DAEMON, 0o660));
    let log = daemon.output();
    for words in [
        "there is no group pinrelay-ingest",
        "can be read by everyone who may send",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
    daemon.kill();
    // A group that it may not give the socket to.
    let stranger = GROUPS.replace("pinrelay,www-data", "www-data");
    let mut daemon = machine.daemon(&stranger);
    assert_eq!(machine.socket(), (DAEMON, 0o660));
    let log = daemon.output();
    assert!(
        log.contains("usermod -a -G pinrelay-ingest pinrelay"),
        "{log}"
    );
    daemon.kill();
}
