//! The API documents, `docs/openapi/*.json`, are written from the sources beside them,
//! `docs/openapi/*.yaml`. A source has OpenAPI's own words, and three shorter ways to say things: what
//! operations have in common (`common`, and `roots` for paths that are served more than once), bare names
//! where a reference is meant, and refusals by name. Every word and every name is looked up: what is
//! neither stops the tests, with its file and line.

mod answers;
mod source;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::support::document::DOCUMENTS;
use source::{Kind, Member, Node};

/// Lines of source that a route may take: all sources by all routes, and each route's own.
const LINES_A_ROUTE: usize = 40;
/// Characters of such a line. Markup in an example cannot be broken.
const LINE_MAX: usize = 120;

/// What may stand at a place of a source.
enum Form {
    /// Whatever it is: examples, defaults.
    Data,
    Text,
    /// One of these, or a list of them.
    OneOf(&'static [&'static str]),
    List(&'static Form),
    /// Members with names of their own.
    Map(&'static Form),
    /// Members with these names, an asterisk meaning any other; an exclamation mark goes before what has
    /// to be there.
    Words(&'static [(&'static str, &'static Form)]),
    /// The name of something in this section, instead of the thing itself.
    Bare(&'static str, &'static Form),
    /// A list of such names, or things by name.
    Names(&'static str, &'static Form),
    /// A name from this section.
    Name(&'static str),
    /// Names from this section with lists behind them.
    Requirement(&'static str),
    /// False, true, or this.
    Maybe(&'static Form),
}

use Form::{Bare, Data, List, Map as By, Maybe, Name, Names, OneOf, Requirement, Text, Words};

static SOURCE: Form = Words(&[
    ("!info", &Words(&[("!title", &Text), ("!description", &Text)])),
    ("!security", &List(&Requirement("securitySchemes"))),
    ("!tags", &List(&Words(&[("!name", &Text), ("description", &Text)]))),
    ("!common", &COMMON),
    ("!paths", &By(&PATH)),
    ("!refusals", &By(&REFUSAL)),
    ("!components", &COMPONENTS),
]);
static SHARED: Form = Words(&[
    ("!openapi", &Text),
    ("!info", &Words(&[("!version", &Text), ("!license", &Data)])),
    ("!servers", &Data),
    ("!components", &COMPONENTS),
]);
static COMMON: Form = Words(&[
    ("!answers", &List(&Name("headers"))),
    ("!refusal", &By(&Words(&[("!schema", &SCHEMA), ("text", &Text)]))),
    ("*", &BLOCK),
]);
static BLOCK: Form = Words(&[
    ("parameters", &List(&PARAMETER)),
    ("headers", &Names("headers", &HEADER)),
    ("refusals", &List(&Name("refusals"))),
]);
static COMPONENTS: Form = Words(&[
    ("schemas", &By(&SCHEMA)),
    ("responses", &By(&RESPONSE)),
    ("requestBodies", &By(&BODY)),
    ("parameters", &By(&PARAMETER)),
    ("headers", &By(&HEADER)),
    ("examples", &By(&EXAMPLE)),
    ("securitySchemes", &By(&Data)),
]);
static PATH: Form = Words(&[
    ("roots", &List(&Text)),
    ("parameters", &List(&PARAMETER)),
    ("get", &OPERATION),
    ("post", &OPERATION),
    ("put", &OPERATION),
    ("patch", &OPERATION),
    ("delete", &OPERATION),
]);
static OPERATION: Form = Words(&[
    ("!operationId", &Text),
    ("!tags", &List(&Name("tags"))),
    ("!summary", &Text),
    ("description", &Text),
    ("security", &List(&Requirement("securitySchemes"))),
    ("common", &List(&Name("common"))),
    ("parameters", &List(&PARAMETER)),
    ("requestBody", &BODY),
    ("!responses", &By(&RESPONSE)),
    ("refusals", &List(&Name("refusals"))),
]);
static PARAMETER: Form = Bare(
    "parameters",
    &Words(&[
        ("!name", &Text),
        ("!in", &OneOf(&["path", "query", "header"])),
        ("required", &Data),
        ("description", &Text),
        ("!schema", &SCHEMA),
        ("example", &Data),
    ]),
);
static HEADER: Form = Bare(
    "headers",
    &Words(&[
        ("description", &Text),
        ("required", &Data),
        ("!schema", &SCHEMA),
        ("example", &Data),
    ]),
);
static BODY: Form = Bare(
    "requestBodies",
    &Words(&[("description", &Text), ("required", &Data), ("!content", &By(&MEDIA))]),
);
static RESPONSE: Form = Bare(
    "responses",
    &Words(&[
        ("!description", &Text),
        ("headers", &Names("headers", &HEADER)),
        ("content", &By(&MEDIA)),
    ]),
);
static REFUSAL: Form = Words(&[
    ("!status", &Data),
    ("!description", &Text),
    ("headers", &Names("headers", &HEADER)),
    ("schema", &SCHEMA),
    ("examples", &By(&Data)),
    ("content", &By(&MEDIA)),
]);
static MEDIA: Form =
    Words(&[("!schema", &SCHEMA), ("example", &Data), ("examples", &By(&EXAMPLE))]);
static EXAMPLE: Form = Bare("examples", &Words(&[("summary", &Text), ("!value", &Data)]));
static SCHEMA: Form = Bare(
    "schemas",
    &Words(&[
        ("type", &OneOf(&["string", "integer", "number", "boolean", "null", "array", "object"])),
        (
            "format",
            &OneOf(&[
                "date",
                "date-time",
                "uuid",
                "int64",
                "binary",
                "password",
                "email",
                "uri-reference",
            ]),
        ),
        ("title", &Text),
        ("description", &Text),
        ("enum", &Data),
        ("const", &Data),
        ("default", &Data),
        ("examples", &Data),
        ("pattern", &Text),
        ("minLength", &Data),
        ("maxLength", &Data),
        ("minimum", &Data),
        ("maximum", &Data),
        ("minItems", &Data),
        ("maxItems", &Data),
        ("uniqueItems", &Data),
        ("required", &List(&Text)),
        ("properties", &By(&SCHEMA)),
        ("additionalProperties", &Maybe(&SCHEMA)),
        ("items", &SCHEMA),
        ("contains", &SCHEMA),
        ("allOf", &List(&SCHEMA)),
        ("anyOf", &List(&SCHEMA)),
        ("oneOf", &List(&SCHEMA)),
        ("not", &SCHEMA),
        ("if", &SCHEMA),
        ("then", &SCHEMA),
        ("else", &SCHEMA),
        ("xml", &Data),
    ]),
);

/// What can be named, by section, and whether it has been.
type Known = HashMap<&'static str, BTreeMap<String, (Place, bool)>>;

/// A file and a line.
type Place = (String, usize);

/// What operations have in common without naming it.
const UNASKED: [&str; 7] = ["every", "get", "post", "put", "patch", "delete", "body"];

/// Reads a source by its form.
struct Reader<'a> {
    file: String,
    known: &'a RefCell<Known>,
    faults: &'a RefCell<Vec<String>>,
}

impl Reader<'_> {
    fn fault(&self, line: usize, text: &str) -> Value {
        self.faults.borrow_mut().push(format!("{}:{line}: {text}", self.file));
        Value::Null
    }

    fn text<'n>(&self, node: &'n Node) -> &'n str {
        if let Kind::Scalar { text, .. } = &node.kind {
            return text;
        }
        self.fault(node.line, "a text is meant to stand here");
        ""
    }

    /// A name from a section.
    fn name(&self, section: &'static str, name: &str, line: usize) {
        // A refusal is a response.
        let also = if section == "responses" { "refusals" } else { section };
        let mut known = self.known.borrow_mut();
        let mut is_known = false;
        for section in [section, also] {
            if let Some((_, is_used)) = known.get_mut(section).and_then(|names| names.get_mut(name))
            {
                (is_known, *is_used) = (true, true);
            }
        }
        if !is_known {
            self.fault(line, &format!("{section} have no \"{name}\""));
        }
    }

    fn reference(&self, section: &'static str, node: &Node) -> Value {
        let name = self.text(node);
        self.name(section, name, node.line);
        json!(format!("#/components/{section}/{name}"))
    }

    fn items<'n>(&self, node: &'n Node) -> &'n [Node] {
        if let Kind::List(items) = &node.kind {
            return items;
        }
        self.fault(node.line, "a list is meant to stand here");
        &[]
    }

    fn members<'n>(&self, node: &'n Node) -> &'n [Member] {
        if let Kind::Map(members) = &node.kind {
            return members;
        }
        self.fault(node.line, "members are meant to stand here");
        &[]
    }

    fn object(&self, node: &Node, mut read: impl FnMut(&Member) -> Value) -> Value {
        let members = self.members(node).iter();
        Value::Object(members.map(|member| (member.name.clone(), read(member))).collect())
    }

    fn read(&self, node: &Node, form: &Form) -> Value {
        match form {
            Data => node.data(),
            Text => json!(self.text(node)),
            OneOf(words) => {
                let all = if let Kind::List(items) = &node.kind { items.iter() } else { [].iter() };
                let one = matches!(node.kind, Kind::Scalar { .. }).then_some(node);
                for node in all.chain(one) {
                    if !words.contains(&self.text(node)) {
                        let text = format!("\"{}\" is none of {words:?}", self.text(node));
                        self.fault(node.line, &text);
                    }
                }
                // A type may be called null.
                match &node.kind {
                    Kind::List(items) => items.iter().map(|node| json!(self.text(node))).collect(),
                    _ => json!(self.text(node)),
                }
            }
            List(form) => self.items(node).iter().map(|node| self.read(node, form)).collect(),
            By(form) => self.object(node, |member| self.read(&member.node, form)),
            Words(words) => self.words(node, words),
            Bare(section, form) => match &node.kind {
                Kind::Scalar { .. } => json!({"$ref": self.reference(section, node)}),
                Kind::Map(members) if members.iter().any(|member| member.name == "$ref") => self
                    .object(node, |member| match member.name.as_str() {
                        "$ref" => self.reference(section, &member.node),
                        "description" => json!(self.text(&member.node)),
                        name => self.fault(
                            member.line,
                            &format!("\"{name}\" is no word to stand beside a reference"),
                        ),
                    }),
                _ => self.read(node, form),
            },
            Names(section, form) => match &node.kind {
                Kind::List(items) => {
                    let named = items.iter().map(|node| {
                        (self.text(node).to_owned(), json!({"$ref": self.reference(section, node)}))
                    });
                    Value::Object(named.collect())
                }
                _ => self.object(node, |member| self.read(&member.node, form)),
            },
            Name(section) => {
                self.name(section, self.text(node), node.line);
                json!(self.text(node))
            }
            Requirement(section) => {
                for member in self.members(node) {
                    self.name(section, &member.name, member.line);
                }
                node.data()
            }
            Maybe(form) => match node.data() {
                Value::Bool(is) => json!(is),
                _ => self.read(node, form),
            },
        }
    }

    fn words(&self, node: &Node, words: &[(&'static str, &'static Form)]) -> Value {
        let found = self.object(node, |member| {
            let own = words.iter().find(|(word, _)| word.trim_start_matches('!') == member.name);
            let word = own.or_else(|| words.iter().find(|(word, _)| *word == "*"));
            match word {
                Some((_, form)) => self.read(&member.node, form),
                None => self.fault(member.line, &format!("\"{}\" is no word here", member.name)),
            }
        });
        for (word, _) in words {
            if let Some(word) = word.strip_prefix('!')
                && found.get(word).is_none()
            {
                self.fault(node.line, &format!("\"{word}\" is missing"));
            }
        }
        found
    }
}

