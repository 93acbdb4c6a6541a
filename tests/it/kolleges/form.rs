//! Forms: made, read, listed, edited.

use serde_json::{Value, json};

use super::{KEY, assert_bad_request};
use crate::support::{Reply, Request, Server, on_both_stores};

const FORMS: &str = "/open-api/achievements/forms";
const ONE: &str = "/open-api/achievements/forms/551";

on_both_stores!(made_and_read, what_a_form_may_not_be, edited, missing_designs, listed, who_may);

fn post(server: &Server, body: &Value) -> Request {
    server.request("POST", FORMS).bearer(KEY).json(body)
}

fn patch(server: &Server, body: &Value) -> Request {
    server.request("PATCH", ONE).bearer(KEY).json(body)
}

async fn read(server: &Server, id: &Value) -> Value {
    let reply = server.request("GET", &format!("{FORMS}/{id}")).bearer(KEY).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn assert_refused(reply: &Reply, status: u16, error: &str, message: &str) {
    let body = reply.json();
    assert_eq!(reply.status, status, "{body}");
    assert_eq!(body["statusCode"], status);
    assert_eq!((&body["error"], &body["message"]), (&json!(error), &json!(message)));
}

/// The body that the page shows.
fn documented() -> Value {
    json!({
        "name": "프로그래밍 기초 과정 수료증",
        "description": "기초 과정을 마친 사람에게",
        "type": "completion",
        "tags": ["programming", "basic", "python"],
        "prefix": "PROG",
        "program_name": "프로그래밍 기초 과정",
        "program_type": "온라인 강의",
        "program_url": "https://example.com/basic-programming",
        "course_begin_at": "2024-03-01T00:00:00.000Z",
        "course_end_at": "2024-06-30T00:00:00.000Z",
        "achievementCertificateDesignId": 165,
        "achievementBadgeDesignId": 83,
        "requirements": [
            {"type": "submit_homework", "description": "과제 제출", "order": 1},
            {"type": "read", "url": "https://example.com/book", "order": 0},
        ],
    })
}

async fn made_and_read(server: Server) {
    let reply = post(&server, &documented()).send().await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let made = reply.json();
    assert_eq!(made["statusCode"], 201);
    assert_eq!(made["message"], "인증서 양식이 생성되었습니다.");
    let answer = read(&server, &made["achievementFormId"]).await;
    assert_eq!(answer["message"], "인증서 양식이 조회되었습니다.");
    assert_eq!(answer["achievementForm"], answer["achievement"]);
    let form = &answer["achievementForm"];
    let sent = documented();
    for field in [
        "name",
        "description",
        "type",
        "tags",
        "prefix",
        "program_name",
        "program_type",
        "program_url",
        "course_begin_at",
        "course_end_at",
    ] {
        assert_eq!(form[field], sent[field], "{field}");
    }
    assert_eq!(form["id"], made["achievementFormId"]);
    assert_eq!(form["created_at"], "2026-04-23T09:15:30.000Z");
    // In the order that they name, without it.
    assert_eq!(
        form["requirements"],
        json!([
            {"type": "read", "url": "https://example.com/book", "description": null},
            {"type": "submit_homework", "url": null, "description": "과제 제출"},
        ])
    );
    assert_eq!(
        form["club"],
        json!({"domain": "sandbox", "name": "Sandbox Academy", "type": "school", "images": [],
               "customData": [{"attribute_name": "점수", "attribute_tag": "score"}]})
    );
    assert_eq!(
        (&form["clubInstitutions"], &form["representativeInstitution"]),
        (&json!([]), &Value::Null)
    );
    assert_eq!(form["achievementCertificateDesign"]["id"], 165);
    assert_eq!(form["achievementBadgeDesign"]["template_type"], "NewBadgeType31");

    // The least that a form is.
    let least = json!({"name": "양식", "type": "warranty", "achievementBadgeDesignId": 123});
    let made = post(&server, &least).send().await.json();
    let form = read(&server, &made["achievementFormId"]).await["achievementForm"].clone();
    for field in
        ["description", "prefix", "program_url", "course_end_at", "achievementCertificateDesign"]
    {
        assert_eq!(form[field], Value::Null, "{field}");
    }
    assert_eq!((&form["tags"], &form["requirements"]), (&json!([]), &json!([])));
    server.assert_sound().await;
}

async fn what_a_form_may_not_be(server: Server) {
    let with = |field: &str, value: Value| {
        let mut body = documented();
        body[field] = value;
        body
    };
    let without = |field: &str| {
        let mut body = documented();
        body.as_object_mut().unwrap().shift_remove(field);
        body
    };
    let before = server.request("GET", FORMS).bearer(KEY).send().await.json();
    for (field, body) in [
        ("prefix", with("prefix", json!("ABCDEF"))),
        ("prefix", with("prefix", json!("AB1"))),
        ("prefix", with("prefix", json!(""))),
        ("prefix", with("prefix", json!("가"))),
        ("prefix", with("prefix", Value::Null)),
        ("type", with("type", json!("diploma"))),
        ("type", with("type", json!("Completion"))),
        ("type", with("type", json!(1))),
        ("type", without("type")),
        ("name", without("name")),
        ("name", with("name", json!(7))),
        ("name", with("name", json!("a\u{0}b"))),
        ("name", with("name", json!(""))),
        ("name", with("name", json!(" \u{3000}\t"))),
        ("description", with("description", Value::Null)),
        ("tags", with("tags", json!("python"))),
        ("tags[1]", with("tags", json!(["python", 3]))),
        ("program_url", with("program_url", json!({}))),
        ("course_begin_at", with("course_begin_at", json!("2024-02-30"))),
        ("course_end_at", with("course_end_at", json!("2024-01-01"))),
        ("achievementBadgeDesignId", without("achievementBadgeDesignId")),
        ("achievementBadgeDesignId", with("achievementBadgeDesignId", json!("83"))),
        ("achievementBadgeDesignId", with("achievementBadgeDesignId", json!(83.5))),
        ("achievementCertificateDesignId", with("achievementCertificateDesignId", Value::Null)),
        ("requirements", with("requirements", json!({}))),
        ("requirements[0]", with("requirements", json!(["read"]))),
        ("requirements[0].order", with("requirements", json!([{"order": -1}]))),
        ("requirements[0].order", with("requirements", json!([{"order": 1.5}]))),
        ("requirements[0].more", with("requirements", json!([{"more": 1}]))),
        ("more", with("more", json!(1))),
    ] {
        let reply = post(&server, &body).send().await;
        assert_bad_request(&reply);
        assert_eq!(reply.json()["details"][0]["field"], field, "{body}");
    }
    for body in ["", "[]", "{bad"] {
        let request = server.request("POST", FORMS).bearer(KEY);
        assert_bad_request(
            &request.header("content-type", "application/json").body(body).send().await,
        );
    }
    assert_eq!(server.request("GET", FORMS).bearer(KEY).send().await.json(), before);
}

async fn edited(server: Server) {
    let before = read(&server, &json!(551)).await["achievementForm"].clone();
    server.clock.advance(jiff::SignedDuration::from_secs(1));
    let body = json!({"name": "Updated Form", "prefix": "ABC",
                      "course_begin_at": "2025-04-03T00:00:00.000Z", "achievementBadgeDesignId": 123});
    let reply = patch(&server, &body).send().await;
    assert_eq!(reply.text(), r#"{"statusCode":200,"message":"인증서 폼이 수정되었습니다."}"#);
    let after = read(&server, &json!(551)).await["achievementForm"].clone();
    assert_eq!((&after["name"], &after["prefix"]), (&json!("Updated Form"), &json!("ABC")));
    assert_eq!(after["course_begin_at"], "2025-04-03T00:00:00.000Z");
    assert_eq!(after["achievementBadgeDesign"]["id"], 123);
    assert_eq!(after["updated_at"], "2026-04-23T09:15:31.000Z");
    for field in ["type", "tags", "course_end_at", "achievementCertificateDesign", "created_at"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    // Certificates that are out keep their number and their course.
    let one = server.request("GET", "/open-api/achievements/1539").bearer(KEY).send().await.json();
    assert_eq!(one["achievement"]["certificate_number"], "SAND-202504-r9a1pt");
    assert_eq!(one["achievement"]["achievementForm"]["name"], "Updated Form");
    // The page's own body begins the course after the form's end, and is taken; what then is issued has
    // these dates.
    let documented = json!({"name": "Updated Form", "prefix": "ABC",
        "course_begin_at": "2025-07-01T00:00:00.000Z", "achievementBadgeDesignId": 83});
    assert_eq!(patch(&server, &documented).send().await.status, 200);
    let issue = json!({"achievementFormId": 551, "mode": "email",
                       "users": [{"name": "늦은 사람", "email": "late@example.com"}]});
    let request = server.request("POST", "/open-api/achievements/issue").bearer(KEY);
    assert_eq!(request.json(&issue).send().await.status, 201);
    // An end is not put before the beginning.
    let mut whole = documented.clone();
    whole["course_end_at"] = json!("2025-06-30");
    let reply = patch(&server, &whole).send().await;
    assert_refused(&reply, 400, "Bad Request", "잘못된 요청입니다.");
    assert_eq!(reply.json()["details"][0]["field"], "course_end_at");
    whole["course_end_at"] = json!("2025-07-31");
    whole["course_begin_at"] = json!("2025-07-02");
    assert_eq!(patch(&server, &whole).send().await.status, 200);

    for body in [
        json!({"name": "no badge"}),
        json!({"name": null, "achievementBadgeDesignId": 83}),
        json!({"name": " ", "achievementBadgeDesignId": 83}),
        json!({"prefix": "ABCDEF", "achievementBadgeDesignId": 83}),
        json!({"achievementBadgeDesignId": null}),
        json!({"requirements": [], "achievementBadgeDesignId": 83}),
    ] {
        let reply = patch(&server, &body).send().await;
        assert_refused(&reply, 400, "Bad Request", "잘못된 요청입니다.");
    }
    server.assert_sound().await;
}

async fn missing_designs(server: Server) {
    let certificate = "해당 증명서 디자인을 찾을 수 없습니다.";
    let badge = "해당 배지 디자인을 찾을 수 없습니다.";
    for (body, message) in [
        (
            json!({"achievementBadgeDesignId": 83, "achievementCertificateDesignId": 99999}),
            certificate,
        ),
        // A badge is no certificate, and the other way round.
        (
            json!({"achievementBadgeDesignId": 83, "achievementCertificateDesignId": 123}),
            certificate,
        ),
        (json!({"achievementBadgeDesignId": 165}), badge),
        (json!({"achievementBadgeDesignId": 99999}), badge),
        (json!({"achievementBadgeDesignId": 0}), badge),
        (json!({"achievementBadgeDesignId": -1}), badge),
        // Another club's.
        (json!({"achievementBadgeDesignId": 900}), badge),
    ] {
        assert_refused(&patch(&server, &body).send().await, 404, "Not Found", message);
        let mut new = body.clone();
        new["name"] = json!("새 양식");
        new["type"] = json!("award");
        assert_refused(&post(&server, &new).send().await, 404, "Not Found", message);
    }
    let form = read(&server, &json!(551)).await["achievementForm"].clone();
    assert_eq!(form["achievementBadgeDesign"]["id"], 83);
}

async fn listed(server: Server) {
    for number in 0..4 {
        server.clock.advance(jiff::SignedDuration::from_secs(1));
        let body = json!({"name": format!("양식 {number}"), "type": "activity", "achievementBadgeDesignId": 83});
        assert_eq!(post(&server, &body).send().await.status, 201);
    }
    let get = async |query: &str| {
        let reply = server.request("GET", &format!("{FORMS}{query}")).bearer(KEY).send().await;
        assert_eq!(reply.status, 200, "{query}");
        reply.json()
    };
    let all = get("").await;
    assert_eq!(all["message"], "인증서 양식 목록이 조회되었습니다.");
    assert_eq!(all["achievements"], all["achievementForms"]);
    assert_eq!(all["totalPages"], 1);
    let names = |page: &Value| -> Vec<String> {
        let items = page["achievements"].as_array().unwrap().iter();
        items.map(|form| form["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&all)[..4], ["양식 3", "양식 2", "양식 1", "양식 0"]);
    assert_eq!(names(&all).len(), 6);
    let page = get("?page=2&pageSize=2").await;
    assert_eq!(names(&page), ["양식 1", "양식 0"]);
    assert_eq!(page["totalPages"], 3);
    assert_eq!(names(&get("?page=4&pageSize=2").await), [""; 0]);
    let item = &page["achievements"][0];
    assert_eq!(item["achievementBadgeDesign"]["id"], 83);
    for left_out in ["club", "clubInstitutions", "representativeInstitution", "requirements"] {
        assert!(item.get(left_out).is_none(), "{left_out}");
    }
    let reply = server.request("GET", &format!("{FORMS}?page=0")).bearer(KEY).send().await;
    assert_eq!(reply.status, 400);
    let other = server.request("GET", FORMS).bearer("demo-kolleges-other-key").send().await.json();
    assert_eq!(other["achievements"].as_array().map(Vec::len), Some(1));
}

async fn who_may(server: Server) {
    for (method, target) in [("GET", FORMS), ("POST", FORMS), ("GET", ONE), ("PATCH", ONE)] {
        let reply = server.request(method, target).bearer("wrong").body("{bad").send().await;
        assert_refused(&reply, 401, "Unauthorized", "Invalid token");
    }
    let none = "해당 인증서를 찾을 수 없습니다.";
    let body = json!({"achievementBadgeDesignId": 83});
    for id in ["9000", "999999", "0", "99999999999999999999"] {
        let target = format!("{FORMS}/{id}");
        let reply = server.request("GET", &target).bearer(KEY).send().await;
        assert_refused(&reply, 404, "AchievementFormNotFound", none);
        let reply = server.request("PATCH", &target).bearer(KEY).json(&body).send().await;
        assert_refused(&reply, 404, "Not Found", none);
        // What is wrong with the body is said before that there is no form.
        for (field, wrong) in [
            ("prefix", json!({"prefix": "ABCDEF"})),
            ("name", json!({"name": ""})),
            ("name", json!({"name": "가".repeat(256)})),
            ("tags", json!({"tags": ["a\u{1b}"]})),
            (
                "course_end_at",
                json!({"course_begin_at": "2025-07-01", "course_end_at": "2025-04-01"}),
            ),
        ] {
            let mut body = body.clone();
            body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
            let reply = server.request("PATCH", &target).bearer(KEY).json(&body).send().await;
            assert_refused(&reply, 400, "Bad Request", "잘못된 요청입니다.");
            assert_eq!(reply.json()["details"][0]["field"], field, "{body}");
        }
    }
    assert_bad_request(&server.request("GET", &format!("{FORMS}/abc")).bearer(KEY).send().await);
    // A verb without a route of its own falls to the certificates, whose ids are numbers.
    for (method, word) in [
        ("PATCH", "forms"),
        ("DELETE", "forms"),
        ("GET", "issue"),
        ("PATCH", "issue"),
        ("DELETE", "badge-designs"),
    ] {
        let target = format!("/open-api/achievements/{word}");
        let request = server.request(method, &target).json(&body);
        assert_eq!(request.clone().send().await.status, 401, "{method} {word}");
        assert_bad_request(&request.bearer(KEY).send().await);
    }
}
