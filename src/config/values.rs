//! From the text of a value to its type. Each parser says what it expects, never what it got:
//! a secret that strayed into the wrong key must not come back in an error.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::units;
use crate::deliver::CallLimit;
use crate::transform;

/// A value, or what was expected.
pub type Parsed<T> = Result<T, String>;

/// The kinds of value, as the file writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// An integer.
    Number,
    /// `true` or `false`.
    Flag,
    /// A string like `"200ms"`.
    Duration,
    /// A string like `"2MiB"`, or an integer of bytes.
    Size,
    /// An integer, or `"auto"`.
    Calls,
    /// An array of strings without commas; as one text, as a variable has it, with commas between.
    List,
}

impl Kind {
    /// In words, for errors and the reference.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Number => "an integer",
            Self::Flag => "true or false",
            Self::Duration => "a duration like \"200ms\"",
            Self::Size => "a size like \"2MiB\"",
            Self::Calls => "an integer, or \"auto\"",
            Self::List => "a list of strings",
        }
    }
}

/// Where Pinterest's API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    https: bool,
    loopback: bool,
}

impl BaseUrl {
    /// Without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is Pinterest's own.
    pub fn is_pinterests(&self) -> bool {
        let rest = self.text.strip_prefix("https://api.pinterest.com");
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Needs a CA store.
    pub const fn is_https(&self) -> bool {
        self.https
    }

    /// On this machine: http is allowed and no proxy is used.
    pub const fn is_loopback(&self) -> bool {
        self.loopback
    }
}

pub(super) fn text(value: &str) -> Parsed<String> {
    Ok(value.to_owned())
}

/// What stands between the commas of a [`Kind::List`] as one text, without what is empty.
pub fn entries(text: &str) -> impl Iterator<Item = &str> {
    let entries = text.split(',').map(str::trim);
    entries.filter(|entry| !entry.is_empty())
}

pub(super) fn list(value: &str) -> Parsed<Vec<String>> {
    Ok(entries(value).map(str::to_owned).collect())
}

/// Keys of a product.
pub(super) fn product_keys(value: &str) -> Parsed<Vec<String>> {
    let keys = list(value)?;
    match transform::content_ids(&keys) {
        Ok(_) => Ok(keys),
        Err(_) => {
            Err("keys of a product without a dot, each once, like [\"variant_id\", \"sku\"]".into())
        }
    }
}

/// Codes of states of the US.
pub(super) fn states(value: &str) -> Parsed<Vec<String>> {
    let states = list(value)?;
    match states
        .iter()
        .all(|state| transform::limited_state(state).is_some())
    {
        true => Ok(states),
        false => Err("codes of states of the United States, like [\"CA\"]".into()),
    }
}

pub(super) fn path(value: &str) -> Parsed<PathBuf> {
    match value.trim() {
        "" => Err("a path".into()),
        _ => Ok(PathBuf::from(value)),
    }
}

/// A name that needs no quotes, with room for what test mode puts behind it.
pub(super) fn schema(value: &str) -> Parsed<String> {
    const LONGEST: usize = 51;
    let plain = |b: u8| b.is_ascii_lowercase() || b == b'_';
    let first = value.bytes().next().is_some_and(plain);
    let rest = value.bytes().all(|b| plain(b) || b.is_ascii_digit());
    // PostgreSQL keeps these for itself.
    let reserved = value.starts_with("pg_") || value == "information_schema";
    match first && rest && value.len() <= LONGEST && !reserved {
        true => Ok(value.to_owned()),
        false => Err(format!(
            "a name of at most {LONGEST} of a-z, 0-9 and _ that begins with no digit and not with pg_"
        )),
    }
}

/// Empty is the same as unset.
pub(super) fn optional<T>(parse: impl Fn(&str) -> Parsed<T>) -> impl Fn(&str) -> Parsed<Option<T>> {
    move |value| match value {
        "" => Ok(None),
        _ => parse(value).map(Some),
    }
}

pub(super) fn loopback(value: &str) -> Parsed<SocketAddr> {
    match value.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(address),
        _ => Err("a loopback address and port, like \"127.0.0.1:9464\"".into()),
    }
}

