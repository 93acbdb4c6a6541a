//! `POST /user/login`: e-mail and password for tokens; `POST /user/refresh`: for the next ones.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;

use super::auth::{session_of, signed_in_by};
use super::email::email;
use super::error::detail;
use super::json::Json;
use super::request::body;
use super::validate::{BodyFields, RequestFaults, text};
use crate::app::OsEntropy;
use crate::dialect::call::DRY_RUN;
use crate::dialect::{Answer, Call, Dialect, Refusal, password};
use crate::domain::access::{Grant, Right};
use crate::domain::actor::Actor;
use crate::domain::command::{Create, Entropy as _};
use crate::domain::error::Error;
use crate::domain::facts::{Answered, Facts, Known, Signature, Token};
use crate::domain::kind::Kind;
use crate::domain::people::credential::{Admit, Credential, EndSession, EndedSession};
use crate::domain::people::known::KnownBy;
use crate::domain::people::person::{Person, PersonStatus, fold};
use crate::domain::record::Stored;
use crate::pipeline::{Envelope, Idempotency, Reply};
use crate::vault::{Secret, hash_token, random_token};

/// How long an access token lives.
const ACCESS_LIFE: SignedDuration = SignedDuration::from_hours(12);
/// How long a refresh token lives.
const REFRESH_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long it is remembered that a session has ended: longer than any of its tokens is good, whatever
/// the clocks of other nodes say.
const SESSION_REMEMBERED: SignedDuration = SignedDuration::from_hours(60 * 24);
/// How long a refresh token that comes again gets its first answer: for as long as a client waits for an
/// answer that was lost, and asks again.
const GRACE: SignedDuration = SignedDuration::from_mins(1);
/// Stands for the request where a login is repeated under an idempotency key. Its body has the password
/// in it, of which nothing is kept.
const LOGIN: &str = "POST /user/login";
/// The label of the credentials that a person's logins belong to; revoking them ends all.
const LABEL: &str = "logins";
/// Stands before a refresh token where it is hashed: one that is sent for access is nobody's.
const REFRESH: &str = "refresh ";

/// `POST /user/login`.
pub async fn login(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let mut faults = RequestFaults::default();
    let given = BodyFields::of(&body, false, &mut faults).and_then(|mut fields| {
        let email = fields.required("email", email);
        let password = fields.required("password", text);
        email.zip(password)
    });
    let (email, password) = faults.refuse_or(given)?;
    refuse_dry_run(call)?;
    let key = call.idempotency_key()?;
    let known = call.read(|facts| person_by_email(&email, &body, facts)).await?;
    let owner = password::owner(call, Dialect::Partner, &fold(&email), known, &password).await?;
    let person = owner.ok_or_else(|| detail(401, "invalid credentials"))?;
    if person.record.status != PersonStatus::Active {
        return Err(detail(403, "user is not active").into());
    }
    let credential_id = credential_of_logins(call, &person).await?;
    let session = random_token(|bytes| OsEntropy.fill(bytes)).into_inner();
    let pair = Pair::of(call, &session, &session);
    let envelope = Envelope {
        idempotency: key.map(|key| Idempotency {
            key: key.to_owned(),
            request_hash: hex::encode(hash_token(LOGIN)),
        }),
        tokens: pair.to_keep(call, credential_id)?,
        // Of the answer only the session's name is kept, from which the rest follows.
        encode: Arc::new(move |_, _| Ok(Answer::with_type(200, "text/plain", session.clone()))),
        ..envelope(call, &person, credential_id)
    };
    match call.app.pipeline.run(Admit { credential_id }, envelope).await? {
        Reply::Repeated(Answered::Whole { body, .. }) => {
            let session = std::str::from_utf8(&body).map_err(Error::internal)?;
            Ok(Pair::of(call, session, session).answer())
        }
        Reply::Done(..) | Reply::Noted => Ok(pair.answer()),
        Reply::Repeated(Answered::Of(..)) => {
            Err(Error::internal("a login without a session").into())
        }
    }
}

