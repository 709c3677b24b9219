//! Tables, and whose they are: numbered SQL files, each one transaction, under a lock.

use tokio_postgres::Row;

use super::options::Postgres;
use super::session::{Param, Session};
use super::trouble::Trouble;
use crate::clock::Millis;
use crate::queue::contract::{IdHasher, OpenError};

/// In their order; the number of each is its place, from 1.
const MIGRATIONS: &[&str] = &[include_str!("schema/0001.sql")];

/// Why the schema cannot be used.
#[derive(Debug)]
pub enum Unfit {
    Open(OpenError),
    Trouble(Trouble),
}

impl From<Trouble> for Unfit {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// What the schema records.
pub struct Identity {
    pub hasher: IdHasher,
    pub adoptions: i64,
}

/// Makes the tables if there are none, and checks that they are of this account. `key`: of the id
/// hashes, if they are made.
pub async fn ready(
    session: &mut Session,
    place: &Postgres,
    key: [u8; 16],
    now: Millis,
) -> Result<Identity, Unfit> {
    let schema = &place.schema;
    let lock: Param<'_> = &(i64::from(0x7069_6e72) << 16);
    session
        .batch("BEGIN; SET LOCAL synchronous_commit = on")
        .await?;
    session
        .query("SELECT pg_advisory_xact_lock($1)", &[lock])
        .await?;
    if let Some(lacking) = lacking_rights(session, schema).await? {
        session.rollback().await?;
        return Err(Unfit::Open(OpenError::Foreign(lacking)));
    }
    let rows = session
        .query(
            "SELECT to_regclass($1) IS NOT NULL",
            &[&format!("\"{schema}\".migrations")],
        )
        .await?;
    let is_made: bool = rows[0].get(0);
    if !is_made {
        if let Some(lacking) = lacking_rights(session, schema).await? {
            session.rollback().await?;
            return Err(Unfit::Open(OpenError::Foreign(lacking)));
        }
        // Even where it exists, to ask for it takes a right that its owner may lack.
        let sql = "SELECT to_regnamespace($1) IS NULL";
        let is_missing: bool = session.query(sql, &[&format!("\"{schema}\"")]).await?[0].get(0);
        if is_missing {
            session.batch("CREATE SCHEMA @").await?;
        }
        session
            .batch(
                "CREATE TABLE @.migrations (number int PRIMARY KEY, \
                 at timestamptz NOT NULL DEFAULT clock_timestamp())",
            )
            .await?;
    }
    let sql = "SELECT coalesce(max(number), 0) FROM @.migrations";
    let known = MIGRATIONS.len() as i32;
    let done: i32 = session.query(sql, &[]).await?[0].get(0);
    if done > known {
        session.rollback().await?;
        return Err(Unfit::Open(newer(schema, done)));
    }
    for (number, sql) in (1..).zip(MIGRATIONS).skip(done as usize) {
        session.batch(sql).await?;
        let sql = "INSERT INTO @.migrations (number) VALUES ($1)";
        session.execute(sql, &[&number]).await?;
    }
    let rows = session
        .query(
            "SELECT account, is_test, id_key, adoptions FROM @.identity",
            &[],
        )
        .await?;
    let identity = match rows.first() {
        Some(row) => {
            if let Some(found) = of_another(row, place) {
                session.rollback().await?;
                return Err(Unfit::Open(OpenError::Foreign(found)));
            }
            let key: &[u8] = row.get(2);
            Identity {
                hasher: IdHasher::new(key.try_into().unwrap_or(key_of_none())),
                adoptions: row.get(3),
            }
        }
        None => {
            let sql = "INSERT INTO @.identity (account, is_test, id_key, made_at) \
                       VALUES ($1, $2, $3, $4)";
            let key_bytes: &[u8] = &key;
            session
                .execute(sql, &[&place.account, &place.is_test, &key_bytes, &now])
                .await?;
            session.batch(&make_line(1)).await?;
            session.batch(&make_ids(1)).await?;
            let sql = "INSERT INTO @.pieces (kind, number, began_at) VALUES ('line', 1, $1), ('ids', 1, $1)";
            session.execute(sql, &[&now]).await?;
            Identity {
                hasher: IdHasher::new(key),
                adoptions: 0,
            }
        }
    };
    session.batch("COMMIT").await?;
    Ok(identity)
}

/// What the role may not do that making the tables needs.
async fn lacking_rights(session: &mut Session, schema: &str) -> Result<Option<String>, Trouble> {
    let sql = "SELECT (SELECT has_schema_privilege(oid, 'CREATE') AND \
               has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = $1), \
               has_database_privilege(current_database(), 'CREATE')";
    let rows = session.query(sql, &[&schema]).await?;
    let (in_schema, in_database): (Option<bool>, bool) = (rows[0].get(0), rows[0].get(1));
    let text = match (in_schema, in_database) {
        (Some(true), _) | (None, true) => return Ok(None),
        (Some(false), _) => format!(
            "schema {schema}: the role may not make tables there: GRANT USAGE, CREATE ON SCHEMA \
             {schema} to it, or make it the schema's owner"
        ),
        (None, false) => format!(
            "schema {schema} is not there, and the role may not make it: CREATE SCHEMA {schema} \
             AUTHORIZATION its role, or GRANT CREATE ON DATABASE to it"
        ),
    };
    Ok(Some(text))
}

/// Whether it is this daemon's, without making or changing anything.
///
/// # Errors
/// There is none, it is of another account, it is newer, or what kept it from being read.
pub async fn check(session: &mut Session, place: &Postgres) -> Result<(), OpenError> {
    let schema = &place.schema;
    let read = async {
        let rows = session
            .query(
                "SELECT to_regclass($1) IS NOT NULL",
                &[&format!("\"{schema}\".identity")],
            )
            .await?;
        if !rows[0].get::<_, bool>(0) {
            return Ok(None);
        }
        let sql = "SELECT account, is_test, id_key, adoptions, \
                   (SELECT max(number) FROM @.migrations) FROM @.identity";
        Ok::<_, Trouble>(session.query(sql, &[]).await?.into_iter().next())
    };
    let row = read
        .await
        .map_err(|trouble| OpenError::Io(trouble.to_string()))?;
    let Some(row) = row else {
        return Err(OpenError::Io(format!(
            "schema {schema}: it holds no queue; name the one that does as [postgres] schema, or \
             start the daemon, which makes one"
        )));
    };
    let done: i32 = row.get::<_, Option<i32>>(4).unwrap_or_default();
    if done > MIGRATIONS.len() as i32 {
        return Err(newer(schema, done));
    }
    of_another(&row, place).map_or(Ok(()), |found| Err(OpenError::Foreign(found)))
}

fn newer(schema: &str, done: i32) -> OpenError {
    OpenError::Newer(format!(
        "schema {schema} was made by a newer pinrelay (its version {done}, known here: {}): install \
         that one; nothing was changed",
        MIGRATIONS.len()
    ))
}

/// Whose it is, if not this daemon's.
fn of_another(row: &Row, place: &Postgres) -> Option<String> {
    let (account, is_test): (&str, bool) = (row.get(0), row.get(1));
    if (account, is_test) == (place.account.as_str(), place.is_test) {
        return None;
    }
    let mode = |is_test| if is_test { "test" } else { "live" };
    Some(format!(
        "schema {} holds the {} queue of ad account {account}, and this daemon delivers {} events \
         to {}: give each account and mode a schema of its own ([postgres] schema)",
        place.schema,
        mode(is_test),
        mode(place.is_test),
        place.account
    ))
}

/// The table lets none of another length in.
const fn key_of_none() -> [u8; 16] {
    [0; 16]
}

/// A generation: the chunks of the line, and the journal of the turns meanwhile.
pub fn make_line(number: i32) -> String {
    format!(
        "CREATE TABLE @.chunks_{number} (writer int, grp bigint, part int, first bigint, \
             count int NOT NULL, totals bytea NOT NULL, bytes bytea, \
             PRIMARY KEY (writer, grp, part)); \
         ALTER TABLE @.chunks_{number} ALTER COLUMN bytes SET STORAGE EXTERNAL; \
         CREATE INDEX chunks_{number}_first ON @.chunks_{number} (first) WHERE count > 0; \
         CREATE TABLE @.journal_{number} (turn bigint, wave bigint, bytes bytea NOT NULL, \
             PRIMARY KEY (turn, wave)); \
         ALTER TABLE @.journal_{number} ALTER COLUMN bytes SET STORAGE EXTERNAL"
    )
}

/// Remembered ids, with the numbers of their events.
pub fn make_ids(number: i32) -> String {
    format!("CREATE TABLE @.ids_{number} (id uuid PRIMARY KEY, number bigint NOT NULL)")
}
