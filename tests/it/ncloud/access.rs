//! Who is let in, to what.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

on_both_stores!(
    signatures,
    permissions,
    no_tenant,
    others_records,
    unknown_routes,
    unreadable_requests,
);

async fn signatures(server: Server) {
    const TIMESTAMP: &str = "x-ncp-apigw-timestamp";
    const ACCESS_KEY: &str = "x-ncp-iam-access-key";
    const SIGNATURE: &str = "x-ncp-apigw-signature-v2";
    let body = json!({"name": "portal", "description": "서명"});
    let now = server.clock.now().as_millisecond();
    let raw = |headers: &[(&str, String)], target: &str| {
        let mut request = server.request("PUT", target).json(&body);
        for (name, value) in headers {
            request = request.header(name, value.as_str());
        }
        request.send()
    };
    let made = |timestamp: &str, key: &str, secret: &str, target: &str| {
        let signature = sign(&format!("PUT {target}\n{timestamp}\n{key}"), secret);
        vec![
            (TIMESTAMP, timestamp.to_owned()),
            (ACCESS_KEY, key.to_owned()),
            (SIGNATURE, signature),
        ]
    };
    let at = |timestamp: String| made(&timestamp, KEY, SECRET, ONE);
    let good = at(now.to_string());
    let mut refused = vec![
        ("another secret", made(&now.to_string(), KEY, OTHER.1, ONE)),
        ("an unknown key", made(&now.to_string(), "EXAMPLEACCESSKEY9999", SECRET, ONE)),
        ("another dialect's key", made(&now.to_string(), "demo-kolleges-key", SECRET, ONE)),
        ("a key in small letters", made(&now.to_string(), &KEY.to_lowercase(), SECRET, ONE)),
        ("an empty key", made(&now.to_string(), "", SECRET, ONE)),
        ("25: another path", made(&now.to_string(), KEY, SECRET, V1)),
        ("a path with another id", made(&now.to_string(), KEY, SECRET, PUBLIC)),
        ("a query that was not sent", made(&now.to_string(), KEY, SECRET, &format!("{ONE}?a=1"))),
        ("too old", at((now - 300_000).to_string())),
        ("too new", at((now + 300_000).to_string())),
        ("seconds", at((now / 1000).to_string())),
        ("no number", at("now".to_owned())),
        ("a signed number", at(format!("+{now}"))),
        ("beyond 64 bits", at("99999999999999999999".to_owned())),
    ];
    for (index, _) in good.iter().enumerate() {
        let mut some = good.clone();
        some.remove(index);
        refused.push(("a missing header", some));
        let mut twice = good.clone();
        twice.push(good[index].clone());
        refused.push(("a header twice", twice));
        let mut blank = good.clone();
        blank[index].1 = String::new();
        refused.push(("an empty header", blank));
    }
    let mut moved = good.clone();
    moved[0].1 = (now + 1).to_string();
    refused.push(("another time than was signed", moved));
    for change in [
        |signature: &str| signature.to_lowercase(),
        |signature: &str| signature.trim_end_matches('=').to_owned(),
        |signature: &str| hex::encode(STANDARD.decode(signature).unwrap()),
        |signature: &str| signature.replace(['A', 'B', 'C', 'D', 'E'], "F"),
        |_: &str| STANDARD.encode([]),
    ] {
        let mut other = good.clone();
        let changed = change(&good[2].1);
        if changed != good[2].1 {
            other[2].1 = changed;
            refused.push(("another signature", other));
        }
    }
    for (about, headers) in refused {
        assert_reply(&raw(&headers, ONE).await, 401, UNAUTHENTICATED, about);
    }
    let post = sign(&format!("POST {ONE}\n{now}\n{KEY}"), SECRET);
    let mut other_method = good.clone();
    other_method[2].1 = post;
    assert_reply(&raw(&other_method, ONE).await, 401, UNAUTHENTICATED, "another method");
    assert_eq!(read(&server, ONE).await["description"], Value::Null);

    for timestamp in [now - 299_999, now + 299_999] {
        assert_ok(&raw(&at(timestamp.to_string()), ONE).await, "within the window");
    }
    // The query is signed as it is sent, and the same request may come again.
    for target in [format!("{ONE}?"), format!("{ONE}?b=2&a=%7e&a="), ONE.to_owned()] {
        let headers = made(&now.to_string(), KEY, SECRET, &target);
        assert_ok(&raw(&headers, &target).await, &target);
        assert_ok(&raw(&headers, &target).await, &target);
    }
    let reordered = made(&now.to_string(), KEY, SECRET, &format!("{ONE}?a=1&b=2"));
    assert_reply(&raw(&reordered, &format!("{ONE}?b=2&a=1")).await, 401, UNAUTHENTICATED, "order");
    let encoded = ONE.replace("88d2", "%388d2");
    let headers = made(&now.to_string(), KEY, SECRET, &encoded);
    assert_ok(&raw(&headers, &encoded).await, "an encoded path, signed as sent");
    assert_reply(&raw(&headers, ONE).await, 401, UNAUTHENTICATED, "an encoded path, sent plain");
    // Who calls is asked before anything about the application or the body.
    for target in [NOBODYS, OTHERS] {
        let reply = server.request("PUT", target).body("{").send().await;
        assert_reply(&reply, 401, UNAUTHENTICATED, target);
    }
}

