//! Dead letters and those that are queued again, as the database has them: one row each, locked
//! before it is judged.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio_postgres::Row;
use uuid::Uuid;

use super::group::Dead;
use super::session::Session;
use super::totals::Totals;
use super::trouble::Trouble;
use crate::clock::Millis;
use crate::queue::block;
use crate::queue::contract::{DeadReason, Import, Letter, LetterKey, LetterNumber};
use crate::queue::record::dead_record;

/// A letter that is to be written.
#[derive(Clone, Debug)]
pub struct New {
    pub number: LetterNumber,
    pub id_hash: u128,
    /// None: it is queued from here.
    pub reason: Option<DeadReason>,
    pub failures: u32,
    pub accepted_at: Millis,
    pub event_time: i64,
    pub died_at: Millis,
    pub message: String,
    pub body: Bytes,
    /// The name under which it may have arrived, and since when.
    pub sent: Option<(Arc<str>, Millis)>,
}

/// A letter that is queued, without its bytes.
#[derive(Clone, Debug)]
pub struct Queued {
    pub number: LetterNumber,
    pub accepted_at: Millis,
    pub length: usize,
    pub sent: Option<(Arc<str>, Millis)>,
}

impl New {
    pub fn queued(&self) -> Queued {
        Queued {
            number: self.number,
            accepted_at: self.accepted_at,
            length: self.body.len(),
            sent: self.sent.clone(),
        }
    }
}

const QUEUED: &str = "number, accepted_at, length, sent_as, sent_at";

fn queued(row: &Row) -> Queued {
    Queued {
        number: LetterNumber(row.get::<_, i64>(0) as u64),
        accepted_at: row.get(1),
        length: row.get::<_, i32>(2) as usize,
        sent: sent(row.get(3), row.get(4)),
    }
}

fn sent(name: Option<&str>, at: Option<Millis>) -> Option<(Arc<str>, Millis)> {
    Some((name?.into(), at.unwrap_or_default()))
}

/// Numbers for so many letters: each is greater than any that was given before.
pub async fn numbers(session: &mut Session, count: usize) -> Result<Vec<LetterNumber>, Trouble> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let sql = "SELECT nextval('@.letter_numbers') FROM generate_series(1, $1)";
    let rows = session.query(sql, &[&(count as i32)]).await?;
    let number = |row: &Row| LetterNumber(row.get::<_, i64>(0) as u64);
    Ok(rows.iter().map(number).collect())
}

pub async fn insert(session: &mut Session, letters: &[New]) -> Result<(), Trouble> {
    if letters.is_empty() {
        return Ok(());
    }
    let all = |value: fn(&New) -> i64| letters.iter().map(value).collect::<Vec<i64>>();
    let numbers = all(|l| l.number.0 as i64);
    let ids: Vec<Uuid> = (letters.iter().map(|l| Uuid::from_u128(l.id_hash))).collect();
    let reasons: Vec<Option<i16>> =
        (letters.iter().map(|l| l.reason.map(|r| r.index() as i16))).collect();
    let failures: Vec<i32> = letters.iter().map(|l| l.failures as i32).collect();
    let (accepted, times, died) = (
        all(|l| l.accepted_at),
        all(|l| l.event_time),
        all(|l| l.died_at),
    );
    // What PostgreSQL's text cannot hold is no word of ours.
    let messages: Vec<String> = letters
        .iter()
        .map(|l| l.message.replace('\0', " "))
        .collect();
    let hashes = all(|l| dead_record::body_hash(&l.body) as i64);
    let lengths: Vec<i32> = letters.iter().map(|l| l.body.len() as i32).collect();
    let bodies: Vec<Vec<u8>> = letters
        .iter()
        .map(|l| block::pack(&l.body).to_vec())
        .collect();
    let names: Vec<Option<String>> = (letters
        .iter()
        .map(|l| l.sent.as_ref().map(|(name, _)| name.replace('\0', " "))))
    .collect();
    let since: Vec<Option<i64>> =
        (letters.iter().map(|l| l.sent.as_ref().map(|(_, at)| *at))).collect();
    let sql = "INSERT INTO @.letters (number, id, reason, failures, accepted_at, event_time, \
               died_at, message, body_hash, length, body, sent_as, sent_at) \
               SELECT * FROM unnest($1::int8[], $2::uuid[], $3::int2[], $4::int4[], $5::int8[], \
               $6::int8[], $7::int8[], $8::text[], $9::int8[], $10::int4[], $11::bytea[], \
               $12::text[], $13::int8[])";
    session
        .execute(
            sql,
            &[
                &numbers, &ids, &reasons, &failures, &accepted, &times, &died, &messages, &hashes,
                &lengths, &bodies, &names, &since,
            ],
        )
        .await?;
    Ok(())
}

