//! One customer: Kolleges' club, the partner API's org, Ncloud's account, SOLAPI's account and
//! iSpring's account in one. Its id is the org id that the partner API shows.

use serde::{Deserialize, Serialize};

use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::record::{ColumnType, KeyType, Record, Table};

/// A customer, under the names that each system knows it by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// What people call it.
    pub name: String,
    /// Kolleges' club domain.
    pub club_domain: Option<String>,
    /// Kolleges' club type, e.g. `community` or `school`.
    pub club_type: Option<String>,
    /// Attributes that the club puts on its certificates.
    pub club_custom_data: Vec<CustomData>,
    /// Ncloud's account number.
    pub ncloud_account_no: Option<String>,
    /// SOLAPI's account id, 14 digits.
    pub solapi_account_id: Option<String>,
    /// iSpring's portal, without a trailing slash.
    pub portal_url: Option<String>,
    /// IANA time zone in which dates without one are read and written for iSpring; UTC if absent.
    pub time_zone: Option<String>,
}

/// An attribute that a club defines for its certificates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CustomData {
    /// Its name for people.
    pub attribute_name: String,
    /// Its tag in layouts.
    pub attribute_tag: String,
}

/// An edit of an account.
#[derive(Clone, Debug, Default)]
pub struct AccountEdit {
    /// See [`Account::name`].
    pub name: Patch<String>,
}

impl Account {
    /// The account's time zone; UTC when none is set.
    pub fn time_zone(&self) -> jiff::tz::TimeZone {
        self.time_zone
            .as_deref()
            .and_then(|name| jiff::tz::TimeZone::get(name).ok())
            .unwrap_or(jiff::tz::TimeZone::UTC)
    }
}

impl Record for Account {
    const KIND: Kind = Kind::Account;
    const TABLE: Table = Table {
        name: "account",
        key: KeyType::Int,
        columns: &[
            ("club_domain", ColumnType::Text),
            ("ncloud_account_no", ColumnType::Text),
            ("solapi_account_id", ColumnType::Text),
            ("portal_url", ColumnType::Text),
        ],
        secrets: &[],
    };
    type Edit = AccountEdit;

    fn apply(&mut self, edit: &AccountEdit) {
        let AccountEdit { name } = edit;
        name.apply_required(&mut self.name);
    }
}
