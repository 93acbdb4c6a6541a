//! An AI model in an account's catalogue, which classes may allow.

use serde::{Deserialize, Serialize};

use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::record::{KeyType, Record, Table};

/// A model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Model {
    /// Who runs it.
    pub provider: String,
    /// The provider's name for it.
    pub model_name: String,
    /// `chat`, `embedding`, `stt`, `image`, `tts` or `rerank`.
    pub modality: String,
    /// May still be chosen.
    pub is_active: bool,
}

/// An edit of a model.
#[derive(Clone, Debug, Default)]
pub struct ModelEdit {
    /// See [`Model::is_active`].
    pub is_active: Patch<bool>,
}

impl Record for Model {
    const KIND: Kind = Kind::Model;
    const TABLE: Table = Table { name: "model", key: KeyType::Int, columns: &[], secrets: &[] };
    type Edit = ModelEdit;

    fn apply(&mut self, edit: &ModelEdit) {
        let ModelEdit { is_active } = edit;
        is_active.apply_required(&mut self.is_active);
    }
}