fn raw(numbers: &[LetterNumber]) -> Vec<i64> {
    numbers.iter().map(|number| number.0 as i64).collect()
}

pub async fn remove(session: &mut Session, numbers: &[LetterNumber]) -> Result<(), Trouble> {
    if !numbers.is_empty() {
        let sql = "DELETE FROM @.letters WHERE number = ANY($1)";
        session.execute(sql, &[&raw(numbers)]).await?;
    }
    Ok(())
}

/// The dead letters of these ids, locked until the transaction ends.
pub async fn lock_dead(
    session: &mut Session,
    ids: &[u128],
) -> Result<HashMap<u128, Dead>, Trouble> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| Uuid::from_u128(*id)).collect();
    let sql = "SELECT id, number, reason, body_hash FROM @.letters \
               WHERE id = ANY($1) AND reason IS NOT NULL ORDER BY number FOR UPDATE";
    let rows = session.query(sql, &[&ids]).await?;
    let dead = rows.iter().filter_map(|row| {
        let dead = Dead {
            number: LetterNumber(row.get::<_, i64>(1) as u64),
            reason: DeadReason::from_index(row.get::<_, i16>(2) as usize)?,
            body_hash: row.get::<_, i64>(3) as u64,
        };
        Some((row.get::<_, Uuid>(0).as_u128(), dead))
    });
    Ok(dead.collect())
}

/// Which of these are dead now, locked, ascending.
async fn lock_keys(
    session: &mut Session,
    keys: &[LetterKey],
) -> Result<Vec<(LetterNumber, u128, DeadReason)>, Trouble> {
    let numbers: Vec<LetterNumber> = keys.iter().map(|key| key.number()).collect();
    let sql = "SELECT number, id, reason FROM @.letters \
               WHERE number = ANY($1) AND reason IS NOT NULL ORDER BY number FOR UPDATE";
    let rows = session.query(sql, &[&raw(&numbers)]).await?;
    let dead = rows.iter().filter_map(|row| {
        let number = LetterNumber(row.get::<_, i64>(0) as u64);
        let reason = DeadReason::from_index(row.get::<_, i16>(2) as usize)?;
        Some((number, row.get::<_, Uuid>(1).as_u128(), reason))
    });
    Ok(dead.collect())
}

/// Queues those of these that are dead. Names of those that died before `doubtful_since` are
/// forgotten: something was delivered since.
pub async fn retry(
    session: &mut Session,
    keys: &[LetterKey],
    doubtful_since: LetterNumber,
    totals: &mut Totals,
) -> Result<Vec<Queued>, Trouble> {
    let dead = lock_keys(session, keys).await?;
    for (_, _, reason) in &dead {
        totals.count_dead(*reason, -1);
    }
    totals.retried += dead.len() as i64;
    totals.letters_queued += dead.len() as i64;
    let numbers: Vec<LetterNumber> = dead.iter().map(|(number, ..)| *number).collect();
    let sql = format!(
        "UPDATE @.letters SET reason = NULL, \
         sent_as = CASE WHEN number >= $2 THEN sent_as END WHERE number = ANY($1) RETURNING {QUEUED}"
    );
    let since = i64::try_from(doubtful_since.0).unwrap_or(i64::MAX);
    let rows = session.query(&sql, &[&raw(&numbers), &since]).await?;
    let mut letters: Vec<Queued> = rows.iter().map(queued).collect();
    letters.sort_unstable_by_key(|letter| letter.number);
    Ok(letters)
}

/// Gives up those of these that are dead; they may be imported.
pub async fn purge(
    session: &mut Session,
    keys: &[LetterKey],
    now: Millis,
    totals: &mut Totals,
) -> Result<u64, Trouble> {
    let dead = lock_keys(session, keys).await?;
    for (_, _, reason) in &dead {
        totals.count_dead(*reason, -1);
    }
    totals.purged += dead.len() as i64;
    let numbers: Vec<LetterNumber> = dead.iter().map(|(number, ..)| *number).collect();
    let ids: Vec<Uuid> = dead.iter().map(|(_, id, _)| Uuid::from_u128(*id)).collect();
    let sql = "INSERT INTO @.purged (id, number, at) \
               SELECT id, number, $3 FROM unnest($1::uuid[], $2::int8[]) AS t(id, number) \
               ON CONFLICT (id) DO UPDATE SET number = EXCLUDED.number, at = EXCLUDED.at";
    session.execute(sql, &[&ids, &raw(&numbers), &now]).await?;
    remove(session, &numbers).await?;
    Ok(numbers.len() as u64)
}

