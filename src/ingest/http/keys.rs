//! Write keys: who may send over HTTP.
//!
//! Invariant: a key is compared as its SHA-256 and in constant time, with each that is known, so
//! that neither its bytes nor its length show in how long that takes; and it is kept nowhere.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The keys in effect, by name. None: whoever reaches the listener may send. Clones share them.
#[derive(Clone, Default)]
pub struct WriteKeys(Arc<RwLock<Arc<[Known]>>>);

#[derive(Clone)]
struct Known {
    name: Arc<str>,
    digest: [u8; 32],
}

/// Whose a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// There are no keys.
    Anybody,
    /// The key of this name.
    Named(Arc<str>),
}

/// There are keys, and this is none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// No key came.
    Missing,
    /// Another one did.
    Wrong,
}

impl WriteKeys {
    /// Replaces them all by these names and keys.
    pub fn set<'k>(&self, keys: impl Iterator<Item = (&'k str, &'k str)>) {
        let known = keys.map(|(name, key)| Known {
            name: name.into(),
            digest: Sha256::digest(key).into(),
        });
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = known.collect();
    }

    /// Whether there are any.
    pub(super) fn are_needed(&self) -> bool {
        !self.current().is_empty()
    }

    /// Whose this key is.
    pub(super) fn judge(&self, key: Option<&str>) -> Result<Sender, Unknown> {
        let known = self.current();
        if known.is_empty() {
            return Ok(Sender::Anybody);
        }
        let digest: [u8; 32] = Sha256::digest(key.ok_or(Unknown::Missing)?).into();
        // Each of them is looked at, whichever it is.
        let mut found = None;
        for one in known.iter() {
            if bool::from(one.digest.ct_eq(&digest)) {
                found = Some(&one.name);
            }
        }
        found
            .map(|name| Sender::Named(name.clone()))
            .ok_or(Unknown::Wrong)
    }

    fn current(&self) -> Arc<[Known]> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The key in an `Authorization: Basic` header: the user, with an empty password behind a colon
/// as clients send it. A key may hold colons itself.
pub(super) fn of_basic(header: &str) -> Option<String> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let key = decoded.strip_suffix(':').unwrap_or(&decoded);
    (!key.is_empty()).then(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_name_and_without_any_everybody_may_send() {
        let keys = WriteKeys::default();
        assert_eq!(keys.judge(None), Ok(Sender::Anybody));
        keys.set([("shop", "id:secret"), ("app", "other")].into_iter());
        assert_eq!(
            keys.judge(Some("id:secret")),
            Ok(Sender::Named("shop".into()))
        );
        assert_eq!(keys.judge(Some("other")), Ok(Sender::Named("app".into())));
        assert_eq!(keys.judge(None), Err(Unknown::Missing));
        for wrong in ["", "id", "id:secret ", "ID:SECRET", "id:***"] {
            assert_eq!(keys.judge(Some(wrong)), Err(Unknown::Wrong), "{wrong}");
        }
        keys.clone().set(std::iter::empty());
        assert_eq!(keys.judge(None), Ok(Sender::Anybody));
    }

    #[test]
    fn basic_as_clients_send_it() {
        let header = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for (sent, key) in [
            ("key:", Some("key")),
            ("key", Some("key")),
            ("id:secret:", Some("id:secret")),
            ("id:secret", Some("id:secret")),
            (":", None),
            ("", None),
        ] {
            assert_eq!(of_basic(&header(sent)).as_deref(), key, "{sent}");
        }
        assert_eq!(
            of_basic(&header("k:").replace("Basic", "basic")).as_deref(),
            Some("k")
        );
        for other in ["Bearer abc", "Basic", "Basic !!", ""] {
            assert_eq!(of_basic(other), None, "{other}");
        }
    }
}
