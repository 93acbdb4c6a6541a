//! An edge between two CRM records, with what the customer notes on it. Source of its edit: SOLAPI,
//! "관계 수정".

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::crm_record::CrmRecord;
use super::id::{self, IdClass};
use super::relationship_type::RelationshipType;
use crate::domain::command::Context;
use crate::domain::error::{FieldError, FieldErrors};
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::patch::edit;
use crate::domain::record::{Changed, Key, Meta, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Text, Unique, data};

/// The size of metadata at the most: bytes of its JSON without blanks.
pub const METADATA_BYTES_MAX: usize = 64 * 1024;
/// How deep objects and arrays may nest, the metadata object itself being the first level.
pub const METADATA_LEVELS_MAX: usize = 32;

/// A directed edge between two CRM records. There is no implicit edge back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Relationship {
    /// What kind of edge it is.
    pub relationship_type_id: String,
    /// The entity of the source record.
    pub source_entity_id: String,
    /// Where it begins.
    pub source_record_id: String,
    /// The entity of the target record.
    pub target_entity_id: String,
    /// Where it ends.
    pub target_record_id: String,
    /// What the customer notes on it.
    pub metadata: Metadata,
}

/// What a customer notes on an edge: an object of at most [`METADATA_BYTES_MAX`] and
/// [`METADATA_LEVELS_MAX`]. It is measured where it is made, by whoever asks for an edit, so that the
/// one writer, through which all edits go, need not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(Map<String, Value>);

impl TryFrom<Map<String, Value>> for Metadata {
    type Error = FieldError;

    fn try_from(fields: Map<String, Value>) -> Result<Self, FieldError> {
        let levels = 1 + fields.values().map(levels).max().unwrap_or(0);
        if levels > METADATA_LEVELS_MAX {
            let detail = format!("metadata is nested deeper than {METADATA_LEVELS_MAX} levels");
            return Err(FieldError::new("metadata", "too_deep", detail));
        }
        let bytes = serde_json::to_vec(&fields).map_or(usize::MAX, |json| json.len());
        if bytes > METADATA_BYTES_MAX {
            let detail = format!("metadata is larger than {METADATA_BYTES_MAX} bytes of JSON");
            return Err(FieldError::new("metadata", "too_large", detail));
        }
        Ok(Self(fields))
    }
}

edit! {
    /// An edit of a relationship. Type and ends are fixed.
    RelationshipEdit for Relationship {
        /// Replaced as a whole.
        metadata: Metadata => or(Metadata::default()),
    }
}

