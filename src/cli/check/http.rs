//! HTTP: who may send over it, from where, and with which certificate.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, RootCertStore};

use super::finding::Finding::{self, Advice, Fine, Wrong};
use crate::config::{Config, WriteKeySource};

/// A certificate that expires sooner is told.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// At this time since 1970.
pub(super) fn findings(config: &Config, now: Duration) -> Vec<Finding> {
    let mut found = write_keys(config);
    found.extend(certificate(config, now));
    found.extend(address(config));
    found
}

fn write_keys(config: &Config) -> Vec<Finding> {
    let keys = match config.write_keys() {
        Ok(keys) => keys,
        Err(error) => return vec![Wrong(error.to_string())],
    };
    let mut found = Vec::new();
    if !keys.is_empty() {
        let names: Vec<_> = keys.iter().map(|key| key.name.as_str()).collect();
        found.push(Fine(format!("over HTTP may send: {}", names.join(", "))));
    }
    let exposed = keys.iter().filter(|key| key.exposed);
    found.extend(
        exposed
            .filter_map(|key| key.file.as_deref())
            .map(open_to_all),
    );
    let holds_one = holds_a_key(config);
    found.extend(
        config
            .file
            .iter()
            .filter(|file| holds_one && is_open_to_all(file))
            .map(|file| {
                Advice(format!(
                    "{0} can be read by every user, and holds write keys: chmod 0640 {0}",
                    file.display()
                ))
            }),
    );
    found
}

/// Whether a write key stands in the config itself.
pub(super) fn holds_a_key(config: &Config) -> bool {
    let mut sources = config.write_key_entries.iter().map(|entry| &entry.source);
    sources.any(|source| matches!(source, WriteKeySource::Config(_)))
}

/// The files that are to be read by nobody but the daemon.
pub(super) fn secret_files(config: &Config) -> Vec<&Path> {
    let keys = config.write_key_entries.iter();
    let files = keys.filter_map(|entry| match &entry.source {
        WriteKeySource::File(file) => Some(file.as_path()),
        WriteKeySource::Config(_) => None,
    });
    let holds_one = config.file.as_deref().filter(|_| holds_a_key(config));
    let tls = config.ingest.http_tls_key.as_deref();
    files.chain(tls).chain(holds_one).collect()
}

fn certificate(config: &Config, now: Duration) -> Vec<Finding> {
    let Some(files) = config.http_tls() else {
        return Vec::new();
    };
    let certified = match files.read() {
        Ok(certified) => certified,
        Err(error) => return vec![Wrong(error.to_string())],
    };
    let shown = files.cert.display();
    let next = "renew it; the daemon takes a new one by itself";
    let mut found = vec![match (
        out_of_date(&certified, now),
        out_of_date(&certified, now + SOON),
    ) {
        (Some(Why::Since(ended)), _) => Wrong(format!(
            "the certificate {shown} has expired on {ended}, and no client takes it: {next}"
        )),
        (Some(Why::From(begins)), _) => Wrong(format!(
            "the certificate {shown} counts from {begins} on, and no client takes it before: see \
             whether the clock is right (`date`)"
        )),
        (None, Some(Why::Since(ends))) => {
            Advice(format!("the certificate {shown} expires on {ends}: {next}"))
        }
        (None, _) => Fine(format!(
            "certificate {shown} and its key; a change of them reaches the running daemon by itself"
        )),
    }];
    if is_open_to_all(&files.key) {
        found.push(open_to_all(&files.key));
    }
    if config.ingest.http_listen.is_none() {
        found.push(Advice(
            "the certificate is of use over TCP alone: set ingest.http_listen, unless systemd passes \
             a TCP socket"
                .into(),
        ));
    }
    found
}

/// Why a certificate does not count, with the day.
enum Why {
    /// Expired.
    Since(String),
    /// Not yet valid.
    From(String),
}

/// What a client would say of its dates at this time since 1970. Whether one trusts whoever signed
/// it is the client's affair.
fn out_of_date(certified: &CertifiedKey, at: Duration) -> Option<Why> {
    let certificate = certified.cert.first()?;
    // Any will do: dates are looked at first, but there has to be one.
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).ok()?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.build().ok()?;
    let name = ServerName::try_from("localhost").ok()?;
    let at = UnixTime::since_unix_epoch(at);
    match verifier.verify_server_cert(certificate, &[], &name, &[], at) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Some(Why::Since(day(not_after)))
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before, ..
        })) => Some(Why::From(day(not_before))),
        _ => None,
    }
}

