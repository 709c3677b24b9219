//! Several daemons on one machine: what they must not share, and what they rarely mean to.
//!
//! Invariant: only what is another daemon's is compared. A copy that somebody keeps has the same
//! sockets and the same queue, and nobody runs it. So two files are of two daemons where their ad
//! accounts differ, or their token files and their queues, or where each is known as a daemon's: `pinrelay.toml`, and
//! NAME.toml where NAME.token lies beside it or systemd has a unit pinrelay@NAME.

use std::fs;
use std::path::{Path, PathBuf};

use super::finding::Finding::{self, Advice, Fine, Wrong};
use crate::config::{Config, Engine, Instance, Place, load_other};

const HTTP_SOCKET: &str = "[ingest] http_socket";

/// Where systemd has what was enabled, started or changed on this machine.
const UNIT_FOLDERS: &[&str] = &[
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/units",
];

/// Compares with every other daemon's `*.toml` beside this config's file.
pub(super) fn compare(config: &Config) -> Vec<Finding> {
    let folders: Vec<&Path> = UNIT_FOLDERS.iter().map(Path::new).collect();
    compare_by(config, &folders)
}

/// The same, with units in these folders.
fn compare_by(config: &Config, unit_folders: &[&Path]) -> Vec<Finding> {
    let Some(own) = &config.file else {
        return Vec::new();
    };
    let mut others = files(own);
    others.sort();
    let is_known = |file: &Path| is_known(file, unit_folders);
    let (mut found, mut kept) = (Vec::new(), Vec::new());
    for file in others {
        match load_other(&file) {
            Ok(other) if differ(config, &other) || is_known(own) && is_known(&file) => {
                found.extend(against(config, &file, &other));
            }
            Err(_) if is_known(&file) => found.push(Advice(format!(
                "{} lies beside it and is not compared, for it is no config that can be read: \
                 `pinrelay check --config` says why",
                file.display()
            ))),
            _ => kept.push(file.display().to_string()),
        }
    }
    if !kept.is_empty() {
        found.push(Fine(format!(
            "not compared, for nothing says that a daemon runs on it: {}",
            kept.join(", ")
        )));
    }
    found
}

/// Whether two configs are of two daemons by what they say.
fn differ(one: &Config, other: &Config) -> bool {
    fn two<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
        a.zip(b).is_some_and(|(a, b)| a != b)
    }
    let (a, b) = (&one.pinterest, &other.pinterest);
    // A token's file alone may be a mistake in one of two copies.
    let queues = !one.has_queue_of(other);
    two(a.ad_account_id.as_ref(), b.ad_account_id.as_ref())
        || queues && two(a.token_file.as_ref(), b.token_file.as_ref())
}

/// Whether a daemon is known by this file's name.
fn is_known(file: &Path, unit_folders: &[&Path]) -> bool {
    if file.file_name().is_some_and(|name| name == "pinrelay.toml") {
        return true;
    }
    let Some(instance) = Instance::of_file(file) else {
        return false;
    };
    let token = file.with_file_name(format!("{}.token", instance.name()));
    let mut folders = unit_folders.iter();
    token.exists() || folders.any(|folder| has_unit(folder, instance.name()))
}

/// Whether there is a unit of this instance: enabled by a link in a `.wants` folder, changed by a
/// folder of drop-ins, or run (`invocation:` and the unit's name).
fn has_unit(folder: &Path, name: &str) -> bool {
    let unit = format!("pinrelay@{name}.");
    let names = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let is_its = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.trim_start_matches("invocation:").starts_with(&unit)
    };
    let wants = |path: &PathBuf| {
        let end = path.extension().unwrap_or_default();
        (end == "wants" || end == "requires") && names(path).iter().any(is_its)
    };
    names(folder).iter().any(|path| is_its(path) || wants(path))
}

fn files(own: &Path) -> Vec<PathBuf> {
    let folder = match own.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let toml = |path: &PathBuf| path.extension().is_some_and(|e| e == "toml") && path.is_file();
    // By name: the folder is the same.
    paths
        .filter(|path| path.file_name() != own.file_name() && toml(path))
        .collect()
}

