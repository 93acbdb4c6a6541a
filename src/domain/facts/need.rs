//! What decisions ask for, and what stores answer.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::domain::change::Change;
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key};

/// Something that a decision needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// One record, or that there is none.
    Record(Kind, Key),
    /// The records of a kind with a value in a column.
    Select(Selector),
    /// A live record of a tree and all above it, as deep as trees may be.
    Above(Kind, Key),
    /// All live records of a tree that stand below one.
    Below(Kind, Key),
    /// Whether any row of the kind, deleted ones too, has a value in a column.
    Taken(Selector),
    /// Which live records name one.
    Namers(Namers),
    /// How many live records there are of a kind with some values.
    Count(Count),
    /// A new id.
    Id(Sequence),
    /// One change.
    Change(i64),
    /// A change and those before it on the same record, so many at the most.
    Changes(i64, i64),
    /// The changes of the act between its first and its last, newest first, so many at the most.
    Act(i64, i64, i64),
    /// A stored answer to an idempotency key.
    Idempotency(i64, String),
    /// A live access token, by the hash of its text.
    Token(String),
    /// Whether a signature has been used.
    Signature(Signature),
}

/// The records of a kind whose `column` equals `value`, oldest id first, deleted ones left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Selector {
    /// Which kind.
    pub kind: Kind,
    /// A typed column of its table.
    pub column: &'static str,
    /// The value it must have.
    pub value: Key,
}

/// The live records of kind `by` that name `to`, in no order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Namers {
    /// The kind of those that name.
    pub by: Kind,
    /// Their column; elsewhere than in columns, if absent.
    pub column: Option<&'static str>,
    /// Whom they name.
    pub to: (Kind, Key),
    /// So many of them at the most.
    pub limit: i64,
}

/// How many live records of a kind have these values in these columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Count {
    /// Which kind.
    pub kind: Kind,
    /// Columns and the values that they must have.
    pub is: Vec<(&'static str, Key)>,
}

impl Selector {
    /// True for a live record with the value.
    ///
    /// # Errors
    /// As [`Document::fields`].
    pub fn fits(&self, document: &Document) -> Result<bool, Error> {
        if document.meta.deleted_at.is_some() {
            return Ok(false);
        }
        Ok(match (self.column, &self.value) {
            // The one column that is no field.
            ("account_id", Key::Int(id)) => document.meta.account_id == *id,
            (column, Key::Int(id)) => document.fields()?.value(column).as_i64() == Some(*id),
            (column, Key::Text(text)) => {
                document.fields()?.value(column).as_str() == Some(text.as_str())
            }
        })
    }
}

impl Need {
    /// The answer, where there can be no other: no database keeps NUL in a text column.
    pub(super) fn vain(&self) -> Option<Fact> {
        let has_nul = |key: &Key| matches!(key, Key::Text(text) if text.contains('\0'));
        match self {
            Self::Record(_, key) if has_nul(key) => Some(Fact::Record(None)),
            Self::Select(selector) if has_nul(&selector.value) => Some(Fact::Select(Vec::new())),
            _ => None,
        }
    }
}

/// A source of new ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sequence {
    /// Changes.
    Change,
    /// Records of a kind with integer ids.
    Record(Kind),
}

/// A header of an answer: its name in lower case, and its value.
pub type Header = (Cow<'static, str>, Cow<'static, str>);

/// What an idempotency key keeps of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// All.
    Whole {
        /// HTTP status.
        status: u16,
        /// Headers that were part of it.
        headers: Vec<Header>,
        /// The body's bytes.
        body: Bytes,
    },
    /// It showed more than is kept, and is worded anew: of this record.
    Of(Kind, Key),
}

/// A stored answer to an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// SHA-256 of what was asked.
    pub request_hash: String,
    /// What was answered.
    pub answered: Answered,
    /// When it was given.
    pub at: Timestamp,
    /// The first change of what was done; none where nothing was.
    pub act_id: Option<i64>,
}

/// A signature that is good once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    /// From when on its date alone refuses it.
    pub expires_at: Timestamp,
    /// Whose it is.
    pub credential_id: i64,
    /// The signature itself, or its hash.
    pub digest: String,
}

/// An access token: whose it is and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The hash of its text.
    pub hash: String,
    /// The credential it was given for.
    pub credential_id: i64,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Why a decision stopped.
#[derive(Debug)]
pub enum Stop {
    /// Load these and decide again.
    Missing(Vec<Need>),
    /// The command is refused.
    Refused(Error),
    /// The command writes more than others may have to wait for: decide it beside them.
    Large,
    /// The answer shows more than others may have to wait for: word it after the commit.
    Long,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// A result that may need another fact first.
pub type Known<T> = Result<T, Stop>;

/// An answer from the store to a [`Need`].
#[derive(Clone, Debug)]
pub enum Fact {
    /// To [`Need::Record`].
    Record(Option<Arc<Document>>),
    /// To [`Need::Select`], [`Need::Above`] and [`Need::Below`].
    Select(Vec<Arc<Document>>),
    /// To [`Need::Taken`].
    Taken(bool),
    /// To [`Need::Namers`].
    Namers(Vec<Key>),
    /// To [`Need::Count`].
    Count(i64),
    /// To [`Need::Id`].
    Ids(Vec<i64>),
    /// To [`Need::Change`].
    Change(Option<Arc<Change>>),
    /// To [`Need::Changes`] and [`Need::Act`].
    Changes(Vec<Change>),
    /// To [`Need::Idempotency`].
    Idempotency(Option<StoredAnswer>),
    /// To [`Need::Token`].
    Token(Option<Token>),
    /// To [`Need::Signature`].
    Signature(bool),
    /// To any of them: it is there, and cannot be read. Only who asks for it is refused, with this.
    Unreadable(Error),
}
