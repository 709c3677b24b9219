//! A connection in use: its statements, how a transaction begins, and the instant of commitment.
//!
//! Invariant: nothing is acknowledged but behind [`Session::commit`], which is where a transaction is
//! known to be committed and copied as far as `durability` asks. All else is unknown until it is
//! resolved; then the connection is hung up, which cancels nothing.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use super::link::Link;
use super::options::Durability;
use super::trouble::Trouble;

/// A commit that takes longer is unknown.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub type Param<'a> = &'a (dyn ToSql + Sync);

/// See the file's page.
pub struct Session {
    link: Link,
    statements: HashMap<String, Statement>,
    schema: String,
    durability: Durability,
    /// Of the lock that this writer or turn has alone while it writes: whoever looks what became of
    /// a transaction of its own waits for that one, wherever it stands.
    own: i64,
    /// Of the lock that whoever writes shares, and whoever changes the list of tables has alone.
    lock: i64,
}

impl Session {
    pub fn new(link: Link, schema: &str, durability: Durability) -> Self {
        Self {
            link,
            statements: HashMap::new(),
            schema: schema.to_owned(),
            durability,
            own: 0,
            lock: lock_of(schema),
        }
    }

    /// The names that a schema may have are its own in quotes, also where they mean something.
    fn text(&self, sql: &str) -> String {
        sql.replace('@', &format!("\"{}\"", self.schema))
    }

    /// What is written from now on is this writer's, or this turn's.
    pub fn writes_as(&mut self, whose: &[u8]) {
        self.own = crate::queue::record::codec::checksum(self.schema.as_bytes(), whose) as i64;
    }

    /// As it is, without quotes.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    pub fn link(&self) -> &Link {
        &self.link
    }

    /// The statement, prepared once; `@` in it stands for the schema.
    pub async fn statement(&mut self, sql: &str) -> Result<Statement, Trouble> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        // Tables come and go, and the statements about them.
        if self.statements.len() > 200 {
            self.statements.clear();
        }
        let text = self.text(sql);
        let statement = self.link.client().prepare(&text).await?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    pub async fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Trouble> {
        let statement = self.statement(sql).await?;
        Ok(self.link.client().query(&statement, params).await?)
    }

    pub async fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, Trouble> {
        let statement = self.statement(sql).await?;
        Ok(self.link.client().execute(&statement, params).await?)
    }

    /// Several statements without parameters.
    pub async fn batch(&mut self, sql: &str) -> Result<(), Trouble> {
        let text = self.text(sql);
        Ok(self.link.client().batch_execute(&text).await?)
    }

    /// Begins a transaction that writes: shares the lock, and then, in a statement of its own, reads
    /// the version of the list of tables, for what one statement reads is older than its lock.
    ///
    /// Gives whether letters were purged that may be imported.
    ///
    /// # Errors
    /// [`Trouble::Stale`], and the transaction is over.
    pub async fn begin(&mut self, list: i64) -> Result<bool, Trouble> {
        let (lock, read) = (
            self.statement("SELECT pg_advisory_xact_lock($2), pg_advisory_xact_lock_shared($1)")
                .await?,
            self.statement("SELECT list, EXISTS (SELECT 1 FROM @.purged) FROM @.identity")
                .await?,
        );
        let client = self.link.client();
        let params: [Param<'_>; 2] = [&self.lock, &self.own];
        let (begun, locked, found) = tokio::join!(
            client.batch_execute(BEGIN),
            client.query(&lock, &params),
            client.query_one(&read, &[]),
        );
        begun?;
        locked?;
        let found = found?;
        if found.get::<_, i64>(0) == list {
            return Ok(found.get(1));
        }
        self.rollback().await?;
        Err(Trouble::Stale)
    }

    /// Begins a transaction that changes the list of tables: whoever writes has ended before, or
    /// waits. Gives the version of the list.
    pub async fn begin_alone(&mut self) -> Result<i64, Trouble> {
        self.batch(BEGIN).await?;
        // Whoever is stopped while it writes must not stop all others behind this.
        self.batch("SET LOCAL lock_timeout = '200ms'").await?;
        let lock = self.lock;
        self.query("SELECT pg_advisory_xact_lock($1)", &[&lock])
            .await?;
        let rows = self.query("SELECT list FROM @.identity", &[]).await?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    pub async fn rollback(&mut self) -> Result<(), Trouble> {
        Ok(self.link.client().batch_execute("ROLLBACK").await?)
    }

    /// Writes the last of a transaction, and commits it. When it returns well, the transaction is
    /// committed, and copied as far as is asked for.
    ///
    /// # Errors
    /// What the statement was refused for, and then nothing is committed; [`Trouble::Broken`]:
    /// nobody knows.
    pub async fn commit(&mut self, last: &str, params: &[Param<'_>]) -> Result<(), Trouble> {
        let (last, ask) = (self.statement(last).await?, self.statement(ASK).await?);
        let (client, notices) = (self.link.client(), self.link.notices());
        // All three are on their way before the first is answered, so that the settings told are
        // those of the moment at which the wait for the standby ended.
        let all = async {
            tokio::join!(
                client.execute(&last, params),
                client.batch_execute("COMMIT"),
                client.query_one(&ask, &[]),
            )
        };
        let Ok((written, committed, settings)) = timeout(PATIENCE, all).await else {
            let unanswered = format!("no answer to COMMIT in {} s", PATIENCE.as_secs());
            return Err(Trouble::Broken(unanswered));
        };
        match written.map_err(Trouble::from) {
            Ok(_) => {}
            // The COMMIT behind it was a rollback.
            Err(refused @ (Trouble::Refused(_) | Trouble::Again | Trouble::Clash(_))) => {
                return Err(refused);
            }
            Err(other) => return Err(Trouble::Broken(other.to_string())),
        }
        let unknown =
            |error: tokio_postgres::Error| Trouble::Broken(Trouble::from(error).to_string());
        committed.map_err(unknown)?;
        let settings = settings.map_err(unknown)?;
        if let Some(lacking) = lacking(&settings, self.durability) {
            return Err(Trouble::Broken(lacking));
        }
        // The instant of commitment.
        match self.link.notices() == notices {
            true => Ok(()),
            false => Err(Trouble::Broken(format!(
                "a notice came with COMMIT, so the wait for the standby may have been cut short: {}",
                self.link.last_notice().unwrap_or_default()
            ))),
        }
    }

    /// What the server lacks for what is promised.
    pub async fn lacking(&mut self) -> Result<Option<String>, Trouble> {
        let rows = self.query(ASK, &[]).await?;
        Ok(rows.first().and_then(|row| lacking(row, self.durability)))
    }
}

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = on";

const ASK: &str = "SELECT current_setting('synchronous_standby_names') <> '', \
    current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on'";

fn lacking(settings: &Row, durability: Durability) -> Option<String> {
    if durability != Durability::Replicated {
        return None;
    }
    let [names, fsync, pages] = [0, 1, 2].map(|at| settings.get::<_, bool>(at));
    if !names {
        return Some(
            "synchronous_standby_names is empty on the server, so no standby has what is committed: \
             name the standbys there, or set [postgres] durability"
                .into(),
        );
    }
    let off = match (fsync, pages) {
        (false, _) => "fsync",
        (_, false) => "full_page_writes",
        _ => return None,
    };
    Some(format!("{off} is off on the server: switch it on"))
}

/// A number that two schemas of one database hardly share; if they do, they wait for each other and
/// nothing else.
fn lock_of(schema: &str) -> i64 {
    crate::queue::record::codec::checksum(b"pinrelay", schema.as_bytes()) as i64
}
