//! What writers have counted.

use std::collections::BTreeMap;

use super::catalog::Catalog;
use super::session::Session;
use super::totals::Totals;
use super::trouble::Trouble;

/// What all writers but this one have counted.
pub async fn others(session: &mut Session, catalog: &Catalog, own: u32) -> Result<Totals, Trouble> {
    let sql = "SELECT writer, last_group, totals FROM @.writers WHERE writer <> $1";
    let mut last: BTreeMap<i32, (i64, Vec<u8>)> = BTreeMap::new();
    for row in session.query(sql, &[&(own as i32)]).await? {
        let totals: Option<&[u8]> = row.get(2);
        last.insert(
            row.get(0),
            (row.get(1), totals.unwrap_or_default().to_vec()),
        );
    }
    let writers: Vec<i32> = last.keys().copied().collect();
    for piece in &catalog.line {
        let sql = format!(
            "SELECT w.writer, c.grp, c.totals FROM unnest($1::int4[]) AS w(writer) \
             CROSS JOIN LATERAL (SELECT grp, totals FROM @.chunks_{} c \
                 WHERE c.writer = w.writer ORDER BY grp DESC, part DESC LIMIT 1) c",
            piece.number
        );
        for row in session.query(&sql, &[&writers]).await? {
            let (writer, group): (i32, i64) = (row.get(0), row.get(1));
            let known = last.entry(writer).or_default();
            if group > known.0 {
                *known = (group, row.get::<_, &[u8]>(2).to_vec());
            }
        }
    }
    let mut sum = Totals::default();
    for (writer, (_, bytes)) in last {
        if !bytes.is_empty() {
            let totals = Totals::decode(&bytes);
            let totals = totals
                .map_err(|error| Trouble::Refused(format!("totals of writer {writer}: {error}")))?;
            sum.add(totals);
        }
    }
    Ok(sum)
}
