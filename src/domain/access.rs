//! Who may do what, where. One model for all dialects: a caller holds grants, a grant names rights
//! on kinds within a scope, and a record says where it is.

use super::actor::Actor;
use super::kind::Kind;
use super::names::names;

names! {
    /// An action on a record.
    pub enum Right {
        /// See it.
        Read = "read",
        /// Make one.
        Create = "create",
        /// Change it.
        Edit = "edit",
        /// Remove it.
        Delete = "delete",
    }
}

/// The part of an account that a grant reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    Account,
    /// What one partner owns, and what its account shares with all partners. The rest does not
    /// exist for the caller.
    Partner(i64),
    /// Departments and all that are nested in them. The rest is visible but refused.
    Departments(Vec<String>),
}

/// Where a record is, as far as scopes care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere in particular: the whole account shares it.
    Account,
    /// Owned by one partner.
    Partner(i64),
    /// In a department; the path names it and every department above it.
    Department(Vec<String>),
}

/// Rights on some kinds within a scope. Rights of one grant never combine with the scope of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The kinds it is about; `None` for every kind.
    pub kinds: Option<Vec<Kind>>,
    /// What it allows.
    pub rights: Vec<Right>,
    /// Where.
    pub scope: Scope,
}

impl Grant {
    /// Everything in the account.
    pub fn everything() -> Self {
        Self { kinds: None, rights: Right::ALL.to_vec(), scope: Scope::Account }
    }

    /// `rights` on `kinds` in the whole account.
    pub fn account(kinds: &[Kind], rights: &[Right]) -> Self {
        Self { kinds: Some(kinds.to_vec()), rights: rights.to_vec(), scope: Scope::Account }
    }

    fn gives(&self, right: Right, kind: Kind) -> bool {
        self.rights.contains(&right)
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
    }
}

/// What the rules say of one action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allowed,
    /// The caller may know of the record, and may not do this.
    Denied,
    /// For this caller there is no such record.
    Invisible,
}

/// Decides whether `actor` may do `right` to a `kind` record at `place`.
pub fn check(actor: &Actor, right: Right, kind: Kind, place: &Place) -> Verdict {
    let mut verdict = Verdict::Denied;
    for grant in actor.grants.iter().filter(|grant| grant.gives(right, kind)) {
        match (&grant.scope, place) {
            (Scope::Account, _) | (Scope::Partner(_), Place::Account) => return Verdict::Allowed,
            (Scope::Partner(mine), Place::Partner(owner)) if mine == owner => {
                return Verdict::Allowed;
            }
            (Scope::Departments(mine), Place::Department(path))
                if path.iter().any(|department| mine.contains(department)) =>
            {
                return Verdict::Allowed;
            }
            (Scope::Partner(_), Place::Partner(_) | Place::Department(_)) => {
                verdict = Verdict::Invisible;
            }
            (Scope::Departments(_), _) => {}
        }
    }
    verdict
}

/// True when some grant gives `right` on `kind` somewhere, whatever its scope.
pub fn has_anywhere(actor: &Actor, right: Right, kind: Kind) -> bool {
    actor.grants.iter().any(|grant| grant.gives(right, kind))
}

/// True when some grant gives `right` on `kind` in the whole account.
pub fn has_everywhere(actor: &Actor, right: Right, kind: Kind) -> bool {
    let mut grants = actor.grants.iter().filter(|grant| grant.gives(right, kind));
    grants.any(|grant| grant.scope == Scope::Account)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::actor::Dialect;

    fn actor(grants: Vec<Grant>) -> Actor {
        Actor { account_id: 1, credential_id: 1, person_id: None, dialect: Dialect::Native, grants }
    }

    fn departments(rights: &[Right], ids: &[&str]) -> Grant {
        Grant {
            kinds: Some(vec![Kind::Enrollment]),
            rights: rights.to_vec(),
            scope: Scope::Departments(ids.iter().map(ToString::to_string).collect()),
        }
    }

    fn path(ids: &[&str]) -> Place {
        Place::Department(ids.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_department_reaches_what_is_nested_in_it_and_not_its_parent() {
        let who = actor(vec![departments(&[Right::Edit], &["d1"])]);
        let check = |place| check(&who, Right::Edit, Kind::Enrollment, &place);
        assert_eq!(check(path(&["d2", "d1", "d0"])), Verdict::Allowed);
        assert_eq!(check(path(&["d1", "d0"])), Verdict::Allowed);
        assert_eq!(check(path(&["d0"])), Verdict::Denied);
    }

    #[test]
    fn the_right_of_one_grant_never_meets_the_scope_of_another() {
        let who = actor(vec![
            departments(&[Right::Read, Right::Edit], &["d2"]),
            departments(&[Right::Read], &["d3"]),
        ]);
        let edit = |place| check(&who, Right::Edit, Kind::Enrollment, &place);
        assert_eq!(edit(path(&["d2"])), Verdict::Allowed);
        assert_eq!(edit(path(&["d3"])), Verdict::Denied);
    }

    #[test]
    fn another_partners_record_does_not_exist() {
        let who = actor(vec![Grant {
            kinds: Some(vec![Kind::Class]),
            rights: Right::ALL.to_vec(),
            scope: Scope::Partner(7),
        }]);
        let check = |place| check(&who, Right::Edit, Kind::Class, &place);
        assert_eq!(check(Place::Partner(7)), Verdict::Allowed);
        assert_eq!(check(Place::Partner(8)), Verdict::Invisible);
    }

    #[test]
    fn no_grant_is_denied() {
        let who = actor(vec![]);
        assert_eq!(check(&who, Right::Read, Kind::Class, &Place::Account), Verdict::Denied);
        assert!(!has_anywhere(&who, Right::Read, Kind::Class));
    }

    #[test]
    fn a_right_within_a_scope_is_not_one_on_the_whole_account() {
        let scoped = |scope| {
            let kinds = Some(vec![Kind::Class]);
            has_everywhere(
                &actor(vec![Grant { kinds, rights: vec![Right::Read], scope }]),
                Right::Read,
                Kind::Class,
            )
        };
        assert!(scoped(Scope::Account));
        assert!(!scoped(Scope::Partner(7)));
        assert!(!scoped(Scope::Departments(vec!["d1".to_owned()])));
        let who = actor(vec![Grant::account(&[Kind::Class], &[Right::Edit])]);
        assert!(!has_everywhere(&who, Right::Read, Kind::Class));
    }
}
