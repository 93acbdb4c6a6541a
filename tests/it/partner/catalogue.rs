//! Models and courses: what partners see, what anybody sees, and the operator's writes.

use haksa::config::Config;
use serde_json::{Value, json};

use super::join::get;
use super::{CLASS, OTHER_TOKEN, TOKEN, assert_detail, edit, read};
use crate::support::{Backend, Request, Server, on_both_stores};

const ADMIN: &str = "demo-admin-key";
const MODELS: &str = "/partner/7/catalog/models";

on_both_stores!(models_are_listed, models_are_the_operators, a_removed_model_leaves_every_class);

fn admin(server: &Server, method: &str, target: &str, body: &Value) -> Request {
    server.request(method, target).bearer(ADMIN).json(body)
}

fn names(page: &Value) -> Vec<&str> {
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["model_name"].as_str().unwrap())
        .collect()
}

async fn models_are_listed(server: Server) {
    for body in [
        json!({"provider": "alpha", "model_name": "zeta"}),
        json!({"provider": "alpha", "model_name": "Beta", "is_active": false}),
        json!({"provider": "alpha", "model_name": "ears", "modality": "stt"}),
    ] {
        let reply = admin(&server, "POST", "/haksa/v1/models", &body).send().await;
        assert_eq!(reply.status, 201, "{}", reply.text());
    }
    let list = async |query: &str| read(&server, &format!("{MODELS}{query}")).await;
    let all = list("").await;
    assert_eq!(names(&all), ["zeta", "demo-large", "demo-small", "demo-vision"]);
    assert_eq!(
        all["items"][1],
        json!({
            "id": 2, "provider": "demo", "model_name": "demo-large", "modality": "chat",
            "supports_parallel": false, "default_pricing": null, "is_active": true,
            "created_at": "2026-04-23T09:15:30Z", "updated_at": "2026-04-23T09:15:30Z",
        })
    );
    assert_eq!((&all["total"], &all["page"], &all["size"]), (&json!(4), &json!(1), &json!(50)));
    assert_eq!(list("?only_active=false").await, all, "that is for the public list to say");
    assert_eq!(names(&list("?modality=stt").await), ["ears"]);
    assert_eq!(names(&list("?provider=alpha").await), ["zeta"]);
    assert_eq!(names(&list("?q=ET&provider=alpha").await), ["zeta"]);
    // Texts to compare with, exactly; an empty one is one, but for `q`.
    for none in ["modality=smell", "modality=", "modality=STT", "provider=", "provider=ALPHA"] {
        assert_eq!(list(&format!("?{none}")).await["total"], 0, "{none}");
    }
    assert_eq!(list("?q=").await, all);
    let nul = "A string literal cannot contain NUL (0x00) characters.";
    for filter in ["q", "provider", "modality"] {
        assert_detail(&get(&server, TOKEN, &format!("{MODELS}?{filter}=%00")).await, 400, nul);
    }
    let second = list("?page=2&size=2").await;
    assert_eq!((names(&second), &second["page"]), (vec!["demo-small", "demo-vision"], &json!(2)));
    let furthest = list("?page=9223372036854775807").await;
    assert_eq!((names(&furthest).len(), &furthest["page"]), (0, &json!(i64::MAX)), "as asked");
    assert_eq!(list("?only_available=1").await["total"], 0, "nobody keeps a provider's key here");
    let reply = get(&server, TOKEN, &format!("{MODELS}?size=201&modality=smell&page=0")).await;
    assert_eq!(
        reply.text(),
        r#"{"detail":[{"type":"greater_than_equal","loc":["query","page"],"msg":"Input should be greater than or equal to 1","input":"0","ctx":{"ge":1}},{"type":"less_than_equal","loc":["query","size"],"msg":"Input should be less than or equal to 200","input":"201","ctx":{"le":200}}]}"#
    );
    let other = get(&server, OTHER_TOKEN, "/partner/8/catalog/models").await.json();
    assert_eq!(other["total"], 0, "another organisation has its own");
    // Unless an operator made an account public, one has to sign in, and sees one's own.
    for target in ["/models", "/course"] {
        let reply = server.request("GET", target).send().await;
        assert_detail(&reply, 401, "unauthorized");
    }
    let own = get(&server, "demo-user-token", "/models").await.json();
    assert_eq!(names(&own), ["zeta", "demo-large", "demo-small", "demo-vision"]);
    let off = get(&server, "demo-user-token", "/models?only_active=false").await.json();
    assert_eq!(names(&off), ["Beta"]);
    assert_eq!(get(&server, OTHER_TOKEN, "/models").await.json()["total"], 0);
}

