//! Invite codes, who comes in by them, and who leaves.

use haksa::app::OsEntropy;
use haksa::domain::actor::Actor;
use haksa::domain::command::{Create, Entropy as _};
use haksa::domain::learning::enrollment::Enrollment;
use haksa::domain::people::credential::Credential;
use haksa::domain::people::person::Person;
use haksa::pipeline::{Envelope, Reply as Outcome};
use haksa::vault::hash_token;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{CLASS, OTHER_TOKEN, TOKEN, assert_detail, edit, read};
use crate::support::{Reply, Request, Server, on_both_stores};

pub const STUDENT: &str = "demo-student-token";
pub const REDEEM: &str = "/user/class/invites/redeem";
pub const CODES: &str = "/partner/7/classes/11/invite-codes";
pub const CLASSES: &str = "/partner/7/classes";

on_both_stores!(
    classes_come_with_a_code,
    classes_are_listed,
    a_deleted_class_takes_all_along,
    codes_are_made_edited_and_revoked,
    codes_are_listed,
    vectors_of_redeeming,
    redeeming_twice_counts_once,
    a_class_that_is_full_or_over,
    who_dropped_out_comes_back,
    no_status_moves_a_date,
    who_is_in_names_the_code,
    one_commit_has_all_that_follows,
    leaving_keeps_what_was_learned,
    guessing_is_limited,
    a_code_that_looks_alike_opens_nothing,
    a_crowd_fills_a_class,
);

pub fn post(server: &Server, target: &str, body: &Value) -> Request {
    server.request("POST", target).bearer(TOKEN).json(body)
}

pub fn redeem(server: &Server, token: &str, code: &str) -> Request {
    server.request("POST", REDEEM).bearer(token).json(&json!({"code": code}))
}

pub async fn get(server: &Server, token: &str, target: &str) -> Reply {
    server.request("GET", target).bearer(token).send().await
}

/// Makes people with tokens, past the dialect; gives the tokens.
pub async fn people(server: &Server, count: usize) -> Vec<String> {
    let mut made = Vec::new();
    for _ in 0..count {
        made.push(tokio::spawn(person(server.app.clone())));
    }
    let mut tokens = Vec::new();
    for one in made {
        tokens.push(one.await.expect("no panic"));
    }
    tokens
}

async fn person(app: haksa::app::App) -> String {
    let token = format!("demo-{}", OsEntropy.uuid());
    let person = Person {
        name: "학생".to_owned(),
        email: Some(format!("{token}@example.com")),
        ..Person::default()
    };
    let envelope = || Envelope::new(Actor::operator(3), "test");
    let made = app.pipeline.run(Create::new(person), envelope()).await.expect("a person");
    let Outcome::Done(outcome, _) = made else { panic!("done") };
    let mut credential = Credential::new(haksa::dialect::Dialect::Partner, "test");
    credential.person_id = outcome.subject.meta.key.as_int();
    credential.secret_hash = Some(hex::encode(hash_token(&token)));
    app.pipeline.run(Create::new(credential), envelope()).await.expect("a credential");
    token
}

