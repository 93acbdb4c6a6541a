//! The SOLAPI dialect: the contract's vectors, what metadata may be, and what every edit gains.
//! Who may call is in [`signature`].

mod signature;

use std::sync::atomic::{AtomicU64, Ordering};

use haksa::dialect::{Dialect, WIRES};
use haksa::domain::actor::Actor;
use haksa::domain::command::Create;
use haksa::domain::error::Error;
use haksa::domain::record::Key;
use haksa::domain::relation::crm_record::CrmRecord;
use haksa::domain::relation::relationship::Relationship;
use haksa::pipeline::{Envelope, Reply as Done};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{Reply, Request, Server, on_both_stores};

pub(crate) const KEY: &str = "NCSTESTKEY000001";
pub(crate) const SECRET: &str = "TESTSECRET0000000000000000000001";
const OTHER_KEY: &str = "NCSTESTKEY000002";
const OTHER_SECRET: &str = "TESTSECRET0000000000000000000002";
const ID: &str = "CRMRL1260423091530123REL11122233";
const OTHER_ID: &str = "CRMRL1260423091530125REL11122235";
const E1: &str = "CRMET1260423081530123XYZ11122233";
const E2: &str = "CRMET1260423081530124XYZ11122234";
const R1: &str = "CRMRC1260423081530123REC11122233";
const R2: &str = "CRMRC1260423081530124REC11122234";
const TYPE: &str = "CRMRT1260423091530123RTP11122233";

on_both_stores!(
    documented_edit,
    metadata_is_replaced_whole,
    what_metadata_may_not_be,
    the_body_is_judged_before_the_id,
    nothing_crosses_accounts,
    entity_tags,
    idempotency_keys,
    dry_runs,
    concurrent_edits,
    history_and_undo,
    new_edges,
    unknown_routes,
    demo_account,
);

