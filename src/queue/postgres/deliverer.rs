//! The turn of this daemon: the lease, and the journal that is written under it. One wave at a time,
//! while the next gathers.
//!
//! Invariant: every write of a turn holds the row of the lease, by the turn's token, in the same
//! transaction, or does nothing. So whoever has lost the turn lays no mark and settles nothing,
//! however late its writes arrive.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::catalog::Catalog;
use super::delivery::{Delivery, Moment, Writes};
use super::hands::Hands;
use super::ids;
use super::journal::{Lease, hold_lease, is_written, journal_row, missing, read_journal};
use super::letters;
use super::session::{Param, Session};
use super::shared::{Shared, Tries};
use super::trouble::Trouble;
use super::turn_ops::{Reply, TurnOp};
use super::wave::Place;
use super::writer::WriterOp;
use crate::clock::millis;
use crate::queue::contract::{EntryId, Forgotten, LetterNumber, Loss, LossKind, QueueError, Seq};
use crate::queue::lock::lock;

/// What is told when a wave is written.
enum Owed {
    Marked(Reply<Vec<EntryId>>, Vec<EntryId>),
    Done(Reply<()>),
    Forgotten(Reply<Forgotten>, Forgotten),
}

impl Owed {
    fn answer(self, over: Option<&QueueError>) {
        match (self, over) {
            (Self::Marked(reply, ids), None) => drop(reply.send(Ok(ids))),
            (Self::Marked(reply, _), Some(error)) => drop(reply.send(Err(error.clone()))),
            (Self::Done(reply), None) => drop(reply.send(Ok(()))),
            (Self::Done(reply), Some(error)) => drop(reply.send(Err(error.clone()))),
            (Self::Forgotten(reply, forgotten), None) => drop(reply.send(Ok(forgotten))),
            (Self::Forgotten(reply, _), Some(error)) => drop(reply.send(Err(error.clone()))),
        }
    }
}

/// How long a lease that is given back may take to be.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(2);
/// Operations in one wave.
const AT_ONCE: usize = 256;

/// What upkeep remembers of its last looks.
#[derive(Default)]
pub struct Upkeep {
    /// Of the lines of all writers, when this generation began.
    pub began_with: Option<(i32, i64)>,
    /// The wave of this turn that its journal began with.
    pub began_at_wave: i64,
    pub swept: Option<Instant>,
    /// Of sealed generations, the last chunk of each writer.
    pub ends: BTreeMap<i32, Vec<(u32, Place)>>,
    pub expired: Option<Instant>,
    pub filtering: Option<tokio::task::JoinHandle<()>>,
}

impl Upkeep {
    /// Another turn begins.
    pub fn begin(&mut self) {
        self.began_with = None;
        self.began_at_wave = 0;
        self.ends.clear();
        self.swept = None;
    }

    pub fn is_filtering(&self) -> bool {
        self.filtering
            .as_ref()
            .is_some_and(|task| !task.is_finished())
    }
}

/// See the file's page.
pub struct Deliverer {
    pub shared: Arc<Shared>,
    pub ops: UnboundedReceiver<TurnOp>,
    pub session: Option<Session>,
    pub lease: Option<Lease>,
    /// Whom an attempt of ours may have given the lease.
    tried: Option<Uuid>,
    /// The last wave that was acknowledged, and its generation; and of which adoption.
    last: Option<(Lease, i32)>,
    adoptions: i64,
    tries: Tries,
    pub upkeep: Upkeep,
    pub writer: UnboundedSender<WriterOp>,
    number: u64,
    /// Of this process, for the lock of what it writes.
    pub me: Uuid,
    /// Whoever waits for the turn.
    pub wanted: Vec<Reply<u64>>,
    /// An operation that goes into the next wave.
    pub next: Option<TurnOp>,
}

impl Deliverer {
    pub fn new(
        shared: Arc<Shared>,
        ops: UnboundedReceiver<TurnOp>,
        writer: UnboundedSender<WriterOp>,
    ) -> Self {
        Self {
            shared,
            ops,
            session: None,
            lease: None,
            tried: None,
            last: None,
            adoptions: 0,
            tries: Tries::default(),
            upkeep: Upkeep::default(),
            writer,
            number: 0,
            me: Uuid::new_v4(),
            wanted: Vec::new(),
            next: None,
        }
    }

