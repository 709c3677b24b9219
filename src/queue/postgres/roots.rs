//! Whom a server's certificate is held to: the authorities that are named, or the system's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::refusal::Refusal;
use crate::files;

/// No file of certificates is larger, in bytes.
const LARGEST: u64 = 4 << 20;

/// TLS that verifies. Reads the certificates anew each time: what is replaced there counts with the
/// next connection.
pub(super) async fn tls(
    ca_file: Option<PathBuf>,
    patience: Duration,
) -> Result<MakeRustlsConnect, Refusal> {
    let read = tokio::task::spawn_blocking(move || match ca_file {
        Some(file) => named(&file),
        None => systems(),
    });
    let roots = match timeout(patience, read).await {
        Ok(Ok(roots)) => roots?,
        Ok(Err(_)) | Err(_) => {
            return Err(Refusal::Away(
                "the certificate authorities could not be read in time: see the file system that \
                 they are on"
                    .into(),
            ));
        }
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Refusal::Config(format!("no TLS can be set up: {error}")))?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn named(file: &Path) -> Result<RootCertStore, Refusal> {
    let wrong = |what: &str, next: &str| {
        let file = file.display();
        Refusal::Config(format!("the file of certificates {file} {what}: {next}"))
    };
    let form = "put the authority's certificate there, as PEM";
    let (pem, _) = files::read(file, LARGEST).map_err(|error| {
        wrong(
            &format!("cannot be read: {error}"),
            files::next_step(&error),
        )
    })?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    // The error may hold a line of the file.
    let certificates = certificates.map_err(|_| wrong("is no PEM", form))?;
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err(wrong("holds no certificate that can be read", form)),
        _ => Ok(roots),
    }
}

fn systems() -> Result<RootCertStore, Refusal> {
    let next =
        "install the system's (package ca-certificates), or name a file as [postgres] ca_file";
    if let Err(said) = files::check_roots() {
        return Err(Refusal::Config(format!("{said}: {next}")));
    }
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs) {
        (0, _) => Err(Refusal::Config(format!(
            "there are no certificate authorities: {next}"
        ))),
        _ => Ok(roots),
    }
}