fn day(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(
        |_| "a day far off".into(),
        |time| TimeZone::UTC.to_datetime(time).date().to_string(),
    )
}

/// What follows from where HTTP is listened on.
fn address(config: &Config) -> Vec<Finding> {
    let ingest = &config.ingest;
    let Some(address) = ingest.http_listen else {
        return Vec::new();
    };
    let with = match (config.http_tls(), ingest.http_behind_proxy) {
        (Some(_), _) => "with TLS",
        (None, true) => "without TLS, behind a proxy",
        (None, false) => "without TLS",
    };
    let mut found = vec![Fine(format!("HTTP is taken on {address}, {with}"))];
    if config.write_key_entries.is_empty() {
        let who = match ingest.http_behind_proxy {
            true => "whoever the proxy lets through",
            false => "every user of this machine, also outside of [ingest] group",
        };
        found.push(Advice(format!(
            "events are taken on {address} without a key, of {who}: set [[ingest.write_keys]]"
        )));
    }
    if ingest.http_trust_forwarded && !ingest.http_behind_proxy {
        found.push(Advice(format!(
            "http_trust_forwarded believes X-Forwarded-For of whoever sends to {address}: it is for \
             senders, or a proxy (http_behind_proxy), that set it themselves"
        )));
    }
    found
}

fn is_open_to_all(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|about| about.permissions().mode() & 0o004 != 0)
}

