//! One connection to the server that takes writes, with its role, and the notices that came on it.
//!
//! Invariants: a notice that the server sent before it answered is counted before the answer is
//! known. No text holds a password, a user or the URL. Nothing is ever cancelled on the server.

use std::error::Error as _;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::place::{At, Host, Place};
use super::refusal::{Refusal, refusal};
use super::roots;
use crate::queue::contract::OpenError;

/// The oldest server that will do.
const OLDEST: u32 = 15;
/// A dead host is noticed by these within 30 s, never by a limit on a statement: a commit may wait
/// for its standby as long as it takes.
const SILENCE: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;

/// What each session begins with: whatever role, database or server have as defaults must not keep
/// a warning from us, or end what has to be waited for. What waits for a standby says so itself; a
/// number out of a sequence need not, for what is committed under it comes later in the log.
const BEGIN: &str = "SET client_min_messages = warning; SET statement_timeout = 0; \
                     SET lock_timeout = 0; SET idle_in_transaction_session_timeout = '30s'; \
                     SET idle_session_timeout = 0; SET synchronous_commit = local";

const WHAT: &str = "SELECT current_setting('server_version_num'), pg_is_in_recovery(), \
                    current_setting('default_transaction_read_only')";

/// Of a server that is written.
const TIMELINE: &str = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";

/// Why there is no connection. Each names its object and the next step.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkError {
    /// What is configured is wrong, and waiting changes nothing.
    #[error("{0}")]
    Config(String),
    /// The database cannot be reached, or does not take writes now.
    #[error("{0}")]
    Away(String),
}

impl LinkError {
    /// Of who cannot wait.
    pub fn of_open(self) -> OpenError {
        match self {
            Self::Config(why) => OpenError::Foreign(why),
            Self::Away(why) => OpenError::Io(why),
        }
    }
}

/// The highest timeline that any connection of this process was on. Clones share it.
#[derive(Clone, Default)]
pub struct Newest(Arc<AtomicU64>);

/// A connection. Dropped, it hangs up at once, also while an answer is awaited, which cancels nothing
/// that the server has begun: a COMMIT that waits for its standby goes on there. A transaction that
/// was not told to commit is rolled back by the server.
pub struct Link {
    client: Client,
    host: String,
    notices: Arc<Notices>,
    ended: watch::Receiver<Option<Arc<str>>>,
    task: AbortHandle,
}

#[derive(Default)]
struct Notices {
    count: AtomicU64,
    last: Mutex<Option<String>>,
}

/// A server that was reached.
pub(super) struct Found {
    link: Link,
    pub what: What,
}

/// What it says of itself.
pub(super) struct What {
    pub version: u32,
    pub is_standby: bool,
    /// Why it takes no writes, if it takes none.
    pub no_writes: Option<&'static str>,
    /// `None`: it does not say, as some managed ones.
    pub timeline: Option<u64>,
}

impl Link {
    /// Connects to the host that takes writes, on the highest timeline if there are several: a
    /// primary that was cut off still says that it takes them. So all hosts are asked, and one that
    /// does not answer is waited for as long as the URL says.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn open(place: &Place, role: &str, newest: &Newest) -> Result<Self, LinkError> {
        choose(place, ask_all(place, role).await, newest)
    }

    /// To ask through.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where it leads, for people: host and port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// How many notices have come so far: one that comes before COMMIT returns is counted then.
    pub fn notices(&self) -> u64 {
        self.notices.count.load(Ordering::SeqCst)
    }

    /// The last notice's code and first line.
    pub fn last_notice(&self) -> Option<String> {
        let last = self.notices.last.lock();
        last.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it is broken.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Resolves when it is broken, and says why.
    pub async fn closed(&self) -> String {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(why) => why.as_deref().unwrap_or_default().to_owned(),
            Err(_) => "the connection's task has ended".to_owned(),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // A client that is dropped waits for its answers otherwise.
        self.task.abort();
    }
}

