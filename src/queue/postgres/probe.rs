//! What a daemon would find there, for `check`.
//!
//! Invariant: nothing is changed, and nothing is waited for longer than a connection may take.

use tokio_postgres::Client;

use super::link::{LinkError, Newest, What, ask_all, choose};
use super::options::{Durability, Postgres};
use super::place::{Host, Place};
use super::refusal::Refusal;

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// As it should be.
    Fine(String),
    /// A daemon runs so, or waits, but the operator should know.
    Advice(String),
    /// A daemon does not run so.
    Wrong(String),
}

use Probed::{Advice, Fine, Wrong};

const RIGHTS: &str = "SELECT \
    (SELECT has_schema_privilege(oid, 'CREATE') AND has_schema_privilege(oid, 'USAGE') \
     FROM pg_namespace WHERE nspname = $1), \
    has_database_privilege(current_database(), 'CREATE')";

const SETTINGS: &str = "SELECT current_setting('fsync'), current_setting('full_page_writes'), \
    current_setting('synchronous_standby_names')";

/// Connects once, as a daemon would, and looks around. Blocks.
pub fn probe(options: &Postgres) -> Vec<Probed> {
    let place = match Place::parse(&options.url, options.ca_file.clone()) {
        Ok(place) => place,
        Err(error) => return vec![Wrong(error.to_string())],
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    match builder.enable_all().build() {
        Ok(runtime) => runtime.block_on(look(options, &place)),
        Err(error) => vec![Advice(format!("the database cannot be asked: {error}"))],
    }
}

async fn look(options: &Postgres, place: &Place) -> Vec<Probed> {
    let mut found = vec![Fine(format!(
        "queue in schema {} at {place}",
        options.schema
    ))];
    if !place.unused().is_empty() {
        found.push(Advice(format!(
            "the database's URL says {}, which does not count: pinrelay sets it itself",
            place.unused().join(", ")
        )));
    }
    let answers = ask_all(place, "check").await;
    let whats = answers
        .iter()
        .map(|answer| answer.as_ref().map(|found| &found.what));
    let each = each(place, &whats.collect::<Vec<_>>());
    let link = match choose(place, answers, &Newest::default()) {
        Ok(link) => link,
        Err(LinkError::Config(why)) => {
            found.push(Wrong(why));
            return found;
        }
        Err(LinkError::Away(why)) => {
            found.push(Advice(format!(
                "the database is away, and until it is back a daemon takes no events and waits: {why}"
            )));
            return found;
        }
    };
    found.extend(each);
    let asked = async {
        found.extend(rights(link.client(), options, place).await?);
        found.extend(settings(link.client(), options.durability).await?);
        Ok::<_, tokio_postgres::Error>(())
    };
    let asked = tokio::time::timeout(place.patience, asked).await;
    if !matches!(asked, Ok(Ok(()))) {
        let host = link.host();
        found.push(Advice(format!(
            "{host}: the connection broke while rights and settings were looked at: try again"
        )));
    }
    found
}

/// What is to be said of each host, where one of them takes writes.
fn each(place: &Place, whats: &[Result<&What, &Refusal>]) -> Vec<Probed> {
    let each = || place.hosts.iter().zip(whats);
    let written = each().filter_map(|(host, what)| Some(((*what).ok()?.timeline?, host)));
    let newest = written.max_by_key(|(timeline, _)| *timeline);
    each()
        .map(|(host, what)| one(host, *what, newest))
        .collect()
}

fn one(host: &Host, what: Result<&What, &Refusal>, newest: Option<(u64, &Host)>) -> Probed {
    let what = match what {
        Ok(what) => what,
        Err(refusal) => return Advice(refusal.clone().at(host).text()),
    };
    let version = what.version;
    match (what.no_writes, what.timeline.zip(newest)) {
        // Beside its primary it is as it should be.
        (Some(_), _) if what.is_standby => Fine(format!("{host}: PostgreSQL {version}, a standby")),
        (Some(why), _) => Advice(format!("{host}: PostgreSQL {version}; {why}")),
        (None, Some((timeline, (highest, other)))) if timeline < highest => Advice(format!(
            "{host}: it takes writes on timeline {timeline}, and {other} on timeline {highest}: it is an \
             old primary that was cut off, and is not used: stop it, or make it a standby"
        )),
        (None, Some((timeline, _))) => Fine(format!(
            "{host}: PostgreSQL {version} takes writes, on timeline {timeline}"
        )),
        (None, None) => Fine(format!("{host}: PostgreSQL {version} takes writes")),
    }
}

async fn rights(
    client: &Client,
    options: &Postgres,
    place: &Place,
) -> Result<Option<Probed>, tokio_postgres::Error> {
    let (schema, database) = (&options.schema, &place.database);
    let row = client.query_one(RIGHTS, &[schema]).await?;
    let (of_schema, of_database): (Option<bool>, bool) = (row.get(0), row.get(1));
    Ok(match (of_schema, of_database) {
        (Some(true), _) => None,
        (None, true) => Some(Fine(format!(
            "there is no schema {schema} yet, and the daemon makes it"
        ))),
        (Some(false), _) => Some(Wrong(format!(
            "the URL's user may not make tables in schema {schema}: GRANT CREATE, USAGE ON SCHEMA \
             {schema} TO its role, or make the role its owner"
        ))),
        (None, false) => Some(Wrong(format!(
            "there is no schema {schema}, and the URL's user may not make one: GRANT CREATE ON \
             DATABASE \"{database}\" TO its role, or CREATE SCHEMA {schema} AUTHORIZATION its role"
        ))),
    })
}

async fn settings(
    client: &Client,
    durability: Durability,
) -> Result<Vec<Probed>, tokio_postgres::Error> {
    let row = client.query_one(SETTINGS, &[]).await?;
    let [fsync, pages, names]: [String; 3] = [0, 1, 2].map(|at| row.get(at));
    let is_replicated = durability == Durability::Replicated;
    let mut found = Vec::new();
    for (name, value) in [("fsync", &fsync), ("full_page_writes", &pages)] {
        if value == "on" {
            continue;
        }
        let told = format!(
            "{name} is off on the server, and what was acknowledged may be lost with its power: \
             switch it on"
        );
        found.push(match is_replicated {
            true => Wrong(told),
            false => Advice(told),
        });
    }
    found.push(match (durability, names.trim().is_empty()) {
        (Durability::Replicated, true) => Wrong(
            "synchronous_standby_names is empty on the server, so no standby has what is committed: \
             name the standbys there, or set [postgres] durability to \"managed\" or \"single\""
                .into(),
        ),
        (Durability::Replicated, false) => {
            Fine("an event is answered when a synchronous standby has it, too".into())
        }
        (Durability::Managed, _) => Fine(
            "an event is answered when the server has it; the provider answers for copies".into(),
        ),
        (Durability::Single, _) => Advice(
            "an event is answered when one server has it ([postgres] durability = \"single\"): with \
             that server's disk it is lost"
                .into(),
        ),
    });
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Token;

    #[test]
    fn each_host_is_told_and_an_old_primary_is_named() {
        let url = "postgres://u@a,b,c,d,e/d";
        let place = Place::parse(&Token::new(url), None).expect("a place");
        let writes = |timeline| What {
            version: 15,
            is_standby: false,
            no_writes: None,
            timeline,
        };
        let standby = What {
            is_standby: true,
            no_writes: Some("it is a standby"),
            ..writes(None)
        };
        let (old, new, managed) = (writes(Some(1)), writes(Some(2)), writes(None));
        let away = Refusal::Away("no server listens there".into());
        let all = [Ok(&old), Ok(&new), Ok(&standby), Ok(&managed), Err(&away)];
        let told = each(&place, &all);
        let is_advice = told.iter().map(|probed| matches!(probed, Advice(_)));
        assert_eq!(
            is_advice.collect::<Vec<_>>(),
            [true, false, false, false, true]
        );
        let text = format!("{told:?}");
        assert!(text.contains("a:5432: it takes writes on timeline 1, and b:5432 on timeline 2"));
        assert!(text.contains("e:5432: no server listens there"), "{text}");
        let alone = each(&place, &[Ok(&old)]);
        assert!(matches!(&alone[0], Fine(_)), "{alone:?}");
    }
}
