//! What is nobody else's business: the token, what Pinterest is told, the files of the queue.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::sys::signal::Signal;
use nix::unistd::{chown, geteuid};
use serde_json::json;

use crate::support::{Client, Process, Site, StandIn, bare, get, ms, s, samples, within};

const FIRST: &str = "pina_first-SECRET";
const SECOND: &str = "pina_second-SECRET";

#[test]
fn a_write_key_is_in_no_log_and_no_answer() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let keys = |shop: &str| {
        let file = site.path("app.key");
        let entry =
            |name: &str, what: &str| format!("[[ingest.write_keys]]\nname = \"{name}\"\n{what}\n");
        let file = format!("key_file = \"{}\"", file.display());
        site.config(&(entry("shop", &format!("key = \"{shop}\"")) + &entry("app", &file)));
    };
    let reload = || {
        let admin = site.admin();
        let args = ["reload", "--socket", admin.to_str().expect("a path")];
        let out = site.command(&args).output().expect("it runs");
        let said = [out.stdout, out.stderr].concat();
        (
            out.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    // Not there: a start needs it, as a reload does.
    keys("SECRET-1");
    let ended = Process::start(&mut site.run()).ended(s(10));
    assert_eq!(ended.code, Some(78), "{}", ended.output);
    assert!(ended.output.contains("of the write key `app` cannot"));
    fs::write(site.path("app.key"), "SECRET-2\n").expect("a key");
    let mut command = site.run();
    command.env("RUST_LOG", "trace");
    let daemon = site.ready(Process::start(&mut command));
    let mut shown = vec![ended.output];
    for (key, in_file, code, said) in [
        (
            "SECRET-3",
            "SECRET-2",
            0,
            "`shop` → another key of this name",
        ),
        ("SECRET-3", "SECRET-3", 78, "`shop` and `app` are the same"),
        ("SEC RET", "SECRET-2", 78, "holds white space"),
        ("SECRET-3", "SEC RET", 78, "holds white space"),
    ] {
        keys(key);
        fs::write(site.path("app.key"), in_file).expect("a key");
        let (ended, told) = reload();
        assert_eq!(ended, Some(code), "{told}");
        assert!(told.contains(said), "{said}: {told}");
        shown.extend([told, text(&site, &["check"])]);
    }
    shown.extend([text(&site, &["status"]), daemon.stop(s(20)).output]);
    for text in shown {
        assert!(
            !text.contains("SECRET") && !text.contains("SEC RET"),
            "{text}"
        );
    }
}

/// Through a life with everything that speaks of the token, at the most talkative level of
/// every library.
#[test]
fn the_token_is_in_no_log_no_error_and_no_status() {
    let stand_in = StandIn::with(&["--token", SECOND]);
    let quoting = format!("The access token {FIRST} is invalid; token={FIRST}");
    stand_in.mode(json!({"token": SECOND, "fault": "401", "fault_message": quoting}));
    let site = Site::new(&stand_in);
    site.token(FIRST);
    let mut shown = Vec::new();
    let mut command = site.run();
    command
        .env("RUST_LOG", "trace")
        .env("PINRELAY_LOG__FORMAT", "json");
    let daemon = site.ready(Process::start(&mut command));
    Client::queue(&site.socket(), &samples("secret", 0..50));
    let parked = daemon.shows(s(10), "a parked gate", |status| status["state"] == "parked");
    shown.push(parked.to_string());
    shown.push(text(&site, &["status"]));
    // A bad token on reload, which is refused, and then the good one.
    site.token("pina_two words-SECRET");
    daemon.signal(Signal::SIGHUP);
    within(s(10), "a refusal", || {
        daemon.log().contains("nothing was changed").then_some(())
    });
    stand_in.mode(json!({"token": SECOND}));
    site.token(SECOND);
    daemon.signal(Signal::SIGHUP);
    stand_in.takes(50, s(20));
    shown.push(daemon.status().to_string());
    shown.push(text(&site, &["check"]));
    // Connections that break, and nobody there.
    stand_in.mode(json!({"token": SECOND, "fault": "reset"}));
    Client::queue(&site.socket(), &samples("broken", 0..50));
    std::thread::sleep(ms(500));
    stand_in.mode(json!({"token": SECOND}));
    stand_in.takes(100, s(20));
    let ended = daemon.stop(s(30));
    assert_eq!(ended.code, Some(0));
    assert!(
        ended.output.contains("DEBUG"),
        "the level that was asked for"
    );
    shown.push(ended.output);
    for text in &shown {
        let at = text.find("SECRET");
        assert!(
            at.is_none(),
            "…{}…",
            &text[at.unwrap_or(0).saturating_sub(200)..][..210]
        );
    }
    // In the environment, and malformed.
    fs::remove_file(site.path("token")).expect("removed");
    site.config("");
    let mut command = site.run();
    command.env("PINRELAY_TOKEN", "pina_two words-SECRET");
    command.env("PINRELAY_PINTEREST__TOKEN_FILE", "");
    let ended = Process::start(&mut command).ended(s(10));
    assert_eq!(ended.code, Some(78), "{}", ended.output);
    assert!(!ended.output.contains("SECRET"), "{}", ended.output);
}

/// The embedded database tells at `trace` and `debug` what bytes it stores: events, and the key of
/// the id hashes.
#[test]
fn what_is_stored_is_in_no_log_however_much_is_asked_for() {
    let stand_in = StandIn::start();
    for level in [
        "trace",
        "debug",
        "sled=trace,pinrelay=trace",
        "sled::pagecache=debug",
    ] {
        let site = Site::new(&stand_in);
        let mut command = site.run();
        command.env("RUST_LOG", level);
        let daemon = site.ready(Process::start(&mut command));
        let email = "planted.person@example.com";
        let mut client = Client::connect(&site.socket());
        for n in 0..3 {
            client.ask(&format!(
                r#"{{"messageId":"planted-{level}-{n}","type":"page","properties":{{"email":"{email}"}}}}"#
            ));
        }
        daemon.shows(s(20), "all delivered", |status| status["delivered"] == 3);
        let ended = daemon.stop(s(30));
        assert_eq!(ended.code, Some(0), "{}", ended.output);
        let format = fs::read(site.path("queue/format")).expect("a format file");
        // However bytes may be shown: as they are, or as numbers.
        let shown = |bytes: &[u8]| {
            let numbers: Vec<_> = bytes.iter().map(u8::to_string).collect();
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            [
                String::from_utf8_lossy(bytes).into_owned(),
                numbers.join(", "),
                hex,
            ]
        };
        let secrets = [shown(email.as_bytes()), shown(&format[format.len() - 16..])].concat();
        for secret in secrets {
            assert!(!ended.output.contains(&secret), "{level}: {secret}");
        }
        for line in ended.output.lines() {
            let talks = line.contains(r#""level":"TRACE""#) || line.contains(r#""level":"DEBUG""#);
            // Of what talks below `info`, ours alone is left.
            assert!(
                !talks || line.contains("client"),
                "{level}: a library told {line}"
            );
        }
    }
}

fn text(site: &Site, args: &[&str]) -> String {
    let out = site.command(args).output().expect("it runs");
    format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

/// A listener that answers each request with these bytes; what it was sent.
fn listener(answer: String) -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    let got = Arc::new(Mutex::new(String::new()));
    let seen = got.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.expect("a connection");
            let (answer, seen) = (answer.clone(), seen.clone());
            std::thread::spawn(move || {
                let mut buffer = [0; 1 << 16];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    let text = String::from_utf8_lossy(&buffer[..n]);
                    seen.lock().expect("no panic").push_str(&text);
                    let _ = stream.write_all(answer.as_bytes());
                }
            });
        }
    });
    (address, got)
}

