//! The Kolleges dialect: the contract's vectors, every field in every state, and what every edit
//! gains.

mod design;
mod form;
mod issue;
mod search;

use futures_util::future::join_all;
use haksa::domain::actor::Actor;
use haksa::domain::certificate::achievement::Achievement;
use haksa::domain::command::{Command, Create};
use haksa::domain::people::person::Person;
use haksa::domain::record::Key;
use haksa::pipeline::Envelope;
use serde_json::{Value, json};

use crate::support::{Reply, Request, Server, on_both_stores};

const KEY: &str = "demo-kolleges-key";
const ONE: &str = "/open-api/achievements/1539";

on_both_stores!(
    documented_edit,
    field_matrix,
    nothing_is_half_written,
    who_may,
    paths,
    bodies,
    entity_tags,
    idempotency_keys,
    dry_runs,
    list,
    long_lists,
    deletion,
    unknown_routes,
    allowed_addresses,
);

fn edit(server: &Server, body: &Value) -> Request {
    server.request("PATCH", ONE).bearer(KEY).json(body)
}

async fn read(server: &Server) -> Value {
    let reply = server.request("GET", ONE).bearer(KEY).send().await;
    assert_eq!(reply.status, 200);
    reply.json()["achievement"].clone()
}

fn assert_edited(reply: &Reply) {
    assert_eq!(reply.text(), r#"{"statusCode":200,"message":"인증서가 수정되었습니다."}"#);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
}

fn assert_bad_request(reply: &Reply) {
    let body = reply.json();
    assert_eq!(reply.status, 400, "{body}");
    assert_eq!(body["statusCode"], 400);
    assert_eq!(body["error"], "BadRequest");
    assert_eq!(body["message"], "잘못된 요청입니다.");
}

fn assert_not_found(reply: &Reply) {
    assert_eq!(
        reply.text(),
        r#"{"statusCode":404,"error":"AchievementNotFound","message":"해당 인증서를 찾을 수 없습니다."}"#
    );
    assert_eq!(reply.status, 404);
}

async fn documented_edit(server: Server) {
    let before = read(&server).await;
    let body = json!({
        "course_begin_at": "2025-04-01T00:00:00Z",
        "course_end_at": "2025-07-01T00:00:00Z",
        "expiration_date": "2026-04-01T00:00:00Z",
        "admin_comment": "재발급 요청으로 인해 수정",
        "level": 2,
    });
    server.clock.advance(jiff::SignedDuration::from_secs(1));
    assert_edited(&edit(&server, &body).send().await);
    let after = read(&server).await;
    for (field, value) in [
        ("course_begin_at", json!("2025-04-01T00:00:00.000Z")),
        ("course_end_at", json!("2025-07-01T00:00:00.000Z")),
        ("expiration_date", json!("2026-04-01T00:00:00.000Z")),
        ("admin_comment", json!("재발급 요청으로 인해 수정")),
        ("level", json!(2)),
        ("updated_at", json!("2026-04-23T09:15:31.000Z")),
        ("created_at", json!("2025-04-06T21:40:39.316Z")),
        ("certificate_number", json!("SAND-202504-r9a1pt")),
    ] {
        assert_eq!(after[field], value, "{field}");
    }
    for field in ["user", "achievementForm", "customAttributes", "status", "issuance_method"] {
        assert_eq!(after[field], before[field], "{field}");
    }
}

/// Field × absent, null, value, invalid.
async fn field_matrix(server: Server) {
    let start = json!({
        "course_begin_at": "2025-04-01", "course_end_at": "2025-07-01",
        "expiration_date": "2026-04-01", "created_at": "2025-04-06T21:40:39.316Z",
        "admin_comment": "처음", "level": 1,
    });
    let dates = |field: &str| {
        [
            (json!({field: "2025-05-01"}), Some(json!("2025-05-01T00:00:00.000Z"))),
            (json!({field: "2025-05-02T09:30:00+09:00"}), Some(json!("2025-05-02T00:30:00.000Z"))),
            (
                json!({field: "2025-05-02T09:30:00.123987Z"}),
                Some(json!("2025-05-02T09:30:00.123Z")),
            ),
            (json!({field: "2025-05-02T09:30:00+0900"}), Some(json!("2025-05-02T00:30:00.000Z"))),
            (
                json!({field: "2025-05-02T09:30:00+09:00[Asia/Seoul]"}),
                Some(json!("2025-05-02T00:30:00.000Z")),
            ),
            (json!({field: "2025-05-02T09:30:00[Asia/Seoul]"}), None),
            (json!({field: "2025/05/01"}), None),
            (json!({field: "2025-02-30"}), None),
            (json!({field: ""}), None),
            (json!({field: 1_743_465_600}), None),
            (json!({field: true}), None),
            (json!({field: {}}), None),
            (json!({field: ["2025-05-01"]}), None),
        ]
    };
    let mut cases = Vec::new();
    for field in ["course_begin_at", "course_end_at", "expiration_date", "created_at"] {
        cases.extend(dates(field).map(|(body, expected)| (field, body, expected)));
    }
    for field in ["course_begin_at", "course_end_at", "expiration_date", "admin_comment"] {
        cases.push((field, json!({field: null}), Some(Value::Null)));
    }
    for field in ["created_at", "level"] {
        cases.push((field, json!({field: null}), None));
    }
    for level in [json!(0), json!(-3), json!(2.5), json!(9_007_199_254_740_991_i64), json!(1e16)] {
        cases.push(("level", json!({"level": level}), Some(level)));
    }
    for text in ["18446744073709551615", "-9223372036854775808", "9223372036854775807.0"] {
        let level: Value = serde_json::from_str(text).unwrap();
        cases.push(("level", json!({"level": level}), Some(level)));
    }
    // The next whole numbers cannot be told from others.
    for text in ["18446744073709551616", "-9223372036854775809", "-1e19"] {
        let level: Value = serde_json::from_str(text).unwrap();
        cases.push(("level", json!({"level": level}), None));
    }
    for level in [json!("2"), json!(true), json!({}), json!([2]), json!(1e300)] {
        cases.push(("level", json!({"level": level}), None));
    }
    for text in ["", "두 줄\n둘째", "\t𝄞", "'; DROP TABLE achievement; --"] {
        cases.push(("admin_comment", json!({"admin_comment": text}), Some(json!(text))));
    }
    for comment in [json!(7), json!(false), json!({}), json!([]), json!("\u{0} 𝄞")] {
        cases.push(("admin_comment", json!({"admin_comment": comment}), None));
    }
    for (field, body, expected) in cases {
        assert_edited(&edit(&server, &start).send().await);
        let before = read(&server).await;
        let reply = edit(&server, &body).send().await;
        let after = read(&server).await;
        if let Some(expected) = expected {
            assert_edited(&reply);
            assert_eq!(after[field], expected, "{body}");
        } else {
            assert_bad_request(&reply);
            assert_eq!(reply.json()["details"][0]["field"], field, "{body}");
            assert_eq!(after[field], before[field], "{body}");
        }
        for other in start.as_object().unwrap().keys().filter(|other| *other != field) {
            assert_eq!(after[other], before[other], "{body} touched {other}");
        }
    }
}

async fn nothing_is_half_written(server: Server) {
    let reply = edit(&server, &json!({"level": 3, "expiration_date": "nope"})).send().await;
    assert_bad_request(&reply);
    assert_eq!(read(&server).await["level"], Value::Null);
    let reply = edit(&server, &json!({"level": "x", "course_end_at": 1, "more": 1})).send().await;
    let details = reply.json()["details"].clone();
    assert_eq!(details.as_array().map(Vec::len), Some(3), "{details}");

    // A course that ends before it begins, within one request and against what is stored.
    let backwards = json!({"course_begin_at": "2025-07-01", "course_end_at": "2025-04-01"});
    assert_bad_request(&edit(&server, &backwards).send().await);
    assert_edited(&edit(&server, &json!({"course_begin_at": "2025-07-01"})).send().await);
    assert_bad_request(&edit(&server, &json!({"course_end_at": "2025-06-30"})).send().await);
    assert_edited(&edit(&server, &json!({"course_end_at": "2025-07-01"})).send().await);
    let at_once = json!({"course_begin_at": "2025-05-01", "course_end_at": "2025-05-01"});
    assert_edited(&edit(&server, &at_once).send().await);

    // The documented sample that sends an issue body to the edit route.
    let issue = json!({"achievementFormId": 482, "mode": "email", "users": [{"name": "홍길동"}]});
    let reply = edit(&server, &issue).send().await;
    assert_bad_request(&reply);
    let fields: Vec<_> = reply.json()["details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|detail| detail["field"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(fields, ["achievementFormId", "mode", "users"]);
}

async fn who_may(server: Server) {
    for target in [ONE, "/open-api/achievements/999999", "/open-api/achievements/abc"] {
        for authorization in [
            "",
            "Bearer wrong",
            "Basic demo-kolleges-key",
            "Bearer",
            "Bearer ",
            "demo-kolleges-key",
            "Bearer DEMO-KOLLEGES-KEY",
            "Bearer demo-admin-key",
        ] {
            let mut request = server.request("PATCH", target).body("{bad");
            if !authorization.is_empty() {
                request = request.header("authorization", authorization);
            }
            let reply = request.send().await;
            assert_eq!(
                reply.text(),
                r#"{"statusCode":401,"error":"Unauthorized","message":"Invalid token"}"#,
                "{authorization:?}"
            );
            assert_eq!(reply.status, 401);
        }
    }
    let reply = server
        .request("PATCH", ONE)
        .header("authorization", format!("bEARER {KEY}"))
        .json(&json!({}))
        .send()
        .await;
    assert_edited(&reply);
}

async fn paths(server: Server) {
    let level = json!({"level": 1});
    let at = |id: &str| {
        server
            .request("PATCH", &format!("/open-api/achievements/{id}"))
            .bearer(KEY)
            .json(&level)
            .send()
    };
    for id in ["999999", "9001", "0", "-1", "99999999999999999999999999"] {
        assert_not_found(&at(id).await);
    }
    for id in ["abc", "1.5", "1e3", "0x1", "%20", "1539%00", "-", "%ff"] {
        assert_bad_request(&at(id).await);
    }
    // The body is looked at before the certificate is looked for.
    let reply = server
        .request("PATCH", "/open-api/achievements/999999")
        .bearer(KEY)
        .json(&json!({"level": "x"}))
        .send()
        .await;
    assert_bad_request(&reply);
    for id in ["999999", "9001", "0"] {
        for (field, body) in [
            (
                "course_end_at",
                json!({"course_begin_at": "2025-07-01", "course_end_at": "2025-04-01"}),
            ),
            ("level", json!({"level": 1e300})),
            ("admin_comment", json!({"admin_comment": "가".repeat(20_001)})),
            ("admin_comment", json!({"admin_comment": "\u{7}"})),
        ] {
            let target = format!("/open-api/achievements/{id}");
            let reply = server.request("PATCH", &target).bearer(KEY).json(&body).send().await;
            assert_bad_request(&reply);
            assert_eq!(reply.json()["details"][0]["field"], field, "{id}: {body}");
        }
        // By itself, either end may be right.
        let body = json!({"course_end_at": "1999-04-01", "expiration_date": null});
        let target = format!("/open-api/achievements/{id}");
        assert_not_found(&server.request("PATCH", &target).bearer(KEY).json(&body).send().await);
    }
    let issue = json!({"achievementFormId": 999_999, "mode": "email",
        "users": [{"name": "홍길동", "email": "a@example.com", "admin_comment": "\u{7}"}]});
    let request = server.request("POST", "/open-api/achievements/issue").bearer(KEY);
    let reply = request.json(&issue).send().await;
    assert_bad_request(&reply);
    assert_eq!(reply.json()["details"][0]["field"], "admin_comment");
    let other = server.request("GET", "/open-api/achievements/9001").bearer(KEY).send().await;
    assert_not_found(&other);
    let own = server
        .request("GET", "/open-api/achievements/9001")
        .bearer("demo-kolleges-other-key")
        .send()
        .await;
    assert_eq!(own.json()["achievement"]["level"], Value::Null);
}

async fn bodies(server: Server) {
    let send = |content_type: &'static str, body: Vec<u8>| {
        let request = server.request("PATCH", ONE).bearer(KEY).body(body);
        let request = if content_type.is_empty() {
            request
        } else {
            request.header("content-type", content_type)
        };
        request.send()
    };
    let json = "application/json";
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [
        "{bad",
        "[]",
        "1",
        "\"text\"",
        "null",
        "{\"level\":1}{}",
        "{\"level\":1e999}",
        "{\"level\":NaN}",
        "{\"admin_comment\":\"\\ud800\"}",
        "{\"level\":01}",
        "\u{feff}\u{feff}{}",
        &deep,
        &format!("{{\"level\":{deep}}}"),
        "{\"level\":123456789012345678901234567890}",
        "{\"x\":{\"$serde_json::private::RawValue\":\"[]\"}}",
    ] {
        assert_bad_request(&send(json, body.as_bytes().to_vec()).await);
    }
    assert_bad_request(&send(json, b"{\"admin_comment\":\"\xff\"}".to_vec()).await);
    assert_bad_request(&send(json, vec![b' '; 1024 * 1024 + 1]).await);
    for content_type in ["text/plain", "application/xml", "application/x-www-form-urlencoded"] {
        assert_bad_request(&send(content_type, b"{\"level\":1}".to_vec()).await);
    }
    for (content_type, body) in [
        ("", ""),
        (json, ""),
        ("", "{}"),
        ("application/json; charset=utf-8", "{}"),
        ("APPLICATION/JSON", "{}"),
        (json, "\u{feff}{}"),
        (json, "{\"level\":1,\"level\":5}"),
    ] {
        assert_edited(&send(content_type, body.as_bytes().to_vec()).await);
    }
    assert_eq!(read(&server).await["level"], 5);
}

async fn entity_tags(server: Server) {
    let first = server.request("GET", ONE).bearer(KEY).send().await;
    assert_eq!(first.version(), "1");
    let with =
        |tag: &str, level: i64| edit(&server, &json!({"level": level})).header("if-match", tag);
    let reply = with("\"1\"", 7).send().await;
    assert_edited(&reply);
    assert_eq!(reply.header("etag"), "\"2\"");
    for tag in ["\"1\"", "\"7\"", "W/\"1\"", "nonsense", "2", "\"+2\"", "\"02\""] {
        let reply = with(tag, 8).send().await;
        assert_eq!(reply.status, 412, "{tag}");
        assert_eq!(reply.json()["error"], "PreconditionFailed");
    }
    for (tag, level) in [("*", 8), ("\"9\", \"3\"", 9)] {
        assert_edited(&with(tag, level).send().await);
    }
    // Another's edit to the same value is no edit of one's own.
    assert_eq!(with("\"1\"", 9).send().await.status, 412);
    // What changes nothing writes nothing.
    let before = read(&server).await;
    server.clock.advance(jiff::SignedDuration::from_secs(9));
    let reply = edit(&server, &json!({"level": 9})).send().await;
    assert_edited(&reply);
    assert_eq!(reply.header("etag"), "\"4\"");
    assert_eq!(read(&server).await, before);
}

async fn idempotency_keys(server: Server) {
    let with = |key: &str, level: i64| {
        edit(&server, &json!({"level": level})).header("idempotency-key", key)
    };
    let first = with("k1", 1).send().await;
    assert_edited(&first);
    assert_edited(&edit(&server, &json!({"level": 2})).send().await);
    let again = with("k1", 1).send().await;
    assert_edited(&again);
    assert_eq!(again.header("etag"), first.header("etag"));
    assert_eq!(read(&server).await["level"], 2, "done twice");
    let other = with("k1", 3).send().await;
    assert_eq!(other.status, 422);
    assert_eq!(other.json()["statusCode"], 422);
    assert_bad_request(&with("", 3).send().await);
    assert_bad_request(&with(&"k".repeat(256), 3).send().await);
    // The same, sent with another spelling of the type.
    let request = server.request("PATCH", ONE).bearer(KEY).header("idempotency-key", "k1");
    let request = request.header("content-type", "Application/JSON; charset=utf-8");
    assert_edited(&request.body(json!({"level": 1}).to_string()).send().await);
    assert_eq!(read(&server).await["level"], 2, "done twice");
    // A refused request does not use its key up.
    let refused = edit(&server, &json!({"level": "x"})).header("idempotency-key", "k2");
    assert_bad_request(&refused.send().await);
    assert_edited(&with("k2", 4).send().await);
    // Another caller's key of the same name is another key.
    let other = server
        .request("PATCH", "/open-api/achievements/9001")
        .bearer("demo-kolleges-other-key")
        .header("idempotency-key", "k1")
        .json(&json!({"level": 77}));
    assert_edited(&other.send().await);
    server.clock.advance(jiff::SignedDuration::from_hours(25));
    assert_edited(&with("k1", 5).send().await);
    assert_eq!(read(&server).await["level"], 5);
}

async fn dry_runs(server: Server) {
    let dry = |body: Value| edit(&server, &body).header("haksa-dry-run", "true");
    let before = read(&server).await;
    let reply = dry(json!({"level": 4})).send().await;
    assert_edited(&reply);
    assert_eq!(reply.header("haksa-changes"), "1");
    assert_eq!(read(&server).await, before);
    let reply = dry(json!({})).send().await;
    assert_eq!(reply.header("haksa-changes"), "0");
    assert_bad_request(&dry(json!({"level": "x"})).send().await);
    // What may have been meant as yes is refused.
    for value in ["1", "yes", "", "true, true", "on"] {
        let reply = edit(&server, &json!({"level": 5})).header("haksa-dry-run", value).send().await;
        assert_bad_request(&reply);
        assert_eq!(reply.json()["details"][0]["field"], "Haksa-Dry-Run", "{value:?}");
    }
    let twice = edit(&server, &json!({"level": 5})).header("haksa-dry-run", "false");
    assert_bad_request(&twice.header("haksa-dry-run", "true").send().await);
    assert_eq!(read(&server).await, before);
    // It answers as the real request would, under a key too, and uses none up.
    let with = |key: &str, level: i64| {
        edit(&server, &json!({"level": level})).header("idempotency-key", key)
    };
    assert_edited(&with("k", 6).header("haksa-dry-run", "true").send().await);
    assert_edited(&with("k", 7).header("haksa-dry-run", "false").send().await);
    assert_eq!(with("k", 8).header("haksa-dry-run", "true").send().await.status, 422);
    assert_bad_request(&with("", 8).header("haksa-dry-run", "true").send().await);
    assert_eq!(read(&server).await["level"], 7);
}

async fn list(server: Server) {
    let get = |query: &str| {
        server.request("GET", &format!("/open-api/achievements{query}")).bearer(KEY).send()
    };
    let all = get("").await.json();
    assert_eq!(all["message"], "인증서 목록이 조회되었습니다.");
    assert_eq!(all["totalPages"], 1);
    let item = &all["achievements"][0];
    assert_eq!(item["id"], 1539);
    assert_eq!(item["user"]["email"], "hong@example.com");
    assert_eq!(item["achievementForm"]["achievementBadgeDesign"]["id"], 83);
    assert_eq!(item["achievementForm"]["achievementCertificateDesign"]["id"], 165);
    let club =
        json!({"domain": "sandbox", "name": "Sandbox Academy", "type": "school", "images": []});
    assert_eq!(item["achievementForm"]["club"], club);
    assert!(item.get("admin_comment").is_none());
    for (query, found) in [
        ("?search=HONG%40", 1),
        ("?search=%20%ED%99%8D%EA%B8%B8%20", 1),
        ("?search=%EA%B8%B0%EC%B4%88", 1),
        ("?search=%25", 0),
        ("?search=_", 0),
        ("?search=sung", 0),
        ("?search=", 1),
        ("?startDate=2025-04-06", 1),
        ("?startDate=2025-04-07", 0),
        ("?endDate=2025-04-06", 1),
        ("?endDate=2025-04-05", 0),
        ("?startDate=2025-04-06T21:40:39.316Z&endDate=2025-04-06T21:40:39.316Z", 1),
        ("?startDate=2025-04-07&endDate=2025-04-01", 0),
        ("?page=2", 0),
        ("?page=99999999999999999999&pageSize=99999999999999999999", 0),
    ] {
        let reply = get(query).await;
        assert_eq!(reply.status, 200, "{query}");
        let body = reply.json();
        assert_eq!(body["achievements"].as_array().map(Vec::len), Some(found), "{query}");
    }
    for (query, message) in [
        ("?page=0", "Page must not be less than 1, Page must be a positive number"),
        ("?page=-1", "Page must not be less than 1, Page must be a positive number"),
        ("?page=", "Page must not be less than 1, Page must be a positive number"),
        ("?page=0&pageSize=0", "Page must not be less than 1, Page must be a positive number"),
        ("?pageSize=abc", "PageSize must not be less than 1, PageSize must be a positive number"),
        ("?pageSize=1.5", "PageSize must not be less than 1, PageSize must be a positive number"),
        ("?startDate=yesterday", "잘못된 요청입니다."),
        ("?endDate=2025-02-30", "잘못된 요청입니다."),
        // 길동 in another encoding.
        ("?search=%B1%E6%B5%BF", "잘못된 요청입니다."),
        ("?search=a&page=%B1%E6", "잘못된 요청입니다."),
    ] {
        let reply = get(query).await;
        assert_eq!(reply.status, 400, "{query}");
        assert_eq!(reply.json()["message"], message, "{query}");
    }
}

/// Pages of many holders, and what no stored text can hold.
async fn long_lists(server: Server) {
    async fn run(server: &Server, command: impl Command) {
        let envelope = Envelope::new(Actor::operator(3), "test");
        server.app.pipeline.run(command, envelope).await.unwrap();
    }
    let keys = || (20_000..21_100).map(|id| (id, Some(Key::Int(id))));
    let people = keys().map(|(id, key)| {
        let record = Person { name: format!("사람 {}", id - 20_000), ..Person::default() };
        run(&server, Create { key, created_at: None, record })
    });
    let certificates = keys().map(|(id, key)| {
        let record = Achievement {
            form_id: 551,
            person_id: id,
            certificate_number: format!("SAND-202601-{id:06}"),
            issued_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            ..Achievement::default()
        };
        run(&server, Create { key, created_at: None, record })
    });
    join_all(people).await;
    join_all(certificates).await;
    let get = async |query: &str| {
        let request = server.request("GET", &format!("/open-api/achievements?{query}"));
        let reply = request.bearer(KEY).send().await;
        assert_eq!(reply.status, 200, "{query}");
        let body = reply.json();
        let ids = body["achievements"].as_array().unwrap().iter();
        let ids: Vec<i64> = ids.map(|item| item["id"].as_i64().unwrap()).collect();
        (ids, body["totalPages"].as_i64().unwrap())
    };
    // Newest first, and of equals the later id.
    let all: Vec<i64> = (20_000..21_100).rev().chain([1539]).collect();
    assert_eq!(get("pageSize=2000").await, (all.clone(), 1));
    for (page, range) in [(1, 0..500), (2, 500..1000), (3, 1000..1101)] {
        assert_eq!(get(&format!("pageSize=500&page={page}")).await, (all[range].to_vec(), 3));
    }
    assert_eq!(get("pageSize=500&page=4").await, (vec![], 3));
    assert_eq!(get("search=%EC%82%AC%EB%9E%8C%2010&pageSize=200").await.0.len(), 111);
    for search in ["%00", "a%00b", &"a".repeat(32_000), &"_".repeat(30_000)] {
        assert_eq!(get(&format!("search={search}")).await, (vec![], 0));
    }
}

async fn deletion(server: Server) {
    let delete =
        |id: &str| server.request("DELETE", &format!("/open-api/achievements/{id}")).bearer(KEY);
    for id in ["999999", "9001", "0", "-1"] {
        assert_not_found(&delete(id).send().await);
    }
    assert_bad_request(&delete("abc").send().await);
    assert_eq!(server.request("DELETE", ONE).send().await.status, 401);
    assert_eq!(delete("1539").header("if-match", "\"9\"").send().await.status, 412);
    let dry = delete("1539").header("haksa-dry-run", "true").send().await;
    assert_eq!((dry.status, dry.header("haksa-changes")), (200, "1"));
    read(&server).await;
    // The documented samples send a type and no body.
    let reply = delete("1539").header("content-type", "application/json").send().await;
    assert_eq!(reply.text(), r#"{"statusCode":200,"message":"인증서가 삭제되었습니다."}"#);
    assert_eq!(reply.status, 200);
    assert_not_found(&delete("1539").send().await);
    assert_not_found(&server.request("GET", ONE).bearer(KEY).send().await);
    assert_not_found(&edit(&server, &json!({"level": 1})).send().await);
    let list = server.request("GET", "/open-api/achievements").bearer(KEY).send().await.json();
    assert_eq!((&list["achievements"], &list["totalPages"]), (&json!([]), &json!(0)));
    // It can be taken back.
    let reply = server.undo(&server.history("achievement/1539").await[0]).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(read(&server).await["certificate_number"], "SAND-202504-r9a1pt");
    server.assert_sound().await;
}

async fn unknown_routes(server: Server) {
    for (method, target) in [
        ("GET", "/open-api"),
        ("GET", "/open-api/nothing"),
        ("PUT", ONE),
        ("GET", "/open-api/achievements/1539/"),
        ("POST", "/open-api/achievements"),
        ("OPTIONS", "/open-api/achievements/badge-designs"),
    ] {
        let reply = server.request(method, target).bearer(KEY).send().await;
        assert_eq!(reply.status, 404, "{method} {target}");
        assert_eq!(reply.header("allow"), "", "what is not there allows nothing");
        assert_eq!(reply.json()["error"], "NotFound");
    }
}

async fn allowed_addresses(server: Server) {
    use haksa::domain::actor::{Actor, Dialect};
    use haksa::domain::command::Create;
    use haksa::domain::people::credential::Credential;
    for (key, address, status) in
        [("here-EXAMPLE", "127.0.0.1", 200), ("there-EXAMPLE", "192.0.2.7", 401)]
    {
        let mut credential = Credential::new(Dialect::Kolleges, "bound to an address");
        credential.secret_hash = Some(hex::encode(haksa::vault::hash_token(key)));
        credential.allowed_ips = vec![address.to_owned()];
        let envelope = haksa::pipeline::Envelope::new(Actor::operator(3), "test");
        server.app.pipeline.run(Create::new(credential), envelope).await.expect("a credential");
        let reply = server.request("GET", ONE).bearer(key).send().await;
        assert_eq!(reply.status, status, "{address}");
    }
}
