//! Courses.

use haksa::domain::actor::Actor;
use haksa::domain::command::Create;
use haksa::domain::learning::course::{Course, CourseEdit};
use haksa::domain::patch::Patch;
use haksa::pipeline::Envelope;
use serde_json::{Value, json};

use super::{CLASS, COURSE, COURSES, TOKEN, assert_detail, edit, read, set};
use crate::support::{Reply, Server, on_both_stores};

on_both_stores!(courses, rules, list, field_matrix, deletion, shared_with_learners);

async fn send(server: &Server, method: &str, target: &str, body: Value) -> Reply {
    let request = server.request(method, target).bearer(TOKEN);
    if body.is_null() { request.send().await } else { request.json(&body).send().await }
}

async fn courses(server: Server) {
    let new = json!({"title": "정보 윤리", "course_key": "ethics", "start_date": "2026-03-02"});
    let reply = send(&server, "POST", COURSES, new).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert_eq!(reply.header("etag"), "\"1\"");
    let course = reply.json();
    let id = course["id"].as_i64().unwrap();
    assert_eq!(
        reply.text(),
        format!(
            r#"{{"title":"정보 윤리","course_key":"ethics","status":"draft","start_date":"2026-03-02","end_date":null,"description":null,"id":{id},"created_at":"2026-04-23T09:15:30Z","updated_at":"2026-04-23T09:15:30Z"}}"#
        )
    );
    let target = format!("{COURSES}/{id}");
    assert_eq!(read(&server, &target).await, course);
    server.clock.advance(jiff::SignedDuration::from_secs(1));
    let reply = send(&server, "PATCH", &target, json!({"status": "active", "title": null})).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["title"], "정보 윤리");
    assert_eq!(reply.json()["updated_at"], "2026-04-23T09:15:31Z");
    let reply = send(&server, "DELETE", &target, Value::Null).await;
    assert_eq!((reply.status, reply.body.len()), (204, 0));
    assert_eq!(reply.header("etag"), "\"3\"");
    for (method, body) in
        [("GET", Value::Null), ("PATCH", json!({"title": "x"})), ("DELETE", Value::Null)]
    {
        assert_detail(&send(&server, method, &target, body).await, 404, "Course not found");
    }
    // A key is free again once its course is gone.
    let again = json!({"title": "다시", "course_key": "ethics", "status": null});
    let reply = send(&server, "POST", COURSES, again).await;
    assert_eq!((reply.status, &reply.json()["status"]), (201, &json!("draft")));
}

/// A text that does not get shorter when a database compresses it.
fn mixed(length: usize) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digests = (0..).flat_map(|n: u32| {
        use sha2::Digest as _;
        sha2::Sha256::digest(n.to_be_bytes())
    });
    digests.take(length).map(|byte| char::from(letters[usize::from(byte) % 64])).collect()
}

async fn rules(server: Server) {
    let nul = "A string literal cannot contain NUL (0x00) characters.";
    let before = read(&server, COURSE).await;
    for (body, status, detail) in [
        (json!({"title": " "}), 400, "title_required"),
        (json!({"course_key": ""}), 400, "course_key_required"),
        (json!({"title": "a\u{0}"}), 400, nul),
        (json!({"course_key": "a\u{0}"}), 400, nul),
        (json!({"description": "a\u{0}"}), 400, nul),
        (json!({"course_key": "한".repeat(256)}), 400, "course_key_too_long"),
        (json!({"course_key": mixed(2700)}), 400, "course_key_too_long"),
        (
            json!({"start_date": "2026-03-02", "end_date": "2026-03-01"}),
            400,
            "end_date_before_start_date",
        ),
    ] {
        assert_detail(&send(&server, "PATCH", COURSE, body.clone()).await, status, detail);
        let mut new = json!({"title": "a", "course_key": "b"});
        new.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        assert_detail(&send(&server, "POST", COURSES, new).await, status, detail);
    }
    assert_eq!(read(&server, COURSE).await, before);
    for key in ["😀".repeat(255), mixed(255)] {
        let reply = send(&server, "PATCH", COURSE, json!({"course_key": key})).await;
        assert_eq!((reply.status, &reply.json()["course_key"]), (200, &json!(key)));
    }
    send(&server, "PATCH", COURSE, json!({"course_key": "ai-2026"})).await;
    let one_day = json!({"start_date": "2026-03-02", "end_date": "2026-03-02"});
    assert_eq!(send(&server, "PATCH", COURSE, one_day).await.status, 200);

    let taken = "course_key already exists";
    let again = json!({"title": "a", "course_key": "ai-2026"});
    assert_detail(&send(&server, "POST", COURSES, again).await, 409, taken);
    let other = json!({"title": "a", "course_key": "other-2026"});
    let other = send(&server, "POST", COURSES, other).await;
    assert_eq!(other.status, 201, "another organisation's key is free");
    let target = format!("{COURSES}/{}", other.json()["id"]);
    let reply = send(&server, "PATCH", &target, json!({"course_key": "ai-2026"})).await;
    assert_detail(&reply, 409, taken);
    let reply = send(&server, "PATCH", &target, json!({"course_key": "other-2026"})).await;
    assert_eq!(reply.status, 200, "its own key");

    let makers = (0..8)
        .map(|_| send(&server, "POST", COURSES, json!({"title": "race", "course_key": "race"})));
    let replies = futures_util::future::join_all(makers).await;
    let made = replies.iter().filter(|reply| reply.status == 201).count();
    let refused = replies.iter().filter(|reply| reply.status == 409).count();
    assert_eq!((made, refused), (1, 7));
}

