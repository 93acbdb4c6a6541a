//! `Authorization: TOKEN` or `Bearer TOKEN`; without that header the older `X-Auth-Account-Url`,
//! `X-Auth-Email` and `X-Auth-Password`. Either way the caller is a person, with that person's roles
//! as they stand now.

use tokio::sync::Semaphore;

use crate::dialect::{Call, Dialect};
use crate::domain::access::{Grant, Right, Scope};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::people::account::{Account, portal_url};
use crate::domain::people::credential::Credential;
use crate::domain::people::person::{Person, PersonStatus, RoleGrant, fold};
use crate::domain::people::role::Role;
use crate::domain::record::{Key, Stored};
use crate::vault::{hash_token, is_password};

/// Password hashes computed at once; each takes a core and 19 MiB for tens of milliseconds.
static HASHES: Semaphore = Semaphore::const_new(2);

/// The hash of a password that nobody has: checked for unknown callers, so that the time of an
/// answer does not tell who is known.
const NOBODYS_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1\
    $aGFrc2Etbm9ib2R5c2FsdA$DAGCTE3+cBpEz3fZBne3PTVm2QE7ZTc/g4k3W9Bokj4";

/// Finds out who calls.
///
/// # Errors
/// [`Error::Unauthenticated`] for whatever is wrong with the credentials.
pub async fn authenticate(call: &Call) -> Result<Actor, Error> {
    let actor = match call.headers.get("authorization") {
        Some(value) => {
            let token = value.to_str().ok().and_then(token).ok_or(Error::Unauthenticated)?;
            let hash = hex::encode(hash_token(token));
            call.read(|facts| by_token(&hash, call, facts)).await?
        }
        None => by_password(call).await?,
    };
    actor.ok_or(Error::Unauthenticated)
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
    let Some(token) = facts.token(hash)?.filter(|token| call.at < token.expires_at) else {
        return Ok(None);
    };
    let key = Key::Int(token.credential_id);
    let Some(document) = facts.document(Kind::Credential, &key)? else {
        return Ok(None);
    };
    let credential = document.typed::<Credential>()?;
    if document.meta.deleted_at.is_some()
        || credential.record.dialect != Dialect::Ispring
        || !credential.record.is_live(call.at)
        || !credential.record.allows(call.peer)
    {
        return Ok(None);
    }
    let account_id = credential.meta.account_id;
    let Some(person) = owner(&credential, facts)? else {
        return Ok(None);
    };
    actor(account_id, credential.id(), &person, facts).map(Some)
}

/// The active person that an API key acts as.
///
/// # Errors
/// [`crate::domain::facts::Stop::Missing`] until it is loaded.
pub fn owner(credential: &Stored<Credential>, facts: &Facts) -> Known<Option<Stored<Person>>> {
    let Some(person_id) = credential.record.person_id else {
        return Ok(None);
    };
    let person = facts.find::<Person>(credential.meta.account_id, person_id)?;
    Ok(person.filter(|person| person.record.status == PersonStatus::Active))
}

async fn by_password(call: &Call) -> Result<Option<Actor>, Error> {
    let (Some(url), Some(login), Some(password)) = (
        text_header(call, "x-auth-account-url"),
        text_header(call, "x-auth-email"),
        text_header(call, "x-auth-password"),
    ) else {
        return Ok(None);
    };
    let (url, login) = (portal_url(url), fold(login));
    let person = call.read(|facts| person_by_login(&url, &login, facts)).await?;
    let (known, hash) = match person {
        Some(person) => match person.record.password_hash.clone() {
            Some(hash) => (Some(person), hash),
            None => (None, NOBODYS_HASH.to_owned()),
        },
        None => (None, NOBODYS_HASH.to_owned()),
    };
    let password = password.to_owned();
    let _permit = HASHES.acquire().await.map_err(Error::internal)?;
    let is_right = tokio::task::spawn_blocking(move || is_password(&password, &hash))
        .await
        .map_err(Error::internal)?
        .map_err(Error::internal)?;
    let Some(person) = known.filter(|_| is_right) else {
        return Ok(None);
    };
    // There is no credential behind a password. Idempotency keys belong to credentials, so each
    // person gets a number that no credential has.
    let credential_id = -person.id();
    call.read(|facts| actor(person.meta.account_id, credential_id, &person, facts)).await.map(Some)
}

/// A header as text, beyond ASCII too.
fn text_header<'a>(call: &'a Call, name: &str) -> Option<&'a str> {
    std::str::from_utf8(call.headers.get(name)?.as_bytes()).ok()
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
    for column in ["login_key", "email_key"] {
        let mut found = facts.select::<Person>(account.id(), column, login)?;
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
    let mut grants = Vec::with_capacity(person.record.roles.len());
    for held in &person.record.roles {
        if let Some(role) = facts.find::<Role>(account_id, held.role_id.as_str())? {
            grants.extend(grant(&role.record, held));
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

/// What a role allows on enrollments where it is held; none for learners and supervisors.
fn grant(role: &Role, held: &RoleGrant) -> Option<Grant> {
    let kinds = [Kind::Enrollment];
    let rights = match role.role_type.as_str() {
        "owner" | "administrator" => return Some(Grant::account(&kinds, &Right::ALL)),
        "department_administrator" | "publisher" => Right::ALL.to_vec(),
        "custom" => role.permissions.iter().filter_map(|name| right(name)).collect(),
        _ => return None,
    };
    Some(Grant {
        kinds: Some(kinds.to_vec()),
        rights,
        scope: Scope::Departments(held.department_ids.clone()),
    })
}

fn right(permission: &str) -> Option<Right> {
    match permission {
        "enrollment.view" => Some(Right::Read),
        "enrollment.create" => Some(Right::Create),
        "enrollment.edit" => Some(Right::Edit),
        "enrollment.delete" => Some(Right::Delete),
        _ => None,
    }
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

    #[test]
    fn a_role_gives_what_its_type_and_permissions_say() {
        let held = RoleGrant { role_id: "r".to_owned(), department_ids: vec!["d1".to_owned()] };
        let given = |role_type: &str, permissions: &[&str]| {
            let role = Role {
                role_type: role_type.to_owned(),
                permissions: permissions.iter().map(ToString::to_string).collect(),
                ..Role::default()
            };
            grant(&role, &held).map(|grant| (grant.rights, grant.scope))
        };
        let departments = Scope::Departments(vec!["d1".to_owned()]);
        let all = Right::ALL.to_vec();
        assert_eq!(given("owner", &[]), Some((all.clone(), Scope::Account)));
        assert_eq!(given("administrator", &[]), Some((all.clone(), Scope::Account)));
        assert_eq!(
            given("department_administrator", &[]),
            Some((all.clone(), departments.clone()))
        );
        assert_eq!(given("publisher", &[]), Some((all, departments.clone())));
        assert_eq!(
            given("custom", &["enrollment.edit", "user.edit"]),
            Some((vec![Right::Edit], departments.clone()))
        );
        assert_eq!(given("custom", &[]), Some((vec![], departments)));
        for none in ["learner", "supervisor", "", "Owner"] {
            assert_eq!(given(none, &["enrollment.edit"]), None, "{none}");
        }
    }

    #[test]
    fn the_hash_that_nobody_has_can_be_checked() {
        assert!(matches!(is_password("", NOBODYS_HASH), Ok(false)));
    }
}
