//! Ids, hostile bodies, media types, routes, formats.

use haksa::dialect::{Dialect, Wire};
use serde_json::json;

use super::{DOCUMENTED, E1, EX, assert_edited, assert_refused, assert_wrong, get, post, token};
use crate::support::{Request, Server, on_both_stores};

on_both_stores!(
    unknown_enrollments,
    hostile_bodies,
    ill_formed_bodies,
    nested_texts,
    types_and_routes,
    unknown_routes,
    answers_in_either_format,
);

async fn unknown_enrollments(server: Server) {
    for id in [
        "0f0c2b9e-0000-4000-8000-0000000000ee",
        EX,
        "not-a-uuid",
        "d48bd4fa5b7011e9b12b22e9fbac4a59",
        "%7Bd48bd4fa-5b70-11e9-b12b-22e9fbac4a59%7D",
        "urn:uuid:d48bd4fa-5b70-11e9-b12b-22e9fbac4a59",
        "d48bd4fa-5b70-11e9-b12b-22e9fbac4a59%00",
        "d48bd4fa-5b70-11e9-b12b-22e9fbac4a5%ff",
        "%00",
        "1",
    ] {
        // A caller in a scope learns no more than one without; a bad body makes no difference.
        for caller in ["OWN", "DA1", "DA0"] {
            assert_refused(
                &post(&server, caller, id, DOCUMENTED).send().await,
                400,
                "Unknown Enrollment",
            );
            assert_refused(
                &post(&server, caller, id, "<bad").send().await,
                400,
                "Unknown Enrollment",
            );
            assert_refused(&get(&server, caller, id).send().await, 400, "Unknown Enrollment");
        }
        assert_refused(
            &post(&server, "LRN", id, DOCUMENTED).send().await,
            403,
            "Permission denied",
        );
    }
    let own = get(&server, "OTHER", EX).send().await;
    assert_eq!(own.status, 200);
    assert_eq!(own.version(), "1");
    assert_refused(&get(&server, "OTHER", E1).send().await, 400, "Unknown Enrollment");
    let upper = E1.to_uppercase();
    assert_edited(&post(&server, "OWN", &upper, DOCUMENTED).send().await);
    let reply = get(&server, "OWN", &upper).send().await;
    assert!(reply.text().contains(&format!("<enrollmentId>{E1}</enrollmentId>")));
}

async fn hostile_bodies(server: Server) {
    let before = get(&server, "OWN", E1).send().await.text();
    let inside = "<dueDateType>unlimited</dueDateType>";
    let entities = (1..=10).map(|level| {
        let last = format!("&a{};", level - 1);
        format!("<!ENTITY a{level} \"{}\">", last.repeat(10))
    });
    let bomb = format!(
        "<!DOCTYPE r [<!ENTITY a0 \"lol\">{}]><r><accessDate>&a10;</accessDate>{inside}</r>",
        entities.collect::<Vec<_>>().concat()
    );
    let attributes = (0..80_000).map(|n| format!(" a{n}=\"\"")).collect::<Vec<_>>().concat();
    let namespaces = (0..40_000).map(|n| format!(" xmlns:a{n}=\"u\"")).collect::<Vec<_>>().concat();
    let bodies: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"<request>".to_vec(),
        format!("<request>{inside}").into(),
        format!("<request>{inside}</request").into(),
        format!("<request>{inside}</request><request/>").into(),
        format!("<request>{inside}</request>trailing").into(),
        b"{\"a\":".to_vec(),
        b"[]".to_vec(),
        b"plain".to_vec(),
        format!(
            "<!DOCTYPE r [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><request>\
             <accessDate>&x;</accessDate>{inside}</request>"
        )
        .into(),
        format!("<!DOCTYPE r SYSTEM \"http://127.0.0.1:1/x.dtd\"><request>{inside}</request>")
            .into(),
        format!("<!DOCTYPE request><request>{inside}</request>").into(),
        format!("<request><foo>&undeclared;</foo>{inside}</request>").into(),
        bomb.into(),
        format!("{}{inside}{}", "<r>".repeat(10_000), "</r>".repeat(10_000)).into(),
        format!("<r>{inside}{}</r>", "<x/>".repeat(50_000)).into(),
        format!("<r{attributes}>{inside}</r>").into(),
        format!("<r{namespaces}>{inside}</r>").into(),
        format!("<r>{inside}</r>").encode_utf16().flat_map(u16::to_le_bytes).collect(),
        [b"<r><x>\xff</x>", inside.as_bytes(), b"</r>"].concat(),
        format!("<r><x>\0</x>{inside}</r>").into(),
        format!("<r><x>&#0;</x>{inside}</r>").into(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body).chars().take(80).collect::<String>();
        for content_type in ["application/xml", "text/xml; charset=utf-8"] {
            let reply = server
                .request("POST", &format!("/enrollment/{E1}"))
                .header("authorization", token("OWN"))
                .header("content-type", content_type)
                .body(body.clone())
                .send()
                .await;
            assert_eq!(reply.status, 400, "{shown}");
            assert_wrong(&reply);
        }
    }
    for body in [
        "[]".to_owned(),
        "\"text\"".to_owned(),
        "null".to_owned(),
        "{\"dueDateType\":\"unlimited\"}{}".to_owned(),
        "{\"dueDateType\":\"unlimited\",\"x\":\"\\ud800\"}".to_owned(),
        "{\"dueDateType\":\"unlimited\",\"x\":NaN}".to_owned(),
        format!("{{\"dueDateType\":\"unlimited\",\"x\":{}{}}}", "[".repeat(40), "]".repeat(40)),
        format!("{{\"x\":{}", "[".repeat(100_000)),
    ] {
        let reply = server
            .request("POST", &format!("/enrollment/{E1}"))
            .header("authorization", token("OWN"))
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await;
        assert_wrong(&reply);
    }
    let large = post(&server, "OWN", E1, &" ".repeat(1024 * 1024 + 1)).send().await;
    assert_refused(&large, 413, "Payload too large");
    assert_eq!(large.header("connection"), "close");
    assert_eq!(get(&server, "OWN", E1).send().await.text(), before);
}

