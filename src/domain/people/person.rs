//! A human in an account, whatever the systems call them: recipient, user, student, learner,
//! member. Each system's user is a facet of one person.

use serde::{Deserialize, Serialize};

use crate::domain::command::Context;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::record::{ColumnType, Key, KeyType, Record, Table};

/// Whether a person may sign in and act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonStatus {
    /// May sign in.
    #[default]
    Active,
    /// May not, for now.
    Inactive,
    /// May not, by decision.
    Suspended,
    /// Has left.
    Terminated,
}

/// A role and the departments in which it holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleGrant {
    /// Which role.
    pub role_id: String,
    /// Where; ignored for owners and account administrators.
    pub department_ids: Vec<String>,
}

/// A person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Person {
    /// Full name as given.
    pub name: String,
    /// The name, folded for search.
    pub name_key: String,
    /// E-mail as given.
    pub email: Option<String>,
    /// The e-mail, folded for look-ups.
    pub email_key: Option<String>,
    /// Phone as given.
    pub phone: Option<String>,
    /// Login as given.
    pub login: Option<String>,
    /// The login, folded for look-ups.
    pub login_key: Option<String>,
    /// argon2id hash of the password, PHC string.
    pub password_hash: Option<String>,
    /// Whether the person may sign in.
    pub status: PersonStatus,
    /// Kolleges: layer images of the drawn avatar.
    pub avatar: Vec<String>,
    /// Kolleges: uploaded picture.
    pub image: Option<String>,
    /// iSpring's user id.
    pub learner_id: Option<String>,
    /// iSpring: the one department the person is in.
    pub department_id: Option<String>,
    /// iSpring: roles with their departments.
    pub roles: Vec<RoleGrant>,
}

/// An edit of a person.
#[derive(Clone, Debug, Default)]
pub struct PersonEdit {
    /// See [`Person::name`].
    pub name: Patch<String>,
    /// See [`Person::email`].
    pub email: Patch<String>,
    /// See [`Person::password_hash`].
    pub password_hash: Patch<String>,
    /// See [`Person::status`].
    pub status: Patch<PersonStatus>,
    /// See [`Person::department_id`].
    pub department_id: Patch<String>,
    /// See [`Person::roles`].
    pub roles: Patch<Vec<RoleGrant>>,
}

/// The form in which texts are compared without regard to case.
pub fn fold(text: &str) -> String {
    text.trim().to_lowercase()
}

impl Record for Person {
    const KIND: Kind = Kind::Person;
    const TABLE: Table = Table {
        name: "person",
        key: KeyType::Int,
        columns: &[
            ("name_key", ColumnType::Text),
            ("email_key", ColumnType::Text),
            ("login_key", ColumnType::Text),
            ("learner_id", ColumnType::Text),
            ("department_id", ColumnType::Reference(Kind::Department)),
        ],
        secrets: &["password_hash"],
    };
    const NAMES_IN_BODY: &'static [Kind] = &[Kind::Role, Kind::Department];
    type Edit = PersonEdit;

    fn apply(&mut self, edit: &PersonEdit) {
        let PersonEdit { name, email, password_hash, status, department_id, roles } = edit;
        name.apply_required(&mut self.name);
        email.apply(&mut self.email);
        password_hash.apply(&mut self.password_hash);
        status.apply_required(&mut self.status);
        department_id.apply(&mut self.department_id);
        roles.apply_or(&mut self.roles, Vec::new());
    }

    fn settle(
        &mut self,
        _before: Option<&Self>,
        _context: &mut Context<'_>,
        _facts: &mut Facts,
    ) -> Known<()> {
        self.name_key = fold(&self.name);
        self.email_key = self.email.as_deref().map(fold);
        self.login_key = self.login.as_deref().map(fold);
        Ok(())
    }

    fn named_in_body(&self) -> Vec<(Kind, Key)> {
        let mut named = Vec::new();
        for held in &self.roles {
            named.push((Kind::Role, Key::from(held.role_id.as_str())));
            let departments = held.department_ids.iter();
            named.extend(departments.map(|id| (Kind::Department, Key::from(id.as_str()))));
        }
        named
    }
}