/// The members of a member, empty where there is none.
fn members(value: &Value, name: &str) -> Map<String, Value> {
    value.get(name).and_then(Value::as_object).cloned().unwrap_or_default()
}

fn items(value: &Value, name: &str) -> Vec<Value> {
    value.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// A document, written from its source and from what all have in common.
fn written(file: &str, source: &str, shared: &str) -> Result<Value, Vec<String>> {
    let shared_file = "docs/openapi/common.yaml";
    let at = |file: &str, (line, text): (usize, String)| vec![format!("{file}:{line}: {text}")];
    let source = Node::of(source).map_err(|fault| at(file, fault))?;
    let shared = Node::of(shared).map_err(|fault| at(shared_file, fault))?;
    let known = RefCell::new(Known::new());
    let faults = RefCell::new(Vec::new());
    know(&known, shared_file, &shared);
    know(&known, file, &source);
    let reader = Reader { file: shared_file.to_owned(), known: &known, faults: &faults };
    let base = reader.read(&shared, &SHARED);
    // That they name each other is no use.
    for (_, is_used) in known.borrow_mut().values_mut().flat_map(BTreeMap::values_mut) {
        *is_used = false;
    }
    let reader = Reader { file: file.to_owned(), known: &known, faults: &faults };
    let source = reader.read(&source, &SOURCE);
    for (section, names) in known.borrow().iter() {
        for (name, ((place, line), is_used)) in names {
            let is_asked = *section != "common" || !UNASKED.contains(&name.as_str());
            if !is_used && is_asked && place == file {
                faults.borrow_mut().push(format!("{file}:{line}: nothing names \"{name}\""));
            }
        }
    }
    let faults = faults.into_inner();
    if !faults.is_empty() {
        return Err(faults);
    }
    expanded(&base, &source, &known.into_inner()).map_err(|fault| vec![format!("{file}: {fault}")])
}

/// Notes what a source lets others name.
fn know(known: &RefCell<Known>, file: &str, node: &Node) {
    let mut known = known.borrow_mut();
    let mut add = |section: &'static str, name: &str, line: usize| {
        let place = (file.to_owned(), line);
        known.entry(section).or_default().insert(name.to_owned(), (place, false));
    };
    let components = node.member("components");
    let sections = [
        "schemas",
        "responses",
        "requestBodies",
        "parameters",
        "headers",
        "examples",
        "securitySchemes",
    ];
    for (section, node) in sections
        .map(|section| (section, components.and_then(|node| node.member(section))))
        .into_iter()
        .chain([("refusals", node.member("refusals")), ("common", node.member("common"))])
    {
        if let Some(Kind::Map(members)) = node.map(|node| &node.kind) {
            for member in members {
                if !matches!((section, member.name.as_str()), ("common", "answers" | "refusal")) {
                    add(section, &member.name, member.line);
                }
            }
        }
    }
    if let Some(Kind::List(tags)) = node.member("tags").map(|node| &node.kind) {
        for tag in tags {
            if let Some(Node { kind: Kind::Scalar { text, .. }, line }) = tag.member("name") {
                add("tags", text, *line);
            }
        }
    }
}