async fn models_are_the_operators(server: Server) {
    let post = |body: Value| admin(&server, "POST", "/haksa/v1/models", &body).send();
    let made =
        post(json!({"provider": "alpha", "model_name": "one", "default_pricing": {"in": 1}}));
    let made = made.await;
    assert_eq!((made.status, made.header("etag")), (201, "\"1\""), "{}", made.text());
    let target = format!("/haksa/v1/models/{}", made.json()["id"]);
    let again = post(json!({"provider": "alpha", "model_name": "one"})).await;
    assert_eq!(again.status, 409);
    assert_eq!(post(json!({"provider": "beta", "model_name": "one"})).await.status, 201);
    for (body, field, code) in [
        (json!({"provider": "a"}), "model_name", "required"),
        (json!({"provider": "a", "model_name": 1}), "model_name", "wrong_type"),
        (json!({"provider": "a", "model_name": "b", "colour": 1}), "body", "unknown_field"),
        (json!({"provider": "a", "model_name": "b\u{0}"}), "model_name", "nul"),
        (
            json!({"provider": "a", "model_name": "b", "modality": "smell"}),
            "modality",
            "wrong_type",
        ),
        (json!([]), "body", "not_an_object"),
        (json!({"provider": "a", "model_name": "b".repeat(256)}), "model_name", "too_long"),
    ] {
        let reply = post(body).await;
        let error = reply.json()["errors"][0].clone();
        assert_eq!(
            (reply.status, &error["field"], &error["code"]),
            (400, &json!(field), &json!(code))
        );
    }
    let patch =
        admin(&server, "PATCH", &target, &json!({"default_pricing": null, "is_active": false}));
    let patched = patch.header("if-match", "\"1\"").send().await.json();
    assert_eq!((&patched["default_pricing"], &patched["is_active"]), (&Value::Null, &json!(false)));
    assert_eq!(get(&server, ADMIN, &target).await.json(), patched);
    let page = get(&server, ADMIN, "/haksa/v1/models?limit=2").await.json();
    assert_eq!((names(&page), &page["next"]), (vec!["demo-small", "demo-large"], &json!("2")));
    let rest = get(&server, ADMIN, "/haksa/v1/models?limit=100&cursor=2").await.json();
    assert_eq!((names(&rest), &rest["next"]), (vec!["demo-vision", "one", "one"], &Value::Null));
    for query in ["limit=0", "limit=101", "cursor=x"] {
        assert_eq!(get(&server, ADMIN, &format!("/haksa/v1/models?{query}")).await.status, 400);
    }
    // No partner writes here, and nobody without a key.
    for token in [TOKEN, "demo-kolleges-key"] {
        let reply = server.request("DELETE", &target).bearer(token).send().await;
        assert_eq!(reply.status, 401);
    }
    for method in ["POST", "PATCH", "DELETE"] {
        let reply = server.request(method, MODELS).bearer(TOKEN).body("{}").send().await;
        assert_detail(&reply, 405, "Method Not Allowed");
    }
    for id in ["999", "0", "x"] {
        assert_eq!(get(&server, ADMIN, &format!("/haksa/v1/models/{id}")).await.status, 404);
    }
    server.assert_sound().await;
}

async fn a_removed_model_leaves_every_class(server: Server) {
    let classes = [
        (json!({"allowed_model_ids": [1, 2, 3]}), json!([2, 3]), json!(2)),
        (json!({"allowed_model_ids": [2, 1]}), json!([2]), json!(2)),
        (json!({"allowed_model_ids": [1]}), json!([]), Value::Null),
        (json!({"allowed_model_ids": [3]}), json!([3]), json!(3)),
    ];
    let mut made = Vec::new();
    for (body, allowed, primary) in classes {
        let mut body = body;
        body["name"] = json!("a");
        let reply = server.request("POST", "/partner/7/classes").bearer(TOKEN).json(&body);
        made.push((reply.send().await.json(), allowed, primary));
    }
    edit(&server, &json!({"primary_model_id": 1})).send().await;
    let delete = server.request("DELETE", "/haksa/v1/models/1").bearer(ADMIN);
    assert_eq!(delete.clone().send().await.status, 204);
    assert_eq!(delete.send().await.status, 404);
    for (class, allowed, primary) in made {
        let class = read(&server, &format!("/partner/7/classes/{}", class["id"])).await;
        assert_eq!((&class["allowed_model_ids"], &class["primary_model_id"]), (&allowed, &primary));
    }
    assert_eq!(read(&server, CLASS).await["allowed_model_ids"], json!([]));
    let reply = edit(&server, &json!({"allowed_model_ids": [2]})).send().await;
    assert_eq!(reply.status, 200, "the next edit of models does not stumble over it");
    server.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_account_shows_courses_and_models_to_anybody() {
    let mut config = Config::default();
    config.partner.public_account = Some(3);
    let server = Server::start_with(Backend::Sqlite, config).await;
    let list = async |target: &str| server.request("GET", target).send().await.json();
    assert_eq!(list("/models").await["total"], 3);
    let courses = list("/course").await;
    assert_eq!((&courses["total"], &courses["items"][0]["id"]), (&json!(1), &json!(5)));
    assert_eq!(list("/course?search=AI&status=active").await["total"], 1);
    assert_eq!(list("/course?limit=0").await["detail"][0]["loc"], json!(["query", "limit"]));
    // Whoever asks.
    assert_eq!(get(&server, OTHER_TOKEN, "/models").await.json()["total"], 3);
}
