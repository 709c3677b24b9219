//! The rows of the account: every key of `meta`, and what each value says.
//!
//! Invariant: no byte of these changes. A release that does not know a row leaves it and counts
//! the same without it; those of the first release are marked below.

use std::sync::Arc;

use crate::clock::{Millis, Reading, Unproven};
use crate::queue::contract::{DeadReason, EntryId, LetterNumber, Loss, LossKind, Number, Seq};
use crate::queue::ranges::RangeDiff;
use crate::queue::record::codec::{DecodeError, Reader, Writer};
use crate::queue::sled::disk::{Batch, Store, StoreError, StoredRow};
use crate::queue::sled::numbers::{Generation, PeriodNumber};
use crate::queue::sled::record::{Coverage, IdFile, List};

/// The kinds of rows. The tag is the first byte of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Row {
    /// The state record, with the sum over all other rows. (first release)
    State = b's',
    /// A copy of the `format` file. (first release)
    Identity = b'i',
    /// Stands while the account is made anew: what the others say is not all of it yet.
    Unfinished = b'u',
    /// Both clocks when the wall clock was last believed.
    Clocks = b't',
    /// What was stamped before the wall clock was first believed.
    Unproven = b'v',
    /// \+ first: a settled range above the low-water mark. (first release)
    Settled = b'r',
    /// \+ mark + part: a mark. (first release)
    Mark = b'm',
    /// \+ generation: a sealed generation. (first release)
    Sealed = b'g',
    /// \+ generation: something in its store could not be used, so it goes to `quarantine/` when
    /// it is done with.
    HeldGeneration = b'h',
    /// \+ period: a period of dead letters. (first release)
    Period = b'p',
    /// The first letter that died since an event was delivered last.
    Undelivered = b'd',
    /// \+ number: the name under which a letter of those may have arrived before it died.
    DoubtfulLetter = b'o',
    /// \+ period: as [`Row::HeldGeneration`].
    HeldPeriod = b'j',
    /// \+ first: dead letters that are queued again. (first release)
    DeadQueued = b'q',
    /// \+ first: dead letters that are gone. (first release)
    DeadGone = b'x',
    /// \+ first: of these, purged ones that may be imported.
    DeadPurged = b'y',
    /// \+ first: a list of purged letters whose period is gone.
    List = b'l',
    /// \+ first: letters of lists that came back.
    ListedBack = b'z',
    /// \+ number: ids of delivered letters.
    DeliveredLetters = b'k',
    /// \+ event: it is forgotten, and was being sent: given up unless it is delivered.
    Forgetting = b'w',
    /// \+ name: a file of remembered ids.
    IdFile = b'f',
    /// \+ kind + object: a loss that nobody has acknowledged yet.
    Loss = b'n',
}

impl Row {
    /// The key of a row that there is one of.
    pub const fn key(self) -> [u8; 1] {
        [self as u8]
    }

    /// The key of a numbered row.
    pub fn numbered(self, number: impl Number) -> [u8; 9] {
        let mut key = [self as u8; 9];
        key[1..].copy_from_slice(&number.to_key());
        key
    }

    /// The key of a named row.
    pub fn named(self, name: &[u8]) -> Vec<u8> {
        [&self.key(), name].concat()
    }

    /// All rows of this kind, in order.
    pub fn all(self, meta: &Store) -> impl Iterator<Item = StoredRow> {
        meta.scan(&self.key(), &[self as u8 + 1])
    }

    /// All rows of this kind as `decode` reads them; `what` they are called where one is damaged.
    pub fn load<T>(
        self,
        meta: &Store,
        what: &'static str,
        decode: impl Fn(&[u8], &[u8]) -> Result<T, DecodeError>,
    ) -> impl Iterator<Item = Result<T, StoreError>> {
        self.all(meta).map(move |row| {
            let (key, value) = row?;
            value
                .and_then(|value| decode(&key, &value))
                .map_err(|error| StoreError::bad(meta.path(), what, error))
        })
    }
}

/// The number in a key of [`Row::numbered`].
pub fn number<N: Number>(key: &[u8]) -> Result<N, DecodeError> {
    let number = key.get(1..).and_then(N::of_key);
    number.ok_or(DecodeError::Value)
}

/// Writes what a set of ranges has become.
pub fn put_diff(batch: &mut Batch, row: Row, diff: &RangeDiff) {
    for first in &diff.removed {
        batch.remove(&row.numbered(*first));
    }
    for (first, last) in &diff.written {
        let mut w = Writer::versioned();
        w.u64(*last);
        batch.put(&row.numbered(*first), w.0);
    }
}

