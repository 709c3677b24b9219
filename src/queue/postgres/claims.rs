//! Claims: takes chunks writer by writer, by group, and hands out their events. Writes nothing, and
//! keeps no transaction open.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::hands::Reading;
use super::letters;
use super::session::Session;
use super::shared::{Shared, Tries};
use super::stored::{COLUMNS, Stored, events};
use super::trouble::Trouble;
use super::turn_ops::TurnOp;
use super::wave::Place;
use crate::queue::contract::{Entry, EntryId, LetterNumber, QueueError};
use crate::queue::lock::lock;
use crate::queue::record::chunk::Chunk;

/// How often it is looked for chunks of other writers.
const POLL: Duration = Duration::from_millis(250);
/// Chunks of a writer that are read at once.
const AT_ONCE: i64 = 64;

enum Next {
    Kept(Arc<Chunk>),
    Read(Stored),
}

/// One claims at a time.
pub struct Claims {
    shared: Arc<Shared>,
    turns: UnboundedSender<TurnOp>,
    session: Option<Session>,
    /// The turn that what follows is of.
    turn: u64,
    /// Chunks that were read and not yet taken.
    buffers: BTreeMap<u32, VecDeque<Stored>>,
    polled: Option<Instant>,
}

impl Claims {
    pub fn new(shared: Arc<Shared>, turns: UnboundedSender<TurnOp>) -> Self {
        Self {
            shared,
            turns,
            session: None,
            turn: 0,
            buffers: BTreeMap::new(),
            polled: None,
        }
    }

    fn check(&self, turn: u64) -> Result<(), QueueError> {
        if self.shared.is_closing() {
            return Err(self.shared.stopped());
        }
        let held = *self.shared.held.borrow();
        match held.is_held && held.last == turn {
            true => Ok(()),
            false => Err(QueueError::TurnOver),
        }
    }

