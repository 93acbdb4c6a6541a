//! Relationships.

use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::Outcome::{Becomes, Refused};
use super::{Edit, Field, run};
use crate::support::{Request, Server, on_both_stores};

on_both_stores!(relationships);

fn by(server: &Server, (key, secret): (&str, &str), body: &Value) -> Request {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let date = server.clock.now().to_string();
    let salt = format!("{:032}", COUNT.fetch_add(1, Ordering::Relaxed));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{date}{salt}").as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let header =
        format!("HMAC-SHA256 apiKey={key}, date={date}, salt={salt}, signature={signature}");
    server
        .request("PATCH", "/crm-core/v1/relationships/CRMRL1260423091530123REL11122233")
        .header("authorization", header)
        .json(body)
}

const OWN: (&str, &str) = ("NCSTESTKEY000001", "TESTSECRET0000000000000000000001");

/// An edit of the relationship by whoever may.
pub(super) fn relationship(server: &Server, body: &Value) -> Request {
    by(server, OWN, body)
}

async fn relationships(server: Server) {
    let metadata = json!({"role": "secondary", "notes": "2차 담당"});
    let edit = Edit {
        dialect: "solapi",
        record: "relationship/CRMRL1260423091530123REL11122233",
        base: json!({"metadata": {"role": "primary"}}),
        allowed: relationship,
        denied: vec![
            ("another account", 404, |server, body| {
                by(server, ("NCSTESTKEY000002", "TESTSECRET0000000000000000000002"), body)
            }),
            ("an impostor", 403, |server, body| {
                by(server, ("NCSTESTKEY000001", "TESTSECRET0000000000000000000002"), body)
            }),
        ],
        fields: vec![Field::new(
            "/metadata",
            "metadata",
            Refused,
            Refused,
            (metadata.clone(), Becomes(metadata)),
            json!(["role"]),
        )],
    };
    run(&server, edit).await;
}
