//! The journal of the turns, and the lease that whoever writes it holds.

use uuid::Uuid;

use super::account::Account;
use super::catalog::Catalog;
use super::letters;
use super::session::Session;
use super::trouble::Trouble;
use super::wave::Wave;

/// The lease, as this process has it.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    pub token: Uuid,
    /// How many turns there were.
    pub turn: i64,
    /// The last wave that is in the journal.
    pub wave: i64,
}

/// The row of the lease is held until the transaction ends, by the turn's token.
///
/// # Errors
/// [`Trouble::TurnOver`], and the transaction is over.
pub async fn hold_lease(session: &mut Session, token: Uuid) -> Result<(), Trouble> {
    let sql = "SELECT 1 FROM @.lease WHERE token = $1 FOR SHARE";
    if session.query(sql, &[&token]).await?.is_empty() {
        session.rollback().await?;
        return Err(Trouble::TurnOver);
    }
    Ok(())
}

/// Whether a wave that was acknowledged is in the journal, or was and its table went.
pub async fn is_written(
    session: &mut Session,
    catalog: &Catalog,
    last: Lease,
    generation: i32,
) -> Result<bool, Trouble> {
    if !catalog.has_line(generation) {
        return Ok(generation < catalog.line_now());
    }
    let sql = format!("SELECT 1 FROM @.journal_{generation} WHERE turn = $1 AND wave = $2");
    let rows = session.query(&sql, &[&last.turn, &last.wave]).await?;
    Ok(!rows.is_empty())
}

pub fn missing(last: Lease) -> String {
    format!(
        "wave {} of turn {} was acknowledged and is not there: the database was put back to an \
         earlier state; nothing is accepted and nothing delivered until `pinrelay adopt` says that \
         it shall stay so",
        last.wave, last.turn
    )
}

pub fn journal_row(generation: i32) -> String {
    format!("INSERT INTO @.journal_{generation} (turn, wave, bytes) VALUES ($1, $2, $3)")
}

/// What a turn that begins would find: all that was sent and is not settled is in doubt.
pub async fn between_turns(session: &mut Session, generation: i32) -> Result<Account, Trouble> {
    let mut account = read_journal(session, generation).await?;
    for letter in letters::all_queued(session).await? {
        if let Some((name, at)) = letter.sent {
            account.mark_in_doubt(letter.number, name, at);
        }
    }
    account.doubt_all();
    Ok(account)
}

/// What the journal of this generation amounts to.
pub async fn read_journal(session: &mut Session, generation: i32) -> Result<Account, Trouble> {
    let sql = format!("SELECT bytes, turn, wave FROM @.journal_{generation} ORDER BY turn, wave");
    let mut account = Account::default();
    for row in session.query(&sql, &[]).await? {
        let (bytes, turn, wave): (&[u8], i64, i64) = (row.get(0), row.get(1), row.get(2));
        let wave = Wave::decode(bytes).map_err(|error| {
            Trouble::Refused(format!("the journal, turn {turn}, wave {wave}: {error}"))
        })?;
        account.apply(&wave);
    }
    Ok(account)
}
