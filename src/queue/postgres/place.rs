//! Where the database is, as its URL says.
//!
//! Invariants: no text of this file holds any of the URL but host names, ports and the name of the
//! database, and that of a parameter that is not understood. What crosses a network is encrypted,
//! and the server proves its name: only on loopback and on Unix sockets nobody stands between.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::config::ChannelBinding;

use crate::secret::Token;

/// Where a server listens if nothing else is said.
const PORT: u16 = 5432;
/// How long a host may take, if the URL does not say.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most that it may say, in seconds.
const MOST_PATIENCE: u64 = 60;

const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];

/// What the daemon sets itself, or does without: it may stand there, and does not count.
const UNUSED: &[&str] = &[
    "application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// A database: its hosts, its name, and who asks. Shows no user and no password.
#[derive(Clone)]
pub struct Place {
    pub(super) hosts: Vec<Host>,
    pub(super) user: String,
    pub(super) password: Option<Token>,
    pub(super) database: String,
    /// Certificates that vouch for the servers; none: the system's.
    pub(super) ca_file: Option<PathBuf>,
    pub(super) channel_binding: ChannelBinding,
    /// How long one host may take to be connected to and to say what it is.
    pub(super) patience: Duration,
    unused: Vec<&'static str>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub at: At,
    pub port: u16,
    /// Encrypted, and the server has to prove its name.
    pub tls: bool,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// By this name or address.
    Name(String),
    /// By the Unix socket in this folder.
    Folder(PathBuf),
}

/// What is wrong with a URL, without the URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoPlace(pub String);

impl Place {
    /// Reads a URL, as libpq has them: `postgres://user:password@host:port,host:port/database`,
    /// parameters behind a `?`, a Unix socket's folder as `host=` or in percent.
    ///
    /// Of `sslmode` there are two kinds. `require`, `verify-ca` and `verify-full` all mean that the
    /// server's certificate is verified with its name, also on loopback; without any, that holds of
    /// every host but loopback and Unix sockets. `disable`, `allow` and `prefer` mean no TLS, and
    /// are refused for any other host.
    ///
    /// # Errors
    /// [`NoPlace`] says what is wrong and what to do.
    pub fn parse(url: &Token, ca_file: Option<PathBuf>) -> Result<Self, NoPlace> {
        let url = Url::split(url.expose())?;
        let mut parameters = Parameters::read(url.query)?;
        let host = parameters.one("host", url.hosts.is_some())?;
        let port = parameters.one("port", url.ports.is_some())?;
        let ports = port.map(|text| text.split(',').map(str::to_owned).collect());
        let hosts = match host {
            Some(text) => text.split(',').map(str::to_owned).collect(),
            None => url.hosts.unwrap_or_default(),
        };
        let hosts = hosts_of(hosts, ports.or(url.ports).unwrap_or_default())?;
        let user = parameters.one("user", url.user.is_some())?.or(url.user);
        let password = parameters.one("password", url.password.is_some())?;
        let database = parameters.one("dbname", url.database.is_some())?;
        let (password, database) = (password.or(url.password), database.or(url.database));
        let tls = Tls::read(parameters.take("sslmode"))?;
        let root = parameters.take("sslrootcert");
        let patience = patience(parameters.take("connect_timeout"))?;
        let channel_binding = channel_binding(parameters.take("channel_binding"))?;
        check_target(parameters.get("target_session_attrs"))?;
        if parameters.get("gssencmode") == Some("require") {
            return no(
                "asks for GSSAPI (gssencmode=require), which is not spoken here: take it out",
            );
        }
        let unused = UNUSED.iter().copied();
        let unused = unused.filter(|name| parameters.take(name).is_some());
        let unused = unused.collect();
        let ca_file = the_one(ca_file, root)?;
        parameters.finish()?;
        Ok(Self {
            hosts: tls.on(hosts)?,
            user: named(user, "user, who signs in: write it before the host")?,
            password: password.map(Token::new),
            database: named(database, "database: write its name behind the hosts")?,
            ca_file,
            channel_binding,
            patience,
            unused,
        })
    }

    /// Parameters of the URL that do not count, for the daemon sets itself what they say.
    pub fn unused(&self) -> &[&'static str] {
        &self.unused
    }
}

/// Hosts and database, for people.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, host) in self.hosts.iter().enumerate() {
            write!(f, "{}{host}", if i == 0 { "" } else { "," })?;
        }
        write!(f, ", database {}", self.database)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

impl Host {
    /// On this machine, as its name says.
    fn is_here(&self) -> bool {
        match &self.at {
            At::Folder(_) => true,
            At::Name(name) => {
                let address = name.parse::<IpAddr>();
                name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|ip| ip.is_loopback())
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Name(name) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            At::Name(name) => write!(f, "{name}:{}", self.port),
            At::Folder(folder) => write!(f, "{}:{}", folder.display(), self.port),
        }
    }
}

fn no<T>(what: impl Into<String>) -> Result<T, NoPlace> {
    Err(NoPlace(format!("the database's URL {}", what.into())))
}