/// Of what the hosts said, in their order, the one to use.
pub(super) fn choose(
    place: &Place,
    found: Vec<Result<Found, Refusal>>,
    newest: &Newest,
) -> Result<Link, LinkError> {
    let mut reached = Vec::new();
    let mut failed = Vec::new();
    for (host, found) in place.hosts.iter().zip(found) {
        match found {
            Ok(Found { what, .. }) if what.version < OLDEST => {
                failed.push(Refusal::Config(format!(
                    "{host}: PostgreSQL {} is there, and {OLDEST} is the oldest that will do: \
                     upgrade the server, or name another",
                    what.version
                )));
            }
            Ok(Found { what, link }) => match what.no_writes {
                None => reached.push((what.timeline, link)),
                Some(why) => failed.push(Refusal::Away(format!("{host}: {why}"))),
            },
            Err(refusal) => failed.push(refusal.at(host)),
        }
    }
    // Of equals the first.
    reached.reverse();
    let Some((timeline, link)) = reached.into_iter().max_by_key(|(timeline, _)| *timeline) else {
        return Err(none(place, failed));
    };
    let Some(timeline) = timeline else {
        return Ok(link);
    };
    let seen = newest.0.fetch_max(timeline, Ordering::AcqRel);
    if timeline >= seen {
        return Ok(link);
    }
    let mut text = format!(
        "{}: it takes writes on timeline {timeline}, and there was one on timeline {seen}: it is an \
         old primary that was cut off, and what it takes would be lost: make it a standby of the new \
         one, and name the new one in the URL; if the server was put back on purpose, restart pinrelay",
        link.host
    );
    for other in failed {
        text.push_str("; ");
        text.push_str(&other.text());
    }
    Err(LinkError::Away(text))
}

/// Nobody takes writes.
fn none(place: &Place, failed: Vec<Refusal>) -> LinkError {
    let one = failed.len() == 1;
    let is_config = failed
        .iter()
        .all(|refusal| matches!(refusal, Refusal::Config(_)));
    let texts = failed.into_iter().map(Refusal::text);
    let texts = texts.collect::<Vec<_>>().join("; ");
    let text = match one {
        true => texts,
        false => format!("none of the hosts {place} takes writes: {texts}"),
    };
    match is_config {
        true => LinkError::Config(text),
        false => LinkError::Away(text),
    }
}

/// Asks every host at once, and gives what each says in their order.
pub(super) async fn ask_all(place: &Place, role: &str) -> Vec<Result<Found, Refusal>> {
    let tls = match place.hosts.iter().any(|host| host.tls) {
        true => roots::tls(place.ca_file.clone(), place.patience)
            .await
            .map(Some),
        false => Ok(None),
    };
    let mut asking = JoinSet::new();
    for (i, host) in place.hosts.iter().enumerate() {
        let (config, name) = (config(place, host, role), host.to_string());
        let tls = match (host.tls, &tls) {
            (false, _) => Ok(None),
            (true, Ok(tls)) => Ok(tls.clone()),
            (true, Err(refusal)) => Err(refusal.clone()),
        };
        let patience = place.patience;
        asking.spawn(async move {
            let asked = async { ask(&config, tls?, name).await };
            let silent = || {
                let seconds = patience.as_secs();
                let text = format!(
                    "does not answer within {seconds} s: see that the server runs, and that the \
                     network lets it be reached"
                );
                Err(Refusal::Away(text))
            };
            (
                i,
                timeout(patience, asked).await.unwrap_or_else(|_| silent()),
            )
        });
    }
    let mut all: Vec<_> = (place.hosts.iter()).map(|_| None).collect();
    while let Some(asked) = asking.join_next().await {
        if let Ok((i, found)) = asked {
            all[i] = Some(found);
        }
    }
    let lost = || Err(Refusal::Away("the attempt was given up".into()));
    all.into_iter()
        .map(|found| found.unwrap_or_else(lost))
        .collect()
}