/// The document in full.
fn expanded(base: &Value, source: &Value, known: &Known) -> Result<Value, String> {
    let common = &source["common"];
    let mut paths = Map::new();
    for (path, item) in source["paths"].as_object().into_iter().flatten() {
        let mut whole = Map::new();
        for (word, value) in item.as_object().into_iter().flatten() {
            let value = match word.as_str() {
                "roots" => continue,
                "parameters" => value.clone(),
                method => operation(method, value, common, &source["refusals"])
                    .map_err(|fault| format!("{method} {path}: {fault}"))?,
            };
            whole.insert(word.clone(), value);
        }
        paths.insert(path.clone(), Value::Object(whole.clone()));
        for root in items(item, "roots") {
            let root = root.as_str().unwrap_or_default();
            let below = whole.iter().map(|(word, value)| (word.clone(), alias(value, root)));
            paths.insert(format!("{root}{path}"), Value::Object(below.collect()));
        }
    }
    let mut components = Map::new();
    let own = &source["components"];
    for section in ["schemas", "responses", "requestBodies", "parameters", "headers", "examples"] {
        let mut all = members(own, section);
        for (name, value) in members(&base["components"], section) {
            let is_used = known.get(section).and_then(|names| names.get(&name));
            if is_used.is_some_and(|(_, is_used)| *is_used) {
                all.entry(name).or_insert(value);
            }
        }
        if section == "responses" {
            for (name, value) in members(source, "refusals") {
                all.insert(name, refusal(&value, common));
            }
            for response in all.values_mut() {
                add_headers(response, &items(common, "answers"));
            }
        }
        if !all.is_empty() {
            components.insert(section.to_owned(), Value::Object(all));
        }
    }
    components.insert("securitySchemes".to_owned(), own["securitySchemes"].clone());
    Ok(json!({
        "openapi": base["openapi"],
        "info": {
            "title": source["info"]["title"],
            "version": base["info"]["version"],
            "description": source["info"]["description"],
            "license": base["info"]["license"],
        },
        "servers": base["servers"],
        "paths": paths,
        "components": components,
        "security": source["security"],
        "tags": source["tags"],
    }))
}

