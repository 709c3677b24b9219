//! The connection to Pinterest: the only file that names reqwest.

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Response, Url, redirect, retry, tls};
use tokio::time::{Instant, timeout, timeout_at};

use super::headers::signals;
use crate::clock::Clock;
use crate::deliver::destination::{NoReply, Reply, Transport};
use crate::deliver::options::Options;
use crate::files;
use crate::secret::SharedToken;

/// A sound answer to 1000 events has some hundred KiB.
const LONGEST_ANSWER: usize = 8 << 20;
/// Shorter texts are no tokens of Pinterest's.
const SHORTEST_TOKEN: usize = 8;
/// Longest time for name look-up, connection and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections are given up before usual servers close them, so that a request seldom
/// meets a closing one.
const IDLE: Duration = Duration::from_secs(50);
/// After a time-out, for an answer that is there already.
const LAST_LOOK: Duration = Duration::from_millis(500);
/// How long a client may take to be made anew: it reads the certificate authorities.
const MAKING: Duration = Duration::from_secs(2);

/// Why there can be no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The base URL cannot be used.
    #[error("pinterest.base_url {url:?} {problem}")]
    BaseUrl {
        /// As configured.
        url: String,
        /// What is wrong and what to do.
        problem: &'static str,
    },
    /// Not an ad account id.
    #[error(
        "pinterest.ad_account_id {0:?} is not 1 to 18 digits; copy the id from Pinterest Ads Manager"
    )]
    AdAccountId(String),
    /// The TLS set-up failed.
    #[error(
        "no HTTPS client can be built: {0}; install the system's CA certificates \
         (package ca-certificates)"
    )]
    Tls(String),
    /// What the environment names for the certificate authorities is none.
    #[error("no HTTPS client can be built: {0}; name a file of certificates there, or unset it")]
    Roots(String),
}

/// Sends requests to one ad account.
///
/// Invariant: `way` is used for as long as all is well over it. After any failure, before a probe
/// and after a reload it is made anew: the CA certificates are read again, and no connection and no
/// address of before is used. One that cannot be made leaves the one before in use.
pub struct Http {
    way: Mutex<Client>,
    is_stale: AtomicBool,
    make: Make,
    url: Url,
    token: SharedToken,
    clock: Clock,
}

/// What a client is made by.
#[derive(Clone)]
struct Make {
    is_loopback: bool,
    is_plain: bool,
    most_idle: usize,
    timeout: Duration,
}

impl Make {
    /// Reads the CA certificates.
    fn client(&self) -> Result<Client, ClientError> {
        let mut builder = Client::builder()
            .user_agent(concat!("pinrelay/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT.min(self.timeout))
            .pool_max_idle_per_host(self.most_idle)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            .tls_version_min(tls::Version::TLS_1_2);
        if self.is_loopback {
            builder = builder.no_proxy();
        }
        if self.is_plain {
            // Plain HTTP needs no CA store, so a missing one is no error.
            builder = builder.tls_certs_only([]);
        } else {
            files::check_roots().map_err(ClientError::Roots)?;
            builder = builder.https_only(true);
        }
        (builder.build()).map_err(|error| ClientError::Tls(root_cause(&error)))
    }
}

impl Http {
    /// Prepares a client; connects to nothing yet.
    pub fn new(options: &Options, token: SharedToken, clock: Clock) -> Result<Self, ClientError> {
        let url = endpoint(options)?;
        // Another provider that was installed before serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let make = Make {
            is_loopback: loopback(&url),
            is_plain: url.scheme() == "http",
            most_idle: options.limits.max_in_flight,
            timeout: options.request_timeout,
        };
        Ok(Self {
            way: Mutex::new(make.client()?),
            is_stale: AtomicBool::new(false),
            make,
            url,
            token,
            clock,
        })
    }

    async fn client(&self, anew: bool) -> Client {
        let way = || self.way.lock().unwrap_or_else(PoisonError::into_inner);
        let is_stale = self.is_stale.swap(false, Ordering::AcqRel);
        if !is_stale && !anew {
            return way().clone();
        }
        let make = self.make.clone();
        let made = tokio::task::spawn_blocking(move || make.client());
        match tokio::time::timeout(MAKING, made).await {
            Ok(Ok(Ok(client))) => *way() = client,
            Ok(Ok(Err(error))) => tracing::error!("{error}; the one before stays in use"),
            Ok(Err(error)) => tracing::error!("no HTTPS client can be built, a bug: {error}"),
            Err(_) => tracing::error!(
                "the certificate authorities could not be read in time: the HTTPS client from \
                 before stays in use; see the file system that they are on"
            ),
        }
        way().clone()
    }

    async fn exchange(&self, body: Bytes, anew: bool) -> Result<Reply, NoReply> {
        let token = self.token.get();
        let bearer = format!("Bearer {}", token.expose());
        let mut bearer = HeaderValue::from_str(&bearer)
            .map_err(|_| NoReply::NotSent("the token does not fit a header".into()))?;
        bearer.set_sensitive(true);
        let client = self.client(anew).await;
        let deadline = Instant::now() + self.make.timeout;
        let request = client
            .post(self.url.clone())
            .header(AUTHORIZATION, bearer)
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        let response = in_time(deadline, request.send()).await?;
        let header = |name: &str| response.headers().get(name)?.to_str().ok();
        let (status, signals) = (
            response.status().as_u16(),
            signals(self.clock.now(), header),
        );
        let body = match in_time(deadline, read(response)).await {
            Ok(body) => without(token.expose(), body),
            // What is refused is refused, whatever became of the reasons. What may be judged
            // by position cannot do without the list.
            Err(_) if !matches!(status, 200..=299 | 422) => Bytes::new(),
            Err(lost) => return Err(lost),
        };
        Ok(Reply {
            status,
            signals,
            body,
        })
    }
}

impl Transport for Http {
    async fn send(&self, body: Bytes, anew: bool) -> Result<Reply, NoReply> {
        let reply = self.exchange(body, anew).await;
        if reply.is_err() {
            self.is_stale.store(true, Ordering::Release);
        }
        reply
    }

