//! `user_data.hashing`: raw values, or SHA-256 of normalised ones.

use std::borrow::Cow;

use sha2::{Digest, Sha256};
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use super::notes::{Fault, Notes, Place};
use super::scalar::{Text, Texts};

const NOTHING_LEFT: Fault =
    Fault::unreadable("has nothing left after normalising (user_data.hashing)");

/// How the array fields of user_data and external_id are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hashing {
    /// As they are, which is what the product's document states.
    #[default]
    Raw,
    /// SHA-256, in lower-case hex, of each text after normalising.
    Sha256,
}

/// What becomes of a text before it is hashed.
#[derive(Clone, Copy)]
pub(super) enum Normal {
    /// Lower case: em, fn, ln, st, country.
    Lower,
    /// ASCII digits without leading zeros: ph.
    Phone,
    /// Lower case, Unicode letters and digits only: ct.
    City,
    /// Lower case without white space and hyphen-minus: zp.
    Postal,
    /// Untouched: external_id.
    AsIs,
}

impl Hashing {
    /// As the config writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Sha256 => "sha256",
        }
    }

    /// The texts of one field as they are sent; those with nothing left after normalising go, and
    /// are noted.
    pub(super) fn apply<'t>(
        self,
        texts: Texts<'t>,
        normal: Normal,
        notes: &Notes,
        field: &'static str,
        source: &str,
    ) -> Texts<'t> {
        let hash = |text: Text<'t>| {
            let read = match hashed(&text, normal) {
                Some(hash) => Ok(Some(Cow::Owned(hash))),
                None => Err(NOTHING_LEFT),
            };
            notes.take(field, Place::configured(source), read)
        };
        match self {
            Self::Raw => texts,
            Self::Sha256 => texts.into_iter().filter_map(hash).collect(),
        }
    }
}

/// Whether a text is the hexadecimal form of a SHA-256 already.
pub(super) fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The SHA-256 of a text after normalising; a text that is one already stays. `None`: nothing is
/// left of it.
pub(super) fn hashed(text: &str, normal: Normal) -> Option<String> {
    if is_hash(text) {
        return Some(text.to_ascii_lowercase());
    }
    let normalised = match normal {
        Normal::Lower => text.to_lowercase(),
        Normal::Phone => {
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            digits.trim_start_matches('0').to_owned()
        }
        Normal::City => text
            .to_lowercase()
            .chars()
            .filter(letter_or_digit)
            .collect(),
        Normal::Postal => {
            let kept = |c: &char| !c.is_whitespace() && *c != '-';
            text.to_lowercase().chars().filter(kept).collect()
        }
        Normal::AsIs => text.to_owned(),
    };
    (!normalised.is_empty()).then(|| hex(&Sha256::digest(normalised.as_bytes())))
}

fn letter_or_digit(c: &char) -> bool {
    matches!(
        c.general_category_group(),
        GeneralCategoryGroup::Letter | GeneralCategoryGroup::Number
    )
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of a text that is normal already.
    fn sha(text: &str) -> Option<String> {
        Some(hex(&Sha256::digest(text.as_bytes())))
    }

    #[test]
    fn a_known_digest() {
        assert_eq!(
            hashed("Test@Example.COM", Normal::Lower).as_deref(),
            Some("973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b")
        );
    }

    #[test]
    fn each_field_is_normalised_in_its_way() {
        for (normal, text, expected) in [
            (Normal::Lower, "JOSÉ María", "josé maría"),
            (Normal::Phone, "+00 (503) 555-0100 ext", "5035550100"),
            (Normal::Phone, "0049 30 1", "49301"),
            (Normal::City, "Saint-Étienne 2", "saintétienne2"),
            (Normal::City, "İzmir", "izmir"),
            (Normal::City, "e\u{301}", "e"),
            (Normal::City, "São Paulo Ⅻ", "sãopauloⅻ"),
            (Normal::City, "東京", "東京"),
            (Normal::Postal, " SW1A-1\u{a0}AA", "sw1a1aa"),
            (Normal::Postal, "12\u{2013}34", "12\u{2013}34"),
            (Normal::AsIs, "User-7 A", "User-7 A"),
        ] {
            assert_eq!(hashed(text, normal), sha(expected), "{text}");
        }
        for (normal, text) in [
            (Normal::Phone, "000"),
            (Normal::Phone, "call me"),
            (Normal::Phone, "٣٤"),
            (Normal::City, "--- !"),
            (Normal::Postal, "- -"),
        ] {
            assert_eq!(hashed(text, normal), None, "{text}");
        }
    }

    #[test]
    fn a_digest_is_not_hashed_again() {
        let digest = "AbCdEf0123456789".repeat(4);
        for normal in [
            Normal::Lower,
            Normal::Phone,
            Normal::City,
            Normal::Postal,
            Normal::AsIs,
        ] {
            assert_eq!(hashed(&digest, normal), Some(digest.to_lowercase()));
        }
        assert_eq!(hashed(&digest[1..], Normal::AsIs), sha(&digest[1..]));
        let not_hex = digest.replace('A', "g");
        assert_eq!(hashed(&not_hex, Normal::AsIs), sha(&not_hex));
    }
}