fn open_to_all(file: &Path) -> Finding {
    Advice(format!(
        "{0} can be read by every user: chmod 0640 {0}",
        file.display()
    ))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::config::read;

    /// In the year 2030, while the certificate of the fixtures counts.
    const NOW: u64 = 1_893_456_000;

    /// What is found at this time, in a folder, of this under `[ingest]`.
    fn looked_at(now: u64, folder: &Path, ingest: &str) -> Vec<String> {
        let file = folder.join("pinrelay.toml");
        let text = format!("[ingest]\n{ingest}").replace("AT", &folder.display().to_string());
        let read = read(Some((&file, &text)), std::iter::empty());
        let config = read.unwrap_or_else(|e| panic!("{text}: {e}"));
        let found = findings(&config, Duration::from_secs(now));
        let told = found.iter().map(|finding| {
            let (word, text) = finding.labelled();
            let text = text.replace(&folder.display().to_string(), "AT");
            assert!(!text.contains("SECRET"), "{text}");
            format!("{word} {text}")
        });
        told.collect()
    }

    /// Each begins with what is expected, in this order.
    fn only(found: &[String], starts: &[&str]) {
        let fits = found
            .iter()
            .zip(starts)
            .all(|(f, start)| f.starts_with(start));
        assert!(
            fits && found.len() == starts.len(),
            "{starts:#?}: {found:#?}"
        );
    }

    fn put(folder: &TempDir, name: &str, text: &str, mode: u32) {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    }

    /// A folder with the certificate of the fixtures and its key.
    fn tls() -> TempDir {
        let folder = TempDir::new().expect("a folder");
        let cert = include_str!("../../../tests/fixtures/tls/localhost.pem");
        let key = include_str!("../../../tests/fixtures/tls/localhost.key");
        put(&folder, "cert", cert, 0o644);
        put(&folder, "key", key, 0o640);
        folder
    }

    const TLS: &str = "http_tls_cert = \"AT/cert\"\nhttp_tls_key = \"AT/key\"\n";
    const LISTEN: &str = "http_listen = \"127.0.0.1:8080\"\n";
    const KEY: &str = "[[ingest.write_keys]]\nname = \"shop\"\nkey = \"SECRET\"\n";

    #[test]
    fn nothing_is_said_where_nothing_is_set() {
        let folder = TempDir::new().expect("a folder");
        only(&looked_at(NOW, folder.path(), ""), &[]);
    }

    #[test]
    fn each_key_is_named_and_its_file_looked_at() {
        let folder = TempDir::new().expect("a folder");
        let in_file = "[[ingest.write_keys]]\nname = \"app\"\nkey_file = \"AT/app.key\"\n";
        let both = [KEY, in_file].concat();
        only(
            &looked_at(NOW, folder.path(), &both),
            &["wrong the file AT/app.key of the write key `app` cannot be read"],
        );
        put(&folder, "app.key", "SECRET-2\n", 0o640);
        let fine = "ok over HTTP may send: shop, app";
        only(&looked_at(NOW, folder.path(), &both), &[fine]);
        put(&folder, "app.key", "SECRET-2\n", 0o644);
        put(&folder, "pinrelay.toml", "", 0o644);
        only(
            &looked_at(NOW, folder.path(), &both),
            &[
                fine,
                "advice AT/app.key can be read by every user: chmod 0640",
                "advice AT/pinrelay.toml can be read by every user, and holds write keys",
            ],
        );
        // Without a key in it the config is nobody's secret.
        only(
            &looked_at(NOW, folder.path(), in_file),
            &["ok over HTTP may send: app", "advice AT/app.key"],
        );
        put(&folder, "app.key", "SECRET\n", 0o640);
        only(
            &looked_at(NOW, folder.path(), &both),
            &["wrong the write keys `shop` and `app` are the same"],
        );
    }

    #[test]
    fn a_certificate_is_tried_with_its_key_and_the_clock() {
        let folder = tls();
        let text = [LISTEN, TLS, KEY].concat();
        let look = |now: u64| looked_at(now, folder.path(), &text);
        let rest = [
            "ok over HTTP may send",
            "ok HTTP is taken on 127.0.0.1:8080, with TLS",
        ];
        let expect = |now: u64, certificate: &str, more: &[&str]| {
            let starts = [&rest[..1], &[certificate], more, &rest[1..]].concat();
            only(&look(now), &starts);
        };
        expect(NOW, "ok certificate AT/cert and its key", &[]);
        // It counts until 2126-11-06.
        let until = 4_949_632_986;
        expect(
            until + 1,
            "wrong the certificate AT/cert has expired on 2126-11-06",
            &[],
        );
        expect(
            until - 86_400,
            "advice the certificate AT/cert expires on 2126-11-06",
            &[],
        );
        expect(until - 15 * 86_400, "ok certificate", &[]);
        expect(
            1,
            "wrong the certificate AT/cert counts from 2026-11-30 on",
            &[],
        );
        let key = folder.path().join("key");
        fs::set_permissions(key, fs::Permissions::from_mode(0o604)).expect("a mode");
        expect(
            NOW,
            "ok certificate",
            &["advice AT/key can be read by every user"],
        );
        let authority = include_str!("../../../tests/fixtures/tls/ca.pem");
        put(&folder, "cert", authority, 0o644);
        expect(
            NOW,
            "wrong ingest.http_tls_key AT/key is not the key of",
            &[],
        );
        put(&folder, "cert", "nothing", 0o644);
        expect(
            NOW,
            "wrong ingest.http_tls_cert AT/cert holds no certificate",
            &[],
        );
    }

    #[test]
    fn who_may_send_over_tcp_is_told() {
        let folder = tls();
        let look = |ingest: &[&str]| looked_at(NOW, folder.path(), &ingest.concat());
        only(
            &look(&[LISTEN]),
            &[
                "ok HTTP is taken on 127.0.0.1:8080, without TLS",
                "advice events are taken on 127.0.0.1:8080 without a key, of every user",
            ],
        );
        let proxied = ["http_listen = \"0.0.0.0:80\"\nhttp_behind_proxy = true\n"];
        only(
            &look(&proxied),
            &[
                "ok HTTP is taken on 0.0.0.0:80, without TLS, behind a proxy",
                "advice events are taken on 0.0.0.0:80 without a key, of whoever the proxy",
            ],
        );
        let trust = "http_trust_forwarded = true\n";
        only(
            &look(&[LISTEN, trust, KEY]),
            &[
                "ok over HTTP",
                "ok HTTP",
                "advice http_trust_forwarded believes",
            ],
        );
        only(
            &look(&[proxied[0], trust, KEY]),
            &["ok over HTTP", "ok HTTP"],
        );
        only(
            &look(&[TLS]),
            &[
                "ok certificate",
                "advice the certificate is of use over TCP alone",
            ],
        );
    }

    #[test]
    fn what_holds_a_key_is_a_secret() {
        let text = format!(
            "[ingest]\nhttp_tls_cert = \"/cert\"\nhttp_tls_key = \"/tls\"\n{KEY}\
             [[ingest.write_keys]]\nname = \"app\"\nkey_file = \"/app\"\n"
        );
        let files = |text: &str| {
            let read = read(Some((Path::new("/a.toml"), text)), std::iter::empty());
            let config = read.expect("a config");
            let files = secret_files(&config).into_iter().map(Path::to_owned);
            files.collect::<Vec<_>>()
        };
        assert_eq!(files(&text), ["/app", "/tls", "/a.toml"].map(Path::new));
        assert_eq!(
            files(&text.replace(KEY, "")),
            ["/app", "/tls"].map(Path::new)
        );
    }
}
