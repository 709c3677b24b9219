//! Remembered ids: which of some are known already, and where.
//!
//! Invariant: called in a transaction that has begun under this catalog, so that no table is sealed
//! between the look into the sealed ones and the insert into the last.

use std::collections::HashMap;

use uuid::Uuid;

use super::catalog::Catalog;
use super::session::Session;
use super::trouble::Trouble;
use crate::queue::contract::{IdSet, Seq};

/// Which of these are in sealed tables, with the numbers of their events.
pub async fn in_sealed(
    session: &mut Session,
    catalog: &Catalog,
    ids: &[u128],
) -> Result<HashMap<u128, Seq>, Trouble> {
    let mut known = HashMap::new();
    for (table, filter) in catalog.sealed_ids() {
        let maybe = |id: &&u128| filter.is_none_or(|filter| filter.may_hold(**id));
        let asked: Vec<Uuid> = (ids.iter().filter(maybe))
            .filter(|id| !known.contains_key(*id))
            .map(|id| Uuid::from_u128(*id))
            .collect();
        if asked.is_empty() {
            continue;
        }
        let sql = format!("SELECT id, number FROM @.ids_{table} WHERE id = ANY($1)");
        for row in session.query(&sql, &[&asked]).await? {
            let (id, number): (Uuid, i64) = (row.get(0), row.get(1));
            known.entry(id.as_u128()).or_insert(Seq(number as u64));
        }
    }
    Ok(known)
}

/// Which of these are in the table that takes new ones.
pub async fn in_current(
    session: &mut Session,
    catalog: &Catalog,
    ids: &[u128],
) -> Result<HashMap<u128, Seq>, Trouble> {
    let asked: Vec<Uuid> = ids.iter().map(|id| Uuid::from_u128(*id)).collect();
    let table = catalog.ids_now();
    let sql = format!("SELECT id, number FROM @.ids_{table} WHERE id = ANY($1)");
    let rows = session.query(&sql, &[&asked]).await?;
    let known = rows.iter().map(|row| {
        let (id, number): (Uuid, i64) = (row.get(0), row.get(1));
        (id.as_u128(), Seq(number as u64))
    });
    Ok(known.collect())
}

/// Remembers these ids, in ascending order, or two writers would wait for each other. Gives those
/// that were new to the last table.
pub async fn insert(
    session: &mut Session,
    catalog: &Catalog,
    ids: &[(u128, Seq)],
) -> Result<IdSet, Trouble> {
    if ids.is_empty() {
        return Ok(IdSet::default());
    }
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    let numbers: Vec<i64> = sorted.iter().map(|(_, number)| number.0 as i64).collect();
    let ids: Vec<Uuid> = sorted.iter().map(|(id, _)| Uuid::from_u128(*id)).collect();
    let sql = format!(
        "INSERT INTO @.ids_{} (id, number) SELECT * FROM unnest($1::uuid[], $2::int8[]) \
         ON CONFLICT DO NOTHING RETURNING id",
        catalog.ids_now()
    );
    let rows = session.query(&sql, &[&ids, &numbers]).await?;
    Ok(rows
        .iter()
        .map(|row| row.get::<_, Uuid>(0).as_u128())
        .collect())
}

/// Remembers these from now on, whatever is known of them.
pub async fn renew(
    session: &mut Session,
    catalog: &Catalog,
    ids: &[(u128, Seq)],
) -> Result<(), Trouble> {
    if ids.is_empty() {
        return Ok(());
    }
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    sorted.dedup_by_key(|(id, _)| *id);
    let numbers: Vec<i64> = sorted.iter().map(|(_, number)| number.0 as i64).collect();
    let ids: Vec<Uuid> = sorted.iter().map(|(id, _)| Uuid::from_u128(*id)).collect();
    let sql = format!(
        "INSERT INTO @.ids_{} AS old (id, number) SELECT * FROM unnest($1::uuid[], $2::int8[]) \
         ON CONFLICT (id) DO UPDATE SET number = greatest(EXCLUDED.number, old.number)",
        catalog.ids_now()
    );
    session.execute(&sql, &[&ids, &numbers]).await?;
    Ok(())
}