    async fn renew(&self) {
        self.client(true).await;
    }
}

/// What comes before the deadline, or is there already when that is noticed: a process that was
/// frozen finds its timers over first, and behind them what came meanwhile.
async fn in_time<T, E>(
    deadline: Instant,
    what: impl Future<Output = Result<T, E>>,
) -> Result<T, NoReply>
where
    NoReply: From<E>,
{
    let mut what = std::pin::pin!(what);
    let come = match timeout_at(deadline, what.as_mut()).await {
        Ok(come) => Ok(come),
        Err(_) => timeout(LAST_LOOK, what).await,
    };
    match come {
        Ok(come) => come.map_err(NoReply::from),
        Err(_) => Err(NoReply::Unknown("time-out".into())),
    }
}

/// The answer without the token: what is said of a token may quote it, and comes to be logged
/// and shown. A text too short to be a real token stays, for it may be part of any word.
fn without(token: &str, body: Bytes) -> Bytes {
    if token.len() < SHORTEST_TOKEN {
        return body;
    }
    let finder = memchr::memmem::Finder::new(token);
    if finder.find(&body).is_none() {
        return body;
    }
    let (mut out, mut from) = (BytesMut::with_capacity(body.len()), 0);
    for at in finder.find_iter(&body) {
        out.extend_from_slice(&body[from..at]);
        out.extend_from_slice("…".as_bytes());
        from = at + token.len();
    }
    out.extend_from_slice(&body[from..]);
    out.freeze()
}

async fn read(mut response: Response) -> Result<Bytes, NoReply> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err(NoReply::Unknown("an endless answer".into()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

impl From<reqwest::Error> for NoReply {
    fn from(error: reqwest::Error) -> Self {
        no_reply(&error)
    }
}

fn no_reply(error: &reqwest::Error) -> NoReply {
    let cause = root_cause(error);
    if error.is_connect() || error.is_builder() {
        NoReply::NotSent(format!("no connection: {cause}"))
    } else if error.is_timeout() {
        NoReply::Unknown("time-out".into())
    } else {
        NoReply::Unknown(format!("broken connection: {cause}"))
    }
}

/// The innermost error, which says what happened; the outer ones repeat the URL.
fn root_cause(error: &reqwest::Error) -> String {
    let Some(mut cause) = error.source() else {
        return "invalid set-up".to_owned();
    };
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn endpoint(options: &Options) -> Result<Url, ClientError> {
    let id = &options.ad_account_id;
    if id.is_empty() || id.len() > 18 || !id.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ClientError::AdAccountId(id.clone()));
    }
    let wrong = |problem| ClientError::BaseUrl {
        url: options.base_url.clone(),
        problem,
    };
    let base = options.base_url.trim_end_matches('/');
    let mut url = Url::parse(&format!("{base}/ad_accounts/{id}/events"))
        .map_err(|_| wrong("is not a URL; the usual one is https://api.pinterest.com/v5"))?;
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err(wrong(
            "holds more than host and path; leave out query, fragment and user",
        ));
    }
    match url.scheme() {
        "https" => {}
        "http" if loopback(&url) => {}
        "http" => {
            return Err(wrong(
                "would send the token in the clear; use https (plain http is for loopback alone)",
            ));
        }
        _ => return Err(wrong("is not an https URL")),
    }
    if options.test {
        url.set_query(Some("test=true"));
    }
    Ok(url)
}

fn loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