fn hmac_of(secret: &str, date: &str, salt: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(date.as_bytes());
    mac.update(salt.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn authorization(key: &str, secret: &str, date: &str, salt: &str) -> String {
    let signature = hmac_of(secret, date, salt);
    format!("HMAC-SHA256 apiKey={key}, date={date}, salt={salt}, signature={signature}")
}

/// A header that has not been used yet.
pub(crate) fn fresh(server: &Server, key: &str, secret: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let salt = format!("{:032}", COUNT.fetch_add(1, Ordering::Relaxed));
    authorization(key, secret, &server.clock.now().to_string(), &salt)
}

fn at(id: &str) -> String {
    format!("/crm-core/v1/relationships/{id}")
}

fn request(server: &Server, method: &str, id: &str) -> Request {
    server.request(method, &at(id)).header("authorization", fresh(server, KEY, SECRET))
}

fn edit(server: &Server, body: &Value) -> Request {
    request(server, "PATCH", ID).json(body)
}

async fn read(server: &Server) -> Value {
    let reply = request(server, "GET", ID).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[track_caller]
fn assert_refused(reply: &Reply, status: u16, code: &str) {
    let body = reply.json();
    assert_eq!((reply.status, body["errorCode"].as_str()), (status, Some(code)), "{body}");
    assert!(body["errorMessage"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(2), "{body}");
}

async fn documented_edit(server: Server) {
    let first = read(&server).await;
    assert_eq!(first["metadata"], json!({"role": "primary", "isPrimary": true}));
    server.clock.advance(jiff::SignedDuration::from_secs(1));
    let body = json!({"metadata": {"role": "secondary", "notes": "2차 담당"}});
    let reply = edit(&server, &body).send().await;
    assert_eq!(
        reply.text(),
        r#"{"relationshipId":"CRMRL1260423091530123REL11122233","accountId":"24010100001234","relationshipTypeId":"CRMRT1260423091530123RTP11122233","sourceEntityId":"CRMET1260423081530123XYZ11122233","sourceRecordId":"CRMRC1260423081530123REC11122233","targetEntityId":"CRMET1260423081530124XYZ11122234","targetRecordId":"CRMRC1260423081530124REC11122234","metadata":{"role":"secondary","notes":"2차 담당"},"dateCreated":"2026-04-23T09:00:00.000Z","dateUpdated":"2026-04-23T09:15:31.000Z"}"#
    );
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
    assert_eq!(read(&server).await.to_string(), reply.text());
    // Again: the same, and nothing is written.
    server.clock.advance(jiff::SignedDuration::from_secs(1));
    let again = edit(&server, &body).send().await;
    assert_eq!((again.status, again.text()), (200, reply.text()));
    assert_eq!(again.header("etag"), reply.header("etag"));
}

async fn metadata_is_replaced_whole(server: Server) {
    for (body, metadata) in [
        (r#"{"metadata":{}}"#, "{}"),
        (r#"{"metadata":{"a":{"b":[1,null,true]}}}"#, r#"{"a":{"b":[1,null,true]}}"#),
        (
            r#"{"metadata":{"k":1},"targetRecordId":"CRMRC1999999999999999XXXXXXXXXXX","relationshipId":7}"#,
            r#"{"k":1}"#,
        ),
        (r#"{"metadata":{"z":1,"a":2,"m":null}}"#, r#"{"z":1,"a":2,"m":null}"#),
        (r#"{"metadata":{"":1,"a.b":{"$c":2}}}"#, r#"{"":1,"a.b":{"$c":2}}"#),
        (r#"{"metadata":{"d":1},"metadata":{"a":1,"a":2}}"#, r#"{"a":2}"#),
        (r#"{"metadata":{"\u0000":"\u0000 𝄞"}}"#, "{\"\\u0000\":\"\\u0000 𝄞\"}"),
        (
            r#"{"metadata":{"n":[18446744073709551615,-9223372036854775808,0.1,2.5e-7]}}"#,
            r#"{"n":[18446744073709551615,-9223372036854775808,0.1,2.5e-7]}"#,
        ),
        (r#"{"metadata":{"n":1.817983624987392e-250}}"#, r#"{"n":1.817983624987392e-250}"#),
        (
            r#"{"metadata":{"n":[12345678901234567891.0,0.12345678901234567890123,1e-400]}}"#,
            r#"{"n":[1.2345678901234567e+19,0.12345678901234568,0.0]}"#,
        ),
        (
            r#"{"metadata":{"since":"2026-04-23","sql":"'; DROP TABLE relationship; --"}}"#,
            r#"{"since":"2026-04-23","sql":"'; DROP TABLE relationship; --"}"#,
        ),
    ] {
        let reply = request(&server, "PATCH", ID).body(body).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        for answer in [reply.json(), read(&server).await] {
            assert_eq!(answer["metadata"].to_string(), metadata);
            assert_eq!(
                (&answer["sourceRecordId"], &answer["targetRecordId"]),
                (&json!(R1), &json!(R2))
            );
            assert_eq!(
                (&answer["relationshipId"], &answer["dateCreated"]),
                (&json!(ID), &json!("2026-04-23T09:00:00.000Z"))
            );
        }
    }
    for content_type in ["text/plain", "application/xml", "application/json; charset=utf-8"] {
        let request = request(&server, "PATCH", ID).header("content-type", content_type);
        let reply = request.body(r#"{"metadata":{}}"#).send().await;
        assert_eq!(reply.status, 200, "{content_type}");
    }
}

async fn what_metadata_may_not_be(server: Server) {
    let before = read(&server).await;
    let nested = |levels: usize| {
        format!(r#"{{"metadata":{}1{}}}"#, r#"{"a":"#.repeat(levels), "}".repeat(levels))
    };
    let sized = |bytes: usize| {
        format!(r#"{{"metadata":{{"k":"{}"}}}}"#, "a".repeat(bytes - r#"{"k":""}"#.len()))
    };
    for body in [
        "",
        "{bad",
        "[]",
        "null",
        "{}",
        r#"{"Metadata":{}}"#,
        r#"{"metadata":null}"#,
        r#"{"metadata":[]}"#,
        r#"{"metadata":"x"}"#,
        r#"{"metadata":"{}"}"#,
        r#"{"metadata":1}"#,
        r#"{"metadata":false}"#,
        r#"{"metadata":{},"metadata":null}"#,
        r#"{"metadata":{"a":1}}{}"#,
        r#"{"metadata":{"a":"\ud800"}}"#,
        r#"{"metadata":{"a":1e999}}"#,
        r#"{"metadata":{"a":NaN}}"#,
        r#"{"metadata":{"a":18446744073709551616}}"#,
        r#"{"metadata":{"a":-9223372036854775809}}"#,
        r#"{"metadata":{"a":1},"more":{"a":1e999}}"#,
        r#"{"metadata":{"a":1},"more":[18446744073709551616]}"#,
        r#"{"more":"\ud800","more":1,"metadata":{"a":1}}"#,
        "\u{feff}\u{feff}{\"metadata\":{}}",
        &nested(33),
        &nested(100_000),
        &sized(64 * 1024 + 1),
    ] {
        let reply = request(&server, "PATCH", ID).body(body.to_owned()).send().await;
        assert_refused(&reply, 400, "ValidationError");
    }
    let reply = request(&server, "PATCH", ID).body(b"{\"metadata\":{\"a\":\"\xff\"}}".to_vec());
    assert_refused(&reply.send().await, 400, "ValidationError");
    let reply = request(&server, "PATCH", ID).body(vec![b' '; 1024 * 1024 + 1]).send().await;
    assert_refused(&reply, 413, "ValidationError");
    assert_eq!(read(&server).await, before);
    for body in [nested(32), sized(64 * 1024)] {
        let reply = request(&server, "PATCH", ID).body(body).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

async fn the_body_is_judged_before_the_id(server: Server) {
    let good = json!({"metadata": {"role": "secondary"}});
    for id in [
        "CRMRL1260423091530123REL00000000",
        "nothing",
        "1",
        "CRMRL1260423091530123REL11122233%00",
        "%ff",
        "CRMRL1260423091530123rel11122233",
        TYPE,
        "list",
    ] {
        let reply = request(&server, "PATCH", id).json(&good).send().await;
        assert_refused(&reply, 404, "ResourceNotFound");
        let reply = request(&server, "PATCH", id).json(&json!({})).send().await;
        assert_refused(&reply, 400, "ValidationError");
        let reply = request(&server, "GET", id).header("content-type", "application/json");
        assert_refused(&reply.send().await, 404, "ResourceNotFound");
    }
}

async fn nothing_crosses_accounts(server: Server) {
    let body = json!({"metadata": {"stolen": true}});
    let missing = request(&server, "PATCH", "nothing").json(&body).send().await;
    let foreign = request(&server, "PATCH", OTHER_ID).json(&body).send().await;
    assert_refused(&foreign, 404, "ResourceNotFound");
    assert_eq!(foreign.body, missing.body);
    let reply = request(&server, "GET", OTHER_ID).send().await;
    assert_refused(&reply, 404, "ResourceNotFound");
    let other = |method: &str, id: &str| {
        let header = fresh(&server, OTHER_KEY, OTHER_SECRET);
        server.request(method, &at(id)).header("authorization", header)
    };
    assert_refused(&other("PATCH", ID).json(&body).send().await, 404, "ResourceNotFound");
    let own = other("GET", OTHER_ID).send().await.json();
    assert_eq!(own["accountId"], "24010100005678");
    assert_eq!(own["metadata"], json!({"role": "primary", "isPrimary": true}));
}

async fn entity_tags(server: Server) {
    let first = request(&server, "GET", ID).send().await;
    assert_eq!(first.header("etag"), "\"1\"");
    let with =
        |tag: &str, n: i64| edit(&server, &json!({"metadata": {"n": n}})).header("if-match", tag);
    let reply = with("\"1\"", 1).send().await;
    assert_eq!((reply.status, reply.header("etag")), (200, "\"2\""));
    for tag in ["\"1\"", "W/\"1\"", "nonsense"] {
        assert_refused(&with(tag, 2).send().await, 412, "PreconditionFailed");
    }
    assert_eq!(read(&server).await["metadata"], json!({"n": 1}));
    assert_eq!(with("*", 3).send().await.status, 200);
}

async fn idempotency_keys(server: Server) {
    let with = |key: &str, n: i64| {
        edit(&server, &json!({"metadata": {"n": n}})).header("idempotency-key", key)
    };
    let first = with("k1", 1).send().await;
    assert_eq!(first.status, 200, "{}", first.text());
    assert_refused(&with("k1", 3).send().await, 422, "ValidationError");
    assert_refused(&with(&"k".repeat(256), 3).send().await, 400, "ValidationError");
}

async fn dry_runs(server: Server) {
    let before = read(&server).await;
    let dry = |body: Value| edit(&server, &body).header("haksa-dry-run", "true");
    let reply = dry(json!({"metadata": {"n": 1}})).send().await;
    assert_eq!((reply.status, reply.header("haksa-changes")), (200, "1"));
    assert_eq!(reply.json()["metadata"], json!({"n": 1}));
    assert_eq!(read(&server).await, before);
    let reply = dry(json!({"metadata": before["metadata"]})).send().await;
    assert_eq!((reply.status, reply.header("haksa-changes")), (200, "0"));
    assert_refused(&dry(json!({"metadata": []})).send().await, 400, "ValidationError");
}

async fn concurrent_edits(server: Server) {
    let edits = (0..32).map(|n| edit(&server, &json!({"metadata": {"n": n, "same": n}})).send());
    for (n, reply) in futures_util::future::join_all(edits).await.into_iter().enumerate() {
        assert_eq!(reply.status, 200, "{}", reply.text());
        // Each is answered with its own result, whoever came after.
        assert_eq!(reply.json()["metadata"], json!({"n": n, "same": n}));
    }
    let after = request(&server, "GET", ID).send().await;
    assert_eq!(after.header("etag"), "\"33\"");
    assert_eq!(after.json()["metadata"]["n"], after.json()["metadata"]["same"]);
}

async fn history_and_undo(server: Server) {
    let body = json!({"metadata": {"role": "secondary"}});
    assert_eq!(edit(&server, &body).header("x-request-id", "r-1").send().await.status, 200);
    let change = &server.history(&format!("relationship/{ID}")).await[0];
    assert_eq!(change["before"], json!({"metadata": {"role": "primary", "isPrimary": true}}));
    assert_eq!(change["after"], json!({"metadata": {"role": "secondary"}}));
    assert_eq!(change["actor"], "credential:31");
    assert_eq!((&change["dialect"], &change["request_id"]), (&json!("solapi"), &json!("r-1")));
    let reply = server.undo(change).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(read(&server).await["metadata"], json!({"role": "primary", "isPrimary": true}));
}

fn edge(source: (&str, &str), target: (&str, &str)) -> Relationship {
    Relationship {
        relationship_type_id: TYPE.to_owned(),
        source_entity_id: source.0.to_owned(),
        source_record_id: source.1.to_owned(),
        target_entity_id: target.0.to_owned(),
        target_record_id: target.1.to_owned(),
        ..Relationship::default()
    }
}

async fn make(server: &Server, record: Relationship) -> Result<(Key, Relationship), Error> {
    let envelope = Envelope::new(Actor::operator(3), "test");
    match server.app.pipeline.run(Create::new(record), envelope).await? {
        Done::Done(outcome, _) => {
            let stored = outcome.subject.typed::<Relationship>()?;
            Ok((stored.meta.key.clone(), (*stored.record).clone()))
        }
        other => panic!("{other:?}"),
    }
}

/// The rules of an edge, which hold whoever makes it.
async fn new_edges(server: Server) {
    const R3: &str = "CRMRC1260423081530127REC11122237";
    let record = CrmRecord { entity_id: E1.to_owned(), ..CrmRecord::default() };
    let command = Create { key: Some(R3.into()), created_at: None, record };
    let envelope = Envelope::new(Actor::operator(3), "test");
    server.app.pipeline.run(command, envelope).await.unwrap();

    let (key, reversed) = make(&server, edge((E2, R2), (E1, R3))).await.unwrap();
    assert_eq!(reversed, edge((E1, R3), (E2, R2)));
    let id = key.to_string();
    assert!(id.starts_with("CRMRL1260423091530000") && id.len() == 32, "{id}");
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
    let shown = request(&server, "GET", &id).send().await.json();
    assert_eq!((&shown["metadata"], &shown["sourceRecordId"]), (&json!({}), &json!(R3)));

    for (record, broken) in [
        (edge((E1, R3), (E1, R1)), "wrong_entities"),
        (edge((E1, R2), (E2, R2)), "self_link"),
        (edge((E1, R3), (E2, R1)), "wrong_entity"),
    ] {
        match make(&server, record).await {
            Err(Error::Invalid(errors)) => {
                assert!(errors.iter().any(|error| error.code == broken), "{errors:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    let foreign = edge((E1, "CRMRC1260423081530125REC11122235"), (E2, R2));
    assert!(matches!(make(&server, foreign).await, Err(Error::NotFound(_))));
    let unknown = Relationship { relationship_type_id: "x".to_owned(), ..edge((E1, R3), (E2, R2)) };
    assert!(matches!(make(&server, unknown).await, Err(Error::NotFound(_))));
    let twice = make(&server, edge((E1, R1), (E2, R2))).await;
    assert!(matches!(twice, Err(Error::Conflict(_))), "{twice:?}");
}

async fn unknown_routes(server: Server) {
    for (method, target) in [
        ("GET", "/crm-core".to_owned()),
        ("GET", "/crm-core/v1/nothing".to_owned()),
        ("GET", "/crm-core/v1/relationships".to_owned()),
        ("PUT", at(ID)),
        ("POST", at(ID)),
        ("DELETE", at(ID)),
        ("GET", at(ID) + "/"),
    ] {
        let header = fresh(&server, KEY, SECRET);
        let request = server.request(method, &target).header("authorization", header);
        assert_refused(&request.send().await, 404, "ResourceNotFound");
    }
    // HEAD is answered as GET is.
    let reply = request(&server, "HEAD", ID).send().await;
    assert_eq!((reply.status, reply.header("etag")), (200, "\"1\""));
    assert!(reply.body.is_empty());
    assert_eq!(request(&server, "HEAD", "nothing").send().await.status, 404);
}

/// What the demo account prints is there and works.
async fn demo_account(server: Server) {
    let told = server.demo()["solapi"].clone();
    let id = |name: &str| told[name].as_str().unwrap().to_owned();
    for (key, secret, relationship) in [
        ("api_key", "api_secret", "relationship_id"),
        ("other_api_key", "other_api_secret", "other_relationship_id"),
    ] {
        let header = fresh(&server, &id(key), &id(secret));
        let target = at(&id(relationship));
        let reply = server.request("GET", &target).header("authorization", header).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let shown = read(&server).await;
    for (name, field) in [
        ("E1", "sourceEntityId"),
        ("E2", "targetEntityId"),
        ("R1", "sourceRecordId"),
        ("R2", "targetRecordId"),
        ("T", "relationshipTypeId"),
    ] {
        assert_eq!(told["ids"][name], shown[field], "{name}");
    }
    // The command to paste, at the server's time.
    let (_, command) = haksa::demo::commands(&format!("http://{}", server.address))
        .into_iter()
        .find(|(name, _)| name.starts_with("SOLAPI"))
        .unwrap();
    let script = format!("date() {{ echo {}; }}\n{command}", crate::support::NOW);
    let run = || std::process::Command::new("bash").args(["-c", &script]).output();
    let output = tokio::task::block_in_place(run).unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["metadata"], json!({"role": "secondary", "notes": "2차 담당"}));
    assert_eq!(read(&server).await, printed);
}

#[test]
fn the_document_lists_what_is_served() {
    let wire = WIRES.iter().find(|wire| wire.dialect == Dialect::Solapi).unwrap();
    let document: Value = serde_json::from_str(wire.openapi.unwrap()).unwrap();
    let mut documented = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let methods = operations.as_object().unwrap().keys().filter(|key| *key != "parameters");
        documented.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    let mut served: Vec<_> =
        wire.documented().map(|(path, route)| format!("{} {path}", route.method)).collect();
    documented.sort();
    served.sort();
    assert_eq!(documented, served);
}