fn against(config: &Config, file: &Path, other: &Config) -> Vec<Finding> {
    let file = file.display();
    let mut found = Vec::new();
    // Of a database several may share a queue.
    if config.queue.engine == Engine::Sled && config.has_queue_of(other) {
        found.push(Wrong(format!(
            "the queue {} is that of {file} as well, and only one daemon can have it: set [queue] \
             path, or run each with --instance",
            config.queue_folder().display()
        )));
    }
    let theirs: Vec<_> = sockets(other).map(|(_, socket)| socket).collect();
    for (key, socket) in sockets(config) {
        if !theirs.contains(&socket) {
            continue;
        }
        let told = format!(
            "the socket {} is one of {file} as well: set {key}, or run each with --instance",
            socket.display()
        );
        // A daemon does without an HTTP socket that nobody asked for.
        let is_needed = key != HTTP_SOCKET || config.http_socket_from != Place::Nowhere;
        found.push(if is_needed { Wrong(told) } else { Advice(told) });
    }
    if let Some(address) = config.ingest.http_listen
        && other.ingest.http_listen == Some(address)
    {
        found.push(Wrong(format!(
            "HTTP is taken on {address} by {file} as well, and only one daemon can listen there: \
             set [ingest] http_listen"
        )));
    }
    let account = &config.pinterest.ad_account_id;
    if account.is_some() && *account == other.pinterest.ad_account_id {
        found.push(Advice(format!(
            "{file} delivers to the same ad account: two daemons share its 5000 calls a minute, \
             and an event that is sent to both is counted once only by Pinterest's own event_id"
        )));
    }
    found
}

