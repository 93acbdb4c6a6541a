//! All changes of an account: by what is asked, page by page, to whom they may be shown.

use haksa::domain::actor::{Actor, Dialect};
use haksa::domain::command::{Command, Create};
use haksa::domain::people::account::Account;
use haksa::domain::people::credential::Credential;
use haksa::domain::record::Key;
use haksa::pipeline::Envelope;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::rights::give_key;
use super::{KEY, get, set};
use crate::support::{Server, on_both_stores};

const CHANGES: &str = "/haksa/v1/changes";

on_both_stores!(
    changes_are_listed_by_what_is_asked,
    a_list_of_changes_comes_in_pages,
    a_page_ends_where_enough_was_looked_through,
    changes_of_another_account_are_not_there,
    changes_are_shown_to_who_may_read_their_kind_everywhere,
    a_question_about_changes_that_makes_no_sense_is_refused,
);

async fn page(server: &Server, key: &str, query: &str) -> Value {
    let reply = server.request("GET", &format!("{CHANGES}?{query}")).bearer(key).send().await;
    assert_eq!(reply.status, 200, "{query}: {}", reply.text());
    reply.json()
}

/// Every page of a list, to the last.
async fn pages(server: &Server, key: &str, query: &str) -> Vec<Vec<Value>> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = page(server, key, &format!("{query}{cursor}")).await;
        all.push(page["items"].as_array().expect("items").clone());
        let Some(next) = page["next"].as_str() else { return all };
        cursor = format!("&cursor={next}");
    }
}

async fn listed(server: &Server, key: &str, query: &str) -> Vec<Value> {
    pages(server, key, query).await.concat()
}

fn ids(changes: &[Value]) -> Vec<i64> {
    changes.iter().map(|change| change["change_id"].as_i64().expect("an id")).collect()
}

/// Edits over two APIs, an act of several changes, and an hour between.
async fn work(server: &Server) {
    set(server, json!({"level": 1})).await;
    server.clock.advance(SignedDuration::from_hours(1));
    let class = server.request("PATCH", "/partner/7/classes/11").bearer("demo-partner-token");
    let class = class.header("x-request-id", "of-a-class").json(&json!({"capacity": 9}));
    assert_eq!(class.send().await.status, 200);
    let redeem = server.request("POST", "/user/class/invites/redeem").bearer("demo-student-token");
    assert_eq!(redeem.json(&json!({"code": "ABC234"})).send().await.status, 201);
    server.clock.advance(SignedDuration::from_hours(1));
    set(server, json!({"level": 2})).await;
}

/// Whether a change belongs into a list.
type IsAsked<'a> = &'a dyn Fn(&Value) -> bool;

