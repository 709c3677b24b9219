//! Checks everything stored against the ledger, in short statements beside the daemon or without
//! any.
//!
//! Invariant: the account and the counts of letters are of one moment; what is walked after that is
//! what was there at that moment, for chunks are never changed, and what went since was settled.

use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;

use super::account::Account as Turns;
use super::catalog::Catalog;
use super::counts::others;
use super::journal::read_journal;
use super::letters;
use super::link::{Link, Newest};
use super::options::Options;
use super::place::Place;
use super::schema;
use super::session::Session;
use super::stored::{COLUMNS, Stored, events};
use super::totals::Totals;
use super::trouble::Trouble;
use crate::queue::contract::{Account, DeadReason, Finding, OpenError, Verdict};

/// Chunks, letters and ids that are read at once.
const AT_ONCE: i64 = 500;

/// Of one moment.
struct Moment {
    catalog: Catalog,
    /// The last group of each writer.
    groups: BTreeMap<i32, i64>,
    totals: Totals,
    turns: Turns,
    dead: [i64; DeadReason::ALL.len()],
    queued: i64,
}

/// Checks the queue that these options name, whether or not a daemon runs on it. Blocks.
///
/// # Errors
/// What kept it from being read.
pub fn verify(options: &Options, tell: &mut dyn FnMut(&str)) -> Result<Verdict, OpenError> {
    let place = Place::parse(&options.place.url, options.place.ca_file.clone())
        .map_err(|error| OpenError::Foreign(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| OpenError::Io(error.to_string()))?;
    tell("reading the tables");
    runtime.block_on(async {
        let link = (Link::open(&place, "verify", &Newest::default()).await)
            .map_err(|error| error.of_open())?;
        let mut session = Session::new(link, &options.place.schema, options.place.durability);
        schema::check(&mut session, &options.place).await?;
        let walked = walk(&mut session).await;
        walked.map_err(|trouble| OpenError::Io(format!("{place}: {trouble}")))
    })
}

/// Reads all of it.
pub async fn walk(session: &mut Session) -> Result<Verdict, Trouble> {
    let moment = moment(session).await?;
    let mut verdict = Verdict::default();
    let open = walk_line(session, &moment, &mut verdict).await?;
    walk_letters(session, &mut verdict).await?;
    strays(session, &moment.catalog, &mut verdict).await?;
    let totals = &moment.totals;
    let mut counts = |object: &str, counted: i64, ledger: i64| {
        if counted != ledger {
            verdict.findings.push(Finding {
                object: object.into(),
                what: format!("{counted} are stored, and the ledger has {ledger}"),
                next: NEXT.into(),
            });
        }
    };
    counts(
        "events of the line that wait",
        open,
        totals.lined - totals.line_settled,
    );
    counts(
        "dead letters that are queued again",
        moment.queued,
        totals.letters_queued,
    );
    for (reason, (counted, ledger)) in DeadReason::ALL
        .iter()
        .zip(moment.dead.iter().zip(totals.dead))
    {
        counts(
            &format!("dead letters of the reason {reason}"),
            *counted,
            ledger,
        );
    }
    let census = totals.census(moment.turns.sending(), moment.turns.in_doubt());
    let ledger = Account::from(&census);
    verdict.undelivered = Some(ledger.queued + ledger.sending + ledger.dead);
    verdict.ledger = Some(ledger);
    verdict.ledger_imbalance = census.imbalance();
    if verdict.ledger_imbalance != 0 {
        verdict.findings.push(Finding {
            object: "the ledger".into(),
            what: "it does not add up".into(),
            next: NEXT.into(),
        });
    }
    Ok(verdict)
}

const NEXT: &str = "keep the database as it is and compare with a backup; a damaged table is the \
                    server's to repair (`pg_amcheck`, a standby, a backup and `pinrelay adopt`)";

async fn moment(session: &mut Session) -> Result<Moment, Trouble> {
    session
        .batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    let catalog = Catalog::read(session, &Catalog::default()).await?;
    let mut groups: BTreeMap<i32, i64> = BTreeMap::new();
    for row in session
        .query("SELECT writer, last_group FROM @.writers", &[])
        .await?
    {
        groups.insert(row.get(0), row.get(1));
    }
    for piece in &catalog.line {
        let sql = format!(
            "SELECT writer, max(grp) FROM @.chunks_{} GROUP BY writer",
            piece.number
        );
        for row in session.query(&sql, &[]).await? {
            let last = groups.entry(row.get(0)).or_default();
            *last = (*last).max(row.get(1));
        }
    }
    let mut totals = others(session, &catalog, 0).await?;
    let mut turns = read_journal(session, catalog.line_now()).await?;
    totals.add(turns.totals);
    for letter in letters::all_queued(session).await? {
        if let Some((name, at)) = letter.sent {
            turns.mark_in_doubt(letter.number, name, at);
        }
    }
    let (mut dead, mut queued) = ([0; DeadReason::ALL.len()], 0);
    let sql = "SELECT reason, count(*) FROM @.letters GROUP BY reason";
    for row in session.query(sql, &[]).await? {
        let (reason, count): (Option<i16>, i64) = (row.get(0), row.get(1));
        match reason {
            None => queued = count,
            Some(reason) => {
                if let Some(place) = dead.get_mut(reason as usize) {
                    *place = count;
                }
            }
        }
    }
    session.batch("COMMIT").await?;
    Ok(Moment {
        catalog,
        groups,
        totals,
        turns,
        dead,
        queued,
    })
}

/// Gives how many events wait.
async fn walk_line(
    session: &mut Session,
    moment: &Moment,
    verdict: &mut Verdict,
) -> Result<i64, Trouble> {
    let mut open = 0;
    for piece in &moment.catalog.line {
        verdict.checked.generations += 1;
        let mut after = (0i32, 0i64, -1i32);
        loop {
            let sql = format!(
                "SELECT {COLUMNS} FROM @.chunks_{} WHERE (writer, grp, part) > ($1, $2, $3) \
                 AND count > 0 ORDER BY writer, grp, part LIMIT {AT_ONCE}",
                piece.number
            );
            let rows = match session.query(&sql, &[&after.0, &after.1, &after.2]).await {
                Ok(rows) => rows,
                // It was settled and dropped meanwhile.
                Err(Trouble::Refused(why)) if why.ends_with("(42P01)") => break,
                Err(other) => return Err(other),
            };
            let mut ids = Vec::new();
            for row in &rows {
                after = (row.get(0), row.get(1), row.get(2));
                if moment
                    .groups
                    .get(&after.0)
                    .is_none_or(|last| after.1 > *last)
                {
                    continue;
                }
                let stored = Stored::of(row, piece.number);
                let is_behind = moment.turns.is_behind(stored.writer, stored.place);
                match stored.chunk().and_then(|chunk| events(&chunk)) {
                    Ok(events) => {
                        verdict.checked.events += events.len() as u64;
                        let waits = (events.into_iter())
                            .filter(|event| !is_behind && !moment.turns.is_settled(event.id));
                        ids.extend(waits.map(|event| event.id_hash));
                    }
                    Err(error) => {
                        let (first, last) = super::numbers::block_of(stored.first);
                        let settled = moment.turns.settled.count_within(first..=last);
                        if !is_behind {
                            open += stored.count.saturating_sub(settled) as i64;
                        }
                        verdict.findings.push(Finding {
                            object: format!(
                                "chunk {} of writer {} in chunks_{}",
                                stored.first, stored.writer, piece.number
                            ),
                            what: format!("its {} events cannot be read: {error}", stored.count),
                            next: "whoever delivers sets them aside and keeps their bytes in the \
                                   table quarantine; the table is the server's to repair"
                                .into(),
                        });
                    }
                }
            }
            open += ids.len() as i64;
            known(session, &moment.catalog, &ids, verdict).await?;
            if (rows.len() as i64) < AT_ONCE {
                break;
            }
        }
    }
    Ok(open)
}

/// Every event that waits is known by its id, or it could be queued twice.
async fn known(
    session: &mut Session,
    catalog: &Catalog,
    ids: &[u128],
    verdict: &mut Verdict,
) -> Result<(), Trouble> {
    let mut unknown: HashSet<Uuid> = ids.iter().map(|id| Uuid::from_u128(*id)).collect();
    verdict.checked.message_ids += unknown.len() as u64;
    for piece in catalog.ids.iter().rev() {
        if unknown.is_empty() {
            return Ok(());
        }
        let asked: Vec<Uuid> = unknown.iter().copied().collect();
        let sql = format!("SELECT id FROM @.ids_{} WHERE id = ANY($1)", piece.number);
        for row in session.query(&sql, &[&asked]).await? {
            unknown.remove(&row.get::<_, Uuid>(0));
        }
    }
    if !unknown.is_empty() {
        verdict.findings.push(Finding {
            object: "the tables of remembered ids".into(),
            what: format!(
                "{} events that wait are not known by their messageIds: sent again, they would be \
                 queued twice",
                unknown.len()
            ),
            next: NEXT.into(),
        });
    }
    Ok(())
}

async fn walk_letters(session: &mut Session, verdict: &mut Verdict) -> Result<(), Trouble> {
    let mut after = 0i64;
    loop {
        let sql = format!(
            "SELECT {} FROM @.letters WHERE number > $1 ORDER BY number LIMIT {AT_ONCE}",
            letters::WHOLE
        );
        let rows = session.query(&sql, &[&after]).await?;
        for letter in rows.iter().map(letters::whole) {
            after = letter.number.0 as i64;
            verdict.checked.dead_letters += u64::from(letter.reason.is_some());
            if letter.body.is_none() {
                verdict.findings.push(Finding {
                    object: format!("dead letter {}", letter.number),
                    what: "its bytes cannot be read".into(),
                    next: NEXT.into(),
                });
            }
        }
        if (rows.len() as i64) < AT_ONCE {
            return Ok(());
        }
    }
}

/// Tables that are on no list.
async fn strays(
    session: &mut Session,
    catalog: &Catalog,
    verdict: &mut Verdict,
) -> Result<(), Trouble> {
    for table in super::upkeep::strays(session, catalog).await? {
        verdict.notes.push(format!(
            "table {table} is on no list: whoever delivers drops it when nobody reads it"
        ));
    }
    let rows = session
        .query("SELECT count(*) FROM @.quarantine", &[])
        .await?;
    let kept: i64 = rows[0].get(0);
    if kept > 0 {
        verdict.notes.push(format!(
            "{kept} pieces that could not be read are kept in the table quarantine"
        ));
    }
    Ok(())
}
