//! A queue in a database, as far as commands go without one.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Site, s};

const SECRET: &str = "S3CRET";

/// A config of a queue in a database where nobody is.
fn site() -> (Site, String) {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    };
    let site = Site::at("http://127.0.0.1:1");
    let file = site.path("url");
    fs::write(
        &file,
        format!("postgres://{SECRET}:{SECRET}@127.0.0.1:{port}/shop\n"),
    )
    .expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    let file = file.display().to_string();
    let place = format!("schema pinrelay at 127.0.0.1:{port}, database shop");
    let site = site
        .set("queue", "engine", "postgres")
        .set("postgres", "url_file", &file);
    (site, place)
}

/// Exit code, and all that is said, which never holds what is secret.
fn said(site: &Site, args: &[&str]) -> (Option<i32>, String) {
    let out = site.command(args).output().expect("it runs");
    let text = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.concat();
    assert!(!text.contains(SECRET), "{args:?}: {text}");
    (out.status.code(), text)
}

#[test]
fn where_it_is_is_shown_without_its_url() {
    let (site, place) = site();
    assert_eq!(
        said(&site, &["verify", "--where"]),
        (Some(0), format!("{place}\n"))
    );
    let (code, shown) = said(&site, &["check"]);
    assert_eq!(code, Some(0), "{shown}");
    // Lines are wrapped for people.
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains(&place) && words.contains("the database is away"),
        "{shown}"
    );
    for flags in [&[][..], &["--effective"], &["--json"]] {
        let (code, shown) = said(&site, &[&["config", "show"], flags].concat());
        assert_eq!(code, Some(0), "{shown}");
        assert!(shown.contains("postgres"), "{shown}");
    }
}

#[test]
fn a_folder_is_none_of_it() {
    let (site, _) = site();
    let folder = site.path("queue").display().to_string();
    for command in ["verify", "adopt"] {
        let (code, text) = said(&site, &[command, "--queue", &folder]);
        assert_eq!(code, Some(64), "{command}: {text}");
        assert!(text.contains("--queue names a folder"), "{command}: {text}");
    }
    assert!(!site.path("queue").exists());
}

#[test]
fn what_is_wrong_with_the_url_ends_a_start_with_78() {
    let (site, _) = site();
    let file = site.path("url");
    for (url, words) in [
        (None, "cannot be read"),
        (Some(""), "is empty"),
        (Some("postgres://S3CRET@h/d S3CRET"), "more than one word"),
    ] {
        match url {
            Some(url) => fs::write(&file, url).expect("a file"),
            None => fs::remove_file(&file).expect("a file"),
        }
        let ended = crate::support::Process::start(&mut site.run()).ended(s(20));
        assert_eq!(ended.code, Some(78), "{}", ended.output);
        assert!(ended.output.contains(words), "{words}: {}", ended.output);
        assert!(!ended.output.contains(SECRET), "{}", ended.output);
    }
}
