//! What every dialect takes and gives in the same way: bodies with a byte order mark, compressed bodies,
//! entity tags that were made weak on the way, answers that the caller has.

use serde_json::{Value, json};

use crate::support::{Reply, Request, Server, on_both_stores};

on_both_stores!(
    a_byte_order_mark_is_passed_over,
    a_compressed_body_is_told_as_such,
    a_tag_that_was_made_weak_counts,
    what_the_caller_has_is_not_sent_again,
    what_the_clock_changes_is_sent_again,
    whole_numbers_are_numbers_however_they_are_written,
);

const CLASS: &str = "/partner/7/classes/11";
const APPLICATION: &str = "/applications/88d2009c-0000-4000-8000-59bf9afd5695";
const RELATIONSHIP: &str = "/crm-core/v1/relationships/CRMRL1260423091530123REL11122233";
const ENROLLMENT: &str = "/enrollment/d48bd4fa-5b70-11e9-b12b-22e9fbac4a59";

/// A record that a dialect shows and edits.
struct One {
    dialect: &'static str,
    target: &'static str,
    method: &'static str,
    /// An edit that changes it for each number.
    edit: fn(i64) -> Value,
    /// What the route to edit it says to what is not right in the body, the head, the state.
    encoded: &'static str,
}

const ALL: [One; 6] = [
    One {
        dialect: "kolleges",
        target: "/open-api/achievements/1539",
        method: "PATCH",
        edit: |n| json!({"level": n}),
        encoded: r#""error":"UnsupportedMediaType""#,
    },
    One {
        dialect: "partner",
        target: CLASS,
        method: "PATCH",
        edit: |n| json!({"capacity": n}),
        encoded: r#"{"detail":"Unsupported Media Type"}"#,
    },
    One {
        dialect: "ncloud",
        target: APPLICATION,
        method: "PUT",
        edit: |n| json!({"name": "portal", "description": n.to_string()}),
        encoded: r#"{"error":{"errorCode":"100","message":"Unsupported Media Type"}}"#,
    },
    One {
        dialect: "solapi",
        target: RELATIONSHIP,
        method: "PATCH",
        edit: |n| json!({"metadata": {"n": n}}),
        encoded: r#"{"errorCode":"ValidationError","errorMessage":"The body must not be compressed"}"#,
    },
    One {
        dialect: "ispring",
        target: ENROLLMENT,
        method: "POST",
        edit: |n| json!({"accessDate": format!("2026-01-{n:02}"), "dueDateType": "unlimited"}),
        encoded: "<code>415</code><message>Unsupported media type</message>",
    },
    One {
        dialect: "native",
        target: "/haksa/v1/designs/83",
        method: "PATCH",
        edit: |n| json!({"name": format!("design {n}")}),
        encoded: r#""detail":"the body must not be compressed""#,
    },
];

impl One {
    fn request(&self, server: &Server, method: &str) -> Request {
        let request = server.request(method, self.target);
        match self.dialect {
            "kolleges" => request.bearer("demo-kolleges-key"),
            "partner" => request.bearer("demo-partner-token"),
            "native" => request.bearer("demo-admin-key"),
            "ispring" => request.header("authorization", "demo-ispring-OWN-token"),
            "ncloud" => crate::ncloud::signed(server, method, self.target),
            _ => {
                let (key, secret) = (crate::solapi::KEY, crate::solapi::SECRET);
                request.header("authorization", crate::solapi::fresh(server, key, secret))
            }
        }
    }

    async fn read(&self, server: &Server) -> Reply {
        let reply = self.request(server, "GET").send().await;
        assert_eq!(reply.status, 200, "{}: {}", self.dialect, reply.text());
        reply
    }

    fn edited(&self, server: &Server, n: i64) -> Request {
        self.request(server, self.method).json(&(self.edit)(n))
    }
}

async fn a_byte_order_mark_is_passed_over(server: Server) {
    for one in ALL {
        let body = format!("\u{feff}{}", (one.edit)(3));
        let before = one.read(&server).await;
        let reply = one.edited(&server, 3).body(body).send().await;
        assert_eq!(reply.status, 200, "{}: {}", one.dialect, reply.text());
        assert_ne!(one.read(&server).await.body, before.body, "{}", one.dialect);
        let twice = format!("\u{feff}\u{feff}{}", (one.edit)(4));
        let reply = one.edited(&server, 4).body(twice).send().await;
        let refusal = if one.dialect == "partner" { 422 } else { 400 };
        assert_eq!(reply.status, refusal, "{}: {}", one.dialect, reply.text());
    }
}

