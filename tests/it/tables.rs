//! What the tables of the domain declare is so: against the records' fields, against what commands
//! decide, and against the migrations of both stores.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use haksa::domain::actor::{Actor, Dialect};
use haksa::domain::certificate::achievement::Achievement;
use haksa::domain::certificate::design::DesignType;
use haksa::domain::change::{Action, Change, MASK, diff};
use haksa::domain::command::{
    Command, Context, Create, Decision, Delete, Entropy, Expected, FOLLOW_MAX, Undo,
};
use haksa::domain::delivery::message::{Channel, MessageStatus};
use haksa::domain::error::Error;
use haksa::domain::facts::{Checkpoint, Fact, Facts, Need, Selector, Stop};
use haksa::domain::fields::Fields;
use haksa::domain::kind::Kind;
use haksa::domain::learning::course::Course;
use haksa::domain::people::credential::Credential;
use haksa::domain::people::person::Person;
use haksa::domain::record::{Document, Key, Meta};
use haksa::domain::sign_in::application::Application;
use haksa::domain::table::{Among, ColumnType, Data, Gone, KeyType, Text, Unique};
use haksa::domain::teaching::class::Class;
use haksa::domain::teaching::invite_code::{CreateInviteCode, InviteCode, NewCode};
use haksa::domain::teaching::model::Model;
use haksa::domain::teaching::student::Student;
use jiff::Timestamp;
use serde_json::{Value, json};

const ACCOUNT: i64 = 3;
/// The change that made every record here.
const MAKING: i64 = 1;

/// The fields of a record that says as little as it can.
pub(crate) fn sample(kind: Kind) -> Fields {
    match kind {
        Kind::Credential => Fields::of(&Credential::new(Dialect::Native, "")).unwrap(),
        kind => kind.defaults().clone(),
    }
}

pub(crate) fn key(kind: Kind, id: i64) -> Key {
    match kind.table().key {
        KeyType::Int => Key::Int(id),
        KeyType::Text => Key::Text(id.to_string()),
    }
}

fn json_key(kind: Kind, id: i64) -> Value {
    match key(kind, id) {
        Key::Int(id) => id.into(),
        Key::Text(id) => id.into(),
    }
}

/// A record with these fields, and else as little as can be.
fn document(kind: Kind, id: i64, fields: &Value) -> Arc<Document> {
    let at = Timestamp::UNIX_EPOCH;
    let key = key(kind, id);
    let (version, change_id, deleted_at) = (1, MAKING, None);
    let (account_id, created_at, updated_at) = (ACCOUNT, at, at);
    let meta =
        Meta { kind, key, account_id, version, change_id, created_at, updated_at, deleted_at };
    let mut all = sample(kind).values();
    all.extend(fields.as_object().unwrap().clone());
    Arc::new(Document::read(meta, all).unwrap())
}

struct Zeros;

impl Entropy for Zeros {
    fn fill(&mut self, _bytes: &mut [u8]) {}
}

/// Decides in a world of these records, where change 1 made the first of them.
fn decide(command: &dyn Command, world: &[Arc<Document>]) -> Result<Decision, Error> {
    let answer = |need: &Need| match need {
        Need::Record(kind, key) => {
            let is_it = |one: &&Arc<Document>| one.meta.kind == *kind && one.meta.key == *key;
            Fact::Record(world.iter().find(is_it).cloned())
        }
        Need::Select(wanted) => {
            assert!(!format!("{wanted:?}").contains("\\0"), "no database is asked for NUL");
            let fits =
                |one: &&Arc<Document>| one.meta.kind == wanted.kind && wanted.fits(one).unwrap();
            Fact::Select(world.iter().filter(fits).cloned().collect())
        }
        Need::Namers(wanted) => {
            let fits = |one: &&Arc<Document>| {
                let (kind, value) = (wanted.by, wanted.to.1.clone());
                let by_column = |column| Selector { kind, column, value }.fits(one).unwrap();
                let is_linked = |named: Vec<_>| named.contains(&wanted.to);
                let in_body = || is_linked(kind.named_in_body(one).unwrap());
                one.meta.kind == kind && wanted.column.map_or_else(in_body, by_column)
            };
            Fact::Namers(world.iter().filter(fits).map(|one| one.meta.key.clone()).collect())
        }
        Need::Count(wanted) => {
            let fits = |one: &&Arc<Document>| {
                let has = |(column, value): &(&'static str, Key)| {
                    Selector { kind: wanted.kind, column, value: value.clone() }.fits(one).unwrap()
                };
                one.meta.kind == wanted.kind && wanted.is.iter().all(has)
            };
            Fact::Count(world.iter().filter(fits).count().try_into().unwrap())
        }
        Need::Id(_) => Fact::Ids(vec![100]),
        Need::Change(MAKING) => Fact::Change(Some(Arc::new(Change {
            act_id: None,
            act_end: None,
            undoes: None,
            id: MAKING,
            account_id: ACCOUNT,
            kind: world[0].meta.kind,
            record_id: world[0].meta.key.to_string(),
            version: 1,
            previous_id: None,
            at: Timestamp::UNIX_EPOCH,
            actor: String::new(),
            dialect: String::new(),
            request_id: String::new(),
            action: Action::Create,
            before: None,
            after: None,
        }))),
        other => panic!("{other:?}"),
    };
    let actor = Actor::operator(ACCOUNT);
    let mut facts = Facts::default();
    for _ in 0..64 {
        let at = Timestamp::UNIX_EPOCH;
        let mut context =
            Context { actor: &actor, at, entropy: &mut Zeros, follow_max: FOLLOW_MAX };
        let decided = command.decide(&mut context, &mut facts);
        facts.lift(Checkpoint::default());
        match decided {
            Ok(decision) => return Ok(decision),
            Err(Stop::Refused(error)) => return Err(error),
            Err(Stop::Large | Stop::Long) => panic!("too much for a batch"),
            Err(Stop::Missing(needs)) => {
                for need in needs {
                    let fact = answer(&need);
                    facts.supply(need, fact);
                }
            }
        }
    }
    panic!("no end of questions");
}

