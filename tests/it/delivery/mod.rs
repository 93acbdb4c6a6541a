//! Messages about certificates: their way to a real mail server and to a gateway, and what remains
//! of it in the database.

mod mail;
mod mail_server;
mod messages;
mod program;
mod sms;

use std::time::Duration;

use haksa::config::Config;
use haksa::delivery::worker::{Pace, Worker};
use haksa::domain::actor::Actor;
use haksa::domain::certificate::achievement::{Achievement, IssuanceMethod};
use haksa::domain::certificate::form::Form;
use haksa::domain::command::{self, Command, Context, Create, Decision};
use haksa::domain::delivery::message::Channel;
use haksa::domain::delivery::outbox::{Occasion, Outbox};
use haksa::domain::facts::{Facts, Known};
use haksa::domain::kind::Kind;
use haksa::domain::people::account::Account;
use haksa::domain::record::Record as _;
use haksa::pipeline::{Envelope, Pipeline, Reply};
use serde_json::Value;

use crate::support::Server;

const ADMIN: &str = "demo-admin-key";
/// The demo club.
const ACCOUNT: i64 = 3;
const FORM: i64 = 551;
const HOLDER: i64 = 501;
const NAME: &str = "홍길동";

/// Workers that need not be waited for.
const QUICK: Pace = Pace {
    look_every: Duration::from_millis(20),
    rest_first: Duration::from_millis(50),
    rest_longest: Duration::from_millis(100),
};

/// Issues certificates of the demo form and announces each.
struct Announce {
    outbox: Outbox,
    channel: Channel,
    holder_name: String,
    recipients: Vec<String>,
}

impl Command for Announce {
    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let form = facts.get::<Form>(ACCOUNT, FORM)?;
        let club = facts.get::<Account>(ACCOUNT, ACCOUNT)?;
        let mut decided: Option<Decision> = None;
        for recipient in &self.recipients {
            let key = Achievement::new_key(context, facts)?;
            let achievement = Achievement {
                form_id: FORM,
                person_id: HOLDER,
                certificate_number: format!("SAND-202604-{key:0>6}"),
                issued_at: context.at.into(),
                issuance_method: match self.channel {
                    Channel::Email => IssuanceMethod::Email,
                    Channel::Phone => IssuanceMethod::Phone,
                },
                ..Achievement::default()
            };
            let occasion = Occasion {
                achievement_id: key.as_int().unwrap(),
                achievement: &achievement,
                form: &form.record,
                club: &club.record,
                holder_name: &self.holder_name,
                channel: self.channel,
                recipient,
            };
            let message = self.outbox.message(&occasion, context);
            let create = Create { key: Some(key), created_at: None, record: achievement.clone() };
            let mut one = create.decide(context, facts)?;
            one.writes.push(command::make(message, context, facts)?);
            match &mut decided {
                None => decided = Some(one),
                Some(decided) => decided.writes.extend(one.writes),
            }
        }
        Ok(decided.expect("somebody gets one"))
    }
}

async fn announce_through(pipeline: &Pipeline, command: Announce) -> Vec<i64> {
    let envelope = Envelope::new(Actor::operator(ACCOUNT), "test");
    match pipeline.run(command, envelope).await.expect("it is issued") {
        Reply::Done(outcome, _) => outcome
            .changes
            .iter()
            .filter(|change| change.kind == Kind::Message)
            .map(|change| change.record_id.parse().expect("an id"))
            .collect(),
        other => panic!("{other:?}"),
    }
}

/// Issues a certificate for each recipient; gives the ids of their messages.
async fn announce(server: &Server, channel: Channel, recipients: &[&str]) -> Vec<i64> {
    let mut ids = Vec::new();
    // Each id is a round of loading, of which a decision has so many.
    for recipients in recipients.chunks(4) {
        let command = Announce {
            outbox: server.app.outbox.clone(),
            channel,
            holder_name: NAME.to_owned(),
            recipients: recipients.iter().map(ToString::to_string).collect(),
        };
        ids.extend(announce_through(&server.app.pipeline, command).await);
    }
    ids
}

/// Starts a worker with what is configured.
fn work(server: &Server, config: &Config) -> Worker {
    let senders = haksa::delivery::senders(config).expect("a configuration that leads somewhere");
    Worker::start(&server.app, senders, QUICK)
}

async fn read(server: &Server, id: i64) -> Value {
    let target = format!("/haksa/v1/messages/{id}");
    let reply = server.request("GET", &target).bearer(ADMIN).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// The message, as soon as it is as wanted.
async fn once(server: &Server, id: i64, is_wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..750 {
        let message = read(server, id).await;
        if is_wanted(&message) {
            return message;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it stays {}", read(server, id).await);
}

async fn once_status(server: &Server, id: i64, status: &str) -> Value {
    once(server, id, |message| message["status"] == status).await
}

/// Long enough for a worker to have done what it should not do.
async fn a_while() {
    tokio::time::sleep(QUICK.look_every * 15).await;
}

/// What happened to a message, oldest first: who did it, and which status it left.
async fn history(server: &Server, id: i64) -> Vec<(String, String)> {
    let all = server.history(&format!("message/{id}")).await;
    let mut changes: Vec<_> = all
        .iter()
        .map(|item| {
            let status = item["after"]["status"].as_str().unwrap_or_default();
            (item["actor"].as_str().unwrap().to_owned(), status.to_owned())
        })
        .collect();
    changes.reverse();
    changes
}
