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
        // As the service has the folder: taken over by it later, the socket would lose its group.
        for setting in [
            "User=pinrelay",
            "Group=pinrelay",
            "RuntimeDirectoryMode=0755",
            "RuntimeDirectoryPreserve=yes",
            "ExecStartPre=/usr/bin/true",
        ] {
            has(socket, setting);
        }
    }
}

/// The ceilings follow from what was measured and from the defaults: a legitimate load never meets
/// them.
#[test]
fn the_ceilings_are_where_the_figures_put_them() {
    let page = include_str!("../docs/operations.md");
    let default = |section: &str, name: &str| {
        let key = pinrelay::config::KEYS.iter();
        let mut key = key.filter(|key| key.section == section && key.name == name);
        key.next().expect("a key").default
    };
    assert_eq!(default("dead_letters", "max_bytes"), "1GiB");
    let measured = "| 2 million dead letters | 121 MiB on disk, 344 MiB resident | 63 bytes on disk, at most 180 in memory |";
    assert!(page.contains(measured) && page.contains("Plan 512 MiB of memory"));
    let letters = (1024.0 / 63.0 * 180.0_f64).ceil();
    for service in SERVICES {
        let mebibytes = |name: &str| -> f64 {
            let value = settings(service)
                .into_iter()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            let value = value.unwrap_or_else(|| panic!("no {name}"));
            assert!(page.contains(&format!("| `{name}` | {value} |")), "{name}");
            value.trim_end_matches('M').parse().expect("MiB")
        };
        let (high, max) = (mebibytes("MemoryHigh"), mebibytes("MemoryMax"));
        assert!(high >= 512.0 + letters, "{high}");
        assert!(max >= high + 1000.0, "{max}");
        let tasks = mebibytes("TasksMax");
        assert!(tasks >= 512.0 + 256.0, "{tasks}");
        has(service, "OOMPolicy=continue");
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
    has(SOCKETS[0], "RuntimeDirectory=pinrelay");
    has(SOCKETS[1], "RuntimeDirectory=pinrelay/%i");
    has(SOCKETS[1], "ListenStream=/run/pinrelay/%i/ingest.sock");
    has(SOCKETS[1], "ListenStream=/run/pinrelay/%i/http.sock");
}

/// One unit has both sockets, so that what is enabled, started and stopped is one thing. It gives
/// them no name of their own: the daemon knows them by their paths, which are those of the config.
#[test]
fn the_sockets_are_where_the_config_looks_for_them() {
    let default = |name: &str| {
        let mut keys = pinrelay::config::KEYS.iter();
        let key = keys.find(|key| (key.section, key.name) == ("ingest", name));
        key.expect("a key").default
    };
    let expected = ["socket", "http_socket"].map(|name| format!("ListenStream={}", default(name)));
    for (unit, folder) in SOCKETS.iter().zip(["", "/%i"]) {
        let settings = settings(unit).into_iter();
        let listens: Vec<_> = settings.filter(|line| line.starts_with("Listen")).collect();
        let expected = expected
            .each_ref()
            .map(|line| line.replace("/run/pinrelay", &format!("/run/pinrelay{folder}")));
        assert_eq!(listens, expected);
        assert!(!unit.contains("FileDescriptorName="));
    }
}
