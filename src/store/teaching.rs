//! The lists of the partner API: what to look for, and the text that finds it on both databases.

use std::fmt::Write as _;

use super::search::like;
use super::sql::Sql;
use super::{Store, is_findable};
use crate::domain::error::Error;
use crate::domain::teaching::membership::MembershipStatus;
use crate::domain::teaching::student::StudentStatus;

/// Rows to pass over, and rows at the most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slice {
    /// Rows to pass over.
    pub offset: i64,
    /// Rows at the most.
    pub limit: i64,
}

/// A page of a partner's classes, newest first.
#[derive(Clone, Debug, Default)]
pub struct ClassQuery {
    /// Whose.
    pub partner_id: i64,
    /// The course that they must be of.
    pub course_id: Option<i64>,
    /// The status that they must have.
    pub status: Option<String>,
}

/// A page of an account's courses with a key, newest first.
#[derive(Clone, Debug, Default)]
pub struct CourseQuery {
    /// Whose.
    pub account_id: i64,
    /// The status that they must have.
    pub status: Option<String>,
    /// Folded text to find in title or key.
    pub search: Option<String>,
}

/// A page of a class's invite codes, newest first.
#[derive(Clone, Debug, Default)]
pub struct InviteCodeQuery {
    /// The class.
    pub class_id: i64,
    /// Only those that are active, and not over at this time, microseconds since 1970.
    pub active_at: Option<i64>,
}

/// A page of a partner's students, newest first.
#[derive(Clone, Debug, Default)]
pub struct StudentQuery {
    /// Whose.
    pub partner_id: i64,
    /// The status that they must have.
    pub status: Option<StudentStatus>,
    /// Folded text to find in name, e-mail or contact.
    pub search: Option<String>,
}

/// Whose memberships.
#[derive(Clone, Copy, Debug)]
pub enum MembershipsOf {
    /// A class's.
    Class(i64),
    /// A student's.
    Student(i64),
    /// A person's, with any partner.
    Person(i64),
}

/// A page of memberships, newest first.
#[derive(Clone, Debug)]
pub struct MembershipQuery {
    /// Whose.
    pub of: MembershipsOf,
    /// The one or two statuses that they may have; any, if empty.
    pub statuses: Vec<MembershipStatus>,
}

/// A list: its table and joins, what must hold, in which order.
struct List {
    from: &'static str,
    /// The column of the ids, which must be of a table's own.
    id: &'static str,
    filter: String,
    order: &'static str,
    parameters: Vec<Sql>,
}

impl List {
    fn new(from: &'static str, id: &'static str, order: &'static str) -> Self {
        Self { from, id, filter: String::new(), order, parameters: Vec::new() }
    }

    /// Adds a condition; `?` stands for the value.
    fn and(mut self, condition: &str, value: Sql) -> Self {
        self.parameters.push(value);
        let mark = format!("${}", self.parameters.len());
        let joint = if self.filter.is_empty() { "" } else { " AND " };
        let _ = write!(self.filter, "{joint}{}", condition.replace('?', &mark));
        self
    }

    fn and_text(self, condition: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.and(condition, Sql::Text(value.to_owned())),
            None => self,
        }
    }

    /// The count and the page; the page takes limit and offset besides.
    fn texts(self) -> (String, String, Vec<Sql>) {
        let Self { from, id, filter, order, parameters } = self;
        let count = format!("SELECT count(*) FROM {from} WHERE {filter}");
        let page = format!(
            "SELECT {id} FROM {from} WHERE {filter} ORDER BY {order} LIMIT ${} OFFSET ${}",
            parameters.len() + 1,
            parameters.len() + 2
        );
        (count, page, parameters)
    }
}

fn classes(query: &ClassQuery) -> List {
    let list = List::new("class", "id", "created_at DESC, id DESC")
        .and("partner_id = ? AND deleted_at IS NULL", Sql::Int(query.partner_id))
        .and_text("status = ?", query.status.as_deref());
    match query.course_id {
        Some(id) => list.and("course_id = ?", Sql::Int(id)),
        None => list,
    }
}

fn courses(query: &CourseQuery) -> List {
    let pattern = query.search.as_deref().map(like);
    let account_id = Sql::Int(query.account_id);
    List::new("course", "id", "created_at DESC, id DESC")
        .and("account_id = ? AND deleted_at IS NULL AND course_key IS NOT NULL", account_id)
        .and_text("status = ?", query.status.as_deref())
        .and_text("search_key LIKE ? ESCAPE '\\'", pattern.as_deref())
}

