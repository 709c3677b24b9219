//! What operators ask: reads beside the writer and the claims, in short statements.

use std::ops::RangeInclusive;
use std::sync::Arc;

use uuid::Uuid;

use super::account::Account;
use super::catalog::Catalog;
use super::delivery::GiveUp;
use super::journal::between_turns;
use super::letters::{self, Whole};
use super::numbers::{BLOCK, block_of};
use super::session::Session;
use super::shared::Shared;
use super::stored::{COLUMNS, Stored, events};
use super::trouble::Trouble;
use super::wave::Place;
use crate::queue::contract::{
    Entry, EntryId, Found, LetterFilter, LetterKey, LetterNumber, PAGE_BYTES, PAGE_NUMBERS, Page,
    Seq, Unsettled, Waiting, WaitingPage, Whose,
};
use crate::queue::lock::lock;

/// Chunks that are read at once.
const CHUNKS: i64 = 64;

/// The account as it stands: that of whoever delivers here, or what the journal says.
pub async fn account(shared: &Shared, session: &mut Session) -> Result<Known, Trouble> {
    if shared.held.borrow().is_held {
        return Ok(Known::Here);
    }
    let catalog = shared.refresh(session).await?;
    let account = between_turns(session, catalog.line_now()).await?;
    Ok(Known::Read(Box::new(account)))
}

/// Where the account is.
pub enum Known {
    Here,
    Read(Box<Account>),
}

impl Known {
    fn with<T>(&self, shared: &Shared, look: impl FnOnce(&Account) -> T) -> T {
        match self {
            Self::Here => look(&lock(&shared.delivery).account),
            Self::Read(account) => look(account),
        }
    }
}

/// The open events of a chunk.
fn open(shared: &Shared, known: &Known, stored: &Stored) -> Vec<Entry> {
    let chunk = stored.chunk().and_then(|chunk| events(&chunk));
    // What cannot be read is set aside by whoever claims it.
    let mut events = chunk.unwrap_or_default();
    known.with(shared, |account| {
        match account.is_behind(stored.writer, stored.place) {
            true => events.clear(),
            false => events.retain(|event| !account.is_settled(event.id)),
        }
    });
    events
}

/// The chunks of the line whose numbers begin behind `after`, in the order of their numbers.
async fn chunks_behind(
    session: &mut Session,
    catalog: &Catalog,
    after: Seq,
) -> Result<Vec<Stored>, Trouble> {
    let mut found = Vec::new();
    for piece in &catalog.line {
        let sql = format!(
            "SELECT {COLUMNS} FROM @.chunks_{} WHERE first > $1 AND count > 0 ORDER BY first LIMIT {CHUNKS}",
            piece.number
        );
        let rows = session.query(&sql, &[&(after.0 as i64)]).await?;
        found.extend(rows.iter().map(|row| Stored::of(row, piece.number)));
    }
    found.sort_unstable_by_key(|stored| stored.first);
    found.truncate(CHUNKS as usize);
    Ok(found)
}

/// Up to `limit` open events of the line behind number `after`.
pub async fn waiting(
    shared: &Shared,
    session: &mut Session,
    after: Seq,
    limit: usize,
) -> Result<WaitingPage, Trouble> {
    let known = account(shared, session).await?;
    let catalog = shared.refresh(session).await?;
    let mut page = WaitingPage::default();
    // The block that it is in may have more behind it.
    let (block, _) = block_of(after);
    let mut from = Seq(block.0.saturating_sub(1));
    loop {
        let chunks = chunks_behind(session, &catalog, from).await?;
        let Some(last) = chunks.last().map(|stored| stored.first) else {
            return Ok(page);
        };
        for stored in chunks {
            for event in open(shared, &known, &stored) {
                let number = Seq(event.id.to_raw());
                if number <= after {
                    continue;
                }
                if page.events.len() >= limit || page.bytes >= PAGE_BYTES {
                    page.next = page.events.last().map(|event| event.number);
                    return Ok(page);
                }
                page.bytes += event.body.len();
                page.events.push(Waiting {
                    number,
                    id_hash: event.id_hash,
                    accepted_at: event.accepted_at,
                    event_time: event.event_time,
                    body: event.body,
                });
            }
        }
        from = last;
    }
}

