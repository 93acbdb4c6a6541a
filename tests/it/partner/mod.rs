//! The partner dialect: what the vendor's framework answers, the contract's vectors, every field in
//! every state, and what every edit gains.

mod additions;
mod catalogue;
mod class;
mod course;
mod join;
mod login;
mod nodes;
mod student;
mod vectors;

use serde_json::{Map, Value, json};

use haksa::domain::actor::Actor;
use haksa::domain::command::{Edit, Expected};
use haksa::domain::patch::Patch;
use haksa::domain::people::person::{Person, PersonEdit, PersonStatus};
use haksa::domain::record::Record;
use haksa::domain::teaching::partner::{Partner, PartnerEdit};
use haksa::pipeline::Envelope;

use crate::support::{Reply, Request, Server, on_both_stores};

const TOKEN: &str = "demo-partner-token";
const OTHER_TOKEN: &str = "demo-partner-other-token";
const CLASS: &str = "/partner/7/classes/11";
const COURSE: &str = "/partner/7/course/5";
const COURSES: &str = "/partner/7/course";

on_both_stores!(who_may, paths, bodies, unknown_routes);

fn edit(server: &Server, body: &Value) -> Request {
    server.request("PATCH", CLASS).bearer(TOKEN).json(body)
}

async fn read(server: &Server, target: &str) -> Value {
    let reply = server.request("GET", target).bearer(TOKEN).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[track_caller]
fn assert_detail(reply: &Reply, status: u16, detail: &str) {
    assert_eq!(reply.text(), json!({"detail": detail}).to_string());
    assert_eq!(reply.status, status);
    assert_eq!(reply.header("content-type"), "application/json");
}

/// Makes an edit as the operator does, past the dialect.
async fn set<R: Record>(server: &Server, id: i64, edit: R::Edit) {
    let command = Edit::<R> { key: id.into(), edit, expected: Expected::Any };
    let envelope = Envelope::new(Actor::operator(3), "test");
    server.app.pipeline.run(command, envelope).await.expect("accepted");
}

async fn who_may(server: Server) {
    let routes = [
        ("PATCH", CLASS, "{}"),
        ("GET", CLASS, ""),
        ("GET", COURSES, ""),
        ("POST", COURSES, r#"{"title":"a","course_key":"b"}"#),
        ("GET", COURSE, ""),
        ("PATCH", COURSE, "{}"),
        ("DELETE", COURSE, ""),
        ("GET", "/partner/7/classes", ""),
        ("POST", "/partner/7/classes", r#"{"name":"a"}"#),
        ("DELETE", CLASS, ""),
        ("GET", "/partner/7/classes/11/invite-codes", ""),
        ("POST", "/partner/7/classes/11/invite-codes", "{}"),
        ("PATCH", "/partner/7/classes/11/invite-codes/21", "{}"),
        ("DELETE", "/partner/7/classes/11/invite-codes/21", ""),
        ("GET", "/partner/7/classes/11/enrollments", ""),
        ("GET", "/partner/7/student", ""),
        ("GET", "/partner/7/student/1", ""),
        ("PATCH", "/partner/7/student/1", "{}"),
        ("DELETE", "/partner/7/student/1", ""),
        ("POST", "/partner/7/student/1/deactivate", ""),
        ("POST", "/partner/7/student/1/archive", ""),
        ("GET", "/partner/7/student/1/enrollments", ""),
        ("POST", "/partner/7/student/1/enrollments", r#"{"class_id":11,"student_id":1}"#),
        ("PATCH", "/partner/7/student/enrollments/1", "{}"),
        ("DELETE", "/partner/7/student/enrollments/1", ""),
        ("POST", "/partner/7/student/enrollments/1/complete", ""),
        ("POST", "/partner/7/student/enrollments/1/drop", ""),
        ("GET", "/partner/7/catalog/models", ""),
    ];
    let all = haksa::dialect::WIRES.iter().flat_map(|wire| wire.routes);
    let own = all.filter(|route| route.path.starts_with("/partner/")).count();
    assert_eq!(routes.len(), own, "every route of a partner's is asked");
    for (method, target, body) in routes {
        let send = |authorization: &str, target: &str, body: &str| {
            let request = server.request(method, target).body(body.to_owned());
            if authorization.is_empty() {
                request.send()
            } else {
                request.header("authorization", authorization).send()
            }
        };
        for authorization in [
            "",
            "Basic abc",
            "Bearer",
            "Bearer nope",
            "Bearer  demo-partner-token",
            "demo-partner-token",
            "Bearer demo-kolleges-key",
            "Bearer DEMO-PARTNER-TOKEN",
        ] {
            for (target, body) in
                [(target, body), ("/partner/abc/classes/0", r#"{"capacity":"x"}"#)]
            {
                if target.ends_with("/0") && !["GET", "PATCH", "DELETE"].contains(&method) {
                    continue;
                }
                let reply = send(authorization, target, body).await;
                assert_detail(&reply, 401, "unauthorized");
                assert_eq!(reply.header("www-authenticate"), "Bearer");
            }
        }
        for token in ["demo-user-token", "demo-student-token"] {
            let reply = send(&format!("Bearer {token}"), target, body).await;
            assert_detail(&reply, 403, "not_a_partner");
        }
        let other = format!("Bearer {OTHER_TOKEN}");
        assert_detail(&send(&other, target, body).await, 403, "forbidden");
        for partner in ["0", "-1", "8", "99999999999999999999", "7_7"] {
            let target = target.replace("/partner/7", &format!("/partner/{partner}"));
            let reply = send("Bearer demo-partner-token", &target, body).await;
            assert_detail(&reply, 403, "forbidden");
        }
        // A path that names no partner is not another's.
        let nobodys = target.replace("/partner/7", "/partner/abc");
        let reply = send(&other, &nobodys, body).await;
        let items = reply.json()["detail"].as_array().cloned().unwrap();
        assert_eq!(reply.status, 422);
        // In one place, or in two.
        let places = if nobodys.contains("/course") { 1 } else { 2 };
        assert_eq!(items, vec![items[0].clone(); places]);
        assert_eq!(items[0]["loc"], json!(["path", "partner_id"]));
        // What is no JSON is refused before anybody asks who calls.
        if !body.is_empty() {
            let reply = send("", target, "{").await;
            assert_eq!(reply.status, 422);
            assert_eq!(reply.json()["detail"][0]["type"], "json_invalid");
        }
    }
    // Another partner's path hides every other fault.
    let reply = server.request("PATCH", CLASS).bearer(OTHER_TOKEN).json(&json!({"capacity": "x"}));
    assert_detail(&reply.send().await, 403, "forbidden");
    let reply = server.request("PATCH", CLASS).header("authorization", format!("BEARER {TOKEN}"));
    assert_eq!(reply.body("{}").send().await.status, 200);

    let active = |is_active| PartnerEdit { is_active: Patch::Value(is_active), ..<_>::default() };
    set::<Partner>(&server, 7, active(false)).await;
    assert_detail(&edit(&server, &json!({})).send().await, 403, "forbidden");
    set::<Partner>(&server, 7, active(true)).await;
    let status = Patch::Value(PersonStatus::Suspended);
    set::<Person>(&server, 101, PersonEdit { status, ..PersonEdit::default() }).await;
    assert_detail(&edit(&server, &json!({})).send().await, 401, "unauthorized");
}

async fn paths(server: Server) {
    for id in ["12", "999", "99999999999999999999", "9223372036854775807"] {
        for method in ["GET", "PATCH"] {
            let target = format!("/partner/7/classes/{id}");
            let reply = server.request(method, &target).bearer(TOKEN).body("{}").send().await;
            assert_detail(&reply, 404, "Class not found");
        }
    }
    for id in ["6", "999", "99999999999999999999"] {
        for method in ["GET", "PATCH", "DELETE"] {
            let target = format!("/partner/7/course/{id}");
            let reply = server.request(method, &target).bearer(TOKEN).body("{}").send().await;
            assert_detail(&reply, 404, "Course not found");
        }
    }
    let other = server.request("GET", "/partner/8/classes/12").bearer(OTHER_TOKEN).send().await;
    assert_eq!(other.json()["partner_id"], 8);
    let reply = server.request("PATCH", "/partner/7/classes/0").bearer(TOKEN).body("{}");
    let reply = reply.send().await;
    assert_eq!(
        reply.text(),
        r#"{"detail":[{"type":"greater_than_equal","loc":["path","class_id"],"msg":"Input should be greater than or equal to 1","input":"0","ctx":{"ge":1}}]}"#
    );
    assert_eq!(reply.body.len(), 146);
    // Every field at fault comes before a class that is missing.
    let reply = server.request("PATCH", "/partner/7/classes/999").bearer(TOKEN);
    let reply = reply.json(&json!({"capacity": "x"})).send().await;
    assert_eq!(reply.status, 422);
    // And a class that is missing before a rule.
    let reply = server.request("PATCH", "/partner/7/classes/999").bearer(TOKEN);
    let reply = reply.json(&json!({"capacity": -1, "name": "a\u{0}"})).send().await;
    assert_detail(&reply, 404, "Class not found");
}

async fn bodies(server: Server) {
    let send = |content_type: &'static str, body: Vec<u8>| {
        let request = server.request("PATCH", CLASS).bearer(TOKEN).body(body);
        let request = if content_type.is_empty() {
            request
        } else {
            request.header("content-type", content_type)
        };
        request.send()
    };
    let json = "application/json";
    let unreadable = "There was an error parsing the body";
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [
        b"{\"name\":\"\xff\"}".to_vec(),
        deep.clone().into_bytes(),
        format!("{{\"zzz\":{deep}}}").into_bytes(),
        "1".repeat(4301).into_bytes(),
    ] {
        assert_detail(&send(json, body).await, 400, unreadable);
    }
    assert_detail(&send("text/plain", b"\xff".to_vec()).await, 400, unreadable);
    let large = send(json, vec![b' '; 1024 * 1024 + 1]).await;
    assert_detail(&large, 413, "Request Entity Too Large");
    let half = send(json, br#"{"name":"\ud800"}"#.to_vec()).await;
    assert_eq!(half.status, 422);
    assert_eq!(half.json()["detail"][0]["type"], "json_invalid");
    let nul = "A string literal cannot contain NUL (0x00) characters.";
    for field in ["name", "description", "location", "timezone", "online_url"] {
        assert_detail(&edit(&server, &json!({field: "a\u{0}"})).send().await, 400, nul);
    }
    for number in ["1e400", "-1e400", "NaN", "Infinity"] {
        let reply = send(json, format!("{{\"capacity\":{number}}}").into_bytes()).await;
        assert_eq!(
            reply.text(),
            r#"{"detail":[{"type":"finite_number","loc":["body","capacity"],"msg":"Input should be a finite number","input":null}]}"#
        );
    }
    // What is wrong with each of very many items is not all said.
    let many = format!("{{\"allowed_model_ids\":[{}1]}}", "[],".repeat(260_000));
    let reply = send(json, many.into_bytes()).await;
    assert_eq!(reply.status, 422);
    assert_eq!(reply.json()["detail"].as_array().map(Vec::len), Some(1000));
    assert_eq!(reply.json()["detail"][999]["loc"], json!(["body", "allowed_model_ids", 999]));
    for text in [&b"{\0}\0"[..], b"\0{\0}", b"\xff\xfe{\0}\0"] {
        assert_detail(&send(json, text.to_vec()).await, 400, unreadable);
    }
    for content_type in ["application/x/y+json", ";charset=utf-8"] {
        let reply = send(content_type, b"{}".to_vec()).await;
        assert_eq!(reply.status, 422);
        assert_eq!(reply.json()["detail"][0]["type"], "model_attributes_type");
    }
    // The largest body that fits, full of keys that mean nothing.
    let keys: Vec<_> = (0..90_000).map(|n| format!("\"k{n}\":1")).collect();
    let reply = send(json, format!("{{{}}}", keys.join(",")).into_bytes()).await;
    assert_eq!(reply.status, 200);
}

async fn unknown_routes(server: Server) {
    for (method, target) in [
        ("GET", "/partner"),
        ("GET", "/partner/7"),
        ("GET", "/partner/7/nothing"),
        ("GET", "/partner/7/classes/11/more"),
        ("GET", "/partner//classes/11/more"),
        ("GET", "/user/class"),
        ("GET", "/user/classes/1"),
        ("GET", "/models/1"),
    ] {
        let reply = server.request(method, target).bearer(TOKEN).send().await;
        assert_detail(&reply, 404, "Not Found");
    }
    for (method, target, allowed) in [
        ("PUT", CLASS, "GET"),
        ("POST", CLASS, "DELETE"),
        ("PUT", COURSES, "GET"),
        ("OPTIONS", COURSE, "GET"),
        ("POST", COURSE, "GET"),
        ("DELETE", "/partner/7/classes", "POST"),
        ("GET", "/partner/7/classes/11/invite-codes/21", "PATCH"),
        ("GET", "/user/login", "POST"),
        ("GET", "/user/class/invites/redeem", "POST"),
        ("GET", "/user/class/enrollments/1", "DELETE"),
        ("POST", "/user/classes", "GET"),
        ("POST", "/models", "GET"),
    ] {
        let reply = server.request(method, target).bearer(TOKEN).send().await;
        assert_detail(&reply, 405, "Method Not Allowed");
        assert!(reply.header("allow").contains(allowed), "{}", reply.header("allow"));
    }
    for (method, target) in [
        ("PATCH", CLASS),
        ("GET", COURSE),
        ("POST", COURSES),
        ("DELETE", COURSE),
        ("POST", "/partner/7/classes"),
        ("GET", "/partner/7/classes/11/invite-codes"),
        ("GET", "/partner/7/student"),
        ("POST", "/user/login"),
        ("POST", "/user/class/invites/redeem"),
        ("GET", "/user/classes"),
        ("GET", "/models"),
    ] {
        let reply = server.request(method, &format!("{target}/?a=b")).send().await;
        assert_eq!((reply.status, reply.body.len()), (307, 0));
        // Whatever path a proxy has put before it.
        let asked = url::Url::parse(&format!("http://proxy.example/base{target}/?a=b")).unwrap();
        let sent_to = asked.join(reply.header("location")).unwrap();
        assert_eq!(sent_to.as_str(), format!("http://proxy.example/base{target}?a=b"));
    }
}

/// Method, path, content type, body, the framework's status and answer, and where it could read the
/// request, which rule here refuses it.
type Vector = (String, String, String, Option<String>, u16, String, Option<String>);

/// What FastAPI 0.124.0 with Pydantic 2.12.5 answered to each request, for models with the
/// documented fields.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn framework() {
    let server = Server::start(crate::support::Backend::Sqlite).await;
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../fixtures/partner/framework.json")).unwrap();
    assert!(vectors.len() > 800);
    let mut failures = Vec::new();
    for (method, path, content_type, body, status, answer, refused) in vectors {
        let mut request =
            server.request(&method, &path).bearer(TOKEN).header("haksa-dry-run", "true");
        if !content_type.is_empty() {
            request = request.header("content-type", content_type.as_str());
        }
        let reply = request.body(body.clone().unwrap_or_default()).send().await;
        let request = format!("{method} {path} {content_type} {body:.200?}");
        if status != 200 {
            if (reply.status, reply.text()) != (status, answer.clone()) {
                failures.push(format!(
                    "{request}\n  {} {}\n  {answer}",
                    reply.status,
                    reply.text()
                ));
            }
            continue;
        }
        let found = match reply.status {
            200 | 201 => None,
            400 | 404 => Some(reply.json()["detail"].as_str().unwrap_or_default().to_owned()),
            _ => Some(reply.text()),
        };
        if found != refused {
            failures.push(format!("{request}\n  {found:?}\n  {refused:?}"));
        }
        if reply.status != 200 || method == "GET" {
            continue;
        }
        let (read, expected) = (reply.json(), serde_json::from_str::<Map<_, _>>(&answer).unwrap());
        for (field, value) in expected {
            if !value.is_null() && field != "allowed_model_ids" && read[&field] != value {
                failures.push(format!("{request}\n  {}\n  {value}", read[&field]));
            }
        }
    }
    assert!(failures.is_empty(), "{}:\n{}", failures.len(), failures.join("\n"));
}