/// Where it stands in the dialect's order of checks: a stranger learns no more than before.
async fn a_compressed_body_is_told_as_such(server: Server) {
    for one in ALL {
        let before = one.read(&server).await;
        for coding in ["gzip", "Deflate", "br", "identity, gzip"] {
            let reply = one.edited(&server, 5).header("content-encoding", coding).send().await;
            assert_eq!(reply.status, 415, "{} {coding}: {}", one.dialect, reply.text());
            assert!(reply.text().contains(one.encoded), "{}: {}", one.dialect, reply.text());
            assert_eq!(reply.header("accept-encoding"), "identity", "{}", one.dialect);
        }
        assert_eq!(one.read(&server).await.body, before.body, "{}", one.dialect);
        let reply = one.edited(&server, 5).header("content-encoding", "Identity").send().await;
        assert_eq!(reply.status, 200, "{}: {}", one.dialect, reply.text());
        // Nothing is compressed where there is nothing.
        let reply = one.request(&server, "GET").header("content-encoding", "gzip").send().await;
        assert_eq!(reply.status, 200, "{}", one.dialect);
        if one.dialect != "partner" {
            let stranger = server.request(one.method, one.target).body("x");
            let reply = stranger.header("content-encoding", "gzip").send().await;
            assert_eq!(reply.status, 401, "{}: {}", one.dialect, reply.text());
        }
    }
}

async fn a_tag_that_was_made_weak_counts(server: Server) {
    for one in ALL {
        let with = |tag: &str, n: i64| one.edited(&server, n).header("if-match", tag);
        let old = one.read(&server).await.header("etag").to_owned();
        let reply = with(&format!("W/{old}"), 6).send().await;
        assert_eq!(reply.status, 200, "{}: {}", one.dialect, reply.text());
        let new = one.read(&server).await.header("etag").to_owned();
        assert_ne!(new, old, "{}", one.dialect);
        for tag in [format!("W/{old}"), old, format!("w/{new}"), format!("W/W/{new}")] {
            assert_eq!(with(&tag, 7).send().await.status, 412, "{} {tag}", one.dialect);
        }
        let several = format!("\"0\", W/{new}");
        assert_eq!(with(&several, 7).send().await.status, 200, "{}", one.dialect);
    }
}

async fn what_the_caller_has_is_not_sent_again(server: Server) {
    for one in ALL {
        let shown = one.read(&server).await;
        let tag = shown.header("etag").to_owned();
        let with = |tag: &str| one.request(&server, "GET").header("if-none-match", tag);
        for tag in [tag.clone(), format!("W/{tag}"), format!("\"0\", {tag}"), "*".to_owned()] {
            let reply = with(&tag).send().await;
            assert_eq!((reply.status, reply.body.len()), (304, 0), "{} {tag}", one.dialect);
            assert_eq!(reply.header("etag"), shown.header("etag"), "{}", one.dialect);
            assert_eq!(reply.header("content-type"), "", "{}", one.dialect);
            assert_eq!(reply.header("vary"), shown.header("vary"), "{}", one.dialect);
        }
        for tag in ["\"0\"", "nonsense", "", tag.trim_matches('"')] {
            let reply = with(tag).send().await;
            assert_eq!((reply.status, &reply.body), (200, &shown.body), "{} {tag}", one.dialect);
        }
        assert_eq!(one.edited(&server, 8).send().await.status, 200, "{}", one.dialect);
        let reply = with(&tag).send().await;
        assert_eq!(reply.status, 200, "{}", one.dialect);
        assert_ne!(reply.header("etag"), tag, "{}", one.dialect);
        // An edit is one whatever its caller has.
        let tag = reply.header("etag");
        let reply = one.edited(&server, 9).header("if-none-match", tag).send().await;
        assert_eq!(reply.status, 200, "{}: {}", one.dialect, reply.text());
        assert_ne!(one.read(&server).await.header("etag"), tag, "{}", one.dialect);
    }
    // The same in another format is another answer, and was seen all the same.
    let enrollment = ALL.into_iter().find(|one| one.dialect == "ispring").expect("it is there");
    let xml = enrollment.read(&server).await.header("etag").to_owned();
    let json = enrollment.request(&server, "GET").header("accept", "application/json");
    let reply = json.clone().header("if-none-match", &xml).send().await;
    assert_eq!((reply.status, reply.header("vary")), (200, "Accept"));
    assert_ne!(reply.header("etag"), xml);
    let tag = reply.header("etag").to_owned();
    assert_eq!(json.header("if-none-match", &tag).send().await.status, 304);
    let edit = enrollment.edited(&server, 10).header("if-match", &tag).send().await;
    assert_eq!(edit.status, 200, "{}", edit.text());
    // A head is answered as its body would be.
    let head = server.request("HEAD", "/open-api/achievements/1539").bearer("demo-kolleges-key");
    let tag = head.clone().send().await.header("etag").to_owned();
    assert_eq!(head.header("if-none-match", tag).send().await.status, 304);
}

