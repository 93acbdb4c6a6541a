//! What both pages promise: the given example, the test vectors, the newer page, names and secrets.

use super::*;

on_both_stores!(
    the_given_example,
    what_was_read_can_be_sent_back,
    vectors,
    the_newer_page,
    client_secrets,
    names,
    languages,
);

async fn the_given_example(server: Server) {
    let before = read(&server, ONE).await;
    assert_eq!(
        before,
        json!({
            "applicationId": "88d2009c-0000-4000-8000-59bf9afd5695",
            "name": "portal",
            "applicationType": "web",
            "mbrLoginAllow": "ALLOW",
            "protocol": "OAUTH2",
            "clientId": "6c1f3a52-0000-4000-8000-0123456789ab",
            "clientAuthMethod": "client_secret_basic",
            "accessType": "confidential",
            "redirectUris": ["http://127.0.0.1:9999/callback"],
            "grantTypes": ["authorization_code", "refresh_token"],
            "scopes": ["openid", "profile"],
            "accessTokenValidity": 43200,
            "refreshTokenValidity": 2_592_000,
            "createdAt": "2026-04-23T09:15:30Z",
            "updatedAt": "2026-04-23T09:15:30Z",
            "consentPage": full()["consentPage"],
        })
    );
    let newer = read(&server, V1).await;
    assert_eq!(newer["postLogoutRedirectUris"], json!([]));
    assert_eq!(without(newer, "", "postLogoutRedirectUris"), before);

    // Only what is sent changes, and the time.
    server.clock.advance(SignedDuration::from_secs(1));
    assert_ok(&put(&server, ONE, &json!({"name": "portal2"})).send().await, "1");
    let after = read(&server, ONE).await;
    let expected = with(before.clone(), "/name", json!("portal2"));
    assert_eq!(after, with(expected, "/updatedAt", json!("2026-04-23T09:15:31Z")));

    // Every field at once, and read back as sent.
    let mut everything = full();
    for (name, value) in [
        ("name", json!("portal")),
        ("applicationType", json!("app")),
        ("applicationUrl", json!("https://app.example.com/")),
        ("description", json!("설명")),
        ("mbrLoginAllow", json!("DENY")),
        ("redirectUris", json!(["https://b.example/cb", "com.example.app:/cb"])),
        ("clientAuthMethod", json!("client_secret_post")),
        ("grantTypes", json!(["implicit", "authorization_code"])),
        ("scopes", json!(["groups"])),
        ("accessTokenValidity", json!(3600)),
        ("refreshTokenValidity", json!(7200)),
    ] {
        everything[name] = value;
    }
    everything["consentPage"] = json!({
        "applicationName": {"en": "Portal", "ja": "ポータル"},
        "useLanguages": ["ja", "en"], "defaultLanguage": "ja",
        "usePurposeDesc": {"en": "Sign-in", "ja": "ログイン"},
        "usePeriodDesc": {"en": "A year", "ja": "一年"},
        "dataTransferAbroad": true,
        "dataTransferCountry": {"en": "Japan", "ja": "日本"},
        "dataRecipients": {"en": "Example", "ja": "例"},
        "dataRecipientsContact": {"en": "a@example.com", "ja": "a@example.com"},
    });
    assert_ok(&put(&server, ONE, &everything).send().await, "everything");
    let after = read(&server, ONE).await;
    for (name, value) in everything.as_object().unwrap() {
        assert_eq!(&after[name], value, "{name}");
    }
    for name in ["applicationId", "clientId", "createdAt"] {
        assert_eq!(after[name], before[name], "{name}");
    }
}

/// What was never set is not there, so nothing is in the way of an edit that begins with a read.
async fn what_was_read_can_be_sent_back(server: Server) {
    for target in [ONE, V1] {
        let before = read(&server, target).await;
        for name in ["applicationUrl", "description"] {
            assert!(before.get(name).is_none(), "{name}");
        }
        let reply = put(&server, target, &before).send().await;
        assert_ok(&reply, "as it was read");
        assert_eq!(reply.header("etag"), "\"1\"", "nothing was written");
        assert_eq!(read(&server, target).await, before);
    }
    let body = json!({
        "name": "portal", "applicationUrl": "https://a.example/", "description": "",
    });
    assert_ok(&put(&server, ONE, &body).send().await, "set");
    for target in [ONE, V1] {
        let before = read(&server, target).await;
        assert_eq!(before["applicationUrl"], "https://a.example/");
        assert_eq!(before["description"], "");
        assert_ok(&put(&server, target, &before).send().await, "as it was read");
        assert_eq!(read(&server, target).await, before);
    }
}

