//! What is due by itself. Every daemon: what others have counted, what is lost, how much room is
//! taken. Whoever has the turn as well: tables are sealed and dropped, ids and letters expire.
//!
//! Invariant: the list of tables changes only where nobody is writing ([`Session::begin_alone`]), so
//! that no id and no group slips into a table that somebody takes for sealed.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use super::catalog::{Catalog, Piece};
use super::counts::others;
use super::deliverer::Deliverer;
use super::journal::hold_lease;
use super::schema;
use super::session::Session;
use super::shared::Shared;
use super::trouble::Trouble;
use super::wave::Place;
use super::writer::{Asked, WriterOp};
use crate::clock::{Millis, millis};
use crate::queue::contract::{DeadReason, LetterKey, LetterNumber, Loss};
use crate::queue::lock::lock;
use crate::queue::record::codec::Writer;
use crate::queue::record::id_filter::IdFilter;

/// How often it is looked.
pub const EVERY: Duration = Duration::from_secs(1);
/// How often what is remembered of purged letters is looked through.
const EXPIRE_EVERY: Duration = if cfg!(test) {
    Duration::ZERO
} else {
    Duration::from_secs(60)
};
/// A journal of more waves is long to read, so another generation begins.
const GENERATION_WAVES: i64 = 50_000;
/// A generation that is older, and has anything, is sealed.
const GENERATION_AGE: Millis = 3_600_000;
/// A table of ids that is older, and has anything, is sealed.
const IDS_AGE: Millis = 86_400_000;
/// Below, rows are counted; above, their room tells how many there are.
const COUNTED: u64 = 100_000;
/// What an id takes in its table, its index left out.
const ID_ROW: i64 = 52;
/// Dead letters that go at once.
const PURGED_AT_ONCE: i64 = 1000;

impl Deliverer {
    /// Looks after everything once.
    pub async fn look_after(&mut self) {
        if self.shared.is_closing() {
            return;
        }
        if let Err(trouble) = self.look().await {
            tracing::debug!("upkeep waits: {trouble}");
            match trouble {
                Trouble::TurnOver => {}
                _ => self.session = None,
            }
        }
    }

    async fn look(&mut self) -> Result<(), Trouble> {
        if self
            .session
            .as_ref()
            .is_none_or(|session| session.link().is_closed())
        {
            let mut session = self.shared.connect("deliver").await?;
            let catalog = self.shared.refresh(&mut session).await?;
            self.recognise(&mut session, &catalog).await?;
            session.writes_as(self.me.as_bytes());
            self.session = Some(session);
        }
        let shared = self.shared.clone();
        let session = self.session.as_mut().ok_or(Trouble::Again)?;
        watch(&shared, session).await?;
        if self.lease.is_none() {
            return Ok(());
        }
        // Each may make way for the next.
        self.seal_line().await?;
        self.seal_ids().await?;
        self.filter_ids().await?;
        self.drop_line().await?;
        self.purge_letters().await?;
        self.expire_ids().await?;
        self.sweep().await
    }

    async fn begin_alone(&mut self) -> Result<(), Trouble> {
        let lease = self.lease.ok_or(Trouble::TurnOver)?;
        let shared = self.shared.clone();
        let session = self.session.as_mut().ok_or(Trouble::Again)?;
        let list = session.begin_alone().await?;
        if list != shared.catalog().version {
            session.rollback().await?;
            shared.refresh(session).await?;
            return Err(Trouble::Stale);
        }
        hold_lease(session, lease.token).await
    }

    /// Commits a change of the list.
    async fn commit_list(&mut self) -> Result<(), Trouble> {
        let shared = self.shared.clone();
        let session = self.session.as_mut().ok_or(Trouble::Again)?;
        let sql = "UPDATE @.identity SET list = list + 1";
        session.commit(sql, &[]).await?;
        shared.refresh(session).await?;
        Ok(())
    }

