//! What is said of HTTP: where it is listened on, who may send, and with which certificate.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Config, ConfigError, Place, WriteKey, load_broken, read};
use crate::ingest::TlsFiles;

fn config(text: &str) -> Result<Config, ConfigError> {
    read(Some((Path::new("a.toml"), text)), std::iter::empty())
}

/// The problems of this under `[ingest]`.
fn problems(ingest: &str) -> Vec<String> {
    let text = format!("[ingest]\n{ingest}");
    match config(&text) {
        Err(ConfigError::Invalid(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{text}: {other:?}"),
    }
}

fn only(ingest: &str, problem: &str) {
    let found = problems(ingest);
    assert!(
        found.len() == 1 && found[0].starts_with(problem),
        "{ingest}: {problem}: {found:#?}"
    );
    assert!(!found[0].contains("SECRET"), "{found:?}");
}

fn good(ingest: &str) -> Config {
    config(&format!("[ingest]\n{ingest}")).unwrap_or_else(|e| panic!("{ingest}: {e}"))
}

const KEY: &str = "[[ingest.write_keys]]\nname = \"shop\"\nkey = \"SECRET\"\n";
const TLS: &str = "http_tls_cert = \"/c\"\nhttp_tls_key = \"/k\"\n";

#[test]
fn the_http_socket_stands_beside_the_other_unless_it_is_told_otherwise() {
    let at = |ingest: &str| good(ingest).ingest.http_socket;
    let path = |text: &str| Some(PathBuf::from(text));
    assert_eq!(at(""), path("/run/pinrelay/http.sock"));
    assert_eq!(at("socket = \"/srv/in.sock\"\n"), path("/srv/http.sock"));
    assert_eq!(at("socket = \"in.sock\"\n"), path("http.sock"));
    assert_eq!(
        at("socket = \"/srv/in.sock\"\nhttp_socket = \"/a/b\"\n"),
        path("/a/b")
    );
    assert_eq!(at("socket = \"/srv/in.sock\"\nhttp_socket = \"\"\n"), None);
    // A daemon may do without one that nobody asked for.
    let from = |ingest: &str| good(ingest).http_socket_from;
    assert_eq!(from("socket = \"/srv/in.sock\"\n"), Place::Nowhere);
    assert_eq!(
        from("http_socket = \"/a\"\n"),
        Place::Line("a.toml".into(), 2)
    );
}

#[test]
fn no_two_listeners_share_a_place() {
    only(
        "http_socket = \"/run/pinrelay/ingest.sock\"\n",
        "a.toml:2: `http_socket` is the same file as `socket` in [ingest]",
    );
    only(
        "http_socket = \"/run/pinrelay/admin.sock\"\n",
        "a.toml:2: `http_socket` is the same file as `socket` in [admin]",
    );
    for (listen, metrics, fits) in [
        ("127.0.0.1:9464", "127.0.0.1:9464", false),
        ("[::ffff:127.0.0.1]:9464", "127.0.0.1:9464", false),
        ("0.0.0.0:9464", "127.0.0.1:9464", false),
        ("[::]:9464", "127.0.0.1:9464", false),
        ("127.0.0.1:8080", "127.0.0.1:9464", true),
        ("127.0.0.2:9464", "127.0.0.1:9464", true),
        ("127.0.0.1:0", "127.0.0.1:0", true),
    ] {
        let text = format!(
            "http_listen = \"{listen}\"\nhttp_behind_proxy = true\n[metrics]\nlisten = \"{metrics}\"\n"
        );
        match fits {
            true => drop(good(&text)),
            false => only(
                &text,
                "a.toml:2: `http_listen` is the port of `listen` in [metrics]",
            ),
        }
    }
}

/// What is open to the network asks for a key and shows none on the way, unless somebody else sees
/// to that.
#[test]
fn an_address_of_the_network_takes_keys_and_tls_or_a_proxy() {
    let listen = |address: &str, more: &str| format!("http_listen = \"{address}\"\n{more}");
    for address in ["127.0.0.1:8080", "[::1]:8080", "[::ffff:127.0.0.1]:1"] {
        good(&listen(address, ""));
    }
    let both = format!("{TLS}{KEY}");
    let proxy = "http_behind_proxy = true\n";
    for address in [
        "0.0.0.0:8080",
        "[::]:8080",
        "192.0.2.1:1",
        "[2001:db8::1]:1",
    ] {
        for half in ["", TLS, KEY] {
            only(
                &listen(address, half),
                &format!("a.toml:2: `http_listen`: {address} is not a loopback address"),
            );
        }
        let config = good(&listen(address, &both));
        let parsed = address.parse().expect("an address");
        assert_eq!(config.may_listen(parsed), Ok(()));
        assert_eq!(good(&listen(address, proxy)).may_listen(parsed), Ok(()));
        // What is passed is judged as what is configured.
        let refused = good(TLS).may_listen(parsed).expect_err("no key");
        assert!(
            refused.contains(address) && refused.contains("http_behind_proxy"),
            "{refused}"
        );
    }
    // A mistake in a key is the one to be told.
    let broken = KEY.replace("shop", "a shop");
    only(
        &listen("0.0.0.0:1", &format!("{TLS}{broken}")),
        "a.toml:5: `name` has to be",
    );
    only(
        "http_listen = \"localhost:8080\"\n",
        "a.toml:2: `http_listen` has to be an address and a port",
    );
}

#[test]
fn a_certificate_and_its_key_are_set_together() {
    only(
        "http_tls_cert = \"/c\"\n",
        "a.toml:2: `http_tls_cert` is of no use without `http_tls_key`",
    );
    only(
        "http_tls_key = \"/k\"\n",
        "a.toml:2: `http_tls_key` is of no use without `http_tls_cert`",
    );
    let (cert, key) = ("/c".into(), "/k".into());
    assert_eq!(good(TLS).http_tls(), Some(TlsFiles { cert, key }));
    assert_eq!(good("").http_tls(), None);
}

#[test]
fn a_body_has_bounds() {
    for (size, fits) in [
        ("65535", false),
        ("64KiB", true),
        ("64MiB", true),
        ("67108865", false),
    ] {
        let text = format!("http_max_body = \"{size}\"\n");
        match fits {
            true => drop(good(&text)),
            false => only(
                &text,
                "a.toml:2: `http_max_body` has to be a size from 64KiB to 64MiB",
            ),
        }
    }
    assert_eq!(good("").http_limits().max_body, 4 << 20);
}

#[test]
fn a_write_key_is_a_name_and_one_key() {
    let entry = |lines: &str| format!("[[ingest.write_keys]]\n{lines}");
    let needed = "a.toml:2: a write key needs a `name`, and a `key` or a `key_file`";
    for (lines, problem) in [
        ("key = \"SECRET\"\n", needed),
        ("name = \"shop\"\n", needed),
        (
            "name = \"shop\"\nkey = \"SECRET\"\nkey_file = \"/a\"\n",
            "a.toml:2: `shop` has a `key` and a `key_file`: keep one",
        ),
        (
            "name = \"\"\nkey = \"SECRET\"\n",
            "a.toml:2: `name` has to be 1 to 64 of",
        ),
        (
            "name = \"SECRET shop\"\nkey = \"SECRET\"\n",
            "a.toml:2: `name` has to be 1 to 64 of",
        ),
        (
            "name = \"shop\"\nkey = \"\"\n",
            "a.toml:2: the `key` of `shop` is empty",
        ),
        (
            "name = \"shop\"\nkey = \"SECRET \"\n",
            "a.toml:2: the `key` of `shop` holds white space",
        ),
        (
            "name = \"shop\"\nkey = \"SECRET\\u0000\"\n",
            "a.toml:2: the `key` of `shop` holds white space, or",
        ),
        (
            "name = \"shop\"\nkey_file = \"\"\n",
            "a.toml:2: `key_file` of `shop` has to be a path",
        ),
        (
            "name = \"shop\"\nkey = 7\n",
            "a.toml:4: `key` has to be a string",
        ),
        (
            "name = \"shop\"\nkey_fil = \"SECRET\"\n",
            "a.toml:4: unknown key `key_fil` in [[ingest.write_keys]]; did you mean `key_file`?",
        ),
    ] {
        only(&entry(lines), problem);
    }
    let longest = "aZ9_.-".repeat(11)[..64].to_owned();
    good(&entry(&format!("name = \"{longest}\"\nkey = \"k\"\n")));
    only(
        &entry(&format!("name = \"{longest}x\"\nkey = \"k\"\n")),
        "a.toml:2: `name` has to be 1 to 64 of",
    );
}

#[test]
fn a_list_of_keys_in_another_shape_is_told_how_it_is_written() {
    let own = "write each key under its own [[ingest.write_keys]]";
    for (text, line) in [
        ("[ingest.write_keys]\nname = \"SECRET\"\n", 1),
        ("[ingest]\nwrite_keys = \"SECRET\"\n", 2),
        ("[ingest]\nwrite_keys = [\"SECRET\"]\n", 2),
        ("[[write_keys]]\nkey = \"SECRET\"\n", 1),
        ("write_keys = \"SECRET\"\n", 1),
    ] {
        let said = config(text).expect_err(text).to_string();
        assert_eq!(said, format!("a.toml:{line}: {own}"), "{text}");
    }
    only(
        "[[ingest.write_key]]\nname = \"SECRET\"\n",
        "a.toml:2: unknown key `write_key` in [ingest]; did you mean `write_keys`?",
    );
    // In one line it is a list of tables as well.
    let inline =
        good("write_keys = [{ name = \"a\", key = \"1\" }, { name = \"b\", key = \"2\" }]\n");
    let names: Vec<_> = inline
        .write_key_entries
        .iter()
        .map(|e| e.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn no_two_write_keys_have_one_name_or_one_key() {
    let entry =
        |name: &str, what: &str| format!("[[ingest.write_keys]]\nname = \"{name}\"\n{what}\n");
    only(
        &[
            entry("a", "key = \"SECRET1\""),
            entry("a", "key = \"SECRET2\""),
        ]
        .concat(),
        "a.toml:5: two write keys are named `a`",
    );
    for what in ["key = \"SECRET\"", "key_file = \"/a\""] {
        only(
            &[entry("a", what), entry("b", what)].concat(),
            "a.toml:5: the write keys `a` and `b` are the same",
        );
    }
}

/// Nor is it in what is kept of a broken config.
#[test]
fn a_write_key_shows_nowhere() {
    let config = good(KEY);
    assert_eq!(
        config.write_keys().expect("a key")[0].key.expose(),
        "SECRET"
    );
    let shown = format!("{config:?} {:?}", config.write_keys());
    assert!(
        shown.contains("shop") && !shown.contains("SECRET"),
        "{shown}"
    );
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("a.toml");
    let broken = format!("[ingest]\nhttp_max_body = 1\n{KEY}");
    fs::write(&file, broken).expect("a file");
    let (config, wrong) = load_broken(Some(&file), None, std::iter::empty()).expect("some of it");
    let shown = format!("{config:?} {wrong:?}");
    assert!(
        shown.contains("shop") && !shown.contains("SECRET"),
        "{shown}"
    );
}

/// Keys in files of a folder: `a`, `b` and so on.
struct Keys(TempDir);

impl Keys {
    fn new(keys: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        for (key, name) in keys.iter().zip("abcdef".chars()) {
            let file = folder.path().join(name.to_string());
            fs::write(&file, key).expect("a file");
            fs::set_permissions(file, fs::Permissions::from_mode(0o640)).expect("a mode");
        }
        Self(folder)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The keys in these files, or what is said of them.
    fn read(&self, names: &[&str]) -> Result<Vec<WriteKey>, String> {
        let entries = names.iter().map(|name| {
            let file = self.at(name);
            let file = file.display();
            format!("[[ingest.write_keys]]\nname = \"of-{name}\"\nkey_file = \"{file}\"\n")
        });
        let keys = good(&entries.collect::<String>()).write_keys();
        keys.map_err(|error| error.to_string())
    }

    fn refused(&self, names: &[&str], said: &str) {
        let found = self.read(names).expect_err(said);
        assert!(found.contains(said) && !found.contains("SECRET"), "{found}");
        assert!(found.contains(&format!("of-{}", names[0])), "{found}");
    }
}

#[test]
fn a_key_may_stand_in_a_file_alone_on_its_line() {
    let keys = Keys::new(&["SECRET-1\n", "SECRET-2", "SECRET-3\r\n"]);
    let read = keys.read(&["a", "b", "c"]).expect("three keys");
    let told: Vec<_> = read
        .iter()
        .map(|k| (k.name.as_str(), k.key.expose()))
        .collect();
    assert_eq!(
        told,
        [
            ("of-a", "SECRET-1"),
            ("of-b", "SECRET-2"),
            ("of-c", "SECRET-3")
        ]
    );
    assert_eq!(read[0].file, Some(keys.at("a")));
    assert!(!read[0].exposed);
    fs::set_permissions(keys.at("a"), fs::Permissions::from_mode(0o644)).expect("a mode");
    assert!(keys.read(&["a"]).expect("a key")[0].exposed);
    symlink(keys.at("b"), keys.at("link")).expect("a link");
    assert_eq!(
        keys.read(&["link"]).expect("a key")[0].key.expose(),
        "SECRET-2"
    );
}

#[test]
fn a_file_that_holds_no_key_is_named_and_not_repeated() {
    let keys = Keys::new(&[
        "",
        " \n",
        "SECRET\nSECRET\n",
        "SEC RET",
        "SECRET",
        "SECRET\n",
    ]);
    for (name, said) in [
        ("a", "it is empty"),
        ("b", "it is empty"),
        ("c", "it holds white space"),
        ("d", "it holds white space"),
        ("none", "cannot be read"),
    ] {
        keys.refused(&[name], said);
    }
    keys.refused(&["e", "f"], "are the same");
    fs::write(keys.at("bytes"), [b'S', 0xff]).expect("a file");
    keys.refused(&["bytes"], "is not text");
    fs::write(keys.at("long"), "S".repeat(65 << 10)).expect("a file");
    keys.refused(&["long"], "larger than");
    // Whoever opens a FIFO waits for whoever writes into it.
    let mode = nix::sys::stat::Mode::S_IRUSR;
    nix::unistd::mkfifo(&keys.at("fifo"), mode).expect("a FIFO");
    keys.refused(&["fifo"], "no plain file");
    fs::create_dir(keys.at("folder")).expect("a folder");
    keys.refused(&["folder"], "no plain file");
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tls")
        .join(name)
}

#[test]
fn a_certificate_and_its_key_are_read_and_belong_together() {
    let (cert, key) = (fixture("localhost.pem"), fixture("localhost.key"));
    let tls = |cert: &Path, key: &Path| TlsFiles {
        cert: cert.to_owned(),
        key: key.to_owned(),
    };
    assert_eq!(tls(&cert, &key).read().expect("a pair").cert.len(), 1);
    let folder = TempDir::new().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    };
    let text = |path: &Path| fs::read_to_string(path).expect("a fixture");
    let chain = file("chain", &(text(&cert) + &text(&fixture("ca.pem"))));
    assert_eq!(tls(&chain, &key).read().expect("a pair").cert.len(), 2);
    let (secret, half) = (text(&key), text(&key).len() / 2);
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (cert, key, said) in [
        (
            fixture("ca.pem"),
            key.clone(),
            "is not the key of the certificate",
        ),
        (folder.path().join("none"), key.clone(), "http_tls_cert"),
        (cert.clone(), folder.path().join("none"), "http_tls_key"),
        (folder.path().to_owned(), key.clone(), "no plain file"),
        (file("empty", ""), key.clone(), "holds no certificate"),
        (key.clone(), key.clone(), "holds no certificate"),
        (
            file("odd", nonsense),
            key.clone(),
            "holds a certificate that cannot be read",
        ),
        (cert.clone(), cert.clone(), "holds no private key"),
        (cert.clone(), file("cut", &secret[..half]), "is cut short"),
        (
            cert.clone(),
            file(
                "damaged",
                &secret.replacen("MIIEv", "MI*Ev", 1).replacen('+', "*", 3),
            ),
            "holds a damaged block",
        ),
        (
            cert.clone(),
            file("kind", &nonsense.replace("CERTIFICATE", "PRIVATE KEY")),
            "of a kind that is not known",
        ),
    ] {
        let error = tls(&cert, &key).read().expect_err(said).to_string();
        assert!(error.contains(said), "{said}: {error}");
        let body = secret.lines().nth(1).expect("a line of the key");
        assert!(!error.contains(&body[..20]), "{error}");
    }
}
