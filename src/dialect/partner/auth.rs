//! `Authorization: Bearer TOKEN` of a user, who must be the partner that the path names.

use super::error::{detail, unauthorized};
use super::validate::Faults;
use crate::dialect::{Call, Dialect, Refusal, credential_by_key};
use crate::domain::access::{Grant, Right, Scope};
use crate::domain::actor::Actor;
use crate::domain::kind::Kind;
use crate::domain::people::person::{Person, PersonStatus};
use crate::domain::teaching::partner::Partner;

/// Finds out who calls: 401 for nobody, 403 for somebody else than the partner in the path. None
/// when the path names no partner; then `faults` says so, twice, because two places of the vendor's
/// code declare it.
pub async fn admit(call: &Call, faults: &mut Faults) -> Result<Option<Actor>, Refusal> {
    let token = bearer(call).ok_or_else(unauthorized)?;
    let known = call.read(|facts| {
        let Some(credential) = credential_by_key(Dialect::Partner, token, call, facts)? else {
            return Ok(None);
        };
        let account_id = credential.meta.account_id;
        let Some(person_id) = credential.record.person_id else {
            return Ok(None);
        };
        let person = facts.find::<Person>(account_id, person_id)?;
        if person.is_none_or(|person| person.record.status != PersonStatus::Active) {
            return Ok(None);
        }
        let partners = facts.select::<Partner>(account_id, "person_id", person_id)?;
        Ok(Some((credential, person_id, partners.into_iter().next())))
    });
    let (credential, person_id, partner) = known.await?.ok_or_else(unauthorized)?;
    let text = call.parameter("partner_id");
    let Some(partner_id) = faults.path("partner_id", text, None) else {
        faults.path("partner_id", text, None);
        return Ok(None);
    };
    let partner = partner.ok_or_else(|| detail(403, "not_a_partner"))?;
    if !partner.record.is_active || partner.id() != partner_id {
        return Err(detail(403, "forbidden").into());
    }
    Ok(Some(Actor {
        account_id: credential.meta.account_id,
        credential_id: credential.id(),
        person_id: Some(person_id),
        dialect: Dialect::Partner,
        grants: vec![Grant {
            kinds: Some(vec![Kind::Class, Kind::InviteCode, Kind::Course]),
            rights: Right::ALL.to_vec(),
            scope: Scope::Partner(partner_id),
        }],
    }))
}

/// The token, exactly as it stands behind the first blank.
fn bearer(call: &Call) -> Option<&str> {
    let (scheme, token) = call.header("authorization")?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
