//! Everything has a length: each text and list of each record, and each of each body, where the bound
//! is taken, and one more is refused in the dialect's own words.

use std::collections::BTreeSet;

use haksa::config::{Config, LimitsConfig};
use haksa::domain::actor::Actor;
use haksa::domain::command::{Edit, Expected};
use haksa::domain::fields::Fields;
use haksa::domain::kind::Kind;
use haksa::domain::patch::Patch;
use haksa::domain::people::account::{Account, AccountEdit};
use haksa::domain::record::{Changed, Document, Meta};
use haksa::domain::table::{Column, ColumnType, Data};
use haksa::pipeline::Envelope;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::support::document::{self, Document as Api};
use crate::support::{Backend, Reply, Request, Server, on_both_stores};
use crate::tables::sample;

/// More characters, items or bytes than anything may have.
const ENDLESS: usize = 70_000;

/// A place within a field of a record.
struct Place<'a> {
    kind: Kind,
    field: &'a str,
    /// As [`haksa::domain::text::Text::path`].
    path: String,
    /// The field's value with another in this place.
    put: &'a dyn Fn(Value) -> Value,
    /// A JSON pointer from the field to the place.
    pointer: String,
}

impl Place<'_> {
    fn read(&self, value: &Value) -> Result<Fields, String> {
        let (kind, at) = (self.kind, Timestamp::UNIX_EPOCH);
        let key = crate::tables::key(kind, 1);
        let (version, change_id, account_id) = (1, 1, 3);
        let (created_at, updated_at, deleted_at) = (at, at, None);
        let meta =
            Meta { kind, key, account_id, version, change_id, created_at, updated_at, deleted_at };
        let mut fields = sample(kind).values();
        fields.insert(self.field.to_owned(), (self.put)(value.clone()));
        let read = Document::read(meta, fields).map_err(|error| format!("{error:?}"))?;
        Ok(read.fields().unwrap().clone())
    }

    /// What a value in this place is read as; an error where it cannot stand there.
    fn takes(&self, value: &Value) -> Result<Value, String> {
        let fields = self.read(value)?;
        Ok(fields.value(self.field).pointer(&self.pointer).cloned().unwrap_or_default())
    }

    /// A value of a type that consists of others: members are added until nothing is missing.
    fn object(&self) -> Option<Map<String, Value>> {
        let mut members = Map::new();
        loop {
            let fault = match self.takes(&json!(members)) {
                Ok(read) => return read.as_object().cloned(),
                Err(fault) => fault,
            };
            let (_, missing) = fault.split_once("missing field `")?;
            let (missing, _) = missing.split_once('`')?;
            let some = [json!("zq"), json!(1), json!([]), json!("2026-03-01T00:00:00Z")];
            let fits = |value: &Value| {
                members.insert(missing.to_owned(), value.clone());
                self.takes(&json!(members)).map_or_else(|fault| fault.contains("missing"), |_| true)
            };
            some.iter().any(fits).then_some(())?;
        }
    }

    fn assert_bounded(&self, endless: &Value) {
        let fields = self.read(endless).expect("it can stand there");
        let table = self.kind.table();
        let broken = table.broken_texts(&fields, &Changed::all(&fields));
        assert!(
            broken.iter().any(|error| error.field == self.path),
            "{}: {} has no bound: declare it in `Table::texts`",
            table.name,
            self.path
        );
    }

    /// Looks for texts and lists in this place, and notes them.
    fn walk(&self, found: &mut Vec<String>) {
        let is = |value: Value| self.takes(&value).is_ok_and(|read| read == value);
        let mut note = |what: &str, endless: &Value| {
            self.assert_bounded(endless);
            found.push(format!("{what} {}.{}", self.kind.name(), self.path));
        };
        let free = json!({"zq": [1]});
        if is(free.clone()) {
            note("json", &json!({"zq": "z".repeat(ENDLESS)}));
        } else if is(json!("zq")) {
            note("text", &json!("z".repeat(ENDLESS)));
        } else if self.takes(&json!([])).is_ok_and(|read| read.is_array()) {
            let items = [json!("zq"), json!(1), json!("openid"), json!("implicit"), json!("ko")];
            let object = |put: &dyn Fn(Value) -> Value| {
                let pointer = format!("{}/0", self.pointer);
                let Self { kind, field, .. } = *self;
                Place { kind, field, path: self.path.clone(), put, pointer }.object()
            };
            let put = |value: Value| (self.put)(json!([value]));
            let item = items.into_iter().find(|item| self.takes(&json!([item])).is_ok());
            let item = item.or_else(|| object(&put).map(Value::Object));
            note("list", &json!(vec![item.expect("an item"); 1_001]));
            let pointer = format!("{}/0", self.pointer);
            let Self { kind, field, .. } = *self;
            Place { kind, field, path: self.path.clone(), put: &put, pointer }.walk(found);
        } else if let Some(members) = self.object() {
            for name in members.keys() {
                let put = |value: Value| {
                    let mut members = members.clone();
                    members.insert(name.clone(), value);
                    (self.put)(json!(members))
                };
                let path = format!("{}.{name}", self.path);
                let pointer = format!("{}/{name}", self.pointer);
                Place { kind: self.kind, field: self.field, path, put: &put, pointer }.walk(found);
            }
        }
    }
}