/// Gives up those of these that are dead, for good. Gives their ids.
pub async fn forget(
    session: &mut Session,
    keys: &[LetterKey],
    totals: &mut Totals,
) -> Result<Vec<u128>, Trouble> {
    let dead = lock_keys(session, keys).await?;
    for (_, _, reason) in &dead {
        totals.count_dead(*reason, -1);
    }
    totals.purged += dead.len() as i64;
    let numbers: Vec<LetterNumber> = dead.iter().map(|(number, ..)| *number).collect();
    remove(session, &numbers).await?;
    Ok(dead.into_iter().map(|(_, id, _)| id).collect())
}

/// Which of these ids stand for purged letters.
pub async fn purged(
    session: &mut Session,
    ids: &[u128],
) -> Result<HashMap<u128, LetterNumber>, Trouble> {
    let ids: Vec<Uuid> = ids.iter().map(|id| Uuid::from_u128(*id)).collect();
    let sql = "SELECT id, number FROM @.purged WHERE id = ANY($1)";
    let rows = session.query(sql, &[&ids]).await?;
    let purged = rows.iter().map(|row| {
        let number = LetterNumber(row.get::<_, i64>(1) as u64);
        (row.get::<_, Uuid>(0).as_u128(), number)
    });
    Ok(purged.collect())
}

/// These ids stand for no purged letter any more.
pub async fn unpurge(session: &mut Session, ids: &[u128]) -> Result<(), Trouble> {
    if !ids.is_empty() {
        let ids: Vec<Uuid> = ids.iter().map(|id| Uuid::from_u128(*id)).collect();
        let sql = "DELETE FROM @.purged WHERE id = ANY($1)";
        session.execute(sql, &[&ids]).await?;
    }
    Ok(())
}

/// All that are queued, in the order of their numbers.
pub async fn all_queued(session: &mut Session) -> Result<Vec<Queued>, Trouble> {
    let sql = format!("SELECT {QUEUED} FROM @.letters WHERE reason IS NULL ORDER BY number");
    Ok(session.query(&sql, &[]).await?.iter().map(queued).collect())
}

/// A letter with its bytes, dead or queued again.
#[derive(Clone)]
pub struct Whole {
    pub number: LetterNumber,
    pub id_hash: u128,
    pub reason: Option<DeadReason>,
    pub failures: u32,
    pub accepted_at: Millis,
    pub event_time: i64,
    pub died_at: Millis,
    pub message: String,
    /// None: they cannot be read.
    pub body: Option<Bytes>,
}

pub const WHOLE: &str = "number, id, reason, failures, accepted_at, event_time, died_at, message, \
                         body_hash, length, body";

pub fn whole(row: &Row) -> Whole {
    let (hash, length, packed): (i64, i32, &[u8]) = (row.get(8), row.get(9), row.get(10));
    let body = block::unpack_bytes(packed, length as usize).ok();
    let body = body.filter(|body| dead_record::body_hash(body) == hash as u64);
    let reason: Option<i16> = row.get(2);
    Whole {
        number: LetterNumber(row.get::<_, i64>(0) as u64),
        id_hash: row.get::<_, Uuid>(1).as_u128(),
        reason: reason.and_then(|reason| DeadReason::from_index(reason as usize)),
        failures: row.get::<_, i32>(3) as u32,
        accepted_at: row.get(4),
        event_time: row.get(5),
        died_at: row.get(6),
        message: row.get(7),
        body: body.map(Bytes::from),
    }
}

impl Whole {
    /// As the operator meets it; none: it is queued again, or cannot be read.
    pub fn letter(self) -> Option<Letter> {
        Some(Letter {
            key: LetterKey {
                number: self.number,
                id_hash: self.id_hash,
                reason: self.reason?,
            },
            accepted_at: self.accepted_at,
            event_time: self.event_time,
            died_at: self.died_at,
            message: self.message,
            body: self.body?,
        })
    }
}

/// An event that is taken back waits under a number of its own.
pub fn taken_back(event: &Import, number: LetterNumber, now: Millis) -> New {
    New {
        number,
        id_hash: event.id_hash,
        reason: None,
        failures: 0,
        accepted_at: event.accepted_at,
        event_time: event.event_time,
        died_at: now,
        message: String::new(),
        body: event.body.clone(),
        sent: None,
    }
}
