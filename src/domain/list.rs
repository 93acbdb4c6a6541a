//! What to list, said without a word of any database: records of one kind that are not deleted, which
//! of them, in which order, and how many. A store makes a question of it, and answers with ids.

use super::kind::Kind;
use super::names::Named;
use super::record::{Key, Record};
use super::table::KeyType;
use super::time::Instant;

/// A list. Columns are declared ones of the kind's table, or those that every table has; of others no
/// store makes a question.
#[derive(Clone, Debug)]
pub struct List {
    /// Of which kind.
    pub kind: Kind,
    /// Whose; none for everybody's.
    pub account_id: Option<i64>,
    /// What must hold: a column, and what is said of it.
    pub conditions: Vec<(&'static str, Test)>,
    /// The columns that it is in the order of. Where they are not unique, the id decides.
    pub order: &'static [&'static str],
    /// Whether the order is that of the greatest first.
    pub is_descending: bool,
    /// Rows at the most.
    pub limit: i64,
    /// Rows to pass over.
    pub offset: i64,
    /// Certificates alone: a folded text that is in the holder's name or e-mail, or in the form's name.
    pub called: Option<String>,
}

/// What is said of a column. Times are microseconds since 1970.
#[derive(Clone, Debug)]
pub enum Test {
    /// It is this.
    Is(Key),
    /// It is one of these.
    Among(Vec<Key>),
    /// It is not null.
    Set,
    /// It is this, or greater.
    From(i64),
    /// It is less.
    Below(i64),
    /// It is greater.
    Above(i64),
    /// It is null, or this, or greater.
    OpenFrom(i64),
    /// This is a part of it.
    Found(String),
    /// It names a live record in whose column that is.
    Through(&'static str, Key),
}

impl List {
    /// An account's records, by their ids.
    pub const fn of<R: Record>(account_id: i64) -> Self {
        const { assert!(matches!(R::TABLE.key, KeyType::Int), "lists are of ids that are numbers") };
        Self {
            kind: R::KIND,
            account_id: Some(account_id),
            conditions: Vec::new(),
            order: &[],
            is_descending: false,
            limit: i64::MAX,
            offset: 0,
            called: None,
        }
    }

    /// The same over all accounts: for what the server does by itself.
    pub fn of_all_accounts<R: Record>() -> Self {
        Self { account_id: None, ..Self::of::<R>(0) }
    }

    fn and(mut self, column: &'static str, test: Test) -> Self {
        self.conditions.push((column, test));
        self
    }

    fn and_any(self, column: &'static str, test: Option<Test>) -> Self {
        match test {
            Some(test) => self.and(column, test),
            None => self,
        }
    }

    /// Those with this value.
    #[must_use]
    pub fn is(self, column: &'static str, value: impl Into<Key>) -> Self {
        self.and(column, Test::Is(value.into()))
    }

    /// Those with this value, if one is given.
    #[must_use]
    pub fn is_given(self, column: &'static str, value: Option<impl Into<Key>>) -> Self {
        self.and_any(column, value.map(|value| Test::Is(value.into())))
    }

    /// Those with one of these names, if any are given.
    #[must_use]
    pub fn among(self, column: &'static str, values: &[impl Named]) -> Self {
        match values {
            [] => self,
            [one] => self.is(column, one.name()),
            _ => self
                .and(column, Test::Among(values.iter().map(|value| value.name().into()).collect())),
        }
    }

    /// Those with any value.
    #[must_use]
    pub fn set(self, column: &'static str) -> Self {
        self.and(column, Test::Set)
    }

    /// Those with this part, if one is given. Upper and lower case are the caller's to fold.
    #[must_use]
    pub fn found(self, column: &'static str, part: Option<String>) -> Self {
        self.and_any(column, part.map(Test::Found))
    }

    /// See [`List::called`].
    #[must_use]
    pub fn called(self, part: Option<String>) -> Self {
        Self { called: part, ..self }
    }

    /// Those at or after a time and before another, as far as they are given.
    #[must_use]
    pub fn between(
        self,
        column: &'static str,
        from: Option<Instant>,
        before: Option<Instant>,
    ) -> Self {
        self.and_any(column, from.map(|at| Test::From(at.as_microsecond())))
            .and_any(column, before.map(|at| Test::Below(at.as_microsecond())))
    }

    /// Those at or before a time.
    #[must_use]
    pub fn until(self, column: &'static str, at: Instant) -> Self {
        self.and(column, Test::Below(at.as_microsecond() + 1))
    }

    /// Those without this time, and those whose time is not before `at`.
    #[must_use]
    pub fn open_at(self, column: &'static str, at: Instant) -> Self {
        self.and(column, Test::OpenFrom(at.as_microsecond()))
    }

    /// Those that name a live record with this value in its `column`.
    #[must_use]
    pub fn through(
        self,
        naming: &'static str,
        column: &'static str,
        value: impl Into<Key>,
    ) -> Self {
        self.and(naming, Test::Through(column, value.into()))
    }

    /// In the order of these columns.
    #[must_use]
    pub const fn by(mut self, order: &'static [&'static str]) -> Self {
        self.order = order;
        self
    }

    /// The newest by this column first.
    #[must_use]
    pub const fn newest_by(mut self, order: &'static [&'static str]) -> Self {
        self.is_descending = true;
        self.by(order)
    }

    /// Those made last first.
    #[must_use]
    pub const fn newest(self) -> Self {
        self.newest_by(&["created_at"])
    }

    /// By their ids, the greatest first.
    #[must_use]
    pub const fn backwards(self) -> Self {
        self.newest_by(&[])
    }

    /// Those beyond `cursor`, if one is given, in a list by the ids alone.
    #[must_use]
    pub fn beyond(self, cursor: Option<i64>) -> Self {
        let test = if self.is_descending { Test::Below } else { Test::Above };
        self.and_any("id", cursor.map(test))
    }

    /// So many at the most, after `offset` of them.
    #[must_use]
    pub const fn page(mut self, limit: i64, offset: i64) -> Self {
        self.limit = limit;
        self.offset = offset;
        self
    }
}