async fn list(server: Server) {
    let page = read(&server, COURSES).await;
    assert_eq!(page["items"], json!([read(&server, COURSE).await]));
    for (title, key) in [("Data 100%", "Data_1"), ("데이터", "d-2"), ("x ", "ONE\n")] {
        server.clock.advance(jiff::SignedDuration::from_secs(1));
        send(&server, "POST", COURSES, json!({"title": title, "course_key": key})).await;
    }
    for (query, keys, total, page, size) in [
        ("", &["ONE\n", "d-2", "Data_1", "ai-2026"][..], 4, 1, 50),
        ("?limit=1", &["ONE\n"], 4, 1, 1),
        ("?limit=1&offset=3", &["ai-2026"], 4, 4, 1),
        ("?limit=2&offset=5", &[], 4, 3, 2),
        ("?limit=10&limit=20", &["ONE\n", "d-2", "Data_1", "ai-2026"], 4, 1, 20),
        ("?offset=99999999999999999999", &[], 4, i64::MAX / 50 + 1, 50),
        ("?status=active", &["ai-2026"], 1, 1, 50),
        ("?status=bogus", &[], 0, 1, 50),
        ("?status=", &["ONE\n", "d-2", "Data_1", "ai-2026"], 4, 1, 50),
        // Blanks are looked for like anything else, and nothing is found across two fields.
        ("?search=", &["ONE\n", "d-2", "Data_1", "ai-2026"], 4, 1, 50),
        ("?search=%20", &["ONE\n", "Data_1", "ai-2026"], 3, 1, 50),
        ("?search=%20%20", &[], 0, 1, 50),
        ("?search=x%20", &["ONE\n"], 1, 1, 50),
        ("?search=%0A", &["ONE\n"], 1, 1, 50),
        ("?search=x%20%0Aone", &[], 0, 1, 50),
        ("?search=x%20one", &[], 0, 1, 50),
        ("?search=ai-%20", &[], 0, 1, 50),
        ("?search=%CE%A9", &[], 0, 1, 50),
        ("?search=DATA", &["Data_1"], 1, 1, 50),
        ("?search=data_", &["Data_1"], 1, 1, 50),
        ("?search=%25", &["Data_1"], 1, 1, 50),
        ("?search=_2", &[], 0, 1, 50),
        ("?search=%EB%8D%B0%EC%9D%B4", &["d-2"], 1, 1, 50),
        ("?search=2&status=draft", &["d-2"], 1, 1, 50),
        ("?search=other", &[], 0, 1, 50),
    ] {
        let found = read(&server, &format!("{COURSES}{query}")).await;
        let items = found["items"].as_array().unwrap();
        let found_keys: Vec<_> = items.iter().map(|item| item["course_key"].clone()).collect();
        assert_eq!(found_keys, keys, "{query}");
        let rest = json!([found["total"], found["page"], found["size"]]);
        assert_eq!(rest, json!([total, page, size]), "{query}");
    }
    let nul = "A string literal cannot contain NUL (0x00) characters.";
    for query in ["search=a%00", "status=%00", "search=%00&status=x"] {
        let reply = server.request("GET", &format!("{COURSES}?{query}")).bearer(TOKEN).send().await;
        assert_detail(&reply, 400, nul);
    }
    let reply = server.request("GET", &format!("{COURSES}?search=%00&limit=0")).bearer(TOKEN);
    assert_eq!(reply.send().await.status, 422, "every field at fault comes first");
}

