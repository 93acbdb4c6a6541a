//! What a console sets of certificates, forms, designs and the club.

use haksa::domain::actor::{Actor, Dialect};
use haksa::domain::command::{Create, Edit, Expected};
use haksa::domain::patch::Patch;
use haksa::domain::people::account::{Account, AccountEdit};
use haksa::domain::people::credential::Credential;
use haksa::pipeline::Envelope;
use serde_json::{Value, json};

use super::KEY;
use crate::support::{Reply, Request, Server, on_both_stores};

on_both_stores!(
    achievements_gain_evidence,
    forms_gain_institutions,
    designs_come_and_go,
    the_club_has_attributes,
    the_club_is_seen_as_an_issuer,
    bodies_are_checked,
    rights_are_named,
    refusals_say_what_is_lacking,
    what_undo_cannot_have_back_is_told_by_its_name,
);

fn send(server: &Server, method: &str, target: &str, body: &Value) -> Request {
    let target = format!("/haksa/v1/{target}");
    server.request(method, &target).bearer(KEY).json(body)
}

async fn patch(server: &Server, target: &str, body: Value) -> Value {
    let reply = send(server, "PATCH", target, &body).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

async fn read(server: &Server, target: &str) -> Reply {
    server.request("GET", &format!("/haksa/v1/{target}")).bearer(KEY).send().await
}

/// What a Kolleges client sees.
async fn kolleges(server: &Server, target: &str) -> Value {
    let target = format!("/open-api/{target}");
    server.request("GET", &target).bearer("demo-kolleges-key").send().await.json()
}

async fn achievements_gain_evidence(server: Server) {
    let evidences = json!([
        {"id": 1, "title": "포트폴리오", "link": "https://example.com/portfolio", "file_name": null},
        {"id": 2, "title": "report.pdf", "link": null, "file_name": "report.pdf"},
    ]);
    let attributes = json!([{"attribute_tag": "score", "attribute_value": "95"}]);
    let body = json!({"evidences": evidences, "is_received": true, "custom_attributes": attributes,
                      "status": "PREVIEW", "nft_token": "0xabc"});
    let after = patch(&server, "achievements/1539", body).await;
    assert_eq!((&after["id"], &after["version"]), (&json!(1539), &json!(2)));
    assert_eq!(after["certificate_number"], "SAND-202504-r9a1pt");
    let shown = kolleges(&server, "achievements/1539").await["achievement"].clone();
    assert_eq!(shown["evidences"], evidences);
    assert_eq!(shown["customAttributes"], attributes);
    assert_eq!((&shown["is_received"], &shown["status"]), (&json!(true), &json!("PREVIEW")));
    assert_eq!(shown["nft_token"], "0xabc");
    // Null empties a list, and what is not named stays.
    let after = patch(&server, "achievements/1539", json!({"evidences": null})).await;
    assert_eq!((&after["evidences"], &after["is_received"]), (&json!([]), &json!(true)));
    let reply = read(&server, "achievements/1539").await;
    assert_eq!(reply.header("etag"), "\"3\"");
    assert_eq!(reply.json(), after);
    let twice = json!({"evidences": [{"id": 1, "title": "a"}, {"id": 1, "title": "b"}]});
    let reply = send(&server, "PATCH", "achievements/1539", &twice).send().await;
    assert_eq!((reply.status, &reply.json()["errors"][0]["code"]), (400, &json!("duplicate_id")));
    let stale = send(&server, "PATCH", "achievements/1539", &json!({"is_received": false}));
    assert_eq!(stale.header("if-match", "\"1\"").send().await.status, 412);
    server.assert_sound().await;
}

async fn forms_gain_institutions(server: Server) {
    let institution = json!({
        "name": "한빛대학교", "type": "university", "website_url": "https://example.ac.kr",
        "images": [{"path": "https://example.ac.kr/logo.png", "type": "club_logo"}],
    });
    let least = json!({"name": "협회", "type": "association"});
    let body = json!({"institutions": [institution, least], "representative_institution": institution,
                      "requirements": [{"type": "read", "order": 3}, {"type": "submit_homework"}]});
    patch(&server, "forms/551", body).await;
    let shown = kolleges(&server, "achievements/forms/551").await["achievementForm"].clone();
    assert_eq!(shown["clubInstitutions"][0], institution);
    assert_eq!(
        shown["clubInstitutions"][1],
        json!({"name": "협회", "type": "association", "website_url": null, "images": []})
    );
    assert_eq!(shown["representativeInstitution"], institution);
    assert_eq!(shown["requirements"][0]["type"], "read");
    let certificate = kolleges(&server, "achievements/1539").await;
    assert_eq!(certificate["achievement"]["achievementForm"], shown);
    let after = patch(&server, "forms/551", json!({"representative_institution": null})).await;
    assert_eq!(after["representative_institution"], Value::Null);
    assert!(after.get("name_key").is_none());
    let reply = read(&server, "forms/551").await;
    assert_eq!(reply.json(), after);
    server.assert_sound().await;
}

async fn designs_come_and_go(server: Server) {
    let layers = json!([{"id": "1", "controlType": "text", "designType": "text", "x": 1.5, "y": 2,
                         "width": 10, "height": 4, "bindingKey": "name"}]);
    let body = json!({"design_type": "certificate", "name": "상장", "template_type": "NewCertificateType7Single",
                      "main_color": "#123456", "layout_json": layers});
    let reply = send(&server, "POST", "designs", &body).send().await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let made = reply.json();
    let target = format!("designs/{}", made["id"]);
    let shown = kolleges(&server, &format!("certificate-designs/{}", made["id"])).await;
    assert_eq!(shown["certificateDesign"]["layout_json"], layers);
    assert_eq!(shown["certificateDesign"]["main_color"], "#123456");
    let after = patch(&server, &target, json!({"main_color": null, "name": "새 상장"})).await;
    assert_eq!((&after["main_color"], &after["name"]), (&Value::Null, &json!("새 상장")));

    // In pages, newest first.
    let mut ids = Vec::new();
    let mut query = "designs?limit=2".to_owned();
    loop {
        let page = read(&server, &query).await.json();
        ids.extend(
            page["items"].as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()),
        );
        let Some(next) = page["next"].as_str() else { break };
        query = format!("designs?limit=2&cursor={next}");
    }
    assert_eq!(ids, [made["id"].as_i64().unwrap(), 165, 123, 83]);

    // What a form has stays; what none has goes.
    let used = server.request("DELETE", "/haksa/v1/designs/165").bearer(KEY).send().await;
    assert_eq!((used.status, &used.json()["conflicts"]), (409, &json!(["form"])));
    let gone = send(&server, "DELETE", &target, &json!({})).send().await;
    assert_eq!((gone.status, gone.body.len()), (204, 0));
    assert_eq!(read(&server, &target).await.status, 404);
    assert_eq!(read(&server, "designs").await.json()["items"].as_array().unwrap().len(), 3);
    for (body, field) in [
        (json!({"name": "a", "template_type": "t"}), "design_type"),
        (json!({"design_type": "poster", "name": "a", "template_type": "t"}), "design_type"),
        (json!({"design_type": "badge", "template_type": "t"}), "name"),
        (
            json!({"design_type": "badge", "name": "a", "template_type": "t", "layout_json": {}}),
            "layout_json",
        ),
        (
            json!({"design_type": "badge", "name": "a", "template_type": "t", "layout_json": [1]}),
            "layout_json",
        ),
        (
            json!({"design_type": "badge", "name": "a", "template_type": "t", "image_id": "x"}),
            "body",
        ),
    ] {
        let reply = send(&server, "POST", "designs", &body).send().await;
        assert_eq!(reply.status, 400, "{body}");
        assert_eq!(reply.json()["errors"][0]["field"], field, "{body}");
    }
    server.assert_sound().await;
}

