//! The sockets' files, who gets a place, and whom the metrics port answers.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Client, Process, Site, StandIn, get, s, samples, within};

/// A command that is handed these listeners, as systemd does.
fn handed(site: &Site, first: OwnedFd, second: OwnedFd) -> Command {
    // The variables name the process that they are for, which a shell knows before it execs.
    let script = "export LISTEN_FDS=2 LISTEN_PID=$$; exec \"$0\" \"$@\" 3<&0 4<&1 </dev/null >&2";
    let mut command = site.run_under("/bin/sh", &["-c", script]);
    command
        .stdin(Stdio::from(first))
        .stdout(Stdio::from(second));
    command
}

/// The line that says what is listened on.
fn ready(site: &Site) -> String {
    within(s(20), "ready", || {
        let log = fs::read_to_string(site.path("log")).expect("the log");
        let mut lines = log.lines();
        let ready = lines.find(|line| line.contains("ready: taking"));
        ready.map(str::to_owned)
    })
}

#[test]
fn each_listener_that_is_passed_is_served_and_named() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let (one, two) = (site.socket(), site.path("second.sock"));
    let listeners = [&one, &two].map(|path| UnixListener::bind(path).expect("bound"));
    let [first, second] = listeners
        .each_ref()
        .map(|l| OwnedFd::from(l.try_clone().expect("held")));
    let log = fs::File::create(site.path("log")).expect("a log");
    let mut command = handed(&site, first, second);
    let mut daemon = command.stderr(log).spawn().expect("it starts");
    for (path, series) in [(&one, "one"), (&two, "two")] {
        let mut client = Client::connect(path);
        client.patience(s(20));
        assert_eq!(
            client.ask(&samples(series, 0..1)[0].line).status(),
            "queued"
        );
    }
    stand_in.takes(2, s(10));
    let log = fs::read_to_string(site.path("log")).expect("the log");
    let ready = log
        .lines()
        .find(|line| line.contains("ready: taking"))
        .expect("ready");
    for path in [&one, &two] {
        assert!(ready.contains(path.to_str().expect("a path")), "{ready}");
    }
    daemon.kill().expect("our own child");
    daemon.wait().expect("gone");
}

#[test]
fn a_passed_socket_that_cannot_be_served_is_refused_by_name() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let open = TcpListener::bind("0.0.0.0:0").expect("a port");
    let address = open.local_addr().expect("an address");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
    for (odd, said) in [
        (
            OwnedFd::from(open),
            format!("passed by systemd: {address} is not a loopback address"),
        ),
        (
            datagrams.into(),
            "passed by systemd (number 2, http: ".into(),
        ),
    ] {
        let _ = fs::remove_file(site.socket());
        let unix = UnixListener::bind(site.socket()).expect("bound");
        let mut command = handed(&site, unix.into(), odd);
        let out = command.env("LISTEN_FDNAMES", "x:http").output();
        let out = out.expect("it runs");
        let told = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(78), "{told}");
        assert!(told.contains(&said), "{said}: {told}");
    }
}

/// By the name that its unit gives it, or as the shipped unit has it, by its file alone.
#[test]
fn a_passed_socket_is_for_http_by_its_name_or_its_file() {
    let stand_in = StandIn::start();
    for (name, file, more) in [
        ("pinrelay.socket", "http.sock", ""),
        ("http", "elsewhere.sock", "and systemd passes"),
    ] {
        let site = Site::new(&stand_in);
        let (ingest, http) = (site.socket(), site.path(file));
        let [first, second] = [&ingest, &http].map(|path| UnixListener::bind(path).expect("bound"));
        let mut command = handed(&site, first.into(), second.into());
        command.env("LISTEN_FDNAMES", format!("pinrelay.socket:{name}"));
        let log = fs::File::create(site.path("log")).expect("a log");
        let mut daemon = command.stderr(log).spawn().expect("it starts");
        let ready = ready(&site);
        let field = |name: &str, path: &Path| format!("\"{name}\":\"{}\"", path.display());
        for field in [field("http", &http), field("socket", &ingest)] {
            assert!(ready.contains(&field), "{field}: {ready}");
        }
        let log = fs::read_to_string(site.path("log")).expect("the log");
        let mismatch = "ingest.http_socket is ";
        assert_eq!(log.contains(mismatch), !more.is_empty(), "{log}");
        assert!(log.contains(more), "{log}");
        daemon.kill().expect("our own child");
        daemon.wait().expect("gone");
    }
}

/// On loopback it is for HTTP as it is, and the config may name it as well.
#[test]
fn a_passed_tcp_socket_is_for_http() {
    let stand_in = StandIn::start();
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = tcp.local_addr().expect("an address").to_string();
    let site = Site::new(&stand_in).set("ingest", "http_listen", &address);
    let unix = UnixListener::bind(site.socket()).expect("bound");
    let mut command = handed(&site, unix.into(), tcp.into());
    let log = fs::File::create(site.path("log")).expect("a log");
    let mut daemon = command.stderr(log).spawn().expect("it starts");
    let ready = ready(&site);
    let both = format!("{}, {address}", site.path("http.sock").display());
    assert!(ready.contains(&both), "{both}: {ready}");
    daemon.kill().expect("our own child");
    daemon.wait().expect("gone");
}

