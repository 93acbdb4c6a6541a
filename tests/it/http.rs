//! What comes before any dialect: limits, slowness, malformed HTTP. Spoken over a bare socket.

use haksa::config::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Backend, PATIENCE, Server, document};

/// Sends bytes as they are and reads until the server closes.
async fn exchange(server: &Server, parts: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    for part in parts {
        // The server may have answered and closed already.
        let _ = stream.write_all(part).await;
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    document::judge_bytes(parts[0], &answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn patch(headers: &str) -> Vec<u8> {
    format!(
        "PATCH /open-api/achievements/1539 HTTP/1.1\r\nhost: haksa\r\n\
         authorization: Bearer demo-kolleges-key\r\ncontent-type: application/json\r\n{headers}\r\n"
    )
    .into_bytes()
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_unread() {
    let server = Server::start(Backend::Sqlite).await;
    let answer = exchange(&server, &[&patch("content-length: 1048577\r\n")]).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("\"BadRequest\"") && answer.contains("connection: close"), "{answer}");
    let native = b"POST /haksa/v1/changes/1/undo HTTP/1.1\r\nhost: h\r\n\
        authorization: Bearer demo-admin-key\r\ncontent-length: 9999999\r\n\r\n";
    let answer = exchange(&server, &[native]).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // A client that asks first is not told to go on.
    let asking = patch("content-length: 9999999\r\nexpect: 100-continue\r\n");
    let answer = exchange(&server, &[&asking]).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

/// Who calls and what for is asked before the body is judged, in each dialect whose pages say so.
#[tokio::test]
async fn a_body_over_the_limit_gives_no_stranger_another_answer() {
    let server = Server::start(Backend::Sqlite).await;
    for (method, target, status) in [
        ("PATCH", "/open-api/achievements/1539", 401),
        ("PATCH", "/open-api/nothing", 404),
        ("PUT", "/applications/88d2009c-0000-4000-8000-59bf9afd5695", 401),
        ("PUT", "/applications/1/nothing", 404),
        ("PATCH", "/crm-core/v1/relationships/CRMRL1260423091530123REL11122233", 401),
        ("POST", "/enrollment/d48bd4fa-5b70-11e9-b12b-22e9fbac4a59", 401),
        ("POST", "/haksa/v1/changes/1/undo", 401),
        ("GET", "/healthz", 200),
    ] {
        let head =
            format!("{method} {target} HTTP/1.1\r\nhost: h\r\ncontent-length: 1048577\r\n\r\n");
        let answer = exchange(&server, &[head.as_bytes()]).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{target}: {answer}");
    }
}

/// A client that sends everything before it reads gets its answer all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_it_all_reads_the_refusal() {
    let server = Server::start(Backend::Sqlite).await;
    for (length, is_chunked) in [(1_048_577, false), (8_388_608, false), (8_388_608, true)] {
        for _ in 0..10 {
            let body = vec![b'x'; length];
            let (head, body) = if is_chunked {
                let chunk =
                    [format!("{length:x}\r\n").as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
                (patch("transfer-encoding: chunked\r\n"), chunk)
            } else {
                (patch(&format!("content-length: {length}\r\n")), body)
            };
            let mut stream = TcpStream::connect(server.address).await.expect("a connection");
            stream.write_all(&head).await.expect("the head is taken");
            stream.write_all(&body).await.expect("the body is taken");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.expect("an answer");
            assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
            document::judge_bytes(&head, &answer);
        }
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let server = Server::start(Backend::Sqlite).await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000)).into_bytes();
    let head = patch("transfer-encoding: chunked\r\n");
    let mut parts: Vec<&[u8]> = vec![&head];
    parts.extend(std::iter::repeat_n(chunk.as_slice(), 64));
    let answer = exchange(&server, &parts).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    // The server lives on.
    assert_eq!(server.request("GET", "/readyz").send().await.status, 200);
}

#[tokio::test]
async fn a_slow_body_and_a_slow_head_are_cut_off() {
    let server = Server::start(Backend::Sqlite).await;
    let answer = exchange(&server, &[&patch("content-length: 100\r\n"), b"{\"level\":"]).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("too slowly"), "{answer}");
    let answer = exchange(&server, &[b"GET /healthz HTTP/1.1\r\nhost: h"]).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
}

/// Asks for far more than a socket holds, and reads nothing.
#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let server = Server::start(Backend::Sqlite).await;
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    let request = b"GET /openapi/partner.json HTTP/1.1\r\nhost: h\r\n\r\n".repeat(400);
    stream.write_all(&request).await.expect("requests are taken");
    tokio::time::sleep(PATIENCE.answer_within * 4).await;
    // What the socket held is still there, and then it ends, short of what was asked for.
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let document = server.request("GET", "/openapi/partner.json").send().await.body.len();
    assert!(answer.len() < 400 * document, "{} bytes were sent", answer.len());
}

#[tokio::test]
async fn ambiguous_and_malformed_requests_are_refused() {
    let server = Server::start(Backend::Sqlite).await;
    let ambiguous = patch("content-length: 2\r\ncontent-length: 3\r\n");
    for request in [
        &ambiguous[..],
        b"GET /healthz HTTP/1.1\r\nhost: h\r\nx: a\x00b\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nhost: h\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    ] {
        let answer = exchange(&server, &[request]).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(server.request("GET", "/readyz").send().await.status, 200);
}

#[tokio::test]
async fn no_header_can_be_smuggled_into_an_answer() {
    let server = Server::start(Backend::Sqlite).await;
    let reply = server
        .request("GET", "/healthz")
        .header("x-request-id", "a%0d%0aset-cookie: b=c")
        .send()
        .await;
    assert!(reply.headers.get("set-cookie").is_none());
    assert_eq!(reply.header("x-request-id").len(), 36);
}

#[tokio::test]
async fn the_documents_are_served() {
    let server = Server::start(Backend::Sqlite).await;
    let page = server.request("GET", "/docs/").send().await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html"));
    // Whatever path a proxy has put before it.
    let moved = server.request("GET", "/docs").send().await;
    assert_eq!((moved.status, moved.header("location")), (303, "docs/"));
    let start = server.request("GET", "/docs/swagger-initializer.js").send().await.text();
    assert!(start.contains(r#""../openapi/native.json""#), "{start}");
    assert!(!start.contains(r#""/openapi/"#), "{start}");
    assert_eq!(server.request("GET", "/docs/nothing.js").send().await.status, 404);
    for wire in haksa::dialect::WIRES {
        let target = format!("/openapi/{}.json", wire.dialect.name());
        let document = server.request("GET", &target).send().await.json();
        assert_eq!(document["openapi"], "3.1.0", "{target}");
        // The document and the router list the same routes.
        let mut documented: Vec<String> = Vec::new();
        for (path, operations) in document["paths"].as_object().expect("paths") {
            for method in ["get", "put", "post", "patch", "delete"] {
                if operations.get(method).is_some() {
                    documented.push(format!("{} {path}", method.to_uppercase()));
                }
            }
        }
        let mut routed: Vec<String> =
            wire.documented().map(|(path, route)| format!("{} {path}", route.method)).collect();
        if wire.dialect == haksa::dialect::Dialect::Native {
            routed.extend(["/healthz", "/readyz", "/metrics"].map(|path| format!("GET {path}")));
        }
        documented.sort();
        routed.sort();
        assert_eq!(documented, routed, "{target}");
    }
}

#[tokio::test]
async fn metrics_count_requests() {
    let server = Server::start(Backend::Sqlite).await;
    assert_eq!(server.request("GET", "/open-api/nothing").send().await.status, 404);
    let metrics = server.request("GET", "/metrics").send().await.text();
    let line = metrics
        .lines()
        .find(|line| line.starts_with("haksa_requests_total{dialect=\"kolleges\",status=\"4xx\"}"));
    assert!(line.is_some(), "{metrics}");
}

/// Whose words a refusal is in is known once the path is; a head that goes on is cut off without any.
#[tokio::test]
async fn a_head_over_the_limit_is_refused_in_the_dialects_words() {
    let server = Server::start(Backend::Sqlite).await;
    let head = |target: &str, length: usize| {
        let head = format!("GET {target} HTTP/1.1\r\nhost: h\r\nconnection: close\r\nx: ");
        let rest = length - head.len() - "\r\n\r\n".len();
        format!("{head}{}\r\n\r\n", "a".repeat(rest)).into_bytes()
    };
    assert!(exchange(&server, &[&head("/healthz", 32 * 1024)]).await.starts_with("HTTP/1.1 200"));
    for (target, words) in [
        ("/open-api/achievements", r#""error":"RequestHeaderFieldsTooLarge""#),
        ("/models", r#"{"detail":"Request Header Fields Too Large"}"#),
        ("/applications/1", r#""errorCode":"430""#),
        ("/crm-core/v1/nothing", "The head is too large"),
        ("/enrollment/1", "Request header fields too large"),
        ("/healthz", r#""detail":"the head is larger than 32 KiB""#),
    ] {
        let answer = exchange(&server, &[&head(target, 33 * 1024)]).await;
        assert!(answer.starts_with("HTTP/1.1 431") && answer.contains(words), "{target}: {answer}");
        assert!(answer.contains("connection: close"), "{target}: {answer}");
    }
    for head in [head("/healthz", 41 * 1024), b"a: b\r\n".repeat(100)] {
        let begun = [b"GET /healthz HTTP/1.1\r\nhost: h\r\n", &head[..], b"\r\n"].concat();
        let answer = exchange(&server, &[&begun]).await;
        assert!(answer.starts_with("HTTP/1.1 4") && answer.ends_with("\r\n\r\n"), "{answer}");
    }
}

/// Headers by which one program on the way may see another caller, another server or another request than
/// the next does.
#[tokio::test]
async fn a_header_that_is_not_there_once_is_refused_in_the_dialects_words() {
    let server = Server::start(Backend::Sqlite).await;
    let ask = async |target: &str, head: &str| {
        let head = format!("GET {target} {head}\r\n\r\n");
        exchange(&server, &[head.as_bytes()]).await
    };
    let (host, key, once) =
        ("host: h", "authorization: Bearer demo-admin-key", "idempotency-key: a");
    for (target, words) in [
        ("/open-api/achievements", r#"[{"field":"NAME","reason":"must be there once"}]"#),
        ("/models", r#"{"detail":"NAME must be there once"}"#),
        ("/applications/1", r#""details":"NAME must be there once""#),
        ("/crm-core/v1/relationships/1", r#""errorMessage":"NAME must be there once""#),
        ("/enrollment/1", "<message>Wrong parameters</message>"),
        ("/haksa/v1/models", r#""detail":"NAME must be there once""#),
        ("/healthz", r#""detail":"NAME must be there once""#),
        ("/docs/", r#""detail":"NAME must be there once""#),
    ] {
        for (name, head) in [
            ("Host", "HTTP/1.1".to_owned()),
            ("Host", format!("HTTP/1.1\r\n{key}")),
            ("Host", format!("HTTP/1.1\r\n{host}\r\n{host}")),
            ("Host", format!("HTTP/1.1\r\n{host}\r\nhost: other")),
            ("Host", format!("HTTP/1.0\r\n{host}\r\n{host}")),
            ("Authorization", format!("HTTP/1.1\r\n{host}\r\n{key}\r\n{key}")),
            ("Authorization", format!("HTTP/1.1\r\n{host}\r\nauthorization:\r\n{key}")),
            ("Idempotency-Key", format!("HTTP/1.1\r\n{host}\r\n{key}\r\n{once}\r\n{once}")),
        ] {
            let answer = ask(target, &head).await;
            let words = words.replace("NAME", name);
            assert_eq!(answer.split(' ').nth(1), Some("400"), "{target} {head}: {answer}");
            assert!(answer.contains(&words), "{target} {head}: {answer}");
            assert!(answer.contains("connection: close"), "{target} {head}: {answer}");
        }
    }
    // The older version needs none, and a body is not read for nothing.
    let answer = ask("/healthz", "HTTP/1.0").await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    let edit = b"PATCH /open-api/achievements/1539 HTTP/1.1\r\nhost: h\r\n\
        authorization: Bearer demo-kolleges-key\r\nidempotency-key: a\r\nidempotency-key: b\r\n\
        content-length: 11\r\n\r\n{\"level\":7}";
    let answer = exchange(&server, &[edit]).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(server.history("achievement/1539").await.len(), 1);
}

/// Whoever serves anything below a word has all that is below it; whoever serves a route words what is
/// wrong with it.
#[test]
fn a_path_is_its_owners() {
    use haksa::dialect::{WIRES, Wire};
    for wire in WIRES {
        for (path, _) in wire.served() {
            assert_eq!(Wire::of(&path).dialect, wire.dialect, "{path}");
            let word = path.split('/').nth(1).expect("a word");
            // Versions of several systems' paths.
            if word != "api" {
                for below in ["", "/nothing", "/5", "/5/nothing"] {
                    let path = format!("/{word}{below}");
                    assert_eq!(Wire::of(&path).dialect, wire.dialect, "{path}");
                }
            }
        }
    }
}

/// The memory of this process, MiB.
pub fn memory_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says it");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .map_or(0, |kib: usize| kib / 1024)
}

/// Strangers who begin to send as much as they like.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_heads_take_little() {
    let server = Server::start(Backend::Sqlite).await.patient(Config::default()).await;
    let before = memory_mib();
    let half = bytes::Bytes::from(
        [b"GET /healthz HTTP/1.1\r\nhost: h\r\nx: ".to_vec(), vec![b'a'; 360_000]].concat(),
    );
    let mut opened = Vec::new();
    for _ in 0..200 {
        let (half, mut stream) =
            (half.clone(), TcpStream::connect(server.address).await.expect("a connection"));
        opened.push(tokio::spawn(async move {
            // It is cut off, or what is not taken waits.
            let _ = stream.write_all(&half).await;
            stream
        }));
    }
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let grown = memory_mib().saturating_sub(before);
    assert!(grown < 40, "200 half heads took {grown} MiB");
}
