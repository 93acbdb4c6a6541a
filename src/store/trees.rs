//! What is asked of records that stand below each other.

use super::sql::columns;
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::table::Tree;

/// Of a tree, the rows whose id `is_it`, and all above each of them: which it was, and the row. Deleted ones
/// are not taken for missing.
pub(super) fn above(kind: Kind, tree: &Tree, is_it: &str) -> String {
    let (table, column) = (kind.table(), tree.column);
    format!(
        "WITH RECURSIVE walk (start, here, next, n) AS (\
         SELECT id, id, {column}, 1 FROM {name} WHERE id {is_it} \
         UNION ALL SELECT w.start, t.id, t.{column}, w.n + 1 FROM walk w \
         JOIN {name} t ON t.id = w.next WHERE w.n < {}) \
         SELECT start, {} FROM walk JOIN {name} ON id = here",
        tree.depth_max,
        columns(table),
        name = table.name
    )
}

/// Of a tree, the live rows below those whose id `is_it`: below which it was, and the row.
pub(super) fn below(kind: Kind, tree: &Tree, is_it: &str) -> String {
    let (table, column) = (kind.table(), tree.column);
    format!(
        "WITH RECURSIVE walk (start, here) AS (\
         SELECT {column}, id FROM {name} WHERE {column} {is_it} AND deleted_at IS NULL \
         UNION SELECT w.start, t.id FROM walk w \
         JOIN {name} t ON t.{column} = w.here WHERE t.deleted_at IS NULL) \
         SELECT start, {} FROM walk JOIN {name} ON id = here ORDER BY id",
        columns(table),
        name = table.name
    )
}

/// Those of the rows whose id `is_it` that are reached by walking up from what they stand below. (Where
/// all trees were as deep as they may be at the most, one that was hung below another is twice that.)
pub(super) fn circles(kind: Kind, tree: &Tree, is_it: &str) -> String {
    format!(
        "WITH RECURSIVE walk (start, here, n) AS (\
         SELECT id, {column}, 1 FROM {name} WHERE id {is_it} AND deleted_at IS NULL \
         UNION ALL SELECT w.start, t.{column}, w.n + 1 FROM walk w JOIN {name} t ON t.id = w.here \
         WHERE t.deleted_at IS NULL AND w.here <> w.start AND w.n < {}) \
         SELECT start FROM walk WHERE here = start",
        2 * tree.depth_max,
        column = tree.column,
        name = kind.table().name
    )
}

/// The kinds whose records are trees.
pub(super) fn all() -> impl Iterator<Item = (Kind, &'static Tree)> {
    Kind::ALL.iter().filter_map(|kind| Some((*kind, kind.table().tree.as_ref()?)))
}

/// How a kind's records are a tree.
pub(super) fn of(kind: Kind) -> Result<&'static Tree, Error> {
    let tree = kind.table().tree.as_ref();
    tree.ok_or_else(|| Error::internal(format!("{}: no tree", kind.name())))
}