fn levels(value: &Value) -> usize {
    let inner = match value {
        Value::Object(fields) => fields.values().map(levels).max(),
        Value::Array(items) => items.iter().map(levels).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or(0)
}

impl Relationship {
    fn swap_ends(&mut self) {
        std::mem::swap(&mut self.source_entity_id, &mut self.target_entity_id);
        std::mem::swap(&mut self.source_record_id, &mut self.target_record_id);
    }

    fn check_ends(&self, meta: &Meta, facts: &Facts) -> Known<Vec<FieldError>> {
        let account_id = meta.account_id;
        let mut errors = Vec::new();
        let edge =
            facts.get::<RelationshipType>(account_id, self.relationship_type_id.as_str())?.record;
        if (&edge.source_entity_id, &edge.target_entity_id)
            != (&self.source_entity_id, &self.target_entity_id)
        {
            let detail = "the relationship type does not join these entities";
            errors.push(FieldError::new("source_entity_id", "wrong_entities", detail));
        }
        let source = facts.get::<CrmRecord>(account_id, self.source_record_id.as_str())?.record;
        if source.entity_id != self.source_entity_id {
            let detail = "the source record is of another entity";
            errors.push(FieldError::new("source_record_id", "wrong_entity", detail));
        }
        let target = facts.get::<CrmRecord>(account_id, self.target_record_id.as_str())?.record;
        if target.entity_id != self.target_entity_id {
            let detail = "the target record is of another entity";
            errors.push(FieldError::new("target_record_id", "wrong_entity", detail));
        }
        if self.source_record_id == self.target_record_id {
            let detail = "a record cannot be related to itself";
            errors.push(FieldError::new("target_record_id", "self_link", detail));
        }
        Ok(errors)
    }
}

impl Record for Relationship {
    const KIND: Kind = Kind::Relationship;
    const TABLE: Table = Table {
        name: "relationship",
        key: KeyType::Text,
        columns: &[
            Column::names("relationship_type_id", Kind::RelationshipType, Gone::Refuses),
            Column::names("source_entity_id", Kind::Entity, Gone::Refuses),
            Column::names("source_record_id", Kind::CrmRecord, Gone::Refuses),
            Column::names("target_entity_id", Kind::Entity, Gone::Refuses),
            Column::names("target_record_id", Kind::CrmRecord, Gone::Refuses),
        ],
        unique: &[Unique::live(
            &["relationship_type_id", "source_record_id", "target_record_id"],
            "target_record_id",
        )],
        texts: &[Text::json("metadata")],
        data: data! {
            Free: metadata;
            Plain: relationship_type_id, source_entity_id, source_record_id, target_entity_id,
                target_record_id;
        },
        ..Table::EMPTY
    };
    type Edit = RelationshipEdit;

    /// A new edge that is given against its type's direction is turned around.
    fn settle(
        &mut self,
        before: Option<&Self>,
        context: &mut Context<'_>,
        facts: &mut Facts,
    ) -> Known<()> {
        if before.is_none() {
            let type_id = self.relationship_type_id.as_str();
            let edge = facts.get::<RelationshipType>(context.actor.account_id, type_id)?.record;
            if self.source_entity_id != edge.source_entity_id
                && self.source_entity_id == edge.target_entity_id
                && self.target_entity_id == edge.source_entity_id
            {
                self.swap_ends();
            }
        }
        Ok(())
    }

    fn validate(&self, meta: &Meta, changed: &Changed, facts: &mut Facts) -> Known<FieldErrors> {
        if changed.any(&[
            "relationship_type_id",
            "source_entity_id",
            "source_record_id",
            "target_entity_id",
            "target_record_id",
        ]) {
            return self.check_ends(meta, facts);
        }
        Ok(Vec::new())
    }

    fn broken(&self, meta: &Meta, facts: &mut Facts) -> Known<FieldErrors> {
        self.check_ends(meta, facts)
    }

    fn new_key(context: &mut Context<'_>, _: &mut Facts) -> Known<Key> {
        Ok(id::new_key(IdClass::Relationship, context))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::patch::Patch;

    fn check(metadata: &Value) -> Option<&'static str> {
        Metadata::try_from(metadata.as_object().unwrap().clone()).err().map(|error| error.code)
    }

    /// Metadata whose objects (or arrays) nest `levels` deep.
    fn nested(levels: usize, wrap: fn(Value) -> Value) -> Value {
        let mut value = json!(1);
        for _ in 1..levels {
            value = wrap(value);
        }
        json!({ "k": value })
    }

    #[test]
    fn metadata_may_be_32_levels_deep_and_no_deeper() {
        for wrap in [|inner| json!({ "k": inner }), |inner| json!([inner])] {
            assert_eq!(check(&nested(32, wrap)), None);
            assert_eq!(check(&nested(33, wrap)), Some("too_deep"));
        }
        assert_eq!(check(&json!({})), None);
    }

    #[test]
    fn metadata_may_be_64_kib_of_json_and_no_larger() {
        let sized = |bytes: usize| json!({ "k": "a".repeat(bytes - r#"{"k":""}"#.len()) });
        assert_eq!(check(&sized(64 * 1024)), None);
        assert_eq!(check(&sized(64 * 1024 + 1)), Some("too_large"));
    }

    #[test]
    fn an_edit_replaces_metadata_whole_and_nothing_else() {
        let map = |value: Value| Metadata::try_from(value.as_object().unwrap().clone()).unwrap();
        let before = Relationship {
            source_record_id: "CRMRC1".to_owned(),
            metadata: map(json!({"role": "primary", "isPrimary": true})),
            ..Relationship::default()
        };
        for (patch, metadata) in [
            (Patch::Value(map(json!({"role": "x"}))), json!({"role": "x"})),
            (Patch::Absent, json!({"role": "primary", "isPrimary": true})),
            (Patch::Null, json!({})),
        ] {
            let mut after = before.clone();
            after.apply(&RelationshipEdit { metadata: patch });
            assert_eq!(after, Relationship { metadata: map(metadata), ..before.clone() });
        }
    }
}
