//! The list of tables, as this process knows it: the generations of the line, and the tables of
//! remembered ids with their filters.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::session::Session;
use super::trouble::Trouble;
use crate::clock::Millis;
use crate::queue::record::codec::Reader;
use crate::queue::record::id_filter::IdFilter;

/// A table of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub number: i32,
    pub began_at: Millis,
    pub sealed_at: Option<Millis>,
}

/// See the file's page. One version of it, whole.
#[derive(Clone, Default)]
pub struct Catalog {
    /// Of the list; a transaction that finds another begins again.
    pub version: i64,
    /// How often the queue was adopted: at each, whoever writes begins a new life.
    pub adoptions: i64,
    /// Ascending; the last one takes what is new.
    pub line: Vec<Piece>,
    pub ids: Vec<Piece>,
    /// Of sealed tables of ids. One that has none is always asked.
    pub filters: BTreeMap<i32, Arc<IdFilter>>,
}

impl Catalog {
    /// Reads the list, with the filters that are new.
    pub async fn read(session: &mut Session, known: &Self) -> Result<Self, Trouble> {
        let sql = "SELECT i.list, p.kind, p.number, p.began_at, p.sealed_at, p.filter IS NOT NULL, \
                   i.adoptions FROM @.identity i, @.pieces p ORDER BY p.kind, p.number";
        let mut catalog = Self::default();
        let mut missing = Vec::new();
        for row in session.query(sql, &[]).await? {
            catalog.version = row.get(0);
            catalog.adoptions = row.get(6);
            let piece = Piece {
                number: row.get(2),
                began_at: row.get(3),
                sealed_at: row.get(4),
            };
            if row.get::<_, &str>(1) == "line" {
                catalog.line.push(piece);
                continue;
            }
            catalog.ids.push(piece);
            match known.filters.get(&piece.number) {
                // A table of a database that was put back may be another of the same number.
                Some(filter)
                    if catalog.version >= known.version && catalog.adoptions == known.adoptions =>
                {
                    catalog.filters.insert(piece.number, filter.clone());
                }
                _ if row.get(5) => missing.push(piece.number),
                _ => {}
            }
        }
        if catalog.line.is_empty() || catalog.ids.is_empty() {
            return Err(Trouble::Refused("the list of tables is empty".into()));
        }
        for number in missing {
            let sql = "SELECT filter FROM @.pieces WHERE kind = 'ids' AND number = $1";
            let rows = session.query(sql, &[&number]).await?;
            let bytes: Option<&[u8]> = rows.first().and_then(|row| row.get(0));
            // One that cannot be read is as none: its table is asked.
            let filter = bytes.and_then(|bytes| IdFilter::read(&mut Reader(bytes)).ok());
            if let Some(filter) = filter {
                catalog.filters.insert(number, Arc::new(filter));
            }
        }
        Ok(catalog)
    }

    /// The generation that takes what is new.
    pub fn line_now(&self) -> i32 {
        self.line.last().map_or(0, |piece| piece.number)
    }

    /// The table that takes new ids.
    pub fn ids_now(&self) -> i32 {
        self.ids.last().map_or(0, |piece| piece.number)
    }

    /// The sealed tables of ids, newest first, with what their filters say of an id.
    pub fn sealed_ids(&self) -> impl Iterator<Item = (i32, Option<&IdFilter>)> {
        let sealed = self.ids.iter().rev().skip(1);
        sealed.map(|piece| {
            let filter = self.filters.get(&piece.number);
            (piece.number, filter.map(Arc::as_ref))
        })
    }

    pub fn has_ids(&self, number: i32) -> bool {
        self.ids.iter().any(|piece| piece.number == number)
    }

    pub fn has_line(&self, number: i32) -> bool {
        self.line.iter().any(|piece| piece.number == number)
    }
}