async fn the_club_has_attributes(server: Server) {
    let attributes = json!([{"attribute_name": "기수", "attribute_tag": "cohort"}]);
    let body = json!({"club_custom_data": attributes, "club_type": "academy"});
    let after = patch(&server, "account", body).await;
    assert_eq!((&after["id"], &after["club_domain"]), (&json!(3), &json!("sandbox")));
    let shown = kolleges(&server, "certificate-designs/165").await;
    assert_eq!(shown["certificateDesign"]["club"]["customData"], attributes);
    assert_eq!(read(&server, "account").await.json(), after);
    // How it is written makes no other of it, and nobody learns whose it is.
    for (domain, code) in
        [("another", "not_available"), ("AnOther", "not_available"), ("two words", "not_a_word")]
    {
        let reply = send(&server, "PATCH", "account", &json!({"club_domain": domain})).send().await;
        let error = &reply.json()["errors"][0];
        assert_eq!((&error["field"], &error["code"]), (&json!("club_domain"), &json!(code)));
        assert_eq!(reply.status, 400, "{}", reply.text());
        let text = reply.text();
        assert!(
            !["taken", "other", "account", "key", "exists"].iter().any(|it| text.contains(it)),
            "{text}"
        );
    }
    // One's own is, in whatever letters.
    let after = patch(&server, "account", json!({"club_domain": "SandBox"})).await;
    assert_eq!(after["club_domain"], "SandBox");
    assert!(after.get("club_domain_key").is_none());
    server.assert_sound().await;
}

