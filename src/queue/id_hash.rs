//! messageIds as a queue remembers them.

use std::hash::Hasher as _;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// Hashes messageIds with the key of one queue. 128 bits: equality of the hash counts as
/// equality of the id, and the key keeps a client from making two ids collide.
#[derive(Clone, Copy)]
pub struct IdHasher {
    key: [u8; 16],
}

impl IdHasher {
    /// A hasher with this key.
    pub const fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    /// The hash of one messageId.
    pub fn hash(&self, message_id: &str) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(message_id.as_bytes());
        hasher.finish128().as_u128()
    }
}