/// First and last number of a range.
pub fn range<N: Number>(key: &[u8], value: &[u8]) -> Result<(N, N), DecodeError> {
    let (first, last) = (number(key)?, Reader::versioned(value)?.number()?);
    match first <= last {
        true => Ok((first, last)),
        false => Err(DecodeError::Value),
    }
}

/// A generation that is full, reopened once, and whose ids are in `seen/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    pub first_seq: Seq,
    pub last_seq: Seq,
}

impl Sealed {
    pub fn put(&self, batch: &mut Batch, generation: Generation) {
        let mut w = Writer::versioned();
        w.number(self.first_seq);
        w.number(self.last_seq);
        batch.put(&Row::Sealed.numbered(generation), w.0);
    }

    pub fn read(key: &[u8], value: &[u8]) -> Result<(Generation, Self), DecodeError> {
        let mut r = Reader::versioned(value)?;
        let sealed = Self {
            first_seq: r.number()?,
            last_seq: r.number()?,
        };
        Ok((number(key)?, sealed))
    }
}

/// How many reasons of dead letters there were when rows of periods were first written.
const FIRST_REASONS: usize = 6;

/// A period of dead letters: its numbers, when it was begun, when the newest died, and how many
/// are dead now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    pub first: LetterNumber,
    pub last: LetterNumber,
    pub opened: Millis,
    pub newest: Millis,
    /// By [`DeadReason::index`].
    pub dead: [u64; DeadReason::ALL.len()],
}

impl Period {
    /// Whether this letter is in it.
    pub fn holds(&self, number: LetterNumber) -> bool {
        (self.first..=self.last).contains(&number)
    }

    pub fn put(&self, batch: &mut Batch, period: PeriodNumber) {
        let mut w = Writer::versioned();
        w.number(self.first);
        w.number(self.last);
        w.i64(self.opened);
        w.i64(self.newest);
        self.dead.iter().for_each(|count| w.u64(*count));
        batch.put(&Row::Period.numbered(period), w.0);
    }

    pub fn read(key: &[u8], value: &[u8]) -> Result<(PeriodNumber, Self), DecodeError> {
        let mut r = Reader::versioned(value)?;
        let mut period = Self {
            first: r.number()?,
            last: r.number()?,
            opened: r.i64()?,
            newest: r.i64()?,
            dead: Default::default(),
        };
        for (at, count) in period.dead.iter_mut().enumerate() {
            // A release that knew fewer reasons counted none of the others.
            if at < FIRST_REASONS || !r.0.is_empty() {
                *count = r.u64()?;
            }
        }
        Ok((number(key)?, period))
    }
}

/// The letters that died since an event was delivered last: those from a number on, as long as no
/// more are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undelivered {
    /// Events that were delivered by then.
    pub delivered: u64,
    /// The largest number there is: the operator keeps them dead.
    pub first: LetterNumber,
}

impl Undelivered {
    pub const KEPT: LetterNumber = LetterNumber(u64::MAX);

    pub fn put(&self, batch: &mut Batch) {
        let mut w = Writer::versioned();
        w.u64(self.delivered);
        w.number(self.first);
        batch.put(&Row::Undelivered.key(), w.0);
    }

    pub fn read(_: &[u8], value: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::versioned(value)?;
        Ok(Self {
            delivered: r.u64()?,
            first: r.number()?,
        })
    }
}

pub fn put_doubtful(batch: &mut Batch, number: LetterNumber, name: &str, at: Millis) {
    let mut w = Writer::versioned();
    w.i64(at);
    w.0.extend_from_slice(name.as_bytes());
    batch.put(&Row::DoubtfulLetter.numbered(number), w.0);
}

pub fn doubtful(
    key: &[u8],
    value: &[u8],
) -> Result<(LetterNumber, (Arc<str>, Millis)), DecodeError> {
    let mut r = Reader::versioned(value)?;
    let at = r.i64()?;
    Ok((number(key)?, (text(Some(r.0))?.into(), at)))
}

pub fn put_list(batch: &mut Batch, list: &List) {
    let mut w = Writer::versioned();
    w.number(list.last);
    w.i64(list.purged_at);
    batch.put(&Row::List.numbered(list.first), w.0);
}

pub fn list(key: &[u8], value: &[u8]) -> Result<List, DecodeError> {
    let mut r = Reader::versioned(value)?;
    Ok(List {
        first: number(key)?,
        last: r.number()?,
        purged_at: r.i64()?,
    })
}