async fn classes_come_with_a_code(server: Server) {
    server.clock.advance(jiff::SignedDuration::from_secs(1));
    let reply = post(&server, CLASSES, &json!({"name": "저녁반"})).send().await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let class = reply.json();
    let (id, code) = (class["id"].as_i64().unwrap(), class["invite_codes"][0].clone());
    let expected = json!({
        "name": "저녁반", "status": "planned", "description": null, "start_at": null,
        "end_at": null, "capacity": null, "timezone": "UTC", "location": null, "online_url": null,
        "invite_only": false, "primary_model_id": null, "allowed_model_ids": [], "id": id,
        "partner_id": 7, "course_id": null, "created_at": "2026-04-23T09:15:31Z",
        "updated_at": "2026-04-23T09:15:31Z",
        "invite_codes": [{
            "id": code["id"], "partner_id": 7, "class_id": id, "code": code["code"],
            "target_role": "student", "expires_at": null, "max_uses": null, "used_count": 0,
            "status": "active", "created_by": 7, "created_at": "2026-04-23T09:15:31Z",
        }],
    });
    assert_eq!(reply.text(), expected.to_string());
    let text = code["code"].as_str().unwrap();
    assert!(
        text.len() == 6 && text.bytes().all(|b| b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789".contains(&b))
    );
    assert_eq!(read(&server, &format!("{CLASSES}/{id}")).await, class);
    // The query's course wins, and everything is judged as in an edit.
    let body =
        json!({"name": "a", "course_id": 6, "capacity": " 12 ", "allowed_model_ids": [2, 2]});
    let reply = post(&server, &format!("{CLASSES}?course_id=5"), &body).send().await;
    let class = reply.json();
    assert_eq!(
        (reply.status, &class["course_id"], &class["capacity"]),
        (201, &json!(5), &json!(12))
    );
    assert_eq!((&class["primary_model_id"], &class["allowed_model_ids"]), (&json!(2), &json!([2])));
    let before = read(&server, CLASSES).await;
    for (body, detail) in [
        (json!({"name": " "}), "name_required"),
        (json!({"name": "a", "capacity": -1}), "capacity_out_of_range"),
        (json!({"name": "a", "timezone": "Mars/X"}), "invalid_timezone"),
        (json!({"name": "a", "course_id": 6}), "course_not_found"),
        (json!({"name": "a", "online_url": "javascript:alert(1)"}), "invalid_online_url"),
    ] {
        assert_detail(&post(&server, CLASSES, &body).send().await, 400, detail);
    }
    let reply = post(&server, CLASSES, &json!({"name": "a"})).header("haksa-dry-run", "true");
    let reply = reply.send().await;
    assert_eq!((reply.status, reply.header("haksa-changes")), (201, "2"));
    assert_eq!(read(&server, CLASSES).await, before, "nothing half written");
    // A link of the time-zone database is a name; a thousand ids are judged in one go.
    let many: Vec<i64> = (1..=1_000).collect();
    let body = json!({"name": "a", "timezone": "Asia/Calcutta", "allowed_model_ids": many});
    let reply = post(&server, CLASSES, &body).send().await;
    assert_eq!(reply.status, 400);
    assert!(reply.json()["detail"].as_str().unwrap().ends_with(", 999, 1000]"));
    let again = post(&server, CLASSES, &json!({"name": "once"})).header("idempotency-key", "k");
    let (one, other) = (again.clone().send().await, again.send().await);
    assert_eq!((one.status, one.text()), (201, other.text()));
    server.assert_sound().await;
}

async fn classes_are_listed(server: Server) {
    let list = async |query: &str| {
        let reply = get(&server, TOKEN, &format!("{CLASSES}{query}")).await;
        assert_eq!(reply.status, 200, "{query}: {}", reply.text());
        reply.json()
    };
    let page = list("").await;
    assert_eq!((&page["total"], &page["page"], &page["size"]), (&json!(1), &json!(1), &json!(50)));
    assert_eq!(page["items"][0], read(&server, CLASS).await);
    assert_eq!(page["items"][0]["invite_codes"][0]["code"], "ABC234");
    for n in 0..4 {
        if n != 2 {
            server.clock.advance(jiff::SignedDuration::from_secs(1));
        }
        let status = if n % 2 == 0 { "active" } else { "ended" };
        let body = json!({"name": format!("class {n}"), "status": status});
        assert_eq!(post(&server, CLASSES, &body).send().await.status, 201);
    }
    let names = |page: &Value| {
        let items = page["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // Newest first, and of those made at once the last.
    let all = list("").await;
    assert_eq!(names(&all), ["class 3", "class 2", "class 1", "class 0", "AI 101"]);
    assert_eq!(names(&list("?limit=2&offset=1").await), ["class 2", "class 1"]);
    let page = list("?limit=1&offset=5").await;
    assert_eq!((names(&page).len(), &page["total"], &page["page"]), (0, &json!(5), &json!(6)));
    assert_eq!(names(&list("?status=ended").await), ["class 3", "class 1"]);
    assert_eq!(names(&list("?status=").await).len(), 5);
    assert_eq!(list("?status=bogus").await["total"], 0);
    assert_eq!(list("?limit=10&limit=20").await["size"], 20);
    assert_eq!(list("?course_id=5").await["total"], 0);
    edit(&server, &json!({"course_id": 5})).send().await;
    assert_eq!(names(&list("?course_id=5").await), ["AI 101"]);
    assert_eq!(names(&list("?course_id=+5%20&limit=5.0").await), ["AI 101"]);
    let other = get(&server, OTHER_TOKEN, "/partner/8/classes").await.json();
    assert_eq!((names(&other), &other["total"]), (vec!["AI 102".to_owned()], &json!(1)));
    for (query, kind, name) in [
        ("limit=0", "greater_than_equal", "limit"),
        ("limit=101", "less_than_equal", "limit"),
        ("limit=abc", "int_parsing", "limit"),
        ("limit=", "int_parsing", "limit"),
        ("offset=-1", "greater_than_equal", "offset"),
        ("course_id=x", "int_parsing", "course_id"),
    ] {
        let reply = get(&server, TOKEN, &format!("{CLASSES}?{query}")).await;
        assert_eq!(reply.status, 422, "{query}");
        let item = reply.json()["detail"][0].clone();
        assert_eq!((&item["type"], &item["loc"]), (&json!(kind), &json!(["query", name])));
    }
}

async fn a_deleted_class_takes_all_along(server: Server) {
    edit(&server, &json!({"course_id": 5})).send().await;
    let tokens = people(&server, 3).await;
    for token in &tokens {
        assert_eq!(redeem(&server, token, "ABC234").send().await.status, 201);
    }
    let delete = || server.request("DELETE", CLASS).bearer(TOKEN);
    let dry = delete().header("haksa-dry-run", "true").send().await;
    assert_eq!(dry.header("haksa-changes"), "5", "the class, its code, three members");
    let reply = delete().send().await;
    assert_eq!((reply.status, reply.body.len()), (204, 0));
    assert_detail(&delete().send().await, 404, "Class not found");
    assert_detail(&get(&server, TOKEN, CLASS).await, 404, "Class not found");
    assert_detail(&get(&server, TOKEN, CODES).await, 404, "Class not found");
    assert_eq!(get(&server, &tokens[0], "/user/classes").await.json()["total"], 0);
    let reply = redeem(&server, STUDENT, "ABC234").send().await;
    assert_detail(&reply, 400, "invalid_or_expired_code");
    // Students stay, with nothing to attend.
    let students = read(&server, "/partner/7/student").await;
    assert_eq!(students.as_array().map(Vec::len), Some(3));
    let target = format!("/partner/7/student/{}/enrollments", students[0]["id"]);
    assert_eq!(read(&server, &target).await, json!([]));
    server.assert_sound().await;
}

async fn codes_are_made_edited_and_revoked(server: Server) {
    let reply = post(&server, CODES, &json!({})).send().await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    assert_eq!(reply.json()["code"].as_str().map(str::len), Some(6));
    let body = json!({
        "code": " xyz789 ", "expires_at": "2026-12-31", "max_uses": "5", "target_role": "student",
    });
    let reply = post(&server, CODES, &body).send().await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let made = reply.json();
    assert_eq!((&made["code"], &made["max_uses"]), (&json!("XYZ789"), &json!(5)));
    assert_eq!(made["expires_at"], "2026-12-31T00:00:00Z");
    assert_detail(&post(&server, CODES, &body).send().await, 409, "code already exists");
    for code in ["ABC", "ABCI34", "ABC0O1", "", "한글한글한글", "АВС234"] {
        let reply = post(&server, CODES, &json!({"code": code})).send().await;
        assert_detail(&reply, 400, "invalid_code_format");
    }
    let reply =
        post(&server, CODES, &json!({"max_uses": 0, "target_role": "teacher"})).send().await;
    assert_eq!(
        reply.text(),
        r#"{"detail":[{"type":"greater_than_equal","loc":["body","max_uses"],"msg":"Input should be greater than or equal to 1","input":0,"ctx":{"ge":1}},{"type":"literal_error","loc":["body","target_role"],"msg":"Input should be 'student'","input":"teacher","ctx":{"expected":"'student'"}}]}"#
    );
    let target = format!("{CODES}/{}", made["id"]);
    let patch = |body: Value| server.request("PATCH", &target).bearer(TOKEN).json(&body).send();
    let reply = patch(json!({"max_uses": 1, "expires_at": null, "status": null})).await;
    assert_eq!((reply.status, &reply.json()["max_uses"]), (200, &json!(1)));
    assert_eq!(reply.json()["expires_at"], made["expires_at"]);
    assert_eq!(redeem(&server, STUDENT, "xyz789").send().await.status, 201);
    let code = || async {
        let codes = read(&server, CODES).await["items"].as_array().unwrap().clone();
        codes.into_iter().find(|code| code["id"] == made["id"]).unwrap()
    };
    let used = code().await;
    assert_eq!((&used["used_count"], &used["status"]), (&json!(1), &json!("disabled")));
    // More uses do not turn it on again; the partner does.
    assert_eq!(patch(json!({"max_uses": 3})).await.json()["status"], "disabled");
    let reply = patch(json!({"status": "active"})).await;
    assert_eq!((reply.status, &reply.json()["status"]), (200, &json!("active")));
    let tokens = people(&server, 1).await;
    assert_eq!(redeem(&server, &tokens[0], "XYZ789").send().await.status, 201);
    assert_detail(&patch(json!({"max_uses": 1})).await, 400, "max_uses_below_used_count");
    let huge = json!({"max_uses": "99999999999999999999"});
    assert_detail(&patch(huge).await, 400, "max_uses_out_of_range");
    let reply = patch(json!({"status": "off"})).await;
    assert_eq!(
        reply.json()["detail"][0]["msg"],
        "Input should be 'active', 'expired' or 'disabled'"
    );
    // Revoked: who came in by it stays.
    for target in
        ["/partner/7/classes/11/invite-codes/22", "/partner/7/classes/11/invite-codes/999"]
    {
        for method in ["PATCH", "DELETE"] {
            let reply = server.request(method, target).bearer(TOKEN).body("{}").send().await;
            assert_detail(&reply, 404, "Invite not found");
        }
    }
    let delete = || server.request("DELETE", &target).bearer(TOKEN).send();
    assert_eq!(delete().await.status, 204);
    assert_detail(&delete().await, 404, "Invite not found");
    let members = read(&server, &format!("{CLASS}/enrollments")).await;
    assert_eq!(members["total"], 2);
    assert_eq!(members["items"][0]["invite_code_id"], Value::Null);
    assert_eq!(members["items"][0]["status"], "active");
    // A code that is gone can be made again.
    assert_eq!(post(&server, CODES, &json!({"code": "XYZ789"})).send().await.status, 201);
    server.assert_sound().await;
}

async fn codes_are_listed(server: Server) {
    for body in [
        json!({"code": "AAAAAA", "expires_at": "2026-04-23T09:15:30Z"}),
        json!({"code": "BBBBBB", "expires_at": "2026-04-23T09:15:31Z"}),
        json!({"code": "CCCCCC"}),
    ] {
        assert_eq!(post(&server, CODES, &body).send().await.status, 201);
    }
    let list = async |query: &str| {
        let page = read(&server, &format!("{CODES}{query}")).await;
        let items = page["items"].as_array().unwrap().clone();
        let text = |item: &Value| {
            format!("{} {}", item["code"].as_str().unwrap(), item["status"].as_str().unwrap())
        };
        items.iter().map(text).collect::<Vec<_>>()
    };
    let all = ["CCCCCC active", "BBBBBB active", "AAAAAA active", "ABC234 active"];
    assert_eq!(list("").await, all, "at its very end a code still works");
    assert_eq!(list("?active_only=TRUE").await, all);
    server.clock.advance(jiff::SignedDuration::from_micros(1));
    assert_eq!(
        list("").await,
        ["CCCCCC active", "BBBBBB active", "AAAAAA expired", "ABC234 active"]
    );
    assert_eq!(list("?active_only=1").await, ["CCCCCC active", "BBBBBB active", "ABC234 active"]);
    assert_eq!(list("?active_only=off").await.len(), 4);
    assert_eq!(list("?limit=1&offset=3").await, ["ABC234 active"]);
    let reply = get(&server, TOKEN, &format!("{CODES}?active_only=maybe&limit=0")).await;
    assert_eq!(
        reply.text(),
        r#"{"detail":[{"type":"bool_parsing","loc":["query","active_only"],"msg":"Input should be a valid boolean, unable to interpret input","input":"maybe"},{"type":"greater_than_equal","loc":["query","limit"],"msg":"Input should be greater than or equal to 1","input":"0","ctx":{"ge":1}}]}"#
    );
}

async fn vectors_of_redeeming(server: Server) {
    let reply = redeem(&server, STUDENT, " abc234 ").send().await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let enrollment = reply.json();
    assert_eq!(
        reply.text(),
        json!({
            "id": enrollment["id"], "class_id": 11, "student_id": enrollment["student_id"],
            "invite_code_id": 21, "status": "active", "enrolled_at": "2026-04-23T09:15:30Z",
            "completed_at": null,
        })
        .to_string()
    );
    let student = read(&server, &format!("/partner/7/student/{}", enrollment["student_id"])).await;
    assert_eq!(
        student,
        json!({
            "id": enrollment["student_id"], "partner_id": 7, "user_id": 91, "full_name": "최하준",
            "email": "hajun@example.com", "status": "active", "joined_at": "2026-04-23T09:15:30Z",
            "primary_contact": null, "notes": null,
        })
    );
    let mine = get(&server, STUDENT, "/user/classes").await.json();
    assert_eq!(
        mine,
        json!({"items": [{
            "enrollment_id": enrollment["id"], "class_id": 11, "class_title": "AI 101",
            "primary_model_id": null, "allowed_model_ids": [], "course_title": null,
            "org_name": null, "teacher_name": "이도윤", "class_start_at": null,
            "class_end_at": null, "enrollment_status": "active",
            "enrolled_at": "2026-04-23T09:15:30Z", "completed_at": null, "last_activity_at": null,
        }], "total": 1, "page": 1, "size": 50})
    );
    for (body, text) in [
        (
            "{}",
            r#"{"detail":[{"type":"missing","loc":["body","code"],"msg":"Field required","input":{}}]}"#,
        ),
        (
            r#"{"code":123456}"#,
            r#"{"detail":[{"type":"string_type","loc":["body","code"],"msg":"Input should be a valid string","input":123456}]}"#,
        ),
        (
            r#"{"code":null}"#,
            r#"{"detail":[{"type":"string_type","loc":["body","code"],"msg":"Input should be a valid string","input":null}]}"#,
        ),
    ] {
        let reply = server.request("POST", REDEEM).bearer(STUDENT).body(body).send().await;
        assert_eq!((reply.status, reply.text().as_str()), (422, text));
    }
    // Nobody's request is looked at no further than its JSON.
    let reply = server.request("POST", REDEEM).body("{}").send().await;
    assert_detail(&reply, 401, "unauthorized");
    let reply = server.request("POST", REDEEM).body("{").send().await;
    assert_eq!(reply.status, 422);
    for code in ["ABC", "", "ABC2345", "      "] {
        let reply = redeem(&server, STUDENT, code).send().await;
        assert_detail(&reply, 400, "invalid_code_format");
    }
    for body in
        [json!({"code": "AAAAAA", "expires_at": "2026-04-23T09:15:29Z"}), json!({"code": "BBBBBB"})]
    {
        assert_eq!(post(&server, CODES, &body).send().await.status, 201);
    }
    let id = read(&server, CODES).await["items"][0]["id"].clone();
    let body = json!({"status": "disabled"});
    server.request("PATCH", &format!("{CODES}/{id}")).bearer(TOKEN).json(&body).send().await;
    // Another organisation's code is nobody's.
    for code in ["ZZZZZZ", "AAAAAA", "BBBBBB", "DEF567"] {
        let reply = redeem(&server, STUDENT, code).send().await;
        assert_detail(&reply, 400, "invalid_or_expired_code");
    }
    let reply = redeem(&server, "demo-user-token", "ABC234").send().await;
    assert_detail(&reply, 400, "email_required");
    // A partner may learn, too.
    assert_eq!(redeem(&server, TOKEN, "ABC234").send().await.status, 201);
    server.assert_sound().await;
}

async fn redeeming_twice_counts_once(server: Server) {
    let tries = (0..8).map(|_| redeem(&server, STUDENT, "ABC234").send());
    let replies = futures_util::future::join_all(tries).await;
    for reply in &replies {
        assert_eq!((reply.status, reply.text()), (201, replies[0].text()));
    }
    assert_eq!(read(&server, CODES).await["items"][0]["used_count"], 1);
    assert_eq!(read(&server, &format!("{CLASS}/enrollments")).await["total"], 1);
    assert_eq!(read(&server, "/partner/7/student").await.as_array().map(Vec::len), Some(1));
    server.assert_sound().await;
}

async fn a_class_that_is_full_or_over(server: Server) {
    let tokens = people(&server, 4).await;
    let capacity = async |capacity: i64| {
        assert_eq!(edit(&server, &json!({"capacity": capacity})).send().await.status, 200);
    };
    let join = async |n: usize| redeem(&server, &tokens[n], "ABC234").send().await;
    capacity(0).await;
    assert_detail(&join(0).await, 400, "class_full");
    capacity(2).await;
    assert_eq!(join(0).await.status, 201);
    assert_eq!(join(1).await.status, 201);
    assert_detail(&join(2).await, 400, "class_full");
    // Less room than members: nobody has to go, nobody comes in, and who is in is in.
    capacity(1).await;
    assert_eq!(read(&server, &format!("{CLASS}/enrollments?status=active")).await["total"], 2);
    assert_detail(&join(2).await, 400, "class_full");
    assert_eq!(join(0).await.status, 201);
    let members = read(&server, &format!("{CLASS}/enrollments")).await;
    let id = |n: usize| members["items"][n]["id"].clone();
    let act = async |id: &Value, act: &str| {
        let target = format!("/partner/7/student/enrollments/{id}/{act}");
        server.request("POST", &target).bearer(TOKEN).send().await
    };
    let done = act(&id(0), "complete").await;
    assert_eq!((done.status, &done.json()["status"]), (200, &json!("completed")));
    assert_eq!(done.json()["completed_at"], "2026-04-23T09:15:30Z");
    assert_detail(&join(2).await, 400, "class_full");
    assert_eq!(act(&id(1), "drop").await.json()["status"], "dropped");
    assert_eq!(join(2).await.status, 201);
    // However one comes to be active again, there has to be room.
    let target = format!("/partner/7/student/enrollments/{}", id(1));
    let active = server.request("PATCH", &target).bearer(TOKEN).json(&json!({"status": "active"}));
    assert_detail(&active.clone().send().await, 400, "class_full");
    let student = members["items"][1]["student_id"].clone();
    let by_hand = format!("/partner/7/student/{student}/enrollments");
    let body = json!({"class_id": 11, "student_id": 0});
    assert_eq!(post(&server, &by_hand, &body).send().await.status, 201, "it is there already");
    let change = &server.history(&format!("membership/{}", id(1))).await[0];
    let reply = server.undo(change).send().await;
    assert_eq!((reply.status, &reply.json()["errors"][0]["code"]), (400, &json!("class_full")));
    capacity(2).await;
    assert_eq!(active.send().await.status, 200);
    for (status, detail) in [("ended", "class_ended"), ("planned", "class_full")] {
        edit(&server, &json!({"status": status})).send().await;
        assert_detail(&join(3).await, 400, detail);
    }
    server.assert_sound().await;
}

async fn no_status_moves_a_date(server: Server) {
    let first = redeem(&server, STUDENT, "ABC234").send().await.json();
    let target = format!("/partner/7/student/enrollments/{}", first["id"]);
    let finish = async || {
        let reply = server.request("POST", &format!("{target}/complete")).bearer(TOKEN);
        reply.send().await.json()["completed_at"].clone()
    };
    let patch = async |body: Value| {
        let reply = server.request("PATCH", &target).bearer(TOKEN).json(&body).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    };
    let undo_newest = async || {
        let change = &server.history(&format!("membership/{}", first["id"])).await[0];
        let reply = server.undo(change).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["after"].clone()
    };
    assert_eq!(patch(json!({"status": "completed"})).await["completed_at"], Value::Null);
    assert_eq!(finish().await, "2026-04-23T09:15:30Z");
    server.clock.advance(SignedDuration::from_hours(1));
    assert_eq!(patch(json!({"status": "active"})).await["completed_at"], "2026-04-23T09:15:30Z");
    assert_eq!(undo_newest().await, json!({"status": "completed"}));
    let reply = server.request("POST", &format!("{target}/drop")).bearer(TOKEN).send().await;
    assert_eq!(reply.json()["completed_at"], "2026-04-23T09:15:30Z");
    assert_eq!(undo_newest().await, json!({"status": "completed"}));
    // Whoever finishes has finished now, however often.
    assert_eq!(finish().await, "2026-04-23T10:15:30Z");
    server.clock.advance(SignedDuration::from_hours(1));
    assert_eq!(finish().await, "2026-04-23T11:15:30Z");
    assert_eq!(undo_newest().await["completed_at"], "2026-04-23T10:15:30Z");
    // Nobody has finished before beginning.
    patch(json!({"completed_at": null, "enrolled_at": "2026-05-01"})).await;
    assert_eq!(finish().await, "2026-05-01T00:00:00Z");
    server.assert_sound().await;
}

/// Who is in already says from then on by which code.
async fn who_is_in_names_the_code(server: Server) {
    let first = redeem(&server, STUDENT, "ABC234").send().await.json();
    let target = format!("/partner/7/student/enrollments/{}", first["id"]);
    let forget = json!({"invite_code_id": null});
    let reply = server.request("PATCH", &target).bearer(TOKEN).json(&forget).send().await;
    assert_eq!(reply.json()["invite_code_id"], Value::Null);
    assert_eq!(redeem(&server, STUDENT, "ABC234").send().await.json(), first);
    let code = post(&server, CODES, &json!({"code": "ABC235"})).send().await;
    assert_eq!(code.status, 201);
    assert_eq!(redeem(&server, STUDENT, "ABC235").send().await.json(), first, "one is enough");
    let used = read(&server, CODES).await["items"].as_array().unwrap().clone();
    let used: Vec<_> = used.iter().map(|code| code["used_count"].clone()).collect();
    assert_eq!(used, [json!(0), json!(1)], "nobody new came");
    server.assert_sound().await;
}

async fn who_dropped_out_comes_back(server: Server) {
    let first = redeem(&server, STUDENT, "ABC234").send().await.json();
    for (status, comes_back, used) in
        [("inactive", false, 1), ("completed", false, 1), ("dropped", true, 2)]
    {
        let target = format!("/partner/7/student/enrollments/{}", first["id"]);
        let body = json!({"status": status});
        let reply = server.request("PATCH", &target).bearer(TOKEN).json(&body).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let again = redeem(&server, STUDENT, "ABC234").send().await;
        let expected = if comes_back { "active" } else { status };
        assert_eq!((again.status, &again.json()["status"]), (201, &json!(expected)));
        assert_eq!(again.json()["id"], first["id"]);
        assert_eq!(read(&server, CODES).await["items"][0]["used_count"], used, "{status}");
    }
    server.assert_sound().await;
}

/// What a person owes, as iSpring's callers see it.
async fn enrollments_of(server: &Server, learner: i64) -> Vec<Value> {
    let found = server.app.store.read(|facts| facts.select::<Enrollment>(3, "person_id", learner));
    let mut views = Vec::new();
    for enrollment in found.await.unwrap() {
        let target = format!("/enrollment/{}", enrollment.meta.key);
        let reply = server
            .request("GET", &target)
            .bearer("demo-ispring-OWN-token")
            .header("accept", "application/json")
            .send()
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        views.push(reply.json());
    }
    views
}

async fn one_commit_has_all_that_follows(server: Server) {
    edit(&server, &json!({"course_id": 5})).send().await;
    assert_eq!(enrollments_of(&server, 91).await.len(), 0);
    let before = haksa::check::run(&server.app.store).await.unwrap().faults;
    assert_eq!(before, [""; 0]);
    let request = redeem(&server, STUDENT, "ABC234").header("x-request-id", "joins");
    let membership = request.send().await.json();
    let owed = enrollments_of(&server, 91).await;
    assert_eq!(owed.len(), 1);
    assert_eq!(owed[0]["enrollmentTypeGroup"], 0, "assigned, not chosen");
    assert_eq!(owed[0]["dueDate"], Value::Null, "the course names none");
    assert!(owed[0]["courseId"].is_string() && owed[0]["learnerId"].is_string(), "{}", owed[0]);
    // One request, one time, whatever record is asked.
    let newest = async |record: &str| server.history(record).await[0].clone();
    let enrollment_id = owed[0]["enrollmentId"].as_str().unwrap();
    let mut ids = Vec::new();
    for record in [
        format!("membership/{}", membership["id"]),
        format!("student/{}", membership["student_id"]),
        "invite_code/21".to_owned(),
        format!("enrollment/{enrollment_id}"),
        "course/5".to_owned(),
        "person/91".to_owned(),
    ] {
        let change = newest(&record).await;
        assert_eq!(
            (&change["request_id"], &change["actor"]),
            (&json!("joins"), &json!("person:91"))
        );
        assert_eq!(change["dialect"], "partner", "{record}");
        ids.push(change["change_id"].as_i64().unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, (ids[0]..ids[0] + 6).collect::<Vec<_>>(), "nothing came between");
    // Another class of the course: what is owed is owed once.
    let body = json!({"name": "b", "course_id": 5});
    let other = post(&server, CLASSES, &body).send().await.json();
    let code = other["invite_codes"][0]["code"].as_str().unwrap();
    assert_eq!(redeem(&server, STUDENT, code).send().await.status, 201);
    assert_eq!(enrollments_of(&server, 91).await, owed);
    let mine = get(&server, STUDENT, "/user/classes").await.json();
    assert_eq!((&mine["total"], &mine["items"][0]["course_title"]), (&json!(2), &json!("AI 입문")));
    server.assert_sound().await;
}

async fn leaving_keeps_what_was_learned(server: Server) {
    edit(&server, &json!({"course_id": 5})).send().await;
    let membership = redeem(&server, STUDENT, "ABC234").send().await.json();
    let target = format!("/user/class/enrollments/{}", membership["id"]);
    let leave = |token: &str| server.request("DELETE", &target).bearer(token).send();
    let strangers = people(&server, 1).await;
    for token in [strangers[0].as_str(), TOKEN, OTHER_TOKEN] {
        assert_detail(&leave(token).await, 404, "enrollment not found");
    }
    let reply = leave(STUDENT).await;
    assert_eq!((reply.status, reply.body.len()), (204, 0));
    assert_detail(&leave(STUDENT).await, 404, "enrollment not found");
    assert_eq!(get(&server, STUDENT, "/user/classes").await.json()["total"], 0);
    assert_eq!(enrollments_of(&server, 91).await.len(), 1);
    // Back again: a new membership of the same student.
    let again = redeem(&server, STUDENT, "ABC234").send().await.json();
    assert_ne!(again["id"], membership["id"]);
    assert_eq!(again["student_id"], membership["student_id"]);
    assert_eq!(enrollments_of(&server, 91).await.len(), 1);
    server.assert_sound().await;
}

async fn guessing_is_limited(server: Server) {
    let guess = |token: &str, code: &str| redeem(&server, token, code).send();
    // All at once, so that none is judged before another is counted.
    let guesses = (0..30).map(|n| {
        let code = format!("ZZZZ{}{}", char::from(b'A' + n / 6), char::from(b'P' + n % 6));
        redeem(&server, STUDENT, &code).send()
    });
    let mut statuses = Vec::new();
    for reply in futures_util::future::join_all(guesses).await {
        assert_eq!(reply.header("etag"), "", "nothing tells how many guesses there were");
        match reply.status {
            400 => assert_detail(&reply, 400, "invalid_or_expired_code"),
            _ => assert_detail(&reply, 429, "Too Many Requests"),
        }
        statuses.push(reply.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 10);
    // The right one opens nothing now, and what is no code is no guess.
    let reply = guess(STUDENT, "ABC234").await;
    assert_detail(&reply, 429, "Too Many Requests");
    assert_eq!(reply.header("retry-after"), "60");
    assert_detail(&guess(STUDENT, "ABC").await, 400, "invalid_code_format");
    // Others at the same address have guesses left, a hundred in all.
    let others = people(&server, 10).await;
    assert_eq!(guess(&others[9], "ABC234").await.status, 201);
    for token in &others[..9] {
        for _ in 0..10 {
            assert_eq!(guess(token, "ZZZZZZ").await.status, 400);
        }
    }
    assert_eq!(guess(&others[9], "ABC234").await.status, 429);
    // A dry run would be a guess that nobody counts.
    let dry = redeem(&server, TOKEN, "ABC234").header("haksa-dry-run", "true").send().await;
    assert_detail(&dry, 400, "dry_run_not_supported");
    server.clock.advance(jiff::SignedDuration::from_secs(60));
    assert_eq!(guess(STUDENT, "ABC234").await.status, 201);
    server.assert_sound().await;
}

/// The count outlives the server that counted.
async fn limited_after_a_restart(url: &str) {
    let first = Server::start_on(url).await;
    for _ in 0..10 {
        let reply = redeem(&first, STUDENT, "ZZZZZZ").send().await;
        assert_detail(&reply, 400, "invalid_or_expired_code");
    }
    drop(first);
    let second = Server::start_on(url).await;
    let reply = redeem(&second, STUDENT, "ABC234").send().await;
    assert_detail(&reply, 429, "Too Many Requests");
    second.clock.advance(jiff::SignedDuration::from_secs(60));
    assert_eq!(redeem(&second, STUDENT, "ABC234").send().await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_is_limited_after_a_restart_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("haksa.db").display());
    limited_after_a_restart(&url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_is_limited_after_a_restart_on_postgres() {
    limited_after_a_restart(&crate::support::new_postgres_database().await).await;
}

async fn a_crowd_fills_a_class(server: Server) {
    edit(&server, &json!({"capacity": 40, "course_id": 5})).send().await;
    let tokens = people(&server, 120).await;
    let tries = tokens.iter().map(|token| redeem(&server, token, "ABC234").send());
    let replies = futures_util::future::join_all(tries).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 40);
    for reply in replies.iter().filter(|reply| reply.status != 201) {
        assert_detail(reply, 400, "class_full");
    }
    assert_eq!(read(&server, &format!("{CLASS}/enrollments")).await["total"], 40);
    assert_eq!(read(&server, CODES).await["items"][0]["used_count"], 40);
    // The last use of a code, when many want it.
    let code = post(&server, CODES, &json!({"max_uses": 1})).send().await.json();
    edit(&server, &json!({"capacity": 1000})).send().await;
    let text = code["code"].as_str().unwrap();
    let latecomers: Vec<_> =
        tokens.iter().zip(&replies).filter(|(_, reply)| reply.status != 201).collect();
    let tries = latecomers.iter().take(20).map(|(token, _)| redeem(&server, token, text).send());
    let replies = futures_util::future::join_all(tries).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    let used = read(&server, CODES).await["items"][0].clone();
    assert_eq!((&used["used_count"], &used["status"]), (&json!(1), &json!("disabled")));
    server.assert_sound().await;
}

async fn a_code_that_looks_alike_opens_nothing(server: Server) {
    // Cyrillic and full-width letters that look like the code's, and what folds into six letters.
    for code in ["АВС234", "ＡＢＣ２３４", "ABC23４", "ßßß"] {
        let reply = redeem(&server, STUDENT, code).send().await;
        assert_detail(&reply, 400, "invalid_or_expired_code");
    }
    let nul = "A string literal cannot contain NUL (0x00) characters.";
    assert_detail(&redeem(&server, STUDENT, "abc\u{0}34").send().await, 400, nul);
    assert_detail(&redeem(&server, STUDENT, "\u{0}").send().await, 400, "invalid_code_format");
    assert_eq!(read(&server, CODES).await["items"][0]["used_count"], 0);
}
