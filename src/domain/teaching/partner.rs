//! An instructor (강사) of an account's organisation.

use serde::{Deserialize, Serialize};

use crate::domain::kind::Kind;
use crate::domain::patch::edit;
use crate::domain::record::Record;
use crate::domain::table::{Column, Gone, KeyType, Table, Text, Unique, data};

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

edit! {
    /// An edit of a partner.
    PartnerEdit for Partner {
        full_name: String => keeps,
        is_active: bool => keeps,
    }
}

impl Record for Partner {
    const KIND: Kind = Kind::Partner;
    const TABLE: Table = Table {
        name: "partner",
        key: KeyType::Int,
        columns: &[Column::names("person_id", Kind::Person, Gone::Refuses)],
        unique: &[Unique::ever(&["person_id"], "person_id")],
        texts: &[Text::name("full_name").unbroken(), Text::name("role")],
        data: data! {
            Personal: full_name;
            Plain: person_id, role, is_active;
        },
        ..Table::EMPTY
    };
    type Edit = PartnerEdit;
}
