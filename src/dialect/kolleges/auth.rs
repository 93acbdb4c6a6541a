//! `Authorization: Bearer KEY`, one key per club, all of the club's data behind it.

use super::error::{ACHIEVEMENT, Words};
use crate::dialect::{Call, Dialect, Refusal, credential};
use crate::domain::access::{Grant, Right};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::kind::Kind;

/// Finds out who calls a route, whose page has `words` for what may be refused.
pub async fn authenticate(call: &Call, words: &'static Words) -> Result<Actor, Error> {
    call.note(words);
    let credential = credential::borne(Dialect::Kolleges, call).await?;
    let kinds = [Kind::Image, Kind::Form, Kind::Design, Kind::Achievement];
    Ok(credential::actor(&credential, vec![Grant::account(&kinds, &Right::ALL)]))
}

/// The account that calls.
pub async fn caller(call: &Call) -> Result<i64, Refusal> {
    Ok(authenticate(call, &ACHIEVEMENT).await?.account_id)
}
