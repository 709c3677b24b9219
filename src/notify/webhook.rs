//! The POST. Bounded in time and attempts, follows no redirect, and never says the URL, which
//! is a secret with most hooks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use reqwest::{Client, Url, redirect};

use crate::files;

/// No file of a URL is larger, in bytes.
const LARGEST: u64 = 64 << 10;

/// One attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts, the first included.
const ATTEMPTS: u32 = 4;

/// Why nobody was told. Never the URL.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The file cannot be read.
    #[error("notify.webhook_url_file {} cannot be read: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It holds no URL that can be used.
    #[error("notify.webhook_url_file {} does not hold an https URL, alone on one line (http is taken on loopback only)", .0.display())]
    NoUrl(PathBuf),
    /// The file's file system does not answer.
    #[error("notify.webhook_url_file could not be read in time: see the file system that it is on")]
    Silent,
    /// The config names no file any more.
    #[error("notify.webhook_url_file is not set any more")]
    Gone,
    /// The set-up failed.
    #[error("no HTTPS client can be built: {0}; install the system's CA certificates")]
    Client(String),
    /// The hook did not take it.
    #[error("the webhook answered with status {status}: {advice}", status = .0, advice = next_step(*.0))]
    Refused(u16),
    /// It was not reached.
    #[error("the webhook was not reached: {0}; see the address in notify.webhook_url_file")]
    NotReached(String),
}

/// What to do about an answer that is no success.
const fn next_step(status: u16) -> &'static str {
    match status {
        300..400 => {
            "redirects are not followed, put the address that it ends at into \
             notify.webhook_url_file"
        }
        400..500 if status != 429 => {
            "it does not take these messages, see the address in notify.webhook_url_file"
        }
        _ => "it is in trouble or asks for fewer messages, see its own log",
    }
}

/// The URL in the file.
///
/// # Errors
/// [`WebhookError::Unreadable`] and [`WebhookError::NoUrl`].
pub fn read_url(file: &Path) -> Result<Url, WebhookError> {
    let text = files::read_text(file, LARGEST).map_err(|error| WebhookError::Unreadable {
        file: file.to_owned(),
        error,
    })?;
    // A parser of URLs leaves line ends out: two of them would become one.
    let line = Some(text.trim()).filter(|text| !text.contains(char::is_whitespace));
    let url = line
        .and_then(|line| Url::parse(line).ok())
        .filter(|url| match url.scheme() {
            "https" => true,
            "http" => matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")),
            _ => false,
        });
    url.ok_or_else(|| WebhookError::NoUrl(file.to_owned()))
}

/// One hook.
pub struct Webhook {
    url: Url,
    client: Client,
}

impl Webhook {
    /// Reads the URL anew, so that a changed file counts at once.
    ///
    /// # Errors
    /// All but those of the network.
    pub fn new(file: &Path) -> Result<Self, WebhookError> {
        let url = read_url(file)?;
        // Another provider that was installed before serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(concat!("pinrelay/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT);
        if url.scheme() == "http" {
            builder = builder.no_proxy().tls_certs_only([]);
        }
        let client = builder
            .build()
            .map_err(|error| WebhookError::Client(error.without_url().to_string()))?;
        Ok(Self { url, client })
    }

    /// Tells it, up to four times: again after a second, two, and four, where the hook was not
    /// reached, is busy (429) or in trouble (5xx).
    ///
    /// # Errors
    /// What became of the last attempt.
    pub async fn tell(&self, message: &serde_json::Value) -> Result<(), WebhookError> {
        let mut waits = ExponentialBackoff {
            initial_interval: Duration::from_secs(1),
            multiplier: 2.0,
            randomization_factor: 0.2,
            ..ExponentialBackoff::default()
        };
        waits.reset();
        let mut attempt = 1;
        loop {
            let failed = match self.once(message).await {
                Ok(()) => return Ok(()),
                Err(WebhookError::Refused(status)) if status != 429 && status < 500 => {
                    return Err(WebhookError::Refused(status));
                }
                Err(failed) => failed,
            };
            if attempt == ATTEMPTS {
                return Err(failed);
            }
            attempt += 1;
            tokio::time::sleep(waits.next_backoff().unwrap_or(TIMEOUT)).await;
        }
    }

    async fn once(&self, message: &serde_json::Value) -> Result<(), WebhookError> {
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .body(message.to_string());
        let answer = request.send().await.map_err(|error| {
            let mut cause: &dyn std::error::Error = &error.without_url();
            while let Some(inner) = cause.source() {
                cause = inner;
            }
            WebhookError::NotReached(cause.to_string())
        })?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(WebhookError::Refused(status.as_u16())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of two lines one might be an older URL: none of them is taken, and no mixture.
    #[test]
    fn a_file_holds_one_url_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("webhook");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            read_url(&file).map(String::from)
        };
        let one = "https://hooks.example/T0";
        assert_eq!(read(&format!("\n {one} \n\n")).unwrap(), one);
        for text in [
            "https://hooks.example/T0\nhttps://hooks.example/T1\n",
            "https://hooks.example/T0\n# the old one\n",
            "https://hooks.example/\tT0",
            "https://hooks.example/T0 x",
            "",
        ] {
            let error = read(text).unwrap_err();
            assert!(matches!(error, WebhookError::NoUrl(_)), "{text:?}: {error}");
            assert!(!error.to_string().contains("T0"), "{error}");
        }
    }
}
