//! Whether an event is of one person: by the sources that a payload is made of.

use super::apply::Transform;
use super::hashing::{Normal, hashed};
use super::scalar::{scalar_text, texts_in, trimmed, value_at};
use super::user_data::LISTS;
use crate::event::{self, Arena, Node};

/// A person, as an event may name one. Neither form shows in a `Debug` or an error text.
pub enum Person {
    /// By the hash of the address, in lower case and without white space around it; as the address
    /// or the hash itself.
    Email(EmailHash),
    /// By `userId`, exactly but for white space around it.
    UserId(String),
}

/// The SHA-256 of an address.
pub struct EmailHash(String);

impl Person {
    /// The person with this address; `None` if it holds nothing.
    pub fn of_email(address: &str) -> Option<Self> {
        let hash = hashed(trimmed(address)?, Normal::Lower)?;
        Some(Self::Email(EmailHash(hash)))
    }

    /// The person with this userId; `None` if it holds nothing.
    pub fn of_user_id(user_id: &str) -> Option<Self> {
        Some(Self::UserId(trimmed(user_id)?.to_owned()))
    }
}

impl Transform {
    /// Whether a stored line is of this person: any source of the field counts, and any mapping to
    /// it, also one that a payload is not made of since another comes first.
    pub fn is_of(&self, body: &[u8], person: &Person) -> bool {
        let arena = Arena::default();
        let Ok(root) = event::parse_wanted(&arena, body, self.wanted()) else {
            return false;
        };
        match person {
            Person::UserId(user_id) => {
                let is = |node: &Node<'_>| {
                    let text = scalar_text(node).ok().flatten();
                    text.is_some_and(|text| *text == **user_id)
                };
                is(root.at("userId")) || self.mappings.ids(&root, &arena).into_iter().any(is)
            }
            Person::Email(EmailHash(hash)) => {
                let names = |node: &Node<'_>| {
                    let mut hashes = texts_in(node).map(|text| hashed(&text, Normal::Lower));
                    hashes.any(|found| found.is_some_and(|found| found == *hash))
                };
                // By default the last is not even parsed: nothing is made of it.
                let sources = LISTS[0].sources.iter().chain(LISTS[0].extended);
                sources.into_iter().any(|path| names(value_at(&root, path)))
                    || self.mappings.emails(&root, &arena).into_iter().any(names)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::{MappingRule, Options};

    fn is_of(line: &str, person: &Person) -> bool {
        let transform = Transform::new(Options {
            mappings: vec![MappingRule {
                source: "traits.contacts.0.mail".into(),
                destination: "properties.email".into(),
            }],
            ..Options::default()
        });
        transform.unwrap().is_of(line.as_bytes(), person)
    }

    #[test]
    fn an_address_is_met_wherever_the_mapping_reads_one() {
        let ada = Person::of_email("  Ada@Example.com ").unwrap();
        let hash = hashed("ada@example.com", Normal::Lower).unwrap();
        for theirs in [
            r#"{"properties":{"email":"ada@example.com"}}"#.to_owned(),
            r#"{"properties":{"email":"eve@example.com"},"context":{"traits":{"email":" ADA@example.COM"}}}"#.into(),
            r#"{"properties":{"email":["eve@example.com","ada@example.com"]}}"#.into(),
            r#"{"traits":{"contacts":[{"mail":"ada@example.com"}]}}"#.into(),
            r#"{"properties":{"email":"\u0061da@example.com"}}"#.into(),
            format!(r#"{{"properties":{{"email":"{}"}}}}"#, hash.to_uppercase()),
        ] {
            assert!(is_of(&theirs, &ada), "{theirs}");
            assert!(is_of(&theirs, &Person::of_email(&hash).unwrap()), "{theirs}");
        }
        for others in [
            r#"{"properties":{"email":"ada@example.co"}}"#,
            r#"{"properties":{"note":"ada@example.com"}}"#,
            r#"{"userId":"ada@example.com"}"#,
            r#"{"traits":{"contacts":[{"mail":7},{"mail":"ada@example.com"}]}}"#,
            "{}",
            "no event",
        ] {
            assert!(!is_of(others, &ada), "{others}");
        }
    }

    #[test]
    fn a_person_is_met_in_the_sources_that_the_config_adds() {
        let ada = Person::of_email("ada@example.com").unwrap();
        let own = r#"{"traits":{"email":"Ada@example.com"}}"#;
        let of = |extended, mappings: &[(&str, &str)]| {
            let rule = |(source, destination): &(&str, &str)| MappingRule {
                source: (*source).into(),
                destination: (*destination).into(),
            };
            let options = Options {
                extended,
                mappings: mappings.iter().map(rule).collect(),
                ..Options::default()
            };
            Transform::new(options).unwrap()
        };
        assert!(of(true, &[]).is_of(own.as_bytes(), &ada));
        // Nothing is made of it then.
        assert!(!of(false, &[]).is_of(own.as_bytes(), &ada));
        let each = of(false, &[("properties.guests.*.mail", "user_data.em")]);
        let guests = r#"{"properties":{"guests":[{"mail":"eve@x"},{"mail":"ada@example.com"}]}}"#;
        assert!(each.is_of(guests.as_bytes(), &ada));
        let id = of(
            false,
            &[("properties.customer_id", "user_data.external_id")],
        );
        let customer = r#"{"userId":"u-1","properties":{"customer_id":7}}"#;
        for name in ["u-1", "7"] {
            let person = Person::of_user_id(name).unwrap();
            assert!(id.is_of(customer.as_bytes(), &person), "{name}");
        }
    }

    #[test]
    fn a_user_id_is_met_as_it_is() {
        let ada = Person::of_user_id(" u-7 ").unwrap();
        assert!(is_of(r#"{"userId":"u-7"}"#, &ada));
        assert!(is_of(r#"{"userId":" u-7 "}"#, &ada));
        assert!(is_of(r#"{"userId":7}"#, &Person::of_user_id("7").unwrap()));
        assert!(!is_of(r#"{"userId":"U-7"}"#, &ada));
        assert!(!is_of(r#"{"anonymousId":"u-7"}"#, &ada));
        assert!(Person::of_user_id(" ").is_none() && Person::of_email("").is_none());
    }
}