#[test]
fn every_text_and_list_of_every_record_has_a_bound() {
    let mut found = Vec::new();
    for kind in Kind::ALL.iter().copied() {
        let table = kind.table();
        let is_reference =
            |column: &&Column| matches!(column.column_type, ColumnType::Reference(..));
        let references = table.columns.iter().filter(is_reference).map(|column| column.name);
        // What is named is there, and what follows from others is as long as they are.
        let passed: Vec<_> =
            references.chain(table.fields_of(Data::Derived).iter().copied()).collect();
        let before = found.len();
        for (field, _) in sample(kind).iter().filter(|(field, _)| !passed.contains(field)) {
            let (path, pointer) = (field.to_owned(), String::new());
            Place { kind, field, path, put: &|value| value, pointer }.walk(&mut found);
        }
        let declared: BTreeSet<_> = table.texts.iter().map(|text| text.path).collect();
        let here = found.iter().skip(before).filter_map(|found| found.split_once('.'));
        let here: BTreeSet<_> = here.map(|(_, path)| path).collect();
        assert_eq!(declared, here, "{}: declared, and there", table.name);
    }
    let count = |what: &str| found.iter().filter(|found| found.starts_with(what)).count();
    let counts = [count("text"), count("list"), count("json")];
    assert!(counts[0] > 100 && counts[1] > 20 && counts[2] > 4, "{counts:?}");
}

on_both_stores!(bodies, indexed_texts, records, control_characters, metering, sweeping);

/// One way deeper into a body, and the schema of what is there.
#[derive(Clone, Debug)]
enum Step {
    Member(String, Value),
    Item(Value),
}

/// Where a text or a list may stand in a body.
type Way = Vec<Step>;

fn resolved<'a>(api: &'a Api, mut schema: &'a Value) -> &'a Value {
    while let Some(reference) = schema["$ref"].as_str() {
        schema = api.whole.pointer(reference.trim_start_matches('#')).expect("a schema");
    }
    schema
}

fn is_of(schema: &Value, name: &str) -> bool {
    schema["type"] == name
        || schema["type"].as_array().is_some_and(|all| all.contains(&json!(name)))
}

/// Every text and list below a schema, with the schema of each.
fn ways(api: &Api, schema: &Value, way: &Way, found: &mut Vec<(Way, Value)>) {
    let schema = resolved(api, schema);
    for parts in ["allOf", "anyOf", "oneOf"] {
        for part in schema[parts].as_array().into_iter().flatten() {
            ways(api, part, way, found);
        }
    }
    if is_of(schema, "string") || is_of(schema, "array") {
        found.push((way.clone(), schema.clone()));
    }
    let mut deeper = |step, schema| ways(api, schema, &[&way[..], &[step]].concat(), found);
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        deeper(Step::Member(name.clone(), member.clone()), member);
    }
    if let Some(items) = schema.get("items") {
        deeper(Step::Item(items.clone()), items);
    }
}

