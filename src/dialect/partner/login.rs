//! `POST /user/login`: e-mail and password for tokens; `POST /user/refresh`: for the next ones.

use jiff::SignedDuration;
use serde_json::json;

use super::auth::live_credential;
use super::error::detail;
use super::request::body;
use super::validate::{Faults, Fields, text};
use crate::app::OsEntropy;
use crate::dialect::call::DRY_RUN;
use crate::dialect::{Answer, Call, Dialect, Refusal, password};
use crate::domain::access::{Grant, Right};
use crate::domain::actor::Actor;
use crate::domain::command::{Create, Entropy as _};
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known, Signature, Token};
use crate::domain::kind::Kind;
use crate::domain::people::credential::Credential;
use crate::domain::people::person::{Person, PersonStatus, fold};
use crate::domain::people::throttle::{CountGuess, Guesser};
use crate::domain::record::Stored;
use crate::pipeline::{Envelope, Reply};
use crate::vault::{hash_token, random_token};

/// How long an access token lives.
const ACCESS_LIFE: SignedDuration = SignedDuration::from_hours(12);
/// How long a refresh token lives.
const REFRESH_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The label of the credential that a person's logins belong to; revoking it ends them all.
const LABEL: &str = "logins";
/// Stands before a refresh token where it is hashed: one that is sent for access is nobody's.
const REFRESH: &str = "refresh ";

/// `POST /user/login`.
pub async fn login(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let mut faults = Faults::default();
    let given = Fields::of(&body, false, &mut faults).and_then(|mut fields| {
        let email = fields.required("email", text);
        let password = fields.required("password", text);
        email.zip(password)
    });
    let (email, password) = faults.refuse_or(given)?;
    refuse_dry_run(call)?;
    let wrong = || detail(401, "invalid credentials");
    let person = call.read(|facts| person_by_email(&fold(&email), facts)).await?;
    let guesser = person
        .as_ref()
        .map(|person| Guesser::person(person.meta.account_id, "password", person.id()));
    // Who has guessed too often is told so in the same words, or they would tell who is known.
    let tired = match &guesser {
        Some(guesser) => {
            call.read(|facts| match guesser.refuse_tired(call.at, facts) {
                Err(crate::domain::facts::Stop::Refused(Error::TooManyRequests { .. })) => Ok(true),
                other => other.map(|()| false),
            })
            .await?
        }
        None => false,
    };
    let hash = person.as_ref().and_then(|person| person.record.password_hash.clone());
    let is_right = password::is_right(&password, hash).await?;
    let Some(person) = person.filter(|_| is_right && !tired) else {
        if let (Some(guesser), false) = (guesser, tired) {
            count(call, guesser).await?;
        }
        return Err(wrong().into());
    };
    if person.record.status != PersonStatus::Active {
        return Err(detail(403, "user is not active").into());
    }
    let credential_id = credential_of_logins(call, &person).await?;
    issue(call, credential_id).await
}

/// `POST /user/refresh`. A refresh token is good once.
pub async fn refresh(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let mut faults = Faults::default();
    let given = Fields::of(&body, false, &mut faults)
        .and_then(|mut fields| fields.required("refresh_token", text));
    let given = faults.refuse_or(given)?;
    refuse_dry_run(call)?;
    let hash = refresh_hash(&given);
    let wrong = || detail(401, "invalid refresh token");
    let found = call.read(|facts| {
        let Some(token) = facts.token(&hash)?.filter(|token| call.at < token.expires_at) else {
            return Ok(None);
        };
        let Some(credential) = live_credential(call, token.credential_id, facts)? else {
            return Ok(None);
        };
        let Some(person_id) = credential.record.person_id else { return Ok(None) };
        let person = facts.find::<Person>(credential.meta.account_id, person_id)?;
        let is_active = person.is_some_and(|person| person.record.status == PersonStatus::Active);
        Ok(is_active.then_some(token))
    });
    let token = found.await?.ok_or_else(wrong)?;
    let Token { expires_at, credential_id, hash: digest } = token;
    let used = Signature { expires_at, credential_id, digest };
    match call.app.pipeline.burn_signature(used).await {
        Err(Error::Replayed) => return Err(wrong().into()),
        other => other?,
    }
    issue(call, credential_id).await
}