/// The token must not go where an answer points.
#[test]
fn a_redirect_is_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let (elsewhere, got) =
            listener("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_owned());
        let (first, asked) = listener(format!(
            "HTTP/1.1 {status} Moved\r\nlocation: http://{elsewhere}/v5/ad_accounts/1/events\r\n\
             content-length: 0\r\n\r\n"
        ));
        let site = Site::at(&format!("http://{first}/v5"));
        let daemon = site.start();
        Client::queue(&site.socket(), &samples("redirect", 0..3));
        let shown = daemon.shows(s(10), "a closed gate", |status| {
            status["gate"]["state"] == "parked"
        });
        assert!(
            shown["gate"]["detail"]
                .as_str()
                .is_some_and(|d| d.contains("base_url") || d.contains(&status.to_string())),
            "{shown:#}"
        );
        assert!(asked.lock().expect("no panic").contains("pina_first"));
        assert_eq!(*got.lock().expect("no panic"), "", "{status}");
        // Nothing is lost by it.
        assert_eq!(daemon.status()["ledger"]["accepted"], 3);
        daemon.kill();
    }
}

#[test]
fn http_is_for_loopback_alone_and_no_disguise_gets_through() {
    for url in [
        "http://api.pinterest.com/v5",
        "http://localhost.evil.com/v5",
        "http://127.0.0.1.nip.io/v5",
        "http://127.0.0.1@evil.com/v5",
        "http://localhost:80@evil.com/v5",
        "http://0x7f.1/v5",
        "http://127.1/v5",
        "http://2130706433/v5",
        "HTTP://EVIL.COM/v5",
        "http://LOCALHOST.EVIL.COM/v5",
        "ftp://127.0.0.1/v5",
    ] {
        let site = Site::at(url);
        let ended = site.fails();
        assert_eq!(ended.code, Some(78), "{url}: {}", ended.output);
        assert!(ended.output.contains("BASE_URL"), "{url}: {}", ended.output);
        assert!(!site.path("queue").exists(), "{url}: it began all the same");
    }
    for url in [
        "http://127.0.0.1:9/v5",
        "http://[::1]:9/v5",
        "http://localhost:9/v5",
    ] {
        Site::at(url).start().kill();
    }
}