/// The command that deletes record 1 of a kind; where there is none, the undo of its making.
fn deletion(kind: Kind) -> Box<dyn Command> {
    let expected = Expected::Any;
    match kind {
        Kind::Achievement => Box::new(Delete::<Achievement>::new(1, expected)),
        Kind::Class => Box::new(Delete::<Class>::new(1, expected)),
        Kind::Course => Box::new(Delete::<Course>::new(1, expected)),
        Kind::InviteCode => Box::new(Delete::<InviteCode>::new(1, expected)),
        Kind::Model => Box::new(Delete::<Model>::new(1, expected)),
        Kind::Student => Box::new(Delete::<Student>::new(1, expected)),
        Kind::Person => Box::new(Delete::<Person>::new(1, expected)),
        _ => Box::new(undo()),
    }
}

fn undo() -> Undo {
    Undo {
        change_id: MAKING,
        expected: Expected::Any,
        held: Vec::new(),
        is_large: false,
        trails: Vec::new(),
    }
}

/// Every way in which a record can name another: who, whom, in which fields, and what is declared.
fn references() -> Vec<(Kind, Kind, Value, Gone)> {
    let mut found = Vec::new();
    for kind in Kind::ALL.iter().copied() {
        for column in kind.table().columns {
            if let ColumnType::Reference(named, gone) = column.column_type {
                found.push((kind, named, json!({column.name: json_key(named, 1)}), gone));
            }
        }
        for (named, gone) in kind.names_in_body() {
            let fields = match (kind, named) {
                (Kind::Class, Kind::Model) => json!({"allowed_model_ids": [1]}),
                (Kind::Person, Kind::Role) => json!({"roles": [{"role_id": "1"}]}),
                (Kind::Person, Kind::Department) => {
                    json!({"roles": [{"role_id": "9", "department_ids": ["1"]}]})
                }
                other => panic!("say here how {other:?} is written"),
            };
            found.push((kind, *named, fields, *gone));
        }
    }
    found
}

#[test]
fn every_field_says_what_kind_of_data_it_is() {
    for kind in Kind::ALL {
        let sample = sample(*kind);
        let mut fields: Vec<&str> = sample.iter().map(|(name, _)| name).collect();
        let table = kind.table();
        let mut declared: Vec<&str> = table.data.iter().flat_map(|(_, of)| *of).copied().collect();
        fields.sort_unstable();
        declared.sort_unstable();
        assert!(!fields.is_empty());
        assert_eq!(declared, fields, "{}: declared, and there", table.name);
        let columns = table.columns.iter().map(|column| column.name);
        let texts = table.texts.iter().map(Text::field);
        let unique = table.unique.iter().flat_map(|unique| unique.fields).copied();
        for name in columns.chain(texts).chain(unique) {
            assert!(fields.contains(&name), "{}: {name} is no field", table.name);
        }
    }
}

#[test]
fn history_masks_what_is_declared_a_secret_and_nothing_else() {
    let mut secrets = 0;
    for kind in Kind::ALL.iter().copied() {
        let declared = kind.table().fields_of(Data::Secret);
        let opens = |name| match name {
            "known" => json!([{"mark": "opens"}]),
            _ => json!("opens"),
        };
        let opens = declared.iter().map(|name| ((*name).to_owned(), opens(*name)));
        let document = document(kind, 1, &Value::Object(opens.collect()));
        let (_, shown) = diff(None, &document, Action::Create).unwrap();
        for (name, value) in shown.unwrap().values() {
            assert_eq!(value == MASK, declared.contains(&name.as_str()), "{kind:?}: {name}");
        }
        secrets += declared.len();
    }
    assert_eq!(secrets, 6);
}

