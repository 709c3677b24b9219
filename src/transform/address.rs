//! client_ip_address: one address that means somebody, as proxies write them.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::notes::{Fault, Read};
use super::scalar::Text;
use crate::event::Node;

const NO_ADDRESS: Fault = Fault::unreadable("is no address");
const PRIVATE: Fault = Fault::unreadable("is a private or local address, which matches nobody");

/// One address that means somebody: of a list, an array or a text with commas, the first.
pub(super) fn address_of<'t>(node: &'t Node<'_>) -> Read<Text<'t>> {
    match node {
        Node::Null => Ok(None),
        Node::String(text) => match one_address(text.trim()) {
            Err(_) if node.is_missing() => Ok(None),
            Err(_) if text.contains(',') => first(text.split(',').map(str::trim)),
            address => address.map(Some),
        },
        node if node.is_missing() => Ok(None),
        Node::Array(elements) if elements.iter().all(Node::is_missing) => Ok(None),
        Node::Array(elements) => {
            let texts = elements.iter().filter_map(Node::as_str);
            // A header that came several times, each a list of its own.
            first(texts.flat_map(|text| text.split(',')).map(str::trim))
        }
        _ => Err(NO_ADDRESS),
    }
}

/// The first that can be used; else what is wrong with them.
fn first<'t>(texts: impl Iterator<Item = &'t str>) -> Read<Text<'t>> {
    let mut fault = NO_ADDRESS;
    for text in texts {
        match one_address(text) {
            Ok(address) => return Ok(Some(address)),
            Err(wrong) if wrong == PRIVATE => fault = wrong,
            Err(_) => {}
        }
    }
    Err(fault)
}

/// The address that a trimmed text is, without port, brackets and zone; as written, but an
/// IPv4-mapped one as IPv4.
fn one_address(text: &str) -> Result<Text<'_>, Fault> {
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return usable_v4(ip).map(|()| Cow::Borrowed(text));
    }
    if let Some((host, port)) = text.split_once(':')
        && is_port(port)
        && let Ok(ip) = host.parse::<Ipv4Addr>()
    {
        return usable_v4(ip).map(|()| Cow::Borrowed(host));
    }
    let bare = match text.strip_prefix('[') {
        None => text,
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => host,
            Some((host, port)) if port.strip_prefix(':').is_some_and(is_port) => host,
            _ => return Err(NO_ADDRESS),
        },
    };
    let host = match bare.split_once('%') {
        None => bare,
        Some((host, zone)) if !zone.is_empty() => host,
        Some(_) => return Err(NO_ADDRESS),
    };
    let ip: Ipv6Addr = host.parse().map_err(|_| NO_ADDRESS)?;
    match IpAddr::V6(ip).to_canonical() {
        IpAddr::V4(ip) => usable_v4(ip).map(|()| Cow::Owned(ip.to_string())),
        IpAddr::V6(ip) => usable_v6(ip).map(|()| Cow::Borrowed(host)),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn usable_v4(ip: Ipv4Addr) -> Result<(), Fault> {
    let [a, b, ..] = ip.octets();
    let is_shared = a == 100 && b & 0b1100_0000 == 64;
    let is_nobodys = ip.is_private()
        || is_shared
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_unspecified();
    if is_nobodys { Err(PRIVATE) } else { Ok(()) }
}

fn usable_v6(ip: Ipv6Addr) -> Result<(), Fault> {
    let is_nobodys = ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_unicast_link_local()
        || ip.is_unique_local();
    if is_nobodys { Err(PRIVATE) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Arena, parse};

    fn address(json: &str) -> Result<Option<String>, &'static str> {
        let arena = Arena::default();
        let Ok(node) = parse(&arena, json.as_bytes()) else {
            panic!("{json}")
        };
        let read = address_of(&node).map(|found| found.map(Cow::into_owned));
        read.map_err(|fault| fault.reason)
    }

    #[test]
    fn addresses_as_proxies_write_them() {
        for (text, expected) in [
            (" 203.0.113.7 ", "203.0.113.7"),
            ("203.0.113.7:51234", "203.0.113.7"),
            ("203.0.113.7:0", "203.0.113.7"),
            ("2001:DB8::1", "2001:DB8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1%eth0", "2001:db8::1"),
            ("[2001:db8::1%25en0]:65535", "2001:db8::1"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("::FFFF:cb00:7107", "203.0.113.7"),
            ("[0:0:0:0:0:ffff:203.0.113.7]:80", "203.0.113.7"),
            ("::203.0.113.7", "::203.0.113.7"),
            (
                "unknown, 10.0.0.1 ,203.0.113.7:80,198.51.100.1",
                "203.0.113.7",
            ),
            ("255.255.255.255", "255.255.255.255"),
            ("100.63.255.255", "100.63.255.255"),
            ("172.32.0.1", "172.32.0.1"),
        ] {
            assert_eq!(
                address(&format!("\"{text}\"")),
                Ok(Some(expected.into())),
                "{text}"
            );
        }
        assert_eq!(
            address(r#"[null,7,"x","10.0.0.1","203.0.113.7"]"#),
            Ok(Some("203.0.113.7".into()))
        );
        assert_eq!(
            address(r#"["10.0.0.1, 203.0.113.7","198.51.100.1"]"#),
            Ok(Some("203.0.113.7".into()))
        );
        for missing in ["null", r#"" ""#, "[]", "{}", r#"[null,""]"#] {
            assert_eq!(address(missing), Ok(None), "{missing}");
        }
        for text in [
            "203.0.113.7:65536",
            "203.0.113.7:",
            "203.0.113.7:+80",
            "203.0.113.7:x",
            "[203.0.113.7]",
            "[2001:db8::1",
            "[2001:db8::1]443",
            "[2001:db8::1]:",
            "2001:db8::1%",
            "203.0.113",
            "203.000.113.007",
            "example.org",
            ",",
        ] {
            assert_eq!(
                address(&format!("\"{text}\"")),
                Err(NO_ADDRESS.reason),
                "{text}"
            );
        }
        for json in ["7", "true", r#"{"a":1}"#, r#"[7]"#] {
            assert_eq!(address(json), Err(NO_ADDRESS.reason), "{json}");
        }
    }

    #[test]
    fn addresses_that_match_nobody() {
        for text in [
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1:80",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.1.1",
            "0.0.0.0",
            "::",
            "::1",
            "fe80::1%eth0",
            "fd00::1",
            "fc00::1",
            "::ffff:10.0.0.1",
            "::ffff:0.0.0.0",
            "unknown, 10.0.0.1",
        ] {
            assert_eq!(
                address(&format!("\"{text}\"")),
                Err(PRIVATE.reason),
                "{text}"
            );
        }
    }
}
