//! Marks: which events left in one request, and under which names.
//!
//! Layout: version u8 · when it was laid i64 · names (count, then length and bytes each) · events
//! (count, then per event the difference of its raw id to the one before, zigzag, and the index of
//! its name). All numbers are varints: two or three bytes an event.

use std::collections::HashMap;
use std::sync::Arc;

use crate::clock::Millis;
use crate::queue::contract::EntryId;
use crate::queue::record::codec::{DecodeError, Reader, Writer};

pub fn encode(at: Millis, events: &[(EntryId, Arc<str>)]) -> Vec<u8> {
    let mut names: Vec<&str> = Vec::new();
    let mut index: HashMap<&str, u64> = HashMap::new();
    let named: Vec<u64> = events
        .iter()
        .map(|(_, name)| {
            *index.entry(name).or_insert_with(|| {
                names.push(name);
                names.len() as u64 - 1
            })
        })
        .collect();
    let mut w = Writer::versioned();
    w.i64(at);
    w.varint(names.len() as u64);
    for name in names {
        w.varint(name.len() as u64);
        w.0.extend_from_slice(name.as_bytes());
    }
    w.varint(events.len() as u64);
    let mut before = 0u64;
    for ((id, _), name) in events.iter().zip(named) {
        let step = id.to_raw().wrapping_sub(before) as i64;
        before = id.to_raw();
        w.varint(((step << 1) ^ (step >> 63)) as u64);
        w.varint(name);
    }
    w.0
}

/// When a mark was laid, and its events with their names.
type Decoded = (Millis, Vec<(EntryId, Arc<str>)>);

pub fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let mut r = Reader::versioned(bytes)?;
    let at = r.i64()?;
    let mut names: Vec<Arc<str>> = Vec::new();
    for _ in 0..r.varint()? {
        let len = usize::try_from(r.varint()?).map_err(|_| DecodeError::Value)?;
        let name = std::str::from_utf8(r.take(len)?).map_err(|_| DecodeError::Value)?;
        names.push(name.into());
    }
    let mut events = Vec::new();
    let mut before = 0u64;
    for _ in 0..r.varint()? {
        let step = r.varint()?;
        before = before.wrapping_add((step >> 1) ^ (step & 1).wrapping_neg());
        let name = usize::try_from(r.varint()?)
            .ok()
            .and_then(|at| names.get(at));
        events.push((
            EntryId::from_raw(before),
            name.ok_or(DecodeError::Value)?.clone(),
        ));
    }
    if r.0.is_empty() {
        Ok((at, events))
    } else {
        Err(DecodeError::Value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::numbers::LetterNumber;
    use crate::queue::numbers::Seq;

    #[test]
    fn a_mark_names_each_event_and_is_small() {
        let names: [Arc<str>; 2] = ["page_visit".into(), "checkout".into()];
        let mut events: Vec<_> = (1_000_000..1_001_000)
            .map(|seq| {
                (
                    EntryId::line(Seq(seq)),
                    names[(seq % 7 == 0) as usize].clone(),
                )
            })
            .collect();
        events.push((EntryId::dead(LetterNumber(5)), names[1].clone()));
        let bytes = encode(42, &events);
        assert!(bytes.len() < 2100, "{} bytes", bytes.len());
        assert_eq!(decode(&bytes), Ok((42, events)));
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{len} bytes");
        }
    }
}