/// Another program of the same user must not read the token out of the memory.
#[test]
fn nobody_looks_into_the_daemons_memory() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    // Root looks everywhere: for it the daemon is another user's, and its files say whose they are.
    let daemon = if geteuid().is_root() {
        for name in ["", "token", "pinrelay.toml"] {
            chown(&site.path(name), Some(65534.into()), Some(65534.into())).expect("given");
        }
        let args = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        site.ready(Process::start(&mut site.run_under("setpriv", &args)))
    } else {
        site.start()
    };
    let memory = PathBuf::from(format!("/proc/{}/mem", daemon.pid()));
    match geteuid().is_root() {
        true => assert_eq!(fs::metadata(&memory).expect("there").uid(), 0),
        false => assert!(fs::File::open(&memory).is_err()),
    }
    // It still knows itself.
    let admin = UnixStream::connect(site.admin()).expect("an admin socket");
    let (_, metrics) = get(admin, "/metrics");
    let open = metrics
        .lines()
        .find_map(|line| line.strip_prefix("process_open_fds "));
    let open: f64 = open.expect("a metric").parse().expect("a number");
    assert!(open > 5.0, "{open}");
}

fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            below(&path, found);
        }
        found.push(path);
    }
}

/// Also under a umask that would let everybody in, and for files made long after the start.
#[test]
fn the_queue_is_its_owners_alone() {
    let stand_in = StandIn::start();
    stand_in.mode(json!({"refuse_names": ["checkout"]}));
    let site = Site::new(&stand_in).set("queue", "generation_events", "100");
    let mut command = bare(Path::new("sh"));
    command.args(["-c", "umask 000; exec \"$@\"", "sh"]);
    let run = site.run();
    command.arg(run.get_program()).args(run.get_args());
    command.envs(run.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let look = || {
        let mut found = vec![site.path("queue")];
        below(&site.path("queue"), &mut found);
        for path in &found {
            let Ok(meta) = fs::metadata(path) else {
                // A generation that was deleted meanwhile.
                continue;
            };
            let due = if meta.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(meta.mode() & 0o7777, due, "{}", path.display());
        }
        found
    };
    let daemon = site.ready(Process::start(&mut command));
    Client::queue(&site.socket(), &samples("modes", 0..1000));
    daemon.shows(s(30), "an empty queue", |status| {
        status["ledger"]["queued"] == 0 && status["ledger"]["sending"] == 0
    });
    let names = |found: Vec<PathBuf>| -> String {
        found.iter().map(|p| format!("{}\n", p.display())).collect()
    };
    let while_running = names(look());
    for part in ["/gen/", "/dead/", "/seen/", "/meta/db", "/high"] {
        assert!(while_running.contains(part), "{part}: {while_running}");
    }
    daemon.kill();
    // What a start after a kill makes.
    let daemon = site.start();
    Client::queue(&daemon.socket(), &samples("more", 0..10));
    look();
    assert_eq!(
        fs::metadata(site.path("queue")).expect("there").mode() & 0o777,
        0o700
    );
}

#[test]
fn a_token_that_everybody_can_read_is_told() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let token = site.path("token");
    for (mode, told) in [(0o600, 0), (0o640, 0), (0o644, 1), (0o604, 1)] {
        fs::set_permissions(&token, fs::Permissions::from_mode(mode)).expect("a mode");
        let daemon = site.start();
        let warned = (daemon.log().lines())
            .filter(|l| l.contains("WARN") && l.contains(&token.display().to_string()))
            .count();
        assert_eq!(warned, told, "{mode:o}: {}", daemon.log());
        daemon.kill();
    }
}