/// The contract's test vectors for these routes, each from the fixture.
async fn vectors(server: Server) {
    let abroad = |country: Value| {
        json!({"name": "portal", "consentPage": {
            "dataTransferAbroad": true, "dataTransferCountry": country,
            "dataRecipients": {"ko": "회사", "en": "Company"},
            "dataRecipientsContact": {"ko": "전화", "en": "Phone"},
        }})
    };
    let uris: Vec<_> = (0..51).map(|n| format!("https://app.example.com/{n}")).collect();
    for (number, body, expected) in [
        (2, json!({"name": "portal", "consentPage": {"defaultLanguage": "en"}}), true),
        (3, json!({"description": "x"}), false),
        (4, json!({"name": "portal", "accessType": "secret"}), false),
        (
            5,
            json!({"name": "portal", "accessType": "public", "clientAuthMethod": "client_secret_basic"}),
            false,
        ),
        (6, json!({"name": "portal", "accessType": "public"}), false),
        (7, json!({"name": "portal", "accessType": "public", "clientAuthMethod": "none"}), true),
        (
            8,
            json!({"name": "portal", "accessType": "confidential", "clientAuthMethod": "none"}),
            false,
        ),
        (9, json!({"name": "portal", "consentPage": {"dataTransferAbroad": true}}), false),
        (10, abroad(json!({"ko": "미국", "en": "United States"})), true),
        (11, abroad(json!({"ko": "미국"})), false),
        (13, json!({"name": "portal", "consentPage": {"useLanguages": ["ko", "fr"]}}), false),
        (14, json!({"name": "portal", "consentPage": {"useLanguages": ["en"]}}), false),
        (15, json!({"name": "portal", "grantTypes": ["refresh_token"]}), false),
        (16, json!({"name": "portal", "scopes": ["openid", "email"]}), false),
        (17, json!({"name": "portal", "redirectUris": []}), false),
        (17, json!({"name": "portal", "redirectUris": uris}), false),
        (17, json!({"name": "portal", "redirectUris": ["not a uri"]}), false),
        (18, json!({"name": "portal", "mbrLoginAllow": "UNUSED"}), false),
        (19, json!({"name": "portal", "protocol": "SAML"}), false),
        (20, json!({"name": null}), false),
        (20, json!({"name": "portal", "accessTokenValidity": -1}), false),
        (21, json!({"name": "portal", "accessTokenValidity": 3600}), true),
    ] {
        let reset = with(full(), "/redirectUris", json!(["http://127.0.0.1:9999/callback"]));
        assert_ok(&put(&server, V1, &reset).send().await, "reset");
        let before = read(&server, ONE).await;
        let reply = put(&server, ONE, &body).send().await;
        let after = read(&server, ONE).await;
        if expected {
            assert_ok(&reply, &format!("{number}: {body}"));
            // What was sent is there, member by member; what was not is as it was.
            for (name, old) in before.as_object().unwrap() {
                match (body.get(name), name.as_str()) {
                    (_, "updatedAt") => {}
                    (Some(page), "consentPage") => {
                        let mut whole = old.clone();
                        let sent = page.as_object().unwrap().clone();
                        whole.as_object_mut().unwrap().extend(sent);
                        assert_eq!(after[name], whole, "{number}");
                    }
                    (Some(sent), _) => assert_eq!(&after[name], sent, "{number}: {name}"),
                    (None, _) => assert_eq!(&after[name], old, "{number}: {name}"),
                }
            }
        } else {
            assert_reply(&reply, 400, BAD, &format!("{number}: {body}"));
            assert_eq!(after, before, "{number}: {body}");
        }
    }
    let reply = put(&server, NOBODYS, &json!({"name": "x1"})).send().await;
    assert_reply(&reply, 400, NO_APPLICATION, "12");
    let reply = signed(&server, "PUT", ONE).header("content-type", "application/json").body("{");
    assert_reply(&reply.send().await, 400, BAD, "20");
}

