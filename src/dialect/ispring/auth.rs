//! `Authorization: TOKEN` or `Bearer TOKEN`; without that header the older `X-Auth-Account-Url`,
//! `X-Auth-Email` and `X-Auth-Password`. Either way the caller is a person, with that person's roles
//! as they stand now.

use crate::dialect::call::sole;
use crate::dialect::credential::{Caller, owner};
use crate::dialect::{Call, Dialect, Refusal, password};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::people::account::{Account, portal_url};
use crate::domain::people::known::KnownBy;
use crate::domain::people::person::{Person, PersonStatus, fold};
use crate::domain::people::role::Role;
use crate::domain::record::{Key, Stored};
use crate::vault::hash_token;

/// Each may come once: with two, the next program on the way may believe the other.
const SECURITY_HEADERS: [&str; 3] = ["x-auth-account-url", "x-auth-email", "x-auth-password"];

/// Finds out who calls.
///
/// # Errors
/// [`Error::Unauthenticated`] for whatever is wrong with the credentials, and for a person whose
/// password was guessed wrong too often; [`Error::Unavailable`] when too many wait to be checked.
pub async fn authenticate(call: &Call) -> Result<Actor, Error> {
    if SECURITY_HEADERS.iter().any(|name| sole(&call.headers, name).is_err()) {
        return Err(Error::Unauthenticated);
    }
    let actor = match call.headers.get("authorization") {
        Some(value) => {
            let token = value.to_str().ok().and_then(token).ok_or(Error::Unauthenticated)?;
            let hash = hex::encode(hash_token(token));
            call.read(|facts| by_token(&hash, call, facts)).await?
        }
        None => by_password(call).await?,
    };
    let actor = actor.ok_or(Error::Unauthenticated)?;
    call.known(actor.account_id);
    Ok(actor)
}

/// The account that calls with a token: passwords are judged once a call, and that takes its time.
pub async fn caller(call: &Call) -> Result<i64, Refusal> {
    if call.headers.get("authorization").is_none() {
        return Err(Error::Unauthenticated.into());
    }
    Ok(authenticate(call).await?.account_id)
}

/// The token in a header's value; none when another scheme is named.
fn token(value: &str) -> Option<&str> {
    let mut words = value.split_ascii_whitespace();
    match (words.next()?, words.next(), words.next()) {
        (token, None, _) => Some(token),
        (scheme, Some(token), None) if scheme.eq_ignore_ascii_case("bearer") => Some(token),
        _ => None,
    }
}

fn by_token(hash: &str, call: &Call, facts: &mut Facts) -> Known<Option<Actor>> {
    let caller = Caller::of(Dialect::Ispring, call);
    let Some((_, credential)) = caller.token(hash, facts)? else { return Ok(None) };
    let Some(person) = owner(&credential, facts)? else { return Ok(None) };
    actor(credential.meta.account_id, credential.id(), &person, facts).map(Some)
}

async fn by_password(call: &Call) -> Result<Option<Actor>, Error> {
    let (Some(url), Some(login), Some(password_given)) = (
        call.sole_header("x-auth-account-url"),
        call.sole_header("x-auth-email"),
        call.sole_header("x-auth-password"),
    ) else {
        return Ok(None);
    };
    let url = portal_url(url);
    let person = call.read(|facts| person_by_login(&url, login, facts)).await?;
    let name = format!("{} {url}", fold(login));
    let owner = password::owner(call, Dialect::Ispring, &name, person, password_given).await?;
    let Some(person) = owner else {
        return Ok(None);
    };
    // There is no credential behind a password. Idempotency keys belong to credentials, so each
    // person gets a number that no credential has.
    let credential_id = -person.id();
    call.read(|facts| actor(person.meta.account_id, credential_id, &person, facts)).await.map(Some)
}

/// The one active person of the portal with that login or else that e-mail.
fn person_by_login(
    portal_url: &str,
    login: &str,
    facts: &mut Facts,
) -> Known<Option<Stored<Person>>> {
    let accounts = facts.select_in_all_accounts::<Account>("portal_url", portal_url)?;
    let Some(account) = accounts.first() else {
        return Ok(None);
    };
    let ways = [KnownBy::login(login), KnownBy::email(login)];
    // Both at once: one more look for those whom nobody knows would tell them from the rest.
    facts.want_selections(ways.iter().map(KnownBy::selector))?;
    for known_by in ways {
        let mut found = known_by.people(account.id(), facts)?;
        if let (Some(person), true) = (found.pop(), found.is_empty()) {
            let is_active = person.record.status == PersonStatus::Active;
            return Ok(is_active.then_some(person));
        }
    }
    Ok(None)
}

fn actor(
    account_id: i64,
    credential_id: i64,
    person: &Stored<Person>,
    facts: &Facts,
) -> Known<Actor> {
    let role_ids = person.record.roles.iter().map(|held| Key::from(held.role_id.as_str()));
    facts.want(role_ids.map(|id| (Kind::Role, id)))?;
    let mut grants = Vec::with_capacity(person.record.roles.len());
    for held in &person.record.roles {
        if let Some(role) = facts.find::<Role>(account_id, held.role_id.as_str())? {
            grants.extend(role.record.grant(held));
        }
    }
    Ok(Actor {
        account_id,
        credential_id,
        person_id: Some(person.id()),
        dialect: Dialect::Ispring,
        grants,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_bare_or_as_bearer() {
        for (value, expected) in [
            ("abc", Some("abc")),
            (" abc ", Some("abc")),
            ("Bearer abc", Some("abc")),
            ("bEARER  abc", Some("abc")),
            ("Basic abc", None),
            ("Bearer abc def", None),
            ("", None),
            (" ", None),
        ] {
            assert_eq!(token(value), expected, "{value:?}");
        }
    }
}