/// An operation as it is below another root.
fn alias(operation: &Value, root: &str) -> Value {
    let mut operation = operation.clone();
    let Some(words) = operation.as_object_mut() else { return operation };
    let mut id = words["operationId"].as_str().unwrap_or_default().to_owned();
    for segment in root.split('/') {
        let word = segment.split('.').next().unwrap_or_default();
        let mut letters = word.chars();
        id.extend(letters.next().into_iter().flat_map(char::to_uppercase).chain(letters));
    }
    let summary = words["summary"].as_str().unwrap_or_default();
    let summary = format!("{summary} (alias below `{root}`)");
    words.insert("operationId".to_owned(), json!(id));
    words.insert("summary".to_owned(), json!(summary));
    operation
}

/// An operation with what it has in common with others: with all, with those of its method, and with
/// those that take a body; or with those that it names.
fn operation(
    method: &str,
    source: &Value,
    common: &Value,
    refusals: &Value,
) -> Result<Value, String> {
    let blocks: Vec<String> = if source.get("common").is_some() {
        items(source, "common").iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    } else {
        let body = source.get("requestBody").map(|_| "body");
        let names = [Some(method), Some("every"), body].into_iter().flatten();
        names.filter(|name| common.get(name).is_some()).map(str::to_owned).collect()
    };
    let mut parameters = items(source, "parameters");
    let mut headers = Map::new();
    let mut refused = BTreeMap::new();
    let mut refuse = |name: &Value| {
        let status = refusals[name.as_str().unwrap_or_default()]["status"].to_string();
        let reference = format!("#/components/responses/{}", name.as_str().unwrap_or_default());
        refused.insert(status, json!({"$ref": reference})).is_some()
    };
    for block in &blocks {
        let block = &common[block.as_str()];
        parameters.extend(items(block, "parameters"));
        headers.extend(members(block, "headers"));
        for name in items(block, "refusals") {
            refuse(&name);
        }
    }
    // Its own go before those of all.
    let mut own = HashSet::new();
    for name in items(source, "refusals") {
        let status = refusals[name.as_str().unwrap_or_default()]["status"].to_string();
        if !own.insert(status.clone()) {
            return Err(format!("two refusals have the status {status}"));
        }
        refuse(&name);
    }
    for (status, response) in members(source, "responses") {
        let mut response = response;
        if response.get("$ref").is_none() {
            if status.starts_with('2') {
                add(&mut response, headers.clone());
            }
            if !blocks.is_empty() {
                add_headers(&mut response, &items(common, "answers"));
            }
        }
        refused.insert(status, response);
    }
    let mut whole = Map::new();
    for word in ["operationId", "tags", "summary", "description", "security"] {
        if let Some(value) = source.get(word) {
            whole.insert(word.to_owned(), value.clone());
        }
    }
    if !parameters.is_empty() {
        whole.insert("parameters".to_owned(), Value::Array(parameters));
    }
    if let Some(body) = source.get("requestBody") {
        whole.insert("requestBody".to_owned(), body.clone());
    }
    whole.insert("responses".to_owned(), Value::Object(refused.into_iter().collect()));
    Ok(Value::Object(whole))
}

