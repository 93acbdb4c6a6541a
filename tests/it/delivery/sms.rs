//! Text messages, through a gateway on loopback that checks what it is sent.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use haksa::config::Config;
use haksa::domain::delivery::message::Channel;
use haksa::hmac_header::{Hash, Signed};
use haksa::vault::Secret;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{a_while, announce, once, once_status, read, work};
use crate::support::{Server, on_both_stores};

on_both_stores!(
    a_certificate_is_announced,
    answers_are_understood,
    without_a_gateway_text_messages_are_held,
);

const KEY: &str = "EXAMPLESMSKEY001";
const SECRET: &str = "demo-sms-secret";

/// A gateway: what it was sent, and what it says to whom.
#[derive(Clone, Default)]
struct Gateway {
    taken: Arc<Mutex<Vec<Value>>>,
}

impl Gateway {
    async fn start() -> (Self, Config) {
        let gateway = Self::default();
        let router = Router::new()
            .route("/messages/v4/send-many/detail", post(take))
            .with_state(gateway.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = Config::default();
        config.sms.url = Some(format!("http://{}", listener.local_addr().unwrap()));
        config.sms.api_key = Some(KEY.to_owned());
        config.sms.api_secret = Some(Secret::new(SECRET.to_owned()));
        config.sms.from = Some("02-1234-5678".to_owned());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (gateway, config)
    }

    fn taken(&self) -> Vec<Value> {
        self.taken.lock().unwrap().clone()
    }
}

async fn take(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    let header = headers["authorization"].to_str().unwrap();
    let signed = Signed::parse(header).expect("a signature");
    let is_good = signed.hash == Hash::Sha256
        && signed.api_key == KEY
        && signed.salt.len() == 32
        && signed.date.parse::<jiff::Timestamp>().is_ok()
        && signed.is_made_with(SECRET);
    if !is_good {
        return (StatusCode::FORBIDDEN, json!({"errorCode": "SignatureDoesNotMatch"}).to_string());
    }
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let to = body["messages"][0]["to"].as_str().unwrap().to_owned();
    let mut taken = gateway.taken.lock().unwrap();
    let earlier = taken.iter().filter(|body| body["messages"][0]["to"] == to).count();
    taken.push(body);
    let failed =
        json!({"failedMessageList": [{"statusCode": "3059", "statusMessage": "수신 불가"}]});
    match to.as_str() {
        "01000000400" => (
            StatusCode::BAD_REQUEST,
            json!({"errorCode": "ValidationError", "errorMessage": "잘못된 번호"}).to_string(),
        ),
        "01000000429" if earlier == 0 => {
            (StatusCode::TOO_MANY_REQUESTS, json!({"errorCode": "TooManyRequests"}).to_string())
        }
        "01000000500" => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        "01000003059" => (StatusCode::OK, failed.to_string()),
        "01000000000" => (StatusCode::OK, "<html>".to_owned()),
        _ => (
            StatusCode::OK,
            json!({
                "failedMessageList": [],
                "groupInfo": {"groupId": "G4V1"},
                "messageList": [{"messageId": "M4V1", "statusCode": "2000", "statusMessage": "정상 접수"}],
            })
            .to_string(),
        ),
    }
}

async fn a_certificate_is_announced(server: Server) {
    let (gateway, config) = Gateway::start().await;
    let id = announce(&server, Channel::Phone, &["01012345678"]).await[0];
    let worker = work(&server, &config);
    let message = once_status(&server, id, "sent").await;
    assert_eq!(message["provider_message_id"], "M4V1");
    assert_eq!(message["subject"], Value::Null);
    a_while().await;
    let taken = gateway.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(
        taken[0],
        json!({
            "messages": [{
                "to": "01012345678",
                "from": "0212345678",
                "text": message["body"],
                "autoTypeDetect": true,
                "customFields": {"reference": message["reference"]},
            }],
            "allowDuplicates": false,
            "showMessageList": true,
        })
    );
    let text = message["body"].as_str().unwrap();
    assert!(
        text.contains("홍길동님, 프로그래밍 기초 과정 수료증 인증서가 발급되었습니다."),
        "{text}"
    );
    worker.stop().await;
    server.assert_sound().await;
}

async fn answers_are_understood(server: Server) {
    let (gateway, config) = Gateway::start().await;
    let recipients = ["01000000400", "01000003059", "01000000500", "01000000000", "01000000429"];
    let ids = announce(&server, Channel::Phone, &recipients).await;
    let worker = work(&server, &config);
    for (id, status, words) in [
        (ids[0], "failed", "400 ValidationError 잘못된 번호"),
        (ids[1], "failed", "3059 수신 불가"),
        (ids[2], "uncertain", "500"),
        (ids[3], "uncertain", "the gateway's answer cannot be read"),
    ] {
        assert_eq!(once_status(&server, id, status).await["last_error"], words);
    }
    let is_back = |m: &Value| m["status"] == "waiting" && m["attempt_count"] == 1;
    let message = once(&server, ids[4], is_back).await;
    assert_eq!(message["last_error"], "429 TooManyRequests");
    server.clock.advance(SignedDuration::from_hours(5));
    once_status(&server, ids[4], "sent").await;
    a_while().await;
    assert_eq!(gateway.taken().len(), recipients.len() + 1, "only the refused one came again");
    worker.stop().await;
}

async fn without_a_gateway_text_messages_are_held(server: Server) {
    let id = announce(&server, Channel::Phone, &["01012345678"]).await[0];
    let worker = work(&server, &Config::default());
    a_while().await;
    assert_eq!(read(&server, id).await["status"], "held");
    worker.stop().await;
    let (gateway, mut config) = Gateway::start().await;
    config.sms.api_secret = Some(Secret::new("demo-other-secret".to_owned()));
    let worker = work(&server, &config);
    let message = once(&server, id, |m| m["last_error"].is_string()).await;
    assert_eq!(message["last_error"], "403 SignatureDoesNotMatch");
    worker.stop().await;
    config.sms.api_secret = Some(Secret::new(SECRET.to_owned()));
    server.clock.advance(SignedDuration::from_mins(1));
    let worker = work(&server, &config);
    once_status(&server, id, "sent").await;
    worker.stop().await;
    assert_eq!(gateway.taken().len(), 1);
}
