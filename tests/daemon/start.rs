//! What keeps a daemon from starting: one clear line, and the exit code that goes with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use nix::unistd::geteuid;

use crate::support::{Client, Ended, PINRELAY, Process, Site, StandIn, bare, s, samples};

/// Nobody in particular.
const UNPRIVILEGED: u32 = 65_534;

fn mode(path: &Path) -> u32 {
    fs::metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o7777
}

/// One line, or one per problem, that names the object.
fn said(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.output);
    let lines: Vec<_> = (ended.output.lines())
        .filter(|line| line.starts_with("pinrelay: "))
        .collect();
    assert_eq!(lines.len(), 1, "{}", ended.output);
    for part in parts {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
    assert!(!ended.output.contains("pina_first") && !ended.output.contains("panicked"));
}

#[test]
fn modes_of_sockets_and_folder() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let _daemon = site.start();
    assert_eq!(mode(&site.socket()), 0o660);
    assert_eq!(mode(&site.admin()), 0o600);
    assert_eq!(mode(&site.path("queue")), 0o700);
}

#[test]
fn without_a_token() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let token = site.path("token");
    fs::remove_file(&token).expect("removed");
    said(&site.fails(), 78, &["token", &token.display().to_string()]);
    fs::write(&token, "\n").expect("written");
    said(&site.fails(), 78, &["token"]);
    // Nothing was made before the config was whole.
    assert!(!site.path("queue").exists());
}

#[test]
fn with_a_malformed_config() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let file = site.config_file().display().to_string();
    site.config("[delivery]\nlingr = \"1s\"\n");
    said(&site.fails(), 78, &[&file, "lingr", "`linger`"]);
    site.config("[delivery\n");
    said(&site.fails(), 78, &[&file]);
    site.config("[delivery]\nmax_batch_events = 1001\n");
    said(&site.fails(), 78, &[&file, "max_batch_events"]);
    site.config("[[mappings]]\nsource = \"properties.a\"\ndestination = \"properties.sku\"\n");
    said(&site.fails(), 78, &[&file, "properties.content_ids"]);
    site.config("");
    let typo = Site::new(&stand_in).set("delivery", "lingr", "1s");
    said(&typo.fails(), 78, &["PINRELAY_DELIVERY__LINGR"]);
    fs::remove_file(site.config_file()).expect("removed");
    said(&site.fails(), 78, &[&file, "--config"]);
}

#[test]
fn a_second_daemon_on_the_folder_or_the_socket() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    said(
        &site.fails(),
        69,
        &[&site.path("queue").display().to_string()],
    );
    let socket = site.socket().display().to_string();
    let other = Site::new(&stand_in).set("ingest", "socket", &socket);
    said(&other.fails(), 69, &[&socket]);
    let admin = site.admin().display().to_string();
    let third = Site::new(&stand_in).set("admin", "socket", &admin);
    said(&third.fails(), 69, &[&admin]);
    // The first one has lost nothing by it.
    Client::queue(&daemon.socket(), &samples("first", 0..10));
    stand_in.takes(10, s(5));
    assert_eq!(daemon.status()["delivered"], 10);
}

#[test]
fn a_stale_socket_is_replaced_and_a_file_in_its_place_is_not() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    site.start().kill();
    assert!(site.socket().exists(), "kill -9 leaves it behind");
    site.start().kill();
    fs::remove_file(site.socket()).expect("removed");
    fs::write(site.socket(), "precious").expect("written");
    let ended = site.fails();
    said(&ended, 78, &[&site.socket().display().to_string()]);
    assert_eq!(fs::read_to_string(site.socket()).expect("kept"), "precious");
}

/// Root ignores modes, so these run as somebody else.
#[test]
fn folders_that_cannot_be_used() {
    if !geteuid().is_root() {
        println!("skipped: only root can start a daemon as somebody else");
        return;
    }
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    // The binary may lie where only root gets to.
    let program = site.path("pinrelay");
    fs::copy(PINRELAY, &program).expect("copied");
    let open = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    };
    let root = program.parent().expect("a folder").to_owned();
    open(&root, 0o777);
    open(&site.path("token"), 0o644);
    let fails = || {
        let mut command = bare(&program);
        let like = site.run();
        command.args(like.get_args());
        command.envs(like.get_envs().filter_map(|(k, v)| Some((k, v?))));
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
        Process::start(&mut command).ended(s(20))
    };
    let queue = site.path("queue");
    fs::create_dir(&queue).expect("made");
    open(&queue, 0o700);
    said(&fails(), 74, &[&queue.display().to_string()]);
    fs::remove_dir(&queue).expect("removed");
    // It cannot be made either.
    open(&root, 0o755);
    said(&fails(), 74, &[&queue.display().to_string()]);
    // A token that is there and cannot be read.
    open(&root, 0o777);
    open(&site.path("token"), 0o600);
    said(&fails(), 78, &[&site.path("token").display().to_string()]);
    fs::write(&queue, "a file in its place").expect("written");
    open(&site.path("token"), 0o644);
    said(&fails(), 74, &[&queue.display().to_string()]);
}

#[test]
fn without_a_ca_store_https_alone_is_an_error() {
    let without = |site: &Site| {
        let mut command = site.run();
        command.env("SSL_CERT_FILE", "/nonexistent");
        command.env("SSL_CERT_DIR", "/nonexistent");
        command
    };
    let https = Site::at("https://localhost:1/v5");
    let ended = Process::start(&mut without(&https)).ended(s(10));
    said(&ended, 78, &["CA certificates", "ca-certificates"]);
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.ready(Process::start(&mut without(&site)));
    Client::queue(&site.socket(), &samples("ca", 0..3));
    daemon.shows(s(10), "delivered", |status| status["delivered"] == 3);
}
