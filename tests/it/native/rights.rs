//! What a key may see of what it may change, and what no key may take back.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::KEY;
use crate::support::{Request, Server, on_both_stores};
use haksa::domain::actor::{Actor, Dialect};
use haksa::domain::change::Action;
use haksa::domain::command::{Command, Context, Create, Decision, Edit, Expected};
use haksa::domain::error::Error;
use haksa::domain::facts::{Facts, Known};
use haksa::domain::kind::Kind;
use haksa::domain::patch::Patch;
use haksa::domain::people::credential::{Credential, CredentialEdit};
use haksa::domain::people::throttle::Throttle;
use haksa::domain::record::Document;
use haksa::pipeline::{Envelope, Reply};

on_both_stores!(
    an_answer_shows_what_the_caller_may_read,
    a_revocation_is_for_good,
    a_removed_credential_does_not_come_back,
    a_life_that_was_shortened_stays_short,
    guesses_are_nobodys_to_take_back,
);

/// Gives the demo account a key of this dialect; gives the credential's id.
pub(super) async fn give_key(server: &Server, key: &str, rights: &[&str]) -> i64 {
    let credential = Credential {
        secret_hash: Some(hex::encode(haksa::vault::hash_token(key))),
        policies: rights.iter().map(ToString::to_string).collect(),
        ..Credential::new(Dialect::Native, key)
    };
    let envelope = Envelope::new(Actor::operator(3), "test");
    let made = server.app.pipeline.run(Create::new(credential), envelope).await;
    let Reply::Done(outcome, _) = made.expect("a credential") else { panic!("not run") };
    outcome.subject.meta.key.as_int().expect("an id")
}

fn names(body: &Value) -> Vec<&str> {
    body.as_object().expect("an object").keys().map(String::as_str).collect()
}

async fn an_answer_shows_what_the_caller_may_read(server: Server) {
    let new_design = json!({"design_type": "badge", "name": "새", "template_type": "t"});
    let new_model = json!({"provider": "alpha", "model_name": "one"});
    for (right, kind, method, target, body) in [
        ("edit", "achievement", "PATCH", "achievements/1539", json!({"nft_token": "0xabc"})),
        ("edit", "form", "PATCH", "forms/551", json!({"requirements": []})),
        ("edit", "design", "PATCH", "designs/165", json!({"name": "다른"})),
        ("edit", "account", "PATCH", "account", json!({"club_type": "academy"})),
        ("edit", "model", "PATCH", "models/1", json!({"default_pricing": {"in": 1}})),
        ("create", "design", "POST", "designs", new_design),
        ("create", "model", "POST", "models", new_model),
    ] {
        let case = format!("{right}:{kind}");
        give_key(&server, &case, &[&case]).await;
        let target = format!("/haksa/v1/{target}");
        let send = |key: &str, body: &Value| -> Request {
            server.request(method, &target).bearer(key).json(body)
        };
        let dry = send(&case, &body).header("haksa-dry-run", "true").send().await;
        assert!(dry.status < 300, "{case}: {}", dry.text());
        assert_eq!(names(&dry.json()), ["id", "version"], "{case}");
        let first = send(&case, &body).header("idempotency-key", &*case).send().await;
        let tag = format!("\"{}\"", first.json()["version"]);
        assert_eq!((names(&first.json()), first.header("etag")), (vec!["id", "version"], &*tag));
        let again = send(&case, &body).header("idempotency-key", &*case).send().await;
        assert_eq!((again.status, again.body), (first.status, first.body.clone()), "{case}");
        if right == "edit" {
            let nothing = send(&case, &json!({})).send().await;
            assert_eq!((nothing.status, nothing.body), (200, first.body.clone()), "{case}");
            assert_eq!(server.request("GET", &target).bearer(&case).send().await.status, 403);
        }
        // Who may read sees it whole, as before.
        let (both, read) = (format!("both {case}"), format!("read:{kind}"));
        give_key(&server, &both, &[&case, &read]).await;
        let whole = if right == "edit" { json!({}) } else { body.clone() };
        let whole = send(&both, &whole).header("haksa-dry-run", "true").send().await;
        if kind == "model" && right == "create" {
            assert_eq!(whole.status, 409, "there is one of that name");
        } else {
            assert!(names(&whole.json()).len() > 5, "{case}: {}", whole.text());
        }
        if right == "edit" {
            let seen = server.request("GET", &target).bearer(KEY).send().await;
            assert_eq!(whole.json(), seen.json(), "{case}");
        }
    }
    server.assert_sound().await;
}

/// Edits a credential of the demo account as the operator does.
async fn edit(server: &Server, id: i64, edit: CredentialEdit) -> Result<Reply, Error> {
    let command = Edit::<Credential> { key: id.into(), edit, expected: Expected::Any };
    let envelope = Envelope::new(Actor::operator(3), "test");
    server.app.pipeline.run(command, envelope).await
}

/// The newest change of a credential.
async fn newest(server: &Server, id: i64) -> Value {
    server.history(&format!("credential/{id}")).await[0].clone()
}

async fn status(server: &Server, key: &str) -> u16 {
    server.request("GET", "/haksa/v1/account").bearer(key).send().await.status
}

