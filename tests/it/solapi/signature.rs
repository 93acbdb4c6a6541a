//! Who may call: the header's spellings, its checks in order, replays, keys and roles.

use haksa::config::Config;
use haksa::dialect::Dialect;
use haksa::domain::actor::Actor;
use haksa::domain::change::Action;
use haksa::domain::command::{Command, Context, Create, Decision};
use haksa::domain::facts::{Facts, Known};
use haksa::domain::kind::Kind;
use haksa::domain::people::credential::Credential;
use haksa::domain::record::Key;
use haksa::pipeline::Envelope;
use haksa::vault::NONCE_BYTES;
use jiff::SignedDuration;
use serde_json::json;

use super::{ID, KEY, SECRET, assert_refused, at, authorization, fresh, hmac_of, read};
use crate::support::{Backend, Reply, Server, on_both_stores};

const BODY: &str = r#"{"metadata":{"role":"secondary"}}"#;
const S32: &str = "0123456789abcdef0123456789abcdef";

on_both_stores!(
    vectors,
    spellings,
    malformed_headers,
    a_signature_is_good_once,
    a_signature_is_good_for_one_date,
    concurrent_replays,
    a_refused_request_uses_its_signature_up,
    an_edit_uses_its_signature_up_however_it_ends,
    a_replay_is_told_before_all_else,
    a_signed_edit_is_one_commit,
    checks_come_in_order,
    keys,
    roles,
    addresses,
    an_account_that_is_gone,
);

async fn send(server: &Server, header: &str) -> Reply {
    server.request("PATCH", &at(ID)).header("authorization", header).body(BODY).send().await
}

fn sha256(date: &str, salt: &str, signature: &str) -> String {
    format!("HMAC-SHA256 apiKey={KEY}, date={date}, salt={salt}, signature={signature}")
}

/// A1 to A18; each row has a signature of its own, so none is a replay of another.
async fn vectors(server: Server) {
    let a64 = "a".repeat(64);
    let a65 = "a".repeat(65);
    let date = "2026-04-23T09:15:30.123Z";
    let a1 = "9e62125e0e8ff5224c3978e766aa4d08a8f510fd3bc4d5d9dd831f357111471e";
    let wrong = "9e62125e0e8ff5224c3978e766aa4d08a8f510fd3bc4d5d9dd831f357111471f";
    for (date, salt, signature, status, code) in [
        (date, S32, wrong, 403, "SignatureDoesNotMatch"),
        (date, S32, a1, 200, ""),
        (date, S32, a1, 403, "DuplicatedSignature"),
        (
            "2026-04-23T18:15:30+09:00",
            S32,
            "9539f3a7f81a61a7d16d5d89bca157aa8fff04c2bd39d30894c09c1d569367e2",
            200,
            "",
        ),
        (
            "2026-04-23T18:15:30.123456+09:00",
            S32,
            "8ee3f6fee1610e918761e9ef9ee7bd99e822eff51aa661c588cf75b80a1e57a4",
            200,
            "",
        ),
        (
            "2026-04-23T09:00:31Z",
            S32,
            "c9dba705e9ec394730a018a40dc333fd25d6d91fb7f7bf32a3c696948b276538",
            200,
            "",
        ),
        (
            "2026-04-23T09:00:30Z",
            S32,
            "21ab413bd790b46a6c7b6e016b1d3d07155e17021297b2c52634a361aa6d7a3e",
            403,
            "RequestTimeTooSkewed",
        ),
        (
            "2026-04-23T09:30:29Z",
            S32,
            "3b8b7efcbe2f4cb13f35313b921f963598cad406512f0e963503fe0efafaeeb9",
            200,
            "",
        ),
        (
            "2026-04-23T09:30:30Z",
            S32,
            "6a7138ebbfca677422f72452903e2e844e11819e0730d5784b8fecf42d763473",
            403,
            "RequestTimeTooSkewed",
        ),
        (
            "2026-04-23T09:15:30Z",
            "abcdefghijkl",
            "d6a3dd0d242627a97da1c284ee60037c9a6c43ace3181cd1ffe0b776b436f27c",
            200,
            "",
        ),
        (
            "2026-04-23T09:15:30Z",
            "abcdefghijk",
            "3acf04b2cf2365a49eac6fb67872ed687949509b6886f33df362172aacd3db41",
            400,
            "ValidationError",
        ),
        (
            "2026-04-23T09:15:30Z",
            &a64,
            "88ed77be5b704e144830e875be0a0ab914dad7e9f8be9a03f28dbc384c94bba7",
            200,
            "",
        ),
        (
            "2026-04-23T09:15:30Z",
            &a65,
            "92482950531df42f6cb56a267bf25fc05ed1ba5ebc53373a8805ee789b38d104",
            400,
            "ValidationError",
        ),
    ] {
        let reply = send(&server, &sha256(date, salt, signature)).await;
        if status == 200 {
            assert_eq!(reply.status, 200, "{date} {salt}: {}", reply.text());
        } else {
            assert_refused(&reply, status, code);
        }
    }
    let reply = send(&server, &sha256(date, S32, wrong)).await;
    assert_eq!(
        reply.text(),
        r#"{"errorCode":"SignatureDoesNotMatch","errorMessage":"생성한 signature를 확인하세요."}"#
    );
    let unknown = sha256(date, S32, a1).replace(KEY, "NCSNOSUCHKEY0001");
    assert_refused(&send(&server, &unknown).await, 403, "InvalidAPIKey");
}

