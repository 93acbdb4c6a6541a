//! iSpring's part of the demo account: a department tree, learners with enrollments, and one caller
//! for each kind of role.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{ACCOUNT, Loader, OTHER_ACCOUNT};
use crate::dialect::Dialect;
use crate::domain::error::Error;
use crate::domain::facts::Token;
use crate::domain::learning::course::Course;
use crate::domain::learning::enrollment::{DueDateType, Enrollment};
use crate::domain::people::credential::Credential;
use crate::domain::people::department::Department;
use crate::domain::people::person::{Person, RoleGrant};
use crate::domain::people::role::{Role, RoleType};
use crate::domain::time::Instant;
use crate::vault::hash_token;

const D0: &str = "5f0c2b9e-0000-4000-8000-0000000000d0";
const D1: &str = "5f0c2b9e-0000-4000-8000-0000000000d1";
const D2: &str = "5f0c2b9e-0000-4000-8000-0000000000d2";
const D3: &str = "5f0c2b9e-0000-4000-8000-0000000000d3";
const DX: &str = "5f0c2b9e-0000-4000-8000-0000000000d9";
const L1: &str = "5f0c2b9e-0000-4000-8000-0000000000a1";
const L2: &str = "5f0c2b9e-0000-4000-8000-0000000000a2";
const L3: &str = "5f0c2b9e-0000-4000-8000-0000000000a3";
const LX: &str = "5f0c2b9e-0000-4000-8000-0000000000a9";
const C1: &str = "5f0c2b9e-0000-4000-8000-0000000000c1";
const C2: &str = "5f0c2b9e-0000-4000-8000-0000000000c2";
const CX: &str = "5f0c2b9e-0000-4000-8000-0000000000c9";
/// The id of the vendor's sample.
const E1: &str = "d48bd4fa-5b70-11e9-b12b-22e9fbac4a59";
const E2: &str = "5f0c2b9e-0000-4000-8000-0000000000e2";
const E3: &str = "5f0c2b9e-0000-4000-8000-0000000000e3";
const E4: &str = "5f0c2b9e-0000-4000-8000-0000000000e4";
const EX: &str = "5f0c2b9e-0000-4000-8000-0000000000e9";

/// Every caller's password, `demo-ispring-password`, as hashed by [`crate::vault::hash_password`]:
/// hashing takes longer than all the rest.
const PASSWORD_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1\
    $ZGVtby1FWEFNUExFc2FsdA$38sODj8C/6SJJ4edamtLAqo/H4iiRne5BqqRC2bFxhc";

/// Roles: id, type, title, permissions of a custom one.
const ROLES: &[(&str, RoleType, &str, &[&str])] = &[
    (OWNER, RoleType::Owner, "owner", &[]),
    (ADMINISTRATOR, RoleType::Administrator, "administrator", &[]),
    (DEPARTMENT_ADMINISTRATOR, RoleType::DepartmentAdministrator, "department administrator", &[]),
    (PUBLISHER, RoleType::Publisher, "publisher", &[]),
    (EDITOR, RoleType::Custom, "custom", &["enrollment.view", "enrollment.edit"]),
    (VIEWER, RoleType::Custom, "custom", &["enrollment.view"]),
    (LEARNER, RoleType::Learner, "learner", &[]),
    (SUPERVISOR, RoleType::Supervisor, "supervisor", &[]),
];
const OWNER: &str = "5f0c2b9e-0000-4000-8000-0000000000b1";
const ADMINISTRATOR: &str = "5f0c2b9e-0000-4000-8000-0000000000b2";
const DEPARTMENT_ADMINISTRATOR: &str = "5f0c2b9e-0000-4000-8000-0000000000b3";
const PUBLISHER: &str = "5f0c2b9e-0000-4000-8000-0000000000b4";
const EDITOR: &str = "5f0c2b9e-0000-4000-8000-0000000000b5";
const VIEWER: &str = "5f0c2b9e-0000-4000-8000-0000000000b6";
const LEARNER: &str = "5f0c2b9e-0000-4000-8000-0000000000b7";
const SUPERVISOR: &str = "5f0c2b9e-0000-4000-8000-0000000000b8";
const OTHER_OWNER: &str = "5f0c2b9e-0000-4000-8000-0000000000b9";

/// Somebody with an API key: name, what it holds where.
struct DemoCaller {
    name: &'static str,
    roles: &'static [(&'static str, &'static [&'static str])],
}

