//! Finding certificates by a part of their holder's name or e-mail, or of their form's name.
//!
//! Parts of a text are found through its grams: every run of three characters, and, so that parts of
//! one and two characters are the beginning of some run, the text is followed by two more that no
//! name has. One syllable of Korean is enough to look for, and no language's rules are asked. Holders
//! are found by their grams, forms, of which there are few, by looking at each; what the grams find
//! is compared with the text once more. Of a person's names the one that a certificate shows counts.

use std::collections::HashSet;
use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

use super::list::{Question, Values};
use super::sql::Sql;
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::list::List;
use crate::domain::people::person::NAME_JOINT;

/// Which database a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavor {
    /// FTS5 holds the grams.
    Sqlite,
    /// A GIN index holds them.
    Postgres,
}

/// Characters of a gram.
const GRAM: usize = 3;
/// Grams of a text that are looked up; more would not narrow a search any further.
const GRAMS_MAX: usize = 16;
/// From so many certificates on, the list is read in its order until the page is full; below, all are
/// found first and then put in order.
pub(super) const BROAD: i64 = 10_000;
/// Stands behind every character in the order of code points.
const LAST: char = char::MAX;

/// The question which certificates have a holder or a form that is called so; the text is not empty.
pub(super) fn question(flavor: Flavor, list: &List, text: &str) -> Result<Question, Error> {
    let is_newest_issue_first = list.is_descending && list.order == ["issued_at"];
    let (Kind::Achievement, Some(account_id), true) =
        (list.kind, list.account_id, is_newest_issue_first)
    else {
        return Err(Error::internal("an account's certificates alone are searched, newest first"));
    };
    let mut values = Values::default();
    // The first three of the parameters; the statements name them by these numbers.
    values.put(Sql::Int(account_id));
    values.put_part(text);
    let short = text.chars().count() < GRAM;
    let grams = match flavor {
        Flavor::Sqlite if short => {
            values.put(Sql::Text(text.to_owned()));
            values.put(Sql::Text(format!("{text}{LAST}")));
            "p.id IN (SELECT doc FROM person_search_terms WHERE term >= $3 AND term < $4)"
        }
        Flavor::Sqlite => {
            let quoted = |gram: String| format!("\"{}\"", gram.replace('"', "\"\""));
            values.put(Sql::Text(grams(text, " AND ", quoted)));
            "p.id IN (SELECT rowid FROM person_search WHERE person_search MATCH $3)"
        }
        Flavor::Postgres => {
            values.put(Sql::Text(if short {
                format!("{}:*", lexeme(text))
            } else {
                grams(text, " & ", |gram| lexeme(&gram))
            }));
            "p.grams @@ CAST($3::text AS tsquery)"
        }
    };
    // A person's own name comes first among the names.
    let own_name = match flavor {
        Flavor::Sqlite => format!(
            "substr(p.name_key, 1, instr(p.name_key || '{NAME_JOINT}', '{NAME_JOINT}') - 1)"
        ),
        Flavor::Postgres => format!("split_part(p.name_key, '{NAME_JOINT}', 1)"),
    };
    let matches = format!(
        "WITH holder AS MATERIALIZED (SELECT p.id, \
         CASE WHEN p.email_key LIKE $2 ESCAPE '\\' THEN 2 \
         WHEN {own_name} LIKE $2 ESCAPE '\\' THEN 1 ELSE 0 END AS reach \
         FROM person p WHERE {grams} AND p.account_id = $1 \
         AND (p.name_key LIKE $2 ESCAPE '\\' OR p.email_key LIKE $2 ESCAPE '\\')), \
         award AS MATERIALIZED (SELECT f.id FROM form f WHERE f.account_id = $1 \
         AND f.name_key LIKE $2 ESCAPE '\\')"
    );
    let filter = super::list::filter(list, "a.", &mut values)?;
    let of_forms =
        format!("award CROSS JOIN achievement a WHERE a.form_id = award.id AND {filter}");
    let of_holders = format!(
        "holder CROSS JOIN achievement a WHERE a.person_id = holder.id AND {filter} \
         AND (holder.reach = 2 OR holder.reach = 1 AND a.holder_key IS NULL \
         OR a.holder_key LIKE $2 ESCAPE '\\') \
         AND a.form_id NOT IN (SELECT id FROM award)"
    );
    let (limit, offset) = (values.all.len() + 1, values.all.len() + 2);
    let page = format!("LIMIT ${limit} OFFSET ${offset}");
    // The planner must not begin with the holders here.
    let index = match flavor {
        Flavor::Sqlite => " INDEXED BY achievement_by_account_id_issued_at_id",
        Flavor::Postgres => "",
    };
    Ok(Question {
        count: format!(
            "{matches} SELECT (SELECT count(*) FROM {of_forms}) \
             + (SELECT count(*) FROM {of_holders})"
        ),
        page: format!(
            "{matches} SELECT id FROM (SELECT a.id, a.issued_at FROM {of_forms} \
             UNION ALL SELECT a.id, a.issued_at FROM {of_holders}) found \
             ORDER BY issued_at DESC, id DESC {page}"
        ),
        broad_page: Some(format!(
            "{matches} SELECT a.id FROM achievement a{index} WHERE a.account_id = $1 AND {filter} \
             AND (a.form_id IN (SELECT id FROM award) \
             OR a.person_id IN (SELECT id FROM holder WHERE reach = 2) \
             OR a.holder_key IS NULL AND a.person_id IN (SELECT id FROM holder WHERE reach > 0) \
             OR a.holder_key LIKE $2 ESCAPE '\\' AND a.person_id IN (SELECT id FROM holder)) \
             ORDER BY a.issued_at DESC, a.id DESC {page}"
        )),
        values,
    })
}

