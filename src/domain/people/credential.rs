//! What a caller proves itself with: an API key, a signing pair, a client id and secret. The secret
//! itself is never stored readable: a bearer key as its hash, a signing secret sealed.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::actor::Dialect;
use crate::domain::command::{self, Command, Context, Decision};
use crate::domain::error::{Error, FieldError, FieldErrors};
use crate::domain::facts::{Facts, Known, Need};
use crate::domain::kind::Kind;
use crate::domain::patch::{EditOf as _, edit};
use crate::domain::people::person::Person;
use crate::domain::record::{Changed, Key, Meta, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Text, Unique, data};

/// Sessions of one credential that are remembered as ended; with more it is revoked.
const ENDED_SESSIONS_MAX: usize = 100;
/// Said of the end of what somebody can call with.
const FINAL: &str = "cannot be taken back: make a new credential";

/// A credential.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Credential {
    /// The language it is good for.
    pub dialect: Dialect,
    /// What it is for, in the operator's words.
    #[serde(default)]
    pub label: String,
    /// The part that is shown: access key, API key or client id. None for plain bearer keys.
    #[serde(default)]
    pub public_id: Option<String>,
    /// SHA-256 of the secret, hex; for bearer keys and client secrets.
    #[serde(default)]
    pub secret_hash: Option<String>,
    /// The secret sealed under the master key; for signing secrets, which must be readable.
    #[serde(default)]
    pub secret_sealed: Option<String>,
    /// The person it acts as.
    #[serde(default)]
    pub person_id: Option<i64>,
    /// What it permits, in the dialect's own words: Ncloud policies, SOLAPI's role, native rights.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Addresses it may call from; empty for any.
    #[serde(default)]
    pub allowed_ips: Vec<String>,
    /// When it ends.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default)]
    pub revoked_at: Option<Timestamp>,
    /// For what a password opened: which one; see [`Person::password_mark`]. With another it opens
    /// nothing, whatever the clock said at either time.
    #[serde(default)]
    pub password_mark: Option<String>,
    /// For what a password opened: the sessions that ended before their time.
    #[serde(default)]
    pub ended_sessions: Vec<EndedSession>,
}

/// A session that ended before its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedSession {
    /// Which one.
    pub id: String,
    /// How long that has to be remembered.
    pub until: Timestamp,
}

edit! {
    /// An edit of a credential.
    CredentialEdit for Credential {
        label: String => keeps,
        revoked_at: Timestamp => clears,
    }
}

impl Credential {
    /// A credential of `dialect` without secret or rights.
    pub fn new(dialect: Dialect, label: impl Into<String>) -> Self {
        Self {
            dialect,
            label: label.into(),
            public_id: None,
            secret_hash: None,
            secret_sealed: None,
            person_id: None,
            policies: Vec::new(),
            allowed_ips: Vec::new(),
            expires_at: None,
            revoked_at: None,
            password_mark: None,
            ended_sessions: Vec::new(),
        }
    }

    /// True when it may be used from `peer`.
    pub fn allows(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.allowed_ips.is_empty()
            || self.allowed_ips.iter().any(|address| address.parse() == Ok(peer))
    }

    /// True for the languages whose callers are people, with what these may do.
    pub const fn needs_person(&self) -> bool {
        matches!(self.dialect, Dialect::Partner | Dialect::Ispring)
    }

    /// True when the password that `owner` has now opened it.
    pub fn is_of_password(&self, owner: &Person) -> bool {
        self.password_mark.is_some() && self.password_mark == owner.password_mark()
    }

    /// True when `session` ended before its time.
    pub fn has_ended(&self, session: &str) -> bool {
        self.ended_sessions.iter().any(|ended| ended.id == session)
    }

    /// True when it may be used at `at`.
    pub fn is_live(&self, at: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| at < end)
    }
}