/// What the vendor's renderer draws an issuer from: in a certificate, in the list and in a form.
async fn the_club_is_seen_as_an_issuer(server: Server) {
    let images = json!([
        {"path": "https://example.com/logo.png", "type": "club_logo"},
        {"path": "https://example.com/symbol.png", "type": "club_symbol"},
        {"path": "https://example.com/seal.png", "type": "sign_image"},
    ]);
    let body = json!({"name": "한빛학원", "club_type": "academy", "club_images": images});
    let after = patch(&server, "account", body).await;
    assert_eq!((&after["club_images"], &after["name"]), (&images, &json!("한빛학원")));
    let issuer =
        json!({"domain": "sandbox", "name": "한빛학원", "type": "academy", "images": images});
    let mut whole = issuer.clone();
    whole["customData"] = json!([{"attribute_name": "점수", "attribute_tag": "score"}]);
    let form = kolleges(&server, "achievements/forms/551").await["achievementForm"].clone();
    assert_eq!(form["club"], whole);
    let one = kolleges(&server, "achievements/1539").await["achievement"].clone();
    assert_eq!(one["achievementForm"], form);
    let item =
        kolleges(&server, "achievements").await["achievements"][0]["achievementForm"].clone();
    assert_eq!(item["club"], issuer);
    for design in ["achievementCertificateDesign", "achievementBadgeDesign"] {
        assert_eq!(item[design], form[design], "{design}");
        assert!(item[design]["template_type"].is_string(), "{design}");
    }
    // A design is shown with the club that it was made for, as before.
    let design = kolleges(&server, "certificate-designs/165").await["certificateDesign"].clone();
    assert_eq!(design["club"], json!({"domain": "sandbox", "customData": whole["customData"]}));
    // The answer's tag is of the club, too.
    let read = || server.request("GET", "/open-api/achievements/1539").bearer("demo-kolleges-key");
    let tag = read().send().await.header("etag").to_owned();
    let after = patch(&server, "account", json!({"club_images": null, "club_type": null})).await;
    assert_eq!(after["club_images"], json!([]));
    let again = read().header("if-none-match", tag).send().await;
    assert_eq!(again.status, 200);
    let club = again.json()["achievement"]["achievementForm"]["club"].clone();
    assert_eq!((&club["images"], &club["type"]), (&json!([]), &Value::Null));
    server.assert_sound().await;
}