async fn changes_are_listed_by_what_is_asked(server: Server) {
    work(&server).await;
    let all = listed(&server, KEY, "limit=100").await;
    assert!(ids(&all).is_sorted_by(|one, next| one > next), "{:?}", ids(&all));
    for change in all.iter().take(9) {
        let target = format!("{CHANGES}/{}", change["change_id"]);
        assert_eq!(get(&server, &target).send().await.json(), *change);
    }
    let redeemed = all.iter().find(|change| change["actor"].as_str().unwrap().contains("person"));
    let act = &redeemed.expect("a redemption")["act_id"];
    let at = |change: &Value| change["at"].as_str().unwrap().to_owned();
    let hour = |change: &Value| at(change)[11..13].to_owned();
    let is = |name: &'static str, value: Value| move |change: &Value| change[name] == value;
    let cases: [(String, IsAsked<'_>); 9] = [
        ("kind=achievement".to_owned(), &is("kind", json!("achievement"))),
        ("actor=credential:1".to_owned(), &is("actor", json!("credential:1"))),
        ("dialect=partner".to_owned(), &is("dialect", json!("partner"))),
        ("request_id=of-a-class".to_owned(), &is("request_id", json!("of-a-class"))),
        (format!("act_id={act}"), &is("act_id", act.clone())),
        ("from=2026-04-23T10:15:30Z".to_owned(), &|change| *at(change) >= *"2026-04-23T10:15:30Z"),
        ("to=2026-04-23T19:15:30%2B09:00".to_owned(), &|change| hour(change) == "09"),
        ("from=2026-04-23T10:00:00Z&to=2026-04-23T11:00:00Z".to_owned(), &|change| {
            hour(change) == "10"
        }),
        ("kind=class&dialect=partner&from=2026-04-23T10:15:30Z".to_owned(), &|change| {
            change["request_id"] == "of-a-class"
        }),
    ];
    for (query, is_asked) in cases {
        let expected: Vec<Value> = all.iter().filter(|change| is_asked(change)).cloned().collect();
        assert!(!expected.is_empty() && expected.len() < all.len(), "{query}: {}", expected.len());
        assert_eq!(listed(&server, KEY, &format!("{query}&limit=2")).await, expected, "{query}");
    }
    // An act is called by its first change, and one change alone by its own.
    let own = listed(&server, KEY, &format!("act_id={}", all[0]["change_id"])).await;
    assert_eq!(own, [all[0].clone()]);
    let of_act = all.iter().find(|change| change["act_id"] == *act).expect("its last");
    for query in [
        format!("act_id={}", of_act["change_id"]),
        "act_id=9223372036854775807".to_owned(),
        "actor=nobody".to_owned(),
        "actor=credential:1%00".to_owned(),
        "request_id=%27%20OR%201=1".to_owned(),
        "to=2020-01-01T00:00:00Z".to_owned(),
    ] {
        assert_eq!(listed(&server, KEY, &query).await, [Value::Null; 0], "{query}");
    }
    server.assert_sound().await;
}

async fn a_list_of_changes_comes_in_pages(server: Server) {
    work(&server).await;
    let all = listed(&server, KEY, "limit=100").await;
    let pages = pages(&server, KEY, "limit=7").await;
    assert!(pages.iter().rev().skip(1).all(|page| page.len() == 7));
    assert!(pages.last().is_some_and(|page| !page.is_empty()), "the end is told of in time");
    assert_eq!(pages.concat(), all);
    assert_eq!(page(&server, KEY, "").await["items"].as_array().unwrap().len(), 50);
    // A cursor is a place among all changes: one that nobody was given opens nothing.
    let everything = ids(&all);
    for cursor in [1, everything[5], everything[5] + 1, i64::MAX] {
        let found = listed(&server, KEY, &format!("limit=100&cursor={cursor}")).await;
        let older: Vec<i64> = everything.iter().copied().filter(|id| *id < cursor).collect();
        assert_eq!(ids(&found), older, "{cursor}");
    }
}

async fn a_page_ends_where_enough_was_looked_through(server: Server) {
    work(&server).await;
    let all = listed(&server, KEY, "limit=100").await;
    let busy = "account_id, kind, record_id, version, at, actor, dialect, request_id, action, \
                before, after";
    let row = "1000000 + n, 9, 'form', '1', 1, 1, 'operator', 'native', '', 'create', 'null', '{}'";
    server
        .spoil(&format!(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers \
             WHERE n < 60000) INSERT INTO change (id, {busy}) SELECT {row} FROM numbers"
        ))
        .await;
    let first = page(&server, KEY, "").await;
    assert_eq!(first, json!({"items": [], "next": "1010001"}));
    let second = page(&server, KEY, "cursor=1010001").await;
    assert_eq!(second, json!({"items": [], "next": "960001"}));
    assert_eq!(listed(&server, KEY, "limit=100").await, all);
    // Of an act it is known where it begins and ends.
    let act = page(&server, KEY, &format!("act_id={}", all[0]["change_id"])).await;
    assert_eq!(act, json!({"items": [all[0]], "next": null}));
}