/// The oldest events that wait or are being sent.
pub async fn oldest(
    shared: &Shared,
    session: &mut Session,
    limit: usize,
) -> Result<Vec<Unsettled>, Trouble> {
    let page = waiting(shared, session, Seq(0), limit).await?;
    let known = account(shared, session).await?;
    let sent = |id: EntryId| known.with(shared, |account| account.sent(id));
    let mut oldest: Vec<Unsettled> = (page.events.into_iter())
        .map(|event| {
            let id = EntryId::line(event.number);
            Unsettled {
                id,
                id_hash: event.id_hash,
                accepted_at: event.accepted_at,
                failures: 0,
                sent: sent(id),
                body: event.body,
            }
        })
        .collect();
    let sql = format!(
        "SELECT {} FROM @.letters WHERE reason IS NULL ORDER BY accepted_at, number LIMIT $1",
        letters::WHOLE
    );
    let rows = session.query(&sql, &[&(limit as i64)]).await?;
    for letter in rows.iter().map(letters::whole) {
        let id = EntryId::dead(letter.number);
        let Some(body) = letter.body else { continue };
        oldest.push(Unsettled {
            id,
            id_hash: letter.id_hash,
            accepted_at: letter.accepted_at,
            failures: letter.failures,
            sent: sent(id),
            body,
        });
    }
    oldest.sort_by_key(|event| (event.accepted_at, event.id));
    oldest.truncate(limit);
    Ok(oldest)
}

/// A page of the dead letters.
pub async fn dead_page(
    session: &mut Session,
    numbers: RangeInclusive<LetterNumber>,
    keep: LetterFilter,
) -> Result<Page, Trouble> {
    let raw = |number: LetterNumber| i64::try_from(number.0).unwrap_or(i64::MAX);
    let (mut from, to) = (raw(*numbers.start()), raw(*numbers.end()));
    let mut page = Page::default();
    let (mut bytes, mut seen) = (0, 0u64);
    loop {
        let sql = format!(
            "SELECT {} FROM @.letters WHERE number BETWEEN $1 AND $2 AND reason IS NOT NULL \
             ORDER BY number LIMIT 256",
            letters::WHOLE
        );
        let rows = session.query(&sql, &[&from, &to]).await?;
        let is_last = rows.len() < 256;
        for row in &rows {
            let whole: Whole = letters::whole(row);
            if bytes >= PAGE_BYTES || seen >= PAGE_NUMBERS {
                page.next = Some(whole.number);
                return Ok(page);
            }
            seen += 1;
            from = raw(whole.number) + 1;
            let Some(letter) = whole.letter() else {
                continue;
            };
            if keep(&letter) {
                bytes += letter.body.len();
                page.letters.push(letter);
            }
        }
        if is_last {
            return Ok(page);
        }
    }
}

/// The number of the dead letter under this id.
pub async fn dead_number(
    session: &mut Session,
    id_hash: u128,
) -> Result<Option<LetterNumber>, Trouble> {
    let sql = "SELECT max(number) FROM @.letters WHERE id = $1 AND reason IS NOT NULL";
    let rows = session.query(sql, &[&Uuid::from_u128(id_hash)]).await?;
    let number: Option<i64> = rows.first().and_then(|row| row.get(0));
    Ok(number.map(|number| LetterNumber(number as u64)))
}

/// Where the event of this id is.
pub async fn find(shared: &Shared, session: &mut Session, id_hash: u128) -> Result<Found, Trouble> {
    let known = account(shared, session).await?;
    let id = Uuid::from_u128(id_hash);
    let sql = format!(
        "SELECT {} FROM @.letters WHERE id = $1 ORDER BY reason IS NULL, number DESC LIMIT 1",
        letters::WHOLE
    );
    let rows = session.query(&sql, &[&id]).await?;
    let letter = rows.first().map(letters::whole);
    let queued = match letter {
        Some(letter) if letter.reason.is_some() => {
            return Ok(letter.letter().map_or(Found::Unknown, Found::Dead));
        }
        queued => queued,
    };
    if let Some(letter) = queued {
        let id = EntryId::dead(letter.number);
        return Ok(Found::Queued {
            id,
            accepted_at: letter.accepted_at,
            sent: known.with(shared, |account| account.sent(id)),
        });
    }
    if let Some(number) = letters::purged(session, &[id_hash]).await?.get(&id_hash) {
        return Ok(Found::Purged { number: *number });
    }
    let catalog = shared.refresh(session).await?;
    let mut tables = catalog.ids.iter().rev();
    let mut settled = None;
    for piece in tables.by_ref() {
        let sql = format!("SELECT number FROM @.ids_{} WHERE id = $1", piece.number);
        let rows = session.query(&sql, &[&id]).await?;
        let Some(row) = rows.first() else { continue };
        let number = Seq(row.get::<_, i64>(0) as u64);
        if let Some(found) = in_line(shared, session, &catalog, &known, number, id_hash).await? {
            return Ok(found);
        }
        settled.get_or_insert(Found::Settled {
            accepted_after: Some(piece.began_at),
            accepted_by: piece.sealed_at,
        });
    }
    Ok(settled.unwrap_or(Found::Unknown))
}