/// A lexeme as PostgreSQL reads it.
fn lexeme(gram: &str) -> String {
    if gram.contains(['\\', '\'']) {
        format!("'{}'", gram.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{gram}'")
    }
}

/// Characters of a person's text that are looked at.
const TEXT_MAX: usize = 10_000;

/// The text of the `tsvector` that PostgreSQL keeps for a person: the same grams as its function
/// `haksa_grams` finds, which takes ten times as long.
pub(super) fn person_grams(name_key: &str, email_key: &str) -> String {
    let text = name_key.chars().chain(['\n']).chain(email_key.chars());
    let padded: Vec<char> = text.take(TEXT_MAX).chain(['\n', '\n']).collect();
    let mut grams = String::with_capacity(8 * padded.len());
    for gram in padded.windows(GRAM) {
        grams.push_str(&lexeme(&gram.iter().collect::<String>()));
        grams.push(' ');
    }
    grams
}

/// By what searches should find people with larger ids than `$1`.
pub(super) const PEOPLE: &str =
    "SELECT id, name_key, email_key, NULL FROM person WHERE id > $1 ORDER BY id LIMIT 5000";
/// The same, and the grams that they have, which are all of one length.
pub(super) const PEOPLE_WITH_GRAMS: &str = "SELECT id, name_key, email_key, \
     array_to_string(tsvector_to_array(grams), '') FROM person WHERE id > $1 ORDER BY id LIMIT 5000";
/// What grams are added up by.
pub(super) const GRAM_HASH: FixedState = FixedState::with_seed(0);

/// The sum of the grams that a person's name and address have, each counted once; of the beginning of a
/// very long text, where only that `is_cut` into grams.
pub(super) fn sum_due(name_key: &str, email_key: &str, is_cut: bool) -> u64 {
    let text = name_key.chars().chain(['\n']).chain(email_key.chars());
    let text = text.take(if is_cut { TEXT_MAX } else { usize::MAX });
    let padded: Vec<char> = text.chain(['\n', '\n']).collect();
    let hash = |gram: &[char]| GRAM_HASH.hash_one(gram.iter().collect::<String>());
    let hashes: HashSet<u64> = padded.windows(GRAM).map(hash).collect();
    hashes.into_iter().fold(0, u64::wrapping_add)
}

/// The sum of grams of which one stands behind the other.
pub(super) fn sum_of_joined(grams: &str) -> u64 {
    let chars: Vec<char> = grams.chars().collect();
    let hash = |gram: &[char]| GRAM_HASH.hash_one(gram.iter().collect::<String>());
    chars.chunks(GRAM).map(hash).fold(0, u64::wrapping_add)
}

/// The grams of a text that is as long as one or longer, joined.
fn grams(text: &str, joint: &str, quote: impl Fn(String) -> String) -> String {
    let chars: Vec<char> = text.chars().collect();
    let all: Vec<String> = chars.windows(GRAM).map(|gram| gram.iter().collect()).collect();
    // Of a long text, grams from all over it: its beginning alone may be common.
    let stride = all.len().div_ceil(GRAMS_MAX).max(1);
    let some: Vec<String> = all.into_iter().step_by(stride).map(quote).collect();
    some.join(joint)
}

/// A pattern that finds `text` anywhere, with its own wildcards taken literally.
pub(super) fn like(text: &str) -> String {
    let mut pattern = "%".to_owned();
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_looked_up_by_some_of_its_grams() {
        let quote = |gram: String| format!("<{gram}>");
        assert_eq!(grams("홍길동", "+", quote), "<홍길동>");
        assert_eq!(grams("abcde", "+", quote), "<abc>+<bcd>+<cde>");
        let long: String = ('a'..='z').cycle().take(5000).collect();
        assert_eq!(grams(&long, "+", quote).matches('+').count() + 1, 16);
    }
}
