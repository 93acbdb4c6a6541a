//! What PostgreSQL's planner knows of the tables.

use std::collections::BTreeMap;

use super::{Connection, PgFault};
use crate::domain::kind::Kind;
use crate::pipeline::Writes;
use crate::store::sql;

/// Fewer new rows than this are not worth counting.
const GROWTH_MIN: i64 = 500;

/// Has tables counted that grow by a tenth or more. Otherwise the planner takes them for as short as they
/// were, until the database counts by itself, a minute later perhaps, and a search through ten thousand new
/// certificates looks through all of them for each of their holders.
pub(super) async fn count_anew(connection: &Connection, writes: &Writes) -> Result<(), PgFault> {
    let mut new: BTreeMap<Kind, i64> = BTreeMap::new();
    for ((kind, _), pending) in &writes.documents {
        *new.entry(*kind).or_default() += i64::from(pending.stored_version.is_none());
    }
    for (kind, count) in new.into_iter().filter(|(_, count)| *count >= GROWTH_MIN) {
        let table = kind.table().name;
        let known =
            format!("SELECT reltuples::bigint FROM pg_class WHERE oid = '{table}'::regclass");
        let rows = connection.query(&known, &Vec::new(), 1).await?;
        if rows.first().and_then(|row| sql::first_int(row)).is_none_or(|known| known < 10 * count) {
            connection.script(&format!("ANALYZE (SKIP_LOCKED) {table}")).await?;
        }
    }
    Ok(())
}