async fn a_revocation_is_for_good(server: Server) {
    let id = give_key(&server, "victim", &["*"]).await;
    // What opens nothing may be taken back.
    let label = Patch::Value("renamed".to_owned());
    edit(&server, id, CredentialEdit { label, ..<_>::default() }).await.expect("accepted");
    assert_eq!(server.undo(&newest(&server, id).await).send().await.status, 200);
    assert_eq!(status(&server, "victim").await, 200);
    let now = server.clock.now();
    let (label, revoked_at) = (Patch::Value("gone".to_owned()), Patch::Value(now));
    edit(&server, id, CredentialEdit { label, revoked_at }).await.expect("accepted");
    assert_eq!(status(&server, "victim").await, 401);
    let revocation = newest(&server, id).await;
    for dry in ["true", "false"] {
        let reply = server.undo(&revocation).header("haksa-dry-run", dry).send().await;
        assert_eq!(reply.status, 400, "{}", reply.text());
        let error = reply.json()["errors"][0].clone();
        assert_eq!((&error["field"], &error["code"]), (&json!("revoked_at"), &json!("final")));
        assert_eq!(status(&server, "victim").await, 401);
    }
    // Nor by an edit, nor is the time of it moved.
    for revoked_at in [Patch::Null, Patch::Value(server.clock.now())] {
        let _ = edit(&server, id, CredentialEdit { revoked_at, ..<_>::default() }).await;
        assert_eq!(newest(&server, id).await, revocation);
    }
    server.assert_sound().await;
}

async fn a_removed_credential_does_not_come_back(server: Server) {
    let id = give_key(&server, "victim", &["*"]).await;
    let removed = server.undo(&newest(&server, id).await).send().await;
    assert_eq!((removed.status, &removed.json()["action"]), (200, &json!("delete")));
    assert_eq!(status(&server, "victim").await, 401);
    let reply = server.undo(&removed.json()).send().await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert_eq!(reply.json()["errors"][0]["code"], "final");
    assert_eq!(status(&server, "victim").await, 401);
    server.assert_sound().await;
}

/// Sets when a credential ends, which no command does so far.
struct End(i64, Timestamp);

impl Command for End {
    fn decide(&self, _context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let before = facts.document(Kind::Credential, &self.0.into())?.expect("it is there");
        let stored = before.typed::<Credential>()?;
        let ending = Credential { expires_at: Some(self.1), ..Credential::clone(&stored.record) };
        let after = Document::of(stored.meta, ending);
        Ok(Decision::write(Action::Edit, Some(Arc::clone(&before)), after))
    }
}

async fn a_life_that_was_shortened_stays_short(server: Server) {
    let id = give_key(&server, "victim", &["*"]).await;
    let now = server.clock.now();
    for hours in [2, 1] {
        let end = End(id, now + SignedDuration::from_hours(hours));
        let envelope = Envelope::new(Actor::operator(3), "test");
        server.app.pipeline.run(end, envelope).await.expect("accepted");
        let reply = server.undo(&newest(&server, id).await).send().await;
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert_eq!(reply.json()["errors"][0]["field"], "expires_at");
    }
    assert_eq!(status(&server, "victim").await, 200);
    server.clock.advance(SignedDuration::from_hours(1));
    assert_eq!(status(&server, "victim").await, 401);
}

/// The key of the count of guesses at a person's password.
const COUNT: &str = "3/password/person/101";

/// Deletes a count or brings it back, which no command does.
struct Move(Action);

impl Command for Move {
    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let before = facts.document(Kind::Throttle, &COUNT.into())?.expect("it is there");
        let mut after = Document::clone(&before);
        after.meta.deleted_at = (self.0 == Action::Delete).then_some(context.at);
        Ok(Decision::write(self.0, Some(before), after))
    }
}

async fn guesses_are_nobodys_to_take_back(server: Server) {
    let guess = || {
        let body = json!({"email": "doyun@example.com", "password": "demo-guess"});
        server.request("POST", "/user/login").json(&body).send()
    };
    let counted = async || {
        let found = server.app.store.read(|facts| facts.get::<Throttle>(3, COUNT));
        found.await.expect("a count").record.count
    };
    let record = format!("throttle/{}", COUNT.replace('/', "%2F"));
    give_key(&server, "for-counts", &["*:throttle"]).await;
    for guesses in 1..=3 {
        assert_eq!(guess().await.status, 401);
        let changes = server.history(&record).await;
        for change in &changes {
            assert_eq!(
                (&change["actor"], &change["dialect"]),
                (&json!("worker"), &json!("partner"))
            );
            for key in [KEY, "for-counts"] {
                let undo = format!("/haksa/v1/changes/{}/undo", change["change_id"]);
                let reply = server.request("POST", &undo).bearer(key).send().await;
                assert_eq!(reply.status, 409, "{}", reply.text());
            }
        }
        let newest = server.undo(&changes[0]).send().await;
        assert_eq!(newest.json()["conflicts"], json!(["count"]), "{}", newest.text());
        assert_eq!((changes.len(), counted().await), (guesses, guesses.try_into().unwrap()));
    }
    // However it came about.
    for action in [Action::Delete, Action::Restore] {
        let envelope = Envelope::new(Actor::operator(3), "test");
        server.app.pipeline.run(Move(action), envelope).await.expect("accepted");
        let newest = server.undo(&server.history(&record).await[0]).send().await;
        assert_eq!(newest.json()["conflicts"], json!(["count"]), "{}", newest.text());
    }
    server.assert_sound().await;
}