/// The least that fits a schema.
fn least(api: &Api, schema: &Value) -> Value {
    let schema = resolved(api, schema);
    let first = |name: &str| schema[name].as_array().and_then(|all| all.first());
    if let Some(value) = schema.get("const").or_else(|| first("enum")) {
        return value.clone();
    }
    if let Some(part) = first("anyOf").or_else(|| first("oneOf")) {
        return least(api, part);
    }
    if is_of(schema, "string") {
        return json!("a");
    }
    if is_of(schema, "integer") {
        return json!(1);
    }
    if is_of(schema, "boolean") {
        return json!(false);
    }
    if is_of(schema, "array") {
        return json!([]);
    }
    let members = schema["properties"].as_object();
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let required: Vec<_> = required.collect();
    let all = members.into_iter().flatten();
    // Of texts in languages none is required, and those in use are.
    let is_needed = |(name, member): &(&String, &Value)| match &required[..] {
        [] => is_of(resolved(api, member), "string"),
        required => required.contains(&name.as_str()),
    };
    all.filter(is_needed).map(|(name, member)| (name.clone(), least(api, member))).collect()
}

/// Puts a value into a body; what is not there on the way is made.
fn put(api: &Api, body: &mut Value, way: &[Step], value: Value) {
    let Some((step, rest)) = way.split_first() else {
        *body = value;
        return;
    };
    let (inner, schema) = match step {
        Step::Member(name, schema) => (&mut body[name.as_str()], schema),
        Step::Item(schema) => {
            let items = body.as_array_mut().expect("a list");
            if items.is_empty() {
                items.push(Value::Null);
            }
            (&mut items[0], schema)
        }
    };
    if inner.is_null() && !rest.is_empty() {
        *inner = least(api, schema);
    }
    put(api, inner, rest, value);
}

fn has(body: &Value, way: &[Step]) -> bool {
    way.split_first().is_none_or(|(step, rest)| {
        let inner = match step {
            Step::Member(name, _) => body.get(name),
            Step::Item(_) => body.get(0),
        };
        inner.is_some_and(|inner| has(inner, rest))
    })
}

/// The innermost name on the way.
fn name(way: &[Step]) -> &str {
    let mut names = way.iter().rev().filter_map(|step| match step {
        Step::Member(name, _) => Some(name.as_str()),
        Step::Item(_) => None,
    });
    names.next().expect("bodies are objects")
}

/// A text of this length, legal else.
fn text(name: &str, length: usize) -> String {
    let padded = |start: &str, fill: &str, end: &str| {
        format!("{start}{}{end}", fill.repeat(length - start.len() - end.len()))
    };
    let lower = name.to_lowercase();
    let is = |part: &str| lower.contains(part);
    if is("url") || is("uri") || is("link") || is("path") {
        padded("https://a.example/", "x", "")
    } else if is("email") {
        let local = "a".repeat(64);
        let label = "b".repeat(63);
        padded(&format!("{local}@{label}.{label}."), "c", "")
    } else if is("phone") {
        padded("010", "1", "")
    } else if is("validity") {
        padded("", "0", "86400")
    } else if is("period") {
        padded("", "0", "72")
    } else if is("code") {
        padded("NEW234", " ", "")
    } else if is("lock") {
        padded("false", "e", "")
    } else if (is("date") || lower.ends_with("_at")) && length > 40 {
        padded("2026-03-01T00:00:00.000000000+00:00[", "a", "]")
    } else if is("date") || lower.ends_with("_at") {
        padded("2026-03-01T00:00:00.", "0", "+00:00")
    } else {
        padded("", "a", "")
    }
}

/// So many items, each another.
fn items(api: &Api, way: &[Step], schema: &Value, body: &Value, count: usize) -> Value {
    let first = body.pointer(&format!("/{}/0", name(way))).cloned();
    let item = first.unwrap_or_else(|| least(api, &schema["items"]));
    let item = |index: usize| match item.clone() {
        Value::Number(_) => json!(index + 1),
        Value::String(_) if text(name(way), 30).contains("://") => {
            json!(format!("https://a.example/{index}"))
        }
        Value::String(text) => json!(format!("{text}-{index}")),
        Value::Object(mut members) => {
            for (name, value) in &mut members {
                match name.as_str() {
                    "id" => *value = json!(index + 1),
                    "email" => *value = json!(format!("a{index}@b.example")),
                    _ => {}
                }
            }
            json!(members)
        }
        other => other,
    };
    (0..count).map(item).collect()
}

/// Operations that only compare what they get with what is kept: all that is wrong is one to them.
const TRYING: [&str; 4] = ["login", "refresh", "redeem", "createToken"];

/// An operation with a body.
struct Operation {
    api: &'static Api,
    method: String,
    target: String,
    id: String,
    media_type: String,
    schema: Value,
    examples: Vec<Value>,
}

