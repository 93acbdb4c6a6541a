//! The text of an e-mail (RFC 5322, RFC 2045), in ASCII throughout unless an address is not: what is beyond it
//! is encoded, every line ends in CR LF, and no line of the head is longer than [`LINE_MAX`] unless one address
//! or identifier is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::tz::TimeZone;
use lettre::Address;
use lettre::message::header::ContentTransferEncoding;
use lettre::message::{Body, Mailbox};
use url::Host;

use crate::domain::delivery::message::Message;
use crate::domain::delivery::template::{one_line, plain_lines};

/// Characters of a line of the head at the most: of any, 78 (RFC 5322 section 2.1.1); of one with an encoded
/// word, so many (RFC 2047 section 2).
const LINE_MAX: usize = 76;
/// Bytes for which it is worth to begin an encoded word on a line.
const ENCODED_MIN: usize = 12;
/// What is around the letters of an encoded word.
const ENCODED: (&str, &str) = ("=?utf-8?B?", "?=");

/// An e-mail, ready to be handed over.
#[derive(Debug)]
pub(super) struct Letter {
    /// To whom, as mail servers call them.
    pub to: Address,
    /// The whole text.
    pub text: Vec<u8>,
}

impl Letter {
    /// Words a message. The domain of `from` is in ASCII.
    ///
    /// # Errors
    /// What is wrong with the recipient's address.
    pub(super) fn write(from: &Mailbox, message: &Message, at: Timestamp) -> Result<Self, String> {
        let to = message.recipient.parse::<Address>().ok().and_then(|to| in_ascii(&to));
        let to = to.ok_or_else(|| "not an e-mail address".to_owned())?;
        let mut head = Head::default();
        head.field("From", mailbox(from.name.as_deref().unwrap_or_default(), &from.email));
        head.field("To", mailbox(&message.recipient_name, &to));
        head.field("Subject", unstructured(message.subject.as_deref().unwrap_or_default()));
        let id = format!("<{}@{}>", message.reference, from.email.domain());
        head.field("Message-ID", vec![Word::Whole(id)]);
        head.field("Date", unstructured(&date(at)));
        // Tells other programs not to answer (RFC 3834 section 5).
        head.field("Auto-Submitted", unstructured("auto-generated"));
        head.field("MIME-Version", unstructured("1.0"));
        head.field("Content-Type", unstructured("text/plain; charset=utf-8"));
        let body = Body::new(plain_lines(&message.body));
        let encoding = match body.encoding() {
            ContentTransferEncoding::SevenBit => "7bit",
            ContentTransferEncoding::QuotedPrintable => "quoted-printable",
            ContentTransferEncoding::Base64 => "base64",
            other => return Err(format!("no mail server takes {other:?} for sure")),
        };
        head.field("Content-Transfer-Encoding", unstructured(encoding));
        let text = [head.text.as_bytes(), b"\r\n", body.as_ref()].concat();
        Ok(Self { to, text })
    }
}

/// The address with its domain as mail servers call it (RFC 5890); none where it has no such name.
pub(super) fn in_ascii(address: &Address) -> Option<Address> {
    if address.domain().is_ascii() {
        return Some(address.clone());
    }
    let Ok(Host::Domain(domain)) = Host::parse(address.domain()) else { return None };
    Address::new(address.user(), domain).ok()
}

fn date(at: Timestamp) -> String {
    let printed = DateTimePrinter::new().zoned_to_string(&at.to_zoned(TimeZone::UTC));
    printed.unwrap_or_else(|_| "Thu, 01 Jan 1970 00:00:00 +0000".to_owned())
}

/// A part of a field, before which a line may end.
enum Word {
    /// Stands as it is.
    Whole(String),
    /// Is encoded, in as many words as it takes.
    Encoded(String),
}

#[derive(Default)]
struct Head {
    text: String,
}

impl Head {
    fn field(&mut self, name: &str, words: Vec<Word>) {
        self.text.push_str(name);
        self.text.push(':');
        let mut used = name.len() + 1;
        for word in words {
            match word {
                Word::Whole(word) => self.put(&word, &mut used),
                Word::Encoded(text) => self.encode(&text, &mut used),
            }
        }
        self.text.push_str("\r\n");
    }

    /// Puts a word on the line, or on the next where it has no room.
    fn put(&mut self, word: &str, used: &mut usize) {
        if *used + 1 + word.len() > LINE_MAX {
            self.text.push_str("\r\n");
            *used = 0;
        }
        self.text.push(' ');
        self.text.push_str(word);
        *used += 1 + word.len();
    }

    /// Puts a text in encoded words, each of whole letters.
    fn encode(&mut self, text: &str, used: &mut usize) {
        let around = 1 + ENCODED.0.len() + ENCODED.1.len();
        let room = |used: usize| LINE_MAX.saturating_sub(used + around) / 4 * 3;
        let mut rest = text;
        while !rest.is_empty() {
            if room(*used) < ENCODED_MIN {
                self.text.push_str("\r\n");
                *used = 0;
            }
            let ends = rest.char_indices().map(|(at, letter)| at + letter.len_utf8());
            let end = ends.take_while(|end| *end <= room(*used)).last().unwrap_or(rest.len());
            let (part, more) = rest.split_at(end);
            let word = format!(" {}{}{}", ENCODED.0, STANDARD.encode(part), ENCODED.1);
            self.text.push_str(&word);
            *used += word.len();
            rest = more;
        }
    }
}

