//! Lists: the questions that [`List`]s are to both databases.

use std::fmt::Write as _;

use super::Store;
#[cfg(debug_assertions)]
use super::plan;
use super::search::{self, BROAD, Flavor, like};
use super::sql::{self, Sql};
use crate::domain::certificate::achievement::Achievement;
use crate::domain::delivery::message::Message;
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::list::{List, Test};
use crate::domain::record::Key;
use crate::domain::table::{ColumnType, KeyType};
use crate::domain::time::Instant;

/// The longest text that is searched for, bytes: SQLite takes patterns of 50,000, each byte of which
/// may need another before it.
const SEARCH_BYTES_MAX: usize = 16 * 1024;

/// The values of a question, and whether it is one.
#[derive(Default)]
pub(super) struct Values {
    pub all: Vec<Sql>,
    /// True when a text is among them that no stored one can hold, and that a database would choke on.
    are_vain: bool,
}

impl Values {
    /// Adds a value; where it stands.
    pub(super) fn put(&mut self, value: Sql) -> String {
        self.are_vain |= matches!(&value, Sql::Text(text) if text.contains('\0'));
        self.all.push(value);
        format!("${}", self.all.len())
    }

    fn put_key(&mut self, key: &Key, is_text: bool) -> Result<String, Error> {
        match key {
            Key::Text(text) if is_text => {
                self.are_vain |= text.len() > SEARCH_BYTES_MAX;
                Ok(self.put(sql::key(key)))
            }
            Key::Int(_) if !is_text => Ok(self.put(sql::key(key))),
            _ => Err(Error::internal(format!("a list by {key}, which its column cannot be"))),
        }
    }

    /// Adds a pattern that finds `part` anywhere; where it stands.
    pub(super) fn put_part(&mut self, part: &str) -> String {
        self.are_vain |= part.len() > SEARCH_BYTES_MAX;
        self.put(Sql::Text(like(part)))
    }
}

/// What the database keeps in a column: a text, or else a number.
fn is_text(kind: Kind, name: &str) -> Result<bool, Error> {
    let table = kind.table();
    match name {
        "id" => Ok(table.key == KeyType::Text),
        "account_id" | "created_at" => Ok(false),
        _ => match table.columns.iter().find(|column| column.name == name) {
            Some(column) => Ok(column.column_type.is_text()),
            None => Err(Error::internal(format!("a list by {}.{name}: no column", table.name))),
        },
    }
}

/// The kind of the record that a column names.
fn named(kind: Kind, name: &str) -> Option<Kind> {
    let column = kind.table().columns.iter().find(|column| column.name == name)?;
    match column.column_type {
        ColumnType::Reference(named, _) => Some(named),
        _ => None,
    }
}

/// All that must hold of a row, but that it is the account's. `alias` stands before each column.
pub(super) fn filter(list: &List, alias: &str, values: &mut Values) -> Result<String, Error> {
    let mut filter = format!("{alias}deleted_at IS NULL");
    for (name, test) in &list.conditions {
        let _ = write!(filter, " AND {}", condition(list.kind, alias, name, test, values)?);
    }
    Ok(filter)
}

fn condition(
    kind: Kind,
    alias: &str,
    name: &str,
    test: &Test,
    values: &mut Values,
) -> Result<String, Error> {
    let is_text = is_text(kind, name)?;
    let column = format!("{alias}{name}");
    let mut put = |key: &Key| values.put_key(key, is_text);
    Ok(match test {
        Test::Set => format!("{column} IS NOT NULL"),
        Test::Is(key) => format!("{column} = {}", put(key)?),
        Test::Among(keys) => {
            let marks = keys.iter().map(put).collect::<Result<Vec<_>, _>>()?;
            format!("{column} IN ({})", marks.join(", "))
        }
        Test::From(least) => format!("{column} >= {}", put(&Key::Int(*least))?),
        Test::Below(bound) => format!("{column} < {}", put(&Key::Int(*bound))?),
        Test::Above(bound) => format!("{column} > {}", put(&Key::Int(*bound))?),
        Test::OpenFrom(least) => {
            format!("({column} IS NULL OR {column} >= {})", put(&Key::Int(*least))?)
        }
        Test::Found(part) if is_text => {
            format!("{column} LIKE {} ESCAPE '\\'", values.put_part(part))
        }
        Test::Found(_) => return Err(Error::internal(format!("a part of {name}, a number"))),
        Test::Through(other, key) => {
            let through = named(kind, name)
                .ok_or_else(|| Error::internal(format!("a list through {name}: names nothing")))?;
            let mark = values.put_key(key, self::is_text(through, other)?)?;
            let table = through.table().name;
            format!(
                "{column} IN (SELECT id FROM {table} WHERE {other} = {mark} AND deleted_at IS NULL)"
            )
        }
    })
}

