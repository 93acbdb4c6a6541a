//! A named set of permissions that people are granted (iSpring's role).

use serde::{Deserialize, Serialize};

use super::person::RoleGrant;
use crate::domain::access::{Grant, Right, Scope};
use crate::domain::kind::Kind;
use crate::domain::names::names;
use crate::domain::patch::edit;
use crate::domain::record::Record;
use crate::domain::table::{KeyType, Table, Text, data};

names! {
    /// What a role is for, which says what it allows.
    #[derive(Default)]
    pub enum RoleType {
        /// Owns the account.
        Owner = "owner",
        /// Runs all of it.
        Administrator = "administrator",
        /// Runs some departments.
        DepartmentAdministrator = "department_administrator",
        /// Writes courses, and assigns them in some departments.
        Publisher = "publisher",
        /// What its permissions name, in some departments.
        Custom = "custom",
        /// Learns.
        #[default]
        Learner = "learner",
        /// Looks on.
        Supervisor = "supervisor",
    }
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// What it is for.
    #[serde(rename = "type")]
    pub role_type: RoleType,
    /// What people call it.
    pub title: String,
    /// What it is for, in the customer's words.
    pub description: String,
    /// What a custom role permits, e.g. `enrollment.edit`.
    pub permissions: Vec<String>,
}

edit! {
    /// An edit of a role.
    RoleEdit for Role {
        title: String => keeps,
        permissions: Vec<String> => or(Vec::new()),
    }
}

impl Role {
    /// What it allows on enrollments where it is held; none for learners and supervisors.
    pub fn grant(&self, held: &RoleGrant) -> Option<Grant> {
        let kinds = [Kind::Enrollment];
        let rights = match self.role_type {
            RoleType::Owner | RoleType::Administrator => {
                return Some(Grant::account(&kinds, &Right::ALL));
            }
            RoleType::DepartmentAdministrator | RoleType::Publisher => Right::ALL.to_vec(),
            RoleType::Custom => self.permissions.iter().filter_map(|name| right(name)).collect(),
            RoleType::Learner | RoleType::Supervisor => return None,
        };
        Some(Grant {
            kinds: Some(kinds.to_vec()),
            rights,
            scope: Scope::Departments(held.department_ids.clone()),
        })
    }
}

fn right(permission: &str) -> Option<Right> {
    match permission {
        "enrollment.view" => Some(Right::Read),
        "enrollment.create" => Some(Right::Create),
        "enrollment.edit" => Some(Right::Edit),
        "enrollment.delete" => Some(Right::Delete),
        _ => None,
    }
}

impl Record for Role {
    const KIND: Kind = Kind::Role;
    const TABLE: Table = Table {
        name: "role",
        key: KeyType::Text,
        texts: &[Text::name("title"), Text::prose("description"), Text::name("permissions").each()],
        data: data! {
            Free: title, description;
            Plain: type, permissions;
        },
        ..Table::EMPTY
    };
    type Edit = RoleEdit;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_role_gives_what_its_type_and_permissions_say() {
        let held = RoleGrant { role_id: "r".to_owned(), department_ids: vec!["d1".to_owned()] };
        let given = |role_type: &str, permissions: &[&str]| {
            let role = json!({"type": role_type, "permissions": permissions});
            let role: Role = serde_json::from_value(role).unwrap();
            role.grant(&held).map(|grant| (grant.rights, grant.scope))
        };
        let departments = Scope::Departments(vec!["d1".to_owned()]);
        let all = Right::ALL.to_vec();
        assert_eq!(given("owner", &[]), Some((all.clone(), Scope::Account)));
        assert_eq!(given("administrator", &[]), Some((all.clone(), Scope::Account)));
        assert_eq!(
            given("department_administrator", &[]),
            Some((all.clone(), departments.clone()))
        );
        assert_eq!(given("publisher", &[]), Some((all, departments.clone())));
        assert_eq!(
            given("custom", &["enrollment.edit", "user.edit"]),
            Some((vec![Right::Edit], departments.clone()))
        );
        assert_eq!(given("custom", &[]), Some((vec![], departments)));
        for none in ["learner", "supervisor"] {
            assert_eq!(given(none, &["enrollment.edit"]), None, "{none}");
        }
    }

    #[test]
    fn a_role_of_an_unknown_type_is_unreadable() {
        for unknown in [json!(""), json!("Owner"), json!("studio_author"), json!(null)] {
            assert!(serde_json::from_value::<Role>(json!({"type": unknown})).is_err(), "{unknown}");
        }
    }
}
