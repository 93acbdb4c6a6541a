//! `Authorization: Bearer KEY`, one key per club, all of the club's data behind it.

use crate::dialect::{Call, Dialect, credential_by_key};
use crate::domain::access::{Grant, Right};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::kind::Kind;

/// Finds out who calls.
pub async fn authenticate(call: &Call) -> Result<Actor, Error> {
    let key = call.bearer().ok_or(Error::Unauthenticated)?;
    let credential = call
        .read(|facts| credential_by_key(Dialect::Kolleges, key, call, facts))
        .await?
        .ok_or(Error::Unauthenticated)?;
    Ok(Actor {
        account_id: credential.meta.account_id,
        credential_id: credential.id(),
        person_id: credential.record.person_id,
        dialect: Dialect::Kolleges,
        grants: vec![Grant::account(
            &[Kind::Image, Kind::Form, Kind::Design, Kind::Achievement],
            &Right::ALL,
        )],
    })
}
