//! A part of an account's organisation tree (iSpring's department).

use serde::{Deserialize, Serialize};

use crate::domain::error::{FieldError, FieldErrors};
use crate::domain::facts::{self, Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::patch::edit;
use crate::domain::record::{Changed, Meta, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Text, Tree, data};

/// How deep an organisation may be, its root included.
const DEPTH_MAX: usize = 32;

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

edit! {
    /// An edit of a department.
    DepartmentEdit for Department {
        name: String => keeps,
        code: String => clears,
        parent_id: String => clears,
    }
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
        facts.want_above(Kind::Department, &id.as_str().into())?;
        next = facts
            .find::<Department>(account_id, id.as_str())?
            .and_then(|department| department.record.parent_id.clone());
        path.push(id);
    }
    Ok(path)
}

/// How many levels there are from the department downwards, itself included; beyond `limit` they are
/// not counted.
fn height(account_id: i64, department_id: &str, limit: usize, facts: &Facts) -> Known<usize> {
    let mut height = 0;
    let mut level = vec![department_id.to_owned()];
    while !level.is_empty() && height <= limit {
        height += 1;
        let below = facts::all(&level, |id| {
            facts.want_below(Kind::Department, &id.as_str().into())?;
            facts.select::<Department>(account_id, "parent_id", id.as_str())
        })?;
        level = below.into_iter().flatten().map(|child| child.meta.key.to_string()).collect();
    }
    Ok(height)
}

impl Record for Department {
    const KIND: Kind = Kind::Department;
    const TABLE: Table = Table {
        name: "department",
        key: KeyType::Text,
        columns: &[Column::names("parent_id", Kind::Department, Gone::Refuses)],
        tree: Some(Tree { column: "parent_id", depth_max: DEPTH_MAX }),
        texts: &[Text::name("name"), Text::name("code")],
        data: data! {
            Free: name;
            Plain: code, parent_id;
        },
        ..Table::EMPTY
    };
    type Edit = DepartmentEdit;

    fn validate(&self, meta: &Meta, changed: &Changed, facts: &mut Facts) -> Known<FieldErrors> {
        let parent_id = self.parent_id.as_deref();
        let Some(parent_id) = parent_id.filter(|_| changed.has("parent_id")) else {
            return Ok(Vec::new());
        };
        let refused = |code, detail: &str| Ok(vec![FieldError::new("parent_id", code, detail)]);
        let id = meta.key.to_string();
        let above = path(meta.account_id, parent_id, facts)?;
        if above.contains(&id) {
            return refused("cycle", "a department is not below itself");
        }
        if facts.find::<Self>(meta.account_id, parent_id)?.is_none() {
            return refused("unknown", "no such department");
        }
        let left = DEPTH_MAX - above.len();
        // Nothing is below a new one, whose id may be another the next time that this is asked.
        let height = if meta.version == 0 { 1 } else { height(meta.account_id, &id, left, facts)? };
        if height > left {
            return refused("too_deep", "departments are at most 32 levels deep");
        }
        Ok(Vec::new())
    }
}
