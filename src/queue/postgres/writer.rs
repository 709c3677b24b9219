//! The writer: one life of this daemon, and the one task that accepts. One group at a time, while
//! the next gathers; each group is one transaction that inserts and updates nothing, but for letters
//! that come or go.
//!
//! Invariant: a receipt leaves only when its group is acknowledged ([`Session::commit`]), or when it
//! was found committed and a later group of this writer is acknowledged. What is unknown is resolved
//! before the next group is written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, timeout};

use super::catalog::Catalog;
use super::counts;
use super::delivery::Delivery;
use super::group::{self, Decided, Known, Part};
use super::ids;
use super::journal::{between_turns, read_journal};
use super::letters::{self, Queued};
use super::numbers::BLOCK;
use super::replies::{Replies, Ticket};
use super::session::{Param, Session};
use super::shared::{Counted, Shared, Tries};
use super::tail::Tail;
use super::totals::Totals;
use super::trouble::Trouble;
use super::wave::Place;
use crate::queue::block::Block;
use crate::queue::contract::{
    IdSet, Import, Imported, LetterKey, LetterNumber, Loss, PauseRecord, QueueError, Receipt, Seq,
};
use crate::queue::lock::lock;
use crate::queue::record::chunk::Chunk;
use crate::queue::record::codec::append_checksum;

/// A block that came in, and who waits for its receipts.
pub struct Arrival {
    pub block: Block,
    pub reply: Ticket,
    /// Given back when the block is committed, or given up.
    pub _room: OwnedSemaphorePermit,
}

/// What the operator asks of the letters and beside them.
pub enum Asked {
    Retry(Vec<LetterKey>),
    Purge(Vec<LetterKey>),
    /// Of one person: given up without a way back.
    ForgetDead(Vec<LetterKey>),
    TakeBack(Vec<Import>),
    Pause(Option<PauseRecord>),
    Acknowledge,
}

/// What became of it.
pub enum Done {
    Count(u64),
    TakenBack(Vec<Option<Imported>>),
    Acknowledged(Vec<Loss>),
    Nothing,
}

/// How long an operator waits for a database that is away.
pub const OPERATOR_WAITS: Duration = Duration::from_secs(30);

pub enum WriterOp {
    Accept(Arrival),
    Asked(Asked, oneshot::Sender<Result<Done, QueueError>>),
    /// What was sent before is done, one way or the other.
    #[cfg(test)]
    Behind(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
}

/// Bytes of packed blocks, and events, in one group.
const GROUP_BYTES: usize = 4 << 20;
const GROUP_EVENTS: usize = 16_384;
/// What a stop waits for a last word to the database.
const CLOSING: Duration = Duration::from_secs(2);
/// Blocks of numbers that are fetched at once.
const BLOCKS: i32 = 64;

enum Work {
    Accept(Vec<Arrival>),
    Asked(
        Asked,
        Option<oneshot::Sender<Result<Done, QueueError>>>,
        Instant,
    ),
    /// A group without anything, whose acknowledgement vouches for those before it, which come to
    /// these totals.
    Vouch(u64, Totals),
}

/// What a group comes to, once it is committed.
#[derive(Default)]
struct Outcome {
    writer: u32,
    generation: i32,
    totals: Totals,
    receipts: Vec<Vec<Receipt>>,
    chunks: Vec<(Place, Arc<Chunk>)>,
    queued: Vec<Queued>,
    done: Option<Done>,
}

/// How an attempt ended.
enum Attempt {
    Acknowledged(Outcome),
    /// COMMIT was on its way.
    Unknown(Outcome, String),
    Failed(Trouble),
}

pub struct Writer {
    shared: Arc<Shared>,
    ops: UnboundedReceiver<WriterOp>,
    replies: Arc<Replies>,
    session: Option<Session>,
    number: u32,
    /// The last group that was acknowledged.
    group: u64,
    /// The same, if there was one, and its generation.
    acknowledged: Option<(u64, i32)>,
    totals: Totals,
    numbers: VecDeque<Seq>,
    /// Receipts of the group that was acknowledged.
    owed: Vec<(Ticket, Vec<Receipt>)>,
    owed_done: Option<(oneshot::Sender<Result<Done, QueueError>>, Done)>,
    tries: Tries,
    /// The queue closes, and the database does not answer.
    has_given_up: bool,
}

impl Writer {
    pub fn new(
        shared: Arc<Shared>,
        ops: UnboundedReceiver<WriterOp>,
        replies: Arc<Replies>,
        mut session: Session,
        number: u32,
    ) -> Self {
        Self {
            shared,
            ops,
            replies,
            session: {
                session.writes_as(format!("writer {number}").as_bytes());
                Some(session)
            },
            number,
            group: 0,
            acknowledged: None,
            totals: Totals::default(),
            numbers: VecDeque::new(),
            owed: Vec::new(),
            owed_done: None,
            tries: Tries::default(),
            has_given_up: false,
        }
    }

