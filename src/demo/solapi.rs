//! SOLAPI's part of the demo account: people and companies, one of each, and the edge between
//! them, and another account with the like.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{ACCOUNT, Loader, OTHER_ACCOUNT};
use crate::dialect::Dialect;
use crate::domain::error::Error;
use crate::domain::people::credential::Credential;
use crate::domain::relation::crm_record::CrmRecord;
use crate::domain::relation::entity::Entity;
use crate::domain::relation::relationship::{Metadata, Relationship};
use crate::domain::relation::relationship_type::RelationshipType;

/// One account's share.
struct Fixture {
    account_id: i64,
    credential_id: i64,
    api_key: &'static str,
    api_secret: &'static str,
    people: &'static str,
    companies: &'static str,
    person: &'static str,
    company: &'static str,
    works_at: &'static str,
    relationship: &'static str,
}

const SANDBOX: Fixture = Fixture {
    account_id: ACCOUNT,
    credential_id: 31,
    api_key: "NCSTESTKEY000001",
    api_secret: "TESTSECRET0000000000000000000001",
    people: "CRMET1260423081530123XYZ11122233",
    companies: "CRMET1260423081530124XYZ11122234",
    person: "CRMRC1260423081530123REC11122233",
    company: "CRMRC1260423081530124REC11122234",
    works_at: "CRMRT1260423091530123RTP11122233",
    relationship: "CRMRL1260423091530123REL11122233",
};

const OTHER: Fixture = Fixture {
    account_id: OTHER_ACCOUNT,
    credential_id: 32,
    api_key: "NCSTESTKEY000002",
    api_secret: "TESTSECRET0000000000000000000002",
    people: "CRMET1260423081530125XYZ11122235",
    companies: "CRMET1260423081530126XYZ11122236",
    person: "CRMRC1260423081530125REC11122235",
    company: "CRMRC1260423081530126REC11122236",
    works_at: "CRMRT1260423091530125RTP11122235",
    relationship: "CRMRL1260423091530125REL11122235",
};

pub(super) async fn load(loader: &Loader<'_>) -> Result<(), Error> {
    for fixture in [SANDBOX, OTHER] {
        load_fixture(loader, &fixture).await?;
    }
    Ok(())
}

async fn load_fixture(loader: &Loader<'_>, fixture: &Fixture) -> Result<(), Error> {
    let account_id = fixture.account_id;
    let mut credential = Credential::new(Dialect::Solapi, "a member's key");
    credential.policies = vec!["MEMBER".to_owned()];
    loader
        .signing_pair(
            account_id,
            fixture.credential_id,
            credential,
            fixture.api_key,
            fixture.api_secret,
        )
        .await?;
    // 2026-04-23, 08:15:30.123 and 09:00 UTC.
    let (made, related) = (instant(1_776_932_130_123), instant(1_776_934_800_000));
    for (id, name) in [(fixture.people, "people"), (fixture.companies, "companies")] {
        let entity = Entity {
            name: name.to_owned(),
            slug: name.to_owned(),
            record_access: "PUBLIC".to_owned(),
            ..Entity::default()
        };
        loader.create_at(account_id, id, entity, made).await?;
    }
    for (id, entity_id, name) in
        [(fixture.person, fixture.people, "Kim"), (fixture.company, fixture.companies, "Acme")]
    {
        let record = CrmRecord {
            entity_id: entity_id.to_owned(),
            name: Some(name.to_owned()),
            ..CrmRecord::default()
        };
        loader.create_at(account_id, id, record, made).await?;
    }
    let works_at = RelationshipType {
        name: "소속사".to_owned(),
        source_entity_id: fixture.people.to_owned(),
        target_entity_id: fixture.companies.to_owned(),
        ..RelationshipType::default()
    };
    loader.create_at(account_id, fixture.works_at, works_at, related).await?;
    let relationship = Relationship {
        relationship_type_id: fixture.works_at.to_owned(),
        source_entity_id: fixture.people.to_owned(),
        source_record_id: fixture.person.to_owned(),
        target_entity_id: fixture.companies.to_owned(),
        target_record_id: fixture.company.to_owned(),
        metadata: Metadata::try_from(Map::from_iter([
            ("role".to_owned(), json!("primary")),
            ("isPrimary".to_owned(), json!(true)),
        ]))
        .map_err(|error| Error::Invalid(vec![error]))?,
    };
    loader.create_at(account_id, fixture.relationship, relationship, related).await
}

fn instant(milliseconds: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(milliseconds).ok()
}

pub(super) fn summary(_base_url: &str) -> Value {
    json!({
        "api_key": SANDBOX.api_key,
        "api_secret": SANDBOX.api_secret,
        "other_api_key": OTHER.api_key,
        "other_api_secret": OTHER.api_secret,
        "relationship_id": SANDBOX.relationship,
        "other_relationship_id": OTHER.relationship,
        "ids": {
            "E1": SANDBOX.people,
            "E2": SANDBOX.companies,
            "R1": SANDBOX.person,
            "R2": SANDBOX.company,
            "T": SANDBOX.works_at,
        },
    })
}

pub(super) fn command(base_url: &str, frozen_at: Option<Timestamp>) -> String {
    let date =
        frozen_at.map_or("$(date -u +%Y-%m-%dT%H:%M:%SZ)".to_owned(), |at| format!("{at:.3}"));
    let Fixture { api_key, api_secret, relationship, .. } = SANDBOX;
    format!(
        r#"DATE={date}; SALT=$(openssl rand -hex 16)
SIGNATURE=$(printf %s "$DATE$SALT" | openssl dgst -sha256 -hmac '{api_secret}' | awk '{{print $NF}}')
curl -X PATCH '{base_url}/crm-core/v1/relationships/{relationship}' \
  -H "Authorization: HMAC-SHA256 apiKey={api_key}, date=$DATE, salt=$SALT, signature=$SIGNATURE" \
  -H 'Content-Type: application/json' \
  -d '{{"metadata":{{"role":"secondary","notes":"2차 담당"}}}}'"#
    )
}
