//! Why a command was refused. Knows nothing of HTTP: each dialect gives every variant its own
//! status and body.

use super::access::Right;
use super::kind::Kind;

/// A refusal, safe to show to the caller. Causes that are ours alone travel in
/// [`Error::Internal`], whose text goes to the log and never to a client.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No valid credential.
    #[error("not authenticated")]
    Unauthenticated,
    /// Known caller, action not permitted on a record that the caller may see; with the right that is
    /// lacking, where it is a right.
    #[error("not permitted{}", lacking(*.0))]
    Denied(Option<(Right, Kind)>),
    /// The record does not exist, or not for this caller.
    #[error("{} not found", .0.name())]
    NotFound(Kind),
    /// The candidate record breaks rules; every broken rule is listed.
    #[error("invalid: {}", list(.0))]
    Invalid(Vec<FieldError>),
    /// Another record or a later change stands in the way.
    #[error("conflict on {}", .0.join(", "))]
    Conflict(Vec<String>),
    /// `If-Match` named another version than this, or this with something else beside it.
    #[error("the record has changed since: it is of version {version}")]
    Stale {
        /// The record's version now.
        version: i64,
    },
    /// An idempotency key came back with another request.
    #[error("idempotency key already used with another request")]
    KeyReused,
    /// A signed request was sent a second time.
    #[error("signature already used")]
    Replayed,
    /// The caller has guessed wrong too often.
    #[error("too many requests")]
    TooManyRequests {
        /// Seconds after which a new attempt is worth it.
        retry_after_s: u32,
    },
    /// The queue is full or the database is away: nothing was written, try again.
    #[error("temporarily unavailable")]
    Unavailable {
        /// Seconds after which a new attempt is worth it.
        retry_after_s: u32,
    },
    /// Nobody says whether it was done: the database was lost in the middle of the commit. To be told
    /// without an invitation to try again.
    #[error("the database did not say whether it was done; look before you try again")]
    Uncertain,
    /// A fault of ours.
    #[error("internal error")]
    Internal(String),
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The record's field, in our spelling; nested ones with a dot.
    pub field: &'static str,
    /// What is wrong, `snake_case`, never renamed.
    pub code: &'static str,
    /// The same for a person.
    pub detail: String,
}

/// The rules that a record breaks.
pub type FieldErrors = Vec<FieldError>;

impl FieldError {
    /// A broken rule on `field`.
    pub fn new(field: &'static str, code: &'static str, detail: impl Into<String>) -> Self {
        Self { field, code, detail: detail.into() }
    }

    /// A span that ends before it begins, of those two fields; none where one of them is absent.
    pub fn backwards<T: PartialOrd>(
        (begin, from): (&str, Option<T>),
        (end, to): (&'static str, Option<T>),
        code: &'static str,
    ) -> Option<Self> {
        (to? < from?).then(|| Self::new(end, code, format!("{end} is before {begin}")))
    }
}

impl Error {
    /// A refusal over a single field.
    pub fn invalid(field: &'static str, code: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, code, detail)])
    }

    /// A fault of ours, with its cause for the log.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self::Internal(cause.to_string())
    }
}

fn lacking(right: Option<(Right, Kind)>) -> String {
    right.map_or_else(String::new, |(right, kind)| format!(": {}:{}", right.name(), kind.name()))
}

fn list(errors: &[FieldError]) -> String {
    errors.iter().map(|e| format!("{}: {}", e.field, e.code)).collect::<Vec<_>>().join(", ")
}
