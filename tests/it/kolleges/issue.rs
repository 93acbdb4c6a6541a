//! Issuing certificates.

use std::collections::BTreeSet;
use std::sync::Arc;

use haksa::domain::actor::Actor;
use haksa::domain::certificate::achievement::IssuanceMethod;
use haksa::domain::certificate::issue::{Issue, Recipient};
use haksa::domain::command::Entropy;
use haksa::domain::delivery::message::{Channel, Message};
use haksa::domain::facts::Facts;
use haksa::pipeline::{Envelope, Pipeline};
use haksa::store::Writer;
use serde_json::{Value, json};

use super::{KEY, assert_bad_request};
use crate::support::{NOW, Request, Server, on_both_stores};

const ISSUE: &str = "/open-api/achievements/issue";

on_both_stores!(
    documented,
    by_phone,
    all_or_none,
    what_is_refused,
    holders,
    many,
    seen_all_at_once,
    history_has_nothing_of_an_issue_before_all_of_it_is_there,
    twice_with_one_key,
    who_may,
    numbers_that_are_taken_are_drawn_again,
);

fn issue(server: &Server, body: &Value) -> Request {
    server.request("POST", ISSUE).bearer(KEY).json(body)
}

fn by_email(users: impl Into<Value>) -> Value {
    let users: Value = users.into();
    json!({"achievementFormId": 551, "mode": "email", "users": users})
}

async fn search(server: &Server, text: &str) -> Vec<Value> {
    let query: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let target = format!("/open-api/achievements?pageSize=20000&search={query}");
    let reply = server.request("GET", &target).bearer(KEY).send().await;
    assert_eq!(reply.status, 200);
    reply.json()["achievements"].as_array().unwrap().clone()
}

/// How many match, without their being shown.
async fn count(server: &Server, text: &str) -> i64 {
    let query: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let target = format!("/open-api/achievements?pageSize=1&search={query}");
    let reply = server.request("GET", &target).bearer(KEY).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["totalPages"].as_i64().unwrap()
}

async fn read(server: &Server, id: &Value) -> Value {
    let target = format!("/open-api/achievements/{id}");
    server.request("GET", &target).bearer(KEY).send().await.json()["achievement"].clone()
}

async fn documented(server: Server) {
    let body = by_email(json!([{
        "name": "홍길동", "email": "hong2@example.com", "admin_comment": "축하합니다!", "level": 5,
        "custom_attributes": [{"attribute_tag": "score", "attribute_value": "90"}],
    }]));
    let reply = issue(&server, &body).send().await;
    assert_eq!(reply.text(), r#"{"statusCode":201,"message":"인증서가 발급되었습니다."}"#);
    assert_eq!(reply.status, 201);
    let found = search(&server, "hong2@example.com").await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0]["issuance_method"], &found[0]["is_received"]),
        (&json!("EMAIL"), &json!(false))
    );
    let one = read(&server, &found[0]["id"]).await;
    for (field, value) in [
        ("admin_comment", json!("축하합니다!")),
        ("level", json!(5)),
        ("nft_token", Value::Null),
        ("issuance_route", json!("automatic")),
        ("course_begin_at", json!("2025-04-01T00:00:00.000Z")),
        ("course_end_at", json!("2025-04-07T00:00:00.000Z")),
        ("expiration_date", Value::Null),
        ("status", json!("ISSUED")),
        ("created_at", json!("2026-04-23T09:15:30.000Z")),
        ("updated_at", json!("2026-04-23T09:15:30.000Z")),
        ("evidences", json!([])),
        ("customAttributes", json!([{"attribute_tag": "score", "attribute_value": "90"}])),
        ("achievementFormId", json!(551)),
    ] {
        assert_eq!(one[field], value, "{field}");
    }
    assert_eq!(
        (&one["user"]["name"], &one["user"]["email"]),
        (&json!("홍길동"), &json!("hong2@example.com"))
    );
    let number = one["certificate_number"].as_str().unwrap();
    let drawn = number.strip_prefix("SAND-202604-").unwrap();
    assert!(
        drawn.len() == 6 && drawn.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    );

    // The news of it was left in the same commit, and goes with it.
    let id = one["id"].as_i64().unwrap();
    let messages = async || {
        let select = |facts: &mut Facts| facts.select::<Message>(3, "achievement_id", id);
        server.app.store.read(select).await.unwrap()
    };
    let left = messages().await;
    assert_eq!(left.len(), 1);
    let Message { channel, recipient, recipient_name, body: text, .. } = &*left[0].record;
    assert_eq!((*channel, recipient.as_str()), (Channel::Email, "hong2@example.com"));
    assert!(recipient_name == "홍길동" && text.contains(number), "{text}");
    let target = format!("/open-api/achievements/{id}");
    assert_eq!(server.request("DELETE", &target).bearer(KEY).send().await.status, 200);
    assert_eq!(messages().await.len(), 0);

    // A form without a prefix, and the sample's own body.
    let mut body = body;
    body["achievementFormId"] = json!(482);
    body["users"][0]["email"] = json!("hong@example.com");
    assert_eq!(issue(&server, &body).send().await.status, 201);
    let found = search(&server, "hong@example.com").await;
    assert_eq!(found.len(), 2, "the holder of 1539 has another");
    assert!(found[0]["certificate_number"].as_str().unwrap().starts_with("CERT-202604-"));
    server.assert_sound().await;
}

