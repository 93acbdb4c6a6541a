//! E-mail.

use std::collections::BTreeMap;
use std::time::Duration;

use haksa::config::Config;
use haksa::domain::delivery::message::Channel;
use haksa::vault::Secret;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::mail_server::MailServer;
use super::{NAME, QUICK, a_while, announce, history, once, once_status, read, work};
use crate::support::{Backend, Server, new_postgres_database, on_both_stores};

on_both_stores!(
    a_certificate_is_announced,
    a_transient_refusal_is_tried_again,
    a_permanent_refusal_is_final,
    a_server_that_is_away_delays,
    an_attempt_that_is_cut_off_is_not_repeated,
    without_a_mail_server_mail_is_held,
    a_password_is_used_and_never_shown,
    a_stop_waits_for_the_answer,
    what_a_club_issues_arrives,
    one_that_cannot_be_read_keeps_no_other,
    what_cannot_be_read_holds_up_nobody,
    one_message_does_not_wait_for_thousands_of_another_club,
    a_slow_attempt_holds_up_nobody,
    an_outcome_is_recorded_however_often_that_is_refused,
    an_outcome_is_recorded_before_a_stop,
    a_domain_beyond_ascii_is_written_as_mail_servers_call_it,
    no_name_ends_a_line_on_its_own,
);

/// A server that knows of the mail server when it issues, beside the one that the macro starts.
async fn knowing(server: &Server, config: Config) -> Server {
    let backend = match &server.app.store {
        haksa::store::Store::Sqlite(_) => Backend::Sqlite,
        haksa::store::Store::Postgres(_) => Backend::Postgres,
    };
    Server::start_with(backend, config).await
}

async fn a_certificate_is_announced(server: Server) {
    let mut mails = MailServer::start().await;
    let server = knowing(&server, mails.config()).await;
    let id = announce(&server, Channel::Email, &["hong@example.com"]).await[0];
    let waiting = read(&server, id).await;
    assert_eq!(waiting["status"], "waiting");
    let worker = work(&server, &mails.config());
    let mail = mails.next().await;
    let message = once_status(&server, id, "sent").await;

    let number = format!("SAND-202604-{:0>6}", message["achievement_id"].as_i64().unwrap());
    assert_eq!(mail["from"], "cert@hanbit.example");
    assert_eq!(mail["to"], json!(["hong@example.com"]));
    let headers = &mail["headers"];
    assert_eq!(headers["from"], "한빛학원 <cert@hanbit.example>");
    assert_eq!(headers["to"], "홍길동 <hong@example.com>");
    let subject = headers["subject"].as_str().unwrap();
    assert!(subject.contains("프로그래밍 기초 과정 수료증 인증서가 발급되었습니다"), "{subject}");
    assert_eq!(headers["subject"], message["subject"]);
    assert_eq!(headers["auto-submitted"], "auto-generated");
    assert_eq!(headers["date"], "Thu, 23 Apr 2026 09:15:30 +0000");
    let reference = message["reference"].as_str().unwrap();
    assert_eq!(headers["message-id"], format!("<{reference}@hanbit.example>"));
    let text = mail["text"].as_str().unwrap().replace("\r\n", "\n");
    assert_eq!(text.trim_end(), message["body"].as_str().unwrap());
    assert!(text.starts_with("홍길동님, 안녕하세요.\n"), "{text}");
    assert!(text.contains(&format!("인증서 번호: {number}\n")), "{text}");
    assert!(text.contains("발급일: 2026-04-23\n"), "{text}");
    // Old servers pass on seven bits only.
    assert!(mail["raw"].as_str().unwrap().is_ascii());

    assert_eq!(message["attempt_count"], 1);
    assert_eq!(message["due_at"], Value::Null);
    assert_eq!(message["sent_at"], "2026-04-23T09:15:30Z");
    assert_eq!(message["provider_message_id"], "2.0.0 queued as 4ABC123");
    let steps = [("operator", "waiting"), ("worker", "sending"), ("worker", "sent")];
    let steps = steps.map(|(who, status)| (who.to_owned(), status.to_owned()));
    assert_eq!(history(&server, id).await, steps);
    a_while().await;
    assert_eq!(mails.rest(), [Value::Null; 0]);
    worker.stop().await;
    server.assert_sound().await;
}

