//! Files that the config names, where something else stands in their place: a FIFO, which would
//! hold whoever opens it for ever, a folder, a device, a socket.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::{Client, Ended, Process, Site, StandIn, s, samples, within};

/// Long for a look at a file, and short for a hang.
const SOON: std::time::Duration = s(5);

fn fifo(path: &Path) {
    let _ = fs::remove_file(path);
    mkfifo(path, Mode::from_bits_truncate(0o600)).expect("a FIFO");
}

fn ends(mut command: Command) -> Ended {
    Process::start(&mut command).ended(SOON)
}

#[test]
fn a_fifo_holds_up_no_start_and_no_check() {
    let stand_in = StandIn::start();
    // The key that names it, how a start without it ends, and what check calls it.
    for (section, key, starts, kind) in [
        ("pinterest", "token_file", Some(78), "wrong"),
        ("queue", "machine_id_file", Some(78), "wrong"),
        ("notify", "webhook_url_file", None, "advice"),
    ] {
        let site = Site::new(&stand_in);
        let path = site.path("pipe");
        fifo(&path);
        let site = site.set(section, key, path.to_str().expect("a path"));
        let check = ends(site.command(&["check"]));
        let told = check.output.lines().any(|line| {
            line.starts_with(kind) && line.contains("/pipe") && line.contains("no plain file")
        });
        assert!(told, "{key}: {}", check.output);
        match starts {
            Some(code) => {
                let ended = ends(site.run());
                assert_eq!(ended.code, Some(code), "{key}: {}", ended.output);
                let told = ended.output.contains("/pipe") && ended.output.contains("no plain file");
                assert!(told, "{key}: {}", ended.output);
            }
            None => assert_eq!(site.start().stop(s(10)).code, Some(0)),
        }
    }
    // The config itself, for each command that reads it, and another instance's beside it.
    let site = Site::new(&stand_in);
    fifo(&site.path("other.toml"));
    assert_eq!(ends(site.command(&["check"])).code, Some(0));
    fifo(&site.config_file());
    for command in ["run", "check", "transform", "verify", "notify --test"] {
        let words: Vec<&str> = command.split(' ').collect();
        let ended = ends(site.command(&words));
        assert_eq!(ended.code, Some(78), "{command}: {}", ended.output);
        assert!(
            ended.output.contains("no plain file"),
            "{command}: {}",
            ended.output
        );
    }
}

/// The environment names a file as well, which a library reads.
#[test]
fn a_fifo_for_the_certificate_authorities_holds_up_no_start_and_no_check() {
    let site = Site::at("https://localhost:1/v5");
    let pipe = site.path("pipe");
    fifo(&pipe);
    for word in ["check", "run"] {
        let mut command = site.command(&[word]);
        command.env("SSL_CERT_FILE", &pipe);
        let ended = ends(command);
        assert_eq!(ended.code, Some(78), "{word}: {}", ended.output);
        let told = ended.output.contains("/pipe") && ended.output.contains("no plain file");
        assert!(told, "{word}: {}", ended.output);
    }
}

/// What runs goes on with what it has.
#[test]
fn a_fifo_holds_up_no_reload() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    fifo(&site.path("token"));
    // The watch has seen it, the command is refused, a signal as well.
    within(s(10), "a word of the watch", || {
        daemon
            .log()
            .contains("the old token stays in use")
            .then_some(())
    });
    let reload = ends(site.command(&["reload"]));
    assert_eq!(reload.code, Some(78), "{}", reload.output);
    assert!(reload.output.contains("no plain file"), "{}", reload.output);
    Client::queue(&daemon.socket(), &samples("fifo", 0..20));
    stand_in.takes(20, s(10));
    fs::remove_file(site.path("token")).expect("removed");
    site.token("pina_first");
    let reload = ends(site.command(&["reload"]));
    assert_eq!(reload.code, Some(0), "{}", reload.output);
    fs::remove_file(site.config_file()).expect("removed");
    fifo(&site.config_file());
    daemon.signal(Signal::SIGHUP);
    within(s(10), "a refusal", || {
        let log = daemon.log();
        let refused =
            |line: &str| line.contains("nothing was changed") && line.contains("pinrelay.toml");
        log.lines().any(refused).then_some(())
    });
    assert_eq!(daemon.stop(s(10)).code, Some(0));
}

#[test]
fn only_a_plain_file_is_read() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let socket = site.path("a.sock");
    let _listener = UnixListener::bind(&socket).expect("bound");
    let large = site.path("large");
    fs::File::create(&large)
        .and_then(|file| file.set_len(1 << 30))
        .expect("a sparse file");
    for (path, says) in [
        (socket.as_path(), "no plain file"),
        (Path::new("/dev/zero"), "no plain file"),
        (Path::new("/"), "no plain file"),
        (&large, "larger than"),
    ] {
        let site =
            Site::new(&stand_in).set("pinterest", "token_file", path.to_str().expect("a path"));
        let ended = ends(site.run());
        assert_eq!(ended.code, Some(78), "{}: {}", path.display(), ended.output);
        assert!(
            ended.output.contains(says),
            "{}: {}",
            path.display(),
            ended.output
        );
    }
    // Without the id of this machine a queue of another's would not be noticed.
    let site = Site::new(&stand_in).set("queue", "machine_id_file", "/dev/zero");
    let ended = ends(site.run());
    assert_eq!(ended.code, Some(78), "{}", ended.output);
    assert!(!site.path("queue").exists());
    let site = Site::new(&stand_in).set("queue", "machine_id_file", "/nowhere/machine-id");
    assert_eq!(
        site.start().stop(s(10)).code,
        Some(0),
        "a container has none"
    );
}
