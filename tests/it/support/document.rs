//! Compares answers with the API documents: every answer of every test has a documented status, documented
//! headers, a documented content type and, where it is JSON or XML, a body that fits its schema and says
//! nothing that the schema does not. What is outside of that stands in [`OUTSIDE`].
//!
//! [`super::Request`] and the tests that speak over a bare socket come by here. Not seen are answers that
//! other programs read: `curl` in the commands that `haksa demo` prints and in a vendor's sample, whose
//! requests other tests make too; and those that nobody reads, of tests in which a client does not.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::Reply;

/// The API documents: those of the dialects and that of the native API.
pub const DOCUMENTS: [&str; 6] = ["ispring", "kolleges", "native", "ncloud", "partner", "solapi"];

/// A document, parsed.
pub struct Document {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub whole: Value,
    /// Of schemas, by pointer, once they are needed.
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// Parsed when they are needed: a test asks for one, mostly.
static ALL: [OnceLock<Document>; DOCUMENTS.len()] = [const { OnceLock::new() }; DOCUMENTS.len()];

/// All documents.
pub fn all() -> impl Iterator<Item = &'static Document> {
    DOCUMENTS.into_iter().map(named)
}

fn named(name: &str) -> &'static Document {
    let index = DOCUMENTS.iter().position(|document| *document == name).expect("a document");
    ALL[index].get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi");
        let text = std::fs::read(folder.join(format!("{name}.json"))).expect("a document");
        let whole = serde_json::from_slice(&text).expect("JSON");
        Document { name: DOCUMENTS[index], whole, validators: Mutex::default() }
    })
}

/// The document of the dialect that answers for a path.
fn of(path: &str) -> &'static Document {
    named(haksa::dialect::Wire::of(path).dialect.name())
}

impl Document {
    /// What stands at a pointer, with references followed, and where that is.
    fn at(&self, pointer: &str) -> Option<(&Value, String)> {
        let (mut found, mut pointer) = (self.whole.pointer(pointer)?, pointer.to_owned());
        while let Some(reference) = found.get("$ref").and_then(Value::as_str) {
            reference.trim_start_matches('#').clone_into(&mut pointer);
            found = self.whole.pointer(&pointer)?;
        }
        Some((found, pointer))
    }

    /// Why a value does not fit the schema at a pointer.
    pub fn misfit(&self, pointer: &str, value: &Value) -> Option<String> {
        let known = self.validators.lock().expect("no panic").get(pointer).cloned();
        let validator = known.unwrap_or_else(|| {
            let validator = Arc::new(self.validator(pointer));
            let mut all = self.validators.lock().expect("no panic");
            all.insert(pointer.to_owned(), Arc::clone(&validator));
            validator
        });
        let faults: Vec<_> = validator
            .iter_errors(value)
            .map(|fault| format!("{} (at {})", fault, fault.instance_path()))
            .collect();
        if faults.is_empty() { None } else { Some(faults.join("; ")) }
    }

    fn validator(&self, pointer: &str) -> Validator {
        let schema = self.whole.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"));
        let mut closing = Closing { document: self, named: BTreeMap::new() };
        let mut root = closing.close(schema, false);
        let named: Map<_, _> = closing.named.into_iter().collect();
        if let Some(words) = root.as_object_mut() {
            words.insert("$defs".to_owned(), Value::Object(named));
        }
        jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .should_validate_formats(true)
            .build(&root)
            .unwrap_or_else(|fault| panic!("{}{pointer} is no schema: {fault}", self.name))
    }
}

/// Closes a schema: where it lists members, there are no others, unless it says so itself. What it
/// refers to comes along.
struct Closing<'a> {
    document: &'a Document,
    named: BTreeMap<String, Value>,
}

