//! What the config says of HTTP.

use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

use super::keys::WriteKeys;
use super::tls_files::TlsFiles;

/// Why events do not come in; nothing if they do. For `/readyz`.
pub type Ready = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Vec<String>> + Send>> + Send + Sync>;

/// What a request may be, and what it may say.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// The customer's address may be a proxy's word.
    pub trust_forwarded: bool,
    /// The longest body, bytes, unpacked.
    pub max_body: usize,
}

/// The limits in effect. Clones share them.
#[derive(Clone, Debug)]
pub struct SharedHttpLimits(Arc<RwLock<HttpLimits>>);

impl SharedHttpLimits {
    /// Starts with these.
    pub fn new(limits: HttpLimits) -> Self {
        Self(Arc::new(RwLock::new(limits)))
    }

    /// Puts these in effect, for requests that come from here on.
    pub fn set(&self, limits: HttpLimits) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    pub(super) fn get(&self) -> HttpLimits {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Settings of the HTTP side.
#[derive(Clone)]
pub struct HttpOptions {
    /// Who may send.
    pub keys: WriteKeys,
    /// What else a reload may change.
    pub limits: SharedHttpLimits,
    /// TLS on the TCP listeners.
    pub tls: Option<TlsFiles>,
    /// See [`Ready`].
    pub ready: Ready,
}
