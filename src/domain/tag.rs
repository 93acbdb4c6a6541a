//! What a caller has seen, in few characters: `7` where a record is shown alone, by its version;
//! `7-HASH` where others are shown with it, by the versions of all.

use std::fmt::Display;
use std::hash::Hasher as _;

use fnv::FnvHasher;

use super::facts::{Facts, Known};
use super::kind::Kind;
use super::record::{Document, Key, Meta, Record, Stored};

/// Finds what is shown beside a record. Wording goes by what it finds, and so do tags.
pub type Beside = fn(&Document, &mut View<'_>) -> Known<()>;

/// Stands in a tag before how the same is shown, where it is shown in more ways than one.
const WAY: char = '.';

/// The tag of what is shown in one of several ways: in another format, or with what the clock alone has
/// changed. It tells answers apart; what was seen is the same.
pub fn shown_as(tag: &str, way: impl Display) -> String {
    format!("{tag}{WAY}{way}")
}

/// What was seen, of a tag that also says how.
pub fn seen(tag: &str) -> &str {
    tag.split_once(WAY).map_or(tag, |(tag, _)| tag)
}

/// Facts in the hands of who words an answer: what is found here is shown, and counts for the tag.
#[derive(Debug)]
pub struct View<'a> {
    /// The facts themselves, for what counts for no tag.
    pub facts: &'a Facts,
    shown: Vec<(Kind, Key, i64)>,
}

impl<'a> View<'a> {
    /// Nothing seen yet.
    pub const fn new(facts: &'a Facts) -> Self {
        Self { facts, shown: Vec::new() }
    }

    /// [`Facts::find`], shown.
    ///
    /// # Errors
    /// As there.
    pub fn find<R: Record>(
        &mut self,
        account_id: i64,
        key: impl Into<Key>,
    ) -> Known<Option<Stored<R>>> {
        let found = self.facts.find(account_id, key)?;
        self.show(found.as_slice());
        Ok(found)
    }

    /// [`Facts::get`], shown.
    ///
    /// # Errors
    /// As there.
    pub fn get<R: Record>(&mut self, account_id: i64, key: impl Into<Key>) -> Known<Stored<R>> {
        let found = self.facts.get(account_id, key)?;
        self.show(std::slice::from_ref(&found));
        Ok(found)
    }

    /// [`Facts::select`], shown.
    ///
    /// # Errors
    /// As there, and [`super::facts::Stop::Long`] where these are too many for others to wait for.
    pub fn select<R: Record>(
        &mut self,
        account_id: i64,
        column: &'static str,
        value: impl Into<Key>,
    ) -> Known<Vec<Stored<R>>> {
        let value = value.into();
        self.facts.may_show(R::KIND, column, &value)?;
        let found = self.facts.select(account_id, column, value)?;
        self.show(&found);
        Ok(found)
    }

    /// Shows what was found elsewhere.
    pub fn show<R>(&mut self, found: &[Stored<R>]) {
        self.shown.extend(found.iter().map(|Stored { meta, .. }| {
            let Meta { kind, key, version, .. } = meta;
            (*kind, key.clone(), *version)
        }));
    }

    /// The tag of `subject` with all that was shown so far. One of a record that only happens to have
    /// nothing beside it is no bare version, so that what comes beside it later is noticed.
    pub fn tag(&self, subject: &Meta) -> String {
        let mut hash = FnvHasher::default();
        let own = (subject.kind, &subject.key, subject.version);
        let beside = self.shown.iter().map(|(kind, key, version)| (*kind, key, *version));
        for (kind, key, version) in std::iter::once(own).chain(beside) {
            hash.write(kind.name().as_bytes());
            hash.write_u8(0xff);
            match key {
                Key::Int(id) => hash.write(&id.to_le_bytes()),
                Key::Text(id) => hash.write(id.as_bytes()),
            }
            // Names of kinds and texts end with a byte that is in none of them.
            hash.write_u8(0xff);
            hash.write(&version.to_le_bytes());
        }
        format!("{}-{:016x}", subject.version, hash.finish())
    }
}

/// The tag of `subject` with what `beside` finds.
///
/// # Errors
/// [`super::facts::Stop::Missing`] until all is loaded.
pub fn tag(subject: &Document, beside: Beside, facts: &Facts) -> Known<String> {
    Ok(tagged(&subject.meta, facts, |view| beside(subject, view))?.0)
}

/// The same with all that `gather` has found.
///
/// # Errors
/// [`super::facts::Stop::Missing`] until all is loaded.
pub fn tagged<T>(
    subject: &Meta,
    facts: &Facts,
    gather: impl FnOnce(&mut View<'_>) -> Known<T>,
) -> Known<(String, T)> {
    let mut view = View::new(facts);
    let found = gather(&mut view)?;
    Ok((view.tag(subject), found))
}