#[test]
fn a_socket_that_is_removed_is_told_and_bound_anew() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in).set("metrics", "listen", "127.0.0.1:0");
    let daemon = site.start();
    let mut earlier = Client::connect(&site.socket());
    // Both; and in the place of one stands what must not be removed for it.
    fs::remove_file(site.admin()).expect("removed");
    within(s(20), "an admin socket", || {
        UnixStream::connect(site.admin()).ok()
    });
    fs::remove_file(site.socket()).expect("removed");
    fs::write(site.socket(), "in the way").expect("written");
    let shown = daemon.shows(s(20), "not accepting", |status| {
        status["not_accepting"].as_array().is_some_and(|why| {
            why.iter().any(|why| {
                why.as_str()
                    .is_some_and(|why| why.contains("a file that is no socket"))
            })
        })
    });
    let admin = UnixStream::connect(site.admin()).expect("connected");
    let (code, ready) = get(admin, "/readyz");
    assert!(code == 503 && ready.contains("is gone"), "{ready} {shown}");
    assert_eq!(
        earlier.ask(&samples("earlier", 0..1)[0].line).status(),
        "queued"
    );
    fs::remove_file(site.socket()).expect("removed");
    within(s(20), "an ingest socket", || {
        Client::try_connect(&site.socket()).ok()
    });
    Client::queue(&site.socket(), &samples("anew", 0..10));
    stand_in.takes(11, s(10));
    daemon.shows(s(5), "accepting", |status| {
        status["not_accepting"] == Value::Array(vec![])
    });
    let log = daemon.log();
    assert_eq!(
        log.matches("bound anew; see who removes it").count(),
        2,
        "{log}"
    );
    assert_eq!(log.matches("cannot be bound anew").count(), 1, "{log}");
    assert_eq!(daemon.stop(s(20)).code, Some(0));
    assert!(!site.socket().exists() && !site.admin().exists());
}

/// The one that stops had closed its listeners, so its successor bound its own in their place;
/// then it removed them.
#[test]
fn a_stopping_daemon_leaves_its_successors_socket() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let daemon = site.start();
    fs::remove_file(site.socket()).expect("removed");
    let successor = UnixListener::bind(site.socket()).expect("bound");
    let ours = fs::metadata(site.socket()).expect("it is there").ino();
    let ended = daemon.stop(s(20));
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert_eq!(
        fs::metadata(site.socket()).expect("it is there").ino(),
        ours
    );
    drop(successor);
}

/// A process that was killed had bound the file anew, so the passed listener has none; and the dead
/// file stood for it: "ready", and nobody could connect.
#[test]
fn a_passed_listener_whose_file_is_a_dead_ones_is_bound_anew() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let passed = UnixListener::bind(site.socket()).expect("bound");
    let second = UnixListener::bind(site.path("second.sock")).expect("bound");
    fs::remove_file(site.socket()).expect("removed");
    // What the killed one left.
    drop(UnixListener::bind(site.socket()).expect("bound"));
    let mode = fs::Permissions::from_mode(0o640);
    fs::set_permissions(site.socket(), mode).expect("a mode");
    let mut command = handed(&site, passed.into(), second.into());
    let log = fs::File::create(site.path("log")).expect("a log");
    let mut daemon = command.stderr(log).spawn().expect("it starts");
    let mut client = within(s(20), "an ingest socket", || {
        Client::try_connect(&site.socket()).ok()
    });
    assert_eq!(
        client.ask(&samples("anew", 0..1)[0].line).status(),
        "queued"
    );
    let mode = fs::metadata(site.socket())
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o640, "as it was");
    let log = fs::read_to_string(site.path("log")).expect("the log");
    assert!(log.contains("gives it back to systemd"), "{log}");
    daemon.kill().expect("our own child");
    daemon.wait().expect("gone");
}

/// Those that flood wait for minutes before they are read on: told to leave, they leave all the
/// same.
#[test]
fn those_that_flood_do_not_keep_their_places() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let process = Process::start(&mut site.run_under("prlimit", &["--nofile=160:160"]));
    let daemon = site.ready(process);
    let blank = vec![b'\n'; 128 << 10];
    let flooding: Vec<_> = (0..60)
        .map(|_| {
            let stream = UnixStream::connect(site.socket()).expect("in the backlog");
            stream.set_nonblocking(true).expect("nonblocking");
            let _ = (&stream).write(&blank);
            stream
        })
        .collect();
    for n in 0..3 {
        let begun = Instant::now();
        let line = &samples("newcomer", n..n + 1)[0].line;
        assert_eq!(Client::connect(&site.socket()).ask(line).status(), "queued");
        assert!(begun.elapsed() < s(15), "{:?}", begun.elapsed());
    }
    drop(flooding);
    daemon.kill();
}

