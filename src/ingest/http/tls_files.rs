//! The certificate that HTTP is served with, and its key.

use std::io;
use std::path::{Path, PathBuf};

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::files;

/// Neither file is larger, in bytes.
const LARGEST: u64 = 1 << 20;

/// The two files; read again whenever one has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// `ingest.http_tls_cert`: the certificate, then those that lead to its authority.
    pub cert: PathBuf,
    /// `ingest.http_tls_key`.
    pub key: PathBuf,
}

/// Why they cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One cannot be read.
    #[error("{name} {file} cannot be read: {error}; {}", files::next_step(error))]
    Unreadable {
        /// The key of the config.
        name: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// One does not hold what it should.
    #[error("{name} {file} {what}; put {due} there, as PEM")]
    Malformed {
        /// The key of the config.
        name: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What belongs there.
        due: &'static str,
    },
    /// They are no pair.
    #[error(
        "ingest.http_tls_key {key} is not the key of the certificate in ingest.http_tls_cert {cert}: \
         name the two that were made together, the certificate first in its file"
    )]
    NoPair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's.
        key: PathBuf,
    },
}

const CERT: &str = "ingest.http_tls_cert";
const KEY: &str = "ingest.http_tls_key";

impl TlsFiles {
    /// Reads both and sees that they belong together.
    ///
    /// # Errors
    /// [`TlsError`]; its text holds nothing of the key.
    pub fn read(&self) -> Result<CertifiedKey, TlsError> {
        let malformed = |what: String| TlsError::Malformed {
            name: CERT,
            file: self.cert.clone(),
            what,
            due: "the certificate and those that lead to its authority",
        };
        let pem = bytes(CERT, &self.cert)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let chain = chain.map_err(|error| malformed(no_pem(&error)))?;
        if chain.is_empty() {
            return Err(malformed("holds no certificate".into()));
        }
        let no_key = |what: String| TlsError::Malformed {
            name: KEY,
            file: self.key.clone(),
            what,
            due: "the certificate's private key, without a passphrase",
        };
        let pem = bytes(KEY, &self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
            pem::Error::NoItemsFound => no_key("holds no private key that can be read".into()),
            error => no_key(no_pem(&error)),
        })?;
        let key = (ring::default_provider().key_provider)
            .load_private_key(key)
            .map_err(|_| no_key("holds a private key of a kind that is not known".into()))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            // Of a key that does not tell nothing speaks against it.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                Ok(certified)
            }
            Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::NoPair {
                cert: self.cert.clone(),
                key: self.key.clone(),
            }),
            Err(error) => Err(malformed(format!(
                "holds a certificate that cannot be read ({error})"
            ))),
        }
    }
}

fn bytes(name: &'static str, file: &Path) -> Result<Vec<u8>, TlsError> {
    let read = files::read(file, LARGEST).map(|(bytes, _)| bytes);
    read.map_err(|error| TlsError::Unreadable {
        name,
        file: file.to_owned(),
        error,
    })
}

/// The error may hold a line of the file.
fn no_pem(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "is cut short".into(),
        pem::Error::Base64Decode(_) => "holds a damaged block".into(),
        _ => "is no PEM".into(),
    }
}
