//! The partner API's part of the demo account: an instructor with a class and its invite code,
//! courses, models and students, and an instructor of another organisation.

use serde_json::{Value, json};

use super::{ACCOUNT, Loader, OTHER_ACCOUNT};
use crate::dialect::Dialect;
use crate::domain::error::Error;
use crate::domain::learning::course::{Course, CourseStatus};
use crate::domain::people::credential::Credential;
use crate::domain::people::person::Person;
use crate::domain::teaching::class::Class;
use crate::domain::teaching::invite_code::InviteCode;
use crate::domain::teaching::model::Model;
use crate::domain::teaching::partner::Partner;

const TOKEN: &str = "demo-partner-token";
const OTHER_TOKEN: &str = "demo-partner-other-token";
const STUDENT_TOKEN: &str = "demo-student-token";
const USER_TOKEN: &str = "demo-user-token";
const PARTNER: i64 = 7;
const OTHER_PARTNER: i64 = 8;
const CLASS: i64 = 11;
const OTHER_CLASS: i64 = 12;
const INVITE_CODE: &str = "ABC234";

/// The passwords of those who can sign in, as hashed by [`crate::vault::hash_password`]: hashing takes
/// longer than all the rest.
const PASSWORD: &str = "demo-partner-password";
const PASSWORD_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1\
    $ZGVtby1FWEFNUExFc2x0MQ$2Tp/VdvrWXF8eTzqerSq8I/TUxk6W66zobuym5CV0e0";
const STUDENT_PASSWORD: &str = "demo-student-password";
const STUDENT_PASSWORD_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1\
    $ZGVtby1FWEFNUExFc2x0Mg$2Yy6r/sv9gxzB/3rvYsbOTgvzk8/wCvBeX5t0fEzG0Y";
const EMAIL: &str = "doyun@example.com";
const STUDENT_EMAIL: &str = "hajun@example.com";

pub(super) async fn load(loader: &Loader<'_>) -> Result<(), Error> {
    for (account, person, name, email, credential, label, token) in [
        (ACCOUNT, 101, "이도윤", Some(EMAIL), 11, "an instructor", TOKEN),
        (OTHER_ACCOUNT, 102, "박서연", Some("seoyeon@example.com"), 12, "another one", OTHER_TOKEN),
        (ACCOUNT, 91, "최하준", Some(STUDENT_EMAIL), 13, "a student", STUDENT_TOKEN),
        (ACCOUNT, 90, "정지우", None, 14, "a user", USER_TOKEN),
    ] {
        let email = email.map(str::to_owned);
        let hash = match person {
            101 => Some(PASSWORD_HASH),
            91 => Some(STUDENT_PASSWORD_HASH),
            _ => None,
        };
        let password_hash = hash.map(str::to_owned);
        let who = Person { name: name.to_owned(), email, password_hash, ..Person::default() };
        loader.create(account, person, who).await?;
        let mut key = Credential::new(Dialect::Partner, label);
        key.person_id = Some(person);
        loader.bearer(account, credential, key, token).await?;
    }
    for (id, name) in [(1, "demo-small"), (2, "demo-large"), (3, "demo-vision")] {
        let model = Model {
            provider: "demo".to_owned(),
            model_name: name.to_owned(),
            is_active: true,
            ..Model::default()
        };
        loader.create(ACCOUNT, id, model).await?;
    }
    for (account, id, title, key) in
        [(ACCOUNT, 5, "AI 입문", "ai-2026"), (OTHER_ACCOUNT, 6, "다른 과정", "other-2026")]
    {
        let course = Course {
            title: title.to_owned(),
            course_key: Some(key.to_owned()),
            status: CourseStatus::Active,
            ..Course::default()
        };
        loader.create(account, id, course).await?;
    }
    for (account, id, person, full_name) in
        [(ACCOUNT, PARTNER, 101, "이도윤"), (OTHER_ACCOUNT, OTHER_PARTNER, 102, "박서연")]
    {
        let partner = Partner {
            person_id: person,
            full_name: full_name.to_owned(),
            role: "partner".to_owned(),
            is_active: true,
        };
        loader.create(account, id, partner).await?;
    }
    for (account, partner, id, name, code_id, code) in [
        (ACCOUNT, PARTNER, CLASS, "AI 101", 21, INVITE_CODE),
        (OTHER_ACCOUNT, OTHER_PARTNER, OTHER_CLASS, "AI 102", 22, "DEF567"),
    ] {
        let class = Class {
            partner_id: partner,
            name: name.to_owned(),
            timezone: "UTC".to_owned(),
            ..Class::default()
        };
        loader.create(account, id, class).await?;
        let invite = InviteCode::new(partner, id, code);
        loader.create(account, code_id, invite).await?;
    }
    Ok(())
}

pub(super) fn summary(_base_url: &str) -> Value {
    json!({
        "token": TOKEN,
        "student_token": STUDENT_TOKEN,
        "user_token": USER_TOKEN,
        "other_token": OTHER_TOKEN,
        "partner_id": PARTNER,
        "class_id": CLASS,
        "course_id": 5,
        "other_partner_id": OTHER_PARTNER,
        "other_class_id": OTHER_CLASS,
        "invite_code": INVITE_CODE,
        "login": {"email": EMAIL, "password": PASSWORD},
        "student_login": {"email": STUDENT_EMAIL, "password": STUDENT_PASSWORD},
    })
}

pub(super) fn command(base_url: &str) -> String {
    format!(
        r#"curl -X PATCH '{base_url}/partner/{PARTNER}/classes/{CLASS}' \
  -H 'Authorization: Bearer {TOKEN}' -H 'Content-Type: application/json' \
  -d '{{"name":"AI 101, evening group","status":"active","start_at":"2026-03-02T09:00:00+09:00","end_at":"2026-06-30T18:00:00+09:00","capacity":30,"timezone":"Asia/Seoul","online_url":"https://meet.example.com/ai-101","invite_only":true,"course_id":5,"primary_model_id":1,"allowed_model_ids":[1,2]}}'"#
    )
}
