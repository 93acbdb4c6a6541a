//! A tag that is no longer so stops every edit and every deletion, of every dialect.

use serde_json::{Value, json};

use haksa::dialect::WIRES;
use haksa::domain::delivery::message::{Message, MessageStatus};
use http::Method;

use super::ncloud::{MANAGER, application_base, signed};
use super::solapi::relationship;
use crate::support::command::make;
use crate::support::{Request, Server, on_both_stores};

on_both_stores!(a_stale_tag_stops_every_edit_and_every_deletion);

/// What makes something new, or gives something out: there is nothing that could have changed.
const NEW: &[&str] = &[
    "/open-api/achievements/issue",
    "/open-api/achievements/forms",
    "/open-api/badge-designs",
    "/open-api/achievements/badge-designs",
    "/haksa/v1/designs",
    "/haksa/v1/models",
    "/partner/{partner_id}/classes",
    "/partner/{partner_id}/classes/{class_id}/invite-codes",
    "/partner/{partner_id}/student/{student_id}/enrollments",
    "/partner/{partner_id}/course",
    "/user/login",
    "/user/refresh",
    "/user/class/invites/redeem",
    "/api/v3/token",
];

/// What stands for a path's parameters.
struct Ids {
    change: String,
    message: String,
    member: String,
    student: String,
}

impl Ids {
    /// A path with the id of a record that is there.
    fn target(&self, path: &str) -> String {
        let id = match path.split('/').nth(3).unwrap_or_default() {
            "changes" => &self.change,
            "messages" => &self.message,
            "achievements" => "1539",
            "forms" => "551",
            "designs" => "83",
            _ => "1",
        };
        [
            ("{achievementId}", "1539"),
            ("{achievementFormId}", "551"),
            ("{partner_id}", "7"),
            ("{class_id}", "11"),
            ("{invite_code_id}", "21"),
            ("{student_id}", &self.student),
            (
                "{enrollment_id}",
                if path.starts_with("/enrollment") || path.contains("/api/v") {
                    "d48bd4fa-5b70-11e9-b12b-22e9fbac4a59"
                } else {
                    &self.member
                },
            ),
            ("{course_id}", "5"),
            ("{applicationId}", "88d2009c-0000-4000-8000-59bf9afd5695"),
            ("{relationshipId}", "CRMRL1260423091530123REL11122233"),
            ("{id}", id),
        ]
        .into_iter()
        .fold(path.to_owned(), |path, (name, id)| path.replace(name, id))
    }
}

fn request(server: &Server, method: &Method, path: &str, target: &str) -> Request {
    let plain = server.request(method.as_str(), target);
    match path {
        path if path.contains("/applications/") => {
            signed(server, MANAGER, target, &application_base())
        }
        path if path.contains("/relationships/") => {
            relationship(server, &json!({"metadata": {"n": 1}}))
        }
        path if path.ends_with("/enrollment/{enrollment_id}") => {
            let body = json!({"accessDate": "2026-01-10", "dueDateType": "unlimited"});
            plain.bearer("demo-ispring-OWN-token").header("accept", "application/json").json(&body)
        }
        path if path.starts_with("/open-api/achievements/forms/") => {
            plain.bearer("demo-kolleges-key").json(&json!({"achievementBadgeDesignId": 83}))
        }
        path if path.starts_with("/open-api/") => {
            plain.bearer("demo-kolleges-key").json(&json!({"course_end_at": null}))
        }
        path if path.starts_with("/haksa/") => plain.bearer("demo-admin-key").json(&json!({})),
        path if path.starts_with("/user/") => plain.bearer("demo-student-token"),
        _ => plain.bearer("demo-partner-token").json(&json!({})),
    }
}

async fn a_stale_tag_stops_every_edit_and_every_deletion(server: Server) {
    let redeem = server.request("POST", "/user/class/invites/redeem").bearer("demo-student-token");
    let member = redeem.json(&json!({"code": "ABC234"})).send().await.json();
    let message = Message {
        achievement_id: 1539,
        status: MessageStatus::Failed,
        recipient: "hong@example.com".to_owned(),
        reference: "demo".to_owned(),
        ..Message::default()
    };
    let ids = Ids {
        change: server.history("membership/1").await[0]["change_id"].to_string(),
        message: make(&server, message).await.to_string(),
        member: member["id"].to_string(),
        student: member["student_id"].to_string(),
    };
    let newest = async || {
        let target = "/haksa/v1/changes?limit=1";
        let changes = server.request("GET", target).bearer("demo-admin-key").send().await;
        changes.json()["items"][0].clone()
    };
    let before = newest().await;
    let all = WIRES.iter().flat_map(haksa::dialect::Wire::documented);
    let mut count = 0;
    for (path, route) in all.filter(|(_, route)| route.method != Method::GET) {
        if route.method == Method::POST && NEW.contains(&&*path) {
            continue;
        }
        let method = &route.method;
        let target = ids.target(&path);
        assert!(!target.contains('{'), "{method} {path} is not in the table");
        let send = |tag: &str, is_dry: bool| {
            let request = request(&server, method, &path, &target).header("if-match", tag);
            if is_dry { request.header("haksa-dry-run", "true").send() } else { request.send() }
        };
        for tag in ["\"999\"", "\"999-0123456789abcdef\"", "\"\"", "nonsense"] {
            let reply = send(tag, false).await;
            assert_eq!(reply.status, 412, "{method} {target} {tag}: {}", reply.text());
        }
        // With a tag that is so it is done, or something else is in the way.
        let reply = send("*", true).await;
        let is_fine = [200, 204, 409].contains(&reply.status);
        assert!(is_fine, "{method} {target}: {} {}", reply.status, reply.text());
        count += 1;
    }
    assert_eq!(count, 34, "every route is asked");
    assert_eq!(newest().await, before, "nothing came of it");
    assert_ne!(before, Value::Null);
    server.assert_sound().await;
}
