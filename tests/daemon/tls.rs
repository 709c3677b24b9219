//! The CA certificates are read again where they may have been mended: by a reload, and by itself
//! after a failure.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::{Client, Daemon, Process, Site, s, samples, within};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tls")
        .join(name)
}

/// Takes every event, over TLS, under a certificate that only the fixtures' CA vouches for. Its
/// threads end with the test's process.
struct Server {
    url: String,
    taken: Arc<AtomicU64>,
}

fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let chain = CertificateDer::from_pem_file(fixture("localhost.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(fixture("localhost.key")).expect("a key");
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .and_then(|config| {
            config
                .with_no_client_auth()
                .with_single_cert(vec![chain], key)
        })
        .expect("a TLS server");
    let (config, taken) = (Arc::new(config), Arc::new(AtomicU64::new(0)));
    let counts = taken.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, taken) = (config.clone(), counts.clone());
            std::thread::spawn(move || serve(stream, config, &taken));
        }
    });
    Server {
        url: format!("https://localhost:{port}/v5"),
        taken,
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, taken: &AtomicU64) {
    let Ok(connection) = ServerConnection::new(config) else {
        return;
    };
    let mut tls = StreamOwned::new(connection, stream);
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(n @ 1..) = tls.read(&mut buffer) {
        request.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .to_lowercase()
            .split("content-length: ")
            .nth(1)
            .map(str::to_owned);
        let length = length.and_then(|rest| rest.lines().next()?.trim().parse::<usize>().ok());
        if Some(body.len()) < length {
            continue;
        }
        let events = body.matches("\"event_id\"").count();
        let list = vec![r#"{"status":"processed"}"#; events].join(",");
        let list = format!(r#"{{"events":[{list}]}}"#);
        taken.fetch_add(events as u64, Ordering::SeqCst);
        let length = list.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{list}");
        if tls.write_all(answer.as_bytes()).is_err() {
            return;
        }
        request.clear();
    }
}

/// A daemon that trusts what this file holds.
fn start<'a>(site: &'a Site, roots: &Path) -> Daemon<'a> {
    let mut command = site.run();
    command.env("SSL_CERT_FILE", roots);
    command.env_remove("SSL_CERT_DIR");
    let daemon = site.ready(Process::start(&mut command));
    // Clients may come before the file is read; who is answered comes after it.
    daemon.status();
    daemon
}

/// Trusts another CA than the server's; the server is not believed.
fn distrustful<'a>(site: &'a Site, roots: &Path) -> Daemon<'a> {
    fs::copy(fixture("other-ca.pem"), roots).expect("roots");
    let daemon = start(site, roots);
    Client::queue(&daemon.socket(), &samples("roots", 0..3));
    let status = daemon.shows(s(10), "a failure", |status| {
        status["gate"]["reason"] == "unavailable"
    });
    let detail = status["gate"]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("UnknownIssuer"), "{detail}");
    daemon
}

fn all_are_taken(server: &Server) {
    within(s(10), "three events", || {
        (server.taken.load(Ordering::SeqCst) == 3).then_some(())
    });
}

#[test]
fn a_ca_store_that_was_mended_is_used_after_the_next_failure() {
    let server = server();
    let site = Site::at(&server.url);
    let roots = site.path("roots.pem");
    let daemon = distrustful(&site, &roots);
    fs::copy(fixture("ca.pem"), &roots).expect("roots");
    all_are_taken(&server);
    daemon.shows(s(5), "its end", |status| status["state"] == "delivering");
}

#[test]
fn a_reload_reads_the_ca_store_again_and_tries_at_once() {
    let server = server();
    let site = Site::at(&server.url)
        .set("delivery", "backoff_initial", "1h")
        .set("delivery", "backoff_max", "1h");
    let roots = site.path("roots.pem");
    let daemon = distrustful(&site, &roots);
    fs::copy(fixture("ca.pem"), &roots).expect("roots");
    daemon.signal(Signal::SIGHUP);
    all_are_taken(&server);
}

/// What cannot be read must not take away what works.
#[test]
fn a_ca_store_that_is_gone_at_a_reload_is_told_and_the_one_before_is_used() {
    let server = server();
    let site = Site::at(&server.url);
    let roots = site.path("roots.pem");
    fs::copy(fixture("ca.pem"), &roots).expect("roots");
    let mut daemon = start(&site, &roots);
    fs::remove_file(&roots).expect("gone");
    let reload = site.command(&["reload"]).output().expect("reload");
    assert!(reload.status.success(), "{reload:?}");
    within(s(10), "a word in the log", || {
        let log = daemon.log();
        log.contains("the one before stays in use").then_some(())
    });
    Client::queue(&daemon.socket(), &samples("roots", 0..3));
    all_are_taken(&server);
    assert!(daemon.running());
}