    /// Waits until there is something to hand out.
    pub async fn claim(
        &mut self,
        turn: u64,
        max_events: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, QueueError> {
        let shared = self.shared.clone();
        let mut held = shared.held.subscribe();
        let mut tries = Tries::default();
        if self.turn != turn {
            self.turn = turn;
            self.buffers.clear();
            self.polled = None;
        }
        loop {
            let changed = shared.claimable.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            self.check(turn)?;
            let wait = match self.some(max_events, max_bytes).await {
                Ok(claimed) if !claimed.is_empty() => {
                    self.check(turn)?;
                    return Ok(claimed);
                }
                Ok(_) => POLL,
                Err(trouble) => {
                    tracing::debug!("claiming waits: {trouble}");
                    self.session = None;
                    tries.next()
                }
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(wait) => {}
                _ = held.wait_for(|held| !held.is_held || held.last != turn) => {}
                () = shared.closed() => {}
            }
        }
    }

    async fn some(&mut self, max_events: usize, max_bytes: usize) -> Result<Vec<Entry>, Trouble> {
        loop {
            let wants = {
                let delivery = lock(&self.shared.delivery);
                delivery
                    .hands
                    .wants(&delivery.account, max_events, max_bytes)
            };
            if !wants || !self.take_one().await? {
                break;
            }
        }
        let (mut line, numbers) = {
            let mut delivery = lock(&self.shared.delivery);
            let delivery = &mut *delivery;
            if delivery.turn != self.turn {
                return Ok(Vec::new());
            }
            delivery
                .hands
                .claim(&delivery.account, max_events, max_bytes)
        };
        if numbers.is_empty() {
            return Ok(line);
        }
        match self.letters(&numbers).await {
            Ok(letters) => {
                line.extend(letters);
                Ok(line)
            }
            Err(trouble) => {
                let mut delivery = lock(&self.shared.delivery);
                if delivery.turn == self.turn {
                    delivery.hands.take_back(line, numbers);
                }
                drop(delivery);
                Err(trouble)
            }
        }
    }

    async fn session(&mut self) -> Result<&mut Session, Trouble> {
        if self
            .session
            .as_ref()
            .is_none_or(|session| session.link().is_closed())
        {
            self.session = Some(self.shared.connect("claim").await?);
        }
        self.session.as_mut().ok_or(Trouble::Again)
    }

    /// The letters of these numbers, in their order; one that cannot be read is set aside.
    async fn letters(&mut self, numbers: &[LetterNumber]) -> Result<Vec<Entry>, Trouble> {
        let raw: Vec<i64> = numbers.iter().map(|number| number.0 as i64).collect();
        let sql = format!(
            "SELECT {} FROM @.letters WHERE number = ANY($1)",
            letters::WHOLE
        );
        let rows = self.session().await?.query(&sql, &[&raw]).await?;
        let mut found: BTreeMap<LetterNumber, letters::Whole> = (rows.iter().map(letters::whole))
            .map(|letter| (letter.number, letter))
            .collect();
        let mut entries = Vec::with_capacity(numbers.len());
        for number in numbers {
            let letter = found.remove(number);
            if letter.is_none() {
                // It was settled before, and told of again by who had asked for its retry.
                let mut delivery = lock(&self.shared.delivery);
                if delivery.turn == self.turn {
                    delivery.vanished(*number);
                }
                continue;
            }
            let Some((letter, body)) = letter.and_then(|l| l.body.clone().map(|body| (l, body)))
            else {
                let _ = self.turns.send(TurnOp::SetLetterAside {
                    turn: self.turn,
                    number: *number,
                });
                continue;
            };
            let id = EntryId::dead(*number);
            let delivery = lock(&self.shared.delivery);
            let mark = delivery.account.marks.get(&id);
            entries.push(Entry {
                id,
                id_hash: letter.id_hash,
                accepted_at: letter.accepted_at,
                event_time: letter.event_time,
                body,
                sent_as: mark.map(|mark| mark.name.clone()),
                failures: letter.failures,
            });
        }
        Ok(entries)
    }

    /// Takes the chunk that comes next, if there is one.
    async fn take_one(&mut self) -> Result<bool, Trouble> {
        let own = self.next_kept();
        let due = self.polled.is_none_or(|at| at.elapsed() >= POLL);
        // Others' chunks are looked for now and then; ours come through memory.
        if due || (own.is_none() && self.lags()) {
            self.read(own.is_none()).await?;
        }
        let read = self
            .buffers
            .iter()
            .filter_map(|(writer, chunks)| chunks.front().map(|chunk| (chunk.first, *writer)));
        let first_read = read.min();
        let (writer, place, generation, next) = match (own, first_read) {
            (Some((writer, place, generation, chunk)), read)
                if read.is_none_or(|(first, _)| chunk.first_seq < first) =>
            {
                (writer, place, generation, Next::Kept(chunk))
            }
            (own, Some((_, writer))) => {
                if let Some((_, place, generation, chunk)) = own {
                    lock(&self.shared.tail).put_back(place, generation, chunk);
                }
                let Some(buffer) = self.buffers.get_mut(&writer) else {
                    return Ok(false);
                };
                let Some(stored) = buffer.pop_front() else {
                    return Ok(false);
                };
                if buffer.is_empty() {
                    // It may go on in the database.
                    self.polled = None;
                }
                (writer, stored.place, stored.generation, Next::Read(stored))
            }
            _ => return Ok(false),
        };
        let (first, count, taken) = match &next {
            Next::Kept(chunk) => (chunk.first_seq, chunk.ids.len() as u64, events(chunk)),
            Next::Read(stored) => {
                let taken = stored.chunk().and_then(|chunk| events(&chunk));
                (stored.first, stored.count, taken)
            }
        };
        let mut delivery = lock(&self.shared.delivery);
        let delivery = &mut *delivery;
        if delivery.turn != self.turn {
            return Ok(false);
        }
        let reading = Reading {
            place,
            piece: generation,
        };
        delivery.hands.readings.insert(writer, reading);
        match taken {
            Ok(events) => delivery
                .hands
                .take((writer, place), events, &delivery.account),
            Err(error) => {
                delivery.hands.pass_over((writer, place), first);
                let _ = self.turns.send(TurnOp::SetAside {
                    turn: self.turn,
                    generation,
                    writer,
                    place,
                    first,
                    count,
                    why: error.to_string(),
                });
            }
        }
        Ok(true)
    }

    /// The next chunk of our own, if it is kept and follows on what was taken.
    fn next_kept(&self) -> Option<(u32, Place, i32, Arc<Chunk>)> {
        let writer = lock(&self.shared.tail).writer();
        // What was read before comes first.
        if self
            .buffers
            .get(&writer)
            .is_some_and(|read| !read.is_empty())
        {
            return None;
        }
        let after = self.place_of(writer);
        let (place, generation, chunk) = lock(&self.shared.tail).next(after)?;
        Some((writer, place, generation, chunk))
    }

    fn place_of(&self, writer: u32) -> Place {
        let delivery = lock(&self.shared.delivery);
        let reading = delivery.hands.readings.get(&writer);
        reading.map_or_else(
            || {
                delivery
                    .account
                    .lows
                    .get(&writer)
                    .copied()
                    .unwrap_or_default()
            },
            |reading| reading.place,
        )
    }

    /// Whether chunks of our own are in the database alone.
    fn lags(&self) -> bool {
        let (writer, last) = {
            let tail = lock(&self.shared.tail);
            (tail.writer(), tail.last())
        };
        self.buffers.get(&writer).is_none_or(VecDeque::is_empty) && self.place_of(writer) < last
    }

    /// Reads on where no chunk of a writer is at hand.
    async fn read(&mut self, own_too: bool) -> Result<(), Trouble> {
        let own = lock(&self.shared.tail).writer();
        let catalog = self.shared.catalog();
        let shared = self.shared.clone();
        let session = self.session().await?;
        let sql = "SELECT writer FROM @.writers";
        let writers = session.query(sql, &[]).await?;
        let first = catalog.line.first().map_or(0, |piece| piece.number);
        let mut wanted: BTreeMap<u32, Reading> = BTreeMap::new();
        {
            let delivery = lock(&shared.delivery);
            for row in &writers {
                let writer = row.get::<_, i32>(0) as u32;
                let is_at_hand = self.buffers.get(&writer).is_some_and(|b| !b.is_empty());
                if is_at_hand || (writer == own && !own_too) {
                    continue;
                }
                let reading = delivery.hands.readings.get(&writer).copied();
                let low = delivery.account.lows.get(&writer).copied();
                let reading = reading.unwrap_or(Reading {
                    place: low.unwrap_or_default(),
                    piece: first,
                });
                wanted.insert(writer, reading);
            }
        }
        let mut found: Vec<Stored> = Vec::new();
        let session = self.session.as_mut().ok_or(Trouble::Again)?;
        for piece in &catalog.line {
            let here: Vec<(u32, Place)> = (wanted.iter())
                .filter(|(_, reading)| reading.piece <= piece.number)
                .map(|(writer, reading)| (*writer, reading.place))
                .collect();
            if here.is_empty() {
                continue;
            }
            let (ids, groups, parts) = (
                here.iter().map(|(w, _)| *w as i32).collect::<Vec<_>>(),
                here.iter().map(|(_, p)| p.group as i64).collect::<Vec<_>>(),
                here.iter().map(|(_, p)| p.part as i32).collect::<Vec<_>>(),
            );
            let sql = format!(
                "SELECT c.* FROM unnest($1::int4[], $2::int8[], $3::int4[]) AS w(writer, grp, part) \
                 CROSS JOIN LATERAL (SELECT {COLUMNS} FROM @.chunks_{} c \
                     WHERE c.writer = w.writer AND (c.grp, c.part) > (w.grp, w.part) \
                     AND c.count > 0 ORDER BY c.grp, c.part LIMIT {AT_ONCE}) c",
                piece.number
            );
            for row in session.query(&sql, &[&ids, &groups, &parts]).await? {
                let stored = Stored::of(&row, piece.number);
                wanted.remove(&stored.writer);
                found.push(stored);
            }
            if piece.sealed_at.is_none() {
                continue;
            }
            // Nothing comes into a sealed one: whoever is not in it goes on behind it.
            let mut delivery = lock(&shared.delivery);
            for (writer, place) in here {
                if wanted.contains_key(&writer) {
                    let reading = Reading {
                        place,
                        piece: piece.number + 1,
                    };
                    delivery.hands.readings.insert(writer, reading);
                }
            }
        }
        for stored in found {
            self.buffers
                .entry(stored.writer)
                .or_default()
                .push_back(stored);
        }
        self.polled = Some(Instant::now());
        Ok(())
    }
}