/// A code that expires makes no new version of anything, and another answer.
async fn what_the_clock_changes_is_sent_again(server: Server) {
    let class = || server.request("GET", CLASS).bearer("demo-partner-token");
    let code = format!("{CLASS}/invite-codes");
    let made = server.request("POST", &code).bearer("demo-partner-token");
    let soon = json!({"expires_at": "2026-04-23T10:00:00Z"});
    assert_eq!(made.json(&soon).send().await.status, 201);
    let before = class().send().await;
    let tag = before.header("etag").to_owned();
    assert_eq!(class().header("if-none-match", &tag).send().await.status, 304);
    server.clock.advance(jiff::SignedDuration::from_hours(1));
    let after = class().header("if-none-match", &tag).send().await;
    assert_eq!(after.status, 200);
    assert!(after.text().contains(r#""status":"expired""#), "{}", after.text());
    let later = after.header("etag").to_owned();
    assert_ne!(later, tag);
    assert_eq!(class().header("if-none-match", &later).send().await.status, 304);
    // Nobody's change is overwritten by that: either tag is of what was seen.
    for (tag, capacity) in [(&tag, 41), (&later, 42)] {
        let edit = server.request("PATCH", CLASS).bearer("demo-partner-token");
        let edit = edit.header("if-match", tag).header("haksa-dry-run", "true");
        let reply = edit.json(&json!({"capacity": capacity})).send().await;
        assert_eq!(reply.status, 200, "{tag}: {}", reply.text());
    }
}

/// `83.0` is 83 where an id, a place or a number of seconds is meant; text is text.
async fn whole_numbers_are_numbers_however_they_are_written(server: Server) {
    let send = async |one: &One, target: &str, body: &str| {
        let request = match one.dialect {
            "ncloud" => one.request(&server, one.method),
            _ => one.request(&server, one.method).target(target),
        };
        let reply = request.header("content-type", "application/json").body(body.to_owned());
        reply.send().await
    };
    let [kolleges, _, ncloud, _, ispring, native] = ALL;
    let form = "/open-api/achievements/forms/551";
    for (number, status) in [
        ("83.0", 200),
        ("8.3e1", 200),
        ("83", 200),
        ("83.5", 400),
        ("\"83\"", 400),
        ("9007199254740993.0", 400),
        ("1e300", 400),
    ] {
        let body = format!(r#"{{"achievementBadgeDesignId":{number}}}"#);
        let reply = send(&kolleges, form, &body).await;
        assert_eq!(reply.status, status, "{number}: {}", reply.text());
    }
    for (number, status) in [("3600.0", 200), ("3.6e3", 200), ("3600.5", 400), ("1e300", 400)] {
        let body = format!(r#"{{"name":"portal","accessTokenValidity":{number}}}"#);
        let reply = send(&ncloud, APPLICATION, &body).await;
        assert_eq!(reply.status, status, "{number}: {}", reply.text());
    }
    for (number, status) in [("24.0", 200), ("2.4e1", 200), ("24.5", 400), ("\"24.0\"", 400)] {
        let body = format!(
            r#"{{"dueDateType":"due_period","duePeriod":{number},"lockAfterDueDate":true}}"#
        );
        let reply = send(&ispring, ENROLLMENT, &body).await;
        assert_eq!(reply.status, status, "{number}: {}", reply.text());
    }
    let achievement = "/haksa/v1/achievements/1539";
    for (number, status) in [("2.0", 200), ("2", 200), ("2.5", 400), ("\"2\"", 400), ("1e300", 400)]
    {
        let body = format!(r#"{{"evidences":[{{"id":{number},"title":"a"}}]}}"#);
        let reply = send(&native, achievement, &body).await;
        assert_eq!(reply.status, status, "{number}: {}", reply.text());
    }
    let orders = r#"{"requirements":[{"type":"b","order":2.0},{"type":"a","order":1.0}]}"#;
    let reply = send(&native, "/haksa/v1/forms/551", orders).await;
    assert_eq!(
        reply.json()["requirements"][0],
        json!({"type": "a", "url": null,
        "description": null, "order": 1})
    );
    // What is kept in any form is kept as it is.
    let layout = r#"{"layout_json":[{"x":1.0,"y":2}]}"#;
    let reply = send(&native, "/haksa/v1/designs/83", layout).await;
    assert!(reply.text().contains(r#""layout_json":[{"x":1.0,"y":2}]"#), "{}", reply.text());
}