    /// Runs until the queue is closed.
    pub async fn run(mut self) {
        let mut next = None;
        loop {
            let op = match next.take() {
                Some(op) => op,
                None => match self.idle().await {
                    Some(op) => op,
                    None => return,
                },
            };
            match op {
                WriterOp::Accept(arrival) => {
                    let (mut bytes, mut events) = (0, 0);
                    let mut arrivals = Vec::new();
                    let mut last = Some(arrival);
                    while let Some(arrival) = last.take() {
                        bytes += arrival.block.packed.len();
                        events += arrival.block.ids.len();
                        arrivals.push(arrival);
                        if bytes >= GROUP_BYTES || events >= GROUP_EVENTS {
                            break;
                        }
                        match self.ops.try_recv() {
                            Ok(WriterOp::Accept(arrival)) => last = Some(arrival),
                            Ok(other) => next = Some(other),
                            Err(_) => {}
                        }
                    }
                    self.carry_out(Work::Accept(arrivals)).await;
                }
                WriterOp::Asked(asked, reply) => {
                    let until = Instant::now() + OPERATOR_WAITS;
                    self.carry_out(Work::Asked(asked, Some(reply), until)).await;
                }
                #[cfg(test)]
                WriterOp::Behind(reply) => {
                    let _ = reply.send(());
                }
                WriterOp::Close(reply) => {
                    self.close().await;
                    let _ = reply.send(());
                    return;
                }
            }
        }
    }

    /// Waits for something to do; a connection that breaks meanwhile is noticed and mended.
    async fn idle(&mut self) -> Option<WriterOp> {
        loop {
            if self.shared.is_closing() {
                return self.ops.recv().await;
            }
            let broken = self.session.as_ref().is_none_or(|s| s.link().is_closed())
                || self.shared.has_it_gone_back();
            if broken {
                self.session = None;
                match self.reconnect().await {
                    // Nothing is unknown. Whether a commit is acknowledged the next one shows.
                    Ok(()) => self.shared.is_back(),
                    Err(trouble) => self.trouble(&trouble).await,
                }
                if let Ok(op) = self.ops.try_recv() {
                    return Some(op);
                }
                continue;
            }
            let closed = async {
                match &self.session {
                    Some(session) => session.link().closed().await,
                    None => std::future::pending().await,
                }
            };
            let mut went_back = self.shared.went_back.subscribe();
            tokio::select! {
                biased;
                op = self.ops.recv() => return op,
                _ = closed => {}
                // The deliverer may be the one that finds it out.
                _ = went_back.wait_for(|went_back| *went_back) => {}
            }
        }
    }

    /// Connects anew, and looks whether the database knows what it acknowledged.
    async fn reconnect(&mut self) -> Result<(), Trouble> {
        let mut session = self.shared.connect("accept").await?;
        if let Some(lacking) = session.lacking().await? {
            return Err(Trouble::Refused(lacking));
        }
        let catalog = self.shared.refresh(&mut session).await?;
        if catalog.adoptions != self.shared.adoptions.load(Ordering::SeqCst) {
            self.begin_anew(&mut session, &catalog).await?;
        }
        let missing = match self.acknowledged {
            Some((group, generation))
                if !is_there(&mut session, &catalog, self.number, group, generation).await? =>
            {
                Some(format!("group {group} of writer {}", self.number))
            }
            // That it began was acknowledged, too.
            None if !is_known(&mut session, self.number).await? => {
                Some(format!("writer {}", self.number))
            }
            _ => None,
        };
        if let Some(missing) = missing {
            return Err(Trouble::WentBack(format!(
                "{missing} was acknowledged and is not there: the database was put back to an \
                 earlier state; nothing is accepted and nothing delivered until `pinrelay adopt` \
                 says that it shall stay so"
            )));
        }
        if self.shared.has_it_gone_back() {
            return Err(Trouble::WentBack(
                "the database was put back to an earlier state: `pinrelay adopt` when that is as it \
                 shall stay"
                    .into(),
            ));
        }
        session.writes_as(format!("writer {}", self.number).as_bytes());
        // A server that was promoted may give those again that this one gave.
        self.numbers.clear();
        self.session = Some(session);
        Ok(())
    }