pub(super) fn address(value: &str) -> Parsed<SocketAddr> {
    let expected = "an address and a port, like \"127.0.0.1:8080\" or \"[::]:8443\"";
    value.parse().map_err(|_| expected.into())
}

pub(super) fn flag(value: &str) -> Parsed<bool> {
    value.parse().map_err(|_| "true or false".into())
}

pub(super) fn number(range: RangeInclusive<u32>) -> impl Fn(&str) -> Parsed<u32> {
    move |value| match value.parse() {
        Ok(n) if range.contains(&n) => Ok(n),
        _ => Err(format!(
            "an integer from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

/// Calls a minute.
pub(super) fn calls(value: &str) -> Parsed<CallLimit> {
    const MOST: u32 = 1_000_000;
    match (value, value.parse()) {
        ("auto", _) => Ok(CallLimit::Auto),
        (_, Ok(n)) if n <= MOST => Ok(CallLimit::AtMost(n)),
        _ => Err(format!("\"auto\", or an integer from 0 to {MOST}")),
    }
}

pub(super) fn duration(least: &str, most: &str) -> impl Fn(&str) -> Parsed<Duration> {
    let range = units::duration(least).and_then(|least| Ok(least..=units::duration(most)?));
    move |value| {
        let (parsed, range) = (units::duration(value)?, range.clone()?);
        match range.contains(&parsed) {
            true => Ok(parsed),
            false => Err(format!(
                "a duration from {} to {}",
                units::show_duration(*range.start()),
                units::show_duration(*range.end())
            )),
        }
    }
}

pub(super) fn size(range: RangeInclusive<u64>) -> impl Fn(&str) -> Parsed<u64> {
    move |value| {
        let parsed = units::size(value)?;
        match range.contains(&parsed) {
            true => Ok(parsed),
            false => Err(format!(
                "a size from {} to {}",
                units::show_size(*range.start()),
                units::show_size(*range.end())
            )),
        }
    }
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(names: &'static [(&'static str, T)]) -> impl Fn(&str) -> Parsed<T> {
    move |value| {
        names
            .iter()
            .find(|(word, _)| *word == value)
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| {
                let names: Vec<String> = names.iter().map(|(w, _)| format!("{w:?}")).collect();
                format!("one of {}", names.join(", "))
            })
    }
}

/// The digits of an ad account.
///
/// # Errors
/// What was expected.
pub fn ad_account_id(value: &str) -> Parsed<String> {
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    match (1..=18).contains(&value.len()) && digits {
        true => Ok(value.to_owned()),
        false => Err("the 1 to 18 digits of a Pinterest ad account, as a string".into()),
    }
}

/// A partner_name.
///
/// # Errors
/// What was expected.
pub fn app_name(value: &str) -> Parsed<String> {
    match value.trim() == value && !value.chars().any(char::is_control) {
        true => Ok(value.to_owned()),
        false => Err("a name without control characters or blanks around it".into()),
    }
}

pub(super) fn currency(value: &str) -> Parsed<String> {
    match value.len() == 3 && value.bytes().all(|b| b.is_ascii_alphabetic()) {
        true => Ok(value.to_ascii_uppercase()),
        false => Err("three letters, like \"USD\"".into()),
    }
}

pub(super) fn base_url(value: &str) -> Parsed<BaseUrl> {
    let expected = || "an https URL without user, query or fragment".to_owned();
    let (https, rest) = match value.split_once("://") {
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        _ => return Err(expected()),
    };
    let plain = |c: char| c.is_ascii_graphic() && !"?#@\\\"<>".contains(c);
    if !rest.chars().all(plain) {
        return Err(expected());
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => v6.split_once(']').ok_or_else(expected)?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let good_port = match port.strip_prefix(':') {
        Some(port) => port.parse::<u16>().is_ok_and(|p| p > 0),
        None => port.is_empty(),
    };
    if host.is_empty() || !good_port {
        return Err(expected());
    }
    let address: Option<IpAddr> = host.parse().ok();
    if authority.starts_with('[') && !address.is_some_and(|a| a.is_ipv6()) {
        return Err(expected());
    }
    let loopback = host == "localhost" || address.is_some_and(|a| a.is_loopback());
    if !https && !loopback {
        return Err(
            "https: http would show the token to the network, and is taken only for \
                    loopback addresses"
                .into(),
        );
    }
    Ok(BaseUrl {
        text: value.trim_end_matches('/').to_owned(),
        https,
        loopback,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls() {
        for (url, https, loopback) in [
            ("https://api.pinterest.com/v5", true, false),
            ("https://api.pinterest.com/v5/", true, false),
            ("http://127.0.0.1:8080/v5", false, true),
            ("http://localhost", false, true),
            ("http://[::1]:1/x", false, true),
            ("https://[2001:db8::1]", true, false),
        ] {
            let parsed = base_url(url).unwrap_or_else(|e| panic!("{url}: {e}"));
            assert_eq!(
                (parsed.is_https(), parsed.is_loopback()),
                (https, loopback),
                "{url}"
            );
            assert!(!parsed.as_str().ends_with('/'));
        }
        for bad in [
            "",
            "api.pinterest.com",
            "ftp://x",
            "https://",
            "https:///v5",
            "http://api.pinterest.com/v5",
            "http://127.0.0.1.evil.example/",
            "http://localhost@evil.example/",
            "http://127.0.0.1@evil.example/",
            "http://localhost.evil.example",
            "http://127.0.0.1.nip.io/",
            "http://localhost.",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://0.0.0.0/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::1].evil.example/",
            "http://localhost:80@evil.example/",
            "http://localhost\\@evil.example/",
            "http://localhost%2eevil.example/",
            "http://localhost%00.evil.example/",
            "HTTP://api.pinterest.com/v5",
            "hTTps://u@x/",
            " http://localhost",
            "http:/evil.example",
            "http:////evil.example",
            "https://u:p@x/",
            "https://x/?a=b",
            "https://x/#a",
            "https://x:0/",
            "https://x:99999/",
            "https://[::1/",
            "https://[x]/",
            "https://[127.0.0.1]/",
            "https://a b/",
        ] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_and_numbers() {
        assert!(ad_account_id("549755885175").is_ok());
        assert!(ad_account_id(&"9".repeat(18)).is_ok());
        for bad in ["", "12a", "-1", " 1", "٣", &"9".repeat(19)] {
            assert!(ad_account_id(bad).is_err(), "{bad}");
        }
        assert_eq!(currency("eur"), Ok("EUR".into()));
        assert!(currency("€€").is_err() && currency("EURO").is_err());
        assert!(app_name("ss-my store").is_ok() && app_name(" ss").is_err());
        for good in ["pinrelay", "_", "a1_b", &"a".repeat(51)] {
            assert_eq!(schema(good), Ok(good.into()));
        }
        for bad in [
            "",
            "1a",
            "A",
            "a-b",
            "a\"b",
            "a b",
            "é",
            "pg_a",
            "information_schema",
        ] {
            assert!(schema(bad).is_err(), "{bad}");
        }
        assert!(schema(&"a".repeat(52)).is_err());
        let small = number(1..=1000);
        assert_eq!((small("1"), small("1000")), (Ok(1), Ok(1000)));
        assert!(small("0").is_err() && small("1001").is_err() && small("1.0").is_err());
        let short = duration("100ms", "10m");
        assert!(short("100ms").is_ok() && short("600s").is_ok());
        assert_eq!(short("11m"), Err("a duration from 100ms to 10m".into()));
        assert_eq!(
            size(1024..=2048)("1B"),
            Err("a size from 1KiB to 2KiB".into())
        );
    }
}
