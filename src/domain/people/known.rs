//! Who somebody is: one human is one person, whatever the systems call them. Everybody who looks for a
//! person by what others know of them does it here.

use std::fmt;
use std::sync::Arc;

use super::person::{Person, fold, phone_key};
use crate::domain::command::{Command, Context, Create, Decision};
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known, Selector};
use crate::domain::kind::Kind;
use crate::domain::record::{Document, Key, Record as _, Stored};

/// What a person is looked for by, in the form in which it is compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KnownBy {
    /// An e-mail address.
    Email(String),
    /// A phone number.
    Phone(String),
    /// A login.
    Login(String),
}

impl KnownBy {
    /// An e-mail address, as given.
    pub fn email(text: &str) -> Self {
        Self::Email(fold(text))
    }

    /// A phone number, as given.
    pub fn phone(text: &str) -> Self {
        Self::Phone(phone_key(text))
    }

    /// A login, as given.
    pub fn login(text: &str) -> Self {
        Self::Login(fold(text))
    }

    fn place(&self) -> (&'static str, &str) {
        match self {
            Self::Email(key) => ("email_key", key),
            Self::Phone(key) => ("phone_key", key),
            Self::Login(key) => ("login_key", key),
        }
    }

    /// The question, for whoever asks many at once.
    pub fn selector(&self) -> Selector {
        let (column, key) = self.place();
        Selector { kind: Kind::Person, column, value: Key::from(key) }
    }

    /// The people of the account who are known by it, the oldest first: families share an address.
    ///
    /// # Errors
    /// [`crate::domain::facts::Stop::Missing`] until they are loaded.
    pub fn people(&self, account_id: i64, facts: &Facts) -> Known<Vec<Stored<Person>>> {
        let (column, key) = self.place();
        facts.select(account_id, column, key)
    }

    /// The same over all accounts: for finding out who calls, and for nothing else.
    ///
    /// # Errors
    /// As [`KnownBy::people`].
    pub fn people_of_all_accounts(&self, facts: &Facts) -> Known<Vec<Stored<Person>>> {
        let (column, key) = self.place();
        facts.select_in_all_accounts(column, key)
    }

    /// The oldest person of the account who is known by it, as stored; or `new`, who has yet to be
    /// written. Who writes somebody new says that nobody was found ([`Decision::sought`]).
    ///
    /// # Errors
    /// As [`KnownBy::people`].
    pub fn find_or(
        &self,
        account_id: i64,
        new: impl FnOnce() -> Person,
        facts: &Facts,
    ) -> Known<(Option<Arc<Document>>, Person)> {
        let Some(known) = self.people(account_id, facts)?.into_iter().next() else {
            return Ok((None, new()));
        };
        let document = facts.document(Person::KIND, &known.meta.key)?;
        Ok((document, Person::clone(&known.record)))
    }
}

/// Makes a person whom nobody in the account is known to be.
#[derive(Debug)]
pub struct Introduce {
    /// Who.
    pub person: Person,
    /// What nobody else may be known by.
    pub known_by: Vec<KnownBy>,
}

impl Command for Introduce {
    /// Refused with [`Error::Conflict`] where somebody is known by it.
    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let sought: Vec<Selector> = self.known_by.iter().map(KnownBy::selector).collect();
        facts.want_selections(sought.iter().cloned())?;
        for known_by in &self.known_by {
            if !known_by.people(context.actor.account_id, facts)?.is_empty() {
                return Err(Error::Conflict(vec![Kind::Person.name().to_owned()]).into());
            }
        }
        let made = Create::new(self.person.clone()).decide(context, facts)?;
        Ok(Decision { sought, ..made })
    }
}

impl fmt::Display for KnownBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.place().1)
    }
}
