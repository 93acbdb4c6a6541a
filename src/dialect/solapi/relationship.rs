//! Relationships: `PATCH` and `GET` of one.

use serde_json::{Value, json};

use super::auth::authenticate;
use crate::dialect::{Answer, Call, Refusal, json};
use crate::domain::command::{self, Edit};
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::people::account::Account;
use crate::domain::record::{Key, Stored};
use crate::domain::relation::relationship::{Metadata, Relationship, RelationshipEdit};
use crate::domain::table::KeyType;

/// `PATCH /crm-core/v1/relationships/{relationshipId}`, "관계 수정".
pub async fn patch(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    // The body is judged before the id, so a wrong one is 400 even where nothing has that id.
    let edit = decode(call.body()?)?;
    let command = Edit::<Relationship> { key: key(call)?, edit, expected: call.expected() };
    let answered = call.submit(actor, command, |outcome, facts| {
        let relationship = outcome.subject.typed::<Relationship>()?;
        Ok(Answer::json(200, &encode(&relationship, facts)?))
    });
    Ok(answered.await?)
}

/// `GET /crm-core/v1/relationships/{relationshipId}`. The vendor has no page for it.
pub async fn get(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let key = key(call)?;
    let (version, body) = call
        .read(|facts| {
            let relationship = command::read::<Relationship>(&actor, key.clone(), facts)?;
            Ok((relationship.meta.version, encode(&relationship, facts)?))
        })
        .await?;
    Ok(Answer::json(200, &body).etag(version))
}

fn key(call: &Call) -> Result<Key, Error> {
    Key::parse(KeyType::Text, call.parameter("relationshipId"))
        .ok_or(Error::NotFound(Kind::Relationship))
}

/// Reads the body. Keys other than `metadata` are passed over; of a repeated key the last one counts.
fn decode(body: &[u8]) -> Result<RelationshipEdit, Error> {
    let Some(mut fields) = json::parse_object(body) else {
        return Err(Error::invalid("body", "not_an_object", "the body must be a JSON object"));
    };
    if has_long_integer(body) {
        return Err(Error::invalid("body", "number_out_of_range", "a number is beyond 64 bits"));
    }
    let Some(Value::Object(metadata)) = fields.remove("metadata") else {
        return Err(Error::invalid("metadata", "not_an_object", "metadata must be an object"));
    };
    match Metadata::try_from(metadata) {
        Err(error) => Err(Error::Invalid(vec![error])),
        Ok(metadata) => Ok(RelationshipEdit { metadata: Patch::Value(metadata) }),
    }
}

/// True when `json`, which is known to be JSON, holds a whole number that 64 bits cannot: the parser
/// would round it without a word.
fn has_long_integer(json: &[u8]) -> bool {
    let mut is_in_string = false;
    let mut is_escaped = false;
    let mut number = String::new();
    for &byte in json.iter().chain(b" ") {
        if is_in_string {
            is_in_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
            continue;
        }
        is_in_string = byte == b'"';
        let is_of_number = byte.is_ascii_digit()
            || byte == b'-'
            || (!number.is_empty() && b"+.eE".contains(&byte));
        if is_of_number {
            number.push(char::from(byte));
        } else if !number.is_empty() {
            let is_whole = !number.contains(['.', 'e', 'E']);
            if is_whole && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
                return true;
            }
            number.clear();
        }
    }
    false
}

