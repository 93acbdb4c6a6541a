//! History, one change, undo.

mod certificates;
mod changes;
mod rights;

use serde_json::{Value, json};

use crate::support::{Request, Server, on_both_stores};

const KEY: &str = "demo-admin-key";

on_both_stores!(
    history,
    undo,
    undo_in_conflict,
    undo_keeps_references_whole,
    undo_after_a_value_came_back,
    undo_obeys_the_rules,
    undo_that_changes_nothing,
    who_may,
    bad_input,
    request_ids,
);

fn get(server: &Server, target: &str) -> Request {
    server.request("GET", target).bearer(KEY)
}

async fn set(server: &Server, body: Value) {
    let request = server.request("PATCH", "/open-api/achievements/1539");
    let reply = request.bearer("demo-kolleges-key").json(&body).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

async fn read(server: &Server) -> Value {
    let request = server.request("GET", "/open-api/achievements/1539");
    request.bearer("demo-kolleges-key").send().await.json()["achievement"].clone()
}

async fn history(server: Server) {
    for level in 1..=5 {
        set(&server, json!({"level": level})).await;
    }
    let all = server.history("achievement/1539").await;
    assert_eq!(all.len(), 6);
    assert_eq!(all[0]["before"], json!({"level": 4}));
    assert_eq!(all[0]["after"], json!({"level": 5}));
    assert_eq!(all[0]["version"], 6);
    assert_eq!(all[0]["dialect"], "kolleges");
    assert_eq!(all[0]["actor"], "credential:1");
    assert_eq!(all[5]["action"], "create");
    let mut paged = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let target = format!("/haksa/v1/records/achievement/1539/history{query}");
        let page = get(&server, &target).send().await.json();
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else {
            break;
        };
        query = format!("?limit=2&cursor={next}");
    }
    assert_eq!(paged, all);
    let id = &all[0]["change_id"];
    let change = get(&server, &format!("/haksa/v1/changes/{id}")).send().await.json();
    assert_eq!(change["kind"], "achievement");
    assert_eq!(change["record_id"], "1539");
    assert_eq!(change["previous_change_id"], all[1]["change_id"]);
}

async fn undo(server: Server) {
    set(&server, json!({"level": 1, "admin_comment": "하나"})).await;
    set(&server, json!({"level": 2})).await;
    let newest = &server.history("achievement/1539").await[0];
    let reply = server.undo(newest).header("haksa-dry-run", "true").send().await;
    assert_eq!((reply.status, reply.header("haksa-changes")), (200, "1"));
    assert_eq!(read(&server).await["level"], 2);
    let reply = server.undo(newest).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["after"], json!({"level": 1}));
    assert_eq!(read(&server).await["level"], 1);
    // Undoing the undo brings it back.
    let undone = reply.json();
    assert_eq!(server.undo(&undone).header("if-match", "\"1\"").send().await.status, 412);
    assert_eq!(server.undo(&undone).send().await.status, 200);
    assert_eq!(read(&server).await["level"], 2);
    assert_eq!(server.history("achievement/1539").await[0]["dialect"], "native");
}

async fn undo_in_conflict(server: Server) {
    set(&server, json!({"level": 1, "admin_comment": "하나"})).await;
    set(&server, json!({"level": 2})).await;
    let all = server.history("achievement/1539").await;
    let reply = server.undo(&all[1]).send().await;
    assert_eq!(reply.status, 409);
    assert_eq!(reply.json()["conflicts"], json!(["level"]));
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_eq!(read(&server).await["admin_comment"], "하나");
    // A creation cannot be undone under later changes.
    let reply = server.undo(&all[2]).send().await;
    assert_eq!(reply.json()["conflicts"], json!(["record"]));
    // Without any, undoing it deletes the record, and undoing that brings it back.
    let birth = &server.history("form/482").await[0];
    let deleted = server.undo(birth).send().await.json();
    assert_eq!(deleted["action"], "delete");
    let restored = server.undo(&deleted).send().await.json();
    assert_eq!(restored["action"], "restore");
    assert_eq!(restored["version"], 3);
}

async fn undo_keeps_references_whole(server: Server) {
    let birth = async |record: &str| server.history(record).await[0].clone();
    let (form, design) = (birth("form/551").await, birth("design/165").await);
    let certificate = birth("achievement/1539").await;
    // What others name stays.
    for (change, naming) in [
        (&form, json!(["achievement"])),
        (&design, json!(["form"])),
        (&birth("person/501").await, json!(["achievement"])),
        (&birth("account/3").await, json!(["account"])),
        (&birth("model/1").await, json!(["class"])),
    ] {
        set_models(&server, json!({"primary_model_id": 2, "allowed_model_ids": [2, 1]})).await;
        let refused = server.undo(change).send().await;
        assert_eq!((refused.status, &refused.json()["conflicts"]), (409, &naming));
    }
    // Nothing comes back to what is gone.
    let certificate = server.undo(&certificate).send().await.json();
    let form = server.undo(&form).send().await.json();
    assert_eq!((&certificate["action"], &form["action"]), (&json!("delete"), &json!("delete")));
    let refused = server.undo(&certificate).send().await;
    assert_eq!((refused.status, &refused.json()["conflicts"]), (409, &json!(["form"])));
    assert_eq!(server.undo(&form).send().await.status, 200);
    assert_eq!(server.undo(&certificate).send().await.status, 200);
    assert_eq!(read(&server).await["id"], 1539);
    server.assert_sound().await;
}

