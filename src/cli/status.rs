//! `pinrelay status`: what the daemon says of itself.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::args::StatusArgs;
use super::exit::{Exit, Failure, OrExit, Outcome};
use crate::config::process_env;

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints the report; exit 69 when no daemon is there.
pub fn run(args: StatusArgs) -> Outcome {
    let socket = match args.socket {
        Some(socket) => socket,
        None => {
            args.config
                .load(process_env())
                .or_exit(Exit::Config)?
                .admin
                .socket
        }
    };
    let text = ask(&socket, args.json)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.trim_end()).or_exit(Exit::Io)?;
    Ok(Exit::Ok)
}

/// The report of the daemon behind this admin socket, as JSON or for people.
///
/// # Errors
/// With exit 69 when no daemon is there.
pub(super) fn ask(socket: &Path, json: bool) -> Result<String, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_exit(Exit::Io)?;
    runtime.block_on(fetch(socket.to_owned(), json))
}

async fn fetch(socket: PathBuf, json: bool) -> Result<String, Failure> {
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
    let format = if json { "json" } else { "text" };
    // Without a provider the HTTP client refuses to be built, TLS or not. A second call changes
    // nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let get = async {
        let client = reqwest::Client::builder()
            .unix_socket(socket)
            .tls_certs_only([])
            .timeout(PATIENCE)
            .build()?;
        let url = format!("http://pinrelay/status?format={format}");
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
