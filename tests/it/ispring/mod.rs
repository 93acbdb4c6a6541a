//! The iSpring dialect: the contract's vectors, who may do what where, hostile bodies, tokens, and
//! what every edit gains.

mod access;
mod additions;
mod edit;
mod token;
mod wire;

use std::sync::Arc;

use haksa::domain::actor::Actor;
use haksa::domain::change::Action;
use haksa::domain::command::{Command, Context, Decision};
use haksa::domain::facts::{Facts, Known};
use haksa::domain::kind::Kind;
use haksa::domain::learning::course::Course;
use haksa::domain::learning::enrollment::Enrollment;
use haksa::domain::record::Key;
use haksa::pipeline::Envelope;
use serde_json::Value;

use crate::support::{Reply, Request, Server};

const E1: &str = "d48bd4fa-5b70-11e9-b12b-22e9fbac4a59";
const E2: &str = "5f0c2b9e-0000-4000-8000-0000000000e2";
const E3: &str = "5f0c2b9e-0000-4000-8000-0000000000e3";
const E4: &str = "5f0c2b9e-0000-4000-8000-0000000000e4";
/// The other account's.
const EX: &str = "5f0c2b9e-0000-4000-8000-0000000000e9";
const D1: &str = "5f0c2b9e-0000-4000-8000-0000000000d1";
const D3: &str = "5f0c2b9e-0000-4000-8000-0000000000d3";
const DOCUMENTED: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<request>
\t<accessDate>2019-09-26</accessDate>
\t<dueDateType>unlimited</dueDateType>
\t<dueDate>2019-09-26 10:30:00</dueDate>
\t<duePeriod>0</duePeriod>
\t<lockAfterDueDate>true</lockAfterDueDate>
</request>";

fn token(caller: &str) -> String {
    format!("demo-ispring-{caller}-token")
}

fn post(server: &Server, caller: &str, id: &str, body: &str) -> Request {
    server
        .request("POST", &format!("/enrollment/{id}"))
        .header("authorization", token(caller))
        .header("content-type", "application/xml")
        .body(body.to_owned())
}

fn get(server: &Server, caller: &str, id: &str) -> Request {
    server.request("GET", &format!("/enrollment/{id}")).header("authorization", token(caller))
}

/// A body of these fields.
fn x(fields: &[(&str, &str)]) -> String {
    let inner = fields.iter().map(|(name, value)| format!("<{name}>{value}</{name}>"));
    format!("<request>{}</request>", inner.collect::<Vec<_>>().concat())
}

async fn read(server: &Server, id: &str) -> Value {
    let reply = get(server, "OWN", id).header("accept", "application/json").send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// The effective due date, which the wire shows without its time of day.
async fn due(server: &Server, id: &str) -> Option<String> {
    let due = server.app.store.read(|facts| {
        let enrollment = facts.get::<Enrollment>(3, id)?.record;
        let course = facts.find::<Course>(3, enrollment.course_id)?.map(|course| course.record);
        Ok(enrollment.due(course.as_deref()))
    });
    due.await.unwrap().map(|due| due.at.to_string())
}

fn assert_edited(reply: &Reply) {
    assert_eq!(reply.text(), "");
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-length"), "0");
}

fn assert_refused(reply: &Reply, status: u16, message: &str) {
    assert_eq!(
        reply.text(),
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><response><code>{status}</code>\
             <message>{message}</message></response>"
        )
    );
    assert_eq!(reply.status, status);
    assert_eq!(reply.header("content-type"), "application/xml; charset=utf-8");
}

fn assert_wrong(reply: &Reply) {
    assert_refused(reply, 400, "Wrong parameters");
}

fn assert_unauthorized(reply: &Reply) {
    assert_refused(reply, 401, "Authorization failed");
    assert_eq!(reply.header("www-authenticate"), "Bearer");
}

/// Sets fields of any record, past the rules, as an operator of account 3.
struct Set(Kind, Key, Value);

impl Command for Set {
    fn decide(&self, _context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let Self(kind, key, fields) = self;
        let before = facts.document(*kind, key)?.expect("the record is there");
        let mut all = before.fields()?.values();
        all.extend(fields.as_object().expect("fields").clone());
        let after = before.with(all)?;
        Ok(Decision::write(Action::Edit, Some(Arc::clone(&before)), after))
    }
}

async fn set(server: &Server, kind: Kind, key: impl Into<Key>, fields: Value) {
    let envelope = Envelope::new(Actor::operator(3), "test");
    server.app.pipeline.run(Set(kind, key.into(), fields), envelope).await.expect("it is set");
}