async fn spellings(server: Server) {
    let date = server.clock.now().to_string();
    for (salt, shape) in [
        ("spelling-python", "HMAC-SHA256 ApiKey={k}, Date={d}, salt={s}, signature={h}"),
        ("spelling-tight", "HMAC-SHA256 apiKey={k},date={d},salt={s},signature={h}"),
        ("spelling-spaces", "HMAC-SHA256   apiKey={k} ,  date={d} , salt={s} , signature={h}"),
        ("spelling-lower", "hmac-sha256 apikey={k}, date={d}, salt={s}, signature={h}"),
        ("spelling-order", "HMAC-SHA256 signature={h}, salt={s}, date={d}, apiKey={k}"),
        ("spelling-more", "HMAC-SHA256 apiKey={k}, date={d}, salt={s}, signature={h}, v=2"),
        ("spelling=equals==", "HMAC-SHA256 apiKey={k}, date={d}, salt={s}, signature={h}"),
        ("spelling-소금", "HMAC-SHA256 apiKey={k}, date={d}, salt={s}, signature={h}"),
        ("spelling-blank\u{a0}", "HMAC-SHA256 apiKey={k}, date={d}, salt={s}, signature={h}"),
        ("spelling-last\u{3000}", "HMAC-SHA256 apiKey={k}, date={d}, signature={h}, salt={s}"),
        ("5f3c1d2e9a7b4", "HMAC-SHA256 apiKey={k}, date={d}, salt={s}, signature={h}"),
        ("spelling-upper", "HMAC-SHA256 apiKey={k}, date={d}, salt={s}, signature={H}"),
    ] {
        let signature = hmac_of(SECRET, &date, salt);
        let header = shape
            .replace("{k}", KEY)
            .replace("{d}", &date)
            .replace("{s}", salt)
            .replace("{h}", &signature)
            .replace("{H}", &signature.to_uppercase());
        let reply = send(&server, &header).await;
        assert_eq!(reply.status, 200, "{header}: {}", reply.text());
    }
}