/// Adds headers to a response, behind its description.
fn add(response: &mut Value, more: Map<String, Value>) {
    let Some(words) = response.as_object_mut() else { return };
    let mut headers =
        words.remove("headers").and_then(|old| old.as_object().cloned()).unwrap_or_default();
    headers.extend(more);
    let content = words.remove("content");
    if !headers.is_empty() {
        words.insert("headers".to_owned(), Value::Object(headers));
    }
    if let Some(content) = content {
        words.insert("content".to_owned(), content);
    }
}

fn add_headers(response: &mut Value, names: &[Value]) {
    let references = names
        .iter()
        .filter_map(Value::as_str)
        .map(|name| (name.to_owned(), json!({"$ref": format!("#/components/headers/{name}")})));
    add(response, references.collect());
}

/// A refusal as a response, in the form that the dialect has for all of them.
fn refusal(source: &Value, common: &Value) -> Value {
    let mut content = members(source, "content");
    if content.is_empty() {
        for (media_type, form) in members(common, "refusal") {
            let examples: Map<_, _> = members(source, "examples")
                .into_iter()
                .map(|(name, example)| (name, json!({"value": filled(&form, &example)})))
                .collect();
            let schema = source.get("schema").unwrap_or(&form["schema"]);
            content.insert(media_type, json!({"schema": schema, "examples": examples}));
        }
    }
    let mut whole = json!({"description": source["description"]});
    whole["headers"] = source.get("headers").cloned().unwrap_or_else(|| json!({}));
    whole["content"] = Value::Object(content);
    whole
}

