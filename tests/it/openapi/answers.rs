//! That the documents hold for themselves, and that what compares answers with them does so.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::document::{self, Document, Exchange, OUTSIDE};
use crate::support::{Backend, Reply, Server};

/// Every example, with the pointer of the schema that it is an example of.
fn examples(document: &Document) -> Vec<(String, String, Value)> {
    fn walk(whole: &Value, at: &str, found: &mut Vec<(String, String, Value)>) {
        match whole {
            Value::Object(words) => {
                if words.contains_key("schema") {
                    let mut note = |name: &str, value: &Value| {
                        found.push((format!("{at}/{name}"), format!("{at}/schema"), value.clone()));
                    };
                    if let Some(example) = words.get("example") {
                        note("example", example);
                    }
                    for (name, example) in
                        words.get("examples").and_then(Value::as_object).into_iter().flatten()
                    {
                        note(name, example);
                    }
                }
                for (word, inner) in words {
                    walk(
                        inner,
                        &format!("{at}/{}", word.replace('~', "~0").replace('/', "~1")),
                        found,
                    );
                }
            }
            Value::Array(items) => {
                for (index, inner) in items.iter().enumerate() {
                    walk(inner, &format!("{at}/{index}"), found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(&document.whole["paths"], "/paths", &mut found);
    walk(&document.whole["components"], "/components", &mut found);
    for (_, _, example) in &mut found {
        if let Some(reference) = example.get("$ref").and_then(Value::as_str) {
            let pointer = reference.trim_start_matches('#');
            *example = document.whole.pointer(pointer).expect("an example").clone();
        }
        if let Some(value) = example.get("value") {
            *example = value.clone();
        }
    }
    found
}

/// Objects of which no member is always there.
const ALL_OPTIONAL: [(&str, &str); 2] = [("ncloud", "Consent"), ("ncloud", "Localised")];

/// What a generated client makes a type of says which members are always there.
#[test]
fn every_object_of_an_answer_says_what_is_always_there() {
    fn walk(document: &Document, schema: &Value, at: &str, seen: &mut Vec<String>) -> Vec<String> {
        let mut loose = Vec::new();
        match schema {
            Value::Object(words) => {
                if let Some(Value::String(reference)) = words.get("$ref") {
                    let name = reference.rsplit('/').next().unwrap_or_default();
                    if !seen.contains(reference) {
                        seen.push(reference.clone());
                        let pointer = reference.trim_start_matches('#');
                        let schema = document.whole.pointer(pointer).expect("a schema");
                        loose.extend(walk(document, schema, name, seen));
                    }
                }
                let required = words.get("required").and_then(Value::as_array);
                let is_object = words.get("properties").is_some_and(Value::is_object);
                let is_known = ALL_OPTIONAL.contains(&(document.name, at));
                if is_object && required.is_none_or(Vec::is_empty) && !is_known {
                    loose.push(format!("{} {at}", document.name));
                }
                for (word, inner) in words {
                    if word != "example" && word != "examples" && word != "headers" {
                        loose.extend(walk(document, inner, &format!("{at}/{word}"), seen));
                    }
                }
            }
            Value::Array(items) => {
                for item in items {
                    loose.extend(walk(document, item, at, seen));
                }
            }
            _ => {}
        }
        loose
    }
    let (mut loose, mut count) = (Vec::new(), 0);
    for document in document::all() {
        let mut seen = Vec::new();
        for (path, item) in document.whole["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                if let Some(responses) = operation.get("responses") {
                    let at = format!("{method} {path}");
                    loose.extend(walk(document, responses, &at, &mut seen));
                    count += 1;
                }
            }
        }
        assert!(seen.len() > 5, "{} refers to little: {seen:?}", document.name);
    }
    assert!(count > 80, "{count} operations");
    assert!(loose.is_empty(), "{}", loose.join("\n"));
}

#[test]
fn every_example_fits_its_schema() {
    let mut misfits = Vec::new();
    for document in document::all() {
        let examples = examples(document);
        assert!(examples.len() > 10, "{} has few examples", document.name);
        for (at, schema, mut example) in examples {
            // An example in XML is a text.
            if schema.contains("~1xml") {
                let text = example.as_str().unwrap_or_default();
                example = document::from_xml(text).unwrap_or_else(|| panic!("{at} is no XML"));
            }
            if let Some(misfit) = document.misfit(&schema, &example) {
                misfits.push(format!("{}#{at}: {misfit}", document.name));
            }
        }
    }
    assert!(misfits.is_empty(), "{}", misfits.join("\n"));
}

/// Sends bytes and reads the answer to them.
async fn answer(server: &Server, sent: &str) -> (String, String, Reply) {
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    stream.write_all(sent.as_bytes()).await.expect("bytes are taken");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    document::read(sent.as_bytes(), &answer).expect("a whole answer")
}

#[tokio::test]
async fn all_that_is_outside_is_answered_so_and_explained_once() {
    let server = Server::start(Backend::Sqlite).await;
    for (index, outside) in OUTSIDE.iter().enumerate() {
        assert!(!outside.reason.is_empty());
        let sample = outside.sample.replace("LONG", &"a".repeat(33 * 1024));
        let (method, path, reply) = answer(&server, &sample).await;
        assert!(document::inside(&method, &path, &reply).is_err(), "{}", outside.sample);
        let exchange = Exchange::of(&method, &path, &reply);
        let covers: Vec<_> =
            (0..OUTSIDE.len()).filter(|other| (OUTSIDE[*other].covers)(&exchange)).collect();
        assert!(covers.contains(&index), "{}: {covers:?}", outside.sample);
        document::judge(&method, &path, &reply);
    }
}

/// Each way in which an answer can be otherwise than documented.
#[tokio::test]
async fn an_answer_that_is_not_documented_is_noticed() {
    let server = Server::start(Backend::Sqlite).await;
    let path = "/open-api/achievements/1539";
    let read = server.request("GET", path).bearer("demo-kolleges-key");
    let reply = read.send().await;
    let fault = |change: &dyn Fn(&mut Reply)| {
        let mut reply = reply.clone();
        change(&mut reply);
        document::inside("GET", path, &reply).err().unwrap_or_default()
    };
    let body = |change: &dyn Fn(&mut Value)| {
        fault(&|reply| {
            let mut body = reply.json();
            change(&mut body);
            reply.body = body.to_string().into();
        })
    };
    assert_eq!(fault(&|_| {}), "");
    assert_eq!(fault(&|reply| reply.status = 409), "has a status that is not documented");
    assert_eq!(fault(&|reply| reply.status = 404), "has a header that is not documented, etag");
    let html: http::HeaderValue = "text/html".parse().expect("a type");
    assert_eq!(
        fault(&|reply| drop(reply.headers.insert("content-type", html.clone()))),
        "has a content type that is not documented, \"text/html\""
    );
    assert!(fault(&|reply| reply.body = "{".into()).starts_with("is no JSON"));
    let more = body(&|body| body["achievement"]["user"]["nickname"] = json!("x"));
    assert!(more.contains("nickname"), "{more}");
    let within = body(&|body| body["achievement"]["achievementForm"]["more"] = json!(1));
    assert!(within.contains("more"), "{within}");
    let other = body(&|body| body["achievement"]["id"] = json!("1539"));
    assert!(other.contains("integer"), "{other}");
    let fewer = body(&|body| drop(body["achievement"].as_object_mut().unwrap().remove("level")));
    assert!(fewer.contains("level"), "{fewer}");
    let day = body(&|body| body["achievement"]["created_at"] = json!("yesterday"));
    assert!(day.contains("yesterday"), "{day}");
    assert!(document::inside("GET", "/open-api/nothing", &reply).is_err());
}
