//! What callers may have of the server's memory, and that whoever has all of his part is nobody else's
//! trouble.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use haksa::budget::{Held, Payer};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Backend, Request, Server, on_both_stores};

/// More than a stranger may send.
const LONG: usize = 100 * 1024;
const APPLICATION: &str = r#"{"name": "portal", "applicationType": "web", "mbrLoginAllow": "ALLOW",
    "protocol": "OAUTH2", "redirectUris": ["https://app.example.com/cb"],
    "clientAuthMethod": "client_secret_basic", "accessType": "confidential",
    "grantTypes": ["authorization_code", "refresh_token"], "scopes": ["openid", "profile"],
    "consentPage": {"applicationName": {"ko": "포털"}, "useLanguages": ["ko"],
    "defaultLanguage": "ko", "usePurposeDesc": {"ko": "로그인"},
    "usePeriodDesc": {"ko": "탈퇴 시까지"}, "dataTransferAbroad": false}}"#;
const ENROLLMENT: &str = r#"{"accessDate": "2026-01-10", "dueDateType": "due_date",
    "dueDate": "2026-12-01 10:30:00", "lockAfterDueDate": true}"#;

on_both_stores!(a_known_caller_may_send_much, a_stranger_may_not);

/// An edit of each dialect, or what is most like one, by a caller who is known by `key`, with a body
/// of `length` that says nothing more for it.
fn edits(server: &Server, length: usize, is_known: bool) -> [(&'static str, Request); 6] {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let key = |text: &str| if is_known { text.to_owned() } else { "nobodys".to_owned() };
    let body = |text: &str| format!("{text}{}", " ".repeat(length - text.len()));
    let mac = |secret: &str, message: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key(secret).as_bytes()).unwrap();
        mac.update(message.as_bytes());
        mac.finalize().into_bytes()
    };
    let ncloud = "/applications/88d2009c-0000-4000-8000-59bf9afd5695";
    let at = server.clock.now().as_millisecond();
    let message = format!("PUT {ncloud}\n{at}\nEXAMPLEACCESSKEY0001");
    let ncloud_signature = mac("exampleSecretKeyDoNotUse0123456789abcd", &message);
    let date = server.clock.now().to_string();
    let salt = format!("{:032}", COUNT.fetch_add(1, Ordering::Relaxed));
    let signature = mac("TESTSECRET0000000000000000000001", &format!("{date}{salt}"));
    let signature = hex::encode(signature);
    let json = |method, target: &str, text: &str| {
        let request = server.request(method, target).body(body(text));
        request.header("content-type", "application/json")
    };
    let edits = [
        json("PATCH", "/open-api/achievements/1539", r#"{"level": 7}"#)
            .bearer(&key("demo-kolleges-key")),
        json("PATCH", "/partner/7/classes/11", r#"{"capacity": 40}"#)
            .bearer(&key("demo-partner-token")),
        json("PUT", ncloud, APPLICATION)
            .header("x-ncp-apigw-timestamp", at.to_string())
            .header("x-ncp-iam-access-key", "EXAMPLEACCESSKEY0001")
            .header("x-ncp-apigw-signature-v2", STANDARD.encode(ncloud_signature)),
        json(
            "PATCH",
            "/crm-core/v1/relationships/CRMRL1260423091530123REL11122233",
            r#"{"metadata": {"role": "7"}}"#,
        )
        .header(
            "authorization",
            format!(
                "HMAC-SHA256 apiKey=NCSTESTKEY000001, date={date}, salt={salt}, \
                 signature={signature}"
            ),
        ),
        json("POST", "/enrollment/d48bd4fa-5b70-11e9-b12b-22e9fbac4a59", ENROLLMENT)
            .header("authorization", key("demo-ispring-OWN-token")),
        json("PATCH", "/haksa/v1/models/1", r#"{"is_active": true}"#)
            .bearer(&key("demo-admin-key")),
    ];
    let mut names = ["kolleges", "partner", "ncloud", "solapi", "ispring", "native"].into_iter();
    edits.map(|edit| (names.next().expect("a name"), edit))
}

/// Who calls is found out before a long body is read, and nothing is used up by that.
async fn a_known_caller_may_send_much(server: Server) {
    for length in [64 * 1024, LONG, 1024 * 1024] {
        for (name, edit) in edits(&server, length, true) {
            let reply = edit.send().await;
            assert_eq!(reply.status, 200, "{name}, {length}: {}", reply.text());
        }
    }
    for (name, edit) in edits(&server, 1024 * 1024 + 1, true) {
        let status = edit.send().await.status;
        assert!(matches!(status, 400 | 413), "{name}: {status}");
    }
}

async fn a_stranger_may_not(server: Server) {
    for (name, edit) in edits(&server, LONG, false) {
        let status = edit.send().await.status;
        assert!(matches!(status, 401 | 403 | 413), "{name}: {status}");
    }
    let sign_in = |length: usize| {
        let body = r#"{"email": "nobody@example.com", "password": "x"}"#;
        let body = format!("{body}{}", " ".repeat(length - body.len()));
        server.request("POST", "/user/login").header("content-type", "application/json").body(body)
    };
    assert_eq!(sign_in(64 * 1024).send().await.status, 401);
    assert_eq!(sign_in(64 * 1024 + 1).send().await.status, 413);
    let chunks = format!("10000\r\n{}\r\n", " ".repeat(0x10000)).repeat(2);
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    let head = "POST /user/login HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(format!("{head}{chunks}").as_bytes()).await.expect("it is taken");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

/// Opens uploads that announce 8 MiB, and sends so much of them as is taken.
async fn announce(server: &Server, count: usize, length: usize) -> Vec<TcpStream> {
    let head = "POST /open-api/badge-designs HTTP/1.1\r\nhost: h\r\n\
        authorization: Bearer demo-kolleges-key\r\n\
        content-type: multipart/form-data; boundary=x\r\ncontent-length: 8388608\r\n\r\n";
    let sent = [head.as_bytes(), &vec![b'-'; length]].concat();
    let opening = (0..count).map(async |_| {
        let mut stream = TcpStream::connect(server.address).await.expect("a connection");
        let _ = tokio::time::timeout(Duration::from_millis(500), stream.write_all(&sent)).await;
        stream
    });
    futures_util::future::join_all(opening).await
}

/// Many that announce much take nothing from anybody, the account's others included, and are cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_takes_what_has_come_of_it() {
    let server = Server::start(Backend::Sqlite).await.patient().await;
    let mut opened = announce(&server, 24, 1).await;
    let begun = Instant::now();
    for key in ["demo-kolleges-other-key", "demo-kolleges-key"] {
        let upload = server.request("POST", "/open-api/badge-designs").bearer(key);
        let upload = upload.header("content-type", "multipart/form-data; boundary=x");
        let reply = upload.body(vec![b'-'; 2 * 1024 * 1024]).send().await;
        assert_eq!(reply.status, 400, "{}", reply.text());
        let list = server.request("GET", "/open-api/badge-designs").bearer(key).send().await;
        assert!(matches!(list.status, 200 | 404), "{}", list.text());
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "it took {:?}", begun.elapsed());
    let mut answer = String::new();
    opened[0].read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.contains("too slowly") && begun.elapsed() < Duration::from_secs(10), "{answer}");
}

/// Much that came and stays is at the cost of its account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stays_is_its_accounts_trouble() {
    let server = Server::start(Backend::Sqlite).await.patient().await;
    let _opened = announce(&server, 8, 4 * 1024 * 1024).await;
    let begun = Instant::now();
    let upload = server.request("POST", "/open-api/badge-designs").bearer("demo-kolleges-other-key");
    let upload = upload.header("content-type", "multipart/form-data; boundary=x");
    let reply = upload.body(vec![b'-'; 8 * 1024 * 1024]).send().await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(begun.elapsed() < Duration::from_secs(4), "it took {:?}", begun.elapsed());
}