async fn by_phone(server: Server) {
    let body = |phone: &str| {
        json!({"achievementFormId": 551, "mode": "phone",
               "users": [{"name": "전화 받는 사람", "phoneNumber": phone}]})
    };
    for phone in ["010-1234-5678", "0101234567", "010123456789", "02012345678", "01o12345678", ""] {
        assert_bad_request(&issue(&server, &body(phone)).send().await);
    }
    assert_eq!(issue(&server, &body("01012345678")).send().await.status, 201);
    assert_eq!(issue(&server, &body("01012345678")).send().await.status, 201);
    let found = search(&server, "전화 받는").await;
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["issuance_method"], "PHONE");
    assert_eq!(found[0]["user"]["email"], Value::Null);
}

async fn all_or_none(server: Server) {
    let user = |n: usize, email: &str| json!({"name": format!("사람 {n}"), "email": email});
    let mut users: Vec<Value> = (0..50).map(|n| user(n, &format!("p{n}@example.com"))).collect();
    users[49] = user(49, "no address");
    let reply = issue(&server, &by_email(json!(users))).send().await;
    assert_bad_request(&reply);
    assert_eq!(reply.json()["details"][0]["field"], "users[49].email");
    assert_eq!(search(&server, "사람").await.len(), 0);
    users[49] = user(49, "p49@example.com");
    let dry = issue(&server, &by_email(json!(users))).header("haksa-dry-run", "true").send().await;
    assert_eq!((dry.status, dry.header("haksa-changes")), (201, "150"));
    assert_eq!(search(&server, "사람").await.len(), 0);
    assert_eq!(issue(&server, &by_email(json!(users))).send().await.status, 201);
    assert_eq!(search(&server, "사람").await.len(), 50);
    server.assert_sound().await;
}

