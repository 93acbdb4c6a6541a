//! `Authorization: Bearer KEY`. A key's rights are named: `*` for everything, `read:*`, or
//! `edit:achievement` and the like.

use crate::dialect::{Call, Dialect, Refusal, credential};
use crate::domain::access::{Grant, Right, Scope};
use crate::domain::actor::Actor;
use crate::domain::error::Error;
use crate::domain::kind::Kind;

/// Finds out who calls.
pub async fn authenticate(call: &Call) -> Result<Actor, Error> {
    let credential = credential::borne(Dialect::Native, call).await?;
    let grants = credential.record.policies.iter().filter_map(|name| grant(name)).collect();
    Ok(credential::actor(&credential, grants))
}

/// The account that calls.
pub async fn caller(call: &Call) -> Result<i64, Refusal> {
    Ok(authenticate(call).await?.account_id)
}

/// The grant that a named right gives; none when the name means nothing.
pub fn grant(name: &str) -> Option<Grant> {
    if name == "*" {
        return Some(Grant::everything());
    }
    let (right, kind) = name.split_once(':')?;
    let rights = match right {
        "*" => Right::ALL.to_vec(),
        right => vec![Right::parse(right)?],
    };
    let kinds = match kind {
        "*" => None,
        kind => Some(vec![Kind::parse(kind)?]),
    };
    Some(Grant { kinds, rights, scope: Scope::Account })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_right_gives_just_that() {
        assert_eq!(
            grant("edit:achievement"),
            Some(Grant::account(&[Kind::Achievement], &[Right::Edit]))
        );
        assert_eq!(grant("*"), Some(Grant::everything()));
        assert_eq!(grant("read:*").and_then(|grant| grant.kinds), None);
        for nonsense in ["", "read", "read:", "read:nothing", "write:achievement", "**"] {
            assert_eq!(grant(nonsense), None, "{nonsense:?}");
        }
    }
}