/// An example as it is, or with its members put into a text.
fn filled(form: &Value, example: &Value) -> Value {
    let Some(text) = form.get("text").and_then(Value::as_str) else { return example.clone() };
    let mut text = text.to_owned();
    for (name, value) in example.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text = text.replace(&format!("{{{name}}}"), &value);
    }
    json!(text)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi")
}

fn text_of(name: &str) -> String {
    std::fs::read_to_string(folder().join(format!("{name}.yaml"))).expect("a source")
}

#[test]
fn each_document_is_what_its_source_says() {
    #[expect(clippy::disallowed_methods, reason = "a contributor says so, no operator")]
    let writes = std::env::var("WRITE_OPENAPI").is_ok();
    let mut faults = Vec::new();
    for name in DOCUMENTS {
        let file = format!("docs/openapi/{name}.yaml");
        let document = match written(&file, &text_of(name), &text_of("common")) {
            Ok(document) => serde_json::to_string_pretty(&document).unwrap() + "\n",
            Err(wrong) => {
                faults.extend(wrong);
                continue;
            }
        };
        let path = folder().join(format!("{name}.json"));
        if writes {
            std::fs::write(&path, document).unwrap();
        } else if std::fs::read_to_string(&path).ok() != Some(document) {
            faults.push(format!("{name}.json is older than {name}.yaml: see CONTRIBUTING.md"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_route_takes_at_most_forty_lines() {
    let (mut lines, mut routes) = (text_of("common").lines().count(), 0);
    let mut report = String::new();
    for name in DOCUMENTS {
        let text = text_of(name);
        let node = Node::of(&text).unwrap_or_else(|(line, text)| panic!("{name}:{line}: {text}"));
        let Some(Kind::Map(paths)) = node.member("paths").map(|node| &node.kind) else {
            panic!("{name} has no paths");
        };
        let mut begins: Vec<_> = paths
            .iter()
            .flat_map(|path| {
                let Kind::Map(words) = &path.node.kind else { panic!("{}", path.name) };
                let roots = path.node.member("roots").map_or(0, |node| match &node.kind {
                    Kind::List(roots) => roots.len(),
                    _ => 0,
                });
                let methods = words
                    .iter()
                    .filter(|word| !["roots", "parameters"].contains(&word.name.as_str()));
                methods
                    .map(move |word| (word.line, format!("{} {}", word.name, path.name), roots + 1))
            })
            .collect();
        for (index, line) in text.lines().enumerate() {
            let is_long = line.chars().count() > LINE_MAX && !line.contains("</");
            assert!(!is_long, "{name}.yaml:{}: more than {LINE_MAX} characters", index + 1);
        }
        let own = text.lines().count();
        let served: usize = begins.iter().map(|(_, _, served)| served).sum();
        let _ = writeln!(report, "{name}: {own} lines, {served} routes");
        (lines, routes) = (lines + own, routes + served);
        let after = text.lines().position(|line| line == "refusals:").map(|line| line + 1);
        begins.push((after.expect("refusals"), String::new(), 0));
        for pair in begins.windows(2) {
            let long = pair[1].0 - pair[0].0;
            assert!(long <= LINES_A_ROUTE, "{name}: {} takes {long} lines", pair[0].1);
        }
    }
    println!("{report}{lines} lines for {routes} routes");
    assert!(lines <= LINES_A_ROUTE * routes, "{lines} lines for {routes} routes\n{report}");
}

#[test]
fn a_wrong_word_is_refused_with_its_file_and_line() {
    let (whole, shared) = (text_of("solapi"), text_of("common"));
    assert_eq!(written("s.yaml", &whole, &shared).err(), None);
    for (old, new, fault) in [
        ("summary: Read one", "headline: Read one", "\"headline\" is no word here"),
        ("schema: Relationship,", "schema: Relation,", "schemas have no \"Relation\""),
        ("refusals: [Stale", "refusals: [Old", "refusals have no \"Old\""),
        ("headers: [Retry-After]", "headers: [Retry]", "headers have no \"Retry\""),
        ("parameters: [IfMatch", "parameters: [IfSame", "parameters have no \"IfSame\""),
        ("accountId: {type: string}", "accountId: {type: text}", "\"text\" is none of"),
        ("accountId: {type: string}", "accountId: {kind: string}", "\"kind\" is no word here"),
        ("targetRecordId: {type: string}", "accountId: {}", "\"accountId\" stands twice"),
        ("accountId: {type: string}", "accountId: &a {type: string}", "anchors"),
        ("tags: [relationships]", "tags: [relations]", "tags have no \"relations\""),
        ("[{hmac: []}]", "[{signed: []}]", "securitySchemes have no \"signed\""),
        ("  every:", "  each:", "nothing names \"each\""),
        ("  Forbidden:", "  Denied:", "nothing names \"Denied\""),
    ] {
        let line = 1 + whole.lines().position(|line| line.contains(old)).expect(old);
        let wrong = whole.replacen(old, new, 1);
        let Err(faults) = written("s.yaml", &wrong, &shared) else { panic!("{new} is taken") };
        let place = format!("s.yaml:{line}: ");
        let is_said = |found: &String| found.starts_with(&place) && found.contains(fault);
        assert!(faults.iter().any(is_said), "{new}, line {line}: {faults:?}");
    }
    // What is missing is missed where the rest of it stands.
    let without = whole.replacen("operationId: getRelationship\n", "description: x\n", 1);
    let faults = written("s.yaml", &without, &shared).err().unwrap_or_default();
    assert!(faults[0].ends_with(": \"operationId\" is missing"), "{faults:?}");
    // And what is no YAML is refused as such.
    let faults = written("s.yaml", &whole.replacen("{type: string}", "{type: string", 1), &shared);
    assert!(faults.err().unwrap_or_default()[0].starts_with("s.yaml:"));
}
