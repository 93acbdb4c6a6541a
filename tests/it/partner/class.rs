//! Classes.

use haksa::config::{Config, PartnerRules};
use haksa::domain::patch::Patch;
use haksa::domain::teaching::invite_code::{InviteCode, InviteCodeEdit, InviteStatus};
use serde_json::{Value, json};

use super::{CLASS, TOKEN, assert_detail, edit, read, set};
use crate::support::{Backend, Server, on_both_stores};

on_both_stores!(documented_edit, rules, field_matrix, merge_patch, models, invite_codes);

async fn documented_edit(server: Server) {
    let before = read(&server, CLASS).await;
    assert_eq!(
        before.to_string(),
        r#"{"name":"AI 101","status":"planned","description":null,"start_at":null,"end_at":null,"capacity":null,"timezone":"UTC","location":null,"online_url":null,"invite_only":false,"primary_model_id":null,"allowed_model_ids":[],"id":11,"partner_id":7,"course_id":null,"created_at":"2026-04-23T09:15:30Z","updated_at":"2026-04-23T09:15:30Z","invite_codes":[{"id":21,"partner_id":7,"class_id":11,"code":"ABC234","target_role":"student","expires_at":null,"max_uses":null,"used_count":0,"status":"active","created_by":7,"created_at":"2026-04-23T09:15:30Z"}]}"#
    );
    server.clock.advance(jiff::SignedDuration::from_millis(1500));
    let body = json!({
        "name": "인공지능 101",
        "status": "planned",
        "description": "Hands-on",
        "start_at": "2023-11-07T05:31:56Z",
        "end_at": "2023-11-08T05:31:56Z",
        "capacity": 123,
        "timezone": "Asia/Seoul",
        "location": "Room 1",
        "online_url": "https://example.com/room",
        "invite_only": true,
        "course_id": 5,
        "primary_model_id": 1,
        "allowed_model_ids": [1, 2],
    });
    let reply = edit(&server, &body).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/json");
    let after = reply.json();
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(after[field], *value, "{field}");
    }
    assert_eq!(after["updated_at"], "2026-04-23T09:15:31.500000Z");
    for field in ["id", "partner_id", "created_at", "invite_codes"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert!(reply.text().contains("인공지능"), "raw, not escaped");
    assert_eq!(read(&server, CLASS).await, after);
    // The same again changes nothing, nor does what means nothing.
    server.clock.advance(jiff::SignedDuration::from_secs(9));
    for body in [body, json!({}), json!({"zzz": 1, "id": 5, "partner_id": 9, "Name": "x"})] {
        let reply = edit(&server, &body).send().await;
        assert_eq!((reply.status, reply.json()), (200, after.clone()));
    }
}