    /// The queue was adopted: this daemon goes on as a new writer.
    async fn begin_anew(
        &mut self,
        session: &mut Session,
        catalog: &Catalog,
    ) -> Result<(), Trouble> {
        let (number, _) = register(session, catalog).await?;
        self.number = number;
        self.group = 0;
        self.acknowledged = None;
        self.totals = Totals::default();
        let others = counts::others(session, catalog, number).await?;
        let turns = between_turns(session, catalog.line_now()).await?;
        *lock(&self.shared.tail) = Tail::of(number);
        let mut counted = Counted {
            others,
            turns: turns.totals,
            in_doubt: turns.in_doubt(),
            ..Counted::default()
        };
        let mut delivery = lock(&self.shared.delivery);
        // Of the turn that was here, too, nothing counts any more.
        let is_begun = delivery.turn != 0;
        if !is_begun {
            *delivery = Delivery {
                account: turns,
                ..Delivery::default()
            };
        }
        drop(delivery);
        let mut known = lock(&self.shared.counted);
        if is_begun {
            (counted.turns, counted.sending) = (known.turns, known.sending);
            counted.in_doubt = known.in_doubt;
        }
        *known = counted;
        drop(known);
        self.shared
            .adoptions
            .store(catalog.adoptions, Ordering::SeqCst);
        self.shared.went_back.send_replace(false);
        tracing::info!("the queue was adopted: this daemon goes on as writer {number}");
        Ok(())
    }

    async fn trouble(&mut self, trouble: &Trouble) {
        match trouble {
            Trouble::Again | Trouble::Stale => return,
            Trouble::WentBack(why) => self.shared.has_gone_back(why),
            _ => {}
        }
        self.shared.is_away(&trouble.to_string());
        let span = self.tries.next();
        self.shared.pause(span).await;
    }

