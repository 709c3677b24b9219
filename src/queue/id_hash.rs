//! messageIds as a queue remembers them.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

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

/// The ids are keyed hashes already: their own bits are the best hash there is.
#[derive(Default)]
pub struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    fn write_u128(&mut self, id: u128) {
        self.0 = (id >> 64) as u64 ^ id as u64;
    }
}

/// A set of id hashes.
pub type IdSet = HashSet<u128, BuildHasherDefault<IdentityHasher>>;

/// What is known of each of some id hashes.
pub type IdMap<T> = HashMap<u128, T, BuildHasherDefault<IdentityHasher>>;
