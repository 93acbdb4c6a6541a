//! The template of an award: what certificates of a form have in common.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::command::Context;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::people::person::fold;
use crate::domain::record::{ColumnType, KeyType, Record, Table};
use crate::domain::time::Instant;

/// A form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Form {
    /// What people call it.
    pub name: String,
    /// The name, folded for search.
    pub name_key: String,
    /// What it is for.
    pub description: Option<String>,
    /// `completion`, `activity`, `license`, `career`, `award`, `recommendation`, `membership`,
    /// `degree` or `warranty`.
    #[serde(rename = "type")]
    pub form_type: String,
    /// Free words.
    pub tags: Vec<String>,
    /// First part of the certificate numbers, at most five letters.
    pub prefix: Option<String>,
    /// The programme it is given for.
    pub program_name: Option<String>,
    /// The kind of programme.
    pub program_type: Option<String>,
    /// Where the programme is described.
    pub program_url: Option<String>,
    /// When the course begins.
    pub course_begin_at: Option<Instant>,
    /// When the course ends.
    pub course_end_at: Option<Instant>,
    /// The certificate's design.
    pub certificate_design_id: Option<i64>,
    /// The badge's design.
    pub badge_design_id: Option<i64>,
    /// What holders had to do, in order.
    pub requirements: Vec<Value>,
    /// Bodies that stand behind the award.
    pub institutions: Vec<Value>,
    /// The first among them.
    pub representative_institution: Option<Value>,
}

/// An edit of a form.
#[derive(Clone, Debug, Default)]
pub struct FormEdit {
    /// See [`Form::name`].
    pub name: Patch<String>,
    /// See [`Form::prefix`].
    pub prefix: Patch<String>,
}

impl Record for Form {
    const KIND: Kind = Kind::Form;
    const TABLE: Table = Table {
        name: "form",
        key: KeyType::Int,
        columns: &[
            ("name_key", ColumnType::Text),
            ("certificate_design_id", ColumnType::Reference(Kind::Design)),
            ("badge_design_id", ColumnType::Reference(Kind::Design)),
        ],
        secrets: &[],
    };
    type Edit = FormEdit;

    fn apply(&mut self, edit: &FormEdit) {
        let FormEdit { name, prefix } = edit;
        name.apply_required(&mut self.name);
        prefix.apply(&mut self.prefix);
    }

    fn settle(
        &mut self,
        _before: Option<&Self>,
        _context: &mut Context<'_>,
        _facts: &mut Facts,
    ) -> Known<()> {
        self.name_key = fold(&self.name);
        Ok(())
    }
}