fn operations() -> Vec<Operation> {
    let mut found = Vec::new();
    for api in document::all() {
        for (path, operations) in api.whole["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let content = resolved(api, &operation["requestBody"])["content"].as_object();
                let Some(content) = content else { continue };
                let is_read = |name: &&String| !name.contains("xml") && !name.contains("multipart");
                let Some(media_type) = content.keys().find(is_read) else { continue };
                let parameters = [&operations["parameters"], &operation["parameters"]];
                let parameters = parameters.into_iter().filter_map(Value::as_array).flatten();
                let target =
                    parameters.map(|it| resolved(api, it)).fold(path.clone(), |path, it| {
                        let example = it["example"].to_string();
                        let name = format!("{{{}}}", it["name"].as_str().unwrap());
                        path.replace(&name, example.trim_matches('"'))
                    });
                let content = &content[media_type];
                let several = content["examples"].as_object().into_iter().flat_map(Map::values);
                let several = several.map(|example| resolved(api, example)["value"].clone());
                found.push(Operation {
                    api,
                    method: method.to_uppercase(),
                    target,
                    id: operation["operationId"].as_str().unwrap().to_owned(),
                    media_type: media_type.clone(),
                    schema: content["schema"].clone(),
                    examples: several.chain(content.get("example").cloned()).collect(),
                });
            }
        }
    }
    found
}

impl Operation {
    fn request(&self, server: &Server) -> Request {
        let request = server.request(&self.method, &self.target);
        let is_students = self.target.starts_with("/user/");
        let request = match self.api.name {
            "kolleges" => request.bearer("demo-kolleges-key"),
            "native" => request.bearer("demo-admin-key"),
            "partner" if is_students => request.bearer("demo-student-token"),
            "partner" => request.bearer("demo-partner-token"),
            "ispring" => request.header("authorization", "demo-ispring-OWN-token"),
            "ncloud" => crate::ncloud::signed(server, &self.method, &self.target),
            _ => {
                let (key, secret) = (crate::solapi::KEY, crate::solapi::SECRET);
                request.header("authorization", crate::solapi::fresh(server, key, secret))
            }
        };
        // What one request makes is not in the next one's way.
        if self.is_trying() { request } else { request.header("haksa-dry-run", "true") }
    }

    fn is_trying(&self) -> bool {
        TRYING.contains(&self.id.as_str())
    }

    async fn send(&self, server: &Server, body: &Value) -> Reply {
        let request = self.request(server).header("content-type", &self.media_type);
        let text = match body.as_object() {
            Some(members) if self.media_type.ends_with("urlencoded") => {
                let pairs = members.iter().map(|(name, value)| (name, value.as_str().unwrap()));
                form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
            }
            _ => body.to_string(),
        };
        request.body(text).send().await
    }

    /// Asks for the bound of one place, and for one more.
    async fn try_place(&self, server: &Server, way: &Way, schema: &Value) {
        let about = format!("{} {}: {}", self.method, self.target, name(way));
        let (max, is_text) = match (&schema["maxLength"], &schema["maxItems"]) {
            (Value::Number(max), _) if is_of(schema, "string") => (max, true),
            (_, Value::Number(max)) if is_of(schema, "array") => (max, false),
            _ => panic!("{about} has no bound in its document: {schema}"),
        };
        let max = usize::try_from(max.as_u64().unwrap()).unwrap();
        let with = self.examples.iter().find(|example| has(example, way));
        let base = with.or(self.examples.first()).cloned();
        let base = base.unwrap_or_else(|| least(self.api, &self.schema));
        let mut replies = Vec::new();
        for count in [max, max + 1] {
            let value = if is_text {
                json!(text(name(way), count))
            } else {
                items(self.api, way, schema, &base, count)
            };
            let mut body = base.clone();
            put(self.api, &mut body, way, value);
            replies.push(self.send(server, &body).await);
        }
        let (fits, over) = (&replies[0], &replies[1]);
        if self.is_trying() {
            assert!([400, 401, 422].contains(&over.status), "{about}: {}", over.text());
            assert_eq!(fits.status, over.status, "{about}: {}", over.text());
            return;
        }
        assert!([400, 422].contains(&over.status), "{about} over {max}: {}", over.text());
        // One of a set, none of which is as long.
        let is_of_a_set = name(way) == "timezone";
        assert!(
            is_of_a_set || fits.status < 300 || fits.status < 500 && fits.body != over.body,
            "{about} of {max}: {} {}",
            fits.status,
            fits.text()
        );
    }
}