    /// Does it, however long that takes; at a stop, as far as the database answers.
    async fn carry_out(&mut self, mut work: Work) {
        let mut unknown: Option<Outcome> = None;
        // Groups behind the unknown one that were on their way to vouch for it. Each has a number of
        // its own, and nothing in it.
        let mut vouches = 0;
        // What was looked for and not found. If its row turns up all the same, it is what counts.
        let mut missed: Option<Outcome> = None;
        loop {
            if self.session.is_none()
                && let Err(trouble) = self.reconnect().await
            {
                self.trouble(&trouble).await;
                if self.shared.is_closing() {
                    return self.give_up(work);
                }
                continue;
            }
            if let Some(outcome) = unknown.take_if(|outcome| outcome.writer != self.number) {
                // The queue was adopted since: what came of it, the ids tell.
                drop(outcome);
            }
            // Looked at on each connection: a server that was promoted may lack what was found on
            // the one before.
            let mut found = None;
            if let Some(outcome) = unknown.take() {
                match self.resolve(outcome.generation).await {
                    Ok(true) => {
                        if vouches == 0 {
                            tracing::info!(
                                "a commit of unknown outcome was found to have happened"
                            );
                        }
                        vouches += 1;
                        found = Some(outcome);
                    }
                    Ok(false) => {
                        vouches = 0;
                        missed = Some(outcome);
                    }
                    Err(trouble) => {
                        unknown = Some(outcome);
                        self.session = None;
                        self.trouble(&trouble).await;
                        continue;
                    }
                }
            }
            let attempt = match &found {
                Some(found) => {
                    let vouch = Work::Vouch(self.group + 1 + vouches, found.totals);
                    self.attempt(&vouch).await
                }
                None => self.attempt(&work).await,
            };
            match attempt {
                Attempt::Acknowledged(outcome) => {
                    self.tries = Tries::default();
                    self.shared.is_back();
                    let generation = outcome.generation;
                    match found {
                        Some(found) => {
                            self.happened(found, work);
                            self.group += vouches;
                        }
                        None => self.happened(outcome, work),
                    }
                    self.acknowledged = Some((self.group, generation));
                    return self.answer();
                }
                Attempt::Unknown(outcome, why) => {
                    tracing::debug!("a commit of unknown outcome: {why}");
                    self.session = None;
                    unknown = Some(found.unwrap_or(outcome));
                    self.shared.is_away(&why);
                    self.expire(&mut work);
                }
                Attempt::Failed(trouble) => {
                    unknown = found;
                    match &trouble {
                        Trouble::Stale => {
                            let known = self.shared.adoptions.load(Ordering::SeqCst);
                            if let Some(session) = &mut self.session
                                && let Ok(catalog) = self.shared.refresh(session).await
                                && catalog.adoptions == known
                            {
                                continue;
                            }
                            // Connected anew, it looks whether it begins a new life.
                            self.session = None;
                            continue;
                        }
                        Trouble::Again => {}
                        Trouble::Clash(_) if missed.is_some() => {
                            unknown = missed.take();
                            self.session = None;
                            continue;
                        }
                        Trouble::Refused(_) | Trouble::Clash(_) => {
                            let rolled_back = match &mut self.session {
                                Some(session) => session.rollback().await,
                                None => Ok(()),
                            };
                            if rolled_back.is_err() {
                                self.session = None;
                            }
                        }
                        _ => self.session = None,
                    }
                    if let Trouble::Again = trouble {
                        if let Some(session) = &mut self.session
                            && session.rollback().await.is_err()
                        {
                            self.session = None;
                        }
                        continue;
                    }
                    self.trouble(&trouble).await;
                    self.expire(&mut work);
                    if self.shared.is_closing() {
                        return self.give_up(work);
                    }
                }
            }
        }
    }

    /// An operator who has waited long is told so; what was asked for may be done all the same.
    fn expire(&self, work: &mut Work) {
        if let Work::Asked(_, reply, until) = work
            && Instant::now() >= *until
            && let Some(reply) = reply.take()
        {
            let _ = reply.send(Err(self.unavailable()));
        }
    }

    fn unavailable(&self) -> QueueError {
        let away = lock(&self.shared.away).clone();
        QueueError::Unavailable(away.unwrap_or_else(|| "the database is away".into()))
    }

    /// The queue closes and the database does not answer.
    fn give_up(&mut self, work: Work) {
        self.has_given_up = true;
        let why = self.unavailable();
        match work {
            Work::Accept(arrivals) => {
                for arrival in arrivals {
                    self.replies.answer(arrival.reply, Err(why.clone()));
                }
            }
            Work::Asked(_, Some(reply), _) => {
                let _ = reply.send(Err(why.clone()));
            }
            Work::Asked(..) | Work::Vouch(..) => {}
        }
        for (reply, _) in self.owed.drain(..) {
            self.replies.answer(reply, Err(why.clone()));
        }
    }

    /// The group is in the database.
    fn happened(&mut self, outcome: Outcome, work: Work) {
        self.group += 1;
        self.totals = outcome.totals;
        lock(&self.shared.counted).own = outcome.totals;
        match work {
            Work::Accept(arrivals) => {
                let replies = arrivals.into_iter().map(|arrival| arrival.reply);
                self.owed.extend(replies.zip(outcome.receipts));
            }
            Work::Asked(_, reply, _) => {
                self.owed_done = reply.zip(outcome.done);
            }
            Work::Vouch(..) => {}
        }
        let mut delivery = lock(&self.shared.delivery);
        for letter in outcome.queued {
            if let Some((name, at)) = &letter.sent {
                (delivery.account).mark_in_doubt(letter.number, name.clone(), *at);
            }
            delivery.hands.queue(letter);
        }
        let (sending, in_doubt) = (delivery.account.sending(), delivery.account.in_doubt());
        drop(delivery);
        lock(&self.shared.tail).push(outcome.generation, outcome.chunks);
        let mut counted = lock(&self.shared.counted);
        (counted.sending, counted.in_doubt) = (sending, in_doubt);
        drop(counted);
        self.shared.claimable.notify_waiters();
    }