    /// Another generation begins when this one is full, or old and not empty. Its journal begins
    /// with a checkpoint.
    async fn seal_line(&mut self) -> Result<(), Trouble> {
        let catalog = self.shared.catalog();
        let Some(piece) = catalog.line.last().copied() else {
            return Ok(());
        };
        let lined = {
            let counted = *lock(&self.shared.counted);
            counted.own.lined + counted.others.lined
        };
        let began_with = match self.upkeep.began_with {
            Some((number, began)) if number == piece.number => began,
            _ => {
                let sql = format!(
                    "SELECT coalesce(sum(count), 0)::int8 FROM @.chunks_{}",
                    piece.number
                );
                let session = self.session.as_mut().ok_or(Trouble::Again)?;
                let here: i64 = session.query(&sql, &[]).await?[0].get(0);
                self.upkeep.began_with = Some((piece.number, lined - here));
                lined - here
            }
        };
        let here = u64::try_from(lined - began_with).unwrap_or(0);
        let now = self.shared.trust.stamp();
        let is_old = now.saturating_sub(piece.began_at) > GENERATION_AGE;
        let place = &self.shared.options.place;
        let waves = self
            .lease
            .map_or(0, |lease| lease.wave - self.upkeep.began_at_wave);
        let is_full = here > 0 && (is_old || here >= place.generation_events);
        if !is_full && waves < GENERATION_WAVES {
            return Ok(());
        }
        let next = piece.number + 1;
        self.begin_alone().await?;
        let lease = self.lease.ok_or(Trouble::TurnOver)?;
        let checkpoint = lock(&self.shared.delivery).account.checkpoint().encode();
        let session = self.session.as_mut().ok_or(Trouble::Again)?;
        session.batch(&schema::make_line(next)).await?;
        seal(session, "line", (piece.number, next), now).await?;
        let sql = format!("INSERT INTO @.journal_{next} (turn, wave, bytes) VALUES ($1, $2, $3)");
        session
            .execute(&sql, &[&lease.turn, &(lease.wave + 1), &checkpoint])
            .await?;
        let committed = self.commit_list().await;
        if committed.is_err() {
            // It may have happened, and the journal goes on elsewhere: whoever takes the turn next
            // waits for that and reads it.
            self.session = None;
            self.lose();
            return committed;
        }
        self.next_wave();
        self.upkeep.began_at_wave = lease.wave + 1;
        Ok(())
    }

    /// Another table takes new ids when this one is full, or old and not empty.
    async fn seal_ids(&mut self) -> Result<(), Trouble> {
        let catalog = self.shared.catalog();
        let Some(piece) = catalog.ids.last().copied() else {
            return Ok(());
        };
        let most = self.shared.options.place.table_ids;
        let session = self.session.as_mut().ok_or(Trouble::Again)?;
        let number = piece.number;
        let here: i64 = match most < COUNTED {
            true => {
                let sql = format!("SELECT count(*) FROM @.ids_{number}");
                session.query(&sql, &[]).await?[0].get(0)
            }
            false => {
                let sql = format!("SELECT pg_relation_size('@.ids_{number}') / {ID_ROW}");
                session.query(&sql, &[]).await?[0].get(0)
            }
        };
        let now = self.shared.trust.stamp();
        let most_age = IDS_AGE.min(millis(self.shared.options.dedup_window) / 7);
        let is_old = now.saturating_sub(piece.began_at) > most_age;
        if here == 0 || !(is_old || here as u64 >= most) {
            return Ok(());
        }
        self.begin_alone().await?;
        let session = self.session.as_mut().ok_or(Trouble::Again)?;
        session.batch(&schema::make_ids(number + 1)).await?;
        seal(session, "ids", (number, number + 1), now).await?;
        self.commit_list().await
    }