async fn bodies_are_checked(server: Server) {
    for (target, body) in [
        ("achievements/1539", json!({"is_received": "yes"})),
        ("achievements/1539", json!({"is_received": null})),
        ("achievements/1539", json!({"status": "GONE"})),
        ("achievements/1539", json!({"evidences": [{"title": "no id"}]})),
        ("achievements/1539", json!({"evidences": [{"id": 1, "title": "a", "more": 1}]})),
        ("achievements/1539", json!({"certificate_number": "mine"})),
        ("forms/551", json!({"institutions": [{"name": "no type"}]})),
        ("forms/551", json!({"requirements": [{"order": -1}]})),
        ("forms/551", json!({"name": "not here"})),
        ("designs/165", json!({"design_type": "badge"})),
        ("account", json!({"club_custom_data": [{"attribute_name": "no tag"}]})),
        ("account", json!({"name": " "})),
        ("account", json!({"club_images": [{"path": "https://example.com/a.png"}]})),
        ("account", json!({"club_images": [{"path": " ", "type": "club_logo"}]})),
        ("account", json!({"club_images": "https://example.com/a.png"})),
        ("account", json!({"club_custom_data": [{"attribute_name": "a", "attribute_tag": ""}]})),
        ("achievements/1539", json!({"evidences": [{"id": 1, "title": ""}]})),
        ("forms/551", json!({"institutions": [{"name": " ", "type": "school"}]})),
        ("forms/551", json!({"representative_institution": {"name": "a", "type": ""}})),
        ("designs/165", json!({"name": ""})),
        ("designs/165", json!({"template_type": " "})),
        ("account", json!([])),
    ] {
        let reply = send(&server, "PATCH", target, &body).send().await;
        assert_eq!(reply.status, 400, "{target} {body}: {}", reply.text());
        assert_eq!(reply.header("content-type"), "application/problem+json");
    }
    for (method, target) in [("PATCH", "achievements/1539"), ("POST", "designs")] {
        let reply = server.request(method, &format!("/haksa/v1/{target}")).bearer(KEY);
        let reply = reply.header("content-type", "text/plain").body("{}").send().await;
        assert_eq!(reply.status, 400);
    }
    for query in ["limit=0", "limit=101", "limit=x", "cursor=0", "cursor=x"] {
        assert_eq!(read(&server, &format!("designs?{query}")).await.status, 400, "{query}");
    }
    for target in ["achievements/9001", "achievements/x", "forms/9000", "designs/900", "designs/0"]
    {
        assert_eq!(read(&server, target).await.status, 404, "{target}");
        let reply = send(&server, "PATCH", target, &json!({})).send().await;
        assert_eq!(reply.status, 404, "{target}");
    }
    let before = kolleges(&server, "achievements/1539").await;
    assert_eq!(before["achievement"]["is_received"], false);
}

async fn make_key(server: &Server, rights: &[&str], key: &str) {
    let mut credential = Credential::new(Dialect::Native, "a test's");
    credential.secret_hash = Some(hex::encode(haksa::vault::hash_token(key)));
    credential.policies = rights.iter().map(|right| (*right).to_owned()).collect();
    let envelope = Envelope::new(Actor::operator(3), "test");
    server.app.pipeline.run(Create::new(credential), envelope).await.expect("a credential");
}

/// A name that was given up and is another's by now: said by the name of its field, and by no name that a
/// database has for it; whose it is, to nobody.
async fn what_undo_cannot_have_back_is_told_by_its_name(server: Server) {
    patch(&server, "account", json!({"club_domain": "Hanbit"})).await;
    patch(&server, "account", json!({"club_domain": "saetbyeol"})).await;
    let change = server.history("account/3").await[0].clone();
    let edit =
        AccountEdit { club_domain: Patch::Value("HANBIT".to_owned()), ..AccountEdit::default() };
    let command = Edit::<Account> { key: 4.into(), edit, expected: Expected::Any };
    let envelope = Envelope::new(Actor::operator(4), "test");
    server.app.pipeline.run(command, envelope).await.expect("it is free");
    let reply = server.undo(&change).send().await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    let errors = json!([{"field": "club_domain", "code": "not_available",
                         "detail": "is not to be had"}]);
    assert_eq!(reply.json()["errors"], errors);
    // Of one's own records what stands in the way is told as such.
    let edit = async |key: &str| {
        let course = server.request("PATCH", "/partner/7/course/5").bearer("demo-partner-token");
        let reply = course.json(&json!({"course_key": key})).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    };
    edit("kept-2026").await;
    edit("left-2026").await;
    let change = server.history("course/5").await[0].clone();
    let made = server.request("POST", "/partner/7/course").bearer("demo-partner-token");
    let made = made.json(&json!({"title": "또", "course_key": "kept-2026"})).send().await;
    assert_eq!(made.status, 201, "{}", made.text());
    let reply = server.undo(&change).send().await;
    assert_eq!((reply.status, &reply.json()["conflicts"]), (409, &json!(["course_key"])));
    server.assert_sound().await;
}

