//! What it means when a server cannot be reached, or lets nobody in: what is wrong, and what to do.
//!
//! Invariant: what the server says of a user is not repeated, nor what stands in the URL but the
//! name of the database.

use std::error::Error as _;
use std::io;

use rustls::CertificateError;
use tokio_postgres::Config;
use tokio_postgres::error::{DbError, SqlState};

use super::place::Host;

/// Why a host is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// What is configured is wrong.
    Config(String),
    /// It may be well later.
    Away(String),
}

impl Refusal {
    pub fn text(self) -> String {
        match self {
            Self::Config(text) | Self::Away(text) => text,
        }
    }

    /// The same with the name of the host before it.
    pub fn at(self, host: &Host) -> Self {
        match self {
            Self::Config(text) => Self::Config(format!("{host}: {text}")),
            Self::Away(text) => Self::Away(format!("{host}: {text}")),
        }
    }
}

/// What a failed attempt to connect means.
pub(super) fn refusal(error: &tokio_postgres::Error, config: &Config) -> Refusal {
    if let Some(said) = error.as_db_error() {
        return said_no(said, config.get_dbname().unwrap_or_default());
    }
    let Some(source) = error.source() else {
        return Refusal::Away(format!(
            "{error}: see that a PostgreSQL server is there, and its log"
        ));
    };
    if let Some(failed) = source.downcast_ref::<io::Error>() {
        let tls = failed.get_ref().and_then(|inner| inner.downcast_ref());
        return match tls {
            Some(tls) => no_tls(tls),
            None => no_way(failed),
        };
    }
    // The library's own words, which hold nothing that is configured.
    let text = source.to_string();
    match text.as_str() {
        "server does not support TLS" => Refusal::Config(
            "the server offers no TLS, and without it events and password would cross the network \
             in the clear: set ssl = on there, with a certificate"
                .into(),
        ),
        "password missing" => Refusal::Config(
            "the server asks for a password, and the URL has none: write it there, as in \
             USER:PASSWORD@HOST"
                .into(),
        ),
        _ => Refusal::Config(format!(
            "no sign-in ({error}: {text}): see the server's pg_hba.conf, and channel_binding in the URL"
        )),
    }
}

fn said_no(said: &DbError, database: &str) -> Refusal {
    let code = said.code();
    let config = |text: String| Refusal::Config(text);
    let away = |what: &str| {
        Refusal::Away(format!(
            "{what} ({}): it is tried again; the server's log says more",
            code.code()
        ))
    };
    if *code == SqlState::INVALID_PASSWORD {
        return config(
            "the password was refused: put right user and password in the URL, or set the role's \
             password on the server"
                .into(),
        );
    }
    if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        return config(
            "the server does not let this user in from here: see the user in the URL, that the role \
             is there and may sign in (LOGIN), and the server's pg_hba.conf"
                .into(),
        );
    }
    if *code == SqlState::INVALID_CATALOG_NAME {
        return config(format!(
            "there is no database {database}: make it there (CREATE DATABASE), or name another in \
             the URL"
        ));
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return config(format!(
            "the user may not connect to the database {database}: GRANT CONNECT ON DATABASE to its \
             role"
        ));
    }
    if *code == SqlState::TOO_MANY_CONNECTIONS {
        return away("the server has no connection left: raise max_connections there");
    }
    match code.code().get(..3) {
        Some("57P") => away("the server is starting or stopping"),
        _ => away("the server refuses the connection"),
    }
}

fn no_tls(error: &rustls::Error) -> Refusal {
    use rustls::Error::InvalidCertificate;
    let names = "the server's certificate is for another name than this host's: name the host in the \
                 URL as the certificate does, or give the server a certificate of its name";
    let unknown = "the server's certificate comes from an authority that is not known here: name the \
                   file of its authority's certificate as [postgres] ca_file";
    match error {
        InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Refusal::Config(names.into()),
        InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => Refusal::Config(unknown.into()),
        InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            Refusal::Config(
                "the server shows the certificate of an authority, signed by itself, as its own: make \
                 one for the server's name that this authority signs, and name the authority's as \
                 [postgres] ca_file"
                    .into(),
            )
        }
        // Both pass, with a new certificate or a clock put right.
        InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => Refusal::Away(
            "the server's certificate has run out: renew it there, or put right this machine's \
             clock"
                .into(),
        ),
        InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => Refusal::Away(
            "the server's certificate is not valid yet: put right this machine's clock".into(),
        ),
        error => Refusal::Config(format!(
            "TLS failed ({error}): see the server's certificate, and [postgres] ca_file"
        )),
    }
}

fn no_way(error: &io::Error) -> Refusal {
    let text = error.to_string();
    let next = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "no server listens there: start it, or see host and port in the URL"
        }
        io::ErrorKind::NotFound => {
            "no server listens on that socket: start it, or see folder and port in the URL"
        }
        io::ErrorKind::PermissionDenied => "give the daemon's user access to the socket",
        io::ErrorKind::TimedOut => {
            "see that the server runs, and that the network lets it be reached"
        }
        _ if text.starts_with("failed to lookup address") => {
            "see the host in the URL, and the name service (/etc/resolv.conf)"
        }
        _ => "see that the server runs, and its log",
    };
    Refusal::Away(format!("{text}: {next}"))
}