impl Record for Credential {
    const KIND: Kind = Kind::Credential;
    const TABLE: Table = Table {
        name: "credential",
        key: KeyType::Int,
        columns: &[
            Column::text("public_id"),
            Column::text("secret_hash"),
            Column::names("person_id", Kind::Person, Gone::Refuses),
        ],
        unique: &[Unique::ever(&["public_id"], "public_id")],
        texts: &[
            Text::name("label"),
            Text::name("public_id"),
            Text::name("secret_hash"),
            Text::line("secret_sealed"),
            Text::name("policies").each(),
            Text::name("allowed_ips").each(),
            Text::name("password_mark"),
            Text::list("ended_sessions"),
            Text::name("ended_sessions.id"),
        ],
        data: data! {
            Free: label;
            Secret: secret_hash, secret_sealed, password_mark;
            Plain: dialect, public_id, person_id, policies, allowed_ips, expires_at,
                revoked_at, ended_sessions;
        },
        ..Table::EMPTY
    };
    type Edit = CredentialEdit;

    fn apply(&mut self, edit: &CredentialEdit) {
        let since = self.revoked_at;
        edit.apply_to(self);
        // Revoking again does not move the time since which it opens nothing.
        if since.is_some() && edit.revoked_at.value().is_some() {
            self.revoked_at = since;
        }
    }

    /// What has ended stays so, whoever would take it back and in whatever way; a new credential is
    /// easily made.
    fn settle(
        &mut self,
        before: Option<&Self>,
        context: &mut Context<'_>,
        _: &mut Facts,
    ) -> Known<()> {
        let Some(before) = before else { return Ok(()) };
        let lives_longer =
            before.expires_at.is_some_and(|end| self.expires_at.is_none_or(|new| end < new));
        let is_back = |ended: &EndedSession| ended.until > context.at && !self.has_ended(&ended.id);
        for (field, is_widened) in [
            ("revoked_at", before.revoked_at.is_some() && self.revoked_at != before.revoked_at),
            ("expires_at", lives_longer),
            ("ended_sessions", before.ended_sessions.iter().any(is_back)),
        ] {
            if is_widened {
                return Err(Error::invalid(field, "final", FINAL).into());
            }
        }
        Ok(())
    }

    fn refuse_restore(&self) -> Result<(), Error> {
        Err(Error::invalid("deleted_at", "final", FINAL))
    }

    fn validate(&self, meta: &Meta, changed: &Changed, _: &mut Facts) -> Known<FieldErrors> {
        let mut errors = Vec::new();
        if changed.any(&["dialect", "person_id"]) && self.needs_person() && self.person_id.is_none()
        {
            let detail = "must name the person that the credential acts as";
            errors.push(FieldError::new("person_id", "person_required", detail));
        }
        // Nothing but its creation sets its end: the time of the newest change is now.
        if changed.has("expires_at") && self.expires_at.is_some_and(|end| end < meta.updated_at) {
            errors.push(FieldError::new("expires_at", "in_the_past", "must not be in the past"));
        }
        Ok(errors)
    }
}

/// Gives out what a credential opens, which is in the envelope: of the records, nothing changes.
#[derive(Debug)]
pub struct Admit {
    /// Which one.
    pub credential_id: i64,
}

impl Command for Admit {
    fn decide(&self, _: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let found = facts.document(Kind::Credential, &Key::Int(self.credential_id))?;
        let subject = Some(found.ok_or(Error::NotFound(Kind::Credential))?);
        Ok(Decision { subject, ..Decision::default() })
    }
}

/// Ends a session, with all of its tokens, before its time: one of them was used twice.
#[derive(Debug)]
pub struct EndSession {
    /// The credential that it belongs to.
    pub credential_id: i64,
    /// Which session, and how long that has to be remembered.
    pub session: EndedSession,
}

impl Command for EndSession {
    fn needs(&self) -> Vec<Need> {
        vec![Need::Record(Kind::Credential, Key::Int(self.credential_id))]
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let found = facts.document(Kind::Credential, &Key::Int(self.credential_id))?;
        let document = found.ok_or(Error::NotFound(Kind::Credential))?;
        let mut credential = Credential::clone(&*document.typed::<Credential>()?.record);
        let mut decision = Decision { subject: Some(Arc::clone(&document)), ..<_>::default() };
        if !credential.has_ended(&self.session.id) {
            credential.ended_sessions.retain(|ended| ended.until > context.at);
            if credential.ended_sessions.len() < ENDED_SESSIONS_MAX {
                credential.ended_sessions.push(self.session.clone());
            } else {
                credential.revoked_at = credential.revoked_at.or(Some(context.at));
            }
            decision.writes.extend(command::amend(document, credential, context, facts)?);
        }
        Ok(decision)
    }
}