/// The event of this number and id, if it is open.
async fn in_line(
    shared: &Shared,
    session: &mut Session,
    catalog: &Catalog,
    known: &Known,
    number: Seq,
    id_hash: u128,
) -> Result<Option<Found>, Trouble> {
    let (first, _) = block_of(number);
    if first.0 < BLOCK {
        return Ok(None);
    }
    for piece in &catalog.line {
        let sql = format!(
            "SELECT {COLUMNS} FROM @.chunks_{} WHERE first = $1",
            piece.number
        );
        let rows = session.query(&sql, &[&(first.0 as i64)]).await?;
        for stored in rows.iter().map(|row| Stored::of(row, piece.number)) {
            let event =
                (open(shared, known, &stored).into_iter()).find(|event| event.id_hash == id_hash);
            if let Some(event) = event {
                let sent = known.with(shared, |account| account.sent(event.id));
                return Ok(Some(Found::Queued {
                    id: event.id,
                    accepted_at: event.accepted_at,
                    sent,
                }));
            }
        }
    }
    Ok(None)
}

/// Everything of one person: what waits, and the dead letters.
pub async fn theirs(
    shared: &Shared,
    session: &mut Session,
    whose: Whose,
) -> Result<(Vec<GiveUp>, Vec<LetterKey>), Trouble> {
    let known = account(shared, session).await?;
    let catalog = shared.refresh(session).await?;
    let (mut queued, mut dead) = (Vec::new(), Vec::new());
    let mut from = Seq(0);
    loop {
        let chunks = chunks_behind(session, &catalog, from).await?;
        let Some(last) = chunks.last().map(|stored| stored.first) else {
            break;
        };
        for stored in &chunks {
            let theirs = (open(shared, &known, stored).into_iter())
                .filter(|event| whose(event.id_hash, &event.body));
            queued.extend(theirs.map(|event| GiveUp {
                id: event.id,
                id_hash: event.id_hash,
                chunk: Some((stored.writer, stored.place)),
            }));
        }
        from = last;
    }
    let mut after = 0i64;
    loop {
        let sql = format!(
            "SELECT {} FROM @.letters WHERE number > $1 ORDER BY number LIMIT 256",
            letters::WHOLE
        );
        let rows = session.query(&sql, &[&after]).await?;
        let Some(last) = rows.last() else { break };
        after = last.get(0);
        for letter in rows.iter().map(letters::whole) {
            if !letter
                .body
                .as_ref()
                .is_some_and(|body| whose(letter.id_hash, body))
            {
                continue;
            }
            match letter.reason {
                Some(reason) => dead.push(LetterKey {
                    number: letter.number,
                    id_hash: letter.id_hash,
                    reason,
                }),
                None => queued.push(GiveUp {
                    id: EntryId::dead(letter.number),
                    id_hash: letter.id_hash,
                    chunk: None,
                }),
            }
        }
    }
    Ok((queued, dead))
}

/// Where the chunk of an event of the line is.
pub async fn chunk_of(
    shared: &Shared,
    session: &mut Session,
    number: Seq,
) -> Result<Option<(u32, Place)>, Trouble> {
    let catalog: Arc<Catalog> = shared.refresh(session).await?;
    let (first, _) = block_of(number);
    for piece in &catalog.line {
        let sql = format!(
            "SELECT {COLUMNS} FROM @.chunks_{} WHERE first = $1",
            piece.number
        );
        let rows = session.query(&sql, &[&(first.0 as i64)]).await?;
        if let Some(row) = rows.first() {
            let stored = Stored::of(row, piece.number);
            return Ok(Some((stored.writer, stored.place)));
        }
    }
    Ok(None)
}