    fn is_held(&self, number: u64) -> bool {
        let held = *self.shared.held.borrow();
        held.is_held && held.last == number
    }

    /// Gives the turn to the first who waits for it, if it is to be had.
    pub async fn give(&mut self) {
        self.wanted.retain(|reply| !reply.is_closed());
        if self.wanted.is_empty() || self.shared.held.borrow().is_held {
            return;
        }
        match self.take().await {
            Ok(true) => {
                self.tries = Tries::default();
                let number = self.number;
                if self.wanted.remove(0).send(Ok(number)).is_err() {
                    self.end(number).await;
                }
            }
            Ok(false) => {}
            Err(trouble) => {
                tracing::debug!("the turn is not to be had: {trouble}");
                if let Trouble::WentBack(why) = &trouble {
                    self.shared.has_gone_back(why);
                }
                self.session = None;
                let span = self.tries.next();
                self.shared.pause(span).await;
                if self.shared.is_closing() {
                    self.refuse_all();
                }
            }
        }
    }

    fn refuse_all(&mut self) {
        for reply in self.wanted.drain(..) {
            let _ = reply.send(Err(self.shared.stopped()));
        }
    }

    async fn connect(&mut self) -> Result<(), Trouble> {
        if self
            .session
            .as_ref()
            .is_none_or(|session| session.link().is_closed())
        {
            let mut session = self.shared.connect("deliver").await?;
            if let Some(lacking) = session.lacking().await? {
                return Err(Trouble::Refused(lacking));
            }
            let catalog = self.shared.refresh(&mut session).await?;
            self.recognise(&mut session, &catalog).await?;
            session.writes_as(self.me.as_bytes());
            self.session = Some(session);
        }
        Ok(())
    }

    /// Connected anew, the turn goes on only where the journal still ends as it is known here.
    ///
    /// # Errors
    /// [`Trouble::WentBack`], and the turn is over.
    pub async fn recognise(
        &mut self,
        session: &mut Session,
        catalog: &Catalog,
    ) -> Result<(), Trouble> {
        let (Some(_), Some((last, generation))) = (self.lease, self.last) else {
            return Ok(());
        };
        if catalog.adoptions != self.adoptions {
            self.lose();
            return Ok(());
        }
        if is_written(session, catalog, last, generation).await? {
            return Ok(());
        }
        let why = missing(last);
        self.shared.has_gone_back(&why);
        self.lose();
        Err(Trouble::WentBack(why))
    }

