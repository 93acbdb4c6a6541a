//! A record's fields as JSON texts, one beside the other: what is compared, shown in history and kept
//! in the database, without a tree of values in between.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::ser::Formatter;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::error::Error;

/// Fields by name, in the order of their type. Two fields are equal when their texts are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// The members of the JSON object, a [`MARK`] before each.
    text: String,
    /// Where in it each one stands.
    spans: Vec<Span>,
}

/// Where a member begins, where its name's quotation ends, and where itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    begin: usize,
    quotation: usize,
    end: usize,
}

/// Stands before each member; no JSON text without layout holds one.
const MARK: u8 = b'\n';

/// Bytes that most records' fields take, and how many most have: so that few are moved while they grow.
const LENGTH_USUAL: usize = 512;
const COUNT_USUAL: usize = 24;

/// Writes a mark in the place of the commas between the outermost members.
#[derive(Default)]
struct Marking {
    depth: usize,
}

impl Formatter for Marking {
    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        match (self.depth, first) {
            (1, _) => writer.write_all(b"\n"),
            (_, false) => writer.write_all(b","),
            (_, true) => Ok(()),
        }
    }
}

impl Fields {
    /// The fields of `record`.
    ///
    /// # Errors
    /// [`Error::Internal`] when it has no JSON form, or one that is no object.
    pub fn of(record: &impl Serialize) -> Result<Self, Error> {
        let mut text = Vec::with_capacity(LENGTH_USUAL);
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, Marking::default());
        record.serialize(&mut serializer).map_err(Error::internal)?;
        let mut text = String::from_utf8(text).map_err(Error::internal)?;
        if !(text.starts_with('{') && text.ends_with('}')) {
            return Err(Error::internal("a record's fields are an object"));
        }
        text.pop();
        text.remove(0);
        let bytes = text.as_bytes();
        let mut spans = Vec::with_capacity(COUNT_USUAL);
        // The first mark is the first byte.
        let marks = memchr::memchr_iter(MARK, bytes).skip(1).chain([bytes.len()]);
        let mut begin = 1;
        for end in marks.filter(|end| *end > 0) {
            let name = bytes.get(begin + 1..end).unwrap_or_default();
            let quotation = memchr::memchr(b'"', name).unwrap_or(0) + 2;
            spans.push(Span { begin, quotation: begin + quotation, end });
            begin = end + 1;
        }
        Ok(Self { text, spans })
    }

    /// None, with room for some.
    pub fn with_room(length: usize, count: usize) -> Self {
        Self { text: String::with_capacity(length), spans: Vec::with_capacity(count) }
    }

    /// The members of a JSON object.
    ///
    /// # Errors
    /// [`Error::Internal`] when the text is of no object.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text.parse().map_err(Error::internal)? {
            Value::Object(members) => Self::of(&members),
            _ => Err(Error::internal("a record's fields are an object")),
        }
    }

    /// Those of these texts, each with its name.
    pub fn collect<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut all = Self::default();
        for (name, text) in texts {
            all.add(name, text);
        }
        all
    }

    /// Adds a field of this name and text.
    pub fn add(&mut self, name: &str, text: &str) {
        // The general way to put texts together took a fifth of the time in which an edit is decided.
        let quotation = name.len() + 2;
        self.text.reserve(1 + quotation + 1 + text.len());
        self.text.push(char::from(MARK));
        let begin = self.text.len();
        self.text.push('"');
        self.text.push_str(name);
        self.text.push_str("\":");
        self.text.push_str(text);
        let end = self.text.len();
        self.spans.push(Span { begin, quotation: begin + quotation, end });
    }

    /// The fields that are not as they were `before`: name, text before, text now.
    pub fn changes<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        self.others(before).map(|(name, old, now, _)| (name, old, now))
    }

    /// The same, and each as it stands in an object.
    fn others<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = (&'a str, &'a str, &'a str, &'a str)> {
        self.spans.iter().enumerate().filter_map(move |(index, span)| {
            // Records of one type name their fields in one order, and most are as they were.
            let same = before.spans.get(index);
            if same.is_some_and(|same| before.bytes(same) == self.bytes(span)) {
                return None;
            }
            let (name, now, member) = self.member(span)?;
            let old = match same.and_then(|same| before.member(same)) {
                Some((same, old, _)) if same == name => old,
                _ => before.get(name),
            };
            (old != now).then_some((name, old, now, member))
        })
    }

    /// About the length of the object, bytes.
    #[expect(clippy::len_without_is_empty, reason = "there is no record without fields")]
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Names and texts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members().map(|(name, text, _)| (name, text))
    }

    /// Names, texts, and both as they stand in an object.
    fn members(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.spans.iter().filter_map(|span| self.member(span))
    }

    fn bytes(&self, Span { begin, end, .. }: &Span) -> &[u8] {
        self.text.as_bytes().get(*begin..*end).unwrap_or_default()
    }

    fn member(&self, Span { begin, quotation, end }: &Span) -> Option<(&str, &str, &str)> {
        let name = self.text.get(begin + 1..quotation - 1)?;
        Some((name, self.text.get(quotation + 1..*end)?, self.text.get(*begin..*end)?))
    }

    /// A field's text; that of null where there is no such field.
    pub fn get(&self, name: &str) -> &str {
        self.iter().find(|(found, _)| *found == name).map_or("null", |(_, text)| text)
    }

    /// A field's value; null where there is no such field.
    pub fn value(&self, name: &str) -> Value {
        value(self.get(name))
    }

    /// All values.
    pub fn values(&self) -> Map<String, Value> {
        self.iter().map(|(name, text)| (name.to_owned(), value(text))).collect()
    }

    /// The JSON object of the fields whose names `is_in` accepts, without those that are as in
    /// `defaults`.
    pub fn object_but(&self, defaults: &Self, is_in: impl Fn(&str) -> bool) -> String {
        let others = self.others(defaults).filter(|(name, ..)| is_in(name));
        self.object(others.map(|(_, _, _, member)| member))
    }

    fn object<'a>(&self, members: impl Iterator<Item = &'a str>) -> String {
        let mut object = String::with_capacity(self.text.len() + self.spans.len() + 2);
        object.push('{');
        for member in members {
            if object.len() > 1 {
                object.push(',');
            }
            object.push_str(member);
        }
        object.push('}');
        object
    }
}

