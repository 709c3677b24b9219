//! Taking over a queue that was restored from a copy: what the copy does not know to be settled is in
//! doubt, and whoever writes begins a new life.

use uuid::Uuid;

use super::catalog::Catalog;
use super::counts::others;
use super::journal::{journal_row, read_journal};
use super::letters;
use super::numbers::BLOCK;
use super::options::Options;
use super::schema::Unfit;
use super::session::Session;
use super::trouble::Trouble;
use super::wave::Doubt;
use crate::clock::Millis;
use crate::queue::contract::{LetterNumber, OpenError, Seq};

/// Gives how often the queue has been adopted now.
///
/// # Errors
/// [`OpenError::InUse`] while a daemon has the turn.
pub async fn adopt(session: &mut Session, options: &Options, now: Millis) -> Result<i64, Unfit> {
    session.begin_alone().await?;
    let catalog = Catalog::read(session, &Catalog::default()).await?;
    let sql = "SELECT token, ends > clock_timestamp(), turns, coalesce(holder, '') FROM @.lease \
               FOR UPDATE";
    let rows = session.query(sql, &[]).await?;
    let row = rows
        .first()
        .ok_or_else(|| Trouble::Refused("the lease is gone".into()))?;
    let (token, is_now, turns): (Option<Uuid>, bool, i64) = (row.get(0), row.get(1), row.get(2));
    if token.is_some() && is_now {
        let why = format!(
            "schema {}: a daemon on {} delivers from it; if that one is stopped, its turn ends in {} \
             s: then adopt again",
            options.place.schema,
            row.get::<_, &str>(3),
            options.place.lease.as_secs()
        );
        session.rollback().await?;
        return Err(Unfit::Open(OpenError::InUse(why)));
    }
    let mut account = read_journal(session, catalog.line_now()).await?;
    let queued = letters::all_queued(session).await?;
    for letter in &queued {
        if let Some((name, at)) = letter.sent.clone() {
            account.mark_in_doubt(letter.number, name, at);
        }
    }
    let mut all = others(session, &catalog, 0).await?;
    all.add(account.totals);
    let open = all.lined - all.line_settled + all.letters_queued;
    let marked = account.marks.len() as i64;
    let sql = "SELECT last_value FROM @.numbers UNION ALL SELECT last_value FROM @.letter_numbers";
    let rows = session.query(sql, &[]).await?;
    let last = |at: usize| rows.get(at).map_or(0, |row| row.get::<_, i64>(0)) as u64;
    // The block of that number is the last that was given.
    account.doubt = Some(Doubt {
        lines: Seq(last(0) + BLOCK),
        letters: LetterNumber(last(1) + 1),
        since: now,
        left: u64::try_from(open - marked).unwrap_or(0),
    });
    let mut wave = account.next();
    wave.doubt = Some(account.doubt);
    let turn = turns + 1;
    let sql = "UPDATE @.lease SET token = NULL, turns = $1, holder = NULL, ends = '-infinity'";
    session.execute(sql, &[&turn]).await?;
    let bytes = wave.encode();
    let sql = journal_row(catalog.line_now());
    session.execute(&sql, &[&turn, &0i64, &bytes]).await?;
    let sql = "UPDATE @.identity SET list = list + 1, adoptions = adoptions + 1";
    session.commit(sql, &[]).await?;
    Ok(catalog.adoptions + 1)
}