fn refresh_hash(token: &str) -> String {
    hex::encode(hash_token(&format!("{REFRESH}{token}")))
}

/// Only who gets a token can see whether it would be given: there is nothing to try out.
fn refuse_dry_run(call: &Call) -> Result<(), Refusal> {
    if call.headers.contains_key(DRY_RUN) && call.is_dry_run()? {
        return Err(detail(400, "dry_run_not_supported").into());
    }
    Ok(())
}

/// The person with that e-mail and a password; the first, where several accounts have one.
fn person_by_email(email: &str, facts: &Facts) -> Known<Option<Stored<Person>>> {
    // No database keeps NUL in a text column.
    if email.is_empty() || email.contains('\0') {
        return Ok(None);
    }
    let found = facts.select_in_all_accounts::<Person>("email_key", email)?;
    Ok(found.into_iter().find(|person| person.record.password_hash.is_some()))
}

async fn count(call: &Call, guesser: Guesser) -> Result<(), Error> {
    let account_id = guesser.account_id();
    let grants = Vec::new();
    let actor =
        Actor { account_id, credential_id: 0, person_id: None, dialect: Dialect::Partner, grants };
    let envelope = Envelope::new(actor, call.request_id.clone());
    match call.app.pipeline.run(CountGuess(guesser), envelope).await {
        // Others were quicker to use up what is borne.
        Ok(_) | Err(Error::TooManyRequests { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The credential that a person's logins belong to, made at the first.
async fn credential_of_logins(call: &Call, person: &Stored<Person>) -> Result<i64, Error> {
    let account_id = person.meta.account_id;
    let known = call.read(|facts| {
        let found = facts.select::<Credential>(account_id, "person_id", person.id())?;
        Ok(found.into_iter().find(|stored| {
            let credential = &stored.record;
            credential.dialect == Dialect::Partner
                && credential.label == LABEL
                && credential.secret_hash.is_none()
                && credential.is_live(call.at)
        }))
    });
    if let Some(credential) = known.await? {
        return Ok(credential.id());
    }
    let mut credential = Credential::new(Dialect::Partner, LABEL);
    credential.person_id = Some(person.id());
    let actor = Actor {
        account_id,
        credential_id: 0,
        person_id: Some(person.id()),
        dialect: Dialect::Partner,
        grants: vec![Grant::account(&[Kind::Credential], &[Right::Create])],
    };
    let envelope = Envelope::new(actor, call.request_id.clone());
    match call.app.pipeline.run(Create::new(credential), envelope).await? {
        Reply::Done(outcome, _) => Ok(outcome.subject.meta.key.as_int().unwrap_or_default()),
        Reply::Repeated(_) | Reply::Noted => Err(Error::internal("a login without a credential")),
    }
}

async fn issue(call: &Call, credential_id: i64) -> Result<Answer, Refusal> {
    let access = random_token(|bytes| OsEntropy.fill(bytes));
    let refresh = random_token(|bytes| OsEntropy.fill(bytes));
    for (hash, life) in [
        (hex::encode(hash_token(access.expose())), ACCESS_LIFE),
        (refresh_hash(refresh.expose()), REFRESH_LIFE),
    ] {
        let expires_at = call.at.checked_add(life).map_err(Error::internal)?;
        call.app.pipeline.keep_token(Token { hash, credential_id, expires_at }).await?;
    }
    let body = json!({
        "access_token": access.expose(),
        "refresh_token": refresh.expose(),
        "token_type": "bearer",
    });
    Ok(Answer::json(200, &body).header("cache-control", "no-store"))
}