fn named(text: Option<String>, what: &str) -> Result<String, NoPlace> {
    let text = text.filter(|text| !text.is_empty());
    let form = "as in postgres://USER@HOST/DATABASE";
    text.map_or_else(|| no(format!("names no {what}, {form}")), Ok)
}

/// The pieces of a URL, decoded, but the query.
struct Url<'a> {
    user: Option<String>,
    password: Option<String>,
    hosts: Option<Vec<String>>,
    /// One for each host, empty where it has none.
    ports: Option<Vec<String>>,
    database: Option<String>,
    query: &'a str,
}

impl<'a> Url<'a> {
    fn split(url: &'a str) -> Result<Self, NoPlace> {
        let Some(rest) = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme)) else {
            return no("is none: it has to begin with postgresql:// or postgres://");
        };
        if rest.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return no(
                "holds blanks or control characters: write it on one line, and a blank in \
                       it as %20",
            );
        }
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match before.split_once('/') {
            Some((authority, path)) => (authority, Some(path)),
            None => (before, None),
        };
        let (person, hosts) = match authority.split_once('@') {
            Some((person, hosts)) => (Some(person), hosts),
            None => (None, authority),
        };
        // A password with one of these as it stands would come apart, and a piece of it pass for a
        // name that may be shown.
        if [hosts, path.unwrap_or_default(), query]
            .iter()
            .any(|piece| piece.contains('@'))
        {
            return no(
                "has an @ where none belongs: write @ / ? in a user or a password as %40 \
                       %2F %3F",
            );
        }
        let (user, password) = match person.map(|person| person.split_once(':')) {
            Some(Some((user, password))) => (Some(user), Some(password)),
            Some(None) => (person, None),
            None => (None, None),
        };
        let (hosts, ports) = authority_hosts(hosts)?;
        let decoded = |text: Option<&str>| text.map(decode).transpose();
        Ok(Self {
            user: decoded(user)?,
            password: decoded(password)?.filter(|password| !password.is_empty()),
            hosts,
            ports,
            database: decoded(path)?.filter(|database| !database.is_empty()),
            query,
        })
    }
}

type Texts = Option<Vec<String>>;

/// `host:port,[v6]:port,%2Ffolder`.
fn authority_hosts(text: &str) -> Result<(Texts, Texts), NoPlace> {
    if text.is_empty() {
        return Ok((None, None));
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for one in text.split(',') {
        let (host, port) = match one.strip_prefix('[') {
            Some(v6) => match v6.split_once(']') {
                Some((host, "")) => (host, ""),
                Some((host, port)) if port.starts_with(':') => (host, &port[1..]),
                _ => {
                    return no(
                        "has a [ without its ] before a port: write an IPv6 address as \
                                [::1]:5432",
                    );
                }
            },
            None => one.split_once(':').unwrap_or((one, "")),
        };
        hosts.push(decode(host)?);
        ports.push(port.to_owned());
    }
    let has_ports = ports.iter().any(|port| !port.is_empty());
    Ok((Some(hosts), has_ports.then_some(ports)))
}

fn hosts_of(hosts: Vec<String>, ports: Vec<String>) -> Result<Vec<Host>, NoPlace> {
    if hosts.is_empty() {
        return no("names no host: write it before the database, as in \
                   postgres://USER@HOST/DATABASE, or a Unix socket's folder as ?host=/FOLDER");
    }
    if ports.len() > 1 && ports.len() != hosts.len() {
        return no("has another number of ports than of hosts: one for all, or one for each");
    }
    let port = |i: usize| match ports.get(i).or(ports.first()).map(String::as_str) {
        None | Some("") => Ok(PORT),
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port > 0 => Ok(port),
            _ => no(
                "has a port that is none: 1 to 65535; if this is a piece of the password, write \
                     : / ? @ in it as %3A %2F %3F %40",
            ),
        },
    };
    let hosts = hosts.into_iter().enumerate().map(|(i, host)| {
        let at = match host.starts_with('/') {
            true => At::Folder(Path::new(&host).to_owned()),
            false => At::Name(host_name(host)?),
        };
        let (port, tls) = (port(i)?, false);
        Ok(Host { at, port, tls })
    });
    hosts.collect()
}

/// A name that can be shown as it is, and looked up.
fn host_name(name: String) -> Result<String, NoPlace> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let good = !name.is_empty() && name.len() <= 253 && name.chars().all(plain);
    match good || name.parse::<IpAddr>().is_ok() {
        true => Ok(name),
        false => no(
            "names a host that cannot be one: a name, an address, or the whole path of a \
                     Unix socket's folder, with commas between several",
        ),
    }
}

/// `%41` as `A`. Nothing is a plus but a plus.
fn decode(text: &str) -> Result<String, NoPlace> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let digits = after
            .get(..2)
            .filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(byte) = digits.and_then(|two| u8::from_str_radix(two, 16).ok()) else {
            return no("has a % without two hexadecimal digits behind it: write % itself as %25");
        };
        bytes.push(byte);
        rest = &after[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    match String::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => Ok(text),
        _ => no("holds something in percent that is no text"),
    }
}

