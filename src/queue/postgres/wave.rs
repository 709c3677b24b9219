//! A wave: what one transaction of a turn changed, as the journal keeps it; and a checkpoint, which
//! is all that the waves before it amount to.
//!
//! Layout of a wave: version u8 · totals · marks laid (count, then length and bytes of each) · ids
//! that were unmarked · ranges of the line that were settled · how far each writer's chunks are
//! settled · what is given up unless it is delivered · what no longer is · since when letters die
//! undelivered · what a copy leaves in doubt. A checkpoint is a wave that says all of it.

use std::sync::Arc;

use crate::clock::Millis;
use crate::queue::contract::{EntryId, LetterNumber, Number, Seq};
use crate::queue::postgres::totals::Totals;
use crate::queue::record::codec::{DecodeError, Reader, Writer};
use crate::queue::record::mark;

/// Where a chunk of a writer is: its group, and its part of that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub group: u64,
    pub part: u32,
}

/// Since when letters die and nothing is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undelivered {
    /// What was delivered when the first of them died.
    pub delivered: u64,
    /// Its number.
    pub first: LetterNumber,
    /// The operator keeps them dead.
    pub is_kept: bool,
}

/// The queue was restored from a copy: what is older may have been sent since the copy was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doubt {
    /// Numbers below these are in doubt.
    pub lines: Seq,
    pub letters: LetterNumber,
    /// Since when.
    pub since: Millis,
    /// How many of them are open and have no mark.
    pub left: u64,
}

/// Events that left at the same time, under their names.
pub type Laid = (Millis, Vec<(EntryId, Arc<str>)>);

/// What changed, or all that is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wave {
    /// Of the turns' own, as they are after it.
    pub totals: Totals,
    pub laid: Vec<Laid>,
    pub unmarked: Vec<EntryId>,
    pub settled: Vec<(Seq, Seq)>,
    /// Chunks behind which nothing of their writers is open, with their first numbers: those of
    /// the chunk need not be known any more. In a checkpoint, where nothing is left of them, 0.
    pub lows: Vec<(u32, Place, Seq)>,
    pub forgetting: Vec<(EntryId, u128)>,
    pub remembered: Vec<EntryId>,
    /// As it is after it; the outer `None`: unchanged.
    pub undelivered: Option<Option<Undelivered>>,
    /// Likewise.
    pub doubt: Option<Option<Doubt>>,
}

impl Wave {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::versioned();
        self.totals.write(&mut w);
        w.varint(self.laid.len() as u64);
        for (at, events) in &self.laid {
            w.bytes(&mark::encode(*at, events));
        }
        w.varint(self.unmarked.len() as u64);
        self.unmarked.iter().for_each(|id| w.u64(id.to_raw()));
        w.varint(self.settled.len() as u64);
        for (first, last) in &self.settled {
            w.varint(first.0);
            w.varint(last.0 - first.0);
        }
        w.varint(self.lows.len() as u64);
        for (writer, place, first) in &self.lows {
            w.varint((*writer).into());
            w.varint(first.0);
            w.varint(place.group);
            w.varint(place.part.into());
        }
        w.varint(self.forgetting.len() as u64);
        for (id, id_hash) in &self.forgetting {
            w.u64(id.to_raw());
            w.u128(*id_hash);
        }
        w.varint(self.remembered.len() as u64);
        self.remembered.iter().for_each(|id| w.u64(id.to_raw()));
        match self.undelivered {
            None => w.u8(0),
            Some(None) => w.u8(1),
            Some(Some(since)) => {
                w.u8(2 + u8::from(since.is_kept));
                w.varint(since.delivered);
                w.varint(since.first.0);
            }
        }
        match self.doubt {
            None => w.u8(0),
            Some(None) => w.u8(1),
            Some(Some(doubt)) => {
                w.u8(2);
                w.varint(doubt.lines.0);
                w.varint(doubt.letters.0);
                w.i64(doubt.since);
                w.varint(doubt.left);
            }
        }
        w.0
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::versioned(bytes)?;
        let totals = Totals::read(&mut r)?;
        let laid = many(&mut r, |r| mark::decode(r.bytes()?))?;
        let unmarked = many(&mut r, |r| Ok(EntryId::from_raw(r.u64()?)))?;
        let settled = many(&mut r, |r| {
            let first = r.varint()?;
            let last = first.checked_add(r.varint()?).ok_or(DecodeError::Value)?;
            Ok((Seq::of(first), Seq::of(last)))
        })?;
        let lows = many(&mut r, |r| {
            let writer = u32::try_from(r.varint()?).map_err(|_| DecodeError::Value)?;
            let first = Seq(r.varint()?);
            let group = r.varint()?;
            let part = u32::try_from(r.varint()?).map_err(|_| DecodeError::Value)?;
            Ok((writer, Place { group, part }, first))
        })?;
        let forgetting = many(&mut r, |r| Ok((EntryId::from_raw(r.u64()?), r.u128()?)))?;
        let remembered = many(&mut r, |r| Ok(EntryId::from_raw(r.u64()?)))?;
        let undelivered = match r.u8()? {
            0 => None,
            1 => Some(None),
            kind @ 2..=3 => Some(Some(Undelivered {
                is_kept: kind == 3,
                delivered: r.varint()?,
                first: LetterNumber(r.varint()?),
            })),
            _ => return Err(DecodeError::Value),
        };
        let doubt = match r.u8()? {
            0 => None,
            1 => Some(None),
            2 => Some(Some(Doubt {
                lines: Seq(r.varint()?),
                letters: LetterNumber(r.varint()?),
                since: r.i64()?,
                left: r.varint()?,
            })),
            _ => return Err(DecodeError::Value),
        };
        if !r.0.is_empty() {
            return Err(DecodeError::Value);
        }
        Ok(Self {
            totals,
            laid,
            unmarked,
            settled,
            lows,
            forgetting,
            remembered,
            undelivered,
            doubt,
        })
    }
}

fn many<T>(
    r: &mut Reader<'_>,
    one: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    // Each takes a byte at least, so a nonsensical count ends soon.
    let count = r.varint()?;
    (0..count).map(|_| one(r)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_comes_back_whole_and_no_part_of_one_does() {
        let wave = Wave {
            totals: Totals {
                delivered: 7,
                ..Totals::default()
            },
            laid: vec![(
                42,
                vec![
                    (EntryId::line(Seq(1024)), "checkout".into()),
                    (EntryId::dead(LetterNumber(3)), "lead".into()),
                ],
            )],
            unmarked: vec![EntryId::line(Seq(1025))],
            settled: vec![(Seq(2048), Seq(3071))],
            lows: vec![(7, Place { group: 9, part: 1 }, Seq(2048))],
            forgetting: vec![(EntryId::line(Seq(1024)), 12)],
            remembered: vec![EntryId::dead(LetterNumber(3))],
            undelivered: Some(Some(Undelivered {
                delivered: 4,
                first: LetterNumber(11),
                is_kept: true,
            })),
            doubt: Some(Some(Doubt {
                lines: Seq(4096),
                letters: LetterNumber(9),
                since: 1_800_000_000_000,
                left: 7,
            })),
        };
        let bytes = wave.encode();
        assert_eq!(Wave::decode(&bytes), Ok(wave));
        for len in 0..bytes.len() {
            assert!(Wave::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        let none = Wave::default();
        assert_eq!(Wave::decode(&none.encode()), Ok(none));
    }
}
