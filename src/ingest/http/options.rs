//! What the config says of HTTP.

use std::pin::Pin;
use std::sync::Arc;

use super::keys::WriteKeys;
use super::tls::TlsFiles;

/// Why events do not come in; nothing if they do. For `/readyz`.
pub type Ready = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Vec<String>> + Send>> + Send + Sync>;

/// Settings of the HTTP side.
#[derive(Clone)]
pub struct HttpOptions {
    /// Who may send.
    pub keys: WriteKeys,
    /// The customer's address may be a proxy's word.
    pub trust_forwarded: bool,
    /// The longest body, bytes, unpacked.
    pub max_body: usize,
    /// TLS on the TCP listeners.
    pub tls: Option<TlsFiles>,
    /// See [`Ready`].
    pub ready: Ready,
}
