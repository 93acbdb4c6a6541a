//! An instructor (강사) of an account's organisation.

use serde::{Deserialize, Serialize};

use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::record::{ColumnType, KeyType, Record, Table};

/// A partner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Partner {
    /// The person who signs in as this partner.
    pub person_id: i64,
    /// Full name as shown to students.
    pub full_name: String,
    /// `partner` or `assistant`.
    pub role: String,
    /// An inactive partner may do nothing.
    pub is_active: bool,
}

/// An edit of a partner.
#[derive(Clone, Debug, Default)]
pub struct PartnerEdit {
    /// See [`Partner::full_name`].
    pub full_name: Patch<String>,
    /// See [`Partner::is_active`].
    pub is_active: Patch<bool>,
}

impl Record for Partner {
    const KIND: Kind = Kind::Partner;
    const TABLE: Table = Table {
        name: "partner",
        key: KeyType::Int,
        columns: &[("person_id", ColumnType::Reference(Kind::Person))],
        secrets: &[],
    };
    type Edit = PartnerEdit;

    fn apply(&mut self, edit: &PartnerEdit) {
        let PartnerEdit { full_name, is_active } = edit;
        full_name.apply_required(&mut self.full_name);
        is_active.apply_required(&mut self.is_active);
    }
}