/// Field × absent, null, value, invalid, in both media types.
async fn field_matrix(server: Server) {
    let start = json!({
        "title": "t", "course_key": "k", "status": "active", "start_date": "2026-03-02",
        "end_date": "2026-06-30", "description": "d",
    });
    let merge = "application/merge-patch+json";
    for (field, value, cleared, invalid, fault) in [
        ("title", json!(" t "), Err("title_required"), json!(1), "string_type"),
        ("course_key", json!("K"), Err("course_key_required"), json!(false), "string_type"),
        ("status", json!("archived"), Ok(json!("draft")), json!("planned"), "enum"),
        (
            "start_date",
            json!("2026-04-01"),
            Ok(Value::Null),
            json!("x"),
            "date_from_datetime_parsing",
        ),
        ("end_date", json!("2026-04-01"), Ok(Value::Null), json!(true), "date_type"),
        ("description", json!(""), Ok(Value::Null), json!({}), "string_type"),
    ] {
        for media_type in ["application/json", merge] {
            let send = |body: &Value| {
                let request = server.request("PATCH", COURSE).bearer(TOKEN);
                request.header("content-type", media_type).body(body.to_string()).send()
            };
            assert_eq!(send(&start).await.status, 200);
            let before = read(&server, COURSE).await;
            assert_eq!(send(&json!({})).await.json(), before);
            let mut expected = before.clone();
            expected[field] = value.clone();
            assert_eq!(send(&json!({field: value})).await.json(), expected);
            assert_eq!(send(&start).await.status, 200);
            let reply = send(&json!({field: null})).await;
            match (media_type == merge, &cleared) {
                (false, _) => assert_eq!(reply.json(), before, "{field}"),
                (true, Ok(cleared)) => {
                    expected[field] = cleared.clone();
                    assert_eq!(reply.json(), expected, "{field}");
                }
                (true, Err(detail)) => assert_detail(&reply, 400, detail),
            }
            assert_eq!(send(&start).await.status, 200);
            let reply = send(&json!({field: invalid})).await;
            assert_eq!(reply.status, 422);
            assert_eq!(reply.json()["detail"][0]["type"], fault);
            assert_eq!(read(&server, COURSE).await, before);
        }
    }
}

async fn deletion(server: Server) {
    assert_eq!(edit(&server, &json!({"course_id": 5, "capacity": 3})).send().await.status, 200);
    let before = read(&server, CLASS).await;
    server.clock.advance(jiff::SignedDuration::from_secs(1));
    assert_eq!(send(&server, "DELETE", COURSE, Value::Null).await.status, 204);
    let mut expected = before;
    expected["course_id"] = Value::Null;
    expected["updated_at"] = json!("2026-04-23T09:15:31Z");
    assert_eq!(read(&server, CLASS).await, expected);
    let reply = edit(&server, &json!({"course_id": 5})).send().await;
    assert_detail(&reply, 400, "course_not_found");
}

/// A course that iSpring's learners owe is no partner's until it has a key, and then stays.
async fn shared_with_learners(server: Server) {
    let course = Course {
        title: "Safety".to_owned(),
        content_item_id: Some("c0000000-0000-4000-8000-000000000009".to_owned()),
        ..Course::default()
    };
    let create = Create { key: Some(9009.into()), created_at: None, record: course };
    let envelope = Envelope::new(Actor::operator(3), "test");
    server.app.pipeline.run(create, envelope).await.unwrap();
    let target = format!("{COURSES}/9009");
    for (method, body) in
        [("GET", Value::Null), ("PATCH", json!({"course_key": "x"})), ("DELETE", Value::Null)]
    {
        assert_detail(&send(&server, method, &target, body).await, 404, "Course not found");
    }
    let hang = json!({"course_id": 9009});
    assert_detail(&edit(&server, &hang).send().await, 400, "course_not_found");
    assert_eq!(read(&server, COURSES).await["total"], 1);

    let course_key = Patch::Value("safety".to_owned());
    set::<Course>(&server, 9009, CourseEdit { course_key, ..CourseEdit::default() }).await;
    assert_eq!(read(&server, &target).await["course_key"], "safety");
    assert_eq!(edit(&server, &hang).send().await.status, 200);
    assert_eq!(read(&server, COURSES).await["total"], 2);
    assert_detail(&send(&server, "DELETE", &target, Value::Null).await, 409, "course is in use");
}