    fn answer(&mut self) {
        for (reply, receipts) in self.owed.drain(..) {
            self.replies.answer(reply, Ok(receipts));
        }
        if let Some((reply, done)) = self.owed_done.take() {
            let _ = reply.send(Ok(done));
        }
    }

    /// Whether the group that was last on its way is in the database. Waits for whoever still may
    /// write it.
    async fn resolve(&mut self, generation: i32) -> Result<bool, Trouble> {
        let (number, group) = (self.number as i32, (self.group + 1) as i64);
        let session = self.session.as_mut().ok_or(Trouble::Again)?;
        let mut catalog = self.shared.catalog();
        loop {
            match session.begin(catalog.version).await {
                Ok(_) => break,
                Err(Trouble::Stale) => catalog = self.shared.refresh(session).await?,
                Err(other) => return Err(other),
            }
        }
        if catalog.line_now() != generation {
            // Whoever sealed it waited for all who wrote to it.
            session.rollback().await?;
            return is_there(session, &catalog, self.number, self.group + 1, generation).await;
        }
        let sql = format!(
            "INSERT INTO @.chunks_{generation} (writer, grp, part, count, totals) \
             VALUES ($1, $2, 0, 0, '') ON CONFLICT DO NOTHING"
        );
        let inserted = session.execute(&sql, &[&number, &group]).await?;
        session.rollback().await?;
        Ok(inserted == 0)
    }

    async fn attempt(&mut self, work: &Work) -> Attempt {
        if self.shared.has_it_gone_back() {
            // Connected anew, it is told why, or begins a new life.
            self.session = None;
        }
        let Some(mut session) = self.session.take() else {
            return Attempt::Failed(Trouble::Again);
        };
        let attempt = self.write(&mut session, work).await;
        self.session = Some(session);
        match attempt {
            Ok((outcome, Ok(()))) => Attempt::Acknowledged(outcome),
            Ok((outcome, Err(Trouble::Broken(why)))) => Attempt::Unknown(outcome, why),
            Ok((_, Err(trouble))) | Err(trouble) => Attempt::Failed(trouble),
        }
    }

    /// Writes the group and commits it. The inner result is the commit's.
    async fn write(
        &mut self,
        session: &mut Session,
        work: &Work,
    ) -> Result<(Outcome, Result<(), Trouble>), Trouble> {
        let catalog = self.shared.catalog();
        let mut outcome = Outcome {
            writer: self.number,
            generation: catalog.line_now(),
            totals: self.totals,
            ..Outcome::default()
        };
        let mut rows = Rows::default();
        let mut group = self.group + 1;
        match work {
            Work::Accept(arrivals) => {
                self.reserve(session, arrivals).await?;
                let has_purged = session.begin(catalog.version).await?;
                self.accept(session, &catalog, arrivals, &mut outcome, &mut rows)
                    .await?;
                if has_purged {
                    // A new event: the letter that was purged under this id no longer counts.
                    let new = outcome.chunks.iter().flat_map(|(_, chunk)| &chunk.ids);
                    letters::unpurge(session, &new.copied().collect::<Vec<_>>()).await?;
                }
            }
            Work::Asked(asked, ..) => {
                session.begin(catalog.version).await?;
                self.operate(session, &catalog, asked, &mut outcome).await?;
            }
            Work::Vouch(number, totals) => {
                session.begin(catalog.version).await?;
                (group, outcome.totals) = (*number, *totals);
            }
        }
        if rows.parts.is_empty() {
            rows.push(None, 0, None);
        }
        let totals = outcome.totals.encode();
        let sql = format!(
            "INSERT INTO @.chunks_{} (writer, grp, part, first, count, totals, bytes) \
             SELECT $1, $2, part, first, count, $3, bytes \
             FROM unnest($4::int4[], $5::int8[], $6::int4[], $7::bytea[]) \
             AS t(part, first, count, bytes)",
            outcome.generation
        );
        let (writer, group) = (self.number as i32, group as i64);
        let params: [Param<'_>; 7] = [
            &writer,
            &group,
            &totals,
            &rows.parts,
            &rows.firsts,
            &rows.counts,
            &rows.bytes,
        ];
        let begun = Instant::now();
        let committed = session.commit(&sql, &params).await;
        self.shared
            .options
            .observer
            .meters()
            .synced(begun.elapsed());
        Ok((outcome, committed))
    }