async fn permissions(server: Server) {
    let body = json!({"name": "portal", "description": "권한"});
    for (id, policies, may_read, may_edit) in [
        (2001, &["NCP_ADMINISTRATOR"][..], true, true),
        (2002, &["NCP_INFRA_MANAGER"], true, true),
        (2003, &["NCP_FINANCE_MANAGER"], false, false),
        (2004, &["NCP_SINGLE_SIGN_ON_MANAGER"], true, true),
        (2005, &["NCP_SINGLE_SIGN_ON_VIEWER"], true, false),
        (2006, &["view/getApplicationDetail"], true, false),
        (2007, &["change/updateApplication"], false, true),
        (2008, &["view/getApplicationDetail", "change/updateApplication"], true, true),
        (2009, &["view/getApplicationList", "view/getTenantDetail"], false, false),
        (2010, &["NCP_FINANCE_MANAGER", "NCP_SINGLE_SIGN_ON_VIEWER"], true, false),
        (2011, &["ncp_administrator", "*", ""], false, false),
        (2012, &[], false, false),
    ] {
        let (key, secret) = new_key(&server, 3, id, policies).await;
        let by = |method: &str, target: &str| signed_by(&server, (&key, &secret), method, target);
        for (get, target) in [(ONE, ONE), (V1, V1)] {
            let reply = by("GET", get).send().await;
            if may_read {
                assert_eq!(reply.status, 200, "{policies:?}");
            } else {
                assert_reply(&reply, 401, DENIED, &format!("{policies:?}"));
            }
            let sent = if target == ONE { body.clone() } else { full() };
            let reply = by("PUT", target).json(&sent).send().await;
            if may_edit {
                assert_ok(&reply, &format!("{policies:?}"));
            } else {
                assert_reply(&reply, 401, DENIED, &format!("{policies:?}"));
            }
        }
        // Permission comes before the body and before the application.
        if !may_edit {
            for target in [ONE, NOBODYS, OTHERS] {
                let reply = by("PUT", target).header("content-type", "application/json").body("{");
                assert_reply(&reply.send().await, 401, DENIED, target);
            }
        }
    }
    // 26
    let before = read(&server, ONE).await;
    let reply = signed_by(&server, VIEWER, "PUT", ONE).json(&json!({"name": "portal2"}));
    assert_reply(&reply.send().await, 401, DENIED, "a viewer's edit");
    assert_eq!(read(&server, ONE).await, before);
    assert_eq!(signed_by(&server, VIEWER, "GET", ONE).send().await.json(), before);
}