async fn ask(
    config: &Config,
    tls: Option<MakeRustlsConnect>,
    host: String,
) -> Result<Found, Refusal> {
    let link = match tls {
        Some(tls) => dial(config, tls, host).await,
        None => dial(config, NoTls, host).await,
    };
    let link = link.map_err(|error| refusal(&error, config))?;
    let what = what(link.client()).await;
    let what = what.map_err(|error| refusal(&error, config))?;
    Ok(Found { link, what })
}

/// One host's alone: the name that its certificate is held to is its own.
fn config(place: &Place, host: &Host, role: &str) -> Config {
    let mut config = Config::new();
    match &host.at {
        At::Name(name) => config.host(name),
        At::Folder(folder) => config.host_path(folder),
    };
    if let Some(password) = &place.password {
        config.password(password.expose());
    }
    config
        .port(host.port)
        .user(&place.user)
        .dbname(&place.database)
        .application_name(format!("pinrelay {role}"))
        .channel_binding(place.channel_binding)
        .ssl_mode(match host.tls {
            true => SslMode::Require,
            false => SslMode::Disable,
        })
        // Of each address; a name may have a dead one before one that lives.
        .connect_timeout(place.patience / 2)
        .tcp_user_timeout(SILENCE)
        .keepalives(true)
        .keepalives_idle(IDLE)
        .keepalives_interval(INTERVAL)
        .keepalives_retries(RETRIES);
    config
}

async fn dial<T>(config: &Config, tls: T, host: String) -> Result<Link, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await?;
    let notices = Arc::new(Notices::default());
    let (end, ended) = watch::channel(None);
    let kept = notices.clone();
    let task = tokio::spawn(async move {
        let why = keep(connection, &kept).await;
        end.send_replace(Some(why.into()));
    });
    Ok(Link {
        client,
        host,
        notices,
        ended,
        task: task.abort_handle(),
    })
}

/// Drives a connection until it ends, and says why it did.
async fn keep<T>(mut connection: Connection<Socket, T>, notices: &Notices) -> String
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        match std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            // What came before this notice has been handed on, what comes behind it has not yet.
            Some(Ok(AsyncMessage::Notice(notice))) => {
                let text = format!("{}: {}", notice.code().code(), notice.message());
                *notices.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
                notices.count.fetch_add(1, Ordering::SeqCst);
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return cause(&error),
            None => return "it was hung up".to_owned(),
        }
    }
}

/// What happened, without what was sent.
fn cause(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{}: {}", said.code().code(), said.message());
    }
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    source.map_or_else(|| error.to_string(), ToString::to_string)
}

async fn what(client: &Client) -> Result<What, tokio_postgres::Error> {
    let [version, standby, read_only] = row(client, WHAT).await?;
    let version = version.parse::<u32>().map_or(0, |number| number / 10_000);
    // An older one does not know all of what comes.
    if version >= OLDEST {
        client.batch_execute(BEGIN).await?;
    }
    let no_writes = match (standby.as_str(), read_only.as_str()) {
        ("f", "off") => None,
        ("f", _) => Some(
            "it takes no writes, for default_transaction_read_only is on: switch it off for the \
             server, the database and the role",
        ),
        _ => Some(
            "it is a standby and takes no writes: name the primary in the URL, beside it or in its \
             place, or promote it",
        ),
    };
    let timeline = match no_writes {
        Some(_) => None,
        None => match row(client, TIMELINE).await {
            Ok([timeline]) => u64::from_str_radix(&timeline, 16).ok(),
            // Some managed servers do not say, and answer for that themselves.
            Err(error) if error.as_db_error().is_some() && !client.is_closed() => None,
            Err(error) => return Err(error),
        },
    };
    Ok(What {
        version,
        is_standby: standby != "f",
        no_writes,
        timeline,
    })
}

/// The first row, as texts.
async fn row<const N: usize>(
    client: &Client,
    sql: &str,
) -> Result<[String; N], tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    let rows = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let text = |at: usize| rows.and_then(|row| row.get(at)).unwrap_or_default();
    Ok(std::array::from_fn(|at| text(at).to_owned()))
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