async fn the_newer_page(server: Server) {
    assert_ok(&put(&server, V1, &full()).send().await, "full");
    let before = read(&server, V1).await;
    let uris = |uris: Value| {
        let mut body = full();
        body["postLogoutRedirectUris"] = uris;
        body
    };
    let abroad = |missing: &str| {
        let mut page = full()["consentPage"].clone();
        page["dataTransferAbroad"] = json!(true);
        for name in ["dataTransferCountry", "dataRecipients", "dataRecipientsContact"] {
            if name != missing {
                page[name] = json!({"ko": "가", "en": "a"});
            }
        }
        with(full(), "/consentPage", page)
    };
    let mut refused = vec![
        (json!({"name": "portal2"}), "22"),
        (with(full(), "/name", json!("2portal")), "23"),
        (with(full(), "/name", json!("p")), "a short name"),
        (with(full(), "/name", json!("a".repeat(101))), "a long name"),
        (with(full(), "/name", json!("포털")), "a Korean name"),
        (with(full(), "/scopes", json!(["groups", "email"])), "neither profile nor openid"),
        (with(full(), "/scopes", json!([])), "no scope"),
        (with(full(), "/protocol", json!("SAML")), "another protocol"),
        (
            with(full(), "/consentPage/applicationName", json!({"ko": "포털", "en": "Portal"})),
            "a name that is not in every language",
        ),
        (uris(json!(["http://app.example.com/out"])), "plain http"),
        (uris(json!(["myapp:/out"])), "an app"),
        (uris(json!(["https://a.example/", "https://a.example/"])), "twice"),
        (uris(Value::Null), "null"),
        (uris((0..51).map(|n| json!(format!("https://a.example/{n}"))).collect()), "51"),
        (abroad("dataTransferCountry"), "no country"),
        (abroad("dataRecipients"), "no recipient"),
        (abroad("dataRecipientsContact"), "no contact"),
    ];
    for name in [
        "name",
        "mbrLoginAllow",
        "redirectUris",
        "clientAuthMethod",
        "accessType",
        "grantTypes",
        "scopes",
        "consentPage",
    ] {
        refused.push((without(full(), "", name), name));
    }
    for name in [
        "applicationName",
        "useLanguages",
        "defaultLanguage",
        "usePurposeDesc",
        "usePeriodDesc",
        "dataTransferAbroad",
    ] {
        refused.push((without(full(), "/consentPage", name), name));
    }
    let mut textual = full();
    textual["accessTokenValidity"] = json!("3600");
    refused.push((textual, "decimal text"));
    for (body, about) in refused {
        assert_reply(&put(&server, V1, &body).send().await, 400, BAD, about);
        assert_eq!(read(&server, V1).await, before, "{about}");
    }

    let body = with(full(), "/scopes", json!(["openid", "email"]));
    assert_ok(&put(&server, V1, &body).send().await, "16");
    // The older path gives back what is stored, and leaves it alone.
    assert_eq!(read(&server, ONE).await["scopes"], json!(["openid", "email"]));
    assert_ok(&put(&server, ONE, &json!({"name": "portal"})).send().await, "leave the scopes");

    let addresses = json!(["https://a.example/out", "http://127.0.0.1:9999/out"]);
    assert_ok(&put(&server, V1, &uris(addresses.clone())).send().await, "after signing out");
    assert_eq!(read(&server, V1).await["postLogoutRedirectUris"], addresses);
    assert!(read(&server, ONE).await.get("postLogoutRedirectUris").is_none());
    // Optional, so absent keeps it.
    let body = without(without(full(), "", "protocol"), "", "applicationType");
    assert_ok(&put(&server, V1, &body).send().await, "without optional fields");
    assert_eq!(read(&server, V1).await["postLogoutRedirectUris"], addresses);
    assert_ok(&put(&server, V1, &abroad("")).send().await, "abroad");
    assert_eq!(
        read(&server, V1).await["consentPage"]["dataRecipients"],
        json!({"ko": "가", "en": "a"})
    );
}