async fn no_tenant(server: Server) {
    let account = Account { name: "No tenant".to_owned(), ..Account::default() };
    create(&server, 5, 5, account).await;
    let (key, secret) = new_key(&server, 5, 2020, &["NCP_ADMINISTRATOR"]).await;
    for target in [ONE, V1, NOBODYS] {
        let reply = signed_by(&server, (&key, &secret), "GET", target).send().await;
        assert_reply(&reply, 400, NO_TENANT, target);
        for body in ["{\"name\":\"x1\"}", "{}", "{"] {
            let request = signed_by(&server, (&key, &secret), "PUT", target)
                .header("content-type", "application/json")
                .body(body);
            assert_reply(&request.send().await, 400, NO_TENANT, body);
        }
    }
}

async fn others_records(server: Server) {
    let long = format!("/applications/{}", "9".repeat(5000));
    for target in [
        OTHERS,
        NOBODYS,
        "/applications/abc",
        "/applications/%00",
        "/applications/%ff",
        "/applications/1539",
        "/applications/88d2009c00004000800059bf9afd5695",
        &long,
    ] {
        for target in [target.to_owned(), format!("/api/v1{target}")] {
            let get = signed(&server, "GET", &target).send().await;
            assert_reply(&get, 400, NO_APPLICATION, &target);
            let put = put(&server, &target, &full()).send().await;
            assert_reply(&put, 400, NO_APPLICATION, &target);
        }
    }
    // The form of the body is looked at before the application is looked for.
    let reply = put(&server, NOBODYS, &json!({"name": 7})).send().await;
    assert_reply(&reply, 400, BAD, "a wrong body for nobody's application");
    let own = signed_by(&server, OTHER, "GET", OTHERS).send().await.json();
    assert_eq!(own["name"], "portal");
    assert_eq!(own["updatedAt"], "2026-04-23T09:15:30Z");
    let shouted = format!("/applications/{}", &ONE[14..].to_uppercase());
    assert_eq!(signed(&server, "GET", &shouted).send().await.json(), read(&server, ONE).await);
}

async fn unknown_routes(server: Server) {
    for (method, target) in [
        ("PUT", "/application/88d2009c-0000-4000-8000-59bf9afd5695"),
        ("GET", "/applications"),
        ("GET", "/applications/"),
        ("PATCH", ONE),
        ("DELETE", ONE),
        ("GET", &format!("{ONE}/")),
        ("POST", &format!("{ONE}/oauth2/secret-renewal")),
        ("GET", "/api/v1/applications"),
        ("GET", "/api/v1"),
        ("GET", "/api/v1/tenant"),
        ("GET", "/api/v2/applications/88d2009c-0000-4000-8000-59bf9afd5695"),
        ("GET", "/tenant"),
        ("GET", "/tenants/demo/oauth2/authorize"),
    ] {
        let about = format!("{method} {target}");
        assert_reply(&signed(&server, method, target).send().await, 404, NO_ROUTE, &about);
        let unsigned = server.request(method, target).send().await;
        assert_reply(&unsigned, 404, NO_ROUTE, &about);
    }
}

/// What is no HTTP request never reaches the dialect: a status, and no body in any form.
async fn unreadable_requests(server: Server) {
    let long = format!("GET /applications/{} HTTP/1.1\r\nhost: h\r\n\r\n", "x".repeat(70_000));
    let headers = format!("GET {ONE} HTTP/1.1\r\nhost: h\r\n{}\r\n", "a: b\r\n".repeat(200));
    for (sent, status) in [
        (&b"GET /applications/\xff HTTP/1.1\r\nhost: h\r\n\r\n"[..], 400),
        (b"PUT /applications/a HTTP/1.1\r\nhost: h\r\ncontent-length: abc\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (long.as_bytes(), 431),
        (headers.as_bytes(), 431),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        crate::support::document::judge_bytes(sent, &answer);
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.ends_with("\r\n\r\n") && answer.contains("content-length: 0"), "{answer}");
    }
    // HEAD, signed as such, is answered as GET is.
    let reply = signed(&server, "HEAD", ONE).send().await;
    assert_eq!((reply.status, reply.header("etag")), (200, "\"1\""));
    assert!(reply.body.is_empty());
}
