//! A student of a partner: one person as that partner knows it. Source: the partner API, "student".

use serde::{Deserialize, Serialize};

use crate::domain::access::Place;
use crate::domain::command::Context;
use crate::domain::error::{FieldError, FieldErrors};
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::names::names;
use crate::domain::patch::edit;
use crate::domain::people::person::{Person, fold};
use crate::domain::record::{Changed, Meta, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Text, Unique, data};
use crate::domain::text::EMAIL_MAX;

/// Stands between the texts in [`Student::search_key`], so that nothing is found across the joint.
const JOINT: char = '\u{1f}';

names! {
    /// How a student stands with the partner.
    #[derive(Default)]
    pub enum StudentStatus {
        /// Being taught.
        #[default]
        Active = "active",
        /// Not for now.
        Inactive = "inactive",
        /// Kept for the records.
        Archived = "archived",
    }
}

/// A student.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Student {
    /// Whose student.
    pub partner_id: i64,
    /// The person; absent once the partner has taken it off.
    pub person_id: Option<i64>,
    /// The name that the partner uses.
    pub full_name: String,
    /// The e-mail address that the partner uses.
    pub email: Option<String>,
    /// The e-mail address, folded for look-ups.
    pub email_key: Option<String>,
    /// Name, e-mail and contact, folded for search.
    pub search_key: String,
    /// How it stands.
    pub status: StudentStatus,
    /// How to reach the student.
    pub primary_contact: Option<String>,
    /// The partner's notes.
    pub notes: Option<String>,
}

edit! {
    /// An edit of a student.
    StudentEdit for Student {
        person_id: i64 => clears,
        full_name: String => or(String::new()),
        email: String => clears,
        status: StudentStatus => or(StudentStatus::Active),
        primary_contact: String => clears,
        notes: String => clears,
    }
}

impl Student {
    /// A person as a new student of a partner; one without a name goes by the e-mail address.
    pub fn of(partner_id: i64, person_id: i64, person: &Person) -> Self {
        let name = Some(&person.name).filter(|name| !name.trim().is_empty());
        Self {
            partner_id,
            person_id: Some(person_id),
            full_name: name.or(person.email.as_ref()).cloned().unwrap_or_default(),
            email: person.email.clone(),
            primary_contact: person.phone.clone(),
            ..Self::default()
        }
    }
}

impl Record for Student {
    const KIND: Kind = Kind::Student;
    const TABLE: Table = Table {
        name: "student",
        key: KeyType::Int,
        columns: &[
            Column::names("partner_id", Kind::Partner, Gone::Refuses),
            Column::names("person_id", Kind::Person, Gone::Refuses),
            Column::text("email_key"),
            Column::text("search_key"),
            Column::text("status"),
        ],
        unique: &[
            Unique::live(&["partner_id", "person_id"], "student"),
            Unique::live(&["partner_id", "email_key"], "student"),
        ],
        texts: &[
            Text::name("full_name").filled("full_name_required").unbroken(),
            Text::email("email").at_most(EMAIL_MAX, "email_too_long").unbroken(),
            Text::line("primary_contact"),
            Text::prose("notes"),
        ],
        data: data! {
            Personal: full_name, email, primary_contact;
            Free: notes;
            Derived: email_key, search_key;
            Plain: partner_id, person_id, status;
        },
        stays_when_named: true,
        ..Table::EMPTY
    };
    type Edit = StudentEdit;

    fn settle(&mut self, _: Option<&Self>, _: &mut Context<'_>, _: &mut Facts) -> Known<()> {
        let key = self.email.as_deref().map(fold).filter(|key| !key.is_empty());
        self.email_key = key;
        let texts = [Some(&self.full_name), self.email.as_ref(), self.primary_contact.as_ref()];
        let folded = texts.map(|text| fold(text.map_or("", String::as_str)));
        self.search_key = folded.join(&JOINT.to_string());
        Ok(())
    }

    fn place(&self, _: &Meta, _: &mut Facts) -> Known<Place> {
        Ok(Place::Partner(self.partner_id))
    }

    fn validate(&self, meta: &Meta, changed: &Changed, facts: &mut Facts) -> Known<FieldErrors> {
        let mut errors = Vec::new();
        if changed.has("person_id")
            && let Some(id) = self.person_id
            && facts.find::<Person>(meta.account_id, id)?.is_none()
        {
            errors.push(FieldError::new("person_id", "user_not_found", "no such person"));
        }
        Ok(errors)
    }
}
