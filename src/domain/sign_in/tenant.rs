//! The sign-in realm of an account (Ncloud's tenant); at most one per account.

use serde::{Deserialize, Serialize};

use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::record::{ColumnType, KeyType, Record, Table};

/// A tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tenant {
    /// The account that owns it; the database keeps it unique.
    pub owner_id: i64,
    /// Its name in URLs, unique over all accounts.
    pub alias: String,
    /// `UNUSED`, `ALLOW` or `DENY`: whether the main account may sign in.
    pub mbr_login_allow: String,
}

/// An edit of a tenant.
#[derive(Clone, Debug, Default)]
pub struct TenantEdit {
    /// See [`Tenant::alias`].
    pub alias: Patch<String>,
    /// See [`Tenant::mbr_login_allow`].
    pub mbr_login_allow: Patch<String>,
}

impl Record for Tenant {
    const KIND: Kind = Kind::Tenant;
    const TABLE: Table = Table {
        name: "tenant",
        key: KeyType::Text,
        columns: &[("owner_id", ColumnType::Reference(Kind::Account)), ("alias", ColumnType::Text)],
        secrets: &[],
    };
    type Edit = TenantEdit;

    fn apply(&mut self, edit: &TenantEdit) {
        let TenantEdit { alias, mbr_login_allow } = edit;
        alias.apply_required(&mut self.alias);
        mbr_login_allow.apply_required(&mut self.mbr_login_allow);
    }
}