fn invite_codes(query: &InviteCodeQuery) -> List {
    let list = List::new("invite_code", "id", "id DESC")
        .and("class_id = ? AND deleted_at IS NULL", Sql::Int(query.class_id));
    match query.active_at {
        Some(at) => {
            list.and("status = 'active' AND (expires_at IS NULL OR expires_at >= ?)", Sql::Int(at))
        }
        None => list,
    }
}

fn students(query: &StudentQuery) -> List {
    let pattern = query.search.as_deref().map(like);
    List::new("student", "id", "created_at DESC, id DESC")
        .and("partner_id = ? AND deleted_at IS NULL", Sql::Int(query.partner_id))
        .and_text("status = ?", query.status.map(StudentStatus::name))
        .and_text("search_key LIKE ? ESCAPE '\\'", pattern.as_deref())
}

fn memberships(query: &MembershipQuery) -> List {
    let order = "m.enrolled_at DESC, m.id DESC";
    let list = match query.of {
        MembershipsOf::Class(id) => List::new("membership m", "m.id", order)
            .and("m.class_id = ? AND m.deleted_at IS NULL", Sql::Int(id)),
        MembershipsOf::Student(id) => List::new("membership m", "m.id", order)
            .and("m.student_id = ? AND m.deleted_at IS NULL", Sql::Int(id)),
        MembershipsOf::Person(id) => {
            List::new("membership m JOIN student s ON s.id = m.student_id", "m.id", order).and(
                "s.person_id = ? AND s.deleted_at IS NULL AND m.deleted_at IS NULL",
                Sql::Int(id),
            )
        }
    };
    match query.statuses[..] {
        [] => list,
        [one] => list.and_text("m.status = ?", Some(one.name())),
        [one, other, ..] => {
            let mut list = list.and_text("m.status IN (?, ", Some(one.name()));
            list.parameters.push(Sql::Text(other.name().to_owned()));
            let _ = write!(list.filter, "${})", list.parameters.len());
            list
        }
    }
}

/// Every list in every shape, for a check to prepare.
pub(super) fn statements() -> Vec<String> {
    use MembershipStatus::{Active, Completed};
    let text = || Some(String::new());
    let membership = |of, statuses| memberships(&MembershipQuery { of, statuses });
    [
        classes(&ClassQuery { partner_id: 1, course_id: Some(1), status: text() }),
        courses(&CourseQuery { account_id: 1, status: text(), search: text() }),
        invite_codes(&InviteCodeQuery { class_id: 1, active_at: Some(0) }),
        students(&StudentQuery {
            partner_id: 1,
            status: Some(StudentStatus::Active),
            search: text(),
        }),
        membership(MembershipsOf::Class(1), vec![Active, Completed]),
        membership(MembershipsOf::Student(1), vec![Active]),
        membership(MembershipsOf::Person(1), Vec::new()),
    ]
    .into_iter()
    .flat_map(|list| {
        let (count, page, _) = list.texts();
        [count, page]
    })
    .collect()
}

type PageOfIds = Result<(Vec<i64>, i64), Error>;

/// Each gives the ids of a page, in order, and how many match in all.
impl Store {
    /// A partner's classes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn classes(&self, query: &ClassQuery, slice: Slice) -> PageOfIds {
        if !is_findable(query.status.as_deref()) {
            return Ok((Vec::new(), 0));
        }
        self.page(classes(query).texts(), slice.limit, slice.offset).await
    }

    /// An account's courses with a key.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn courses(&self, query: &CourseQuery, slice: Slice) -> PageOfIds {
        if !is_findable(query.search.as_deref()) || !is_findable(query.status.as_deref()) {
            return Ok((Vec::new(), 0));
        }
        self.page(courses(query).texts(), slice.limit, slice.offset).await
    }

    /// A class's invite codes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn invite_codes(&self, query: &InviteCodeQuery, slice: Slice) -> PageOfIds {
        self.page(invite_codes(query).texts(), slice.limit, slice.offset).await
    }

    /// A partner's students.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn students(&self, query: &StudentQuery, slice: Slice) -> PageOfIds {
        if !is_findable(query.search.as_deref()) {
            return Ok((Vec::new(), 0));
        }
        self.page(students(query).texts(), slice.limit, slice.offset).await
    }

    /// Memberships.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is away.
    pub async fn memberships(&self, query: &MembershipQuery, slice: Slice) -> PageOfIds {
        self.page(memberships(query).texts(), slice.limit, slice.offset).await
    }
}