/// A list as text. Pages take limit and offset besides.
pub(super) struct Question {
    /// How many there are.
    pub count: String,
    /// The ids of a page.
    pub page: String,
    /// The same, where it is to be asked for in another way when there are [`BROAD`] or more.
    pub broad_page: Option<String>,
    /// The values of the parameters.
    pub values: Values,
}

impl Question {
    fn of(flavor: Flavor, list: &List) -> Result<Self, Error> {
        if let Some(text) = &list.called {
            return search::question(flavor, list, text);
        }
        let mut values = Values::default();
        let table = list.kind.table();
        let mut of_account = String::new();
        if let Some(id) = list.account_id {
            // What names one record is little beside what the account has: SQLite, which counts
            // neither, is kept from walking through the account's.
            let is_of_one = list.conditions.iter().any(|(name, test)| {
                named(list.kind, name).is_some() && matches!(test, Test::Is(_) | Test::Through(..))
            });
            let sign = if is_of_one { "+" } else { "" };
            of_account = format!("{sign}account_id = {} AND ", values.put(Sql::Int(id)));
        }
        let filter = filter(list, "", &mut values)?;
        let direction = if list.is_descending { " DESC" } else { "" };
        let mut order = list.order.to_vec();
        // After what is unique nothing is left to be put in order.
        if !table.unique.iter().any(|unique| unique.fields == order) {
            order.push("id");
        }
        for name in &order {
            is_text(list.kind, name)?;
        }
        let from = format!("FROM {} WHERE {of_account}{filter}", table.name);
        Ok(Self {
            count: format!("SELECT count(*) {from}"),
            page: format!(
                "SELECT id {from} ORDER BY {}{direction} LIMIT ${} OFFSET ${}",
                order.join(&format!("{direction}, ")),
                values.all.len() + 1,
                values.all.len() + 2
            ),
            broad_page: None,
            values,
        })
    }
}

/// What comes first of an account's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    /// Whose.
    pub account_id: i64,
    /// Its id.
    pub id: i64,
    /// What is in the column that the list is in the order of.
    pub value: i64,
}

/// Of all accounts' records in a list, what is first of each account's, from one account to the next
/// by an index. Takes the account beyond which to begin, and how many, besides.
fn first_of_each(list: &List) -> Result<(String, Values), Error> {
    let (None, [by], false) = (list.account_id, list.order, list.is_descending) else {
        return Err(Error::internal(
            "a list of all accounts in the order of one column is asked for",
        ));
    };
    let mut values = Values::default();
    let table = list.kind.table().name;
    let filter = filter(list, "m.", &mut values)?;
    let (beyond, limit) = (values.all.len() + 1, values.all.len() + 2);
    let first = |beyond: &str| {
        format!(
            "(SELECT m.id FROM {table} m WHERE {filter} AND m.account_id > {beyond} \
             ORDER BY m.account_id, m.{by}, m.id LIMIT 1)"
        )
    };
    let text = format!(
        "WITH RECURSIVE turn (account_id, id, value, place) AS (\
         SELECT f.account_id, f.id, f.{by}, CAST(1 AS BIGINT) FROM {table} f WHERE f.id = {} \
         UNION ALL SELECT f.account_id, f.id, f.{by}, turn.place + 1 \
         FROM turn CROSS JOIN {table} f WHERE f.id = {} AND turn.place < ${limit}) \
         SELECT account_id, id, value FROM turn",
        first(&format!("${beyond}")),
        first("turn.account_id")
    );
    Ok((text, values))
}