async fn one_that_cannot_be_read_keeps_no_other(server: Server) {
    let mut mails = MailServer::start().await;
    let recipients = ["one@example.com", "two@example.com", "three@example.com"];
    let ids = announce(&server, Channel::Email, &recipients).await;
    server.spoil(&format!("UPDATE message SET body = '{{' WHERE id = {}", ids[0])).await;
    // A server that has it in memory would not notice.
    let server = Server::start_on(&server.url).await;
    let worker = work(&server, &mails.config());
    for id in &ids[1..] {
        mails.next().await;
        once_status(&server, *id, "sent").await;
    }
    worker.stop().await;
}

/// The documented request, more recipients than one batch takes, and two certificates for one of them.
async fn what_a_club_issues_arrives(server: Server) {
    let mut mails = MailServer::start().await;
    let server = knowing(&server, mails.config()).await;
    let worker = work(&server, &mails.config());
    let user =
        |n: usize| json!({"name": format!("수강생 {n}"), "email": format!("p{n}@example.com")});
    let mut users: Vec<Value> = (0..60).map(user).collect();
    users.push(user(0));
    let issue = async |body: Value| {
        let request = server.request("POST", "/open-api/achievements/issue");
        request.bearer("demo-kolleges-key").json(&body).send().await.status
    };
    let by_email =
        |users: Value| json!({"achievementFormId": 551, "mode": "email", "users": users});
    assert_eq!(issue(by_email(json!(users))).await, 201);
    users[7]["email"] = json!("no address");
    assert_eq!(issue(by_email(json!(users))).await, 400);

    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for _ in 0..61 {
        let mail = mails.next().await;
        let to = mail["to"][0].as_str().unwrap().to_owned();
        let text = mail["text"].as_str().unwrap();
        let (_, rest) = text.split_once("인증서 번호: ").expect("a number");
        told.entry(to).or_default().push(rest[..19].trim().to_owned());
    }
    a_while().await;
    assert_eq!(mails.rest(), [Value::Null; 0], "a refused request tells nobody");
    assert_eq!(told.len(), 60);
    assert_eq!(told["p0@example.com"].len(), 2);
    for (email, mut numbers) in told {
        let target = format!("/open-api/achievements?search={email}");
        let found = server.request("GET", &target).bearer("demo-kolleges-key").send().await.json();
        let found = found["achievements"].as_array().unwrap();
        let number = |one: &Value| one["certificate_number"].as_str().unwrap().to_owned();
        let mut shown: Vec<String> = found.iter().map(number).collect();
        shown.sort();
        numbers.sort();
        assert_eq!(shown, numbers, "{email}");
    }
    worker.stop().await;
    server.assert_sound().await;
}

/// The next so many mails, each within moments: far sooner than somebody waits for a lock.
async fn soon(mails: &mut MailServer, count: usize) {
    for _ in 0..count {
        let mail = tokio::time::timeout(Duration::from_secs(3), mails.next()).await;
        let mail = mail.expect("a mail soon");
        assert!(mail["to"][0].as_str().unwrap().starts_with("good"), "{mail}");
    }
}

fn named(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name}{n}@example.com")).collect()
}

async fn announce_to(server: &Server, recipients: &[String]) -> Vec<i64> {
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    announce(server, Channel::Email, &recipients).await
}

