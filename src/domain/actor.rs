//! Who asks: an authenticated caller with what it may do.

use jiff::Timestamp;

use super::access::Grant;
use super::facts::{Facts, Known};
use super::names::names;
use super::people::credential::Credential;
use super::record::parse_id;

names! {
    /// The wire language a caller speaks.
    pub enum Dialect {
        /// Kolleges Open API: certificates.
        Kolleges = "kolleges",
        /// Partner API: classes and invite codes.
        Partner = "partner",
        /// Ncloud Single Sign-On: applications.
        Ncloud = "ncloud",
        /// SOLAPI CRM core: records and relationships.
        Solapi = "solapi",
        /// iSpring Learn REST API: enrollments.
        Ispring = "ispring",
        /// Ours.
        Native = "native",
    }
}

/// Stands for a credential's id where the operator acts at the command line.
const OPERATOR: i64 = 0;
/// Stands for a credential's id where the server acts by itself.
const WORKER: i64 = -1;

/// Who asked, as history has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asker {
    /// The operator at the command line.
    Operator,
    /// The server by itself.
    Worker,
    /// Whoever had this credential.
    Credential(i64),
    /// This person.
    Person(i64),
}

impl Asker {
    /// Who is meant by what [`Actor::label`] made; none of what it cannot have made.
    pub fn parse(label: &str) -> Option<Self> {
        match label.split_once(':') {
            None if label == "operator" => Some(Self::Operator),
            None if label == "worker" => Some(Self::Worker),
            Some(("credential", id)) => parse_id(id).map(Self::Credential),
            Some(("person", id)) => parse_id(id).map(Self::Person),
            _ => None,
        }
    }
}

/// An authenticated caller. Everything it may touch lies inside `account_id`.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The account that the credential belongs to.
    pub account_id: i64,
    /// The credential that proved it; [`OPERATOR`] and [`WORKER`] need none.
    pub credential_id: i64,
    /// The person it acts as, where it acts as one.
    pub person_id: Option<i64>,
    /// The language it spoke.
    pub dialect: Dialect,
    /// What it may do, and where.
    pub grants: Vec<Grant>,
}

impl Actor {
    /// The operator at the command line: everything in one account.
    pub fn operator(account_id: i64) -> Self {
        Self::of_the_house(account_id, OPERATOR)
    }

    /// The server itself, at what nobody asks for just then: everything in one account.
    pub fn worker(account_id: i64) -> Self {
        Self::of_the_house(account_id, WORKER)
    }

    fn of_the_house(account_id: i64, credential_id: i64) -> Self {
        Self {
            account_id,
            credential_id,
            person_id: None,
            dialect: Dialect::Native,
            grants: vec![Grant::everything()],
        }
    }

    /// True for the operator and for the server itself.
    pub const fn is_of_the_house(&self) -> bool {
        matches!((self.person_id, self.credential_id), (None, OPERATOR | WORKER))
    }

    /// Whether its credential is still good.
    ///
    /// # Errors
    /// [`super::facts::Stop::Missing`] until it is loaded.
    pub fn is_live(&self, at: Timestamp, facts: &Facts) -> Known<bool> {
        if self.credential_id <= OPERATOR {
            return Ok(true);
        }
        let credential = facts.find::<Credential>(self.account_id, self.credential_id)?;
        Ok(credential.is_some_and(|credential| credential.record.is_live(at)))
    }

    /// How history names this caller: `credential:ID`, `person:ID`, `operator` or `worker`.
    pub fn label(&self) -> String {
        match (self.person_id, self.credential_id) {
            (Some(person), _) => format!("person:{person}"),
            (None, OPERATOR) => "operator".to_owned(),
            (None, WORKER) => "worker".to_owned(),
            (None, credential) => format!("credential:{credential}"),
        }
    }
}
