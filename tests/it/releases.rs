//! What a newer release writes, this one keeps: two nodes of different releases share a database for a
//! while, and a release may be taken back.

use serde_json::{Value, json};

use crate::support::{Request, Server, on_both_stores};

on_both_stores!(
    members_of_a_body_that_are_not_known_stay_as_they_are,
    they_stay_where_another_record_is_what_a_command_is_about,
    what_a_newer_release_has_changed_is_not_taken_back_in_part,
);

/// As its writer put it: the numbers and the blanks are nobody's to tidy.
const LATER: &str = r#""from_later":{"rate": 1.50,"of": [1e400, "\u00e9"]},"later\n":null"#;
const COURSE: &str = "/partner/7/course/5";

/// Gives a row what a newer release would have written, and a server that has not seen it before.
async fn with_later(server: &Server, table: &str, id: i64) -> Server {
    let known = "CASE body WHEN '{}' THEN '{' ELSE substr(body, 1, length(body) - 1) || ',' END";
    let body = format!("{known} || '{LATER}}}'");
    server.spoil(&format!("UPDATE {table} SET body = {body} WHERE id = {id}")).await;
    Server::start_on(&server.url).await
}

/// Asserts that the row has it once, and is of this version.
async fn assert_kept(server: &Server, table: &str, id: i64, version: i64) {
    let length = format!("length(replace(body, '{LATER}', ''))");
    let found = format!(
        "SELECT version, CAST(length(body) - {length} AS BIGINT) FROM {table} WHERE id = {id}"
    );
    let length = i64::try_from(LATER.chars().count()).unwrap();
    assert_eq!(server.numbers(&found).await, [version, length]);
}

async fn ask(request: Request, key: &str) -> Value {
    let reply = request.bearer(key).send().await;
    assert!((200..300).contains(&reply.status), "{}: {}", reply.status, reply.text());
    // In no answer is there anything of it.
    assert!(!reply.text().contains("later"), "{}", reply.text());
    if reply.status == 204 { Value::Null } else { reply.json() }
}

async fn members_of_a_body_that_are_not_known_stay_as_they_are(server: Server) {
    let server = with_later(&server, "course", 5).await;
    assert_kept(&server, "course", 5, 1).await;
    let course = |method: &str| server.request(method, COURSE);
    let edit = async |body: Value| ask(course("PATCH").json(&body), "demo-partner-token").await;
    ask(course("GET"), "demo-partner-token").await;
    // A field of the body, twice: the second edit is of what memory holds. Then one with a column.
    edit(json!({"title": "가"})).await;
    assert_kept(&server, "course", 5, 2).await;
    edit(json!({"title": "나"})).await;
    assert_kept(&server, "course", 5, 3).await;
    edit(json!({"status": "active", "course_key": "other-2026"})).await;
    assert_kept(&server, "course", 5, 4).await;
    edit(json!({"title": "다", "status": "draft"})).await;
    assert_kept(&server, "course", 5, 5).await;

    let history = "/haksa/v1/records/course/5/history";
    let history = async || ask(server.request("GET", history), "demo-admin-key").await;
    let undo = async |change: &Value| {
        let target = format!("/haksa/v1/changes/{}/undo", change["change_id"]);
        ask(server.request("POST", &target), "demo-admin-key").await
    };
    undo(&history().await["items"][0]).await;
    assert_kept(&server, "course", 5, 6).await;
    ask(course("DELETE"), "demo-partner-token").await;
    assert_kept(&server, "course", 5, 7).await;
    undo(&history().await["items"][0]).await;
    assert_kept(&server, "course", 5, 8).await;
    // To have it is no change, nor a reason for one.
    let shown = ask(course("GET"), "demo-partner-token").await;
    edit(json!({"title": shown["title"]})).await;
    assert_kept(&server, "course", 5, 8).await;
    server.assert_sound().await;
}

async fn they_stay_where_another_record_is_what_a_command_is_about(server: Server) {
    let server = with_later(&server, "class", 11).await;
    let into = json!({"course_id": 5});
    let class = server.request("PATCH", "/partner/7/classes/11").json(&into);
    ask(class, "demo-partner-token").await;
    let version = server.numbers("SELECT version FROM class WHERE id = 11").await[0];
    assert_kept(&server, "class", 11, version).await;
    ask(server.request("DELETE", COURSE), "demo-partner-token").await;
    assert_kept(&server, "class", 11, version + 1).await;

    // Of a model all that is known may have columns.
    let server = with_later(&server, "model", 2).await;
    for (version, is_active) in [(2, false), (3, true)] {
        let edit = server.request("PATCH", "/haksa/v1/models/2");
        ask(edit.json(&json!({"is_active": is_active})), "demo-admin-key").await;
        assert_kept(&server, "model", 2, version).await;
        let length = "SELECT CAST(length(body) AS BIGINT) FROM model WHERE id = 2";
        assert_eq!(server.numbers(length).await, [68], "nothing else");
    }

    // A large command writes in another way. It notes the other name of whom it knows.
    let server = with_later(&server, "person", 501).await;
    let version = server.numbers("SELECT version FROM person WHERE id = 501").await[0];
    let user = |n: usize| json!({"name": format!("수강생 {n}"), "email": format!("p{n}@e.com")});
    let mut users: Vec<Value> = (0..60).map(user).collect();
    users[0]["email"] = json!("hong@example.com");
    let body = json!({"achievementFormId": 551, "mode": "email", "users": users});
    let issue = server.request("POST", "/open-api/achievements/issue").json(&body);
    ask(issue, "demo-kolleges-key").await;
    assert_kept(&server, "person", 501, version + 1).await;
    server.assert_sound().await;
}

async fn what_a_newer_release_has_changed_is_not_taken_back_in_part(server: Server) {
    let server = with_later(&server, "course", 5).await;
    let edit = server.request("PATCH", COURSE).json(&json!({"title": "가"}));
    ask(edit, "demo-partner-token").await;
    let history = "/haksa/v1/records/course/5/history";
    let history = ask(server.request("GET", history), "demo-admin-key").await;
    let id = &history["items"][0]["change_id"];
    // The edit came over the newer one, which knows more of a course.
    let with =
        |side: &str| format!("{side} = substr({side}, 1, length({side}) - 1) || ',\"rate\":1}}'");
    let (before, after) = (with("before"), with("after"));
    server.spoil(&format!("UPDATE change SET {before}, {after} WHERE id = {id}")).await;
    let undo = server.request("POST", &format!("/haksa/v1/changes/{id}/undo"));
    let refused = undo.bearer("demo-admin-key").send().await;
    assert_eq!((refused.status, &refused.json()["conflicts"]), (409, &json!(["rate"])));
    let shown = ask(server.request("GET", COURSE), "demo-partner-token").await;
    assert_eq!(shown["title"], "가");
    assert_kept(&server, "course", 5, 2).await;
    server.assert_sound().await;
}