/// The value of a field's text, which a serializer wrote.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.object(self.members().map(|(_, _, member)| member)))
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, text) in self.iter() {
            map.serialize_entry(name, &value(text))?;
        }
        map.end()
    }
}

/// Members of a JSON object that a type does not know, as they stand there; none, if there are none.
pub type Unknown = Option<Arc<str>>;

/// Reads a record from the fields that have a column of their own, and a JSON object of the others.
/// What of the object its type does not know is given beside it.
///
/// # Errors
/// What is wrong with them.
pub fn read<T: de::DeserializeOwned>(
    columns: Vec<(&'static str, Value)>,
    body: &str,
) -> Result<(T, Unknown), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(body);
    let (mut names, mut throws) = (&[][..], false);
    let row = Row { columns, body: &mut reader, names: &mut names, throws: &mut throws };
    let record = T::deserialize(row)?;
    reader.end()?;
    // Most rows have nothing of the kind, and take no longer to read for those that do.
    let unknown = if throws { members_but(names, body)? } else { None };
    Ok((record, unknown))
}

#[cold]
#[inline(never)]
fn members_but(names: &[&str], body: &str) -> Result<Unknown, serde_json::Error> {
    let mut members: BTreeMap<String, &RawValue> = serde_json::from_str(body)?;
    members.retain(|name, _| !names.contains(&name.as_str()));
    let member = |(name, value): (_, &RawValue)| format!("{}:{}", Value::from(name), value.get());
    let members: Vec<String> = members.into_iter().map(member).collect();
    Ok((!members.is_empty()).then(|| members.join(",").into()))
}