/// Edits which models class 11 names.
async fn set_models(server: &Server, body: Value) {
    let request = server.request("PATCH", "/partner/7/classes/11").bearer("demo-partner-token");
    assert_eq!(request.json(&body).send().await.status, 200);
}

async fn undo_after_a_value_came_back(server: Server) {
    for level in [1, 2, 3, 2] {
        set(&server, json!({"level": level})).await;
    }
    let all = server.history("achievement/1539").await;
    let refused = server.undo(&all[2]).send().await;
    assert_eq!((refused.status, &refused.json()["conflicts"]), (409, &json!(["level"])));
    // However long ago: histories are walked in strides.
    set(&server, json!({"admin_comment": "먼저"})).await;
    let first = server.history("achievement/1539").await[0].clone();
    for level in 0..250 {
        set(&server, json!({"level": level})).await;
    }
    let undone = server.undo(&first).send().await;
    assert_eq!(undone.json()["after"], json!({"admin_comment": null}), "{}", undone.text());
}

async fn undo_obeys_the_rules(server: Server) {
    set(&server, json!({"course_begin_at": "2025-01-01", "course_end_at": "2025-02-01"})).await;
    set(&server, json!({"course_begin_at": "2024-01-01"})).await;
    set(&server, json!({"course_end_at": "2024-02-01"})).await;
    let all = server.history("achievement/1539").await;
    let refused = server.undo(&all[1]).send().await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(refused.json()["errors"][0]["field"], "course_end_at");
    assert_eq!(server.history("achievement/1539").await, all);
}

async fn undo_that_changes_nothing(server: Server) {
    set_models(&server, json!({"primary_model_id": 2, "allowed_model_ids": [2]})).await;
    set_models(&server, json!({"allowed_model_ids": [2, 1]})).await;
    set_models(&server, json!({"primary_model_id": 1})).await;
    let all = server.history("class/11").await;
    assert_eq!(all[1]["before"], json!({"allowed_model_ids": [2]}));
    // The list has to hold the first model, so it stays as it is.
    let tag = format!("\"{}\"", all[0]["version"]);
    for (is_dry, changes) in [("true", "0"), ("false", "")] {
        let reply = server.undo(&all[1]).header("haksa-dry-run", is_dry).send().await;
        assert_eq!((reply.status, &*reply.text()), (200, "null"));
        assert_eq!((reply.header("etag"), reply.header("haksa-changes")), (&*tag, changes));
    }
    assert_eq!(server.history("class/11").await, all);
}

async fn who_may(server: Server) {
    let all = server.history("achievement/1539").await;
    let change = format!("/haksa/v1/changes/{}", all[0]["change_id"]);
    for target in ["/haksa/v1/records/achievement/1539/history", &change] {
        for key in ["", "wrong", "demo-kolleges-key"] {
            let reply = server.request("GET", target).bearer(key).send().await;
            assert_eq!(reply.status, 401, "{target} {key}");
            assert_eq!(reply.json()["title"], "Unauthorized");
        }
    }
    // Secrets never show.
    let credential = server.history("credential/1").await;
    assert_eq!(credential[0]["after"]["secret_hash"], "\u{2022}\u{2022}\u{2022}");
}

async fn bad_input(server: Server) {
    for target in [
        "/haksa/v1/records/nothing/1/history",
        "/haksa/v1/records/achievement/x/history",
        "/haksa/v1/records/achievement/0/history",
        "/haksa/v1/records/achievement/9001/history",
        "/haksa/v1/records/credential/2/history",
        "/haksa/v1/records/application/%00/history",
        "/haksa/v1/changes/0",
        "/haksa/v1/changes/x",
        "/haksa/v1/changes/99999999999999999999",
        "/haksa/v1/changes/+1",
        "/haksa/v1/changes/01",
        "/haksa/v1/records/achievement/+1539/history",
        "/haksa/v1/records/achievement/01539/history",
        "/haksa/v1/nothing",
        "/nothing",
    ] {
        let reply = get(&server, target).send().await;
        assert_eq!(reply.status, 404, "{target}");
        assert_eq!(reply.json()["status"], 404);
    }
    for query in
        ["limit=0", "limit=101", "limit=x", "limit=%2B5", "cursor=x", "cursor=1", "cursor="]
    {
        let target = format!("/haksa/v1/records/achievement/1539/history?{query}");
        assert_eq!(get(&server, &target).send().await.status, 400, "{query}");
    }
    let reply = server.request("DELETE", "/haksa/v1/changes/1").bearer(KEY).send().await;
    assert_eq!(reply.status, 405);
}

async fn request_ids(server: Server) {
    let with = |id: &str| get(&server, "/healthz").header("x-request-id", id).send();
    assert_eq!(with("client-7.a:b_c").await.header("x-request-id"), "client-7.a:b_c");
    for id in ["", "two words", "semi;colon", &"x".repeat(129)] {
        assert_eq!(with(id).await.header("x-request-id").len(), 36, "{id:?}");
    }
}
