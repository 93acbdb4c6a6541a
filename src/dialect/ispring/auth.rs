//! `Authorization: TOKEN` or `Bearer TOKEN`; without that header the older `X-Auth-Account-Url`,
//! `X-Auth-Email` and `X-Auth-Password`. Either way the caller is a person, with that person's roles
//! as they stand now.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::dialect::{Call, Dialect};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::people::account::{Account, portal_url};
use crate::domain::people::credential::Credential;
use crate::domain::people::person::{Person, PersonStatus, fold};
use crate::domain::people::role::Role;
use crate::domain::record::{Key, Stored};
use crate::sabotage::Protection;
use crate::vault::{hash_token, is_password};

/// Who has a password checked: each check takes a core and 19 MiB for tens of milliseconds, so two
/// are done at once. Those who wait for longer than 32 others take had better come again.
static CHECKS: Queue = Queue::new(2, 32);

/// Each may come once: with two, the next program on the way may believe the other.
const SECURITY_HEADERS: [&str; 4] =
    ["authorization", "x-auth-account-url", "x-auth-email", "x-auth-password"];

/// The hash of a password that nobody has: checked for unknown callers, so that the time of an
/// answer does not tell who is known.
const NOBODYS_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1\
    $aGFrc2Etbm9ib2R5c2FsdA$DAGCTE3+cBpEz3fZBne3PTVm2QE7ZTc/g4k3W9Bokj4";

/// Finds out who calls.
///
/// # Errors
/// [`Error::Unauthenticated`] for whatever is wrong with the credentials; [`Error::Unavailable`] when
/// too many passwords wait to be checked.
pub async fn authenticate(call: &Call) -> Result<Actor, Error> {
    let is_repeated = |name: &&str| call.headers.get_all(*name).iter().nth(1).is_some();
    if SECURITY_HEADERS.iter().any(is_repeated) {
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
    if known.is_none() && !Protection::NobodysPassword.is_on() {
        return Ok(None);
    }
    let password = password.to_owned();
    let turn = CHECKS.turn().await?;
    let check = tokio::task::spawn_blocking(move || {
        // The turn ends with the check, even when the caller has gone meanwhile.
        let _turn = turn;
        is_password(&password, &hash)
    });
    let is_right = check.await.map_err(Error::internal)?.map_err(Error::internal)?;
    let Some(person) = known.filter(|_| is_right) else {
        return Ok(None);
    };
    // There is no credential behind a password. Idempotency keys belong to credentials, so each
    // person gets a number that no credential has.
    let credential_id = -person.id();
    call.read(|facts| actor(person.meta.account_id, credential_id, &person, facts)).await.map(Some)
}

/// Lets a few in at once and some more wait; turns the rest away.
struct Queue {
    places: Semaphore,
    turns: Semaphore,
}

impl Queue {
    const fn new(at_once: usize, waiting: usize) -> Self {
        Self {
            places: Semaphore::const_new(at_once + waiting),
            turns: Semaphore::const_new(at_once),
        }
    }

    /// Waits for a turn, which lasts until both are dropped.
    async fn turn(&self) -> Result<(SemaphorePermit<'_>, SemaphorePermit<'_>), Error> {
        let place =
            self.places.try_acquire().map_err(|_| Error::Unavailable { retry_after_s: 1 })?;
        let turn = self.turns.acquire().await.map_err(Error::internal)?;
        Ok((turn, place))
    }
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
    use futures_util::FutureExt as _;

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

    #[tokio::test]
    async fn a_queue_turns_away_whom_it_cannot_seat() {
        let queue = Queue::new(1, 2);
        let first = queue.turn().await.unwrap();
        let mut second = std::pin::pin!(queue.turn());
        let mut third = std::pin::pin!(queue.turn());
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        let is_full =
            || matches!(queue.turn().now_or_never(), Some(Err(Error::Unavailable { .. })));
        assert!(is_full());
        // Who leaves makes room, whether waiting or done.
        drop(first);
        let second = second.await.unwrap();
        let mut fourth = Box::pin(queue.turn());
        assert!(fourth.as_mut().now_or_never().is_none());
        assert!(is_full());
        drop(fourth);
        let mut fifth = std::pin::pin!(queue.turn());
        assert!(fifth.as_mut().now_or_never().is_none());
        drop(second);
        drop(third.await.unwrap());
        drop(fifth.await.unwrap());
    }

    #[test]
    fn the_hash_that_nobody_has_can_be_checked() {
        assert!(matches!(is_password("", NOBODYS_HASH), Ok(false)));
    }
}