struct Row<'r, D> {
    columns: Vec<(&'static str, Value)>,
    body: D,
    /// The names that the type knows, as soon as it has told them.
    names: &'r mut &'static [&'static str],
    /// Whether it threw a member away.
    throws: &'r mut bool,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Row<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, D::Error> {
        Err(de::Error::custom("a record is a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        *self.names = names;
        let (columns, throws) = (self.columns, self.throws);
        self.body.deserialize_map(WholeRecord { columns, throws, visitor })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct WholeRecord<'r, V> {
    columns: Vec<(&'static str, Value)>,
    throws: &'r mut bool,
    visitor: V,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for WholeRecord<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, body: A) -> Result<V::Value, A::Error> {
        let (columns, throws) = (self.columns.into_iter(), self.throws);
        self.visitor.visit_map(ColumnsThenBody { columns, value: None, throws, body })
    }
}

struct ColumnsThenBody<'r, A> {
    columns: std::vec::IntoIter<(&'static str, Value)>,
    /// That of the column whose name was read last, until it is read itself.
    value: Option<Value>,
    throws: &'r mut bool,
    body: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for ColumnsThenBody<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        match self.columns.next() {
            Some((name, value)) => {
                self.value = Some(value);
                seed.deserialize(name.into_deserializer()).map(Some)
            }
            None => self.body.next_key_seed(seed),
        }
    }

    fn next_value_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, A::Error> {
        // What comes of a member that is thrown away has no size.
        if size_of::<T::Value>() == 0 {
            *self.throws = true;
        }
        match self.value.take() {
            Some(value) => seed.deserialize(value).map_err(de::Error::custom),
            None => self.body.next_value_seed(seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Sample {
        id: Option<i64>,
        name: String,
        tags: Vec<Value>,
        more: Map<String, Value>,
    }

    fn sample() -> Sample {
        let more = serde_json::json!({"a": {"b": [1, {}]}, "줄\n": "\n\",\"x\":"});
        Sample {
            id: Some(7),
            name: "첫\n\"둘\":".to_owned(),
            tags: vec![Value::Null, 1.5.into(), more.clone()],
            more: more.as_object().cloned().unwrap_or_default(),
        }
    }

    #[test]
    fn fields_are_the_members_of_the_json_form() {
        let sample = sample();
        let fields = Fields::of(&sample).unwrap();
        let whole = serde_json::to_string(&sample).unwrap();
        assert_eq!(fields.to_string(), whole);
        assert_eq!(Fields::parse(&whole).unwrap(), fields);
        assert_eq!(Fields::collect(fields.iter()), fields);
        assert_eq!(serde_json::to_string(&fields).unwrap(), whole);
        assert_eq!(serde_json::to_value(&sample).unwrap(), Value::Object(fields.values()));
        assert_eq!(
            fields.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            ["id", "name", "tags", "more"]
        );
        assert_eq!(fields.value("name"), sample.name);
        assert_eq!((fields.get("id"), fields.get("missing")), ("7", "null"));
        let none = Fields::default();
        assert_eq!(fields.object_but(&none, |name| name == "id"), r#"{"id":7}"#);
        assert_eq!(Fields::parse("{}").unwrap().to_string(), "{}");
        assert!(Fields::parse("[]").is_err() && Fields::of(&1).is_err());
    }

    #[test]
    fn a_record_is_read_from_columns_and_body() {
        let fields = Fields::of(&sample()).unwrap();
        let columns = || {
            ["id", "name"].map(|name| (name, fields.value(name))).into_iter().collect::<Vec<_>>()
        };
        let defaults = Fields::of(&Sample::default()).unwrap();
        let body = fields.object_but(&defaults, |name| !["id", "name"].contains(&name));
        assert_eq!(read(columns(), &body).unwrap(), (sample(), None));
        assert_eq!(read(Vec::new(), "{}").unwrap(), (Sample::default(), None));
        assert_eq!(defaults.object_but(&defaults, |_| true), "{}");
        let one = Sample { tags: vec![Value::Null], ..Sample::default() };
        assert_eq!(Fields::of(&one).unwrap().object_but(&defaults, |_| true), r#"{"tags":[null]}"#);
        assert!(read::<Sample>(columns(), "{} {}").is_err());
        assert!(read::<Sample>(vec![("name", 1.into())], "{}").is_err());
    }

    #[test]
    fn members_that_are_not_known_are_given_as_they_stand() {
        let body =
            r#"{"z": {"b" :1.50 , "a":[1e999]}, "tags":[null],"name":"n", "\u0069d":7, "줄\n":0}"#;
        let (record, unknown) = read::<Sample>(Vec::new(), body).unwrap();
        let (id, name) = (Some(7), "n".to_owned());
        assert_eq!(record, Sample { id, name, tags: vec![Value::Null], ..Sample::default() });
        assert_eq!(unknown.as_deref(), Some(r#""z":{"b" :1.50 , "a":[1e999]},"줄\n":0"#));
        assert!(read::<Sample>(Vec::new(), r#"{"z":}"#).is_err());
    }
}