impl Store {
    /// What is first of each account's records, for so many accounts beyond one, in the order of their
    /// ids. The list is one of all accounts, in the order of one column that holds numbers.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn first_of_each(
        &self,
        list: &List,
        beyond: i64,
        limit: i64,
    ) -> Result<Vec<First>, Error> {
        let (text, values) = first_of_each(list)?;
        let mut parameters = values.all;
        parameters.extend([beyond, limit].map(Sql::Int));
        #[cfg(debug_assertions)]
        plan::hold(self, list, &text, &parameters).await?;
        let rows = self.rows(text, parameters, 3).await?;
        let first = |row: &Vec<Sql>| match **row {
            [Sql::Int(account_id), Sql::Int(id), Sql::Int(value)] => {
                Some(First { account_id, id, value })
            }
            _ => None,
        };
        Ok(rows.iter().filter_map(first).collect())
    }

    /// The ids of a list.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away; [`Error::Internal`] when the list names what
    /// is no column of its kind's, or a value that the column cannot have.
    pub async fn list(&self, list: &List) -> Result<Vec<i64>, Error> {
        Ok(self.look(list, false).await?.0)
    }

    /// The same, and how many there are on all pages.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn list_counted(&self, list: &List) -> Result<(Vec<i64>, i64), Error> {
        self.look(list, true).await
    }

    async fn listed(
        &self,
        list: &List,
        text: String,
        parameters: Vec<Sql>,
    ) -> Result<Vec<Vec<Sql>>, Error> {
        match list.account_id {
            Some(account_id) => self.rows_for(account_id, text, parameters, 1).await,
            None => self.rows(text, parameters, 1).await,
        }
    }

    async fn look(&self, list: &List, is_counted: bool) -> Result<(Vec<i64>, i64), Error> {
        let Question { count, page, broad_page, values } = Question::of(self.flavor(), list)?;
        if values.are_vain {
            return Ok((Vec::new(), 0));
        }
        let mut total = i64::MAX;
        if is_counted || broad_page.is_some() {
            #[cfg(debug_assertions)]
            plan::hold(self, list, &count, &values.all).await?;
            let rows = self.listed(list, count, values.all.clone()).await?;
            total = rows.first().and_then(|row| sql::first_int(row)).unwrap_or_default();
        }
        if total <= list.offset {
            return Ok((Vec::new(), total));
        }
        let page = broad_page.filter(|_| total >= BROAD).unwrap_or(page);
        let mut parameters = values.all;
        parameters.extend([list.limit, list.offset].map(Sql::Int));
        #[cfg(debug_assertions)]
        plan::hold(self, list, &page, &parameters).await?;
        let ids = self.listed(list, page, parameters).await?;
        Ok((ids.iter().filter_map(|row| sql::first_int(row)).collect(), total))
    }
}

/// Every test of every column of every kind, to be prepared by a check: whatever a list names is among
/// them, whoever makes it.
pub(super) fn statements(flavor: Flavor) -> Result<Vec<String>, Error> {
    let mut all = Vec::new();
    for kind in Kind::ALL.iter().copied() {
        let columns = kind.table().columns.iter().map(|column| column.name);
        let mut list = List { kind, ..List::of::<Achievement>(1) };
        for name in ["id", "created_at"].into_iter().chain(columns) {
            let key = if is_text(kind, name)? { Key::from("") } else { Key::Int(1) };
            let through = Test::Through("account_id", Key::Int(1));
            list.conditions.extend([Test::Set, Test::Is(key)].map(|test| (name, test)));
            list.conditions.extend(named(kind, name).map(|_| (name, through)));
        }
        let Question { count, page, .. } = Question::of(flavor, &list)?;
        all.extend([count, page]);
    }
    let due = List::of_all_accounts::<Message>().is("status", "").set("due_at").by(&["due_at"]);
    all.push(first_of_each(&due)?.0);
    for text in ["ab", "abc"] {
        let called = Some(text.to_owned());
        let at = Some(Instant::MIN);
        let list = List::of::<Achievement>(1).called(called).between("issued_at", at, at);
        let list = list.newest_by(&["issued_at"]);
        let Question { count, page, broad_page, .. } = Question::of(flavor, &list)?;
        all.extend([count, page]);
        all.extend(broad_page);
    }
    Ok(all)
}
