//! What a caller proves itself with: an API key, a signing pair, a client id and secret. The secret
//! itself is never stored readable: a bearer key as its hash, a signing secret sealed.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::actor::Dialect;
use crate::domain::error::FieldError;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::patch::{EditOf as _, edit};
use crate::domain::record::{Changed, Meta, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Unique, data};

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
        data: data! {
            Free: label;
            Secret: secret_hash, secret_sealed;
            Plain: dialect, public_id, person_id, policies, allowed_ips, expires_at,
                revoked_at;
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

    fn validate(
        &self,
        meta: &Meta,
        changed: &Changed,
        _facts: &mut Facts,
    ) -> Known<Vec<FieldError>> {
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