    /// A sealed table of ids gets its filter, by a connection of its own: it takes seconds.
    async fn filter_ids(&mut self) -> Result<(), Trouble> {
        let catalog = self.shared.catalog();
        let lacking = (catalog.ids.iter())
            .filter(|piece| piece.sealed_at.is_some())
            .find(|piece| !catalog.filters.contains_key(&piece.number));
        let Some(piece) = lacking.copied() else {
            return Ok(());
        };
        let shared = self.shared.clone();
        let is_small = shared.options.place.table_ids < COUNTED;
        let built = async move {
            let mut session = shared.connect("filter").await?;
            build_filter(&mut session, piece).await?;
            let known = shared.catalog();
            let catalog = Catalog::read(&mut session, &known).await?;
            let mut held = lock(&shared.catalog);
            if held.version == catalog.version {
                *held = std::sync::Arc::new(catalog);
            }
            Ok::<_, Trouble>(())
        };
        if is_small {
            return built.await;
        }
        if !self.upkeep.is_filtering() {
            self.upkeep.filtering = Some(tokio::spawn(async move {
                if let Err(trouble) = built.await {
                    tracing::debug!("a filter waits: {trouble}");
                }
            }));
        }
        Ok(())
    }

    /// Generations that are sealed and settled go: off the list, with a note of how far each writer
    /// came in them.
    async fn drop_line(&mut self) -> Result<(), Trouble> {
        let catalog = self.shared.catalog();
        for piece in catalog
            .line
            .iter()
            .filter(|piece| piece.sealed_at.is_some())
        {
            if !self.upkeep.ends.contains_key(&piece.number) {
                // Nothing comes into it any more, so it is asked once.
                let sql = format!(
                    "SELECT DISTINCT ON (writer) writer, grp, part FROM @.chunks_{} \
                     WHERE count > 0 ORDER BY writer, grp DESC, part DESC",
                    piece.number
                );
                let session = self.session.as_mut().ok_or(Trouble::Again)?;
                let rows = session.query(&sql, &[]).await?;
                let last = rows.iter().map(|row| {
                    let place = Place {
                        group: row.get::<_, i64>(1) as u64,
                        part: row.get::<_, i32>(2) as u32,
                    };
                    (row.get::<_, i32>(0) as u32, place)
                });
                self.upkeep.ends.insert(piece.number, last.collect());
            }
            let is_settled = {
                let account = &lock(&self.shared.delivery).account;
                let ends = self.upkeep.ends.get(&piece.number);
                ends.is_some_and(|ends| ends.iter().all(|(w, end)| account.is_behind(*w, *end)))
            };
            if !is_settled {
                continue;
            }
            self.begin_alone().await?;
            let session = self.session.as_mut().ok_or(Trouble::Again)?;
            let sql = format!(
                "UPDATE @.writers w SET last_group = c.grp, totals = c.totals \
                 FROM (SELECT DISTINCT ON (writer) writer, grp, totals FROM @.chunks_{} \
                       ORDER BY writer, grp DESC, part DESC) c \
                 WHERE w.writer = c.writer AND w.last_group < c.grp",
                piece.number
            );
            session.execute(&sql, &[]).await?;
            let sql = "DELETE FROM @.pieces WHERE kind = 'line' AND number = $1";
            session.execute(sql, &[&piece.number]).await?;
            self.commit_list().await?;
            self.upkeep.swept = None;
        }
        Ok(())
    }

    /// Letters past their retention go, and the oldest beyond the quota.
    async fn purge_letters(&mut self) -> Result<(), Trouble> {
        let options = &self.shared.options;
        let past = (self.shared.trust.believed_reading())
            .map_or(Millis::MIN, |now| now.wall - millis(options.dead_retention));
        let quota = options.dead_max_bytes;
        let mut is_over = lock(&self.shared.disk).dead_used > quota;
        let session = self.session.as_mut().ok_or(Trouble::Again)?;
        if is_over {
            // The table keeps the room of rows that are gone.
            let sql = "SELECT coalesce(sum(octet_length(body) + 200), 0)::int8 FROM @.letters";
            let used: i64 = session.query(sql, &[]).await?[0].get(0);
            is_over = used as u64 > quota;
        }
        let sql = "SELECT number, id, reason, died_at FROM @.letters WHERE reason IS NOT NULL \
                   ORDER BY number LIMIT $1";
        let rows = session.query(sql, &[&PURGED_AT_ONCE]).await?;
        let keys: Vec<LetterKey> = (rows.iter())
            .filter(|row| is_over || row.get::<_, Millis>(3) < past)
            .filter_map(|row| {
                Some(LetterKey {
                    number: LetterNumber(row.get::<_, i64>(0) as u64),
                    id_hash: row.get::<_, Uuid>(1).as_u128(),
                    reason: DeadReason::from_index(row.get::<_, i16>(2) as usize)?,
                })
            })
            .collect();
        if keys.is_empty() {
            return Ok(());
        }
        let count = keys.len();
        let (reply, done) = oneshot::channel();
        let _ = self.writer.send(WriterOp::Asked(Asked::Purge(keys), reply));
        if let Ok(Ok(_)) = done.await {
            tracing::warn!(
                purged = count,
                "dead letters purged: {}",
                match is_over {
                    true => "they were the oldest beyond dead_letters.max_bytes",
                    false => "they were past dead_letters.retention",
                }
            );
        }
        Ok(())
    }