/// What takes all that strangers may have.
fn all_of_strangers(server: &Server) -> Held {
    let mut held = server.app.memory.strangers.hold(Payer::Account(0));
    held.settle(1024 * 1024 * 1024);
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_leave_room_for_those_who_are_known() {
    let server = Server::start(Backend::Sqlite).await;
    let _strangers = all_of_strangers(&server);
    for (name, edit) in edits(&server, 1024, true) {
        let reply = edit.send().await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    }
}

/// 503 and when to come again, in each dialect's words, once there is no room and no place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_a_caller_is_asked_to_come_again() {
    let server = Server::start(Backend::Sqlite).await;
    let mut held = vec![all_of_strangers(&server)];
    let memory = &server.app.memory;
    for account in 1..=2 {
        let mut all = memory.bodies.hold(Payer::Account(-account));
        all.settle(1024 * 1024 * 1024);
        let mut place = memory.bodies.hold(Payer::Account(-account));
        place.wait(1).await.expect("a place");
        held.extend([all, place]);
    }
    let waiting = edits(&server, LONG, true).map(|(_, edit)| edit.send());
    for reply in futures_util::future::join_all(waiting).await {
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert_eq!(reply.header("retry-after"), "1");
    }
    // Nothing of it was done, so it can come again.
    drop(held);
    for (name, edit) in edits(&server, LONG, true) {
        assert_eq!(edit.send().await.status, 200, "{name}");
    }
}