async fn rules(server: Server) {
    let before = read(&server, CLASS).await;
    let long = format!("https://example.com/{}", "a".repeat(2048));
    for (body, detail) in [
        (json!({"name": "  "}), "name_required"),
        (json!({"name": ""}), "name_required"),
        (json!({"capacity": -1}), "capacity_out_of_range"),
        (json!({"capacity": 2_147_483_648_i64}), "capacity_out_of_range"),
        (json!({"capacity": i64::MAX}), "capacity_out_of_range"),
        (json!({"capacity": "99999999999999999999"}), "capacity_out_of_range"),
        (json!({"online_url": "not a url"}), "invalid_online_url"),
        (json!({"online_url": long}), "invalid_online_url"),
        (json!({"timezone": "Mars/X"}), "invalid_timezone"),
        (json!({"timezone": "asia/seoul"}), "invalid_timezone"),
        (json!({"timezone": ""}), "invalid_timezone"),
        (json!({"course_id": 6}), "course_not_found"),
        (json!({"course_id": 0}), "course_not_found"),
        (json!({"course_id": u64::MAX}), "course_not_found"),
        (
            json!({"start_at": "2026-03-02T00:00:00Z", "end_at": "2026-03-01T00:00:00Z"}),
            "end_at_not_after_start_at",
        ),
        (
            json!({"start_at": "2026-03-02T00:00:00.000001Z", "end_at": "2026-03-02T09:00:00+09:00"}),
            "end_at_not_after_start_at",
        ),
        (
            json!({"name": "new", "allowed_model_ids": [99, 1, 98, 99]}),
            "model_catalog 에 존재하지 않는 모델 id 가 포함되어 있습니다: [98, 99]",
        ),
        (
            json!({"primary_model_id": 99}),
            "model_catalog 에 존재하지 않는 모델 id 가 포함되어 있습니다: [99]",
        ),
        // Numbers of any length are named as they were sent, by their worth.
        (
            json!({"primary_model_id": "-099999999999999999999", "allowed_model_ids":
                [i64::MAX, "+1_0000000000000000000.0", u64::MAX, 99, "-99999999999999999999"]}),
            "model_catalog 에 존재하지 않는 모델 id 가 포함되어 있습니다: [-99999999999999999999, 99, \
             9223372036854775807, 10000000000000000000, 18446744073709551615]",
        ),
    ] {
        assert_detail(&edit(&server, &body).send().await, 400, detail);
        assert_eq!(read(&server, CLASS).await, before, "{body}");
    }
    // An interval is judged with what is stored, and only by an edit that touches it.
    let start = json!({"start_at": "2026-03-02"});
    assert_eq!(edit(&server, &start).send().await.status, 200);
    let reply = edit(&server, &json!({"end_at": "2026-03-01T23:59:59.999999Z"})).send().await;
    assert_detail(&reply, 400, "end_at_not_after_start_at");
    // The vendor's own sample ends when it begins.
    let reply = edit(&server, &json!({"end_at": "2026-03-02T00:00:00Z"})).send().await;
    assert_eq!(reply.json()["end_at"], "2026-03-02T00:00:00Z");
    // More ids than a decision could ask for one by one.
    let many: Vec<_> = (1..=1000).collect();
    let reply = edit(&server, &json!({"allowed_model_ids": many})).send().await;
    assert_eq!(reply.status, 400);
    assert!(reply.json()["detail"].as_str().unwrap().ends_with(", 999, 1000]"));
}

