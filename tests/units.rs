//! The units as shipped: what systemd says of them, and what they and the daemon have to agree
//! on. How the daemon answers systemd is in tests/daemon/systemd.rs.

use std::path::Path;
use std::process::Command;

const SERVICES: [&str; 2] = [
    include_str!("../systemd/pinrelay.service"),
    include_str!("../systemd/pinrelay@.service"),
];
const SOCKETS: [&str; 2] = [
    include_str!("../systemd/pinrelay.socket"),
    include_str!("../systemd/pinrelay@.socket"),
];

/// The lines that are not comments.
fn settings(unit: &str) -> Vec<&str> {
    let lines = unit.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

fn has(unit: &str, setting: &str) {
    assert!(settings(unit).contains(&setting), "{setting}");
}

#[test]
fn systemd_has_nothing_to_say_of_them_and_rates_them_low() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/check-units");
    let out = Command::new(script)
        .arg(env!("CARGO_BIN_EXE_pinrelay"))
        .output()
        .expect("the script runs");
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    println!("{said}");
    assert!(out.status.success(), "{said}");
    let skipped = said.starts_with("skipped");
    let rated = said.matches("Overall exposure level").count();
    assert!(skipped || rated == SERVICES.len(), "{said}");
}

#[test]
fn the_daemon_is_tried_again_for_ever_and_watched() {
    for service in SERVICES {
        for setting in [
            "Type=notify",
            "Restart=on-failure",
            "RestartSec=2",
            "StartLimitIntervalSec=0",
            "WatchdogSec=60",
            "RuntimeDirectoryPreserve=yes",
            "LimitCORE=0",
            "UMask=0077",
        ] {
            has(service, setting);
        }
        let unwanted = "RestartPreventExitStatus";
        assert!(
            settings(service)
                .iter()
                .all(|line| !line.starts_with(unwanted))
        );
    }
    for socket in SOCKETS {
        has(socket, "TriggerLimitIntervalSec=0");
        has(socket, "SocketGroup=pinrelay-ingest");
        has(socket, "SocketMode=0660");
    }
}

/// To send is one trust, to read the token another: the sockets are of a group of their own, which
/// the daemon's user is in, to bind them without systemd.
#[test]
fn producers_have_a_group_of_their_own() {
    let accounts = settings(include_str!("../systemd/sysusers.d/pinrelay.conf"));
    for line in [
        "g pinrelay-ingest -",
        "m pinrelay pinrelay-ingest",
        "u pinrelay - \"pinrelay event delivery\" /var/lib/pinrelay",
    ] {
        assert!(accounts.contains(&line), "{line}: {accounts:?}");
    }
    for service in SERVICES {
        has(service, "User=pinrelay");
        has(service, "Group=pinrelay");
    }
}

/// What differs between one daemon and many is their names alone.
#[test]
fn the_templates_are_the_units_by_name() {
    let plain = |unit: &str| -> Vec<String> {
        let named = |line: &&str| !line.contains("pinrelay") && !line.contains("Description=");
        let lines = settings(unit).into_iter().filter(named);
        lines.map(str::to_owned).collect()
    };
    assert_eq!(plain(SERVICES[0]), plain(SERVICES[1]));
    assert_eq!(plain(SOCKETS[0]), plain(SOCKETS[1]));
    has(
        SERVICES[0],
        "ExecReload=/usr/bin/pinrelay reload --config /etc/pinrelay/pinrelay.toml",
    );
    has(SERVICES[1], "ExecStart=/usr/bin/pinrelay run --instance %i");
    has(
        SERVICES[1],
        "ExecReload=/usr/bin/pinrelay reload --instance %i",
    );
    has(SERVICES[1], "StateDirectory=pinrelay/%i");
    has(SERVICES[1], "RuntimeDirectory=pinrelay/%i");
    has(SOCKETS[1], "ListenStream=/run/pinrelay/%i/ingest.sock");
}