/// More than a page of them.
async fn what_cannot_be_read_holds_up_nobody(server: Server) {
    let mut mails = MailServer::start().await;
    let spoilt = announce_to(&server, &named("bad", 120)).await;
    server.spoil("UPDATE message SET body = '{'").await;
    // A server that has them in memory would not notice.
    let server = Server::start_on(&server.url).await;
    let worker = work(&server, &mails.config());
    for _ in 0..2 {
        let good = announce_to(&server, &named("good", 3)).await;
        soon(&mut mails, 3).await;
        for id in good {
            once_status(&server, id, "sent").await;
        }
    }
    // They stay what they were, and are tried again.
    let ids = format!("id <= {}", spoilt[119]);
    let mended =
        json!({"recipient": "good@example.com", "reference": "an-earlier-message", "body": "x"});
    let mended = format!("UPDATE message SET body = '{mended}' WHERE {ids}");
    server.spoil(&mended).await;
    soon(&mut mails, 120).await;
    worker.stop().await;
}

/// Issues certificates of a form by e-mail.
async fn issue(server: &Server, key: &str, form: i64, recipients: &[String]) {
    let user = |email: &String| json!({"name": NAME, "email": email});
    let users: Vec<Value> = recipients.iter().map(user).collect();
    let body = json!({"achievementFormId": form, "mode": "email", "users": users});
    let request = server.request("POST", "/open-api/achievements/issue").bearer(key);
    let reply = request.json(&body).send().await;
    assert_eq!(reply.status, 201, "{}", reply.text());
}

async fn one_message_does_not_wait_for_thousands_of_another_club(server: Server) {
    let mut mails = MailServer::start().await;
    let server = knowing(&server, mails.config()).await;
    issue(&server, "demo-kolleges-key", 551, &named("many", 3_000)).await;
    issue(&server, "demo-kolleges-other-key", 9000, &["one@example.com".to_owned()]).await;
    let worker = work(&server, &mails.config());
    let mut before = 0;
    while mails.next().await["to"][0] != "one@example.com" {
        before += 1;
    }
    assert!(before <= 8, "after {before} of the other club's");
    // The same for one that comes while the others are on their way.
    issue(&server, "demo-kolleges-other-key", 9000, &["another@example.com".to_owned()]).await;
    before = mails.rest().len();
    while mails.next().await["to"][0] != "another@example.com" {
        before += 1;
    }
    assert!(before < 1_000, "after {before} of the other club's");
    worker.abort().await;
}

async fn a_slow_attempt_holds_up_nobody(server: Server) {
    let mut mails = MailServer::start().await;
    announce_to(&server, &["slow@example.com".to_owned()]).await;
    let worker = work(&server, &mails.config());
    mails.next().await;
    for _ in 0..3 {
        announce_to(&server, &named("good", 5)).await;
        soon(&mut mails, 5).await;
    }
    worker.abort().await;
}

/// What keeps a message from being `sent`, and its end.
fn refusing(server: &Server) -> (&str, &str) {
    if server.url.starts_with("sqlite:") {
        (
            "CREATE TRIGGER refuse BEFORE UPDATE ON message WHEN new.status = 'sent' \
             BEGIN SELECT RAISE(ABORT, 'refused'); END",
            "DROP TRIGGER refuse",
        )
    } else {
        (
            "ALTER TABLE message ADD CONSTRAINT refuse CHECK (status <> 'sent')",
            "ALTER TABLE message DROP CONSTRAINT refuse",
        )
    }
}

async fn an_outcome_is_recorded_however_often_that_is_refused(server: Server) {
    let mut mails = MailServer::start().await;
    let (refuse, let_be) = refusing(&server);
    server.spoil(refuse).await;
    let ids = announce_to(&server, &named("good", 9)).await;
    let worker = work(&server, &mails.config());
    soon(&mut mails, 9).await;
    // Far longer than a fault of a moment.
    tokio::time::sleep(Duration::from_secs(7)).await;
    for id in &ids {
        assert_eq!(read(&server, *id).await["status"], "sending");
    }
    server.spoil(let_be).await;
    for id in ids {
        assert_eq!(once_status(&server, id, "sent").await["attempt_count"], 1);
    }
    assert_eq!(mails.rest(), [Value::Null; 0]);
    worker.stop().await;
    server.assert_sound().await;
}