pub fn put_id_file(batch: &mut Batch, name: &str, file: &IdFile) {
    let mut w = Writer::versioned();
    w.u64(file.len);
    w.u64(file.sum);
    file.coverage.write(&mut w);
    w.u8(u8::from(file.is_leaving) | u8::from(file.is_harmed) << 1);
    batch.put(&Row::IdFile.named(name.as_bytes()), w.0);
}

pub fn id_file(key: &[u8], value: &[u8]) -> Result<(String, IdFile), DecodeError> {
    let mut r = Reader::versioned(value)?;
    let (len, sum, coverage) = (r.u64()?, r.u64()?, Coverage::read(&mut r)?);
    let flags = r.u8()?;
    let file = IdFile {
        len,
        sum,
        coverage,
        is_leaving: flags & 1 != 0,
        is_harmed: flags & 2 != 0,
    };
    Ok((text(key.get(1..))?, file))
}

pub fn put_loss(batch: &mut Batch, loss: &Loss) {
    let mut w = Writer::versioned();
    w.u64(loss.count);
    w.i64(loss.at);
    w.i64(loss.until.unwrap_or(Millis::MIN));
    batch.put(&loss_key(loss.kind, &loss.object), w.0);
}

pub fn loss_key(kind: LossKind, object: &str) -> Vec<u8> {
    Row::Loss.named(&[&[kind.index()], object.as_bytes()].concat())
}

pub fn loss(key: &[u8], value: &[u8]) -> Result<Loss, DecodeError> {
    let mut kinds = LossKind::ALL.into_iter();
    let kind = kinds.find(|kind| key.get(1) == Some(&kind.index()));
    let mut r = Reader::versioned(value)?;
    Ok(Loss {
        kind: kind.ok_or(DecodeError::Value)?,
        object: text(key.get(2..))?,
        count: r.u64()?,
        at: r.i64()?,
        until: Some(r.i64()?).filter(|until| *until != Millis::MIN),
    })
}

fn text(bytes: Option<&[u8]>) -> Result<String, DecodeError> {
    let text = bytes.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    text.ok_or(DecodeError::Value)
}

pub fn put_clocks(batch: &mut Batch, now: Reading) {
    let mut w = Writer::versioned();
    w.i64(now.wall);
    w.i64(now.since_boot);
    batch.put(&Row::Clocks.key(), w.0);
}

pub fn clocks(value: &[u8]) -> Result<Reading, DecodeError> {
    let mut r = Reader::versioned(value)?;
    Ok(Reading {
        wall: r.i64()?,
        since_boot: r.i64()?,
    })
}

pub fn put_unproven(batch: &mut Batch, unproven: Unproven) {
    let mut w = Writer::versioned();
    w.u64(unproven.line);
    w.u64(unproven.letter);
    w.i64(unproven.since);
    batch.put(&Row::Unproven.key(), w.0);
}

pub fn unproven(value: &[u8]) -> Result<Unproven, DecodeError> {
    let mut r = Reader::versioned(value)?;
    Ok(Unproven {
        line: r.u64()?,
        letter: r.u64()?,
        since: r.i64()?,
    })
}

/// An event that is being sent and forgotten, and the hash of its messageId.
pub fn put_forgetting(batch: &mut Batch, event: EntryId, id_hash: u128) {
    let mut w = Writer::versioned();
    w.u128(id_hash);
    batch.put(&Row::Forgetting.numbered(event.to_raw()), w.0);
}

pub fn forgetting(key: &[u8], value: &[u8]) -> Result<(EntryId, u128), DecodeError> {
    let event = EntryId::from_raw(number(key)?);
    Ok((event, Reader::versioned(value)?.u128()?))
}

/// Ids of delivered letters, and when each was delivered.
pub fn put_delivered(batch: &mut Batch, row: u64, ids: &[(u128, Millis)]) {
    let mut w = Writer::versioned();
    for (id, at) in ids {
        w.u128(*id);
        w.i64(*at);
    }
    batch.put(&Row::DeliveredLetters.numbered(row), w.0);
}

/// The number of the row, and what is in it.
pub fn delivered(key: &[u8], value: &[u8]) -> Result<(u64, Vec<(u128, Millis)>), DecodeError> {
    let mut r = Reader::versioned(value)?;
    let mut ids = Vec::with_capacity(r.0.len() / 24);
    while !r.0.is_empty() {
        ids.push((r.u128()?, r.i64()?));
    }
    Ok((number(key)?, ids))
}
