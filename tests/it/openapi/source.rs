//! YAML, with the line of each piece.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};
use serde_json::{Value, json};

/// A piece of a source, and the line where it begins.
pub struct Node {
    /// The line.
    pub line: usize,
    /// What it is.
    pub kind: Kind,
}

/// What a piece is.
pub enum Kind {
    /// A text, plain or in quotes.
    Scalar {
        /// What it says.
        text: String,
        /// Without quotes, so that it may be a number.
        is_plain: bool,
    },
    /// Pieces.
    List(Vec<Node>),
    /// Pieces with names.
    Map(Vec<Member>),
}

/// A piece with a name.
pub struct Member {
    /// The name.
    pub name: String,
    /// The line of the name.
    pub line: usize,
    /// The piece.
    pub node: Node,
}

impl Node {
    /// Reads a source; or says what is wrong with it, and in which line.
    pub fn of(text: &str) -> Result<Self, (usize, String)> {
        let mut events = Parser::new_from_str(text);
        loop {
            match Self::next(&mut events)? {
                (Event::StreamStart | Event::DocumentStart(_), _) => {}
                (event, line) => return Self::read(&mut events, event, line),
            }
        }
    }

    fn next<'a>(
        events: &mut impl Iterator<Item = Result<(Event<'a>, Span), ScanError>>,
    ) -> Result<(Event<'a>, usize), (usize, String)> {
        match events.next() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(fault)) => Err((fault.marker().line(), fault.info().to_owned())),
            None => Err((0, "it ends too early".to_owned())),
        }
    }

    fn read<'a>(
        events: &mut impl Iterator<Item = Result<(Event<'a>, Span), ScanError>>,
        event: Event<'a>,
        line: usize,
    ) -> Result<Self, (usize, String)> {
        let kind = match event {
            Event::Scalar(text, style, 0, None) => {
                Kind::Scalar { text: text.into_owned(), is_plain: style == ScalarStyle::Plain }
            }
            Event::SequenceStart(0, None) => {
                let mut items = Vec::new();
                loop {
                    match Self::next(events)? {
                        (Event::SequenceEnd, _) => break Kind::List(items),
                        (event, line) => items.push(Self::read(events, event, line)?),
                    }
                }
            }
            Event::MappingStart(0, None) => {
                let mut members: Vec<Member> = Vec::new();
                loop {
                    let (name, line) = match Self::next(events)? {
                        (Event::MappingEnd, _) => break Kind::Map(members),
                        (Event::Scalar(text, ..), line) => (text.into_owned(), line),
                        (_, line) => return Err((line, "a name is a text".to_owned())),
                    };
                    if members.iter().any(|member| member.name == name) {
                        return Err((line, format!("\"{name}\" stands twice")));
                    }
                    let (event, start) = Self::next(events)?;
                    let node = Self::read(events, event, start)?;
                    members.push(Member { name, line, node });
                }
            }
            _ => return Err((line, "anchors, aliases and tags are not read here".to_owned())),
        };
        Ok(Self { line, kind })
    }

    /// The piece with a name.
    pub fn member(&self, name: &str) -> Option<&Self> {
        let Kind::Map(members) = &self.kind else { return None };
        members.iter().find(|member| member.name == name).map(|member| &member.node)
    }

    /// What it says, as JSON. A plain scalar is what it would be in JSON, else a text.
    pub fn data(&self) -> Value {
        match &self.kind {
            Kind::Scalar { text, is_plain: true } => {
                serde_json::from_str(text).unwrap_or_else(|_| json!(text))
            }
            Kind::Scalar { text, is_plain: false } => json!(text),
            Kind::List(items) => items.iter().map(Self::data).collect(),
            Kind::Map(members) => Value::Object(
                members.iter().map(|member| (member.name.clone(), member.node.data())).collect(),
            ),
        }
    }
}
