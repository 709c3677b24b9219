//! TLS for the listener: a certificate and a key from files, read again when they change.
//!
//! Invariant: a certificate that cannot be used takes the place of none: what is in effect stays,
//! and that is told.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::tls_files::{TlsError, TlsFiles};

/// What the listener shows its clients.
pub(super) struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<CertifiedKey>>,
    /// The files as they were last looked at.
    looked_at: Mutex<[Option<Stamp>; 2]>,
}

/// Inode, size, and the moment of the last change, of its mode and owner too.
type Stamp = (u64, u64, i64, i64);

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Those of [`TlsFiles::read`].
    pub fn open(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let looked_at = stamps(&files);
        let current = files.read()?;
        Ok(Arc::new(Self {
            files,
            current: RwLock::new(Arc::new(current)),
            looked_at: Mutex::new(looked_at),
        }))
    }

    /// What a server needs to know.
    ///
    /// # Errors
    /// rustls has no protocol version in common with itself.
    pub fn server(self: &Arc<Self>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
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
        match self.files.read() {
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
        Some((about.ino(), about.len(), about.ctime(), about.ctime_nsec()))
    };
    [stamp(&files.cert), stamp(&files.key)]
}
