//! Who names whom: what a commit writes of it, and how two commits agree when one names what the
//! other ends.
//!
//! Whoever begins to name a record holds it `FOR KEY SHARE`, whoever ends one `FOR UPDATE`; only then,
//! in another statement, the one looks whether it is live, the other whether a live record names it.
//! (Not in the same: who waits for a lock on a row that is being updated may be given the old version
//! of it.) So one of the two waits for the other and then sees what it did. Where that is not as it
//! was decided by, a statement divides by zero: then the commit that was sent along is none, nobody has
//! to wait for an answer in between, and the batch is decided again ([`super::PgFault::Retry`]). Edits,
//! which hold rows `FOR NO KEY UPDATE`, wait for neither.

use std::collections::BTreeMap;

use foldhash::HashSet;

use super::array;
use super::writer::{ROWS_MAX, WriteStep, set_based};
use crate::domain::kind::Kind;
use crate::domain::record::Key;
use crate::domain::table::{KeyType, Way};
use crate::pipeline::{Link, Writes};
use crate::store::links::link_columns;
use crate::store::sql::Sql;

/// The links that stand from now on, and those that do not.
pub(super) fn links(writes: &Writes) -> Vec<WriteStep<'_>> {
    let (stand, fall): (Vec<_>, Vec<_>) = writes.links.iter().partition(|(_, stands)| **stands);
    let mut steps = Vec::new();
    for (links, step) in [(fall, drop as fn(_) -> _), (stand, put)] {
        steps.extend(
            links.chunks(ROWS_MAX).map(|links| step(links.iter().map(|(link, _)| *link).collect())),
        );
    }
    steps
}

fn put(links: Vec<&Link>) -> WriteStep<'_> {
    let head = concat!("INSERT INTO link (", link_columns!(), ") SELECT * FROM");
    of_links(head, " ON CONFLICT DO NOTHING", links)
}

fn drop(links: Vec<&Link>) -> WriteStep<'_> {
    let tail = concat!(
        " AS u (",
        link_columns!(),
        ") WHERE (link.to_kind, link.to_id, link.from_kind, link.from_id) \
         = (u.to_kind, u.to_id, u.from_kind, u.from_id)"
    );
    of_links("DELETE FROM link USING", tail, links)
}

/// One statement for many links, however many of them it finds as they are to be.
fn of_links<'a>(head: &str, tail: &str, links: Vec<&'a Link>) -> WriteStep<'a> {
    let rows = move || Ok(links.iter().map(|link| link.texts().map(Sql::Text).to_vec()).collect());
    let WriteStep { kind, text, values } = set_based(head, tail, "tttt".to_owned(), rows);
    WriteStep { kind, text, values: Box::new(move || Ok((values()?.0, None))) }
}

/// What is asked last before a commit: rows are held kind by kind, in the order of their ids, as by
/// every node. Those that are `locked` from the start are held more firmly than a name needs.
pub(super) fn agree<'a>(writes: &'a Writes, locked: &HashSet<(Kind, Key)>) -> Vec<WriteStep<'a>> {
    let mut kinds: BTreeMap<Kind, [Vec<&Key>; 2]> = BTreeMap::new();
    for (kind, key) in writes.relied_on().filter(|place| !locked.contains(*place)) {
        kinds.entry(*kind).or_default()[0].push(key);
    }
    for (kind, key) in writes.ended() {
        kinds.entry(*kind).or_default()[1].push(key);
    }
    let mut steps = Vec::new();
    let mut push = |text: Option<String>, keys: &[&'a Key]| {
        let text = text.into_iter();
        steps
            .extend(text.flat_map(|text| keys.chunks(ROWS_MAX).map(move |keys| step(&text, keys))));
    };
    for (kind, [named, ended]) in &kinds {
        push(Some(hold(*kind, "KEY SHARE")), named);
        push(Some(hold(*kind, "UPDATE")), ended);
    }
    for (kind, [named, ended]) in &kinds {
        push(Some(are_live(*kind)), named);
        push(are_unnamed(*kind), ended);
    }
    steps
}

pub(super) fn step<'a>(text: &str, keys: &[&'a Key]) -> WriteStep<'a> {
    let (text, keys) = (text.to_owned(), keys.to_vec());
    WriteStep { kind: None, text, values: Box::new(move || Ok((vec![array(&keys)], None))) }
}

fn hold(kind: Kind, lock: &str) -> String {
    format!("SELECT FROM {} WHERE id = ANY($1) ORDER BY id FOR {lock}", kind.table().name)
}

fn are_live(kind: Kind) -> String {
    format!(
        "SELECT 1 / (count(*) = cardinality($1::{}))::int FROM {} \
         WHERE id = ANY($1) AND deleted_at IS NULL",
        keys_type(kind),
        kind.table().name
    )
}

/// None for a kind that nothing names.
fn are_unnamed(kind: Kind) -> Option<String> {
    let names = |way: Way| match way.column {
        Some(column) => format!(
            "EXISTS (SELECT FROM {} WHERE {column} = ANY($1::{}) AND deleted_at IS NULL)",
            way.by.table().name,
            keys_type(kind)
        ),
        None => format!(
            "EXISTS (SELECT FROM link WHERE to_kind = '{}' AND to_id = ANY($1::{}::text[]) \
             AND from_kind = '{}')",
            kind.name(),
            keys_type(kind),
            way.by.name()
        ),
    };
    let any: Vec<String> = Way::to(kind).map(names).collect();
    (!any.is_empty()).then(|| format!("SELECT 1 / (NOT ({}))::int", any.join(" OR ")))
}

fn keys_type(kind: Kind) -> &'static str {
    if kind.table().key == KeyType::Int { "bigint[]" } else { "text[]" }
}

/// Every statement, to be prepared by a check.
pub(super) fn statements() -> impl Iterator<Item = String> {
    let of = |kind: &Kind| {
        let holds = ["KEY SHARE", "UPDATE"].map(|lock| hold(*kind, lock));
        holds.into_iter().chain([are_live(*kind)]).chain(are_unnamed(*kind))
    };
    let links = [put(Vec::new()).text, drop(Vec::new()).text];
    links.into_iter().chain(Kind::ALL.iter().flat_map(of))
}