#[test]
fn what_is_declared_of_deletions_is_what_they_do() {
    let references = references();
    assert!(references.len() > 30);
    for (kind, named, fields, declared) in references {
        let what = format!("a {kind:?} with {fields} whose {named:?} is deleted");
        let world = vec![document(named, 1, &json!({})), document(kind, 2, &fields)];
        let gone = (named, key(named, 1));
        assert!(kind.references(&world[1]).unwrap().contains(&gone), "{what}: names it");
        let in_the_way = if named == Kind::Account { named } else { kind };
        let is_refused = |decided: Result<Decision, Error>| match decided {
            Err(Error::Conflict(with)) => with == [in_the_way.name()],
            _ => false,
        };
        let undone = decide(&undo(), &world);
        assert!(is_refused(undone), "{what}: its making cannot be undone");
        let decided = decide(&*deletion(named), &world);
        if declared == Gone::Refuses {
            assert!(is_refused(decided), "{what}: refused");
            continue;
        }
        let decided = decided.unwrap();
        let writes = decided.writes.iter().filter(|write| write.after.meta.kind == kind);
        let [write] = writes.collect::<Vec<_>>()[..] else { panic!("{what}: one write") };
        let is_deleted = write.after.meta.deleted_at.is_some();
        if declared == Gone::Ends {
            assert!(is_deleted && write.action == Action::Delete, "{what}: ends");
        } else {
            let still = kind.references(&write.after).unwrap();
            assert!(!is_deleted && !still.contains(&gone), "{what}: is cleared");
        }
    }
}

fn invalid(decided: Result<Decision, Error>) -> Vec<(&'static str, &'static str)> {
    match decided {
        Err(Error::Invalid(errors)) => errors.iter().map(|one| (one.field, one.code)).collect(),
        other => panic!("{other:?}"),
    }
}

/// A kind, unique fields of it, and a command that is refused over them in a world.
type Case = (Kind, &'static [&'static str], Box<dyn Command>, Vec<Arc<Document>>);

#[test]
fn what_is_taken_is_refused_under_the_declared_name() {
    let student = |more: &Value| {
        let mut fields = json!({"partner_id": 7, "full_name": "한"});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let read = |fields| serde_json::from_value::<Student>(fields).unwrap();
        (document(Kind::Student, 5, &fields), Box::new(Create::new(read(fields))))
    };
    let (by_person, same_person) = student(&json!({"person_id": 6}));
    let (by_email, same_email) = student(&json!({"email": "A@b.kr", "email_key": "a@b.kr"}));
    let person = document(Kind::Person, 6, &json!({}));
    let partner = document(Kind::Partner, 7, &json!({}));
    let course = json!({"title": "a", "course_key": "k"});
    let model = json!({"provider": "p", "model_name": "m"});
    let application = json!({"tenant_id": "1", "name": "a"});
    let code = CreateInviteCode {
        class_id: 1,
        code: NewCode::Given("ABC234".to_owned()),
        expires_at: None,
        max_uses: None,
    };
    let cases: Vec<Case> = vec![
        (
            Kind::Course,
            &["course_key"],
            Box::new(Create::new(serde_json::from_value::<Course>(course.clone()).unwrap())),
            vec![document(Kind::Course, 1, &course)],
        ),
        (
            Kind::Model,
            &["provider", "model_name"],
            Box::new(Create::new(serde_json::from_value::<Model>(model.clone()).unwrap())),
            vec![document(Kind::Model, 1, &model)],
        ),
        (
            Kind::InviteCode,
            &["code"],
            Box::new(code),
            vec![
                document(Kind::InviteCode, 1, &json!({"code": "ABC234"})),
                document(Kind::Class, 1, &json!({})),
            ],
        ),
        (
            Kind::Student,
            &["partner_id", "person_id"],
            same_person,
            vec![by_person, person, partner.clone()],
        ),
        (Kind::Student, &["partner_id", "email_key"], same_email, vec![by_email, partner]),
        (
            Kind::Application,
            &["tenant_id", "name"],
            Box::new(Create::new(
                serde_json::from_value::<Application>(application.clone()).unwrap(),
            )),
            vec![document(Kind::Application, 1, &application)],
        ),
    ];
    for (kind, fields, command, world) in cases {
        let declared = kind.table().unique.iter().find(|unique| unique.fields == fields);
        let Some(Unique { refusal, among: Among::Live, .. }) = declared else { panic!("{kind:?}") };
        match decide(&*command, &world) {
            Err(Error::Conflict(with)) => assert_eq!(with, [*refusal], "{kind:?}"),
            Err(Error::Invalid(errors)) => {
                assert!(errors.iter().any(|one| one.field == *refusal && one.code == "taken"));
            }
            other => panic!("{kind:?}: {other:?}"),
        }
    }
}

