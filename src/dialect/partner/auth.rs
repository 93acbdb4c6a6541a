//! `Authorization: Bearer TOKEN` of a user; on a partner's routes of the partner that the path names.

use super::error::{detail, unauthorized};
use super::validate::RequestFaults;
use crate::dialect::credential::{self, Caller, owner};
use crate::dialect::{Call, Dialect, Refusal};
use crate::domain::access::{Grant, Right, Scope};
use crate::domain::actor::Actor;
use crate::domain::facts::{Facts, Known, Token};
use crate::domain::kind::Kind;
use crate::domain::people::credential::Credential;
use crate::domain::people::person::Person;
use crate::domain::record::Stored;
use crate::domain::teaching::partner::Partner;
use crate::vault::hash_token;

/// Somebody who has signed in.
#[derive(Debug)]
pub struct User {
    /// What proved it.
    pub credential: Stored<Credential>,
    /// Who it is.
    pub person: Stored<Person>,
}

impl User {
    /// The user as a caller who may do nothing but what is everybody's own.
    pub fn actor(&self) -> Actor {
        credential::actor(&self.credential, Vec::new())
    }
}

/// Finds out who calls: 401 for nobody.
pub async fn signed_in(call: &Call) -> Result<User, Refusal> {
    let token = bearer(call).ok_or_else(unauthorized)?;
    let found = call.read(|facts| user(call, token, facts)).await?;
    let user = found.ok_or_else(unauthorized)?;
    call.known(user.person.meta.account_id);
    Ok(user)
}

/// The account of whoever calls.
pub async fn caller(call: &Call) -> Result<i64, Refusal> {
    Ok(signed_in(call).await?.person.meta.account_id)
}

/// The active user behind a token, whether an operator issued it or a login.
fn user(call: &Call, token: &str, facts: &mut Facts) -> Known<Option<User>> {
    let caller = Caller::of(Dialect::Partner, call);
    if let Some(credential) = caller.key(token, facts)? {
        return Ok(owner(&credential, facts)?.map(|person| User { credential, person }));
    }
    let hash = hex::encode(hash_token(token));
    Ok(signed_in_by(call, session_of(token), &hash, facts)?.map(|(_, user)| user))
}

/// The session that a login's token belongs to, which begins its text.
pub fn session_of(token: &str) -> &str {
    token.split_once('.').map_or("", |(session, _)| session)
}

/// The token of a login that is kept under `hash`, and the active user whose it is: none when its time
/// is over, its session or its credential has ended, or the user has another password since.
///
/// # Errors
/// [`crate::domain::facts::Stop::Missing`] until it is loaded.
pub fn signed_in_by(
    call: &Call,
    session: &str,
    hash: &str,
    facts: &Facts,
) -> Known<Option<(Token, User)>> {
    let caller = Caller::of(Dialect::Partner, call);
    let Some((token, credential)) = caller.token(hash, facts)? else {
        return Ok(None);
    };
    let person = owner(&credential, facts)?.filter(|person| {
        credential.record.is_of_password(&person.record) && !credential.record.has_ended(session)
    });
    Ok(person.map(|person| (token, User { credential, person })))
}

/// Finds out who calls: 401 for nobody, 403 for somebody else than the partner in the path. None
/// when the path names no partner; then `faults` says so, twice, because two places of the vendor's
/// code declare it, but for those of courses.
pub async fn admit(call: &Call, faults: &mut RequestFaults) -> Result<Option<Actor>, Refusal> {
    let user = signed_in(call).await?;
    let partners = call.read(|facts| {
        facts.select::<Partner>(user.person.meta.account_id, "person_id", user.person.id())
    });
    let partner = partners.await?.into_iter().next();
    let text = call.parameter("partner_id");
    let Some(partner_id) = faults.path("partner_id", text, None) else {
        if call.path().split('/').nth(3) != Some("course") {
            faults.path("partner_id", text, None);
        }
        return Ok(None);
    };
    let partner = partner.ok_or_else(|| detail(403, "not_a_partner"))?;
    if !partner.record.is_active || partner.id() != partner_id {
        return Err(detail(403, "forbidden").into());
    }
    let grant = |kinds: &[Kind], rights: &[Right]| Grant {
        kinds: Some(kinds.to_vec()),
        rights: rights.to_vec(),
        scope: Scope::Partner(partner_id),
    };
    let own =
        [Kind::Class, Kind::InviteCode, Kind::Course, Kind::Student, Kind::Membership].as_slice();
    Ok(Some(Actor {
        grants: vec![grant(own, &Right::ALL), grant(&[Kind::Model], &[Right::Read])],
        ..user.actor()
    }))
}

/// The account whose courses and models are shown without a partner's token: the one that the
/// operator made public; without one, the account of whoever has signed in.
pub async fn public_account(call: &Call) -> Result<i64, Refusal> {
    match call.app.config.partner.public_account {
        Some(account_id) => Ok(account_id),
        None => Ok(signed_in(call).await?.person.meta.account_id),
    }
}

/// The id of the partner who calls.
pub fn partner_id(actor: &Actor) -> i64 {
    let own = actor.grants.iter().find_map(|grant| match grant.scope {
        Scope::Partner(id) => Some(id),
        Scope::Account | Scope::Departments(_) => None,
    });
    own.unwrap_or_default()
}

/// The token, exactly as it stands behind the first blank.
pub fn bearer(call: &Call) -> Option<&str> {
    let (scheme, token) = call.header("authorization")?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
