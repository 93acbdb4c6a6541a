//! A part of an account's organisation tree (iSpring's department).

use serde::{Deserialize, Serialize};

use crate::domain::command::Context;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::record::{ColumnType, Key, KeyType, Record, Table};

/// How deep an organisation may be; a tree that is deeper is broken.
const DEPTH_MAX: usize = 64;

/// A department.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Department {
    /// What people call it.
    pub name: String,
    /// The customer's own code.
    pub code: Option<String>,
    /// The department above; none for the root.
    pub parent_id: Option<String>,
}

/// An edit of a department.
#[derive(Clone, Debug, Default)]
pub struct DepartmentEdit {
    /// See [`Department::name`].
    pub name: Patch<String>,
    /// See [`Department::code`].
    pub code: Patch<String>,
    /// See [`Department::parent_id`].
    pub parent_id: Patch<String>,
}

/// The department and all above it, nearest first, as the tree stands now.
///
/// # Errors
/// [`crate::domain::facts::Stop::Missing`] until every one is loaded.
pub fn path(account_id: i64, department_id: &str, facts: &Facts) -> Known<Vec<String>> {
    let mut path = Vec::new();
    let mut next = Some(department_id.to_owned());
    while let Some(id) = next {
        if path.len() == DEPTH_MAX || path.contains(&id) {
            break;
        }
        next = facts
            .find::<Department>(account_id, id.as_str())?
            .and_then(|department| department.record.parent_id.clone());
        path.push(id);
    }
    Ok(path)
}

impl Record for Department {
    const KIND: Kind = Kind::Department;
    const TABLE: Table = Table {
        name: "department",
        key: KeyType::Text,
        columns: &[("parent_id", ColumnType::Reference(Kind::Department))],
        secrets: &[],
    };
    type Edit = DepartmentEdit;

    fn apply(&mut self, edit: &DepartmentEdit) {
        let DepartmentEdit { name, code, parent_id } = edit;
        name.apply_required(&mut self.name);
        code.apply(&mut self.code);
        parent_id.apply(&mut self.parent_id);
    }

    fn new_key(context: &mut Context<'_>, _facts: &mut Facts) -> Known<Key> {
        Ok(Key::Text(context.entropy.uuid()))
    }
}