async fn an_outcome_is_recorded_before_a_stop(server: Server) {
    let mut mails = MailServer::start().await;
    let (refuse, let_be) = refusing(&server);
    server.spoil(refuse).await;
    let id = announce_to(&server, &named("good", 1)).await[0];
    let worker = work(&server, &mails.config());
    soon(&mut mails, 1).await;
    let stopping = tokio::spawn(worker.stop());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!stopping.is_finished());
    server.spoil(let_be).await;
    let stopped = tokio::time::timeout(Duration::from_secs(3), stopping).await;
    stopped.expect("at once").expect("no panic");
    assert_eq!(read(&server, id).await["status"], "sent");
}

/// More of them than are on their way at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_somebody_holds_hold_up_nobody() {
    let server = Server::start(Backend::Postgres).await;
    let mut mails = MailServer::start().await;
    let held = announce_to(&server, &named("held", 9)).await;
    let mut outsider = server.outsider().await;
    let lock = outsider.transaction().await.expect("a transaction");
    let text = "SELECT 1 FROM message WHERE id <= $1 FOR UPDATE";
    lock.execute(text, &[&held[8]]).await.expect("it");
    let worker = work(&server, &mails.config());
    let begun = std::time::Instant::now();
    // While they are waited for, and after that was given up.
    while begun.elapsed() < Duration::from_secs(8) {
        announce_to(&server, &named("good", 3)).await;
        soon(&mut mails, 3).await;
    }
    lock.rollback().await.expect("let go");
    for _ in 0..9 {
        let mail = mails.next().await;
        assert!(mail["to"][0].as_str().unwrap().starts_with("held"), "{mail}");
    }
    for id in held {
        assert_eq!(once_status(&server, id, "sent").await["attempt_count"], 1);
    }
    worker.stop().await;
    server.assert_sound().await;
}

async fn a_transient_refusal_is_tried_again(server: Server) {
    let mut mails = MailServer::start().await;
    let recipients = ["later@example.com", "busy@example.com"];
    let ids = announce(&server, Channel::Email, &recipients).await;
    let worker = work(&server, &mails.config());
    for (id, code) in ids.iter().zip(["451", "452"]) {
        let is_back = |m: &Value| m["status"] == "waiting" && m["attempt_count"] == 1;
        let message = once(&server, *id, is_back).await;
        let error = message["last_error"].as_str().unwrap();
        assert!(error.contains(code), "{error}");
        let due: Timestamp = message["due_at"].as_str().unwrap().parse().unwrap();
        let pause = due.duration_since(server.clock.now()).as_millis();
        assert!((15_000..=30_000).contains(&pause), "{due}");
    }
    a_while().await;
    assert_eq!(mails.rest(), [Value::Null; 0], "not before it is due");
    server.clock.advance(SignedDuration::from_secs(31));
    for id in &ids {
        let message = once_status(&server, *id, "sent").await;
        assert_eq!((&message["attempt_count"], &message["last_error"]), (&json!(2), &Value::Null));
    }
    a_while().await;
    assert_eq!(mails.rest().len(), 2);
    worker.stop().await;
    server.assert_sound().await;
}

async fn a_permanent_refusal_is_final(server: Server) {
    let mut mails = MailServer::start().await;
    let recipients = ["never@example.com", "spam@example.com", "no-address"];
    let ids = announce(&server, Channel::Email, &recipients).await;
    let worker = work(&server, &mails.config());
    for (id, words) in ids.iter().zip(["5.1.1 no such user", "5.7.1 not wanted", "not an e-mail"]) {
        let message = once_status(&server, *id, "failed").await;
        let error = message["last_error"].as_str().unwrap();
        assert!(error.contains(words), "{error}");
        assert_eq!(message["due_at"], Value::Null);
    }
    server.clock.advance(SignedDuration::from_hours(24 * 7));
    a_while().await;
    assert_eq!(read(&server, ids[0]).await["attempt_count"], 1);
    // Asked for, it is tried once more.
    let target = format!("/haksa/v1/messages/{}/retry", ids[0]);
    let reply = server.request("POST", &target).bearer(super::ADMIN).send().await;
    assert_eq!((reply.status, &reply.json()["status"]), (200, &json!("waiting")));
    let is_tried = |m: &Value| m["status"] == "failed" && m["attempt_count"] == 2;
    once(&server, ids[0], is_tried).await;
    assert_eq!(mails.rest(), [Value::Null; 0]);
    worker.stop().await;
}