/// With the keys that say where they are.
fn sockets(config: &Config) -> impl Iterator<Item = (&'static str, &PathBuf)> {
    let ingest = &config.ingest;
    let http = ingest.http_socket.iter();
    [
        ("[ingest] socket", &ingest.socket),
        ("[admin] socket", &config.admin.socket),
    ]
    .into_iter()
    .chain(http.map(|socket| (HTTP_SOCKET, socket)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    /// What is found beside a config that is known, of another that has a token of its own.
    fn looked(other: &str, text: &str) -> Vec<String> {
        let token = other.replace(".toml", ".token");
        found(other, text, &[(&token, "")], "pinrelay.toml")
    }

    fn found(other: &str, text: &str, more: &[(&str, &str)], own: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let own = folder.path().join(own);
        let ours = "[pinterest]\nad_account_id = \"1\"\n[ingest]\nhttp_listen = \"127.0.0.1:1\"\n";
        fs::write(&own, ours).expect("written");
        fs::write(folder.path().join(other), text).expect("written");
        for (name, text) in more {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            fs::write(file, text).expect("written");
        }
        let config = load(Some(&own), std::iter::empty()).expect("a config");
        let found = compare_by(&config, &[&folder.path().join("units")]);
        let told = found.iter().map(|f| {
            let (word, text) = f.labelled();
            let text = text.replace(&folder.path().display().to_string(), "");
            format!("{word} {text}")
        });
        told.collect()
    }

    /// A mistake in one of two copies is one mistake.
    #[test]
    fn a_copy_whose_token_is_another_is_still_a_copy() {
        let place = "[queue]\npath = \"/var/lib/pinrelay/queue\"\n\
                     [ingest]\nsocket = \"/run/pinrelay/ingest.sock\"\n";
        let copy = format!(
            "[pinterest]\nad_account_id = \"1\"\ntoken_file = \"/elsewhere/token\"\n{place}"
        );
        let told = found("backup-2026.toml", &copy, &[], "pinrelay.toml");
        assert!(
            told.len() == 1 && told[0].starts_with("ok not compared"),
            "{told:?}"
        );
        let other = copy.replace("\"1\"", "\"2\"");
        let told = found("backup-2026.toml", &other, &[], "pinrelay.toml");
        assert!(told.iter().any(|it| it.starts_with("wrong")), "{told:?}");
    }

    #[test]
    fn what_instances_must_not_share_is_wrong() {
        assert_eq!(looked("shop.toml", ""), [""; 0], "an instance has its own");
        assert_eq!(looked("notes.txt", "[["), [""; 0]);
        let same = "[queue]\npath = \"/var/lib/pinrelay/queue\"\n\
                    [ingest]\nsocket = \"/run/pinrelay/admin.sock\"\n";
        let told = looked("shop.toml", same);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(
            told[2].starts_with("advice the socket /run/pinrelay/http.sock"),
            "{told:?}"
        );
        assert!(told[0].starts_with("wrong the queue /var/lib/pinrelay/queue is that of /shop"));
        assert!(
            told[1].starts_with("wrong the socket /run/pinrelay/admin.sock"),
            "{told:?}"
        );
        let http = "[ingest]\nhttp_socket = \"/run/pinrelay/http.sock\"\n";
        let told = looked("shop.toml", http);
        assert!(
            told.len() == 1
                && told[0].ends_with("set [ingest] http_socket, or run each with --instance"),
            "{told:?}"
        );
        assert_eq!(
            looked("shop.toml", "[ingest]\nhttp_listen = \"127.0.0.1:2\"\n"),
            [""; 0]
        );
        let port = looked("shop.toml", "[ingest]\nhttp_listen = \"127.0.0.1:1\"\n");
        assert!(
            port.len() == 1 && port[0].starts_with("wrong HTTP is taken on 127.0.0.1:1 by /shop"),
            "{port:?}"
        );
        let other = looked("shop.toml", "[pinterest]\nad_account_id = \"2\"\n");
        assert_eq!(other, [""; 0]);
        let account = looked("shop.toml", "[pinterest]\nad_account_id = \"1\"\n");
        assert!(
            account.len() == 1 && account[0].starts_with("advice "),
            "{account:?}"
        );
        let broken = looked("shop.toml", "[[");
        assert!(
            broken.len() == 1 && broken[0].contains("not compared"),
            "{broken:?}"
        );
    }

    #[test]
    fn a_copy_that_nobody_runs_is_not_compared() {
        let same =
            "[pinterest]\nad_account_id = \"1\"\n[queue]\npath = \"/var/lib/pinrelay/queue\"\n";
        let quiet = |other: &str, text: &str, own: &str| {
            let found = found(other, text, &[], own);
            let fine =
                format!("ok not compared, for nothing says that a daemon runs on it: /{other}");
            assert_eq!(found, [fine], "{other}");
        };
        for other in [
            "good.toml",
            "old.toml",
            "pinrelay-2026.toml",
            "x.dpkg-old.toml",
        ] {
            quiet(other, same, "pinrelay.toml");
            quiet(other, "[[", "pinrelay.toml");
        }
        // A draft is tried before it takes the other's place.
        quiet("pinrelay.toml", same, "draft.toml");
        for other in ["pinrelay.toml.bak", "pinrelay.toml~", "x.toml.dpkg-dist"] {
            assert_eq!(found(other, same, &[], "pinrelay.toml"), [""; 0], "{other}");
        }
    }

    #[test]
    fn what_is_known_as_a_daemons_is_compared() {
        let same = "[queue]\npath = \"/var/lib/pinrelay/queue\"\n";
        let shared = |text: &str, more: &[&str]| {
            let more: Vec<_> = more.iter().map(|name| (*name, "")).collect();
            let found = found("shop.toml", text, &more, "pinrelay.toml");
            found
                .first()
                .is_some_and(|f| f.starts_with("wrong the queue"))
        };
        assert!(!shared(same, &[]));
        assert!(shared(same, &["shop.token"]));
        for unit in [
            "units/multi-user.target.wants/pinrelay@shop.service",
            "units/sockets.target.wants/pinrelay@shop.socket",
            "units/pinrelay@shop.service.d/one.conf",
            "units/invocation:pinrelay@shop.service",
        ] {
            assert!(shared(same, &[unit]), "{unit}");
        }
        assert!(!shared(
            same,
            &["units/multi-user.target.wants/pinrelay@shops.service"]
        ));
        let account = format!("[pinrelay]\n{same}")
            .replace("[pinrelay]", "[pinterest]\nad_account_id = \"2\"");
        assert!(shared(&account, &[]));
    }
}
