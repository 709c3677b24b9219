//! Several daemons on one machine: what they must not share, and what they rarely mean to.

use std::fs;
use std::path::{Path, PathBuf};

use super::finding::Finding::{self, Advice, Wrong};
use crate::config::{Config, load_other};

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
    let theirs = [&other.ingest.socket, &other.admin.socket];
    for (section, socket) in [
        ("ingest", &config.ingest.socket),
        ("admin", &config.admin.socket),
    ] {
        if theirs.contains(&socket) {
            found.push(Wrong(format!(
                "the socket {} is one of {file} as well: set [{section}] socket, or run each with \
                 --instance",
                socket.display()
            )));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    fn looked(other: &str, text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let own = folder.path().join("pinrelay.toml");
        fs::write(&own, "[pinterest]\nad_account_id = \"1\"\n").expect("written");
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
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("wrong the queue /var/lib/pinrelay/queue is that of /shop"));
        assert!(
            told[1].starts_with("wrong the socket /run/pinrelay/admin.sock"),
            "{told:?}"
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