/// With the vendor's rules alone.
async fn lenient(backend: Backend) {
    let mut config = Config::default();
    config.partner.rules = PartnerRules::Vendor;
    let server = Server::start_with(backend, config).await;
    let body = json!({
        "name": " ", "timezone": "Mars/X", "online_url": "not a url", "capacity": -5,
        "start_at": "2026-03-02T00:00:00Z", "end_at": "2026-03-01T00:00:00Z",
    });
    let reply = edit(&server, &body).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(reply.json()[field], *value, "{field}");
    }
    let before = read(&server, CLASS).await;
    // What the vendor cannot keep either, and its own rule.
    for (body, detail) in [
        (json!({"capacity": 2_147_483_648_i64}), "capacity_out_of_range"),
        (json!({"capacity": -2_147_483_649_i64}), "capacity_out_of_range"),
        (json!({"course_id": 6}), "course_not_found"),
        (json!({"timezone": "a\u{0}"}), "A string literal cannot contain NUL (0x00) characters."),
        (
            json!({"name": "", "primary_model_id": 99}),
            "model_catalog 에 존재하지 않는 모델 id 가 포함되어 있습니다: [99]",
        ),
    ] {
        assert_detail(&edit(&server, &body).send().await, 400, detail);
    }
    assert_eq!(read(&server, CLASS).await, before);
    server.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendors_rules_alone_on_sqlite() {
    lenient(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_vendors_rules_alone_on_postgres() {
    lenient(Backend::Postgres).await;
}

type Case = (&'static str, Value, Value, Option<Value>, Value, &'static str);

/// Field, a value, what it becomes, what null makes of it where it clears, an invalid value, its
/// fault.
fn cases() -> [Case; 13] {
    let instant = "2026-04-01T00:00:00.500000Z";
    [
        ("name", json!(" b "), json!(" b "), None, json!(1), "string_type"),
        ("status", json!("ended"), json!("ended"), Some(json!("planned")), json!("x"), "enum"),
        ("description", json!(""), json!(""), Some(Value::Null), json!([]), "string_type"),
        (
            "start_at",
            json!(1_775_001_600.5),
            json!(instant),
            Some(Value::Null),
            json!(true),
            "datetime_type",
        ),
        (
            "end_at",
            json!(instant),
            json!(instant),
            Some(Value::Null),
            json!("x"),
            "datetime_from_date_parsing",
        ),
        ("capacity", json!("1_0"), json!(10), Some(Value::Null), json!(1.5), "int_from_float"),
        (
            "timezone",
            json!("Etc/GMT+9"),
            json!("Etc/GMT+9"),
            Some(json!("UTC")),
            json!({}),
            "string_type",
        ),
        ("location", json!("한"), json!("한"), Some(Value::Null), json!(true), "string_type"),
        ("online_url", json!(""), json!(""), Some(Value::Null), json!(5), "string_type"),
        (
            "invite_only",
            json!("OFF"),
            json!(false),
            Some(json!(false)),
            json!("maybe"),
            "bool_parsing",
        ),
        ("course_id", json!(5.0), json!(5), Some(Value::Null), json!("x"), "int_parsing"),
        ("primary_model_id", json!(true), json!(1), Some(json!(2)), json!([]), "int_type"),
        (
            "allowed_model_ids",
            json!([3, "2"]),
            json!([3, 2]),
            Some(json!([])),
            json!("1,2"),
            "list_type",
        ),
    ]
}

/// Field × absent, null, value, invalid, in both media types.
async fn field_matrix(server: Server) {
    let start = json!({
        "name": "처음", "status": "active", "description": "d", "start_at": "2026-03-02T00:00:00Z",
        "end_at": "2026-06-30T00:00:00Z", "capacity": 30, "timezone": "Asia/Seoul",
        "location": "l", "online_url": "https://example.com", "invite_only": true, "course_id": 5,
        "primary_model_id": 2, "allowed_model_ids": [2, 1],
    });
    let json = "application/json";
    let merge = "application/merge-patch+json";
    for (field, value, becomes, cleared, invalid, fault) in cases() {
        for media_type in [json, merge] {
            let send = |body: &Value| {
                let request = server.request("PATCH", CLASS).bearer(TOKEN);
                request.header("content-type", media_type).body(body.to_string()).send()
            };
            assert_eq!(send(&start).await.status, 200);
            let before = read(&server, CLASS).await;
            let untouched = |after: &Value| {
                for other in start.as_object().unwrap().keys().filter(|other| *other != field) {
                    let with = ["primary_model_id", "allowed_model_ids"];
                    if !(with.contains(&field) && with.contains(&other.as_str())) {
                        assert_eq!(after[other], before[other], "{field} touched {other}");
                    }
                }
            };
            let reply = send(&json!({})).await;
            assert_eq!((reply.status, reply.json()), (200, before.clone()));

            let reply = send(&json!({field: value})).await;
            assert_eq!(reply.status, 200, "{field}: {}", reply.text());
            assert_eq!(reply.json()[field], becomes, "{field}");
            untouched(&reply.json());
            assert_eq!(send(&start).await.status, 200);

            let reply = send(&json!({field: null})).await;
            match (media_type == merge, &cleared) {
                (false, _) => assert_eq!(reply.json()[field], before[field], "{field}"),
                (true, Some(cleared)) => {
                    assert_eq!(reply.json()[field], *cleared, "{field}");
                    untouched(&reply.json());
                }
                (true, None) => assert_detail(&reply, 400, "name_required"),
            }
            assert_eq!(send(&start).await.status, 200);

            let reply = send(&json!({field: invalid, "zzz": 1})).await;
            assert_eq!(reply.status, 422, "{field}");
            let detail = reply.json()["detail"].clone();
            assert_eq!(detail.as_array().map(Vec::len), Some(1));
            assert_eq!(detail[0]["type"], fault, "{field}");
            assert_eq!(detail[0]["loc"], json!(["body", field]));
            assert_eq!(detail[0]["input"], invalid);
            let after = read(&server, CLASS).await;
            assert_eq!(after[field], before[field]);
            untouched(&after);
        }
    }
}

async fn merge_patch(server: Server) {
    let merge = |body: Value| {
        let request = server.request("PATCH", CLASS).bearer(TOKEN);
        request.header("content-type", "application/merge-patch+json").body(body.to_string()).send()
    };
    let models = |reply: crate::support::Reply| {
        let body = reply.json();
        (body["primary_model_id"].clone(), body["allowed_model_ids"].clone())
    };
    edit(&server, &json!({"allowed_model_ids": [1, 2, 3], "primary_model_id": 2})).send().await;
    let reply = merge(json!({"primary_model_id": null})).await;
    assert_eq!(models(reply), (json!(1), json!([1, 2, 3])));
    let reply = merge(json!({"allowed_model_ids": null, "primary_model_id": 3})).await;
    assert_eq!(models(reply), (json!(3), json!([3])));
    let reply = merge(json!({"allowed_model_ids": null})).await;
    assert_eq!(models(reply), (Value::Null, json!([])));
    let reply = merge(json!({"primary_model_id": null, "allowed_model_ids": [2]})).await;
    assert_eq!(models(reply), (json!(2), json!([2])));
    let reply = merge(json!({"primary_model_id": null, "allowed_model_ids": null})).await;
    assert_eq!(models(reply), (Value::Null, json!([])));
    // One null refused, nothing cleared.
    edit(&server, &json!({"capacity": 5})).send().await;
    assert_detail(&merge(json!({"capacity": null, "name": null})).await, 400, "name_required");
    assert_eq!(read(&server, CLASS).await["capacity"], 5);
}

async fn models(server: Server) {
    for (body, primary, allowed) in [
        (json!({"primary_model_id": 1}), 1, json!([1])),
        (json!({"allowed_model_ids": []}), 1, json!([1])),
        (json!({"allowed_model_ids": [2, 3]}), 1, json!([2, 3, 1])),
        (json!({"primary_model_id": 3}), 3, json!([2, 3, 1])),
        (json!({"primary_model_id": 3, "allowed_model_ids": [1, 2]}), 3, json!([1, 2, 3])),
        (
            json!({"primary_model_id": null, "allowed_model_ids": [2, 2, "3", 1.0]}),
            3,
            json!([2, 3, 1]),
        ),
    ] {
        let after = edit(&server, &body).send().await.json();
        assert_eq!(after["primary_model_id"], primary, "{body}");
        assert_eq!(after["allowed_model_ids"], allowed, "{body}");
    }
}

#[tokio::test]
async fn first_list_names_the_primary_model() {
    let server = Server::start(crate::support::Backend::Sqlite).await;
    for (list, primary, allowed) in
        [(json!([2, 3]), 2, json!([2, 3])), (json!([2, 2, "3", 1.0]), 2, json!([2, 3, 1]))]
    {
        let body = json!({"allowed_model_ids": list});
        let after = edit(&server, &body).header("haksa-dry-run", "true").send().await.json();
        assert_eq!(after["primary_model_id"], primary);
        assert_eq!(after["allowed_model_ids"], allowed);
    }
}

async fn invite_codes(server: Server) {
    let status = Patch::Value(InviteStatus::Disabled);
    set::<InviteCode>(&server, 21, InviteCodeEdit { status, ..<_>::default() }).await;
    let code = InviteCode {
        expires_at: Some(crate::support::NOW.parse().unwrap()),
        max_uses: Some(1),
        ..InviteCode::new(7, 11, "GHJ789")
    };
    let create = haksa::domain::command::Create::new(code);
    let operator = haksa::domain::actor::Actor::operator(3);
    let envelope = haksa::pipeline::Envelope::new(operator, "test");
    server.app.pipeline.run(create, envelope).await.unwrap();
    let statuses = async || {
        let codes = read(&server, CLASS).await["invite_codes"].clone();
        codes
            .as_array()
            .unwrap()
            .iter()
            .map(|code| (code["code"].clone(), code["status"].clone()))
            .collect::<Vec<_>>()
    };
    let pair = |code: &str, status: &str| (json!(code), json!(status));
    assert_eq!(statuses().await, [pair("ABC234", "disabled"), pair("GHJ789", "active")]);
    server.clock.advance(jiff::SignedDuration::from_micros(1));
    assert_eq!(statuses().await, [pair("ABC234", "disabled"), pair("GHJ789", "expired")]);
}