    /// Numbers for all of these, fetched ahead: those that are not used are gaps.
    async fn reserve(
        &mut self,
        session: &mut Session,
        arrivals: &[Arrival],
    ) -> Result<(), Trouble> {
        let blocks = |arrival: &Arrival| arrival.block.ids.len().div_ceil(BLOCK as usize);
        let needed: usize = arrivals.iter().map(blocks).sum();
        while self.numbers.len() < needed {
            let count = BLOCKS.max((needed - self.numbers.len()) as i32);
            let sql = "SELECT nextval('@.numbers') FROM generate_series(1, $1)";
            let rows = session.query(sql, &[&count]).await?;
            let number = |row: &tokio_postgres::Row| Seq(row.get::<_, i64>(0) as u64);
            self.numbers.extend(rows.iter().map(number));
        }
        Ok(())
    }

    async fn accept(
        &mut self,
        session: &mut Session,
        catalog: &Catalog,
        arrivals: &[Arrival],
        outcome: &mut Outcome,
        rows: &mut Rows,
    ) -> Result<(), Trouble> {
        let lag = self.shared.trust.lag();
        let mut blocks: Vec<Vec<Part>> = Vec::with_capacity(arrivals.len());
        let (mut seen, mut candidates) = (IdSet::default(), Vec::new());
        for arrival in arrivals {
            outcome.totals.ignored += i64::from(arrival.block.ignored);
            outcome.totals.rejected += i64::from(arrival.block.rejected);
            let mut parts = match arrival.block.ids.is_empty() {
                true => Vec::new(),
                false => group::parts(&arrival.block),
            };
            for part in &mut parts {
                part.first = self.numbers.pop_front().ok_or(Trouble::Again)?;
                if !part.takes_back {
                    part.accepted_at += lag;
                }
                let numbered = (part.first.0..).zip(&part.ids);
                let new = numbered.filter(|(_, id)| seen.insert(**id));
                candidates.extend(new.map(|(number, id)| (*id, Seq(number))));
            }
            blocks.push(parts);
        }
        let asked: Vec<u128> = candidates.iter().map(|(id, _)| *id).collect();
        let sealed = ids::in_sealed(session, catalog, &asked).await?;
        candidates.retain(|(id, _)| !sealed.contains_key(id));
        let new = ids::insert(session, catalog, &candidates).await?;
        let known: Vec<u128> = asked.into_iter().filter(|id| !new.contains(id)).collect();
        let dead = letters::lock_dead(session, &known).await?;
        let mut known = Known { new, dead };
        let (mut moved, mut replaced) = (Vec::new(), Vec::new());
        for parts in blocks {
            let mut receipts = Vec::new();
            for part in parts {
                let decided = group::decide(part, &mut known, &mut outcome.totals);
                let Decided {
                    receipts: of_part,
                    chunk,
                    moved: of_moved,
                } = decided;
                receipts.extend(of_part);
                moved.extend(of_moved);
                let Some(chunk) = chunk else { continue };
                replaced.extend_from_slice(&chunk.retried);
                let place = Place {
                    group: self.group + 1,
                    part: rows.parts.len() as u32,
                };
                let bytes = append_checksum(&chunk.first_seq.0.to_be_bytes(), chunk.encode());
                rows.push(Some(chunk.first_seq), chunk.ids.len(), Some(bytes));
                outcome.chunks.push((place, Arc::new(chunk)));
            }
            outcome.receipts.push(receipts);
        }
        ids::renew(session, catalog, &moved).await?;
        letters::remove(session, &replaced).await
    }