/// The callers of the demo account. The first is person 311 with credential 41, and so on.
const CALLERS: &[DemoCaller] = &[
    DemoCaller { name: "OWN", roles: &[(OWNER, &[D0])] },
    DemoCaller { name: "ADM", roles: &[(LEARNER, &[]), (ADMINISTRATOR, &[D0])] },
    DemoCaller { name: "DA1", roles: &[(DEPARTMENT_ADMINISTRATOR, &[D1])] },
    DemoCaller { name: "DA2", roles: &[(DEPARTMENT_ADMINISTRATOR, &[D2])] },
    DemoCaller { name: "PUB2", roles: &[(PUBLISHER, &[D2])] },
    DemoCaller { name: "CE1", roles: &[(EDITOR, &[D1])] },
    DemoCaller { name: "CV1", roles: &[(VIEWER, &[D1])] },
    DemoCaller { name: "MIX", roles: &[(EDITOR, &[D2]), (VIEWER, &[D3])] },
    DemoCaller { name: "DA0", roles: &[(DEPARTMENT_ADMINISTRATOR, &[])] },
    DemoCaller { name: "LRN", roles: &[(LEARNER, &[]), (SUPERVISOR, &[D0])] },
];
const FIRST_CALLER: i64 = 311;
const FIRST_CREDENTIAL: i64 = 41;
/// The owner of the other account.
const OTHER: DemoCaller = DemoCaller { name: "OTHER", roles: &[(OTHER_OWNER, &[])] };
const OTHER_CALLER: i64 = 341;
const OTHER_CREDENTIAL: i64 = 60;

impl DemoCaller {
    fn token(&self) -> String {
        format!("demo-ispring-{}-token", self.name)
    }

    fn client_id(credential_id: i64) -> String {
        format!("5f0c2b9e-0000-4000-8000-0000000001{credential_id}")
    }

    fn client_secret(&self) -> String {
        format!("demo-ispring-{}-secret", self.name)
    }

    async fn load(
        &self,
        loader: &Loader<'_>,
        account_id: i64,
        person_id: i64,
        credential_id: i64,
        department_id: &str,
    ) -> Result<(), Error> {
        let login = self.name.to_lowercase();
        let person = Person {
            name: self.name.to_owned(),
            email: Some(format!("{login}@demo.example")),
            login: Some(login),
            password_hash: Some(PASSWORD_HASH.to_owned()),
            learner_id: Some(format!("5f0c2b9e-0000-4000-8000-000000000{person_id}")),
            department_id: Some(department_id.to_owned()),
            roles: self
                .roles
                .iter()
                .map(|(role_id, departments)| RoleGrant {
                    role_id: (*role_id).to_owned(),
                    department_ids: departments.iter().map(ToString::to_string).collect(),
                })
                .collect(),
            ..Person::default()
        };
        loader.create(account_id, person_id, person).await?;
        let mut credential = Credential::new(Dialect::Ispring, self.name);
        credential.public_id = Some(Self::client_id(credential_id));
        credential.person_id = Some(person_id);
        loader.bearer(account_id, credential_id, credential, &self.client_secret()).await?;
        // One that never ends in practice, so that a pasted command keeps working.
        let hash = hex::encode(hash_token(&self.token()));
        if loader.app.store.read(|facts| facts.token(&hash)).await?.is_none() {
            let expires_at = "9999-01-01T00:00:00Z".parse::<Timestamp>().unwrap_or_default();
            let token = Token { hash, credential_id, expires_at };
            loader.app.pipeline.keep_token(account_id, token).await?;
        }
        Ok(())
    }
}

pub(super) async fn load(loader: &Loader<'_>) -> Result<(), Error> {
    load_organisation(loader).await?;
    for ((caller, person_id), credential_id) in
        CALLERS.iter().zip(FIRST_CALLER..).zip(FIRST_CREDENTIAL..)
    {
        caller.load(loader, ACCOUNT, person_id, credential_id, D0).await?;
    }
    OTHER.load(loader, OTHER_ACCOUNT, OTHER_CALLER, OTHER_CREDENTIAL, DX).await?;
    load_enrollments(loader).await
}

async fn load_organisation(loader: &Loader<'_>) -> Result<(), Error> {
    for (account_id, id, name, parent_id) in [
        (ACCOUNT, D0, "Headquarters", None),
        (ACCOUNT, D1, "Sales", Some(D0)),
        (ACCOUNT, D2, "Sales EU", Some(D1)),
        (ACCOUNT, D3, "HR", Some(D0)),
        (OTHER_ACCOUNT, DX, "Headquarters", None),
    ] {
        let department = Department {
            name: name.to_owned(),
            code: None,
            parent_id: parent_id.map(str::to_owned),
        };
        loader.create(account_id, id, department).await?;
    }
    let other = (OTHER_ACCOUNT, &(OTHER_OWNER, RoleType::Owner, "owner", &[][..]));
    for (account_id, (id, role_type, title, permissions)) in
        ROLES.iter().map(|role| (ACCOUNT, role)).chain([other])
    {
        let role = Role {
            role_type: *role_type,
            title: (*title).to_owned(),
            description: String::new(),
            permissions: permissions.iter().map(ToString::to_string).collect(),
        };
        loader.create(account_id, *id, role).await?;
    }
    Ok(())
}

