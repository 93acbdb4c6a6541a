//! Text messages, by an HTTP gateway that speaks SOLAPI's `POST /messages/v4/send-many/detail`.
//! Source: SOLAPI, "메시지 발송".

use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use reqwest::{Client, Url, redirect, retry};
use serde::Deserialize;
use serde_json::json;

use super::{Report, Unusable, causes, certificate_fault, fault};
use crate::app::OsEntropy;
use crate::config::SmsConfig;
use crate::domain::command::Entropy as _;
use crate::domain::delivery::attempt::Fate;
use crate::domain::delivery::message::Message;
use crate::hmac_header;
use crate::vault::Secret;

/// The vendor's path.
const PATH: &str = "messages/v4/send-many/detail";
/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// How long the whole may take.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);
/// An answer's length at the most, bytes.
const ANSWER_MAX: usize = 1024 * 1024;

/// A gateway.
#[derive(Debug)]
pub struct Gateway {
    client: Client,
    url: Url,
    api_key: String,
    api_secret: Secret<String>,
    from: String,
}

/// What is read of an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Accepted {
    failed_message_list: Vec<MessageItem>,
    message_list: Vec<MessageItem>,
    group_info: Group,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MessageItem {
    message_id: Option<String>,
    status_code: Option<String>,
    status_message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Group {
    group_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GatewayRefusal {
    error_code: Option<String>,
    error_message: Option<String>,
}

impl Gateway {
    /// The gateway that the operator has configured.
    ///
    /// # Errors
    /// [`Unusable`] for an address that is none, or without key, secret or sender.
    pub fn configured(config: &SmsConfig) -> Result<Option<Self>, Unusable> {
        let Some(url) = &config.url else { return Ok(None) };
        let url = endpoint(url)?;
        let given = |key: &'static str, value: Option<&str>| {
            let value = value.filter(|value| !value.is_empty());
            value.map(str::to_owned).ok_or_else(|| Unusable::new(key, "sms.url needs it"))
        };
        let api_key = given("sms.api_key", config.api_key.as_deref())?;
        if !api_key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Unusable::new("sms.api_key", "must be letters and digits"));
        }
        let secret = config.api_secret.as_ref().map(|secret| secret.expose().as_str());
        let api_secret = Secret::new(given("sms.api_secret", secret)?);
        let from: String =
            given("sms.from", config.from.as_deref())?.chars().filter(|c| *c != '-').collect();
        if from.is_empty() || !from.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Unusable::new("sms.from", "must be a phone number, e.g. 02-1234-5678"));
        }
        // There may be one already; it does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            .user_agent(concat!("haksa/", env!("CARGO_PKG_VERSION")))
            // A request is signed for one place and one time. Whether to send it again is decided
            // by what is on record, and by nobody else.
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .pool_max_idle_per_host(0);
        if url.scheme() == "http" {
            // It works where the machine has no certificates, too.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|cause| Unusable::new("sms.url", causes(&cause)))?;
        Ok(Some(Self { client, url, api_key, api_secret, from }))
    }

    /// Sends one message.
    pub async fn send(&self, message: &Message, at: Timestamp) -> Report {
        let mut salt = [0; 16];
        OsEntropy.fill(&mut salt);
        let date = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let secret = self.api_secret.expose();
        let header = hmac_header::sign(&self.api_key, secret, &date, &hex::encode(salt));
        let body = json!({
            "messages": [{
                "to": message.recipient,
                "from": self.from,
                "text": message.body,
                "autoTypeDetect": true,
                "customFields": {"reference": message.reference},
            }],
            "allowDuplicates": false,
            "showMessageList": true,
        });
        let request = self
            .client
            .post(self.url.clone())
            .header("authorization", header)
            .header("content-type", "application/json")
            .body(body.to_string());
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Report::down(self.fault(&error)),
            Err(error) => return Report::of(Fate::Unknown(self.fault(&error))),
        };
        let status = response.status();
        match read(response).await {
            Ok(answer) => self.report(status, &answer),
            // The status alone says enough of a refusal.
            Err(_) if !status.is_success() => self.report(status, b""),
            Err(cause) => Report::of(Fate::Unknown(fault(&cause, &[secret]))),
        }
    }

    fn report(&self, status: StatusCode, answer: &[u8]) -> Report {
        if status.is_success() {
            return Report::of(self.accepted(answer));
        }
        let GatewayRefusal { error_code, error_message } =
            serde_json::from_slice(answer).unwrap_or_default();
        let text = format!(
            "{} {} {}",
            status.as_u16(),
            error_code.unwrap_or_default(),
            error_message.unwrap_or_default()
        );
        let text = fault(&text, &[self.api_secret.expose()]);
        match status.as_u16() {
            // What is wrong with this message stays wrong.
            400 | 413 | 422 => Report::of(Fate::Refused(text)),
            // Key, balance, rate, address, or a gateway that is not there: the next one fares alike.
            300..=499 | 503 => Report::down(text),
            _ => Report::of(Fate::Unknown(text)),
        }
    }

    fn accepted(&self, answer: &[u8]) -> Fate {
        let unreadable = || Fate::Unknown("the gateway's answer cannot be read".to_owned());
        let Ok(accepted) = serde_json::from_slice::<Accepted>(answer) else {
            return unreadable();
        };
        if let Some(failed) = accepted.failed_message_list.into_iter().next() {
            let text = format!(
                "{} {}",
                failed.status_code.unwrap_or_default(),
                failed.status_message.unwrap_or_default()
            );
            return Fate::Refused(fault(&text, &[self.api_secret.expose()]));
        }
        let sent = accepted.message_list.into_iter().find_map(|item| item.message_id);
        match sent.or(accepted.group_info.group_id) {
            Some(id) => Fate::Sent { provider_message_id: Some(fault(&id, &[])) },
            None => unreadable(),
        }
    }

    fn fault(&self, error: &reqwest::Error) -> String {
        let host = self.url.host_str().unwrap_or_default();
        let text = certificate_fault(error, "sms.url", host);
        fault(&text.unwrap_or_else(|| causes(error)), &[self.api_secret.expose()])
    }
}