async fn malformed_headers(server: Server) {
    let good = fresh(&server, KEY, SECRET);
    let (_, parts) = good.split_once(' ').unwrap();
    let unauthorized = r#"{"errorCode":"Unauthorized","errorMessage":"권한이 없습니다."}"#;
    for header in [
        String::new(),
        "HMAC-SHA256".to_owned(),
        "Basic TkNTVEVTVA==".to_owned(),
        "Bearer demo-admin-key".to_owned(),
        format!("HMAC-SHA512 {parts}"),
        format!("HMAC-MD5 {parts}"),
        good.replace(" salt=", " pepper="),
        good.replace("salt=", "salt"),
        good.replace(&format!("apiKey={KEY}"), "apiKey="),
        format!("{good}, Salt={S32}"),
    ] {
        let reply = send(&server, &header).await;
        assert_eq!((reply.status, reply.text().as_str()), (401, unauthorized), "{header}");
    }
    let none = server.request("GET", &at(ID)).send().await;
    assert_eq!((none.status, none.text().as_str()), (401, unauthorized));
    let twice = server.request("GET", &at(ID)).header("authorization", &good);
    let twice = twice.header("authorization", &good).send().await;
    assert_refused(&twice, 400, "ValidationError");

    for date in [
        "2026-04-23T09:15:30",
        "2026-04-23T09:15Z",
        "2026-04-23T0915Z",
        "2026-04-23T18:15:30+09:00[Asia/Seoul]",
        "2026-04-23 09:15:30Z",
        "2026-04-23",
        "1776935730",
        "now",
    ] {
        let reply = send(&server, &authorization(KEY, SECRET, date, S32)).await;
        assert_refused(&reply, 400, "ValidationError");
    }
    for date in ["0001-01-01T00:00:00Z", "9999-12-01T00:00:00Z", "2026-04-23T09:15:30+23:00"] {
        let reply = send(&server, &authorization(KEY, SECRET, date, S32)).await;
        assert_refused(&reply, 403, "RequestTimeTooSkewed");
    }
    for signature in ["0", "zz", "e3b0c442"] {
        let date = server.clock.now().to_string();
        let reply = send(&server, &sha256(&date, S32, signature)).await;
        assert_refused(&reply, 403, "SignatureDoesNotMatch");
    }
    // None of these used the good one up.
    assert_eq!(send(&server, &good).await.status, 200);
}

async fn a_signature_is_good_once(server: Server) {
    let header = fresh(&server, KEY, SECRET);
    let get = |header: &str| server.request("GET", &at(ID)).header("authorization", header).send();
    assert_eq!(get(&header).await.status, 200);
    // Neither method nor path nor body is signed, so it is used up for all of them.
    assert_refused(&send(&server, &header).await, 403, "DuplicatedSignature");
    let (head, signature) = header.rsplit_once('=').unwrap();
    let upper = format!("{head}={}", signature.to_uppercase());
    assert_refused(&get(&upper).await, 403, "DuplicatedSignature");
    server.clock.advance(SignedDuration::from_millis(899_999));
    assert_refused(&get(&header).await, 403, "DuplicatedSignature");
    server.clock.advance(SignedDuration::from_millis(1));
    assert_refused(&get(&header).await, 403, "RequestTimeTooSkewed");

    // A clock that runs ahead makes a signature live for almost half an hour.
    let ahead = (server.clock.now() + SignedDuration::from_secs(899)).to_string();
    let header = authorization(KEY, SECRET, &ahead, S32);
    assert_eq!(get(&header).await.status, 200);
    server.clock.advance(SignedDuration::from_secs(1797));
    assert_refused(&get(&header).await, 403, "DuplicatedSignature");
}

/// Date and salt are signed as one text: nobody may draw the line between them elsewhere.
async fn a_signature_is_good_for_one_date(server: Server) {
    let salt = "0123456789abcdef";
    for (date, other) in [
        ("2026-04-23T14:45:30+05:30", "2026-04-23T14:45:30+05"),
        ("2026-04-23T18:45:30+09:30", "2026-04-23T18:45:30+09"),
    ] {
        let rest = format!("{}{salt}", &date[other.len()..]);
        let signature = hmac_of(SECRET, date, salt);
        assert_eq!(signature, hmac_of(SECRET, other, &rest));
        assert_eq!(send(&server, &sha256(date, salt, &signature)).await.status, 200, "{date}");
        // Once the signature is forgotten, the other date is current.
        server.clock.advance(SignedDuration::from_mins(31));
        let reply = send(&server, &sha256(other, &rest, &signature)).await;
        assert_refused(&reply, 400, "ValidationError");
        server.clock.advance(SignedDuration::from_mins(-31));
    }
}