/// Bodies of which two readers could read two things.
async fn ill_formed_bodies(server: Server) {
    let before = get(&server, "OWN", E1).send().await.text();
    let inside = "<dueDateType>unlimited</dueDateType>";
    for body in [
        format!("<?xml version=\"1.0\" encoding=\"EUC-KR\"?><r>{inside}</r>"),
        format!("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><r>{inside}</r>"),
        format!("<?xml version=\"1.0\" encoding=\"UTF-16\"?><r>{inside}</r>"),
        format!("<?XML version=\"1.0\" encoding=\"UTF-16\"?><r>{inside}</r>"),
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\" encoding=\"UTF-16\"?><r>{inside}</r>"),
        format!("\u{feff}\u{feff}<r>{inside}</r>"),
        format!("<r x=\"&undeclared;\">{inside}</r>"),
        format!("<r x=\"1\"y=\"2\">{inside}</r>"),
        format!("<r><>x</>{inside}</r>"),
        format!("<r><!-- a -- b -->{inside}</r>"),
        format!("<r>]]>{inside}</r>"),
        "<r><:dueDateType>unlimited</:dueDateType></r>".to_owned(),
    ] {
        let reply = post(&server, "OWN", E1, &body).send().await;
        assert_eq!(reply.status, 400, "{body}");
        assert_wrong(&reply);
    }
    // What the type says of the encoding goes first (RFC 7303).
    let said = format!("<?xml version=\"1.0\" encoding=\"UTF-16\"?><r>{inside}</r>");
    let dry = |media_type: &str| {
        let request = post(&server, "OWN", E1, &said).without("content-type");
        request.header("content-type", media_type).header("haksa-dry-run", "true").send()
    };
    assert_edited(&dry("text/xml; charset=utf-8").await);
    assert_wrong(&dry("text/xml; charset=utf-16").await);
    let due_period = |hours: &str| {
        let body = format!(
            r#"{{"dueDateType":"due_period","duePeriod":{hours},"lockAfterDueDate":true}}"#
        );
        server
            .request("POST", &format!("/enrollment/{E1}"))
            .header("authorization", token("OWN"))
            .header("content-type", "application/json")
            .body(body)
            .send()
    };
    // To serde_json's own values, an object with this key is JSON inside a text.
    assert_wrong(&due_period(r#"{"$serde_json::private::RawValue":"7"}"#).await);
    assert_eq!(get(&server, "OWN", E1).send().await.text(), before);
}

/// JSON inside texts inside JSON: however deep, it is texts.
async fn nested_texts(server: Server) {
    let object = |text: &str| json!({"$serde_json::private::RawValue": text}).to_string();
    let mut deep = "1".to_owned();
    for _ in 0..9 {
        deep = format!("{}{}{}", "[".repeat(120), object(&deep), "]".repeat(120));
    }
    let reply = server
        .request("POST", &format!("/enrollment/{E1}"))
        .header("authorization", token("OWN"))
        .header("content-type", "application/json")
        .body(format!(r#"{{"dueDateType":"unlimited","x":{}}}"#, object(&deep)))
        .send()
        .await;
    assert_edited(&reply);
    assert_eq!(get(&server, "OWN", E1).send().await.status, 200);
}

async fn types_and_routes(server: Server) {
    let send = |headers: &[(&str, &str)], body: &str| {
        let request = server
            .request("POST", &format!("/enrollment/{E1}"))
            .header("authorization", token("OWN"))
            .body(body.to_owned());
        headers.iter().fold(request, |request, (name, value)| request.header(name, *value)).send()
    };
    for content_type in [
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
    ] {
        let reply = send(&[("content-type", content_type)], DOCUMENTED).await;
        assert_refused(&reply, 415, "Unsupported media type");
    }
    let xml = ("content-type", "application/xml");
    let reply = send(&[xml, ("content-encoding", "gzip")], DOCUMENTED).await;
    assert_refused(&reply, 415, "Unsupported media type");
    assert_wrong(&send(&[("content-type", "text/xml; charset=windows-1251")], DOCUMENTED).await);
    assert_wrong(&send(&[xml, ("content-type", "application/json")], DOCUMENTED).await);
    assert_wrong(&send(&[xml, xml], DOCUMENTED).await);
    assert_wrong(&send(&[("content-type", "application/json")], DOCUMENTED).await);
    for headers in [
        &[][..],
        &[("content-type", "Application/XML;charset=UTF-8")],
        &[("content-type", "text/xml")],
        &[xml, ("content-encoding", "identity")],
    ] {
        assert_edited(&send(headers, DOCUMENTED).await);
    }
    assert_edited(&send(&[], "\n{\"dueDateType\":\"unlimited\"}").await);

    for prefix in ["/api/v2", "/api/v3", "/index.php/api/v2"] {
        let target = format!("{prefix}/enrollment/{E1}");
        let request =
            |method: &str| server.request(method, &target).header("authorization", token("OWN"));
        assert_edited(&request("POST").body(DOCUMENTED).send().await);
        assert_eq!(request("GET").send().await.status, 200);
    }
    for method in ["PUT", "PATCH", "DELETE"] {
        let target = format!("/enrollment/{E1}");
        let reply =
            server.request(method, &target).header("authorization", token("OWN")).send().await;
        assert_refused(&reply, 405, "Method Not Allowed");
        let allowed = reply.header("allow");
        assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    }
}

async fn unknown_routes(server: Server) {
    for (method, target) in [
        ("POST", "/enrollment/delete"),
        ("POST", "/api/v2/enrollment/delete"),
        ("POST", "/enrollment"),
        ("GET", "/enrollments"),
        ("POST", "/enrollment/d48bd4fa-5b70-11e9-b12b-22e9fbac4a59/reenroll"),
        ("GET", "/api/v3/nothing"),
        ("POST", "/api/v2/token"),
        ("GET", "/api/v2/user"),
        ("GET", "/api/v2/applicationsx"),
        ("GET", "/index.php/api/v2/users"),
        ("GET", "/users/v2"),
        ("POST", "/department"),
        ("GET", "/departments"),
        ("GET", "/role"),
        ("POST", "/group/smart"),
        ("GET", "/groups"),
        ("GET", "/content/x/final_statuses"),
        ("GET", "/contents"),
        ("GET", "/courses/modules"),
        ("GET", "/courses_tree"),
        ("GET", "/course_fields"),
        ("GET", "/learning_track/courses"),
        ("GET", "/quizzes"),
        ("GET", "/assignments"),
        ("GET", "/assignment/x/attempts/ungraded"),
        ("GET", "/learners/results"),
        ("DELETE", "/statistics/module"),
        ("GET", "/task/1/status"),
        ("GET", "/report/answer-breakdown"),
        ("POST", "/gamification/points/award"),
        ("GET", "/training/session/x"),
        ("POST", "/webhook/register"),
        ("GET", "/certificate/x"),
        ("POST", "/job-training/checklist/sessions/list"),
        ("GET", "/performance-management/competencies/scale/list"),
    ] {
        let request = server.request(method, target).header("authorization", token("OWN"));
        let reply = request.clone().send().await;
        assert_refused(&reply, 404, "Not Found");
        let reply = request.header("accept", "application/json").send().await;
        assert_eq!(reply.text(), r#"{"code":404,"message":"Not Found"}"#);
    }
    // Of these, other systems have the longer beginning, or the whole.
    for (target, dialect) in [
        ("/api/v2/applications/x", Dialect::Ncloud),
        ("/api/v2/tenant", Dialect::Ncloud),
        ("/api/v1/users", Dialect::Ncloud),
        ("/partner/1/course", Dialect::Partner),
        ("/user", Dialect::Partner),
        ("/user/list", Dialect::Partner),
        ("/course/x/modules", Dialect::Partner),
        ("/users-of-nobody", Dialect::Native),
        ("/api/v3/tokens", Dialect::Ispring),
    ] {
        assert_eq!(Wire::of(target).dialect, dialect, "{target}");
    }
}

async fn answers_in_either_format(server: Server) {
    let asked = |accept: &str| get(&server, "OWN", E1).header("accept", accept).send();
    for accept in
        ["*/*", "application/xml", "text/xml", "text/html", "application/json;q=0.5, text/xml"]
    {
        let reply = asked(accept).await;
        assert_eq!(reply.header("content-type"), "application/xml; charset=utf-8", "{accept}");
    }
    for accept in [
        "application/json",
        "application/json, text/xml;q=0.5",
        "application/xml;q=0.1, application/*",
    ] {
        let reply = asked(accept).await;
        assert_eq!(reply.header("content-type"), "application/json; charset=utf-8", "{accept}");
    }
    assert_eq!(
        asked("application/json").await.text(),
        r#"{"enrollmentId":"d48bd4fa-5b70-11e9-b12b-22e9fbac4a59","courseId":"5f0c2b9e-0000-4000-8000-0000000000c1","learnerId":"5f0c2b9e-0000-4000-8000-0000000000a1","accessDate":"2026-01-10","dueDate":"2026-02-01","expirationDate":"2026-02-01","enrollmentTypeGroup":0,"shouldLockAfterDueDate":true}"#
    );
    assert_eq!(
        asked("text/xml").await.text(),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><response><enrollment>\
         <enrollmentId>d48bd4fa-5b70-11e9-b12b-22e9fbac4a59</enrollmentId>\
         <courseId>5f0c2b9e-0000-4000-8000-0000000000c1</courseId>\
         <learnerId>5f0c2b9e-0000-4000-8000-0000000000a1</learnerId>\
         <accessDate>2026-01-10</accessDate><dueDate>2026-02-01</dueDate>\
         <expirationDate>2026-02-01</expirationDate>\
         <enrollmentTypeGroup>0</enrollmentTypeGroup>\
         <shouldLockAfterDueDate>1</shouldLockAfterDueDate></enrollment></response>"
    );
    let json = |request: Request| request.header("accept", "application/json").send();
    for (reply, expected) in [
        (
            json(post(&server, "OWN", E1, "<bad")).await,
            r#"{"code":400,"message":"Wrong parameters"}"#,
        ),
        (
            json(post(&server, "OWN", EX, "<bad")).await,
            r#"{"code":400,"message":"Unknown Enrollment"}"#,
        ),
        (
            json(post(&server, "LRN", E1, "<bad")).await,
            r#"{"code":403,"message":"Permission denied"}"#,
        ),
        (
            json(get(&server, "nobody", E1)).await,
            r#"{"code":401,"message":"Authorization failed"}"#,
        ),
        (
            json(post(&server, "OWN", E1, &" ".repeat(1024 * 1024 + 1))).await,
            r#"{"code":413,"message":"Payload too large"}"#,
        ),
        (
            json(server.request("PUT", &format!("/enrollment/{E1}"))).await,
            r#"{"code":405,"message":"Method Not Allowed"}"#,
        ),
    ] {
        assert_eq!(reply.text(), expected);
        assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
    }
}