/// `POST /user/refresh`. A refresh token is good once: one that comes again has been stolen, from whom
/// or by whom nobody can tell, so its whole session ends; but one that comes again at once, before
/// anything that it opened was used, comes from whoever did not get the answer.
pub async fn refresh(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let mut faults = RequestFaults::default();
    let given = BodyFields::of(&body, false, &mut faults)
        .and_then(|mut fields| fields.required("refresh_token", text));
    let given = faults.refuse_or(given)?;
    refuse_dry_run(call)?;
    // The token makes the request repeatable, whatever the key is.
    call.idempotency_key()?;
    let hash = refresh_hash(&given);
    let wrong = || detail(401, "invalid refresh token");
    let session = session_of(&given);
    let found = call.read(|facts| signed_in_by(call, session, &hash, facts)).await?;
    let (token, user) = found.ok_or_else(wrong)?;
    let Token { expires_at, credential_id, hash: digest } = token;
    let spent = Signature { expires_at, credential_id, digest };
    let pair = Pair::of(call, session, &given);
    let envelope = Envelope {
        signature: Some(spent),
        tokens: pair.to_keep(call, credential_id)?,
        ..envelope(call, &user.person, credential_id)
    };
    match call.app.pipeline.run(Admit { credential_id }, envelope).await {
        Err(Error::Replayed) if pair.is_unused(call, credential_id).await? => Ok(pair.answer()),
        Err(Error::Replayed) => {
            let until = call.at.checked_add(SESSION_REMEMBERED).map_err(Error::internal)?;
            let session = EndedSession { id: session.to_owned(), until };
            let end = EndSession { credential_id, session };
            let envelope = Envelope::new(bare_actor(&user.person), call.request_id.clone());
            call.app.pipeline.run(end, envelope).await?;
            Err(wrong().into())
        }
        Err(other) => Err(other.into()),
        Ok(_) => Ok(pair.answer()),
    }
}

/// What a login or a refresh gives out. It follows from what was sent or drawn, so that an answer that was
/// lost can be given again, and nobody has to keep it.
struct Pair {
    access: Secret<String>,
    refresh: Secret<String>,
}

impl Pair {
    /// The pair of a session that follows from `seed`.
    fn of(call: &Call, session: &str, seed: &str) -> Self {
        let token = |purpose: &str| {
            let own = call.app.vault.token(&format!("{purpose} {seed}"));
            Secret::new(format!("{session}.{}", own.expose()))
        };
        Self { access: token("access"), refresh: token("refresh") }
    }

    /// What is kept of it.
    fn to_keep(&self, call: &Call, credential_id: i64) -> Result<Vec<Token>, Error> {
        let pair = [
            (hex::encode(hash_token(self.access.expose())), ACCESS_LIFE),
            (refresh_hash(self.refresh.expose()), REFRESH_LIFE),
        ];
        let kept = pair.into_iter().map(|(hash, life)| {
            let expires_at = call.at.checked_add(life).map_err(Error::internal)?;
            Ok(Token { hash, credential_id, expires_at })
        });
        kept.collect()
    }

    /// True when it was given out just now, and its refresh token did not come yet.
    async fn is_unused(&self, call: &Call, credential_id: i64) -> Result<bool, Error> {
        let hash = refresh_hash(self.refresh.expose());
        call.read(|facts| {
            let Some(Token { expires_at, .. }) = facts.token(&hash)? else { return Ok(false) };
            let own = Signature { expires_at, credential_id, digest: hash.clone() };
            let is_new = expires_at.duration_since(call.at) >= REFRESH_LIFE - GRACE;
            Ok(is_new && !facts.signature_used(&own)?)
        })
        .await
    }

    fn answer(&self) -> Answer {
        let body = json!({
            "access_token": self.access.expose(),
            "refresh_token": self.refresh.expose(),
            "token_type": "bearer",
        });
        Answer::json(200, &body).header("cache-control", "no-store")
    }
}

fn envelope(call: &Call, person: &Stored<Person>, credential_id: i64) -> Envelope {
    let actor = Actor { credential_id, ..bare_actor(person) };
    Envelope::new(actor, call.request_id.clone())
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

/// The person with that e-mail and a password; the first, where several accounts have one. Other systems
/// may have written the address as it stands in the body.
fn person_by_email(email: &str, body: &Json, facts: &Facts) -> Known<Option<Stored<Person>>> {
    let sent = match body.get("email") {
        Some(Json::Text(sent)) => sent.as_str(),
        _ => email,
    };
    for form in [email, sent] {
        let found = KnownBy::email(form).people_of_all_accounts(facts)?;
        let person = found.into_iter().find(|person| person.record.password_hash.is_some());
        if person.is_some() {
            return Ok(person);
        }
    }
    Ok(None)
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