async fn concurrent_replays(server: Server) {
    let header = fresh(&server, KEY, SECRET);
    let replies = futures_util::future::join_all((0..16).map(|_| send(&server, &header))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        assert_refused(reply, 403, "DuplicatedSignature");
    }
}

async fn a_refused_request_uses_its_signature_up(server: Server) {
    for (id, body, status, code) in
        [(ID, "{}", 400, "ValidationError"), ("nothing", BODY, 404, "ResourceNotFound")]
    {
        let header = fresh(&server, KEY, SECRET);
        let request = server.request("PATCH", &at(id)).header("authorization", &header);
        assert_refused(&request.body(body).send().await, status, code);
        assert_refused(&send(&server, &header).await, 403, "DuplicatedSignature");
    }
}

async fn an_edit_uses_its_signature_up_however_it_ends(server: Server) {
    let edit =
        |header: &str| server.request("PATCH", &at(ID)).header("authorization", header).body(BODY);
    // The same edit under the same idempotency key twice: the second is a repetition.
    for (name, value, status) in [
        ("x-nothing", "", 200),
        ("haksa-dry-run", "true", 200),
        ("haksa-dry-run", "perhaps", 400),
        ("if-match", "\"99\"", 412),
        ("idempotency-key", "", 400),
        ("idempotency-key", "k1", 200),
        ("idempotency-key", "k1", 200),
    ] {
        let header = fresh(&server, KEY, SECRET);
        let reply = edit(&header).header(name, value).send().await;
        assert_eq!(reply.status, status, "{name}: {value}: {}", reply.text());
        assert_refused(&edit(&header).send().await, 403, "DuplicatedSignature");
        let reply = edit(&header).header(name, value).send().await;
        assert_refused(&reply, 403, "DuplicatedSignature");
    }
    let header = fresh(&server, KEY, SECRET);
    let reused = server.request("PATCH", &at(ID)).header("authorization", &header);
    let reused = reused.header("idempotency-key", "k1").body(r#"{"metadata":{}}"#).send().await;
    assert_refused(&reused, 422, "ValidationError");
    assert_refused(&edit(&header).send().await, 403, "DuplicatedSignature");
}

/// Of everything that comes behind the signature, none is looked at.
async fn a_replay_is_told_before_all_else(server: Server) {
    let header = fresh(&server, KEY, SECRET);
    assert_eq!(send(&server, &header).await.status, 200);
    for (id, name, value, body) in [
        (ID, "x-nothing", "", "{bad"),
        ("nothing", "x-nothing", "", BODY),
        (ID, "haksa-dry-run", "perhaps", BODY),
        (ID, "haksa-dry-run", "true", BODY),
        (ID, "idempotency-key", "", BODY),
        (ID, "if-match", "\"99\"", BODY),
    ] {
        let request = server.request("PATCH", &at(id)).header("authorization", &header);
        let reply = request.header(name, value).body(body).send().await;
        assert_refused(&reply, 403, "DuplicatedSignature");
    }
}

/// The edit and its signature: who waits for a signed edit waits for the disk once.
async fn a_signed_edit_is_one_commit(server: Server) {
    let commits = || {
        let path = server.url.strip_prefix("sqlite:").expect("a file");
        let index = std::fs::read(format!("{path}-shm")).expect("the index of the log");
        u32::from_ne_bytes(*index[8..].first_chunk().expect("its count of commits"))
    };
    let is_sqlite = server.url.starts_with("sqlite:");
    let before = if is_sqlite { commits() } else { 0 };
    assert_eq!(send(&server, &fresh(&server, KEY, SECRET)).await.status, 200);
    if is_sqlite {
        assert_eq!(commits() - before, 1);
    } else {
        // Rows say which transaction wrote them.
        let writers = "SELECT s.xmin::text::bigint, c.xmin::text::bigint FROM signature s, change c \
                       ORDER BY s.expires_at DESC, c.id DESC LIMIT 1";
        let writers = server.numbers(writers).await;
        assert_eq!(writers[0], writers[1]);
    }
}

async fn checks_come_in_order(server: Server) {
    let now = server.clock.now().to_string();
    let old = "2026-04-23T08:00:00Z";
    let short = "short";
    let long = S32;
    for (key, date, salt, secret, status, code) in [
        ("NCSNOSUCHKEY0001", "never", short, "wrong", 400, "ValidationError"),
        ("NCSNOSUCHKEY0001", old, short, "wrong", 400, "ValidationError"),
        ("NCSNOSUCHKEY0001", old, long, "wrong", 403, "InvalidAPIKey"),
        (KEY, old, long, "wrong", 403, "RequestTimeTooSkewed"),
        (KEY, now.as_str(), long, "wrong", 403, "SignatureDoesNotMatch"),
    ] {
        for (id, body) in [(ID, "{bad"), ("nothing", BODY)] {
            let header = authorization(key, secret, date, salt);
            let request = server.request("PATCH", &at(id)).header("authorization", &header);
            assert_refused(&request.body(body).send().await, status, code);
        }
    }
}

/// Makes a credential named `public_id` that signs with [`SECRET`].
async fn credential(server: &Server, id: i64, public_id: &str, mut credential: Credential) {
    let sealed = server.app.vault.seal(public_id, SECRET, [9; NONCE_BYTES]).unwrap();
    credential.public_id = Some(public_id.to_owned());
    credential.secret_sealed = Some(sealed);
    let command = Create { key: Some(id.into()), created_at: None, record: credential };
    let envelope = Envelope::new(Actor::operator(3), "test");
    server.app.pipeline.run(command, envelope).await.unwrap();
}

fn member() -> Credential {
    let mut member = Credential::new(Dialect::Solapi, "a test's key");
    member.policies = vec!["MEMBER".to_owned()];
    member
}

async fn keys(server: Server) {
    let now = server.clock.now();
    let second = SignedDuration::from_secs(1);
    credential(&server, 33, "ENDED", Credential { expires_at: Some(now), ..member() }).await;
    credential(&server, 34, "REVOKED", Credential { revoked_at: Some(now), ..member() }).await;
    credential(&server, 35, "FOREIGN", Credential { dialect: Dialect::Ncloud, ..member() }).await;
    credential(&server, 36, "ENDING", Credential { expires_at: Some(now + second), ..member() })
        .await;
    for key in ["ENDED", "REVOKED", "FOREIGN", "NONE", "'; --", &KEY.to_lowercase()] {
        let reply = send(&server, &fresh(&server, key, SECRET)).await;
        assert_refused(&reply, 403, "InvalidAPIKey");
    }
    assert_eq!(send(&server, &fresh(&server, "ENDING", SECRET)).await.status, 200);
    server.clock.advance(second);
    let reply = send(&server, &fresh(&server, "ENDING", SECRET)).await;
    assert_refused(&reply, 403, "InvalidAPIKey");
    // A secret sealed for another credential does not open: a fault of ours, not told to the caller.
    let moved = server.app.vault.seal("OTHER", SECRET, [9; NONCE_BYTES]).unwrap();
    let mut broken = Credential { public_id: Some("BROKEN".to_owned()), ..member() };
    broken.secret_sealed = Some(moved);
    let command = Create { key: Some(37.into()), created_at: None, record: broken };
    let envelope = Envelope::new(Actor::operator(3), "test");
    server.app.pipeline.run(command, envelope).await.unwrap();
    let reply = send(&server, &fresh(&server, "BROKEN", SECRET)).await;
    assert_refused(&reply, 500, "InternalServerError");
}

async fn roles(server: Server) {
    let before = read(&server).await;
    for (id, roles, is_enough) in [
        (33, &[][..], false),
        (34, &["GUEST"][..], false),
        (35, &["member"][..], false),
        (36, &["MEMBER"][..], true),
        (37, &["DEVELOPER"][..], true),
        (38, &["OWNER"][..], true),
        (39, &["GUEST", "OWNER"][..], true),
    ] {
        let key = format!("ROLE{id}");
        let policies = roles.iter().map(ToString::to_string).collect();
        credential(&server, id, &key, Credential { policies, ..member() }).await;
        for (method, id, body) in [
            ("GET", ID, ""),
            ("PATCH", ID, r#"{"metadata":{"role":"primary","isPrimary":true}}"#),
            ("PATCH", ID, "{bad"),
            ("PATCH", "nothing", BODY),
        ] {
            let header = fresh(&server, &key, SECRET);
            let request = server.request(method, &at(id)).header("authorization", &header);
            let reply = request.body(body).send().await;
            if is_enough {
                assert_ne!(reply.status, 401, "{roles:?}");
            } else {
                assert_refused(&reply, 401, "Unauthorized");
                assert_refused(&send(&server, &header).await, 403, "DuplicatedSignature");
            }
        }
    }
    assert_eq!(read(&server).await["metadata"], before["metadata"]);
}

async fn addresses(server: Server) {
    for (id, allowed, is_allowed) in [
        (33, &["192.0.2.1"][..], false),
        (34, &["nonsense"][..], false),
        (35, &["192.0.2.1", "127.0.0.1"][..], true),
    ] {
        let key = format!("ADDRESS{id}");
        let allowed_ips = allowed.iter().map(ToString::to_string).collect();
        credential(&server, id, &key, Credential { allowed_ips, ..member() }).await;
        let header = fresh(&server, &key, SECRET);
        let reply = server
            .request("PATCH", &at(ID))
            .header("authorization", &header)
            .header("x-forwarded-for", "192.0.2.1")
            .body(BODY)
            .send()
            .await;
        if is_allowed {
            assert_eq!(reply.status, 200, "{}", reply.text());
        } else {
            assert_eq!(reply.status, 403);
            assert_eq!(
                reply.json(),
                json!({
                    "errorCode": "Forbidden",
                    "errorMessage": "허용되지 않은 IP(127.0.0.1)로 접근하고 있습니다.",
                })
            );
            assert_refused(&send(&server, &header).await, 403, "DuplicatedSignature");
        }
    }
}

/// Closes account 3, for which there is no command yet.
struct CloseAccount;

impl Command for CloseAccount {
    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        let before = facts.document(Kind::Account, &Key::Int(3))?.expect("it is there");
        let mut after = (*before).clone();
        after.meta.deleted_at = Some(context.at);
        Ok(Decision::write(Action::Delete, Some(before), after))
    }
}

async fn an_account_that_is_gone(server: Server) {
    let envelope = Envelope::new(Actor::operator(3), "test");
    server.app.pipeline.run(CloseAccount, envelope).await.unwrap();
    for method in ["GET", "PATCH"] {
        let header = fresh(&server, KEY, SECRET);
        let request = server.request(method, &at(ID)).header("authorization", header);
        assert_refused(&request.body(BODY).send().await, 401, "Unauthorized");
    }
}

/// A4, which works only where the operator wants it to.
#[tokio::test]
async fn md5_is_a_choice() {
    let header = format!(
        "HMAC-MD5 apiKey={KEY}, date=2026-04-23T09:15:30.123Z, salt={S32}, \
         signature=7762daf3385317574d3c2f0d2ce2c030"
    );
    let server = Server::start(Backend::Sqlite).await;
    assert_refused(&send(&server, &header).await, 401, "Unauthorized");
    let mut config = Config::default();
    config.solapi.hmac_md5 = true;
    let server = Server::start_with(Backend::Sqlite, config).await;
    assert_eq!(send(&server, &header).await.status, 200);
    assert_refused(&send(&server, &header).await, 403, "DuplicatedSignature");
}
