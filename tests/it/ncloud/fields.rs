//! Every field in every state, and the rules that join fields.

use super::*;

on_both_stores!(field_matrix, consent_matrix, rules_that_join_fields, sparse_applications,);

/// A field, a value for it, and whether it is taken.
type Case = (&'static str, Value, bool);

fn cases_of_texts() -> Vec<Case> {
    let text = |length: usize| "글".repeat(length);
    let url = |length: usize| format!("https://a.example/{}", "x".repeat(length - 18));
    let not_strings = [json!(7), json!(true), json!({}), json!([]), Value::Null];
    let mut cases = Vec::new();
    for (field, good, bad) in [
        (
            "name",
            vec![
                json!("x"),
                json!("포털 2"),
                json!(text(100)),
                json!("'; DROP TABLE application; --"),
            ],
            vec![json!(""), json!(text(101)), json!("a\u{0}b")],
        ),
        ("applicationType", vec![json!("app"), json!("web")], vec![json!("WEB"), json!("")]),
        (
            "applicationUrl",
            vec![json!("https://app.example.com/#/home"), json!(url(1000))],
            vec![
                json!(""),
                json!("app.example.com"),
                json!("javascript:x"),
                json!("https:a.example"),
                json!("https:\\\\a.example"),
                json!("https:///a.example"),
                json!("https://a.example/<script>"),
                json!("https://a.example/\u{202e}"),
                json!(url(1001)),
            ],
        ),
        (
            "description",
            vec![json!(""), json!("두 줄\n둘째 \t𝄞"), json!(text(500))],
            vec![json!(text(501)), json!("\u{0} 𝄞")],
        ),
        (
            "mbrLoginAllow",
            vec![json!("DENY"), json!("ALLOW")],
            vec![json!("deny"), json!("UNUSED")],
        ),
        (
            "clientAuthMethod",
            vec![json!("client_secret_post")],
            vec![json!("none"), json!("basic")],
        ),
        ("accessType", vec![json!("confidential")], vec![json!("public"), json!("Confidential")]),
    ] {
        cases.extend(good.into_iter().map(|value| (field, value, true)));
        cases.extend(bad.into_iter().chain(not_strings.clone()).map(|value| (field, value, false)));
    }
    cases.push(("protocol", json!("OAUTH2"), true));
    cases.extend([json!("oauth2"), json!(1), Value::Null].map(|value| ("protocol", value, false)));
    cases
}

fn cases_of_lists() -> Vec<Case> {
    let not_lists =
        [json!("x"), json!({}), json!(1), json!([1]), json!([null]), json!([[]]), Value::Null];
    let uris: Vec<_> = (0..50).map(|n| format!("https://app.example.com/{n}")).collect();
    let mut cases = Vec::new();
    for (field, good, bad) in [
        (
            "redirectUris",
            vec![
                json!(["https://a.example/cb"]),
                json!(["myapp:/cb", "http://[::1]:80/"]),
                json!(uris),
            ],
            vec![
                json!([]),
                json!(["/cb"]),
                json!(["https://a.example/#x"]),
                json!(["https://a.example/", "https://a.example/"]),
                json!(["https://a.example/", ""]),
                json!(["javascript:alert(1)"]),
                json!(["feed:javascript:alert(1)"]),
                json!(["file:///etc/passwd"]),
                json!(["https:///app.example.com/cb"]),
                json!(["https://a.example/%zz"]),
                json!(["https://a.example/[x]"]),
                json!(["https://a.example/\u{0}"]),
            ],
        ),
        (
            "grantTypes",
            vec![
                json!(["implicit"]),
                json!(["authorization_code"]),
                json!(["refresh_token", "authorization_code", "implicit"]),
            ],
            vec![
                json!([]),
                json!(["implicit", "refresh_token"]),
                json!(["implicit", "implicit"]),
                json!(["password"]),
            ],
        ),
        (
            "scopes",
            vec![json!([]), json!(["groups"]), json!(["profile", "openid", "groups"])],
            vec![json!(["openid", "openid"]), json!(["email"]), json!(["OPENID"])],
        ),
    ] {
        cases.extend(good.into_iter().map(|value| (field, value, true)));
        cases.extend(bad.into_iter().chain(not_lists.clone()).map(|value| (field, value, false)));
    }
    cases
}

fn cases_of_numbers() -> Vec<Case> {
    let mut cases = Vec::new();
    for (field, good) in [
        ("accessTokenValidity", [json!(60), json!(2_592_000)]),
        ("refreshTokenValidity", [json!(43_200), json!(31_536_000)]),
    ] {
        cases.extend(good.into_iter().map(|value| (field, value, true)));
        for bad in [
            json!(59),
            json!(31_536_001),
            json!(0),
            json!(-60),
            json!(1e300),
            json!(3600.5),
            json!("3600.0"),
            json!("-3600"),
            json!(""),
            json!(true),
            json!([3600]),
            json!({}),
            json!(18_446_744_073_709_551_615_u64),
            Value::Null,
        ] {
            cases.push((field, bad, false));
        }
    }
    cases
}

/// Every field on the older path.
async fn field_matrix(server: Server) {
    // Nothing clears these two, so they begin with a value.
    let full = json!({
        "name": "portal", "applicationUrl": "https://a.example/", "description": "처음",
    });
    assert_ok(&put(&server, ONE, &full).send().await, "start");
    let start = read(&server, ONE).await;
    for (field, value, expected) in
        [cases_of_texts(), cases_of_lists(), cases_of_numbers()].concat()
    {
        let about = format!("{field} {value}");
        let body = with_member(json!({"name": "portal"}), field, value.clone());
        let reply = put(&server, ONE, &body).send().await;
        let after = read(&server, ONE).await;
        if expected {
            assert_ok(&reply, &about);
            assert_eq!(after, with_member(start.clone(), field, value), "{about}");
            assert_ok(&put(&server, ONE, &start).send().await, "what was read can be sent back");
        } else {
            assert_reply(&reply, 400, BAD, &about);
            assert_eq!(after, start, "{about}");
        }
    }
    // The older page's create samples have these two as text.
    let body =
        json!({"name": "portal", "accessTokenValidity": "3600", "refreshTokenValidity": "7200"});
    assert_ok(&put(&server, ONE, &body).send().await, "decimal text");
    let after = read(&server, ONE).await;
    assert_eq!(after["accessTokenValidity"], 3600);
    assert_eq!(after["refreshTokenValidity"], 7200);
    // Unknown to this page, so not looked at.
    let body = json!({"name": "portal", "postLogoutRedirectUris": 7, "clientId": "x", "": null});
    assert_ok(&put(&server, ONE, &body).send().await, "unknown keys");
    assert_eq!(read(&server, V1).await["postLogoutRedirectUris"], json!([]));
    assert_eq!(read(&server, ONE).await["clientId"], start["clientId"]);
}

fn with_member(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

async fn consent_matrix(server: Server) {
    let long = "글".repeat(1000);
    let longer = "글".repeat(1001);
    let texts = [
        (json!({"ko": "가", "en": "a"}), true),
        (json!({"ko": "가", "en": "a", "ja": "あ"}), true),
        (json!({"ko": long, "en": "a", "fr": 7}), true),
        (json!({"ko": "가"}), false),
        (json!({"ko": "가", "en": "  "}), false),
        (json!({"ko": "가", "en": ""}), false),
        (json!({"ko": "가", "en": "a", "ja": ""}), false),
        (json!({"ko": longer, "en": "a"}), false),
        (json!({"ko": "가", "en": null}), false),
        (json!({"ko": "가", "en": 7}), false),
        (json!({}), false),
        (json!("가"), false),
        (json!(["가"]), false),
        (Value::Null, false),
    ];
    let mut cases: Vec<(&str, Value, bool)> = Vec::new();
    // While no text of a transfer is stored.
    for value in [json!(true), json!("true"), json!(1), Value::Null] {
        cases.push(("dataTransferAbroad", value, false));
    }
    for field in [
        "applicationName",
        "usePurposeDesc",
        "usePeriodDesc",
        "dataTransferCountry",
        "dataRecipients",
        "dataRecipientsContact",
    ] {
        cases.extend(texts.iter().map(|(text, expected)| (field, text.clone(), *expected)));
    }
    for (value, expected) in [
        (json!(["ko"]), true),
        (json!(["en", "ko"]), true),
        (json!([]), false),
        (json!(["en"]), false),
        (json!(["ko", "ko"]), false),
        (json!(["ko", "ja"]), false),
        (json!(["KO"]), false),
        (json!("ko"), false),
        (json!([null]), false),
        (Value::Null, false),
    ] {
        cases.push(("useLanguages", value, expected));
    }
    for (value, expected) in [
        (json!("en"), true),
        (json!("ja"), false),
        (json!("fr"), false),
        (json!(["ko"]), false),
        (Value::Null, false),
    ] {
        cases.push(("defaultLanguage", value, expected));
    }
    let start = read(&server, ONE).await["consentPage"].clone();
    for (field, value, expected) in cases {
        let about = format!("{field} {value}");
        let before = read(&server, ONE).await["consentPage"].clone();
        let mut page = json!({});
        page[field] = value.clone();
        let reply = put(&server, ONE, &json!({"name": "portal", "consentPage": page})).send().await;
        let after = read(&server, ONE).await["consentPage"].clone();
        if expected {
            assert_ok(&reply, &about);
            let mut known = value;
            if let Some(texts) = known.as_object_mut() {
                texts.retain(|language, _| language != "fr");
            }
            let mut whole = before;
            whole[field] = known;
            assert_eq!(after, whole, "{about}");
        } else {
            assert_reply(&reply, 400, BAD, &about);
            assert_eq!(after, before, "{about}");
        }
        let back = json!({"name": "portal", "consentPage": start});
        assert_ok(&put(&server, ONE, &back).send().await, "back");
    }
    for page in [Value::Null, json!([]), json!("x"), json!(true)] {
        let reply = put(&server, ONE, &json!({"name": "portal", "consentPage": page})).send().await;
        assert_reply(&reply, 400, BAD, &page.to_string());
    }
    let empty = json!({"name": "portal", "consentPage": {"unknown": null}});
    assert_ok(&put(&server, ONE, &empty).send().await, "nothing of the page");
}

async fn rules_that_join_fields(server: Server) {
    let steps = [
        // Validities.
        (json!({"accessTokenValidity": 2_592_000}), true),
        (json!({"refreshTokenValidity": 2_591_999}), false),
        (json!({"accessTokenValidity": 60, "refreshTokenValidity": 60}), true),
        (json!({"accessTokenValidity": 61}), false),
        // Languages: each text has to follow.
        (json!({"consentPage": {"useLanguages": ["ko", "en", "ja"]}}), false),
        (
            json!({"consentPage": {
                "useLanguages": ["ko", "en", "ja"],
                "usePurposeDesc": {"ko": "가", "en": "a", "ja": "あ"},
                "usePeriodDesc": {"ko": "가", "en": "a", "ja": "あ"},
            }}),
            true,
        ),
        (json!({"consentPage": {"usePeriodDesc": {"ko": "가", "en": "a"}}}), false),
        (json!({"consentPage": {"useLanguages": ["ja"]}}), false),
        (json!({"consentPage": {"useLanguages": ["ja"], "defaultLanguage": "ja"}}), true),
        // Abroad and back: what is not shown is kept, and binds nobody.
        (json!({"consentPage": {"dataTransferAbroad": true}}), false),
        (
            json!({"consentPage": {
                "dataTransferAbroad": true,
                "dataTransferCountry": {"ja": "韓国"},
                "dataRecipients": {"ja": "例"},
                "dataRecipientsContact": {"ja": "電話"},
            }}),
            true,
        ),
        (json!({"consentPage": {"useLanguages": ["ja", "ko"]}}), false),
        (json!({"consentPage": {"dataTransferAbroad": false}}), true),
        (json!({"consentPage": {"useLanguages": ["ja", "ko"]}}), true),
        (json!({"consentPage": {"dataTransferAbroad": true}}), false),
        (json!({"consentPage": {"useLanguages": ["ja"]}}), true),
        (json!({"consentPage": {"dataTransferAbroad": true}}), true),
    ];
    for (mut body, expected) in steps {
        body["name"] = json!("portal");
        let before = read(&server, ONE).await;
        let reply = put(&server, ONE, &body).send().await;
        if expected {
            assert_ok(&reply, &body.to_string());
        } else {
            assert_reply(&reply, 400, BAD, &body.to_string());
            assert_eq!(read(&server, ONE).await, before, "{body}");
        }
    }
    let page = read(&server, ONE).await["consentPage"].clone();
    assert_eq!(page["dataTransferCountry"], json!({"ja": "韓国"}));
}

/// An application of which little was ever said.
async fn sparse_applications(server: Server) {
    let sparse = Application {
        tenant_id: server.demo()["ncloud"]["tenant_id"].as_str().unwrap().to_owned(),
        name: "bare".to_owned(),
        redirect_uris: vec!["https://a.example/".to_owned()],
        grant_types: vec![GrantType::Implicit],
        consent_use_languages: vec![Language::Ko],
        consent_default_language: Some(Language::Ko),
        ..Application::default()
    };
    create(&server, 3, "88d2009c-0000-4000-8000-59bf9afd56aa", sparse).await;
    let target = "/applications/88d2009c-0000-4000-8000-59bf9afd56aa";
    let page =
        json!({"useLanguages": ["ko"], "defaultLanguage": "ko", "dataTransferAbroad": false});
    assert_eq!(read(&server, target).await["consentPage"], page);
    let body =
        json!({"name": "bare", "description": "편집", "consentPage": {"defaultLanguage": "ko"}});
    assert_ok(&put(&server, target, &body).send().await, "unrelated");
    let body = json!({"name": "bare", "consentPage": {"applicationName": {"ko": "이름"}}});
    assert_ok(&put(&server, target, &body).send().await, "a first text");
    // A client id and a secret came with it.
    let stored = stored(&server, target).await;
    assert_eq!(stored.client_id.len(), 36);
    assert_eq!(stored.client_secret_hash.map(|hash| hash.len()), Some(64));
}
