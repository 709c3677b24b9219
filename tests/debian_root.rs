//! packaging/debian-root: which mirror it takes, on machines whose apt is set up in any of its
//! ways or not at all. debootstrap and id are stand-ins: nothing is downloaded.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A machine with these files of apt's, and stand-ins before its programs.
fn machine(sources: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let put = |name: &str, text: &str, mode: u32| {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(&file, text).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
    };
    put("bin/id", "#!/bin/sh\necho 0\n", 0o755);
    // Its third and fourth arguments are the suite and the folder, the fifth the mirror.
    let debootstrap = "#!/bin/sh\nmkdir \"$4\"\necho \"mirror: ${5:-its own}\"\n";
    put("bin/debootstrap", debootstrap, 0o755);
    for (name, text) in sources {
        put(&format!("apt/{name}"), text, 0o644);
    }
    folder
}

fn made(machine: &Path, root: &[&Path]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/debian-root");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = vec![machine.join("bin")];
    folders.extend(std::env::split_paths(&path));
    Command::new(script)
        .args(root)
        .env("PATH", std::env::join_paths(folders).expect("folders"))
        .env("APT_FOLDER", machine.join("apt"))
        .output()
        .expect("the script runs")
}

/// What debootstrap was given, and what the script said itself.
fn mirror(sources: &[(&str, &str)]) -> (String, String) {
    let machine = machine(sources);
    let root = machine.path().join("new/root");
    let out = made(machine.path(), &[&root]);
    assert_eq!(out.status.code(), Some(0), "{sources:?}: {out:?}");
    assert!(root.join(".made").exists());
    let log = fs::read_to_string(root.with_extension("log")).expect("debootstrap's log");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    (log.trim().to_owned(), said)
}

#[test]
fn the_mirror_is_that_of_bookworm_however_apt_is_set_up() {
    let other = ("sources.list.d/a.list", "deb https://other.example/x ./\n");
    let lines = "# deb http://no.example/debian bookworm main\n\
                 deb http://security.example/debian bookworm-security main\n\
                 deb [arch=amd64 signed-by=/k.gpg] http://lines.example/debian bookworm main\n";
    let paragraphs = "Types: deb\nURIs: http://off.example/debian\nSuites: bookworm\nEnabled: no\n\n\
                      Types: deb\n# A comment.\nURIs: http://deb822.example/debian http://b.example\n\
                      Suites: bookworm bookworm-updates\n\n\
                      Types: deb\nURIs: http://later.example/debian\nSuites: bookworm\n";
    let of_lines = (
        "mirror: http://lines.example/debian".to_owned(),
        String::new(),
    );
    assert_eq!(mirror(&[("sources.list", lines)]), of_lines);
    assert_eq!(
        mirror(&[other, ("sources.list.d/debian.list", lines)]),
        of_lines
    );
    let of_paragraphs = (
        "mirror: http://deb822.example/debian".to_owned(),
        String::new(),
    );
    assert_eq!(
        mirror(&[other, ("sources.list.d/debian.sources", paragraphs)]),
        of_paragraphs
    );
}

#[test]
fn without_a_source_it_says_so_and_goes_on() {
    for sources in [
        &[][..],
        &[("sources.list.d/README", "")],
        &[("sources.list", "")],
    ] {
        let (log, said) = mirror(sources);
        assert_eq!(log, "mirror: its own", "{sources:?}");
        assert!(
            said.contains("no apt source of this machine has bookworm"),
            "{said}"
        );
    }
}

#[test]
fn what_it_lacks_is_told() {
    let machine = machine(&[]);
    let out = made(machine.path(), &[]);
    assert_eq!(out.status.code(), Some(64), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("usage: packaging/debian-root FOLDER"));
}