    async fn operate(
        &mut self,
        session: &mut Session,
        catalog: &Catalog,
        asked: &Asked,
        outcome: &mut Outcome,
    ) -> Result<(), Trouble> {
        let now = self.shared.trust.stamp();
        outcome.done = Some(match asked {
            Asked::Retry(keys) => {
                let is_held = self.shared.held.borrow().is_held;
                let since = match is_held {
                    true => lock(&self.shared.delivery).account.undelivered,
                    // Another delivers, or nobody: the journal says it.
                    false => read_journal(session, catalog.line_now()).await?.undelivered,
                };
                let since = since.map_or(LetterNumber(u64::MAX), |since| since.first);
                let queued = letters::retry(session, keys, since, &mut outcome.totals).await?;
                let count = queued.len() as u64;
                outcome.queued = queued;
                Done::Count(count)
            }
            Asked::Purge(keys) => {
                Done::Count(letters::purge(session, keys, now, &mut outcome.totals).await?)
            }
            Asked::ForgetDead(keys) => {
                let ids = letters::forget(session, keys, &mut outcome.totals).await?;
                let renewed: Vec<_> = ids.iter().map(|id| (*id, Seq(0))).collect();
                ids::renew(session, catalog, &renewed).await?;
                Done::Count(ids.len() as u64)
            }
            Asked::TakeBack(events) => {
                let taken = take_back(session, catalog, events, now, outcome).await?;
                Done::TakenBack(taken)
            }
            Asked::Pause(record) => {
                session.execute("DELETE FROM @.pause", &[]).await?;
                if let Some(record) = record {
                    let record = serde_json::to_string(record)
                        .map_err(|e| Trouble::Refused(e.to_string()))?;
                    let sql = "INSERT INTO @.pause (record) VALUES ($1)";
                    session.execute(sql, &[&record]).await?;
                }
                Done::Nothing
            }
            Asked::Acknowledge => {
                let sql = "DELETE FROM @.losses RETURNING number, loss";
                let mut rows: Vec<(i64, String)> = (session.query(sql, &[]).await?.iter())
                    .map(|row| (row.get(0), row.get(1)))
                    .collect();
                rows.sort_unstable();
                let loss = |(_, text): &(i64, String)| serde_json::from_str(text).ok();
                Done::Acknowledged(rows.iter().filter_map(loss).collect())
            }
        });
        Ok(())
    }