async fn a_server_that_is_away_delays(server: Server) {
    let mails = MailServer::start().await;
    let (port, config) = (mails.port, mails.config());
    drop(mails);
    let recipients: Vec<String> = (0..20).map(|n| format!("hong{n}@example.com")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let ids = announce(&server, Channel::Email, &recipients).await;
    let worker = work(&server, &config);
    for id in &ids {
        let is_back = |m: &Value| m["last_error"].is_string() && m["status"] == "waiting";
        assert_eq!(once(&server, *id, is_back).await["attempt_count"], 1);
    }
    let mut mails = MailServer::start_with(port, &[]).await;
    server.clock.advance(SignedDuration::from_mins(5));
    for id in &ids {
        once_status(&server, *id, "sent").await;
    }
    a_while().await;
    assert_eq!(mails.rest().len(), ids.len());
    worker.stop().await;
    server.assert_sound().await;
}

async fn an_attempt_that_is_cut_off_is_not_repeated(server: Server) {
    let mut mails = MailServer::start().await;
    let recipients = ["slow@example.com", "cut@example.com"];
    let ids = announce(&server, Channel::Email, &recipients).await;
    let worker = work(&server, &mails.config());
    let (one, other) = (mails.next().await, mails.next().await);
    let message_id = |mail: &Value| mail["headers"]["message-id"].as_str().unwrap().to_owned();
    let slow =
        if one["to"][0] == "slow@example.com" { message_id(&one) } else { message_id(&other) };
    // A connection that breaks where the answer should come: who knows.
    once_status(&server, ids[1], "uncertain").await;
    // A worker that is killed there leaves its attempt behind.
    worker.abort().await;
    assert_eq!(read(&server, ids[0]).await["status"], "sending");

    let worker = work(&server, &mails.config());
    a_while().await;
    assert_eq!(read(&server, ids[0]).await["status"], "sending");
    server.clock.advance(SignedDuration::from_mins(6));
    let message = once_status(&server, ids[0], "uncertain").await;
    assert!(message["last_error"].as_str().unwrap().contains("cut off"), "{message}");
    server.clock.advance(SignedDuration::from_hours(24));
    a_while().await;
    assert_eq!(mails.rest(), [Value::Null; 0], "nobody was told twice");

    // Who wants it again gets it again, under the same name.
    let target = format!("/haksa/v1/messages/{}/retry", ids[0]);
    let reply = server.request("POST", &target).bearer(super::ADMIN).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(message_id(&mails.next().await), slow);
    once_status(&server, ids[0], "sent").await;
    worker.stop().await;
    server.assert_sound().await;
}

async fn without_a_mail_server_mail_is_held(server: Server) {
    // Issued where nothing is configured.
    let held = announce(&server, Channel::Email, &["hong@example.com"]).await[0];
    assert_eq!(read(&server, held).await["status"], "held");
    let mut mails = MailServer::start().await;
    let knowing = knowing(&server, mails.config()).await;
    // Issued where it was configured, and then it was taken away.
    let waiting = announce(&knowing, Channel::Email, &["hong@example.com"]).await[0];
    assert_eq!(read(&knowing, waiting).await["status"], "waiting");
    let worker = work(&knowing, &Config::default());
    once_status(&knowing, waiting, "held").await;
    worker.stop().await;
    for (server, id) in [(&server, held), (&knowing, waiting)] {
        let worker = work(server, &mails.config());
        assert_eq!(mails.next().await["to"], json!(["hong@example.com"]));
        once_status(server, id, "sent").await;
        worker.stop().await;
    }
}

async fn a_password_is_used_and_never_shown(server: Server) {
    let account = ["--account", "haksa", "demo-password"];
    let mut mails = MailServer::start_with(0, &account).await;
    let id = announce(&server, Channel::Email, &["hong@example.com"]).await[0];
    // A server that does not take mail from us at all is no reason to give a message up.
    let worker = work(&server, &mails.config());
    let message = once(&server, id, |m| m["last_error"].is_string()).await;
    worker.stop().await;
    assert_eq!(message["status"], "waiting");
    assert!(message["last_error"].as_str().unwrap().contains("530"), "{message}");
    server.clock.advance(SignedDuration::from_mins(1));
    let wrong = mails.config_with("haksa:demo-other-password@");
    let worker = work(&server, &wrong);
    let is_tried = |m: &Value| m["status"] == "waiting" && m["attempt_count"] == 2;
    let message = once(&server, id, is_tried).await;
    worker.stop().await;
    let error = message["last_error"].as_str().unwrap();
    assert!(error.contains("535") && !error.contains("demo-other-password"), "{error}");
    server.clock.advance(SignedDuration::from_mins(2));
    let worker = work(&server, &mails.config_with("haksa:demo-password@"));
    assert_eq!(mails.next().await["is_signed_in"], true);
    once_status(&server, id, "sent").await;
    worker.stop().await;
}

async fn a_stop_waits_for_the_answer(server: Server) {
    let mut mails = MailServer::start().await;
    let recipients: Vec<String> = (0..50).map(|n| format!("hong{n}@example.com")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let ids = announce(&server, Channel::Email, &recipients).await;
    let worker = work(&server, &mails.config());
    mails.next().await;
    worker.stop().await;
    let mut sent = 0;
    for id in &ids {
        let status = read(&server, *id).await["status"].as_str().unwrap().to_owned();
        assert!(status == "sent" || status == "held", "{status}");
        sent += usize::from(status == "sent");
    }
    assert_eq!(mails.rest().len() + 1, sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_tell_nobody_twice() {
    let mut mails = MailServer::start().await;
    let url = new_postgres_database().await;
    let nodes = [Server::start_on(&url).await, Server::start_on(&url).await];
    let recipients: Vec<String> = (0..150).map(|n| format!("hong{n}@example.com")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let ids = announce(&nodes[0], Channel::Email, &recipients).await;
    let workers = nodes.each_ref().map(|node| work(node, &mails.config()));
    for id in &ids {
        once_status(&nodes[1], *id, "sent").await;
    }
    tokio::time::sleep(QUICK.look_every * 10).await;
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for mail in mails.rest() {
        *told.entry(mail["to"][0].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(told.len(), recipients.len());
    assert!(told.values().all(|times| *times == 1), "{told:?}");
    for worker in workers {
        worker.stop().await;
    }
    nodes[0].assert_sound().await;
}

/// An operator's words, with everything that a mail server or a program in between could break.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_words_arrive_as_they_are() {
    let mut mails = MailServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mail.txt");
    let long = "가나다라 ".repeat(400);
    let text = format!(".\n..\n.점\nFrom 여기\n{long}\n=3D = ? <b>&amp;</b>\n\n끝 🎓");
    let template =
        format!("Subject: {{{{ holder_name }}}} – {}\n\n{text}\n", "긴 제목 ".repeat(20));
    std::fs::write(&file, template).unwrap();
    let mut config = mails.config();
    config.mail.template = Some(file);
    let server = Server::start_with(Backend::Sqlite, config.clone()).await;
    let command = super::Announce {
        outbox: server.app.outbox.clone(),
        channel: Channel::Email,
        // No name that is kept has a CR.
        holder_name: format!("{NAME}\nBcc: other@example.com"),
        recipients: vec!["hong@example.com".to_owned()],
    };
    super::announce_through(&server.app.pipeline, command).await;
    let worker = work(&server, &config);
    let mail = mails.next().await;
    let arrived = mail["text"].as_str().unwrap().replace("\r\n", "\n");
    assert_eq!(arrived.trim_end_matches('\n'), text);
    let headers = &mail["headers"];
    assert_eq!(mail["to"], json!(["hong@example.com"]));
    assert_eq!(headers["bcc"], Value::Null);
    assert_eq!(headers["to"], "\"홍길동 Bcc: other@example.com\" <hong@example.com>");
    let subject = headers["subject"].as_str().unwrap();
    assert!(subject.starts_with("홍길동 Bcc: other@example.com – 긴 제목 긴"), "{subject}");
    worker.stop().await;
}

const KOREAN: &str = "xn--xx3br43b.xn--3e0b707e";

async fn a_domain_beyond_ascii_is_written_as_mail_servers_call_it(server: Server) {
    let mut mails = MailServer::start().await;
    let mut config = mails.config();
    config.mail.from = Some("한빛학원 <cert@한빛.한국>".to_owned());
    let recipients = ["hong@한빛.한국", "홍@한빛.한국"];
    let ids = announce(&server, Channel::Email, &recipients).await;
    let worker = work(&server, &config);
    // A server that takes ASCII alone, as most do.
    let mail = mails.next().await;
    once_status(&server, ids[0], "sent").await;
    assert_eq!(mail["from"], format!("cert@{KOREAN}"));
    assert_eq!(mail["to"], json!([format!("hong@{KOREAN}")]));
    assert_eq!((&mail["hello"], &mail["is_international"]), (&json!(KOREAN), &json!(false)));
    assert_eq!(mail["headers"]["from"], format!("한빛학원 <cert@{KOREAN}>"));
    let id = mail["headers"]["message-id"].as_str().unwrap();
    assert!(id.ends_with(&format!("@{KOREAN}>")), "{id}");
    assert!(mail["raw"].as_str().unwrap().is_ascii());
    // What is before the @ has no such name.
    let error = once_status(&server, ids[1], "failed").await["last_error"].clone();
    assert!(error.as_str().unwrap().contains("takes no letters beyond ASCII"), "{error}");
    worker.stop().await;

    let mut mails = MailServer::start_with(0, &["--international"]).await;
    let target = format!("/haksa/v1/messages/{}/retry", ids[1]);
    let reply = server.request("POST", &target).bearer(super::ADMIN).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    config.mail.url = mails.config().mail.url;
    let worker = work(&server, &config);
    let mail = mails.next().await;
    assert_eq!(mail["to"], json!([format!("홍@{KOREAN}")]));
    assert_eq!((&mail["hello"], &mail["is_international"]), (&json!(KOREAN), &json!(true)));
    once_status(&server, ids[1], "sent").await;
    worker.stop().await;
}

/// Such as were taken in before names were held to one line; and one that is not in its record.
async fn no_name_ends_a_line_on_its_own(server: Server) {
    let mut mails = MailServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mail.txt");
    std::fs::write(&file, "Subject: {{ holder_name }}\n\nDear\r{{ holder_name }}\n\nBye").unwrap();
    let mut config = mails.config();
    config.mail.template = Some(file);
    let name = "a\r.\rMAIL FROM:<b@c.example>\r";
    for words in ["ASCII", "한글"] {
        let body = json!({"body": format!("Dear {words}\r.\rMAIL FROM:<b@c.example>\r\n"), "reference": "an-earlier-message",
            "recipient": "hong@example.com", "recipient_name": name, "subject": name});
        let id = announce(&server, Channel::Email, &["hong@example.com"]).await[0];
        let body = body.to_string().replace('\'', "''");
        server.spoil(&format!("UPDATE message SET body = '{body}' WHERE id = {id}")).await;
    }
    let command = super::Announce {
        outbox: haksa::delivery::outbox(&config).unwrap(),
        channel: Channel::Email,
        holder_name: "a\u{2028}b".to_owned(),
        recipients: vec!["hong@example.com".to_owned()],
    };
    super::announce_through(&server.app.pipeline, command).await;
    // A server that has them in memory would not notice.
    let server = Server::start_on(&server.url).await;
    let worker = work(&server, &config);
    let mut texts = Vec::new();
    for _ in 0..3 {
        let mail = mails.next().await;
        let without = mail["raw"].as_str().unwrap().replace("\r\n", "");
        assert!(!without.contains(['\r', '\n']), "{without:?}");
        texts.push(mail["text"].as_str().unwrap().replace("\r\n", "\n"));
    }
    texts.sort();
    let expected = [
        "Dear\na\u{2028}b\n\nBye",
        "Dear ASCII\n.\nMAIL FROM:<b@c.example>",
        "Dear 한글\n.\nMAIL FROM:<b@c.example>",
    ];
    assert_eq!(texts.iter().map(|text| text.trim_end()).collect::<Vec<_>>(), expected);
    assert_eq!(mails.rest(), [Value::Null; 0]);
    worker.stop().await;
}

/// Words of ours and of an operator's, plain and beyond ASCII, short and long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spam_filter_has_nothing_against_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Backend::Sqlite).await;
    let mut mails = MailServer::keeping(folder.path()).await;
    let template = folder.path().join("mail.txt");
    let long = "긴 제목 ".repeat(40);
    for words in [
        "Subject: Your certificate\n\nDear {{ holder_name }},\n\nhere it is.\n".to_owned(),
        format!("Subject: {long}\n\n{long}\n{}\n", "long words ".repeat(300)),
        haksa::domain::delivery::template::EMAIL.to_owned(),
    ] {
        std::fs::write(&template, words).unwrap();
        let mut config = mails.config();
        config.mail.template = Some(template.clone());
        for (from, name) in [
            ("한빛학원 <cert@hanbit.example>", NAME),
            ("cert@한빛.한국", "Hong, Gil-dong \"G\""),
            ("Hanbit Academy <cert@hanbit.example>", "Gil-dong Hong"),
        ] {
            config.mail.from = Some(from.to_owned());
            let command = super::Announce {
                outbox: haksa::delivery::outbox(&config).unwrap(),
                channel: Channel::Email,
                holder_name: name.to_owned(),
                recipients: vec!["hong@example.com".to_owned()],
            };
            super::announce_through(&server.app.pipeline, command).await;
            let worker = work(&server, &config);
            mails.next().await;
            worker.stop().await;
        }
    }
    let said = mails.judged().await;
    assert_eq!(said, "9 mails\n");
}

#[test]
fn a_configuration_that_leads_nowhere_is_refused() {
    let faulty = |change: fn(&mut Config)| {
        let mut config = Config::default();
        config.mail.url = Some(Secret::new("smtp://u:demo-password@mail.example".to_owned()));
        config.mail.from = Some("cert@hanbit.example".to_owned());
        change(&mut config);
        let senders = haksa::delivery::senders(&config).map(|_| ());
        let error = senders.and(haksa::delivery::outbox(&config).map(|_| ())).unwrap_err();
        let error = error.to_string();
        assert!(!error.contains("demo-password"), "{error}");
        error
    };
    assert!(faulty(|c| c.mail.from = None).starts_with("mail.from: "));
    assert!(faulty(|c| c.mail.from = Some("nobody".to_owned())).starts_with("mail.from: "));
    let gone = faulty(|c| c.mail.template = Some("/nowhere/mail.txt".into()));
    assert!(gone.starts_with("mail.template: /nowhere/mail.txt: "), "{gone}");
    assert!(faulty(|c| c.sms.url = Some("ftp://h".to_owned())).starts_with("sms.url: "));
    assert!(faulty(|c| c.sms.url = Some("http://h".to_owned())).starts_with("sms.api_key: "));
}