/// The socket's group is configured; who connects is in the debug log.
#[test]
fn who_may_connect_and_who_did() {
    let stand_in = StandIn::start();
    let groups = fs::read_to_string("/etc/group").expect("groups");
    let other = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, gid) = (fields.next()?, fields.nth(1)?.parse::<u32>().ok()?);
        (gid != nix::unistd::getegid().as_raw()).then(|| (name.to_owned(), gid))
    });
    let (name, gid) = other.expect("another group");
    let site = (Site::new(&stand_in).set("log", "level", "debug")).set("ingest", "group", &name);
    let daemon = site.start();
    let meta = fs::metadata(site.socket()).expect("a socket");
    assert_eq!(meta.mode() & 0o777, 0o660);
    if nix::unistd::geteuid().is_root() {
        assert_eq!(meta.gid(), gid, "{name}");
    } else {
        println!("not root: the group cannot be given away");
    }
    Client::queue(&site.socket(), &samples("who", 0..1));
    let (uid, pid) = (nix::unistd::geteuid(), std::process::id());
    within(s(5), "the peer in the log", || {
        let log = daemon.log();
        let named = log.lines().any(|line| {
            line.contains("client connected")
                && line.contains(&format!("\"uid\":{uid}"))
                && line.contains(&pid.to_string())
        });
        named.then_some(())
    });
    // And a crash leaves no core with the token in it.
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).expect("limits");
    let core = limits
        .lines()
        .find(|l| l.starts_with("Max core file size"))
        .expect("a line");
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

/// Makes two certificates for localhost in `folder`; false, with the reason printed, without
/// openssl.
fn certificates(folder: &Path) -> bool {
    for name in ["trusted", "other"] {
        let made = (Command::new("openssl").args(["req", "-x509", "-newkey", "rsa:2048"]))
            .args(["-nodes", "-days", "2", "-subj", &format!("/CN={name}")])
            .args(["-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(folder.join(format!("{name}.key")))
            .arg("-out")
            .arg(folder.join(format!("{name}.pem")))
            .output();
        if !made.is_ok_and(|out| out.status.success()) {
            println!("skipped: openssl is not here");
            return false;
        }
    }
    true
}

/// Whether the token reaches a TLS server with these flags, for a daemon that trusts the
/// certificate `trusts` and looks for `host`.
fn reaches(folder: &Path, flags: &[&str], trusts: &str, host: &str) -> bool {
    // Bound for a moment only, to learn a free one.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = free.expect("a port").port();
    let mut command = bare(Path::new("openssl"));
    command.args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-key"]);
    command.arg(folder.join("trusted.key"));
    command
        .arg("-cert")
        .arg(folder.join("trusted.pem"))
        .args(flags);
    // It ends at the end of its input, so that is kept open.
    let server = Process::start_with(&mut command, Stdio::piped());
    within(s(10), "a TLS server", || {
        server.output().contains("ACCEPT").then_some(())
    });
    let site = Site::at(&format!("https://{host}:{port}/v5"));
    let mut command = site.run();
    let certificates = folder.join(format!("{trusts}.pem"));
    command.env("SSL_CERT_FILE", certificates);
    command.env("SSL_CERT_DIR", "/nonexistent");
    let daemon = site.ready(Process::start(&mut command));
    Client::queue(&site.socket(), &samples("tls", 0..1));
    // Either the token arrives, or the daemon says that there is no connection.
    within(s(20), "an end of the attempt", || {
        let arrived = server.output().contains("Bearer pina_first");
        (arrived || daemon.log().contains("no connection")).then_some(arrived)
    })
}

/// TLS 1.1 is not spoken, 1.2 and 1.3 are; and only to a server that is who it has to be.
#[test]
fn tls_is_1_2_or_newer_and_certificates_are_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    if !certificates(at) {
        return;
    }
    assert!(reaches(at, &["-tls1_2"], "trusted", "localhost"));
    assert!(reaches(at, &["-tls1_3"], "trusted", "localhost"));
    let old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    assert!(!reaches(at, &old, "trusted", "localhost"));
    assert!(
        !reaches(at, &["-tls1_2"], "other", "localhost"),
        "an unknown issuer"
    );
    assert!(
        !reaches(at, &["-tls1_2"], "trusted", "127.0.0.1"),
        "another name"
    );
}