fn encode(relationship: &Stored<Relationship>, facts: &mut Facts) -> Known<Value> {
    let Stored { meta, record } = relationship;
    // The account's number stays as it is, so the relationship is what a tag is about.
    let account = facts.get::<Account>(meta.account_id, meta.account_id)?;
    let account_id = account.record.solapi_account_id.clone();
    Ok(json!({
        "relationshipId": meta.key.to_string(),
        "accountId": account_id.unwrap_or_else(|| meta.account_id.to_string()),
        "relationshipTypeId": record.relationship_type_id,
        "sourceEntityId": record.source_entity_id,
        "sourceRecordId": record.source_record_id,
        "targetEntityId": record.target_entity_id,
        "targetRecordId": record.target_record_id,
        "metadata": record.metadata,
        "dateCreated": format!("{:.3}", meta.created_at),
        "dateUpdated": format!("{:.3}", meta.updated_at),
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the body asks to store as JSON, or the code of what is wrong with it.
    fn metadata(body: &str) -> Result<String, &'static str> {
        match decode(body.as_bytes()) {
            Ok(edit) => Ok(json!(edit.metadata.value()).to_string()),
            Err(Error::Invalid(errors)) => Err(errors[0].code),
            Err(_) => Err("another refusal"),
        }
    }

    #[test]
    fn metadata_is_taken_as_sent() {
        for (body, expected) in [
            (r#"{"metadata":{}}"#, "{}"),
            (r#"{"metadata":{"z":1,"a":2}}"#, r#"{"z":1,"a":2}"#),
            (r#"{"metadata":{"a":{"b":[1,null,true]}}}"#, r#"{"a":{"b":[1,null,true]}}"#),
            (r#"{"metadata":{"":1,"a.b":2,"$c":3}}"#, r#"{"":1,"a.b":2,"$c":3}"#),
            (r#"{"metadata":{"a":1,"a":2}}"#, r#"{"a":2}"#),
            (r#"{"metadata":null,"metadata":{"a":1}}"#, r#"{"a":1}"#),
            (r#"{"metadata":{"k":1},"targetRecordId":5}"#, r#"{"k":1}"#),
            (r#"{"metadata":{"a":"x\u0000"}}"#, r#"{"a":"x\u0000"}"#),
            (r#"{"metadata":{"a":"2026-04-23T09:15:30Z"}}"#, r#"{"a":"2026-04-23T09:15:30Z"}"#),
            (r#"{"metadata":{"a":18446744073709551615}}"#, r#"{"a":18446744073709551615}"#),
            (r#"{"metadata":{"a":-9223372036854775808}}"#, r#"{"a":-9223372036854775808}"#),
            (r#"{"metadata":{"a":"18446744073709551616"}}"#, r#"{"a":"18446744073709551616"}"#),
            (r#"{"metadata":{"a":1.5,"b":1e300}}"#, r#"{"a":1.5,"b":1e+300}"#),
            // The nearest double, where a decimal says more than one can hold.
            (r#"{"metadata":{"a":12345678901234567891.0}}"#, r#"{"a":1.2345678901234567e+19}"#),
            (r#"{"metadata":{"a":0.12345678901234567890123}}"#, r#"{"a":0.12345678901234568}"#),
            (r#"{"metadata":{"a":1e-400,"b":-1e-400}}"#, r#"{"a":0.0,"b":-0.0}"#),
        ] {
            assert_eq!(metadata(body).as_deref(), Ok(expected), "{body}");
        }
    }

    #[test]
    fn what_is_no_metadata_object_is_refused() {
        for (body, code) in [
            ("", "not_an_object"),
            ("{bad", "not_an_object"),
            ("[]", "not_an_object"),
            ("null", "not_an_object"),
            ("{}", "not_an_object"),
            (r#"{"Metadata":{}}"#, "not_an_object"),
            (r#"{"metadata":null}"#, "not_an_object"),
            (r#"{"metadata":[]}"#, "not_an_object"),
            (r#"{"metadata":"x"}"#, "not_an_object"),
            (r#"{"metadata":1}"#, "not_an_object"),
            (r#"{"metadata":{},"metadata":null}"#, "not_an_object"),
            (r#"{"metadata":{}}x"#, "not_an_object"),
            (r#"{"metadata":{"a":"\ud800"}}"#, "not_an_object"),
            (r#"{"metadata":{"a":1e400}}"#, "not_an_object"),
            (r#"{"metadata":{"a":18446744073709551616}}"#, "number_out_of_range"),
            (r#"{"metadata":{},"more":18446744073709551616}"#, "number_out_of_range"),
            (r#"{"metadata":{"a":18446744073709551616,"a":1}}"#, "number_out_of_range"),
            (r#"{"metadata":{},"more":"\ud800"}"#, "not_an_object"),
            (r#"{"metadata":{"a":-9223372036854775809}}"#, "number_out_of_range"),
            (r#"{"metadata":{"a\"":"\\","b":[99999999999999999999]}}"#, "number_out_of_range"),
        ] {
            assert_eq!(metadata(body), Err(code), "{body}");
        }
        let deep = |levels: usize| {
            format!(r#"{{"metadata":{}{}}}"#, r#"{"a":"#.repeat(levels) + "1", "}".repeat(levels))
        };
        assert!(metadata(&deep(32)).is_ok());
        assert_eq!(metadata(&deep(33)), Err("too_deep"));
        assert_eq!(metadata(&deep(100_000)), Err("not_an_object"));
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body: Vec<u8>, text in r#"[\[{"\\:,0-9eE.+-]{0,40}"#) {
            let _ = decode(&body);
            let _ = decode(text.as_bytes());
        }

        #[test]
        fn a_decimal_is_the_same_number_after_any_number_of_turns(number in prop::num::f64::NORMAL) {
            let sent = format!(r#"{{"metadata":{{"n":{}}}}}"#, json!(number));
            let once = metadata(&sent).unwrap();
            prop_assert_eq!(once, format!(r#"{{"n":{}}}"#, json!(number)));
        }
    }
}
