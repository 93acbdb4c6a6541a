//! The sign-in realm of an account (Ncloud's tenant); at most one per account.

use serde::{Deserialize, Serialize};

use crate::domain::change::Action;
use crate::domain::command::{Command, Context, Create, Decision, Write, to_fields};
use crate::domain::error::{Error, FieldError};
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::people::account::Account;
use crate::domain::record::{Changed, ColumnType, Document, Key, KeyType, Meta, Record, Table};

/// Characters of an alias.
const ALIAS_CHARS: std::ops::RangeInclusive<usize> = 2..=100;
/// What [`Tenant::mbr_login_allow`] may be. The first leaves it to each application.
const MBR_LOGIN_ALLOW: [&str; 3] = ["UNUSED", "ALLOW", "DENY"];

/// A tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tenant {
    /// The account that owns it; the database keeps it unique.
    pub owner_id: i64,
    /// Its name in URLs, unique over all accounts.
    pub alias: String,
    /// `UNUSED`, `ALLOW` or `DENY`: whether the main account may sign in.
    pub mbr_login_allow: String,
}

/// An edit of a tenant.
#[derive(Clone, Debug, Default)]
pub struct TenantEdit {
    /// See [`Tenant::alias`].
    pub alias: Patch<String>,
    /// See [`Tenant::mbr_login_allow`].
    pub mbr_login_allow: Patch<String>,
}

impl Record for Tenant {
    const KIND: Kind = Kind::Tenant;
    const TABLE: Table = Table {
        name: "tenant",
        key: KeyType::Text,
        columns: &[("owner_id", ColumnType::Int), ("alias", ColumnType::Text)],
        secrets: &[],
    };
    type Edit = TenantEdit;

    fn apply(&mut self, edit: &TenantEdit) {
        let TenantEdit { alias, mbr_login_allow } = edit;
        alias.apply_required(&mut self.alias);
        mbr_login_allow.apply_required(&mut self.mbr_login_allow);
    }

    fn validate(
        &self,
        _meta: &Meta,
        changed: &Changed,
        _facts: &mut Facts,
    ) -> Known<Vec<FieldError>> {
        let mut errors = Vec::new();
        if changed.has("alias") && !is_alias(&self.alias) {
            let detail = "must be 2 to 100 letters, digits, - and _, the first a letter or digit";
            errors.push(FieldError::new("alias", "not_an_alias", detail));
        }
        if changed.has("mbr_login_allow")
            && !MBR_LOGIN_ALLOW.contains(&self.mbr_login_allow.as_str())
        {
            let detail = "must be UNUSED, ALLOW or DENY";
            errors.push(FieldError::new("mbr_login_allow", "unknown_value", detail));
        }
        Ok(errors)
    }

    fn references(&self) -> Vec<(Kind, Key)> {
        vec![(Kind::Account, Key::Int(self.owner_id))]
    }

    fn new_key(context: &mut Context<'_>, _facts: &mut Facts) -> Known<Key> {
        Ok(Key::Text(context.entropy.uuid()))
    }
}

/// The vendor's `^[A-Za-z0-9]+[A-Za-z0-9_-]*$`.
fn is_alias(text: &str) -> bool {
    ALIAS_CHARS.contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Makes an account together with its tenant, without which none of its applications can be.
#[derive(Debug)]
pub struct CreateWithTenant {
    /// The account.
    pub account: Account,
    /// The tenant's alias; as with the vendor, its id unless one is chosen.
    pub alias: Option<String>,
}

impl Command for CreateWithTenant {
    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let mut decision = Create::new(self.account.clone()).decide(context, facts)?;
        let owner = decision.writes.first().map(|write| write.after.meta.clone());
        let owner = owner.ok_or_else(|| Error::internal("an account that is not written"))?;
        let key = Tenant::new_key(context, facts)?;
        let tenant = Tenant {
            owner_id: owner.account_id,
            alias: self.alias.clone().unwrap_or_else(|| key.to_string()),
            mbr_login_allow: "UNUSED".to_owned(),
        };
        let meta = Meta { kind: Kind::Tenant, key, ..owner };
        let fields = to_fields(&tenant)?;
        let errors = tenant.validate(&meta, &Changed::all(&fields), facts)?;
        if !errors.is_empty() {
            return Err(Error::Invalid(errors).into());
        }
        decision.writes.push(Write {
            action: Action::Create,
            before: None,
            after: Document::new(meta, fields),
        });
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_of_the_vendors_pattern() {
        for good in ["ab", "A0", "9_-", &"a".repeat(100)] {
            assert!(is_alias(good), "{good}");
        }
        for bad in ["", "a", "_ab", "-ab", "a b", "a.b", "가나", &"a".repeat(101)] {
            assert!(!is_alias(bad), "{bad}");
        }
    }
}
