//! Whose credentials a call brings. A live credential is one of the dialect that is spoken, neither
//! deleted, disabled nor expired.

use std::net::IpAddr;

use jiff::Timestamp;

use super::{Call, Dialect};
use crate::domain::access::Grant;
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known, Token};
use crate::domain::kind::Kind;
use crate::domain::people::credential::Credential;
use crate::domain::people::person::{Person, PersonStatus};
use crate::domain::record::{Key, Stored};
use crate::vault::hash_token;

/// Whom a credential is to be good for.
///
/// What is not loaded yet stops all that looks for one, with [`crate::domain::facts::Stop::Missing`].
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The language that is spoken.
    pub dialect: Dialect,
    /// Who is at the other end of the connection.
    pub peer: IpAddr,
    /// When the call came.
    pub at: Timestamp,
}

impl Caller {
    /// Who makes a call of a dialect.
    pub const fn of(dialect: Dialect, call: &Call) -> Self {
        Self { dialect, peer: call.peer, at: call.at }
    }

    /// The credential that a bearer key is of.
    pub fn key(self, key: &str, facts: &Facts) -> Known<Option<Stored<Credential>>> {
        let hash = hex::encode(hash_token(key));
        let found = facts.select_in_all_accounts::<Credential>("secret_hash", hash.as_str())?;
        Ok(found.into_iter().find(|stored| self.is_good(&stored.record)))
    }

    /// The live credential with a public id, from wherever it may be used.
    pub fn public_id(self, id: &str, facts: &Facts) -> Known<Option<Stored<Credential>>> {
        let found = facts.select_in_all_accounts::<Credential>("public_id", id)?;
        Ok(found.into_iter().find(|stored| self.is_live(&stored.record)))
    }

    /// A token that has not expired, by its hash, and the credential that it was issued for.
    pub fn token(self, hash: &str, facts: &Facts) -> Known<Option<(Token, Stored<Credential>)>> {
        let Some(token) = facts.token(hash)?.filter(|token| self.at < token.expires_at) else {
            return Ok(None);
        };
        Ok(self.id(token.credential_id, facts)?.map(|credential| (token, credential)))
    }

    /// The credential of that id.
    fn id(self, id: i64, facts: &Facts) -> Known<Option<Stored<Credential>>> {
        let document = facts.document(Kind::Credential, &Key::Int(id))?;
        let Some(document) = document.filter(|document| document.meta.deleted_at.is_none()) else {
            return Ok(None);
        };
        let stored = document.typed::<Credential>()?;
        Ok(Some(stored).filter(|stored| self.is_good(&stored.record)))
    }

    fn is_live(self, credential: &Credential) -> bool {
        credential.dialect == self.dialect && credential.is_live(self.at)
    }

    fn is_good(self, credential: &Credential) -> bool {
        self.is_live(credential) && credential.allows(self.peer)
    }
}

/// The credential whose key the caller bears.
///
/// # Errors
/// [`Error::Unauthenticated`] without one.
pub async fn borne(dialect: Dialect, call: &Call) -> Result<Stored<Credential>, Error> {
    let key = call.bearer().ok_or(Error::Unauthenticated)?;
    let caller = Caller::of(dialect, call);
    let found = call.read(|facts| caller.key(key, facts)).await?;
    let credential = found.ok_or(Error::Unauthenticated)?;
    call.known(credential.meta.account_id);
    Ok(credential)
}

/// The active person that a credential acts as.
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

/// The caller that a credential stands for.
pub fn actor(credential: &Stored<Credential>, grants: Vec<Grant>) -> Actor {
    Actor {
        account_id: credential.meta.account_id,
        credential_id: credential.id(),
        person_id: credential.record.person_id,
        dialect: credential.record.dialect,
        grants,
    }
}