fn mailbox(name: &str, address: &Address) -> Vec<Word> {
    let name = one_line(name);
    if name.is_empty() {
        return vec![Word::Whole(address.to_string())];
    }
    let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    let mut words = if name.bytes().all(|byte| byte == b' ' || is_atom(byte)) {
        unstructured(&name)
    } else if is_plain(&name) {
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        unstructured(&format!("\"{quoted}\""))
    } else {
        vec![Word::Encoded(name)]
    };
    words.push(Word::Whole(format!("<{address}>")));
    words
}

fn unstructured(text: &str) -> Vec<Word> {
    let text = one_line(text);
    if is_plain(&text) {
        return text.split(' ').map(|word| Word::Whole(word.to_owned())).collect();
    }
    vec![Word::Encoded(text)]
}

/// True for what can stand in a head as it is, and is not taken there for something encoded.
fn is_plain(text: &str) -> bool {
    let is_short = |word: &str| word.len() < LINE_MAX / 2;
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && !text.contains("=?")
        && text.split(' ').all(is_short)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn letter(from: &str, message: &Message) -> String {
        let from = from.parse::<Mailbox>().unwrap();
        let letter = Letter::write(&from, message, Timestamp::UNIX_EPOCH).unwrap();
        String::from_utf8(letter.text).unwrap()
    }

    fn message(name: &str) -> Message {
        Message {
            recipient: "hong@example.com".to_owned(),
            recipient_name: name.to_owned(),
            subject: Some(format!("{name}\r\nX: y")),
            body: format!("본문 {name}"),
            reference: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
            ..Message::default()
        }
    }

    /// The fields of a head, each on a line of its own.
    fn fields(text: &str) -> Vec<(String, String)> {
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        let head = head.replace("\r\n ", " ");
        let field = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_owned(), value.trim().to_owned())
        };
        head.split("\r\n").map(field).collect()
    }

    fn value(text: &str, name: &str) -> String {
        fields(text).into_iter().find(|(known, _)| known == name).unwrap().1
    }

    const FIELDS: [&str; 9] = [
        "From",
        "To",
        "Subject",
        "Message-ID",
        "Date",
        "Auto-Submitted",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
    ];

    #[test]
    fn no_name_makes_a_header() {
        for name in ["a\r\nBcc: x@example.com", "\"a\" <x@example.com>,", "홍\n\n길동", "\u{2028}"]
        {
            let text = letter("학사 <cert@example.com>", &message(name));
            let fields = fields(&text);
            assert_eq!(fields.iter().map(|(name, _)| name).collect::<Vec<_>>(), FIELDS, "{text}");
        }
    }

    #[test]
    fn what_is_plain_stands_as_it_is() {
        let text = letter("Haksa <cert@example.com>", &message("Gil-dong Hong"));
        for (name, expected) in [
            ("From", "Haksa <cert@example.com>"),
            ("To", "Gil-dong Hong <hong@example.com>"),
            ("Subject", "Gil-dong Hong X: y"),
            ("Message-ID", "<01890a5d-ac96-774b-bcce-b302099a8057@example.com>"),
            ("Date", "Thu, 1 Jan 1970 00:00:00 +0000"),
            ("MIME-Version", "1.0"),
        ] {
            assert_eq!(value(&text, name), expected);
        }
        let text = letter("cert@example.com", &message("Hong, \"G\" \\"));
        assert_eq!(value(&text, "To"), r#""Hong, \"G\" \\" <hong@example.com>"#);
        assert_eq!(value(&text, "From"), "cert@example.com");
        let text = letter("cert@example.com", &message("=?utf-8?B?7ZmN?="));
        assert!(value(&text, "Subject").starts_with("=?utf-8?B?PT91"), "{text}");
    }

    #[test]
    fn a_domain_beyond_ascii_is_written_as_mail_servers_call_it() {
        let from = "cert@한빛.한국".parse::<Address>().unwrap();
        let from = Mailbox { name: None, email: in_ascii(&from).unwrap() };
        let message =
            Message { recipient: "hong@학원.한국".to_owned(), ..message("홍길동") };
        let letter = Letter::write(&from, &message, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(letter.to.to_string(), "hong@xn--sp5bv9x.xn--3e0b707e");
        let text = String::from_utf8(letter.text).unwrap();
        assert!(value(&text, "Message-ID").ends_with("@xn--xx3br43b.xn--3e0b707e>"), "{text}");
        assert!(text.is_ascii());
    }

    proptest! {
        #[test]
        fn every_line_is_short_and_ends_as_it_should(
            name in "\\PC{0,60}|[a-z .]{0,200}|[가-힣 ]{0,120}",
            body in "[a-z.\\r\\n가-나]{0,200}",
        ) {
            let message = Message { body, ..message(&name) };
            let email = "cert@example.com".parse::<Address>().unwrap();
            let from = Mailbox { name: Some(name), email };
            let letter = Letter::write(&from, &message, Timestamp::UNIX_EPOCH).unwrap();
            let text = String::from_utf8(letter.text).unwrap();
            prop_assert!(text.is_ascii());
            let (head, _) = text.split_once("\r\n\r\n").unwrap();
            for line in head.split("\r\n") {
                prop_assert!(line.len() <= LINE_MAX, "{}", line);
                prop_assert!(!line.trim().is_empty());
            }
            let without = text.replace("\r\n", "");
            prop_assert!(!without.contains(['\r', '\n']));
        }
    }
}
