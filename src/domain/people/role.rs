//! A named set of permissions that people are granted (iSpring's role).

use serde::{Deserialize, Serialize};

use crate::domain::command::Context;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::record::{Key, KeyType, Record, Table};

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// `owner`, `administrator`, `department_administrator`, `publisher`, `custom`, `learner` or
    /// `supervisor`.
    #[serde(rename = "type")]
    pub role_type: String,
    /// What people call it.
    pub title: String,
    /// What it is for.
    pub description: String,
    /// What a custom role permits, e.g. `enrollment.edit`.
    pub permissions: Vec<String>,
}

/// An edit of a role.
#[derive(Clone, Debug, Default)]
pub struct RoleEdit {
    /// See [`Role::title`].
    pub title: Patch<String>,
    /// See [`Role::permissions`].
    pub permissions: Patch<Vec<String>>,
}

impl Record for Role {
    const KIND: Kind = Kind::Role;
    const TABLE: Table = Table { name: "role", key: KeyType::Text, columns: &[], secrets: &[] };
    type Edit = RoleEdit;

    fn apply(&mut self, edit: &RoleEdit) {
        let RoleEdit { title, permissions } = edit;
        title.apply_required(&mut self.title);
        permissions.apply_or(&mut self.permissions, Vec::new());
    }

    fn new_key(context: &mut Context<'_>, _facts: &mut Facts) -> Known<Key> {
        Ok(Key::Text(context.entropy.uuid()))
    }
}