async fn load_enrollments(loader: &Loader<'_>) -> Result<(), Error> {
    for (account_id, id, name, learner_id, department_id) in [
        (ACCOUNT, 301, "Learner One", L1, D1),
        (ACCOUNT, 302, "Learner Two", L2, D2),
        (ACCOUNT, 303, "Learner Three", L3, D3),
        (OTHER_ACCOUNT, 304, "Learner Four", LX, DX),
    ] {
        let person = Person {
            name: name.to_owned(),
            learner_id: Some(learner_id.to_owned()),
            department_id: Some(department_id.to_owned()),
            ..Person::default()
        };
        loader.create(account_id, id, person).await?;
    }
    for (account_id, id, content_item_id, default_due_period_h) in
        [(ACCOUNT, 301, C1, Some(48)), (ACCOUNT, 302, C2, None), (OTHER_ACCOUNT, 303, CX, None)]
    {
        let course = Course {
            title: format!("Course {id}"),
            content_item_id: Some(content_item_id.to_owned()),
            default_due_type: default_due_period_h.map(|_| DueDateType::DuePeriod),
            default_due_period_h,
            default_lock_after_due: default_due_period_h.is_some(),
            ..Course::default()
        };
        loader.create(account_id, id, course).await?;
    }
    for (account_id, id, course_id, person_id) in [
        (ACCOUNT, E1, 301, 301),
        (ACCOUNT, E2, 301, 302),
        (ACCOUNT, E3, 301, 303),
        (ACCOUNT, E4, 302, 301),
        (OTHER_ACCOUNT, EX, 303, 304),
    ] {
        let enrollment = Enrollment {
            course_id,
            person_id,
            access_date: instant("2026-01-10T00:00:00Z"),
            due_date_type: DueDateType::DueDate,
            due_date: Some(instant("2026-02-01T10:30:00Z")),
            lock_after_due_date: true,
            ..Enrollment::default()
        };
        loader.create(account_id, id, enrollment).await?;
    }
    Ok(())
}

fn instant(text: &str) -> Instant {
    text.parse().unwrap_or_default()
}

pub(super) fn summary(_base_url: &str) -> Value {
    let (mut tokens, mut api_keys, mut accounts) = (Map::new(), Map::new(), Map::new());
    let other = (&OTHER, OTHER_CREDENTIAL);
    for (caller, credential_id) in CALLERS.iter().zip(FIRST_CREDENTIAL..).chain([other]) {
        tokens.insert(caller.name.to_owned(), caller.token().into());
        let key = json!({
            "client_id": DemoCaller::client_id(credential_id),
            "client_secret": caller.client_secret(),
        });
        api_keys.insert(caller.name.to_owned(), key);
        accounts.insert(caller.name.to_owned(), caller.name.to_lowercase().into());
    }
    json!({
        "tokens": tokens,
        "api_keys": api_keys,
        "logins": accounts,
        "password": "demo-ispring-password",
        "ids": {
            "E1": E1, "E2": E2, "E3": E3, "E4": E4, "EX": EX,
            "D0": D0, "D1": D1, "D2": D2, "D3": D3,
            "L1": L1, "L2": L2, "L3": L3,
            "C1": C1, "C2": C2,
        },
    })
}

pub(super) fn command(base_url: &str) -> String {
    let token = CALLERS.first().map(DemoCaller::token).unwrap_or_default();
    format!(
        r#"curl -X POST '{base_url}/enrollment/{E1}' \
  -H 'Authorization: {token}' -H 'Content-Type: application/xml' --data-binary @- <<'XML'
<?xml version="1.0" encoding="UTF-8"?>
<request>
	<accessDate>2019-09-26</accessDate>
	<dueDateType>unlimited</dueDateType>
	<dueDate>2019-09-26 10:30:00</dueDate>
	<duePeriod>0</duePeriod>
	<lockAfterDueDate>true</lockAfterDueDate>
</request>
XML"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_passwords() {
        assert!(matches!(
            crate::vault::is_password("demo-ispring-password", PASSWORD_HASH),
            Ok(true)
        ));
    }
}