/// Whatever is refused says why in words: which right is lacking, which record is not there, which version
/// it is of.
async fn refusals_say_what_is_lacking(server: Server) {
    make_key(&server, &["read:design"], "designs-EXAMPLE").await;
    let ask = |method: &str, target: &str, key: &str| {
        let target = format!("/haksa/v1/{target}");
        let request = server.request(method, &target).bearer(key);
        if method == "GET" { request } else { request.json(&json!({})) }
    };
    let other = "designs-EXAMPLE";
    for (request, status, detail) in [
        (
            server.request("GET", "/haksa/v1/account"),
            401,
            "Authorization: Bearer, with a key that is good here, is missing",
        ),
        (ask("GET", "forms/551", other), 403, "the key lacks the right read:form"),
        (ask("PATCH", "designs/165", other), 403, "the key lacks the right edit:design"),
        (ask("GET", "messages", other), 403, "the key lacks the right read:message"),
        (ask("GET", "changes?kind=form", other), 403, "the key lacks the right read:form"),
        (ask("GET", "records/form/551/history", other), 403, "the key lacks the right read:form"),
        (ask("GET", "achievements/77", KEY), 404, "there is no achievement 77"),
        (ask("PATCH", "forms/x", KEY), 404, "there is no form x"),
        (ask("GET", "designs/900", KEY), 404, "there is no design 900"),
        (ask("GET", "models/0", KEY), 404, "there is no model 0"),
        (ask("GET", "messages/5", KEY), 404, "there is no message 5"),
        (ask("GET", "images/none", KEY), 404, "there is no image none"),
        (ask("GET", "changes/999999", KEY), 404, "there is no change 999999"),
        (ask("POST", "changes/x/undo", KEY), 404, "there is no change x"),
        (ask("GET", "records/role/none/history", KEY), 404, "there is no role none"),
        (ask("GET", "nothing", KEY), 404, "nothing is served at this path"),
        (ask("PUT", "account", KEY), 405, "this path is served to the methods in Allow"),
        (
            ask("PATCH", "designs/165", KEY).header("if-match", "\"7\""),
            412,
            "If-Match is not what is there now: version 1",
        ),
        (ask("GET", "designs?limit=x", KEY), 400, "fields are not as they have to be"),
    ] {
        let reply = request.send().await;
        let body = reply.json();
        assert_eq!((reply.status, &body["detail"]), (status, &json!(detail)), "{}", reply.text());
        assert_eq!((&body["status"], &body["type"]), (&json!(status), &json!("about:blank")));
    }
    let long = format!("achievements/{}", "9".repeat(5_000));
    let reply = ask("GET", &long, KEY).send().await;
    assert!(reply.status == 404 && reply.text().len() < 200, "{}", reply.text());
}

async fn rights_are_named(server: Server) {
    make_key(&server, &["read:design"], "designs-EXAMPLE").await;
    for (method, target, status) in [
        ("GET", "designs", 200),
        ("GET", "designs/165", 200),
        ("PATCH", "designs/165", 403),
        ("DELETE", "designs/165", 403),
        ("GET", "forms/551", 403),
        ("GET", "achievements/1539", 403),
        ("PATCH", "account", 403),
    ] {
        let request = server.request(method, &format!("/haksa/v1/{target}"));
        let reply = request.clone().json(&json!({"name": "x"})).bearer("designs-EXAMPLE");
        let reply = if target == "forms/551" || method == "GET" {
            request.clone().bearer("designs-EXAMPLE").send().await
        } else {
            reply.send().await
        };
        assert_eq!(reply.status, status, "{method} {target}: {}", reply.text());
        assert_eq!(request.bearer("wrong").send().await.status, 401, "{method} {target}");
    }
}
