//! Students and their memberships, as a partner keeps them.

use haksa::domain::learning::enrollment::Enrollment;
use serde_json::{Value, json};

use super::join::{get, people, post, redeem};
use super::{CLASS, OTHER_TOKEN, TOKEN, assert_detail, read};
use crate::support::{Reply, Server, on_both_stores};

const STUDENTS: &str = "/partner/7/student";

on_both_stores!(
    students_are_listed_and_edited,
    null_clears_what_a_partner_noted,
    a_student_goes_with_every_membership,
    memberships_by_hand,
    nobody_sees_students_of_another,
);

async fn patch(server: &Server, target: &str, body: &Value) -> Reply {
    server.request("PATCH", target).bearer(TOKEN).json(body).send().await
}

async fn joined(server: &Server, token: &str) -> Value {
    let reply = redeem(server, token, "ABC234").send().await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    reply.json()
}

async fn students_are_listed_and_edited(server: Server) {
    assert_eq!(read(&server, STUDENTS).await, json!([]), "a plain array");
    let tokens = people(&server, 2).await;
    let mut ids = Vec::new();
    for token in [tokens[0].as_str(), tokens[1].as_str(), "demo-student-token"] {
        server.clock.advance(jiff::SignedDuration::from_secs(1));
        ids.push(joined(&server, token).await["student_id"].as_i64().unwrap());
    }
    let one = format!("{STUDENTS}/{}", ids[0]);
    let body =
        json!({"full_name": "김가나 100%", "primary_contact": "010-0000-0000", "notes": "n"});
    let reply = patch(&server, &one, &body).await;
    assert_eq!((reply.status, &reply.json()["full_name"]), (200, &json!("김가나 100%")));
    let list = async |query: &str| {
        let found = read(&server, &format!("{STUDENTS}{query}")).await;
        found.as_array().unwrap().iter().map(|s| s["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(list("").await, [ids[2], ids[1], ids[0]], "newest first");
    assert_eq!(list("?limit=1&offset=1").await, [ids[1]]);
    assert_eq!(list("?q=HAJUN").await, [ids[2]]);
    assert_eq!(list("?q=%EA%B0%80%EB%82%98").await, [ids[0]]);
    assert_eq!(list("?q=100%25").await, [ids[0]], "a percent sign is one");
    assert_eq!(list("?q=0000").await, [ids[0]]);
    assert_eq!(list("?q=nobody").await, [0; 0]);
    for (act, status) in [("deactivate", "inactive"), ("archive", "archived")] {
        let reply = server.request("POST", &format!("{one}/{act}")).bearer(TOKEN).send().await;
        assert_eq!((reply.status, &reply.json()["status"]), (200, &json!(status)));
        assert_eq!(list(&format!("?status={status}")).await, [ids[0]]);
    }
    assert_eq!(list("?status=active").await, [ids[2], ids[1]]);
    for none in ["?status=gone", "?status=Active", "?q=%20HAJUN"] {
        assert_eq!(list(none).await, [0; 0], "{none}");
    }
    assert_eq!(list("?status=&q=").await.len(), 3, "empty means no filter");
    let nul = "A string literal cannot contain NUL (0x00) characters.";
    for filter in ["q", "status"] {
        assert_detail(&get(&server, TOKEN, &format!("{STUDENTS}?{filter}=%00")).await, 400, nul);
    }
    let taken = json!({"email": " HAJUN@example.com "});
    assert_detail(&patch(&server, &one, &taken).await, 409, "student conflict within partner");
    let taken = json!({"user_id": 91});
    assert_detail(&patch(&server, &one, &taken).await, 409, "student conflict within partner");
    // Another account's, or nobody.
    for nobody in [json!(102), json!(9999), json!("99999999999999999999")] {
        let reply = patch(&server, &one, &json!({"user_id": nobody})).await;
        assert_detail(&reply, 409, "student conflict within partner");
    }
    for (method, target) in [("GET", "999"), ("PATCH", "999"), ("DELETE", "99999999999999999999")] {
        let target = format!("{STUDENTS}/{target}");
        let reply = server.request(method, &target).bearer(TOKEN).body("{}").send().await;
        assert_detail(&reply, 404, "student not found");
    }
    server.assert_sound().await;
}

async fn null_clears_what_a_partner_noted(server: Server) {
    let id = joined(&server, "demo-student-token").await["student_id"].clone();
    let one = format!("{STUDENTS}/{id}");
    patch(&server, &one, &json!({"notes": "n", "primary_contact": "c", "status": "inactive"}))
        .await;
    let body = json!({"notes": null, "primary_contact": null, "email": null});
    let after = patch(&server, &one, &body).await.json();
    for field in ["notes", "primary_contact", "email"] {
        assert_eq!(after[field], Value::Null, "{field}");
    }
    for field in ["full_name", "status"] {
        for target in [&one, &format!("{STUDENTS}/999")] {
            let reply = patch(&server, target, &json!({field: null})).await;
            if target == &one {
                assert_detail(&reply, 409, "student conflict within partner");
            } else {
                assert_detail(&reply, 404, "student not found");
            }
        }
    }
    assert_eq!(read(&server, &one).await, after, "nothing else came of it");
    assert_detail(
        &patch(&server, &one, &json!({"full_name": " "})).await,
        400,
        "full_name_required",
    );
    let nul = "A string literal cannot contain NUL (0x00) characters.";
    assert_detail(&patch(&server, &one, &json!({"notes": "\u{0}"})).await, 400, nul);
    // Without its person, a student is found by e-mail, and is that person again.
    let body = json!({"user_id": null, "email": "Hajun@Example.com"});
    assert_eq!(patch(&server, &one, &body).await.json()["user_id"], Value::Null);
    assert_eq!(get(&server, "demo-student-token", "/user/classes").await.json()["total"], 0);
    let again = joined(&server, "demo-student-token").await;
    assert_eq!(again["student_id"], id);
    // It was a member all along, so nothing else had to change: not even who it is.
    assert_eq!(read(&server, STUDENTS).await.as_array().map(Vec::len), Some(1));
    server.assert_sound().await;
}

async fn a_student_goes_with_every_membership(server: Server) {
    let membership = joined(&server, "demo-student-token").await;
    let one = format!("{STUDENTS}/{}", membership["student_id"]);
    let delete = || server.request("DELETE", &one).bearer(TOKEN).send();
    assert_eq!(delete().await.status, 204);
    assert_detail(&delete().await, 404, "student not found");
    assert_eq!(read(&server, &format!("{CLASS}/enrollments")).await["total"], 0);
    assert_eq!(get(&server, "demo-student-token", "/user/classes").await.json()["total"], 0);
    // The person is still there, and may come back as somebody new to the partner.
    let again = joined(&server, "demo-student-token").await;
    assert_ne!(again["student_id"], membership["student_id"]);
    server.assert_sound().await;
}

async fn memberships_by_hand(server: Server) {
    let student = joined(&server, "demo-student-token").await["student_id"].clone();
    let class =
        post(&server, "/partner/7/classes", &json!({"name": "b", "capacity": 1, "course_id": 5}));
    let class = class.send().await.json()["id"].clone();
    let target = format!("{STUDENTS}/{student}/enrollments");
    let enroll = |body: Value| post(&server, &target, &body).send();
    let reply = enroll(json!({})).await;
    assert_eq!(
        reply.text(),
        r#"{"detail":[{"type":"missing","loc":["body","class_id"],"msg":"Field required","input":{}},{"type":"missing","loc":["body","student_id"],"msg":"Field required","input":{}}]}"#
    );
    for missing in [json!(12), json!(999), json!("99999999999999999999")] {
        let reply = enroll(json!({"class_id": missing, "student_id": 1})).await;
        assert_detail(&reply, 404, "Class not found");
    }
    let reply =
        enroll(json!({"class_id": class, "student_id": student, "invite_code_id": 21})).await;
    assert_detail(&reply, 400, "invite_code_not_found");
    let body = json!({"class_id": class, "student_id": "5"});
    let reply = enroll(body.clone()).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let made = reply.json();
    assert_eq!((&made["student_id"], &made["status"]), (&student, &json!("active")));
    assert_eq!(enroll(body).await.json(), made, "it is there already");
    // It owes the class's course, as whoever comes by a code.
    let owed = server.app.store.read(|facts| facts.select::<Enrollment>(3, "person_id", 91));
    assert_eq!(owed.await.unwrap().len(), 1);
    let found = read(&server, &target).await;
    assert_eq!((found.as_array().map(Vec::len), &found[0]), (Some(2), &made), "a plain array");
    assert_eq!(read(&server, &format!("{target}?limit=500&offset=1")).await, json!([found[1]]));
    assert_eq!(read(&server, &format!("{target}?status=active")).await, found);
    for none in ["dropped", "x", "Active"] {
        assert_eq!(read(&server, &format!("{target}?status={none}")).await, json!([]));
    }
    let reply = get(&server, TOKEN, &format!("{STUDENTS}/999/enrollments?status=%00")).await;
    assert_detail(&reply, 404, "student not found");
    let other = people(&server, 1).await;
    let other = joined(&server, &other[0]).await["student_id"].clone();
    let full = post(
        &server,
        &format!("{STUDENTS}/{other}/enrollments"),
        &json!({"class_id": class, "student_id": other}),
    );
    assert_detail(&full.clone().send().await, 400, "class_full");
    let one = format!("{STUDENTS}/enrollments/{}", made["id"]);
    let early = json!({"status": "completed", "completed_at": "2026-04-23T09:15:29Z"});
    assert_detail(&patch(&server, &one, &early).await, 400, "completed_at_before_enrolled_at");
    let body = json!({"status": "completed", "completed_at": "2026-05-01"});
    let done = patch(&server, &one, &body).await.json();
    assert_eq!(done["completed_at"], "2026-05-01T00:00:00Z");
    assert_eq!(full.send().await.status, 201, "who has finished takes no place");
    // A waiting list of one's own: who is not active takes none either.
    let delete = || server.request("DELETE", &one).bearer(TOKEN).send();
    assert_eq!(delete().await.status, 204);
    assert_detail(&delete().await, 404, "enrollment not found");
    let reply = enroll(json!({"class_id": class, "student_id": 1, "status": "inactive"})).await;
    assert_eq!((reply.status, &reply.json()["status"]), (201, &json!("inactive")));
    for act in ["complete", "drop"] {
        let reply =
            server.request("POST", &format!("{STUDENTS}/enrollments/999/{act}")).bearer(TOKEN);
        assert_detail(&reply.send().await, 404, "enrollment not found");
    }
    server.assert_sound().await;
}

async fn nobody_sees_students_of_another(server: Server) {
    let membership = joined(&server, "demo-student-token").await;
    let (student, id) = (&membership["student_id"], &membership["id"]);
    assert_eq!(get(&server, OTHER_TOKEN, "/partner/8/student").await.json(), json!([]));
    for (method, target, detail) in [
        ("GET", format!("student/{student}"), "student not found"),
        ("PATCH", format!("student/{student}"), "student not found"),
        ("DELETE", format!("student/{student}"), "student not found"),
        ("POST", format!("student/{student}/archive"), "student not found"),
        ("GET", format!("student/{student}/enrollments"), "student not found"),
        ("PATCH", format!("student/enrollments/{id}"), "enrollment not found"),
        ("DELETE", format!("student/enrollments/{id}"), "enrollment not found"),
        ("POST", format!("student/enrollments/{id}/drop"), "enrollment not found"),
        ("GET", "classes/11/enrollments".to_owned(), "Class not found"),
        ("GET", "classes/11/invite-codes".to_owned(), "Class not found"),
        ("POST", "classes/11/invite-codes".to_owned(), "Class not found"),
        ("PATCH", "classes/11/invite-codes/21".to_owned(), "Class not found"),
        ("DELETE", "classes/11/invite-codes/21".to_owned(), "Class not found"),
        ("PATCH", "classes/12/invite-codes/21".to_owned(), "Invite not found"),
        ("DELETE", "classes/11".to_owned(), "Class not found"),
    ] {
        let target = format!("/partner/8/{target}");
        let reply = server.request(method, &target).bearer(OTHER_TOKEN).body("{}").send().await;
        assert_detail(&reply, 404, detail);
    }
    // A student of another's in a class of one's own.
    let body = json!({"class_id": 12, "student_id": student});
    let target = format!("/partner/8/student/{student}/enrollments");
    let reply = server.request("POST", &target).bearer(OTHER_TOKEN).json(&body).send().await;
    assert_detail(&reply, 404, "student not found");
}