async fn what_is_refused(server: Server) {
    let neither = by_email(json!([{"name": "누구"}]));
    let reply = issue(&server, &neither).send().await;
    let body = reply.json();
    assert_eq!((reply.status, &body["error"]), (400, &json!("ValidationError")));
    assert_eq!(body["message"], "email 또는 phoneNumber 중 하나는 반드시 포함되어야 합니다.");
    assert_eq!(body["details"][0]["field"], "users[0]");

    let good = || json!({"name": "이름", "email": "a@example.com"});
    let with = |field: &str, value: Value| {
        let mut user = good();
        user[field] = value;
        by_email(json!([user]))
    };
    let top = |field: &str, value: Value| {
        let mut body = by_email(json!([good()]));
        body[field] = value;
        body
    };
    for (field, body) in [
        ("mode", top("mode", json!("fax"))),
        ("mode", top("mode", json!("EMAIL"))),
        ("mode", top("mode", Value::Null)),
        ("mode", json!({"achievementFormId": 551, "users": [good()]})),
        ("users", json!({"achievementFormId": 551, "mode": "email"})),
        ("achievementFormId", json!({"mode": "email", "users": [good()]})),
        ("achievementFormId", top("achievementFormId", json!("551"))),
        ("achievementFormId", top("achievementFormId", json!(1.5))),
        ("users", top("users", json!([]))),
        ("users", top("users", json!({}))),
        ("users[0]", top("users", json!(["hong"]))),
        ("more", top("more", json!(1))),
        ("users[0].name", by_email(json!([{"email": "a@example.com"}]))),
        ("users[0].name", with("name", json!(3))),
        ("users[0].name", with("name", json!("a\u{0}"))),
        ("users[0].name", with("name", json!(""))),
        ("users[0].name", with("name", json!(" \t\u{3000}\n"))),
        ("users[0].email", with("email", json!("hong"))),
        ("users[0].email", with("email", Value::Null)),
        ("users[0].email", by_email(json!([{"name": "n", "phoneNumber": "01012345678"}]))),
        ("users[0].phoneNumber", with("phoneNumber", json!("010-1234-5678"))),
        ("users[0].level", with("level", json!("5"))),
        ("users[0].level", with("level", json!(1e300))),
        ("users[0].level", with("level", json!(18_446_744_073_709_551_616.0))),
        (
            "users[0].custom_attributes[0].attribute_tag",
            with("custom_attributes", json!([{"attribute_tag": " ", "attribute_value": ""}])),
        ),
        ("users[0].admin_comment", with("admin_comment", json!(5))),
        ("users[0].custom_attributes", with("custom_attributes", json!({}))),
        (
            "users[0].custom_attributes[0].attribute_value",
            with("custom_attributes", json!([{"attribute_tag": "score"}])),
        ),
        (
            "users[0].custom_attributes[0].attribute_value",
            with("custom_attributes", json!([{"attribute_tag": "score", "attribute_value": 90}])),
        ),
        ("users[0].expiration_date", with("expiration_date", json!("2026-01-01"))),
    ] {
        let reply = issue(&server, &body).send().await;
        assert_bad_request(&reply);
        assert_eq!(reply.json()["details"][0]["field"], field, "{body}");
    }
    let many: Vec<Value> = (0..10_001)
        .map(|n| json!({"name": "이름", "email": format!("p{n}@example.com")}))
        .collect();
    let reply = issue(&server, &by_email(json!(many))).send().await;
    assert_bad_request(&reply);
    assert_eq!(reply.json()["details"][0]["field"], "users");
    assert_eq!(search(&server, "이름").await.len(), 0);
}

/// Who holds what: one person for each contact, however it is written, under the name asked for.
async fn holders(server: Server) {
    let body = by_email(json!([
        {"name": "홍길동", "email": "HONG@Example.com"},
        {"name": "홍길동", "email": "new@example.com"},
        {"name": "홍길순", "email": "new@example.com"},
        {"name": "홍길동", "email": "new@example.com"},
    ]));
    assert_eq!(issue(&server, &body).send().await.status, 201);
    let found = search(&server, "new@example.com").await;
    let names: Vec<_> = found.iter().map(|one| one["user"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["홍길동", "홍길순", "홍길동"], "newest first");
    assert_eq!(search(&server, "홍길순").await.len(), 1, "not that person's others");
    assert_eq!(search(&server, "hong@example.com").await.len(), 2);
    // One person was made, and the one of 1539 was not made anew.
    assert_eq!(server.history("person/501").await.len(), 1);
    // Another club's person with the same address is another person.
    let other = json!({"achievementFormId": 9000, "mode": "email",
                       "users": [{"name": "다른 이름", "email": "new@example.com"}]});
    let request = server.request("POST", ISSUE).bearer("demo-kolleges-other-key").json(&other);
    assert_eq!(request.send().await.status, 201);
    assert_eq!(search(&server, "다른 이름").await.len(), 0);
    assert_eq!(search(&server, "new@example.com").await.len(), 3);
    // A certificate under a name that is not the person's own is found under that name alone.
    let body = by_email(json!([{"name": "Hong Gildong", "email": "hong@example.com"}]));
    assert_eq!(issue(&server, &body).send().await.status, 201);
    let found = search(&server, "gildong").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["user"]["name"], "Hong Gildong");
    assert_eq!(search(&server, "hong@example.com").await.len(), 3);
    let own = search(&server, "홍길동").await;
    assert!(own.iter().all(|one| one["user"]["name"] == "홍길동"), "{own:?}");
    assert_eq!(own.len(), 4);
    server.assert_sound().await;
}