async fn bodies(server: Server) {
    let redeem = server.request("POST", "/user/class/invites/redeem").bearer("demo-student-token");
    assert_eq!(redeem.json(&json!({"code": "ABC234"})).send().await.status, 201);
    let mut count = 0;
    for operation in operations() {
        let mut found = Vec::new();
        ways(operation.api, &operation.schema, &Vec::new(), &mut found);
        for (way, schema) in found {
            let is_named = schema.get("enum").or_else(|| schema.get("const")).is_some();
            // Each has one form, or is looked at and not kept.
            let formats = ["uuid", "date", "date-time", "binary", "password"];
            let is_formed = formats.contains(&schema["format"].as_str().unwrap_or_default());
            let is_set = schema["uniqueItems"] == true
                && resolved(operation.api, &schema["items"]).get("enum").is_some();
            if is_named || is_formed {
                continue;
            }
            assert!(!is_set || schema["maxItems"].is_u64(), "{}: {schema}", operation.id);
            if !is_set {
                operation.try_place(&server, &way, &schema).await;
                count += 1;
            }
        }
    }
    assert!(count > 100, "only {count} places were found");
    server.assert_sound().await;
}

async fn indexed_texts(server: Server) {
    // Letters that do not repeat, which no database makes shorter.
    let long: String =
        (0..6_000_u32).filter_map(|n| char::from_u32(0xac00 + n * 7 % 11_172)).collect();
    let patch = |target: &str, body: Value| {
        server.request("PATCH", target).bearer("demo-admin-key").json(&body).send()
    };
    let reply = patch("/haksa/v1/account", json!({"club_domain": long})).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    let error = &reply.json()["errors"][0];
    assert_eq!((&error["field"], &error["code"]), (&json!("club_domain"), &json!("too_long")));
    let most: String = long.chars().take(255).collect();
    let reply = patch("/haksa/v1/account", json!({"club_domain": most})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = patch("/haksa/v1/models/1", json!({"provider": most, "model_name": most})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let course = |body: Value| {
        let request = server.request("PATCH", "/partner/7/course/5").bearer("demo-partner-token");
        request.json(&body).send()
    };
    assert_eq!(course(json!({"course_key": most})).await.status, 200);
    let reply = course(json!({"title": long})).await;
    assert_eq!((reply.status, reply.text().as_str()), (400, r#"{"detail":"title_too_long"}"#));
}

async fn records(server: Server) {
    let form = |requirements: usize| {
        let one = json!({"description": "가".repeat(20_000)});
        let body = json!({"requirements": vec![one; requirements]});
        let request = server.request("PATCH", "/haksa/v1/forms/551").bearer("demo-admin-key");
        request.json(&body).send()
    };
    let reply = form(4).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = form(5).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    let error = &reply.json()["errors"][0];
    let expected = (&json!("requirements"), &json!("record_too_large"));
    assert_eq!((&error["field"], &error["code"]), expected);
    // The operator's own door leads to the same rules.
    let issue = |names: std::ops::Range<usize>| {
        let users: Vec<_> = names
            .map(|n| json!({"name": format!("이름{n}"), "email": "one@school.example"}))
            .collect();
        let body = json!({"achievementFormId": 551, "mode": "email", "users": users});
        let request = server.request("POST", "/open-api/achievements/issue");
        request.bearer("demo-kolleges-key").json(&body).send()
    };
    // A school's one address stands for more people than one person can have names.
    assert_eq!(issue(0..1_200).await.status, 201);
    assert_eq!(issue(1_200..1_210).await.status, 201);
    server.assert_sound().await;
}

async fn control_characters(server: Server) {
    for (text, status) in
        [("한\t줄\n", 200), ("한\r\n줄", 200), ("한\r줄", 400), ("\u{1b}[2J", 400)]
    {
        let request = server.request("PATCH", "/open-api/achievements/1539");
        let body = json!({"admin_comment": text});
        let reply = request.bearer("demo-kolleges-key").json(&body).send().await;
        assert_eq!(reply.status, status, "{text:?}: {}", reply.text());
    }
    let request = server.request("PATCH", "/partner/7/student/1").bearer("demo-partner-token");
    let redeem = server.request("POST", "/user/class/invites/redeem").bearer("demo-student-token");
    assert_eq!(redeem.json(&json!({"code": "ABC234"})).send().await.status, 201);
    let reply = request.json(&json!({"full_name": "a\r.\rMAIL FROM:<b@c>\r"})).send().await;
    let expected = r#"{"detail":"full_name_control_character"}"#;
    assert_eq!((reply.status, reply.text().as_str()), (400, expected));
    // Names have none at all.
    for name in ["홍\t길동", "홍길동\n", "홍\r길동", "홍\u{85}길동"] {
        let request = server.request("PATCH", "/partner/7/student/1").bearer("demo-partner-token");
        let reply = request.json(&json!({"full_name": name})).send().await;
        assert_eq!((reply.status, reply.text().as_str()), (400, expected), "{name:?}");
        let users = json!([{"name": name, "email": "one@school.example"}]);
        let body = json!({"achievementFormId": 551, "mode": "email", "users": users});
        let request = server.request("POST", "/open-api/achievements/issue");
        let reply = request.bearer("demo-kolleges-key").json(&body).send().await;
        assert_eq!(reply.status, 400, "{name:?}: {}", reply.text());
    }
}

/// One account writes as fast as it can, of 1 MiB a second and 32 MiB at once.
async fn metering(server: Server) {
    let backend =
        if server.url.starts_with("sqlite:") { Backend::Sqlite } else { Backend::Postgres };
    let limits = LimitsConfig { account_write_mib_s: 1, ..LimitsConfig::default() };
    let server = Server::start_with(backend, Config { limits, ..Config::default() }).await;
    let edit = |id: i64, key: &str, body: Value| {
        let target = format!("/open-api/achievements/{id}");
        server.request("PATCH", &target).bearer(key).json(&body).send()
    };
    let (mut count, comment) = (0, "가".repeat(19_990));
    let refused = loop {
        let body = json!({"admin_comment": format!("{count}{comment}")});
        let reply = edit(1539, "demo-kolleges-key", body).await;
        if reply.status != 200 {
            break reply;
        }
        count += 1;
        assert!(count < 2_000, "nobody counts");
    };
    // What stood there before, and after: twice 60 KB each.
    assert!(count > 250, "{count}");
    assert_eq!(
        (refused.status, refused.json()["error"].as_str()),
        (503, Some("ServiceUnavailable"))
    );
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|wait| wait > 0));
    let read = server.request("GET", "/open-api/achievements/1539").bearer("demo-kolleges-key");
    assert_eq!(read.send().await.status, 200, "reads cost nothing");
    let other = edit(9001, "demo-kolleges-other-key", json!({"level": 1})).await;
    assert_eq!(other.status, 200, "another account has its own: {}", other.text());
    let command = Edit::<Account> {
        key: 3.into(),
        edit: AccountEdit { name: Patch::Value("새 이름".to_owned()), ..AccountEdit::default() },
        expected: Expected::Any,
    };
    let envelope = Envelope::new(Actor::operator(3), "test");
    server.app.pipeline.run(command, envelope).await.expect("the operator is not metered");
}

/// What has outlived its use goes, in a server that has nothing to do.
async fn sweeping(server: Server) {
    let at = server.clock.now().as_microsecond();
    let (old, new) = (at - 3 * 3_600_000_000, at);
    let day_ago = at - 27 * 3_600_000_000;
    let row = |n: i64, at: i64| format!("({at}, 1, 'digest-{n}')");
    let signatures: Vec<_> = (0..2_500).map(|n| row(n, old + n)).chain([row(0, new)]).collect();
    server
        .spoil(&format!(
            "INSERT INTO signature (expires_at, credential_id, digest) VALUES {};
             INSERT INTO token (hash, credential_id, expires_at)
             VALUES ('old', 1, {old}), ('new', 1, {new});
             INSERT INTO idempotency (credential_id, key, request_hash, status, headers, body, at)
             VALUES (1, 'old', '', 200, '[]', '', {day_ago}), (1, 'new', '', 200, '[]', '', {new})",
            signatures.join(", ")
        ))
        .await;
    let left = "SELECT (SELECT count(*) FROM signature WHERE digest LIKE 'digest-%'), \
                (SELECT count(*) FROM token WHERE hash IN ('old', 'new')), \
                (SELECT count(*) FROM idempotency WHERE key IN ('old', 'new'))";
    let mut waited = 0;
    while server.numbers(left).await != [1, 1, 1] {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        waited += 1;
        assert!(waited < 150, "left after 15 s: {:?}", server.numbers(left).await);
    }
    server.assert_sound().await;
}
