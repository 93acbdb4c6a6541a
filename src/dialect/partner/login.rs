//! `POST /user/login`: e-mail and password for tokens; `POST /user/refresh`: for the next ones.

use jiff::SignedDuration;
use serde_json::json;

use super::auth::{session_of, signed_in_by};
use super::error::detail;
use super::request::body;
use super::validate::{BodyFields, RequestFaults, text};
use crate::app::OsEntropy;
use crate::dialect::call::DRY_RUN;
use crate::dialect::{Answer, Call, Dialect, Refusal, password};
use crate::domain::access::{Grant, Right};
use crate::domain::actor::Actor;
use crate::domain::command::{Create, Entropy as _};
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known, Signature, Token};
use crate::domain::kind::Kind;
use crate::domain::people::credential::{Credential, EndSession, EndedSession};
use crate::domain::people::known::KnownBy;
use crate::domain::people::person::{Person, PersonStatus, fold};
use crate::domain::record::Stored;
use crate::pipeline::{Envelope, Reply};
use crate::vault::{Secret, hash_token, random_token};

/// How long an access token lives.
const ACCESS_LIFE: SignedDuration = SignedDuration::from_hours(12);
/// How long a refresh token lives.
const REFRESH_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long it is remembered that a session has ended: longer than any of its tokens is good, whatever
/// the clocks of other nodes say.
const SESSION_REMEMBERED: SignedDuration = SignedDuration::from_hours(60 * 24);
/// The label of the credentials that a person's logins belong to; revoking them ends all.
const LABEL: &str = "logins";
/// Stands before a refresh token where it is hashed: one that is sent for access is nobody's.
const REFRESH: &str = "refresh ";

/// `POST /user/login`.
pub async fn login(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let mut faults = RequestFaults::default();
    let given = BodyFields::of(&body, false, &mut faults).and_then(|mut fields| {
        let email = fields.required("email", text);
        let password = fields.required("password", text);
        email.zip(password)
    });
    let (email, password) = faults.refuse_or(given)?;
    refuse_dry_run(call)?;
    let known = call.read(|facts| person_by_email(&email, facts)).await?;
    let owner = password::owner(call, Dialect::Partner, &fold(&email), known, &password).await?;
    let person = owner.ok_or_else(|| detail(401, "invalid credentials"))?;
    if person.record.status != PersonStatus::Active {
        return Err(detail(403, "user is not active").into());
    }
    let credential_id = credential_of_logins(call, &person).await?;
    let session = random_token(|bytes| OsEntropy.fill(bytes));
    issue(call, person.meta.account_id, credential_id, session.expose()).await
}

/// `POST /user/refresh`. A refresh token is good once: one that comes again has been stolen, from whom
/// or by whom nobody can tell, so its whole session ends.
pub async fn refresh(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let mut faults = RequestFaults::default();
    let given = BodyFields::of(&body, false, &mut faults)
        .and_then(|mut fields| fields.required("refresh_token", text));
    let given = faults.refuse_or(given)?;
    refuse_dry_run(call)?;
    let hash = refresh_hash(&given);
    let wrong = || detail(401, "invalid refresh token");
    let session = session_of(&given);
    let found = call.read(|facts| signed_in_by(call, session, &hash, facts)).await?;
    let (token, user) = found.ok_or_else(wrong)?;
    let Token { expires_at, credential_id, hash: digest } = token;
    let spent = Signature { expires_at, credential_id, digest };
    match call.app.pipeline.burn_signature(user.person.meta.account_id, spent).await {
        Err(Error::Replayed) => {
            let until = call.at.checked_add(SESSION_REMEMBERED).map_err(Error::internal)?;
            let session = EndedSession { id: session.to_owned(), until };
            let end = EndSession { credential_id, session };
            let envelope = Envelope::new(bare_actor(&user.person), call.request_id.clone());
            call.app.pipeline.run(end, envelope).await?;
            return Err(wrong().into());
        }
        other => other?,
    }
    issue(call, user.person.meta.account_id, credential_id, session).await
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
    if email.trim().is_empty() {
        return Ok(None);
    }
    let found = KnownBy::email(email).people_of_all_accounts(facts)?;
    Ok(found.into_iter().find(|person| person.record.password_hash.is_some()))
}

/// The credential that a person's logins with this password belong to, made at the first.
async fn credential_of_logins(call: &Call, person: &Stored<Person>) -> Result<i64, Error> {
    let account_id = person.meta.account_id;
    let known = call.read(|facts| {
        let found = facts.select::<Credential>(account_id, "person_id", person.id())?;
        Ok(found.into_iter().find(|stored| {
            let credential = &stored.record;
            credential.dialect == Dialect::Partner
                && credential.label == LABEL
                && credential.is_of_password(&person.record)
                && credential.is_live(call.at)
        }))
    });
    if let Some(credential) = known.await? {
        return Ok(credential.id());
    }
    let mut credential = Credential::new(Dialect::Partner, LABEL);
    credential.person_id = Some(person.id());
    credential.password_mark = person.record.password_mark();
    let grants = vec![Grant::account(&[Kind::Credential], &[Right::Create])];
    let actor = Actor { grants, ..bare_actor(person) };
    let envelope = Envelope::new(actor, call.request_id.clone());
    match call.app.pipeline.run(Create::new(credential), envelope).await? {
        Reply::Done(outcome, _) => Ok(outcome.subject.meta.key.as_int().unwrap_or_default()),
        Reply::Repeated(_) | Reply::Noted => Err(Error::internal("a login without a credential")),
    }
}

/// Somebody who signs in, for what follows from that.
fn bare_actor(person: &Stored<Person>) -> Actor {
    Actor {
        account_id: person.meta.account_id,
        credential_id: 0,
        person_id: Some(person.id()),
        dialect: Dialect::Partner,
        grants: Vec::new(),
    }
}

async fn issue(
    call: &Call,
    account_id: i64,
    credential_id: i64,
    session: &str,
) -> Result<Answer, Refusal> {
    let token = || {
        let own = random_token(|bytes| OsEntropy.fill(bytes));
        Secret::new(format!("{session}.{}", own.expose()))
    };
    let (access, refresh) = (token(), token());
    for (hash, life) in [
        (hex::encode(hash_token(access.expose())), ACCESS_LIFE),
        (refresh_hash(refresh.expose()), REFRESH_LIFE),
    ] {
        let expires_at = call.at.checked_add(life).map_err(Error::internal)?;
        let token = Token { hash, credential_id, expires_at };
        call.app.pipeline.keep_token(account_id, token).await?;
    }
    let body = json!({
        "access_token": access.expose(),
        "refresh_token": refresh.expose(),
        "token_type": "bearer",
    });
    Ok(Answer::json(200, &body).header("cache-control", "no-store"))
}