    /// Takes the lease if nobody has it, and reads the account. False: another has it.
    async fn take(&mut self) -> Result<bool, Trouble> {
        self.connect().await?;
        let shared = self.shared.clone();
        let session = self.session.as_mut().ok_or(Trouble::Again)?;
        let mut catalog = shared.refresh(session).await?;
        while let Err(trouble) = session.begin(catalog.version).await {
            match trouble {
                Trouble::Stale => catalog = shared.refresh(session).await?,
                other => return Err(other),
            }
        }
        if catalog.adoptions != self.adoptions {
            (self.adoptions, self.last) = (catalog.adoptions, None);
        }
        let sql = "SELECT token, turns, ends > clock_timestamp() FROM @.lease FOR UPDATE";
        let rows = session.query(sql, &[]).await?;
        let row = rows
            .first()
            .ok_or_else(|| Trouble::Refused("the lease is gone".into()))?;
        let (holder, turns): (Option<Uuid>, i64) = (row.get(0), row.get(1));
        let is_taken = holder.is_some() && row.get::<_, bool>(2);
        self.look_back(&catalog, turns).await?;
        let session = self.session.as_mut().ok_or(Trouble::Again)?;
        if is_taken && holder != self.tried {
            session.rollback().await?;
            return Ok(false);
        }
        let (token, turn) = (Uuid::new_v4(), turns + 1);
        let seconds = shared.options.place.lease.as_secs_f64();
        let host = nix::unistd::gethostname().unwrap_or_default();
        let host = host.to_string_lossy().into_owned();
        let sql = "UPDATE @.lease SET token = $1, turns = $2, holder = $3, \
                   since = clock_timestamp(), \
                   ends = clock_timestamp() + make_interval(secs => $4)";
        session
            .execute(sql, &[&token, &turn, &host, &seconds])
            .await?;
        // Behind the lock of that row nobody else writes the journal.
        let mut account = read_journal(session, catalog.line_now()).await?;
        let queued = letters::all_queued(session).await?;
        let mut writes = Writes::default();
        let mut hands = Hands::default();
        for letter in queued {
            if let Some((name, at)) = &letter.sent {
                account.mark_in_doubt(letter.number, name.clone(), *at);
            }
            hands.queue(letter);
        }
        let mut delivery = Delivery {
            turn: 0,
            account,
            hands,
        };
        delivery.begin(&mut writes);
        let (writes, _) = delivery.finish(writes);
        self.tried = Some(token);
        let lease = Lease {
            token,
            turn,
            wave: 0,
        };
        write_changes(session, &catalog, &writes).await?;
        let bytes = writes.wave.encode();
        let sql = journal_row(catalog.line_now());
        let committed = session.commit(&sql, &[&turn, &0i64, &bytes]).await;
        if let Err(trouble) = committed {
            // What came of it shows when the lease is looked at again.
            self.session = None;
            return Err(trouble);
        }
        self.number += 1;
        delivery.turn = self.number;
        let counted = (delivery.account.totals, delivery.account.in_doubt());
        {
            *lock(&shared.delivery) = delivery;
            let mut count = lock(&shared.counted);
            (count.turns, count.sending, count.in_doubt) = (counted.0, 0, counted.1);
        }
        self.lease = Some(lease);
        self.last = Some((lease, catalog.line_now()));
        if let Err(trouble) = self.reread_letters().await {
            self.session = None;
            self.lose();
            return Err(trouble);
        }
        self.upkeep.begin();
        let number = self.number;
        self.shared.held.send_modify(|held| {
            held.last = number;
            held.is_held = true;
        });
        Ok(true)
    }

    /// Whether the database knows the last wave of this process.
    ///
    /// # Errors
    /// [`Trouble::WentBack`].
    async fn look_back(&mut self, catalog: &Catalog, turns: i64) -> Result<(), Trouble> {
        let session = self.session.as_mut().ok_or(Trouble::Again)?;
        if let Some((lease, generation)) = self.last {
            let is_known =
                turns >= lease.turn && is_written(session, catalog, lease, generation).await?;
            if !is_known {
                session.rollback().await?;
                return Err(Trouble::WentBack(missing(lease)));
            }
        }
        if self.shared.has_it_gone_back() {
            session.rollback().await?;
            return Err(Trouble::WentBack("the database was put back".into()));
        }
        Ok(())
    }

    /// A letter that was queued while the lease was being taken is not missed: whoever queued it
    /// told the account that was.
    async fn reread_letters(&mut self) -> Result<(), Trouble> {
        let session = self.session.as_mut().ok_or(Trouble::Again)?;
        let queued = letters::all_queued(session).await?;
        let mut delivery = lock(&self.shared.delivery);
        for letter in queued {
            if delivery.hands.letter(letter.number).is_none() {
                if let Some((name, at)) = &letter.sent {
                    (delivery.account).mark_in_doubt(letter.number, name.clone(), *at);
                }
                delivery.hands.queue(letter);
            }
        }
        Ok(())
    }

    /// The turn is over, here.
    pub fn lose(&mut self) {
        self.lease = None;
        self.shared.held.send_modify(|held| held.is_held = false);
        {
            let mut delivery = lock(&self.shared.delivery);
            delivery.turn = 0;
            delivery.account.doubt_all();
        }
        let mut counted = lock(&self.shared.counted);
        counted.in_doubt += std::mem::take(&mut counted.sending);
        drop(counted);
        self.shared.claimable.notify_waiters();
    }