#[test]
fn a_text_is_held_to_its_rules_before_it_is_taken() {
    let taken = vec![document(Kind::Course, 1, &json!({"title": "a", "course_key": "k"}))];
    let course = |title: &str, key: &str| {
        let course = json!({"title": title, "course_key": key, "start_date": "2026-03-02",
            "end_date": "2026-03-01"});
        let course: Course = serde_json::from_value(course).unwrap();
        Create::new(course)
    };
    let order = ("end_date", "end_date_before_start_date");
    assert_eq!(invalid(decide(&course("", "k"), &taken)), [("title", "title_required"), order]);
    assert_eq!(
        invalid(decide(&course("a", "k\0"), &taken)),
        [("course_key", "nul"), ("search_key", "nul"), order]
    );
    let long = format!("{}{}", " ".repeat(255), "k");
    let too_long = ("course_key", "course_key_too_long");
    assert_eq!(invalid(decide(&course("a", &long), &taken)), [too_long, order]);
    assert_eq!(invalid(decide(&course("a", &" ".repeat(256)), &taken)).len(), 3);
    let blank =
        Course { title: " ".to_owned(), course_key: Some("k".to_owned()), ..<_>::default() };
    assert_eq!(invalid(decide(&Create::new(blank), &taken)), [("title", "title_required")]);
    let student = Student {
        full_name: " ".to_owned(),
        email: Some("a".repeat(321)),
        notes: Some("\0".to_owned()),
        ..Student::default()
    };
    assert_eq!(
        invalid(decide(&Create::new(student), &[])),
        [("notes", "nul"), ("full_name", "full_name_required"), ("email", "email_too_long")]
    );
}

/// The statements of a store's migrations, without comments, each on one line.
fn statements(store: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(store);
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let text: String = paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("--"));
    let bare = lines.collect::<Vec<_>>().join(" ");
    bare.split(';').map(|one| one.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// What stands between the first `(` and its `)`, and what follows.
fn within(text: &str) -> (&str, &str) {
    let begin = text.find('(').expect("an open parenthesis");
    let mut depth = 0;
    for (at, c) in text.char_indices().skip(begin) {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if depth == 0 {
            return (&text[begin + 1..at], &text[at + 1..]);
        }
    }
    panic!("no end: {text}");
}

/// The parts between the commas outside all parentheses.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in text.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(c);
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).collect()
}

/// The tables, each with its parts.
fn tables(store: &str) -> BTreeMap<String, Vec<String>> {
    let made = statements(store);
    let made = made.iter().filter_map(|text| text.strip_prefix("CREATE TABLE "));
    made.map(|text| {
        let name = text.split(' ').next().unwrap().to_owned();
        (name, parts(within(text).0))
    })
    .collect()
}

const STORES: [&str; 2] = ["sqlite", "postgres"];

#[test]
fn values_that_the_databases_check_are_those_of_the_enums() {
    let expected: BTreeMap<(String, String), Vec<&str>> = [
        ("design", "design_type", DesignType::ALL.map(DesignType::name).to_vec()),
        ("message", "channel", Channel::ALL.map(Channel::name).to_vec()),
        ("message", "status", MessageStatus::ALL.map(MessageStatus::name).to_vec()),
    ]
    .into_iter()
    .map(|(table, column, names)| ((table.to_owned(), column.to_owned()), names))
    .collect();
    for store in STORES {
        let tables = tables(store);
        let mut found = BTreeMap::new();
        for (table, parts) in &tables {
            for part in parts {
                let Some(check) = part.strip_prefix("CHECK (") else { continue };
                let Some((column, names)) = check.split_once(" IN ") else { continue };
                let names = within(names).0.split(", ").map(|name| name.trim_matches('\''));
                found.insert((table.clone(), column.to_owned()), names.collect::<Vec<_>>());
            }
        }
        assert_eq!(found, expected, "{store}");
    }
}

#[test]
fn no_kind_drops_what_it_does_not_know() {
    for kind in Kind::ALL.iter().copied() {
        let document = document(kind, 1, &json!({"from_later": [1, {"a": null}]}));
        let unknown = Some(r#""from_later":[1,{"a":null}]"#);
        assert_eq!(document.unknown(), unknown, "{}", kind.name());
        assert_eq!(document.slim().unknown(), unknown, "{}", kind.name());
        assert_eq!(*document.fields().unwrap(), sample(kind), "{}", kind.name());
    }
}
