//! Several daemons on one machine: what they must not share, and what they rarely mean to.

use std::fs;
use std::path::{Path, PathBuf};

use super::finding::Finding::{self, Advice, Wrong};
use crate::config::{Config, Place, load_other};

const HTTP_SOCKET: &str = "[ingest] http_socket";

/// Compares with every other `*.toml` beside this config's file.
pub(super) fn compare(config: &Config) -> Vec<Finding> {
    let Some(own) = &config.file else {
        return Vec::new();
    };
    let mut others = files(own);
    others.sort();
    let mut found = Vec::new();
    for file in others {
        match load_other(&file) {
            Ok(other) => found.extend(against(config, &file, &other)),
            Err(_) => found.push(Advice(format!(
                "{} lies beside it and is not compared, for it is no config that can be read: \
                 `pinrelay check --config` says why",
                file.display()
            ))),
        }
    }
    found
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
    if config.queue_folder() == other.queue_folder() {
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

    fn looked(other: &str, text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let own = folder.path().join("pinrelay.toml");
        let ours = "[pinterest]\nad_account_id = \"1\"\n[ingest]\nhttp_listen = \"127.0.0.1:1\"\n";
        fs::write(&own, ours).expect("written");
        fs::write(folder.path().join(other), text).expect("written");
        let config = load(Some(&own), std::iter::empty()).expect("a config");
        let found = compare(&config);
        let told = found.iter().map(|f| {
            let (word, text) = f.labelled();
            let text = text.replace(&folder.path().display().to_string(), "");
            format!("{word} {text}")
        });
        told.collect()
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
}
