//! The other commands, against a daemon or without one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Client, PINRELAY, Site, StandIn, bare, s, samples};

fn text(samples: &[crate::support::Sample]) -> String {
    samples.iter().map(|s| format!("{}\n", s.line)).collect()
}

#[test]
fn send_delivers_a_file_and_tells_what_was_rejected() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let samples = samples("file", 0..3000);
    let file = site.path("events.ndjson");
    fs::write(&file, text(&samples)).expect("a file");
    let send = || {
        let mut command = bare(Path::new(PINRELAY));
        command.arg("send").arg(&file).args(["--timeout", "1"]);
        let out = command
            .arg("--socket")
            .arg(site.socket())
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        (out.status.code(), said)
    };
    let (code, said) = send();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("3000 answered: 3000 queued"), "{said}");
    stand_in.takes(3000, s(20));
    stand_in.holds(&samples);
    fs::write(&file, format!("\n{}nonsense\n{{}}\n", text(&samples[..2]))).expect("a file");
    let (code, said) = send();
    assert_eq!(code, Some(65), "{said}");
    assert!(
        said.contains("2 duplicate, 0 ignored, 2 rejected"),
        "{said}"
    );
    assert!(
        said.contains("events.ndjson:4:") && said.contains("events.ndjson:5:"),
        "{said}"
    );
    assert_eq!(daemon.stop(s(10)).code, Some(0));
    // Nobody there any more.
    let (code, said) = send();
    assert!(said.contains("ingest.sock"), "{said}");
    assert_eq!(code, Some(69));
}

#[test]
fn transform_shows_exactly_what_the_daemon_sends_and_needs_nothing() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    let samples = samples("same", 0..100);
    let file = site.path("events.ndjson");
    fs::write(&file, text(&samples)).expect("a file");
    Client::queue(&daemon.socket(), &samples);
    stand_in.takes(100, s(10));

    let out = (site.command(&["transform"]).arg(&file))
        .output()
        .expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let shown = String::from_utf8(out.stdout).expect("UTF-8");
    assert_eq!(shown.lines().count(), 100);
    let mut data = Vec::new();
    for (line, sample) in shown.lines().zip(&samples) {
        let line: Value = serde_json::from_str(line).expect(line);
        assert_eq!(line["messageId"], sample.id.as_str());
        assert_eq!(line["event"]["event_name"], sample.event_name);
        assert_eq!(line["event"]["partner_name"], "ss-test");
        data.push(line["event"].clone());
    }
    // Byte for byte what was sent: the stand-in, which tells other content by its hash, takes
    // the same again without a change.
    stand_in.post(&json!({"data": data}));
    let totals = stand_in.totals();
    assert_eq!((totals.duplicates, totals.changed), (100, 0), "{totals:?}");

    // Without a config, a token, an account or a name.
    let mut command = bare(Path::new(PINRELAY));
    let out = command
        .arg("transform")
        .arg(&file)
        .output()
        .expect("it runs");
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let shown = String::from_utf8(out.stdout).expect("UTF-8");
    assert_eq!(shown.lines().count(), 100);
    assert!(!shown.contains("partner_name"));
    let mut command = bare(Path::new(PINRELAY));
    command.args(["transform", "--config", "/nowhere/pinrelay.toml"]);
    assert_eq!(command.output().expect("it runs").status.code(), Some(78));
}

#[test]
fn check_says_yes_to_what_runs_and_78_to_what_does_not() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let check = || {
        let out = site.command(&["check"]).output().expect("it runs");
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stdout).into_owned(),
        )
    };
    let (code, said) = check();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("pina_first"), "{said}");
    site.config("[[mappings]]\nsource = \"a\"\ndestination = \"properties.price\"\n");
    let (code, said) = check();
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("pinrelay.toml:12"), "{said}");

    // Events flow without it, but nobody would be told when they do not.
    let url = site.path("url");
    fs::write(&url, "hooks.example/SECRET").expect("a file");
    fs::set_permissions(&url, fs::Permissions::from_mode(0o644)).expect("a mode");
    site.config(&format!(
        "[notify]\nwebhook_url_file = {:?}\n",
        url.display().to_string()
    ));
    let (code, said) = check();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("advice  nobody is told: notify.webhook_url_file"),
        "{said}"
    );
    fs::write(&url, "https://hooks.example/SECRET").expect("a file");
    let (_, said) = check();
    assert!(said.contains("can be read by every local user"), "{said}");
    fs::set_permissions(&url, fs::Permissions::from_mode(0o600)).expect("a mode");
    let (_, said) = check();
    assert!(said.contains("ok      the webhook in"), "{said}");
    assert!(!said.contains("SECRET"), "{said}");
}

/// As the page for operators says of all commands: the config says where the daemon is.
#[test]
fn send_finds_the_sockets_by_the_config_and_a_flag_stands_before_the_variable() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let _daemon = site.start();
    let file = site.path("events");
    let file = file.to_str().expect("a path");
    std::fs::write(file, text(&samples("by-config", 0..2))).expect("a file");
    let out = (site.command(&["send", "--follow", file]).output()).expect("it runs");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("2 delivered"), "{said}");

    let by_variable = |args: &[&str]| {
        let mut command = bare(PINRELAY.as_ref());
        command
            .env("PINRELAY_CONFIG", site.config_file())
            .args(args);
        command.output().expect("it runs")
    };
    let out = by_variable(&["send", file]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("2 duplicate"), "{said}");
    assert_eq!(by_variable(&["status"]).status.code(), Some(0));
    // An instance that is named is meant, whatever the shell's variable says.
    let out = by_variable(&["status", "--instance", "surely-no-instance"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(78), "{said}");
    assert!(
        said.contains("/etc/pinrelay/surely-no-instance.toml"),
        "{said}"
    );
    let both = ["status", "--config", "x.toml", "--instance", "shop"];
    assert_eq!(by_variable(&both).status.code(), Some(64));
}