    /// Ids that are older than the window go, with their table; those of letters stay.
    async fn expire_ids(&mut self) -> Result<(), Trouble> {
        let Some(now) = self.shared.trust.believed_reading() else {
            // Nothing is old while the clock is not believed.
            return Ok(());
        };
        let horizon = now.wall - millis(self.shared.options.dedup_window);
        let session = self.session.as_mut().ok_or(Trouble::Again)?;
        if (self.upkeep.expired).is_none_or(|at| at.elapsed() >= EXPIRE_EVERY) {
            session
                .execute("DELETE FROM @.purged WHERE at < $1", &[&horizon])
                .await?;
            self.upkeep.expired = Some(Instant::now());
        }
        let catalog = self.shared.catalog();
        let oldest_line = catalog
            .line
            .first()
            .map_or(Millis::MAX, |piece| piece.began_at);
        for piece in &catalog.ids {
            let Some(sealed_at) = piece.sealed_at else {
                break;
            };
            // An event that still waits is known, however old it is.
            if sealed_at >= horizon || (oldest_line <= sealed_at && self.line_waits()) {
                break;
            }
            self.begin_alone().await?;
            let session = self.session.as_mut().ok_or(Trouble::Again)?;
            let sql = format!(
                "INSERT INTO @.ids_{} (id, number) SELECT DISTINCT ON (l.id) l.id, 0 \
                 FROM @.letters l JOIN @.ids_{} USING (id) ORDER BY l.id ON CONFLICT DO NOTHING",
                catalog.ids_now(),
                piece.number
            );
            session.execute(&sql, &[]).await?;
            let sql = "DELETE FROM @.pieces WHERE kind = 'ids' AND number = $1";
            session.execute(sql, &[&piece.number]).await?;
            self.commit_list().await?;
            self.upkeep.swept = None;
        }
        Ok(())
    }

    fn line_waits(&self) -> bool {
        let counted = *lock(&self.shared.counted);
        let mut all = counted.own;
        all.add(counted.others);
        all.add(counted.turns);
        all.lined > all.line_settled
    }

    /// Tables that are off the list are dropped, whoever keeps them from it gives way first.
    async fn sweep(&mut self) -> Result<(), Trouble> {
        if self.upkeep.swept.is_some() {
            return Ok(());
        }
        let catalog = self.shared.catalog();
        let session = self.session.as_mut().ok_or(Trouble::Again)?;
        let tables = strays(session, &catalog).await?;
        let mut are_all_gone = true;
        for table in tables {
            // Under the list by which it is a stray.
            session.begin(catalog.version).await?;
            let sql = format!("SET LOCAL lock_timeout = '200ms'; DROP TABLE @.{table}; COMMIT");
            if let Err(trouble) = session.batch(&sql).await {
                are_all_gone = false;
                if let Trouble::Broken(_) = trouble {
                    return Err(trouble);
                }
                session.rollback().await?;
            }
        }
        if are_all_gone {
            self.upkeep.swept = Some(Instant::now());
        }
        Ok(())
    }
}

