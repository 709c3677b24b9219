//! TLS for the listener: a certificate and a key from files, read again when they change.
//!
//! Invariant: a certificate that cannot be used takes the place of none: what is in effect stays,
//! and that is told.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::files;

/// More than any chain has.
const LARGEST: u64 = 1 << 20;

/// The files of a certificate (with its chain, PEM) and of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// `ingest.http_tls_cert`.
    pub cert: PathBuf,
    /// `ingest.http_tls_key`.
    pub key: PathBuf,
}

/// What the listener shows its clients.
pub(super) struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<CertifiedKey>>,
    /// The files as they were last looked at.
    looked_at: Mutex<[Option<Stamp>; 2]>,
}

type Stamp = (SystemTime, u64);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Which of them cannot be used, and why; never what stands in it.
    pub fn open(files: TlsFiles) -> Result<Arc<Self>, String> {
        let looked_at = stamps(&files);
        let current = read(&files)?;
        Ok(Arc::new(Self {
            files,
            current: RwLock::new(Arc::new(current)),
            looked_at: Mutex::new(looked_at),
        }))
    }

    /// What a server needs to know.
    pub fn server(self: &Arc<Self>) -> Result<Arc<ServerConfig>, String> {
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let mut config = config
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Reads the files again if they are others by now. Blocks.
    pub fn look(&self) {
        let found = stamps(&self.files);
        let mut looked_at = self
            .looked_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *looked_at == found {
            return;
        }
        *looked_at = found;
        match read(&self.files) {
            Ok(fresh) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                tracing::info!(
                    "the certificate of ingest.http_listen was read again from {}",
                    self.files.cert.display()
                );
            }
            Err(why) => tracing::error!(
                "the certificate of ingest.http_listen has changed and cannot be used ({why}); the \
                 one before stays in effect: put it right, it is looked at again when it changes"
            ),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({})", self.files.cert.display())
    }
}

impl ResolvesServerCert for Tls {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(
            self.current
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
    }
}

fn stamps(files: &TlsFiles) -> [Option<Stamp>; 2] {
    let stamp = |path: &Path| {
        let about = std::fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len()))
    };
    [stamp(&files.cert), stamp(&files.key)]
}

fn read(files: &TlsFiles) -> Result<CertifiedKey, String> {
    let wrong = |path: &Path, why: &dyn fmt::Display| format!("{}: {why}", path.display());
    let bytes = |path: &Path| -> Result<Vec<u8>, String> {
        files::read(path, LARGEST)
            .map(|(bytes, _)| bytes)
            .map_err(|error: io::Error| wrong(path, &error))
    };
    let (cert, key) = (bytes(&files.cert)?, bytes(&files.key)?);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&cert).collect();
    let chain = chain.map_err(|_| wrong(&files.cert, &"it holds no certificate in PEM"))?;
    if chain.is_empty() {
        return Err(wrong(&files.cert, &"it holds no certificate in PEM"));
    }
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| wrong(&files.key, &"it holds no private key in PEM"))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
        wrong(
            &files.key,
            &format!("it does not go with the certificate ({error})"),
        )
    })
}