    /// What is asked for behind the close is refused.
    async fn close(&mut self) {
        self.ops.close();
        while let Ok(op) = self.ops.try_recv() {
            match op {
                WriterOp::Accept(arrival) if self.has_given_up => {
                    self.give_up(Work::Accept(vec![arrival]));
                }
                WriterOp::Accept(arrival) => {
                    let work = Work::Accept(vec![arrival]);
                    self.carry_out(work).await;
                }
                WriterOp::Asked(_, reply) => {
                    let _ = reply.send(Err(self.shared.stopped()));
                }
                #[cfg(test)]
                WriterOp::Behind(reply) => drop(reply.send(())),
                WriterOp::Close(reply) => {
                    let _ = reply.send(());
                }
            }
        }
        // So that the next life need not look for them. Without it they are in the tables.
        if let Some(session) = &mut self.session {
            let sql = "UPDATE @.writers SET ended = clock_timestamp(), last_group = $2, totals = $3 \
                       WHERE writer = $1";
            let (number, group) = (self.number as i32, self.group as i64);
            let totals = self.totals.encode();
            // Lost with a failover, or not written at all, they are found in the tables.
            let params: [Param<'_>; 3] = [&number, &group, &totals];
            let _ = timeout(CLOSING, session.execute(sql, &params)).await;
        }
    }
}

/// The rows of a group's chunks.
#[derive(Default)]
struct Rows {
    parts: Vec<i32>,
    firsts: Vec<Option<i64>>,
    counts: Vec<i32>,
    bytes: Vec<Option<Vec<u8>>>,
}

impl Rows {
    fn push(&mut self, first: Option<Seq>, count: usize, bytes: Option<Vec<u8>>) {
        self.parts.push(self.parts.len() as i32);
        self.firsts.push(first.map(|first| first.0 as i64));
        self.counts.push(count as i32);
        self.bytes.push(bytes);
    }
}

/// Begins a life. Gives its number, and whether one of this host before it did not end in order.
pub async fn register(session: &mut Session, catalog: &Catalog) -> Result<(u32, bool), Trouble> {
    session.begin(catalog.version).await?;
    let host = nix::unistd::gethostname().unwrap_or_default();
    let host = host.to_string_lossy().into_owned();
    let sql = "SELECT EXISTS (SELECT 1 FROM @.writers WHERE host = $1 AND ended IS NULL)";
    let is_unclean: bool = session.query(sql, &[&host]).await?[0].get(0);
    let sql = "INSERT INTO @.writers (host, version) VALUES ($1, $2) RETURNING writer";
    let version = env!("CARGO_PKG_VERSION");
    let writer = session.query(sql, &[&host, &version]).await?[0].get::<_, i32>(0);
    session.commit("SELECT 1", &[]).await?;
    Ok((writer as u32, is_unclean))
}

/// Whether a writer's life has begun.
async fn is_known(session: &mut Session, writer: u32) -> Result<bool, Trouble> {
    let sql = "SELECT 1 FROM @.writers WHERE writer = $1";
    Ok(!session.query(sql, &[&(writer as i32)]).await?.is_empty())
}

/// Whether a group is in the database, which nobody writes any more.
pub async fn is_there(
    session: &mut Session,
    catalog: &Catalog,
    writer: u32,
    group: u64,
    generation: i32,
) -> Result<bool, Trouble> {
    let (writer, group) = (writer as i32, group as i64);
    if catalog.has_line(generation) {
        let sql =
            format!("SELECT 1 FROM @.chunks_{generation} WHERE writer = $1 AND grp = $2 LIMIT 1");
        return Ok(!session.query(&sql, &[&writer, &group]).await?.is_empty());
    }
    // Its table went, and whoever dropped it noted how far it went.
    let sql = "SELECT 1 FROM @.writers WHERE writer = $1 AND last_group >= $2";
    Ok(!session.query(sql, &[&writer, &group]).await?.is_empty())
}

/// Events whose messageIds are those of dead or purged letters take their places; those whose ids
/// are known in no way are left to the caller.
async fn take_back(
    session: &mut Session,
    catalog: &Catalog,
    events: &[Import],
    now: crate::clock::Millis,
    outcome: &mut Outcome,
) -> Result<Vec<Option<Imported>>, Trouble> {
    let mut all: Vec<u128> = events.iter().map(|event| event.id_hash).collect();
    all.sort_unstable();
    all.dedup();
    let mut dead = letters::lock_dead(session, &all).await?;
    let mut purged = letters::purged(session, &all).await?;
    let mut known = known_ids(session, catalog, &all).await?;
    let numbers = letters::numbers(session, events.len()).await?;
    let mut numbers = numbers.into_iter();
    let (mut new, mut gone, mut unpurged) = (Vec::new(), Vec::new(), Vec::new());
    let mut answers = Vec::with_capacity(events.len());
    for event in events {
        let id = event.id_hash;
        let is_back = if let Some(letter) = dead.remove(&id) {
            outcome.totals.count_dead(letter.reason, -1);
            gone.push(letter.number);
            true
        } else if purged.remove(&id).is_some() {
            outcome.totals.purged -= 1;
            unpurged.push(id);
            true
        } else {
            false
        };
        if is_back {
            let number = numbers.next().ok_or(Trouble::Again)?;
            new.push(letters::taken_back(event, number, now));
            known.insert(id);
            outcome.totals.letters_queued += 1;
            outcome.totals.retried += 1;
            answers.push(Some(Imported::Retried));
        } else if known.contains(&id) {
            outcome.totals.duplicate += 1;
            answers.push(Some(Imported::Duplicate));
        } else {
            answers.push(None);
        }
    }
    letters::insert(session, &new).await?;
    letters::remove(session, &gone).await?;
    letters::unpurge(session, &unpurged).await?;
    let renewed: Vec<_> = new.iter().map(|letter| (letter.id_hash, Seq(0))).collect();
    ids::renew(session, catalog, &renewed).await?;
    outcome.queued = new.iter().map(letters::New::queued).collect();
    Ok(answers)
}

/// Which of these are remembered.
pub async fn known_ids(
    session: &mut Session,
    catalog: &Catalog,
    all: &[u128],
) -> Result<IdSet, Trouble> {
    let mut known: IdSet = (ids::in_sealed(session, catalog, all).await?)
        .into_keys()
        .collect();
    known.extend(ids::in_current(session, catalog, all).await?.into_keys());
    Ok(known)
}