/// What stands behind the `?`.
struct Parameters {
    left: Vec<(String, String)>,
    /// What stands beside a password may be a piece of it.
    beside_a_password: bool,
}

impl Parameters {
    fn read(query: &str) -> Result<Self, NoPlace> {
        let mut read: Vec<(String, String)> = Vec::new();
        for one in query.split('&').filter(|one| !one.is_empty()) {
            let Some((name, value)) = one.split_once('=') else {
                return no(
                    "has a parameter without a value: write NAME=VALUE, with & between them, \
                           and & in a value as %26",
                );
            };
            let (name, value) = (decode(name)?, decode(value)?);
            if read.iter().any(|(known, _)| *known == name) {
                return no("has a parameter twice: leave one");
            }
            read.push((name, value));
        }
        Ok(Self {
            beside_a_password: read.iter().any(|(name, _)| name == "password"),
            left: read,
        })
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.left.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// What is taken is understood. Without a value it is as if it were not there.
    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.left.iter().position(|(known, _)| known == name)?;
        Some(self.left.remove(at).1).filter(|value| !value.is_empty())
    }

    /// What may stand before the `?` as well, but only once.
    fn one(&mut self, name: &'static str, is_there: bool) -> Result<Option<String>, NoPlace> {
        match self.take(name) {
            Some(_) if is_there => no(format!(
                "says `{name}` twice, before the ? and behind it: \
                                               leave one"
            )),
            value => Ok(value),
        }
    }

    /// What is left is not understood, and what it says might matter.
    fn finish(self) -> Result<(), NoPlace> {
        let Some((name, _)) = self.left.first() else {
            return Ok(());
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_name = name.len() <= 32 && name.chars().all(plain);
        let named = match is_name && !self.beside_a_password {
            true => format!(" `{name}`"),
            false => String::new(),
        };
        no(format!(
            "has a parameter{named} that is not understood here: take it out"
        ))
    }
}

/// What `sslmode` makes of the hosts.
enum Tls {
    /// Nothing is said.
    Elsewhere,
    /// On every host; a Unix socket has none.
    Everywhere,
    /// Where that can do no harm.
    Nowhere,
}

impl Tls {
    fn read(mode: Option<String>) -> Result<Self, NoPlace> {
        match mode.as_deref() {
            None => Ok(Self::Elsewhere),
            Some("require" | "verify-ca" | "verify-full") => Ok(Self::Everywhere),
            Some("disable" | "allow" | "prefer") => Ok(Self::Nowhere),
            Some(_) => no("has an sslmode that is none: write verify-full"),
        }
    }

    fn on(&self, mut hosts: Vec<Host>) -> Result<Vec<Host>, NoPlace> {
        for host in &mut hosts {
            host.tls = match self {
                Self::Elsewhere => !host.is_here(),
                Self::Everywhere => matches!(host.at, At::Name(_)),
                Self::Nowhere if host.is_here() => false,
                Self::Nowhere => {
                    return no(format!(
                        "has an sslmode that would send events and password in the \
                                       clear to {host}: write sslmode=verify-full; less is taken \
                                       for loopback and Unix sockets alone"
                    ));
                }
            };
        }
        Ok(hosts)
    }
}

/// Two places that say the same are one.
fn the_one(ca_file: Option<PathBuf>, root: Option<String>) -> Result<Option<PathBuf>, NoPlace> {
    let system = root.as_deref() == Some("system");
    match (ca_file, root.filter(|_| !system).map(PathBuf::from)) {
        (Some(ca_file), Some(root)) if ca_file != root => no(
            "names another file of certificates (sslrootcert) than postgres.ca_file does: leave one",
        ),
        (Some(_), None) if system => no("asks for the system's certificates \
                                         (sslrootcert=system), and postgres.ca_file names others: \
                                         leave one"),
        (ca_file, root) => Ok(ca_file.or(root)),
    }
}

fn patience(seconds: Option<String>) -> Result<Duration, NoPlace> {
    match seconds.map(|text| text.parse::<u64>()) {
        None => Ok(PATIENCE),
        Some(Ok(seconds)) if (1..=MOST_PATIENCE).contains(&seconds) => {
            Ok(Duration::from_secs(seconds))
        }
        Some(_) => no(format!(
            "has a connect_timeout that is none: 1 to {MOST_PATIENCE}, seconds"
        )),
    }
}

fn channel_binding(text: Option<String>) -> Result<ChannelBinding, NoPlace> {
    match text.as_deref() {
        None | Some("prefer") => Ok(ChannelBinding::Prefer),
        Some("require") => Ok(ChannelBinding::Require),
        Some("disable") => Ok(ChannelBinding::Disable),
        Some(_) => no("has a channel_binding that is none: prefer, require or disable"),
    }
}

/// The server that takes writes is looked for, whatever is said; another is of no use.
fn check_target(text: Option<&str>) -> Result<(), NoPlace> {
    match text {
        None | Some("any" | "read-write" | "primary") => Ok(()),
        Some(_) => no(
            "asks for a server that takes no writes (target_session_attrs), and the queue \
                       is written: take it out",
        ),
    }
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