async fn client_secrets(server: Server) {
    let first = stored(&server, ONE).await.client_secret_hash;
    assert!(first.is_some());
    let public = json!({"name": "portal", "accessType": "public", "clientAuthMethod": "none"});
    let confidential = json!({
        "name": "portal", "accessType": "confidential", "clientAuthMethod": "client_secret_post",
    });
    assert_ok(&put(&server, ONE, &json!({"name": "portal3"})).send().await, "rename");
    assert_eq!(stored(&server, ONE).await.client_secret_hash, first);
    assert_ok(&put(&server, ONE, &public).send().await, "7");
    assert_eq!(stored(&server, ONE).await.client_secret_hash, None);
    assert_ok(&put(&server, ONE, &confidential).send().await, "back");
    let second = stored(&server, ONE).await.client_secret_hash;
    assert!(second.is_some() && second != first);
    let method = json!({"name": "portal", "clientAuthMethod": "client_secret_basic"});
    assert_ok(&put(&server, ONE, &method).send().await, "another method");
    assert_eq!(stored(&server, ONE).await.client_secret_hash, second);
    for target in [ONE, V1] {
        let text = read(&server, target).await.to_string();
        assert!(!text.to_lowercase().contains("secret\""), "{text}");
        assert!(!text.contains("secret_hash"), "{text}");
    }
    assert_eq!(stored(&server, PUBLIC).await.client_secret_hash, None);
}

async fn names(server: Server) {
    let taken = r#"{"errorCode":400,"message":"이미 사용 중인 Application 이름입니다."}"#;
    let reply = put(&server, ONE, &json!({"name": "mobile"})).send().await;
    assert_reply(&reply, 400, taken, "another's name");
    let reply = put(&server, ONE, &json!({"name": "mobile", "scopes": ["openid", "openid"]}));
    assert_reply(&reply.send().await, 400, BAD, "and more that is wrong");
    assert_eq!(read(&server, ONE).await["name"], "portal");
    for name in ["Mobile", "mobile ", "portal"] {
        assert_ok(&put(&server, ONE, &json!({"name": name})).send().await, name);
        assert_eq!(read(&server, ONE).await["name"], name);
    }
    // The name is free once the other has moved on, and another tenant's was never taken.
    assert_ok(&put(&server, PUBLIC, &json!({"name": "phone"})).send().await, "move on");
    assert_ok(&put(&server, ONE, &json!({"name": "mobile"})).send().await, "take over");
}

async fn languages(server: Server) {
    for (language, target, body, message) in [
        ("en-US,en;q=0.9", ONE, json!({}), "Invalid request."),
        ("en", NOBODYS, json!({"name": "x1"}), "Application does not exist."),
        ("ja", ONE, json!({}), "不正なリクエストです。"),
        ("ja", NOBODYS, json!({"name": "x1"}), "存在しないApplicationです。"),
        ("en", ONE, json!({"name": "mobile"}), "Application with the same name already exists."),
        ("ko-KR", ONE, json!({}), "잘못된 요청"),
        ("*", ONE, json!({}), "잘못된 요청"),
        ("fr", ONE, json!({}), "잘못된 요청"),
    ] {
        let reply = put(&server, target, &body).header("accept-language", language).send().await;
        assert_eq!(reply.status, 400, "{language}");
        assert_eq!(reply.json()["message"], message, "{language}");
    }
    let request = put(&server, ONE, &json!({})).header("accept-language", "ja;q=0.2");
    let reply = request.header("accept-language", "en;Q=0.8").send().await;
    assert_eq!(reply.json()["message"], "Invalid request.", "two lines");
    // What no application can be without is told in English, as are the versions and keys of ours.
    let stale = put(&server, ONE, &json!({"name": "renamed"})).header("accept-language", "ja");
    let reply = stale.header("if-match", "\"7\"").send().await;
    assert_eq!(reply.json()["message"], "Precondition failed");
}