/// Tables of the schema that are off the list.
pub async fn strays(session: &mut Session, catalog: &Catalog) -> Result<Vec<String>, Trouble> {
    let schema = session.schema().to_owned();
    let sql = "SELECT tablename::text FROM pg_tables WHERE schemaname = $1 \
               AND tablename ~ '^(chunks|journal|ids)_[0-9]+$'";
    let mut strays = Vec::new();
    for row in session.query(sql, &[&schema]).await? {
        let table: &str = row.get(0);
        let Some((kind, Ok(number))) =
            (table.split_once('_')).map(|(kind, number)| (kind, number.parse::<i32>()))
        else {
            continue;
        };
        // One that is newer than the list is somebody's who is making it.
        let is_listed = match kind {
            "ids" => catalog.has_ids(number) || number > catalog.ids_now(),
            _ => catalog.has_line(number) || number > catalog.line_now(),
        };
        if !is_listed {
            strays.push(table.to_owned());
        }
    }
    Ok(strays)
}

/// The last of a kind is sealed, and the next takes its place.
async fn seal(
    session: &mut Session,
    kind: &str,
    (number, next): (i32, i32),
    now: Millis,
) -> Result<(), Trouble> {
    let sql = "UPDATE @.pieces SET sealed_at = $3 WHERE kind = $1 AND number = $2";
    session.execute(sql, &[&kind, &number, &now]).await?;
    let sql = "INSERT INTO @.pieces (kind, number, began_at) VALUES ($1, $2, $3)";
    session.execute(sql, &[&kind, &next, &now]).await?;
    Ok(())
}

async fn build_filter(session: &mut Session, piece: Piece) -> Result<(), Trouble> {
    let sql = format!("SELECT id FROM @.ids_{}", piece.number);
    let statement = session.statement(&sql).await?;
    // Row by row: all of them at once would take more memory than all the filters.
    let rows = session.link().client();
    let rows = rows
        .query_raw(&statement, std::iter::empty::<i32>())
        .await?;
    let mut keys: Vec<u64> = Vec::new();
    futures_util::pin_mut!(rows);
    while let Some(row) = rows.next().await {
        keys.push(row?.get::<_, Uuid>(0).as_u128() as u64);
    }
    keys.sort_unstable();
    keys.dedup();
    let mut w = Writer::default();
    IdFilter::new(&keys).write(&mut w);
    let sql = "UPDATE @.pieces SET filter = $2 WHERE kind = 'ids' AND number = $1";
    session.execute(sql, &[&piece.number, &w.0]).await?;
    Ok(())
}

/// What others have counted, what is lost, and the room that is taken.
async fn watch(shared: &Shared, session: &mut Session) -> Result<(), Trouble> {
    let catalog = shared.catalog();
    let own = lock(&shared.tail).writer();
    let others = others(session, &catalog, own).await?;
    lock(&shared.counted).others = others;
    let rows = session
        .query("SELECT loss FROM @.losses ORDER BY number", &[])
        .await?;
    let losses: Vec<Loss> = (rows.iter())
        .filter_map(|row| serde_json::from_str(row.get(0)).ok())
        .collect();
    *lock(&shared.losses) = losses;
    let tables: Vec<String> = (catalog.line.iter())
        .map(|piece| {
            format!(
                "\"{}\".chunks_{}",
                shared.options.place.schema, piece.number
            )
        })
        .collect();
    // A table that went since is none.
    let sql = "SELECT coalesce(sum(pg_total_relation_size(to_regclass(t))), 0)::int8, \
               pg_total_relation_size('@.letters')::int8 FROM unnest($1::text[]) AS t";
    let rows = session.query(sql, &[&tables]).await?;
    let (used, dead): (i64, i64) = (rows[0].get(0), rows[0].get(1));
    let is_full = used as u64 >= shared.options.max_bytes;
    let mut disk = lock(&shared.disk);
    (disk.used, disk.dead_used) = (used as u64, dead as u64);
    drop(disk);
    shared
        .is_full
        .send_if_modified(|full| std::mem::replace(full, is_full) != is_full);
    Ok(())
}
