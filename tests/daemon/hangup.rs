//! A terminal whose window is closed: whatever ran in it ends, and does not spin.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Client, PINRELAY, Site, StandIn, bare, s};

/// Both ends of a terminal of 24 rows and 80 columns. The window's end is no child's, or it would stay
/// open.
fn terminal() -> (File, File) {
    use nix::fcntl::OFlag;
    use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let window = posix_openpt(flags).expect("a terminal");
    grantpt(&window).expect("granted");
    unlockpt(&window).expect("unlocked");
    let name = ptsname_r(&window).expect("its name");
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NOCTTY.bits());
    let terminal = options.open(&name).expect("its other end");
    let sized = (Command::new("stty").args(["rows", "24", "cols", "80"]))
        .stdin(terminal.try_clone().expect("a further handle"))
        .status();
    assert!(sized.expect("stty runs").success());
    (File::from(OwnedFd::from(window)), terminal)
}

/// Starts it on a terminal, waits until that shows `sign`, closes it, and waits for the end.
fn ends_with_its_terminal(mut command: Command, keeps_stdin: bool, sign: &str) {
    let (mut window, terminal) = terminal();
    let handle = || Stdio::from(terminal.try_clone().expect("a further handle"));
    if !keeps_stdin {
        command.stdin(handle());
    }
    let what = format!("{command:?}");
    let mut child = command
        .stdout(handle())
        .stderr(handle())
        .spawn()
        .expect("it starts");
    drop(command);
    drop(terminal);
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    let end = Instant::now() + Duration::from_secs(20);
    while !String::from_utf8_lossy(&seen).contains(sign) {
        assert!(
            Instant::now() < end,
            "{what}: {}",
            String::from_utf8_lossy(&seen)
        );
        let n = (window.read(&mut buffer))
            .unwrap_or_else(|e| panic!("{what}: {e} behind {}", String::from_utf8_lossy(&seen)));
        seen.extend_from_slice(&buffer[..n]);
    }
    drop(window);
    let begun = Instant::now();
    let ended = loop {
        if let Some(ended) = child.try_wait().expect("our own child") {
            break ended;
        }
        if begun.elapsed() > Duration::from_secs(5) {
            child.kill().expect("our own child");
            child.wait().expect("gone");
            panic!("{what} goes on without its terminal");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(!ended.success(), "{what}: {ended}");
}

#[test]
fn every_command_ends_with_its_terminal() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    // A dead letter, for the purge's question; then nothing leaves.
    let mut client = Client::connect(&site.socket());
    client.ask(&json!({"messageId": "d", "type": "page"}).to_string());
    daemon.shows(s(20), "dead", |status| status["dead_total"] == 1);
    stand_in.mode(json!({"fault": "401"}));
    let event = json!({"messageId": "m", "type": "page", "properties": {"email": "a@example.com"}});
    client.ask(&event.to_string());
    daemon.shows(s(20), "parked", |status| status["state"] == "parked");

    ends_with_its_terminal(site.command(&["top"]), false, "pinrelay");
    ends_with_its_terminal(site.command(&["dead", "purge"]), false, "[y/N]");
    let mut init = bare(Path::new(PINRELAY));
    init.args(["init", "--offline", "--config"])
        .arg(site.path("fresh/new.toml"));
    ends_with_its_terminal(init, false, "Ad account ID");
    let file = site.path("events");
    let another = event.to_string().replace("\"m\"", "\"m2\"");
    File::create(&file)
        .and_then(|mut f| writeln!(f, "{another}"))
        .expect("a file");
    let follow = [
        "send",
        "--follow",
        "--timeout",
        "60",
        file.to_str().expect("a path"),
    ];
    ends_with_its_terminal(site.command(&follow), false, "waiting for 1");
    // One that listens and has nothing to say.
    let mut tail = site.command(&["tail", "--status", "queued"]);
    tail.stdin(Stdio::null());
    let socket = site.socket();
    let feeder = std::thread::spawn(move || {
        for n in 0..100 {
            let event = json!({"messageId": format!("t-{n}"), "type": "page",
                "properties": {"email": "a@example.com"}});
            Client::connect(&socket).ask(&event.to_string());
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    ends_with_its_terminal(tail, true, "queued");
    feeder.join().expect("fed");
    assert_eq!(daemon.stop(s(20)).code, Some(0));
}
