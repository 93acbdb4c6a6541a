//! A row of an entity. Source of its fields: SOLAPI, "레코드 조회".

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::entity::Entity;
use super::id::{self, IdClass};
use crate::domain::command::Context;
use crate::domain::error::FieldErrors;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::patch::edit;
use crate::domain::record::{Changed, Key, Meta, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Text, data};

/// A row of an entity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CrmRecord {
    /// The entity it belongs to, fixed.
    pub entity_id: String,
    /// What people call it; its id stands in where it has none.
    pub name: Option<String>,
    /// Its values by property id.
    pub data: Map<String, Value>,
    /// Free words to find it by.
    pub tags: Vec<String>,
    /// The member in charge of it.
    pub owner_id: Option<String>,
    /// The member who made it.
    pub created_by: Option<String>,
    /// The member who last changed it.
    pub updated_by: Option<String>,
}

edit! {
    /// An edit of a record.
    CrmRecordEdit for CrmRecord {
        name: String => clears,
        tags: Vec<String> => or(Vec::new()),
        owner_id: String => clears,
    }
}

impl Record for CrmRecord {
    const KIND: Kind = Kind::CrmRecord;
    const TABLE: Table = Table {
        name: "crm_record",
        key: KeyType::Text,
        columns: &[Column::names("entity_id", Kind::Entity, Gone::Refuses)],
        texts: &[
            Text::name("name").unbroken(),
            Text::json("data"),
            Text::name("tags").each(),
            Text::name("owner_id"),
            Text::name("created_by"),
            Text::name("updated_by"),
        ],
        data: data! {
            Personal: name, data;
            Free: tags;
            Plain: entity_id, owner_id, created_by, updated_by;
        },
        ..Table::EMPTY
    };
    type Edit = CrmRecordEdit;

    fn validate(&self, meta: &Meta, changed: &Changed, facts: &mut Facts) -> Known<FieldErrors> {
        if changed.has("entity_id") {
            facts.get::<Entity>(meta.account_id, self.entity_id.as_str())?;
        }
        Ok(Vec::new())
    }

    fn new_key(context: &mut Context<'_>, _: &mut Facts) -> Known<Key> {
        Ok(id::new_key(IdClass::Record, context))
    }
}
