//! A code that lets people into a class.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::access::Place;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::record::{ColumnType, KeyType, Meta, Record, Table};
use crate::domain::time::Instant;

/// An invite code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InviteCode {
    /// Whose class it opens.
    pub partner_id: i64,
    /// The class.
    pub class_id: i64,
    /// Six characters, unique over all partners.
    pub code: String,
    /// What a redeemer becomes: `student`.
    pub target_role: String,
    /// Until when it works; for ever, if absent.
    pub expires_at: Option<Instant>,
    /// How often it works; without limit, if absent.
    pub max_uses: Option<i64>,
    /// How often it has worked.
    pub used_count: i64,
    /// `active`, `expired` or `disabled`, as last set.
    pub status: String,
    /// The partner who made it.
    pub created_by: Option<i64>,
}

/// An edit of an invite code.
#[derive(Clone, Debug, Default)]
pub struct InviteCodeEdit {
    /// See [`InviteCode::status`].
    pub status: Patch<String>,
}

impl InviteCode {
    /// The status that holds at `at`: an active code past its end shows as expired.
    pub fn effective_status(&self, at: Timestamp) -> &str {
        if self.status == "active" && self.expires_at.is_some_and(|end| end < at.into()) {
            "expired"
        } else {
            &self.status
        }
    }
}

impl Record for InviteCode {
    const KIND: Kind = Kind::InviteCode;
    const TABLE: Table = Table {
        name: "invite_code",
        key: KeyType::Int,
        columns: &[
            ("partner_id", ColumnType::Reference(Kind::Partner)),
            ("class_id", ColumnType::Reference(Kind::Class)),
            ("code", ColumnType::Text),
        ],
        secrets: &[],
    };
    type Edit = InviteCodeEdit;

    fn apply(&mut self, edit: &InviteCodeEdit) {
        let InviteCodeEdit { status } = edit;
        status.apply_required(&mut self.status);
    }

    fn place(&self, _meta: &Meta, _facts: &mut Facts) -> Known<Place> {
        Ok(Place::Partner(self.partner_id))
    }
}