/// The address of the vendor's path at a gateway.
fn endpoint(text: &str) -> Result<Url, Unusable> {
    let faulty = || Unusable::new("sms.url", "must be like https://api.solapi.com");
    let mut url = Url::parse(text).map_err(|_| faulty())?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !is_plain {
        return Err(faulty());
    }
    url.path_segments_mut().map_err(|()| faulty())?.pop_if_empty().extend(PATH.split('/'));
    Ok(url)
}

async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut answer = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|cause| causes(&cause))? {
        answer.extend_from_slice(&part);
        if answer.len() > ANSWER_MAX {
            return Err("the gateway's answer is too long".to_owned());
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway() -> Gateway {
        let config = SmsConfig {
            url: Some("http://127.0.0.1:9".to_owned()),
            api_key: Some("EXAMPLEKEY".to_owned()),
            api_secret: Some(Secret::new("demo-secret".to_owned())),
            from: Some("02-1234-5678".to_owned()),
            template: None,
        };
        Gateway::configured(&config).unwrap().unwrap()
    }

    #[test]
    fn the_vendors_path_is_put_behind_the_address() {
        for (given, expected) in [
            ("https://api.solapi.com", "https://api.solapi.com/messages/v4/send-many/detail"),
            ("http://h:8080/", "http://h:8080/messages/v4/send-many/detail"),
            ("http://h/sms/", "http://h/sms/messages/v4/send-many/detail"),
        ] {
            assert_eq!(endpoint(given).unwrap().as_str(), expected);
        }
        for given in ["", "h", "ftp://h", "https://u:p@h", "https://h?x", "data:,x"] {
            assert!(endpoint(given).is_err(), "{given}");
        }
    }

    #[test]
    fn an_answer_says_what_became_of_the_message() {
        let gateway = gateway();
        let report = |status: u16, answer: &str| {
            gateway.report(StatusCode::from_u16(status).unwrap(), answer.as_bytes())
        };
        let outcome = |status, answer| report(status, answer).outcome;
        let sent = |id: &str| Fate::Sent { provider_message_id: Some(id.to_owned()) };
        let item =
            r#"{"messageList":[{"messageId":"M1","statusCode":"2000"}],"failedMessageList":[]}"#;
        assert_eq!(outcome(200, item), sent("M1"));
        assert_eq!(outcome(200, r#"{"groupInfo":{"groupId":"G1"}}"#), sent("G1"));
        let failed =
            r#"{"failedMessageList":[{"statusCode":"1030","statusMessage":"잘못된 수신번호"}]}"#;
        assert_eq!(outcome(200, failed), Fate::Refused("1030 잘못된 수신번호".to_owned()));
        assert!(matches!(outcome(200, "{}"), Fate::Unknown(_)));
        assert!(matches!(outcome(200, "<html>"), Fate::Unknown(_)));
        let wrong = r#"{"errorCode":"ValidationError","errorMessage":"demo-secret"}"#;
        assert_eq!(outcome(400, wrong), Fate::Refused("400 ValidationError •••".to_owned()));
        for status in [301, 401, 402, 403, 404, 429, 503] {
            let report = report(status, "");
            assert!(matches!(report.outcome, Fate::Postponed(_)), "{status}");
            assert!(report.is_channel_down, "{status}");
        }
        for status in [500, 502, 504] {
            assert!(matches!(outcome(status, ""), Fate::Unknown(_)), "{status}");
        }
    }
}
