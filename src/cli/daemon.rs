//! Asking the running daemon over its admin socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::exit::{Exit, Failure, OrExit};

/// What the daemon behind this admin socket answers to `GET path`, within `patience`.
///
/// # Errors
/// With exit 69 when no daemon is there.
pub(super) fn ask(socket: &Path, path: &str, patience: Duration) -> Result<String, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_exit(Exit::Io)?;
    runtime.block_on(fetch(socket.to_owned(), path, patience))
}

async fn fetch(socket: PathBuf, path: &str, patience: Duration) -> Result<String, Failure> {
    let shown = socket.display().to_string();
    let missing = |error: std::io::Error| Failure {
        exit: match error.kind() {
            io::ErrorKind::PermissionDenied => Exit::Io,
            _ => Exit::Unavailable,
        },
        error: anyhow!(
            "admin socket {shown}: {error}; is the daemon running, and may this user (or root) \
             open its admin socket?"
        ),
    };
    // Connecting by hand first tells apart what the HTTP client would not.
    tokio::net::UnixStream::connect(&socket)
        .await
        .map_err(missing)?;
    // Without a provider the HTTP client refuses to be built, TLS or not. A second call changes
    // nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let get = async {
        let client = reqwest::Client::builder()
            .unix_socket(socket)
            .tls_certs_only([])
            .timeout(patience)
            .build()?;
        let url = format!("http://pinrelay{path}");
        client
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .text()
            .await
    };
    get.await
        .with_context(|| format!("admin socket {shown}: no answer from the daemon"))
        .or_exit(Exit::Unavailable)
}
