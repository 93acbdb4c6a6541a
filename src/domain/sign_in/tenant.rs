//! The sign-in realm of an account (Ncloud's tenant); at most one per account.

use serde::{Deserialize, Serialize};

use crate::domain::actor::Actor;
use crate::domain::command::{self, Command, Context, Create, Decision};
use crate::domain::error::{Error, FieldError, FieldErrors};
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::names::names;
use crate::domain::patch::edit;
use crate::domain::people::account::Account;
use crate::domain::record::{Changed, Meta, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Text, Unique, data};

/// An alias's length, characters.
const ALIAS_LENGTH: std::ops::RangeInclusive<usize> = 2..=100;

names! {
    /// Whether the main account may sign in.
    #[derive(Default)]
    pub enum MainAccountRule {
        /// Each application says so for itself.
        #[default]
        Unused = "UNUSED",
        /// It may, whatever an application says.
        Allow = "ALLOW",
        /// It may not, whatever an application says.
        Deny = "DENY",
    }
}

/// A tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tenant {
    /// The account that owns it; the database keeps it unique.
    pub owner_id: i64,
    /// Its name in URLs, unique over all accounts, case-sensitive.
    pub alias: String,
    /// See [`MainAccountRule`].
    pub mbr_login_allow: MainAccountRule,
}

edit! {
    /// An edit of a tenant.
    TenantEdit for Tenant {
        alias: String => keeps,
        mbr_login_allow: MainAccountRule => or(MainAccountRule::default()),
    }
}

/// True for 2 to 100 ASCII letters, digits, `_` and `-` that begin with a letter or a digit. A
/// tenant's id, which is its first alias, is such a text too.
fn is_alias(text: &str) -> bool {
    ALIAS_LENGTH.contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

impl Record for Tenant {
    const KIND: Kind = Kind::Tenant;
    const TABLE: Table = Table {
        name: "tenant",
        key: KeyType::Text,
        columns: &[Column::names("owner_id", Kind::Account, Gone::Refuses), Column::text("alias")],
        unique: &[Unique::ever(&["owner_id"], "owner_id"), Unique::ever(&["alias"], "alias")],
        texts: &[Text::name("alias")],
        data: data! {
            Plain: owner_id, alias, mbr_login_allow;
        },
        ..Table::EMPTY
    };
    type Edit = TenantEdit;

    fn validate(&self, _: &Meta, changed: &Changed, _: &mut Facts) -> Known<FieldErrors> {
        let mut errors = Vec::new();
        if changed.has("alias") && !is_alias(&self.alias) {
            let detail = "has 2 to 100 letters, digits, _ and -, a letter or a digit first";
            errors.push(FieldError::new("alias", "invalid", detail));
        }
        Ok(errors)
    }
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
        let owner = decision.writes.first().map(|write| write.after.meta.account_id);
        let owner_id = owner.ok_or_else(|| Error::internal("an account that is not written"))?;
        let key = Tenant::new_key(context, facts)?;
        let tenant = Tenant {
            owner_id,
            alias: self.alias.clone().unwrap_or_else(|| key.to_string()),
            mbr_login_allow: MainAccountRule::default(),
        };
        // The tenant is the new account's, not of whoever makes that.
        let actor = Actor { account_id: owner_id, ..context.actor.clone() };
        let mut within = Context { actor: &actor, entropy: &mut *context.entropy, ..*context };
        decision.writes.push(command::make_with(Some(key), tenant, &mut within, facts)?);
        Ok(decision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_can_stand_in_a_url() {
        let long = "a".repeat(100);
        for text in ["demo", "1a", "A_b-", "7b1d9f3a-0000-4000-8000-000000000001", &long] {
            assert!(is_alias(text), "{text:?}");
        }
        let longer = "a".repeat(101);
        for text in ["", "a", "-a", "_a", "a b", "a/b", "a.b", "데모", "ab\n", &longer] {
            assert!(!is_alias(text), "{text:?}");
        }
    }

    #[test]
    fn the_main_account_rule_is_one_of_three() {
        for (text, rule) in [
            ("UNUSED", MainAccountRule::Unused),
            ("ALLOW", MainAccountRule::Allow),
            ("DENY", MainAccountRule::Deny),
        ] {
            let tenant = serde_json::json!({"mbr_login_allow": text});
            let read: Tenant = serde_json::from_value(tenant).unwrap();
            assert_eq!(read.mbr_login_allow, rule);
            assert_eq!(serde_json::to_value(rule).unwrap(), text);
        }
        let other = serde_json::json!({"mbr_login_allow": "MAYBE"});
        assert!(serde_json::from_value::<Tenant>(other).is_err());
    }
}
