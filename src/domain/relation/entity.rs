//! A customer-defined table. Source of its fields: SOLAPI, "엔터티 조회".

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::id::{self, IdClass};
use crate::domain::command::Context;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::patch::edit;
use crate::domain::record::{Key, Record};
use crate::domain::table::{Column, KeyType, Table, Text, Unique, data};

/// A customer-defined table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entity {
    /// What people call it.
    pub name: String,
    /// Its name in addresses, unique in the account.
    pub slug: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its properties in the order in which they are shown.
    pub property_ids: Vec<String>,
    /// How its records are shown: table, board or calendar.
    pub view_settings: Map<String, Value>,
    /// What is counted over its records.
    pub insight_widgets: Vec<Value>,
    /// Who may see its records, e.g. `PUBLIC`.
    pub record_access: String,
    /// The member in charge of it.
    pub owner_id: Option<String>,
    /// Its place among the entities, lowest first.
    pub priority: i64,
    /// The member who made it.
    pub created_by: Option<String>,
    /// The member who last changed it.
    pub updated_by: Option<String>,
}

edit! {
    /// An edit of an entity.
    EntityEdit for Entity {
        name: String => keeps,
        description: String => clears,
    }
}

impl Record for Entity {
    const KIND: Kind = Kind::Entity;
    const TABLE: Table = Table {
        name: "entity",
        key: KeyType::Text,
        columns: &[Column::text("slug")],
        unique: &[Unique::live(&["slug"], "slug")],
        texts: &[
            Text::name("name"),
            Text::name("slug"),
            Text::prose("description"),
            Text::name("property_ids").each(),
            Text::json("view_settings"),
            Text::json("insight_widgets").each(),
            Text::name("record_access"),
            Text::name("owner_id"),
            Text::name("created_by"),
            Text::name("updated_by"),
        ],
        data: data! {
            Free: name, description;
            Plain: slug, property_ids, view_settings, insight_widgets, record_access, owner_id,
                priority, created_by, updated_by;
        },
        ..Table::EMPTY
    };
    type Edit = EntityEdit;

    fn new_key(context: &mut Context<'_>, _: &mut Facts) -> Known<Key> {
        Ok(id::new_key(IdClass::Entity, context))
    }
}