/// As many as there may be, in one request of more than a mebibyte.
async fn many(server: Server) {
    let users: Vec<Value> = (0..10_000)
        .map(|n| {
            json!({"name": format!("수강생 {n}"), "email": format!("learner{n}@mail.example.com"),
                   "admin_comment": "수고하셨습니다. 축하합니다!", "level": n})
        })
        .collect();
    let body = by_email(json!(users));
    assert!(body.to_string().len() > 1024 * 1024);
    let reply = issue(&server, &body).send().await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert_eq!(count(&server, "수강생").await, 10_000);
    assert_eq!(search(&server, "learner123@").await.len(), 1);
    // A stranger's long body is not read.
    let request = server.request("POST", ISSUE).bearer("wrong").json(&body);
    assert_eq!(request.send().await.status, 401);
}

/// While a large command is written, others edit and read; nobody sees a part of it.
async fn seen_all_at_once(server: Server) {
    let body = |name: &str| {
        let users: Vec<Value> = (0..1200)
            .map(|n| json!({"name": name, "email": format!("{name}{n}@example.com")}))
            .collect();
        by_email(users)
    };
    let issuing = tokio::spawn(issue(&server, &body("together")).send());
    let also = tokio::spawn(issue(&server, &body("also")).send());
    let mut seen = std::collections::HashSet::new();
    let mut edits = 0;
    while !(issuing.is_finished() && also.is_finished()) {
        seen.insert(count(&server, "together").await);
        seen.insert(count(&server, "also").await);
        edits += 1;
        let edit = server.request("PATCH", "/open-api/achievements/1539").bearer(KEY);
        assert_eq!(edit.json(&json!({"level": edits})).send().await.status, 200);
        // A small one among the large.
        let small = by_email(json!([{"name": "한 사람", "email": "one@example.com"}]));
        assert_eq!(issue(&server, &small).send().await.status, 201);
    }
    assert_eq!(issuing.await.unwrap().status, 201);
    assert_eq!(also.await.unwrap().status, 201);
    seen.insert(count(&server, "together").await);
    seen.insert(count(&server, "also").await);
    assert!(edits > 1, "nobody was served meanwhile");
    assert!(seen.iter().all(|count| [0, 1200].contains(count)), "{seen:?}");
    assert_eq!(count(&server, "한 사람").await, edits);
    // Refused as a whole, and repeated, as a small one is.
    let mut bad = body("bad");
    bad["achievementFormId"] = json!(9000);
    assert_eq!(issue(&server, &bad).send().await.status, 404);
    let dry = issue(&server, &body("dry")).header("haksa-dry-run", "true").send().await;
    assert_eq!((dry.status, dry.header("haksa-changes")), (201, "3600"));
    for _ in 0..2 {
        let again = issue(&server, &body("again")).header("idempotency-key", "large").send().await;
        assert_eq!(again.status, 201);
    }
    for (name, times) in [("bad", 0), ("dry", 0), ("again", 1200)] {
        assert_eq!(count(&server, name).await, times, "{name}");
    }
    server.assert_sound().await;
}