impl Closing<'_> {
    /// `is_part`: what stands around it lists members too, so that is what has to be closed.
    fn close(&mut self, schema: &Value, is_part: bool) -> Value {
        let Value::Object(words) = schema else { return schema.clone() };
        let has = |word: &str| words.contains_key(word);
        let is_whole = has("allOf") || has("properties");
        let mut closed = Map::new();
        for (word, value) in words {
            let value = match (word.as_str(), value) {
                ("$ref", Value::String(reference)) => json!(self.name(reference, is_part)),
                ("properties", Value::Object(members)) => members
                    .iter()
                    .map(|(name, member)| (name.clone(), self.close(member, false)))
                    .collect::<Map<_, _>>()
                    .into(),
                ("items" | "additionalProperties", value) => self.close(value, false),
                ("if" | "then" | "else" | "not" | "contains", value) => self.close(value, true),
                ("allOf", Value::Array(parts)) => {
                    parts.iter().map(|part| self.close(part, true)).collect()
                }
                ("anyOf" | "oneOf", Value::Array(parts)) => {
                    parts.iter().map(|part| self.close(part, is_part || is_whole)).collect()
                }
                (_, value) => value.clone(),
            };
            closed.insert(word.clone(), value);
        }
        let is_object = has("properties") || mentions(words.get("type"), "object");
        let is_mixed = has("allOf") || has("properties") && (has("anyOf") || has("oneOf"));
        if !is_part && !has("additionalProperties") && (is_object || is_mixed) {
            let word = if is_mixed { "unevaluatedProperties" } else { "additionalProperties" };
            closed.insert(word.to_owned(), json!(false));
        }
        Value::Object(closed)
    }

    fn name(&mut self, reference: &str, is_part: bool) -> String {
        let name = reference.trim_start_matches("#/components/schemas/");
        let key = if is_part { format!("{name}.part") } else { name.to_owned() };
        if !self.named.contains_key(&key) {
            self.named.insert(key.clone(), json!(true));
            let schema = &self.document.whole["components"]["schemas"][name];
            let closed = self.close(schema, is_part);
            self.named.insert(key.clone(), closed);
        }
        format!("#/$defs/{key}")
    }
}

fn mentions(types: Option<&Value>, name: &str) -> bool {
    match types {
        Some(Value::String(one)) => one == name,
        Some(Value::Array(some)) => some.iter().any(|one| one == name),
        _ => false,
    }
}

/// The document and the pointer of the operation that serves a path.
fn operation(method: &str, path: &str) -> Option<(&'static Document, String)> {
    let method = if method == "HEAD" { "get".to_owned() } else { method.to_ascii_lowercase() };
    let segments: Vec<_> = path.split('/').collect();
    let fits = |template: &&String| {
        let parts: Vec<_> = template.split('/').collect();
        parts.len() == segments.len()
            && parts.iter().zip(&segments).all(|(part, segment)| {
                part == segment || part.starts_with('{') && !segment.is_empty()
            })
    };
    // Mostly it is in the first one looked at, so that the others need not be parsed.
    std::iter::once(of(path)).chain(all()).find_map(|document| {
        // As in the router, of several the one with the fewest parameters.
        let paths = document.whole["paths"].as_object()?.keys();
        let template = paths.filter(fits).min_by_key(|template| template.matches('{').count())?;
        let pointer = format!("/paths/{}/{method}", template.replace('/', "~1"));
        document.whole.pointer(&pointer).map(|_| (document, pointer))
    })
}

/// A request and what came of it.
pub struct Exchange<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its path, without the query.
    pub path: &'a str,
    /// The answer.
    pub reply: &'a Reply,
    /// A document has the path with this method.
    pub is_documented: bool,
}

impl<'a> Exchange<'a> {
    /// Looks the path up.
    pub fn of(method: &'a str, path: &'a str, reply: &'a Reply) -> Self {
        Self { method, path, reply, is_documented: operation(method, path).is_some() }
    }
}