fn leaked(socket: &Path, count: usize) -> Vec<UnixStream> {
    (0..count)
        .map_while(|_| {
            let stream = UnixStream::connect(socket).ok()?;
            // Some say half a request and stop.
            (&stream).write_all(b"GET /sta").ok()?;
            Some(stream)
        })
        .collect()
}

#[test]
fn connections_that_leak_on_the_admin_socket_take_nothing_from_others() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let process = Process::start(&mut site.run_under("prlimit", &["--nofile=256:256"]));
    let daemon = site.ready(process);
    let mut tail = Process::start(&mut site.command(&["tail"]));
    let mut n = 0;
    within(s(20), "somebody who listens", || {
        n += 1;
        Client::queue(&site.socket(), &samples("heard", n..n + 1));
        tail.output().contains("heard-").then_some(())
    });
    let held = leaked(&site.admin(), 400);
    assert_eq!(held.len(), 400);
    for round in 0..5 {
        let begun = Instant::now();
        assert_eq!(daemon.status()["ledger"]["ledger_imbalance"], 0);
        assert!(begun.elapsed() < s(5), "{:?}", begun.elapsed());
        let more = samples("beside", round * 100..(round + 1) * 100);
        Client::queue(&site.socket(), &more);
    }
    stand_in.takes(500 + n as u64, s(20));
    // Who listens keeps its place.
    within(s(10), "what passes", || {
        tail.output().contains("beside-000499").then_some(())
    });
    assert!(tail.running());
    let log = daemon.log();
    assert_eq!(
        log.matches("the admin socket serves 32 clients").count(),
        1,
        "{log}"
    );
    drop(held);
    assert_eq!(daemon.stop(s(20)).code, Some(0));
}

/// 200 idle clients of one user and one of another, where there are places for 40.
#[test]
fn idle_clients_of_one_user_do_not_lock_out_another() {
    let stand_in = StandIn::start();
    let site = Site::new(&stand_in);
    let process = Process::start(&mut site.run_under("prlimit", &["--nofile=160:160"]));
    let daemon = site.ready(process);
    let idle: Vec<_> = (0..200)
        .map(|_| UnixStream::connect(site.socket()).expect("in the backlog"))
        .collect();
    let line = &samples("other", 0..1)[0].line;
    if !nix::unistd::geteuid().is_root() {
        // The same user's newcomer is served all the same.
        assert_eq!(Client::connect(&site.socket()).ask(line).status(), "queued");
        return;
    }
    let Ok(out) = ({
        // As nobody, through a folder that lets it in.
        let folder = site.path("");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&folder, open).expect("a mode");
        let all = fs::Permissions::from_mode(0o666);
        fs::set_permissions(site.socket(), all).expect("a mode");
        let mut command = Command::new("perl");
        command.args([
            "-MIO::Socket::UNIX",
            "-e",
            "my $s = IO::Socket::UNIX->new($ARGV[0]) or die $!; print $s $ARGV[1], \"\\n\"; \
             $s->flush; alarm 8; print scalar <$s>",
        ]);
        command.arg(site.socket()).arg(line).uid(65534).gid(65534);
        command.output()
    }) else {
        println!("skipped: no perl on this machine");
        return;
    };
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(said.contains("queued"), "{out:?}");
    let log = daemon.log();
    assert_eq!(log.matches("an idle one is closed").count(), 1, "{log}");
    drop(idle);
    assert_eq!(daemon.stop(s(20)).code, Some(0));
}

fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a time-out");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn the_metrics_port_answers_to_an_address_and_is_held_up_by_nobody() {
    let stand_in = StandIn::start();
    // A port that was free a moment ago.
    let port = (TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr())
    .expect("its number");
    let address = port.to_string();
    let site = Site::new(&stand_in).set("metrics", "listen", &address);
    let daemon = site.start();
    let scrape = |host: &str| {
        ask(
            &address,
            &format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
        )
    };
    for host in [address.as_str(), "localhost", "[::1]:9464"] {
        assert!(scrape(host).starts_with("HTTP/1.1 200"), "{host}");
    }
    for host in ["rebound.example", "rebound.example:9464"] {
        let said = scrape(host);
        assert!(
            said.starts_with("HTTP/1.1 403") && said.contains("by its address"),
            "{said}"
        );
    }
    let idle: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(&address).expect("connected"))
        .collect();
    let begun = Instant::now();
    assert!(scrape(&address).starts_with("HTTP/1.1 200"));
    assert!(begun.elapsed() < s(5), "{:?}", begun.elapsed());
    drop(idle);
    assert_eq!(daemon.stop(s(20)).code, Some(0));
}