async fn history_has_nothing_of_an_issue_before_all_of_it_is_there(server: Server) {
    const CHANGES: &str =
        "SELECT count(*), coalesce(max(id), 0) FROM change WHERE kind = 'achievement'";
    let before = server.numbers(CHANGES).await[0];
    let users: Vec<Value> = (0..1200)
        .map(|n| json!({"name": "함께", "email": format!("together{n}@example.com")}))
        .collect();
    let issuing = tokio::spawn(issue(&server, &by_email(users)).send());
    let mut looks = Vec::new();
    while !issuing.is_finished() {
        looks.push(server.numbers(CHANGES).await[0] - before);
    }
    assert_eq!(issuing.await.unwrap().status, 201);
    assert_eq!(server.numbers(CHANGES).await[0] - before, 1200);
    assert!(looks.iter().all(|count| [0, 1200].contains(count)), "{looks:?}");
    assert!(looks.contains(&0), "nobody looked in time");
    // One act, from the first change to the last, told from others' in between.
    let act = server
        .numbers(
            "SELECT count(*), count(act_end), count(DISTINCT act_id), max(act_end) - max(id) \
             FROM change WHERE act_id IS NOT NULL",
        )
        .await;
    assert_eq!(act, [3600, 1, 1, 0]);
    server.assert_sound().await;
}

async fn twice_with_one_key(server: Server) {
    let body = by_email(json!([{"name": "한 번", "email": "once@example.com"}]));
    for _ in 0..2 {
        let reply = issue(&server, &body).header("idempotency-key", "issue-1").send().await;
        assert_eq!(reply.status, 201);
    }
    assert_eq!(search(&server, "한 번").await.len(), 1);
    let other = by_email(json!([{"name": "두 번", "email": "once@example.com"}]));
    let reply = issue(&server, &other).header("idempotency-key", "issue-1").send().await;
    assert_eq!(reply.status, 422);
    // Without a key, a request that is sent again issues again.
    assert_eq!(issue(&server, &body).send().await.status, 201);
    assert_eq!(search(&server, "한 번").await.len(), 2);
}

async fn who_may(server: Server) {
    let body = by_email(json!([{"name": "이름", "email": "a@example.com"}]));
    let reply = server.request("POST", ISSUE).json(&body).send().await;
    assert_eq!(
        reply.text(),
        r#"{"statusCode":401,"error":"Unauthorized","message":"Invalid token"}"#
    );
    for id in [9000, 999_999, 0, -1] {
        let mut body = body.clone();
        body["achievementFormId"] = json!(id);
        let reply = issue(&server, &body).send().await;
        assert_eq!(
            reply.text(),
            r#"{"statusCode":404,"error":"AchievementFormNotFound","message":"해당 인증서를 찾을 수 없습니다."}"#,
            "{id}"
        );
        assert_eq!(reply.status, 404);
        // What is wrong with the body is said first.
        body["mode"] = json!("fax");
        assert_bad_request(&issue(&server, &body).send().await);
    }
    assert_eq!(search(&server, "이름").await.len(), 0);
}

/// Draws the same again and again.
struct Stuck;

impl Entropy for Stuck {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

async fn numbers_that_are_taken_are_drawn_again(server: Server) {
    let (pipeline, queues) = Pipeline::new();
    let writer = Writer {
        queues,
        now: Arc::new(|| NOW.parse().unwrap()),
        entropy: || Box::new(Stuck),
        is_sweeping: true,
    };
    let running = server.app.store.start_writer(writer).unwrap();
    for round in 0..3 {
        let user = |n: i64| Recipient {
            name: format!("사람 {n}"),
            email: Some(format!("p{n}@example.com")),
            ..Recipient::default()
        };
        // The second time all of its first draws are taken, the third time two rounds of them.
        let recipients = (0..20).map(user).collect();
        let outbox = server.app.outbox.clone();
        let command = Issue::new(551, IssuanceMethod::Email, recipients, outbox);
        let envelope = Envelope::new(Actor::operator(3), format!("round {round}"));
        pipeline.run(command, envelope).await.unwrap();
    }
    let found = search(&server, "사람 ").await;
    let numbers: BTreeSet<&str> =
        found.iter().map(|one| one["certificate_number"].as_str().unwrap()).collect();
    assert_eq!((found.len(), numbers.len()), (60, 60));
    drop(pipeline);
    running.join().await;
    server.assert_sound().await;
}