/// Answers that no document lists.
pub struct Outside {
    /// Which.
    pub covers: fn(&Exchange<'_>) -> bool,
    /// The body is one of the dialect's refusals all the same, and is held to be.
    pub is_refusal: bool,
    /// Why no document lists them.
    pub reason: &'static str,
    /// A request that is answered so, as it is sent, `LONG` standing for 33 KiB.
    pub sample: &'static str,
}

/// All that is outside.
pub const OUTSIDE: [Outside; 8] = [
    Outside {
        covers: |it| !it.is_documented && matches!(it.reply.status, 404 | 405),
        is_refusal: true,
        reason: "a document lists what is served; each says how all else is answered",
        sample: "GET /haksa/v1/nothing HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    },
    Outside {
        covers: |it| {
            !it.is_documented
                && it.path.starts_with("/open-api/achievements/")
                && matches!(it.reply.status, 400 | 401)
        },
        is_refusal: true,
        reason: "verbs that no page has, on paths that a certificate's number would take: the words \
                 `forms`, `issue` and `badge-designs` are no numbers",
        sample: "DELETE /open-api/achievements/forms HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    },
    Outside {
        covers: |it| {
            it.method == "POST" && it.path.ends_with("/enrollment/delete") && it.reply.status == 404
        },
        is_refusal: true,
        reason: "a route of the vendor's that is not served, where an enrollment's id would stand",
        sample: "POST /enrollment/delete HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    },
    Outside {
        covers: |it| !it.is_documented && it.path.ends_with('/') && it.reply.status == 307,
        is_refusal: false,
        reason: "a slash too many is sent to the path without it, without a body, as at the vendor",
        sample: "GET /models/ HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    },
    Outside {
        covers: |it| {
            it.path == "/docs"
                || it.path.starts_with("/docs/")
                || DOCUMENTS.iter().any(|name| it.path == format!("/openapi/{name}.json"))
        },
        is_refusal: false,
        reason: "the documents themselves and the pages that show them",
        sample: "GET /openapi/native.json HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
    },
    Outside {
        covers: |it| {
            it.reply.body.is_empty()
                && matches!(it.reply.status, 400 | 431)
                && it.reply.header("x-request-id").is_empty()
        },
        is_refusal: false,
        reason: "what cannot be read as HTTP has no path, so no dialect: a status, and no body",
        sample: "GET /healthz HTTP/9.9\r\nhost: h\r\n\r\n",
    },
    Outside {
        covers: |it| it.reply.status == 431 && !it.reply.body.is_empty(),
        is_refusal: true,
        reason: "a head over the limit, on whatever path",
        sample: "GET /healthz HTTP/1.1\r\nhost: h\r\nx: LONG\r\n\r\n",
    },
    Outside {
        covers: |it| {
            it.reply.status == 400
                && it.reply.header("connection") == "close"
                && !it.reply.body.is_empty()
        },
        is_refusal: true,
        reason: "a header that is not there once, as HTTP or the server has it, on whatever path",
        sample: "GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n",
    },
];

/// Ends the test when an answer is neither documented nor outside.
pub fn judge(method: &str, target: &str, reply: &Reply) {
    let path = target.split('?').next().unwrap_or_default();
    let Err(complaint) = inside(method, path, reply) else { return };
    let exchange = Exchange::of(method, path, reply);
    let complaint = match OUTSIDE.iter().find(|outside| (outside.covers)(&exchange)) {
        None => complaint,
        Some(Outside { is_refusal: false, .. }) => return,
        Some(_) => match refusal(path, reply) {
            Ok(()) => return,
            Err(complaint) => complaint,
        },
    };
    let body: String = reply.text().chars().take(300).collect();
    panic!("{method} {target}: {} {complaint}\n{body}", reply.status);
}

/// As [`judge`], of bytes that a test sent and what it read of the first answer to them, if anything.
pub fn judge_bytes(sent: &[u8], answer: &[u8]) {
    let Some((method, target, reply)) = read(sent, answer) else { return };
    judge(&method, &target, &reply);
}

/// The method and the target of what was sent, empty where it has none, and the whole first answer.
pub fn read(sent: &[u8], answer: &[u8]) -> Option<(String, String, Reply)> {
    let line = sent.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(answer.get(..end)?);
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: http::HeaderMap = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
        .collect();
    let length: usize = headers.get("content-length")?.to_str().ok()?.parse().ok()?;
    let body = bytes::Bytes::copy_from_slice(answer.get(end + 4..end + 4 + length)?);
    Some((method, target, Reply { status, headers, body }))
}

/// Whether an answer is as a document says.
///
/// # Errors
/// What it does otherwise.
pub fn inside(method: &str, path: &str, reply: &Reply) -> Result<(), String> {
    let (document, pointer) = operation(method, path).ok_or("nobody documents this path")?;
    let (response, pointer) = document
        .at(&format!("{pointer}/responses/{}", reply.status))
        .ok_or("has a status that is not documented")?;
    let headers = response.get("headers").and_then(Value::as_object);
    let named: Vec<_> = headers.into_iter().flat_map(Map::keys).collect();
    for name in reply.headers.keys().map(http::HeaderName::as_str) {
        if !OF_HTTP.contains(&name) && !named.iter().any(|it| it.eq_ignore_ascii_case(name)) {
            return Err(format!("has a header that is not documented, {name}"));
        }
    }
    for name in named {
        let header = document.at(&format!("{pointer}/headers/{name}"));
        let is_required = header.is_some_and(|(header, _)| header["required"] == true);
        if is_required && !reply.headers.contains_key(name) {
            return Err(format!("has no {name}"));
        }
    }
    let Some(content) = response.get("content") else {
        return if reply.body.is_empty() { Ok(()) } else { Err("has a body".to_owned()) };
    };
    let media_type = reply.header("content-type").split(';').next().unwrap_or_default().trim();
    if content.get(media_type).is_none() {
        return Err(format!("has a content type that is not documented, \"{media_type}\""));
    }
    if method == "HEAD" {
        return Ok(());
    }
    fits(document, &format!("{pointer}/content/{}/schema", media_type.replace('/', "~1")), reply)
}

/// Whether a body has the form that the dialect's refusals have.
fn refusal(path: &str, reply: &Reply) -> Result<(), String> {
    let document = of(path);
    let schema = match document.name {
        "native" => "Problem",
        "ncloud" => "GatewayError",
        "partner" => "Detail",
        _ => "Error",
    };
    fits(document, &format!("/components/schemas/{schema}"), reply)
}

fn fits(document: &Document, pointer: &str, reply: &Reply) -> Result<(), String> {
    let media_type = reply.header("content-type").split(';').next().unwrap_or_default();
    let body = match media_type.rsplit(['/', '+']).next() {
        Some("json") => from_json(&reply.text())?,
        Some("xml") => from_xml(&reply.text()).ok_or("is no XML")?,
        _ => return Ok(()),
    };
    document
        .misfit(pointer, &body)
        .map_or(Ok(()), |misfit| Err(format!("has a body where {misfit}")))
}

/// JSON. The numbers in it may be longer than any that are counted with here: who sent one hears it
/// back.
fn from_json(text: &str) -> Result<Value, String> {
    let mut digits = 0;
    let short: String = text
        .chars()
        .filter(|letter| {
            digits = if letter.is_ascii_digit() { digits + 1 } else { 0 };
            digits <= 300
        })
        .collect();
    serde_json::from_str(&short).map_err(|fault| format!("is no JSON: {fault}"))
}

/// XML as this server writes it, as the JSON that it stands for: elements without elements in them are
/// whole numbers, booleans or texts. None where it is something else.
pub fn from_xml(text: &str) -> Option<Value> {
    let mut open = vec![(String::new(), Map::new())];
    let mut content = "";
    for piece in text.split('<').skip(1) {
        let (tag, behind) = piece.split_once('>')?;
        if let Some(name) = tag.strip_prefix('/') {
            let (opened, members) = open.pop().filter(|(opened, _)| opened == name)?;
            let is_leaf = members.is_empty();
            let value = if is_leaf { scalar(content) } else { Value::Object(members) };
            open.last_mut()?.1.insert(opened, value);
        } else if !tag.starts_with('?') {
            open.push((tag.to_owned(), Map::new()));
        }
        content = behind;
    }
    let (_, mut document) = open.pop().filter(|_| open.is_empty())?;
    let root = document.keys().next()?.clone();
    document.remove(&root).filter(|_| document.is_empty())
}

fn scalar(text: &str) -> Value {
    let number = text.parse::<i64>().map(Value::from);
    number.or_else(|_| text.parse::<bool>().map(Value::from)).unwrap_or_else(|_| json!(text))
}

/// Headers that HTTP itself has.
const OF_HTTP: [&str; 5] =
    ["connection", "content-length", "content-type", "date", "transfer-encoding"];