async fn changes_of_another_account_are_not_there(server: Server) {
    let run = async |command: Box<dyn Command>| {
        let envelope = Envelope::new(Actor::operator(5), "test");
        server.app.pipeline.run(command, envelope).await.expect("accepted");
    };
    let account = Account { name: "새 학원".to_owned(), ..Account::default() };
    let key = Some(Key::Int(5));
    run(Box::new(Create { key, created_at: None, record: account })).await;
    let other = Credential {
        secret_hash: Some(hex::encode(haksa::vault::hash_token("other"))),
        policies: vec!["*".to_owned()],
        ..Credential::new(Dialect::Native, "other")
    };
    run(Box::new(Create::new(other))).await;
    work(&server).await;

    let theirs = listed(&server, "other", "").await;
    let kinds: Vec<&str> = theirs.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["credential", "account"]);
    let ours = listed(&server, KEY, "limit=100").await;
    assert!(ours.len() > 20);
    let their_ids = ids(&theirs);
    assert!(ids(&ours).iter().all(|id| !their_ids.contains(id)));
    let newest = &ours[0];
    for query in [
        format!("act_id={}", newest["act_id"]),
        format!("request_id={}", newest["request_id"].as_str().unwrap()),
        "kind=achievement".to_owned(),
    ] {
        assert_eq!(listed(&server, "other", &query).await, [Value::Null; 0], "{query}");
    }
    let beyond = listed(&server, "other", &format!("cursor={}", newest["change_id"])).await;
    assert_eq!(beyond, theirs);
}

async fn changes_are_shown_to_who_may_read_their_kind_everywhere(server: Server) {
    work(&server).await;
    for (key, rights) in [
        ("two", &["read:achievement", "*:class", "edit:form"][..]),
        ("none", &["edit:achievement", "create:class"]),
        ("reads", &["read:*"]),
    ] {
        give_key(&server, key, rights).await;
    }
    let all = listed(&server, KEY, "limit=100").await;
    assert_eq!(listed(&server, "reads", "limit=100").await, all);
    let is_theirs =
        |change: &&Value| ["achievement", "class"].contains(&change["kind"].as_str().unwrap());
    let theirs: Vec<Value> = all.iter().filter(is_theirs).cloned().collect();
    assert!(theirs.len() > 2 && theirs.len() < all.len());
    assert_eq!(listed(&server, "two", "limit=100").await, theirs);
    for (key, query) in [("two", "?kind=form"), ("none", ""), ("none", "?kind=class")] {
        let reply = server.request("GET", &format!("{CHANGES}{query}")).bearer(key).send().await;
        assert_eq!(reply.status, 403, "{key} {query}: {}", reply.text());
    }
    let reply = server.request("GET", CHANGES).bearer("nobody").send().await;
    assert_eq!(reply.status, 401);
}

async fn a_question_about_changes_that_makes_no_sense_is_refused(server: Server) {
    for (query, field) in [
        ("kind=nothing", "kind"),
        ("kind=", "kind"),
        ("dialect=Kolleges", "dialect"),
        ("actor=", "actor"),
        ("request_id=", "request_id"),
        ("act_id=0", "act_id"),
        ("act_id=x", "act_id"),
        ("from=yesterday", "from"),
        ("to=2026-04-23", "to"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=0", "cursor"),
        ("cursor=-1", "cursor"),
        ("cursor=x", "cursor"),
        ("cursor=99999999999999999999", "cursor"),
    ] {
        let reply = get(&server, &format!("{CHANGES}?{query}")).send().await;
        assert_eq!(reply.status, 400, "{query}: {}", reply.text());
        assert_eq!(reply.json()["errors"][0]["field"], field, "{query}");
    }
    let reply = get(&server, &format!("{CHANGES}?kind=x&actor=&to=x")).send().await;
    assert_eq!(reply.json()["errors"].as_array().unwrap().len(), 3);
}
