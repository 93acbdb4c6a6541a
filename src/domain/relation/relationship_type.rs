//! A kind of edge between the records of two entities. Source of its fields: SOLAPI, "관계 유형 생성".

use serde::{Deserialize, Serialize};

use super::entity::Entity;
use super::id::{self, IdClass};
use crate::domain::command::Context;
use crate::domain::error::FieldErrors;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::patch::edit;
use crate::domain::record::{Changed, Key, Meta, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Text, Unique, data};

/// A kind of edge. It has no cardinality: any record may have any number of its edges.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RelationshipType {
    /// What people call it, unique among the types between the same two entities.
    pub name: String,
    /// The entity where its edges begin, fixed.
    pub source_entity_id: String,
    /// The entity where its edges end, fixed; may be the same.
    pub target_entity_id: String,
    /// A label of the source side, kept as given: the vendor's pages disagree on its meaning.
    pub source_label: Option<String>,
    /// A label of the target side, kept as given.
    pub target_label: Option<String>,
    /// What it is for.
    pub description: Option<String>,
}

edit! {
    /// An edit of a relationship type. Its entities are fixed, or its edges would lead nowhere.
    RelationshipTypeEdit for RelationshipType {
        name: String => keeps,
        source_label: String => clears,
        target_label: String => clears,
        description: String => clears,
    }
}

impl Record for RelationshipType {
    const KIND: Kind = Kind::RelationshipType;
    const TABLE: Table = Table {
        name: "relationship_type",
        key: KeyType::Text,
        columns: &[
            Column::text("name"),
            Column::names("source_entity_id", Kind::Entity, Gone::Refuses),
            Column::names("target_entity_id", Kind::Entity, Gone::Refuses),
        ],
        unique: &[Unique::live(&["name", "source_entity_id", "target_entity_id"], "name")],
        texts: &[
            Text::name("name"),
            Text::name("source_label"),
            Text::name("target_label"),
            Text::prose("description"),
        ],
        data: data! {
            Free: name, source_label, target_label, description;
            Plain: source_entity_id, target_entity_id;
        },
        ..Table::EMPTY
    };
    type Edit = RelationshipTypeEdit;

    fn validate(&self, meta: &Meta, changed: &Changed, facts: &mut Facts) -> Known<FieldErrors> {
        if changed.any(&["source_entity_id", "target_entity_id"]) {
            facts.get::<Entity>(meta.account_id, self.source_entity_id.as_str())?;
            facts.get::<Entity>(meta.account_id, self.target_entity_id.as_str())?;
        }
        Ok(Vec::new())
    }

    fn new_key(context: &mut Context<'_>, _: &mut Facts) -> Known<Key> {
        Ok(id::new_key(IdClass::RelationshipType, context))
    }
}
