//! How a certificate or badge looks.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::record::{ColumnType, KeyType, Record, Table};

/// A design. `layout_json` is opaque: stored and returned unchanged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Design {
    /// `certificate` or `badge`.
    pub design_type: String,
    /// What people call it.
    pub name: String,
    /// Hex or CSS colour.
    pub main_color: Option<String>,
    /// Hex or CSS colour.
    pub sub_color: Option<String>,
    /// Hex or CSS colour.
    pub extra_color_1: Option<String>,
    /// Hex or CSS colour.
    pub extra_color_2: Option<String>,
    /// The layers, for the client that renders them.
    pub layout_json: Value,
    /// The renderer's template, an open set.
    pub template_type: String,
}

/// An edit of a design.
#[derive(Clone, Debug, Default)]
pub struct DesignEdit {
    /// See [`Design::name`].
    pub name: Patch<String>,
    /// See [`Design::layout_json`].
    pub layout_json: Patch<Value>,
}

impl Record for Design {
    const KIND: Kind = Kind::Design;
    const TABLE: Table = Table {
        name: "design",
        key: KeyType::Int,
        columns: &[("design_type", ColumnType::Text)],
        secrets: &[],
    };
    type Edit = DesignEdit;

    fn apply(&mut self, edit: &DesignEdit) {
        let DesignEdit { name, layout_json } = edit;
        name.apply_required(&mut self.name);
        layout_json.apply_required(&mut self.layout_json);
    }
}