    /// The turn is given back.
    pub async fn end(&mut self, number: u64) {
        if !self.is_held(number) {
            return;
        }
        let lease = self.lease;
        self.lose();
        if let (Some(lease), Some(session)) = (lease, self.session.as_mut()) {
            let sql = "UPDATE @.lease SET token = NULL, ends = '-infinity' WHERE token = $1";
            // Lost with a failover the lease ends by itself, so this need not wait for a standby.
            let params: [Param<'_>; 1] = [&lease.token];
            let given_back = timeout(GIVEN_BACK_WITHIN, session.execute(sql, &params)).await;
            if !matches!(given_back, Ok(Ok(_))) {
                // It ends by itself; nobody else may have it before.
                self.session = None;
            }
        }
        if !self.wanted.is_empty() {
            Box::pin(self.give()).await;
        }
    }

    /// The lease is renewed, if it is still ours.
    pub async fn renew(&mut self) {
        if self.shared.has_it_gone_back() && self.lease.is_some() {
            self.lose();
        }
        if self.lease.is_none() || self.connect().await.is_err() {
            return;
        }
        // Connecting may have ended it.
        let Some(lease) = self.lease else { return };
        let seconds = self.shared.options.place.lease.as_secs_f64();
        let Some(session) = self.session.as_mut() else {
            return;
        };
        // A renewal that a failover loses ends the turn early, which costs nothing: it need not wait
        // for a standby.
        let sql = "UPDATE @.lease SET ends = clock_timestamp() + make_interval(secs => $2) \
                   WHERE token = $1";
        let params: [Param<'_>; 2] = [&lease.token, &seconds];
        // One of ours that is not done yet may hold the row: then it is renewed later, or lost.
        let renewed = timeout(GIVEN_BACK_WITHIN, session.execute(sql, &params)).await;
        let hangs = || Err(Trouble::Broken("the renewal hangs".into()));
        match renewed.unwrap_or_else(|_| hangs()) {
            Ok(0) => self.lose(),
            Ok(_) => {}
            Err(_) => self.session = None,
        }
    }

    /// Something that needs the journal, also where this daemon does not deliver at the moment.
    pub async fn errand(&mut self, op: TurnOp) {
        let is_held = self.shared.held.borrow().is_held;
        if !is_held {
            match self.take().await {
                Ok(true) => {}
                Ok(false) => {
                    return refuse(op, "another daemon delivers for this account: ask there");
                }
                Err(trouble) => {
                    // What it has open must not stay so.
                    self.session = None;
                    return refuse(op, &trouble.to_string());
                }
            }
        }
        self.wave(op).await;
        if !is_held {
            self.end(self.number).await;
        }
    }

    /// Gathers what waits, and writes it.
    pub async fn wave(&mut self, first: TurnOp) {
        let mut ops = vec![first];
        while ops.len() < AT_ONCE {
            match self.ops.try_recv() {
                Ok(
                    op @ (TurnOp::Mark(..)
                    | TurnOp::Doubt(..)
                    | TurnOp::Release(..)
                    | TurnOp::Settle(..)
                    | TurnOp::SetAside { .. }
                    | TurnOp::SetLetterAside { .. }),
                ) => ops.push(op),
                Ok(other) => {
                    self.next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        let mut ops = std::collections::VecDeque::from(ops);
        while !ops.is_empty() {
            let wanted = letters_of(&ops);
            let Some(numbers) = self.numbers(wanted).await else {
                for op in ops {
                    over(op, &self.over());
                }
                return;
            };
            let (writes, is_changed, owed) = self.build(&mut ops, numbers);
            let ended = match is_changed {
                true => self.write(&writes).await,
                false if owed.is_empty() => Ok(()),
                // Nothing to write would find out whether the turn still stands.
                false => self.stands().await,
            };
            let ended = ended.err().map(|()| self.over());
            // What was not written counts for nobody: the next turn begins without it.
            if ended.is_none() {
                self.publish();
            }
            owed.into_iter()
                .for_each(|owed| owed.answer(ended.as_ref()));
            if let Some(ended) = ended {
                for op in ops {
                    over(op, &ended);
                }
                return;
            }
        }
    }

    /// # Errors
    /// The turn is over.
    async fn stands(&mut self) -> Result<(), ()> {
        while self.lease.is_some() {
            self.renew().await;
            if self.session.is_some() {
                break;
            }
            self.wait(&Trouble::Broken("the lease cannot be looked at".into()))
                .await
                .ok_or(())?;
        }
        self.lease.map(|_| ()).ok_or(())
    }

    fn over(&self) -> QueueError {
        match self.shared.is_closing() {
            true => self.shared.stopped(),
            false => QueueError::TurnOver,
        }
    }

    fn publish(&self) {
        let delivery = lock(&self.shared.delivery);
        let account = &delivery.account;
        let (totals, sending, in_doubt) = (account.totals, account.sending(), account.in_doubt());
        drop(delivery);
        let mut counted = lock(&self.shared.counted);
        (counted.turns, counted.sending, counted.in_doubt) = (totals, sending, in_doubt);
        drop(counted);
        self.shared.claimable.notify_waiters();
    }

    /// Numbers for so many letters; none: the turn is over.
    async fn numbers(&mut self, count: usize) -> Option<Vec<LetterNumber>> {
        if count == 0 {
            return Some(Vec::new());
        }
        loop {
            self.lease?;
            let numbers = match self.connect().await {
                Ok(()) => match self.session.as_mut() {
                    Some(session) => letters::numbers(session, count).await,
                    None => continue,
                },
                Err(trouble) => Err(trouble),
            };
            match numbers {
                Ok(numbers) => return Some(numbers),
                Err(trouble) => self.wait(&trouble).await?,
            }
        }
    }

    /// Between two tries; none: the queue closes.
    async fn wait(&mut self, trouble: &Trouble) -> Option<()> {
        tracing::debug!("delivery waits for the database: {trouble}");
        self.session = None;
        let span = self.tries.next();
        self.shared.pause(span).await;
        if self.shared.is_closing() {
            self.lose();
            return None;
        }
        Some(())
    }

    /// What these change. Those that go into another wave stay.
    fn build(
        &mut self,
        ops: &mut std::collections::VecDeque<TurnOp>,
        numbers: Vec<LetterNumber>,
    ) -> (Writes, bool, Vec<Owed>) {
        let mut numbers = numbers.into_iter();
        let moment = Moment {
            now: self.shared.clock.now(),
            stamp: self.shared.trust.stamp(),
            remembers: millis(self.shared.options.destination_remembers),
        };
        let (mut writes, mut owed) = (Writes::default(), Vec::new());
        let held = *self.shared.held.borrow();
        let in_turn = |turn: u64| held.is_held && held.last == turn;
        let over = QueueError::TurnOver;
        let mut delivery = lock(&self.shared.delivery);
        while let Some(op) = ops.pop_front() {
            match op {
                TurnOp::Mark(turn, mark, reply) if in_turn(turn) => {
                    if writes.clash_with(&mark) {
                        ops.push_front(TurnOp::Mark(turn, mark, reply));
                        break;
                    }
                    let forgotten = delivery.mark(mark, moment, &mut writes);
                    owed.push(Owed::Marked(reply, forgotten));
                }
                TurnOp::Mark(_, _, reply) => drop(reply.send(Err(over.clone()))),
                TurnOp::Doubt(turn, ids) if in_turn(turn) => delivery.doubt(&ids, &mut writes),
                TurnOp::Release(turn, ids) if in_turn(turn) => delivery.release(&ids, &mut writes),
                TurnOp::Settle(turn, settlements, reply) if in_turn(turn) => {
                    delivery.settle(settlements, &mut numbers, moment, &mut writes);
                    owed.push(Owed::Done(reply));
                }
                TurnOp::Settle(_, _, reply) => drop(reply.send(Err(over.clone()))),
                TurnOp::SetAside {
                    turn,
                    generation,
                    writer,
                    place,
                    first,
                    count,
                    why,
                } if in_turn(turn) => {
                    let lost = delivery.set_aside(first, count, &mut writes);
                    let object = format!("chunk {first} of writer {writer}");
                    writes.losses.push(Loss {
                        kind: LossKind::Events,
                        object: format!("{object} ({why})"),
                        count: lost,
                        at: moment.now,
                        until: None,
                    });
                    writes.kept.push((generation, writer, place));
                }
                TurnOp::SetLetterAside { turn, number } if in_turn(turn) => {
                    delivery.set_letter_aside(number, &mut writes);
                    writes.losses.push(Loss {
                        kind: LossKind::DeadLetters,
                        object: format!("dead letter {number}"),
                        count: 1,
                        at: moment.now,
                        until: None,
                    });
                    writes.kept_letters.push(number);
                }
                TurnOp::Forget(theirs, is_dry_run, reply) => {
                    let forgotten = delivery.forget(&theirs, is_dry_run, &mut writes);
                    owed.push(Owed::Forgotten(reply, forgotten));
                }
                TurnOp::KeepDead(reply) => {
                    delivery.keep_dead(&mut writes);
                    owed.push(Owed::Done(reply));
                }
                _ => {}
            }
        }
        let (writes, is_changed) = delivery.finish(writes);
        (writes, is_changed, owed)
    }

    /// Writes a wave, however long that takes.
    ///
    /// # Errors
    /// The turn is over.
    async fn write(&mut self, writes: &Writes) -> Result<(), ()> {
        let mut is_unknown = false;
        let mut to_vouch = false;
        loop {
            if self.shared.has_it_gone_back() && self.lease.is_some() {
                self.lose();
            }
            let Some(lease) = self.lease else {
                return Err(());
            };
            if let Err(trouble) = self.connect().await {
                self.wait(&trouble).await.ok_or(())?;
                continue;
            }
            if self.lease.is_none() {
                continue;
            }
            if is_unknown {
                match self.resolve(lease).await {
                    Ok(is_there) => {
                        is_unknown = false;
                        if is_there {
                            // Not acknowledged yet: a server that is promoted may lack it.
                            if let Some(lease) = self.lease.as_mut() {
                                lease.wave += 1;
                            }
                            to_vouch = true;
                        }
                        continue;
                    }
                    Err(Trouble::TurnOver) => {
                        self.lose();
                        return Err(());
                    }
                    Err(trouble) => {
                        self.wait(&trouble).await.ok_or(())?;
                        continue;
                    }
                }
            }
            let wave = (!to_vouch).then_some(writes);
            let written = self.write_once(lease, wave).await;
            match written {
                Ok(Ok(())) => {
                    self.tries = Tries::default();
                    self.next_wave();
                    return Ok(());
                }
                Ok(Err(Trouble::Broken(why))) => {
                    tracing::debug!("a wave of unknown outcome: {why}");
                    self.session = None;
                    is_unknown = true;
                }
                // A number of ours is taken: what we know of the journal or the letters is not what
                // is there. Whoever takes the turn reads it.
                Ok(Err(Trouble::TurnOver | Trouble::Clash(_)))
                | Err(Trouble::TurnOver | Trouble::Clash(_)) => {
                    self.session = None;
                    self.lose();
                    return Err(());
                }
                Ok(Err(Trouble::Again)) | Err(Trouble::Again) => self.roll_back().await,
                Ok(Err(Trouble::Stale)) | Err(Trouble::Stale) => {
                    if let Some(session) = self.session.as_mut()
                        && self.shared.refresh(session).await.is_err()
                    {
                        self.session = None;
                    }
                }
                Ok(Err(trouble)) | Err(trouble) => {
                    self.wait(&trouble).await.ok_or(())?;
                }
            }
        }
    }

    async fn roll_back(&mut self) {
        if let Some(session) = self.session.as_mut()
            && session.rollback().await.is_err()
        {
            self.session = None;
        }
    }

    pub fn next_wave(&mut self) {
        if let Some(lease) = self.lease.as_mut() {
            lease.wave += 1;
            self.last = Some((*lease, self.shared.catalog().line_now()));
        }
    }

    async fn write_once(
        &mut self,
        lease: Lease,
        writes: Option<&Writes>,
    ) -> Result<Result<(), Trouble>, Trouble> {
        let catalog = self.shared.catalog();
        let session = self.session.as_mut().ok_or(Trouble::Again)?;
        session.begin(catalog.version).await?;
        hold_lease(session, lease.token).await?;
        let wave = match writes {
            Some(writes) => {
                write_changes(session, &catalog, writes).await?;
                writes.wave.clone()
            }
            None => lock(&self.shared.delivery).account.next(),
        };
        let sql = journal_row(catalog.line_now());
        let bytes = wave.encode();
        let params: [Param<'_>; 3] = [&lease.turn, &(lease.wave + 1), &bytes];
        Ok(session.commit(&sql, &params).await)
    }

    /// Whether the wave that was last on its way is in the journal. Waits for whoever still may
    /// write it.
    async fn resolve(&mut self, lease: Lease) -> Result<bool, Trouble> {
        let session = self.session.as_mut().ok_or(Trouble::Again)?;
        let mut catalog = self.shared.catalog();
        while let Err(trouble) = session.begin(catalog.version).await {
            match trouble {
                Trouble::Stale => catalog = self.shared.refresh(session).await?,
                other => return Err(other),
            }
        }
        hold_lease(session, lease.token).await?;
        let generation = catalog.line_now();
        // The end of the journal is as it was known, or the database is another.
        let sql = format!("SELECT 1 FROM @.journal_{generation} WHERE turn = $1 AND wave = $2");
        if session
            .query(&sql, &[&lease.turn, &lease.wave])
            .await?
            .is_empty()
        {
            session.rollback().await?;
            // Whether the database was put back shows when the turn is taken again.
            return Err(Trouble::TurnOver);
        }
        let sql = format!(
            "INSERT INTO @.journal_{generation} (turn, wave, bytes) VALUES ($1, $2, '') \
             ON CONFLICT DO NOTHING"
        );
        let inserted = session
            .execute(&sql, &[&lease.turn, &(lease.wave + 1)])
            .await?;
        session.rollback().await?;
        Ok(inserted == 0)
    }

    pub async fn close(&mut self) {
        self.ops.close();
        while let Ok(op) = self.ops.try_recv() {
            match op {
                TurnOp::Take(reply) => drop(reply.send(Err(self.shared.stopped()))),
                TurnOp::Close(reply) => {
                    let _ = reply.send(());
                }
                op @ (TurnOp::Mark(..)
                | TurnOp::Settle(..)
                | TurnOp::Doubt(..)
                | TurnOp::Release(..)) => self.wave(op).await,
                op => over(op, &self.shared.stopped()),
            }
        }
        self.refuse_all();
        let number = self.number;
        self.end(number).await;
    }
}

fn refuse(op: TurnOp, why: &str) {
    over(op, &QueueError::Unavailable(why.to_owned()));
}

fn over(op: TurnOp, error: &QueueError) {
    match op {
        TurnOp::Mark(_, _, reply) => drop(reply.send(Err(error.clone()))),
        TurnOp::Settle(_, _, reply) => drop(reply.send(Err(error.clone()))),
        TurnOp::Forget(_, _, reply) => drop(reply.send(Err(error.clone()))),
        TurnOp::KeepDead(reply) => drop(reply.send(Err(error.clone()))),
        TurnOp::Take(reply) => drop(reply.send(Err(error.clone()))),
        _ => {}
    }
}

fn letters_of(ops: &std::collections::VecDeque<TurnOp>) -> usize {
    ops.iter()
        .map(|op| match op {
            TurnOp::Settle(_, settlements, _) => Delivery::letters_of(settlements),
            _ => 0,
        })
        .sum()
}

/// All of a wave but its row in the journal.
async fn write_changes(
    session: &mut Session,
    catalog: &Catalog,
    writes: &Writes,
) -> Result<(), Trouble> {
    letters::insert(session, &writes.letters).await?;
    for number in &writes.kept_letters {
        let sql = "INSERT INTO @.quarantine (at, what, bytes) \
                   SELECT died_at, 'dead letter ' || number, body FROM @.letters WHERE number = $1";
        session.execute(sql, &[&(number.0 as i64)]).await?;
    }
    letters::remove(session, &writes.removed).await?;
    for (generation, writer, place) in &writes.kept {
        let sql = format!(
            "INSERT INTO @.quarantine (at, what, bytes) \
             SELECT 0, 'chunk ' || first || ' of writer ' || writer, coalesce(bytes, '') \
             FROM @.chunks_{generation} WHERE writer = $1 AND grp = $2 AND part = $3"
        );
        let (writer, group, part) = (*writer as i32, place.group as i64, place.part as i32);
        session.execute(&sql, &[&writer, &group, &part]).await?;
    }
    for loss in &writes.losses {
        let text = serde_json::to_string(loss).map_err(|e| Trouble::Refused(e.to_string()))?;
        session
            .execute("INSERT INTO @.losses (loss) VALUES ($1)", &[&text])
            .await?;
    }
    let renewed: Vec<_> = writes.renewed.iter().map(|id| (*id, Seq(0))).collect();
    ids::renew(session, catalog, &renewed).await
}
