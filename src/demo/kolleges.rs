//! Kolleges' part of the demo account: a club with designs, forms and a certificate, and another
//! club.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ACCOUNT, Loader, OTHER_ACCOUNT};
use crate::dialect::Dialect;
use crate::domain::certificate::achievement::{Achievement, CustomAttribute, IssuanceRoute};
use crate::domain::certificate::design::{Design, DesignType};
use crate::domain::certificate::form::{Form, FormType, Requirement};
use crate::domain::error::Error;
use crate::domain::people::credential::Credential;
use crate::domain::people::person::Person;
use crate::domain::time::Instant;

const KEY: &str = "demo-kolleges-key";
const OTHER_KEY: &str = "demo-kolleges-other-key";
const ACHIEVEMENT: i64 = 1539;
const OTHER_ACHIEVEMENT: i64 = 9001;
const FORM: i64 = 551;
const HOLDER: i64 = 501;
const OTHER_HOLDER: i64 = 502;

pub(super) async fn load(loader: &Loader<'_>) -> Result<(), Error> {
    let made_at = Timestamp::from_second(1_743_465_600).ok();
    let key = Credential::new(Dialect::Kolleges, "the club sandbox");
    loader.bearer(ACCOUNT, 1, key, KEY).await?;
    let key = Credential::new(Dialect::Kolleges, "another club");
    loader.bearer(OTHER_ACCOUNT, 2, key, OTHER_KEY).await?;

    for (account, id, design_type, name, template) in [
        (ACCOUNT, 165, DesignType::Certificate, "수료증", "NewCertificateType33"),
        (ACCOUNT, 83, DesignType::Badge, "배지", "NewBadgeType31"),
        (ACCOUNT, 123, DesignType::Badge, "새 배지", "NewBadgeTypeEmpty"),
        (OTHER_ACCOUNT, 900, DesignType::Badge, "배지", "NewBadgeTypeEmpty"),
        (OTHER_ACCOUNT, 901, DesignType::Certificate, "수료증", "NewCertificateType33"),
    ] {
        loader.create_at(account, id, design(design_type, name, template), made_at).await?;
    }
    for (account, id, prefix, badge, certificate) in [
        (ACCOUNT, FORM, Some("SAND"), 83, Some(165)),
        (ACCOUNT, 482, None, 123, None),
        (OTHER_ACCOUNT, 9000, Some("OTHER"), 900, None),
    ] {
        let form = Form {
            name: "프로그래밍 기초 과정 수료증".to_owned(),
            description: Some("기초 과정을 마친 사람에게 드립니다.".to_owned()),
            form_type: FormType::Completion,
            tags: vec!["programming".to_owned(), "basic".to_owned()],
            requirements: vec![Requirement {
                requirement_type: Some("submit_homework".to_owned()),
                description: Some("과제 다섯 개 제출".to_owned()),
                order: Some(0),
                ..Requirement::default()
            }],
            prefix: prefix.map(str::to_owned),
            course_begin_at: instant(1_743_465_600),
            course_end_at: instant(1_743_984_000),
            badge_design_id: Some(badge),
            certificate_design_id: certificate,
            ..Form::default()
        };
        loader.create_at(account, id, form, made_at).await?;
    }
    for (account, id, name, email) in [
        (ACCOUNT, HOLDER, "홍길동", "hong@example.com"),
        (OTHER_ACCOUNT, OTHER_HOLDER, "성춘향", "sung@example.com"),
    ] {
        let person =
            Person { name: name.to_owned(), email: Some(email.to_owned()), ..Person::default() };
        loader.create(account, id, person).await?;
    }
    for (account, id, form, holder, number) in [
        (ACCOUNT, ACHIEVEMENT, FORM, HOLDER, "SAND-202504-r9a1pt"),
        (OTHER_ACCOUNT, OTHER_ACHIEVEMENT, 9000, OTHER_HOLDER, "OTHER-202504-qp7254"),
    ] {
        let achievement = Achievement {
            form_id: form,
            person_id: holder,
            certificate_number: number.to_owned(),
            issued_at: Instant::from_microsecond(1_743_975_639_316_000).unwrap_or_default(),
            issuance_route: IssuanceRoute::Manual,
            custom_attributes: vec![CustomAttribute {
                attribute_tag: "score".to_owned(),
                attribute_value: "90".to_owned(),
            }],
            ..Achievement::default()
        };
        loader.create(account, id, achievement).await?;
    }
    Ok(())
}

fn instant(seconds: i64) -> Option<Instant> {
    Instant::from_microsecond(seconds * 1_000_000)
}

fn design(design_type: DesignType, name: &str, template: &str) -> Design {
    Design {
        design_type,
        name: name.to_owned(),
        main_color: Some("#2e6227".to_owned()),
        sub_color: Some("#d4e45e".to_owned()),
        extra_color_1: None,
        extra_color_2: None,
        layout_json: json!([{
            "id": "name", "controlType": "text", "designType": "props", "type": "user",
            "bindingKey": "name", "x": 120, "y": 260, "width": 480, "height": 60,
            "fontSize": 32, "textAlign": "center",
        }]),
        template_type: template.to_owned(),
        image_id: None,
    }
}

pub(super) fn summary(_base_url: &str) -> Value {
    json!({
        "api_key": KEY,
        "other_api_key": OTHER_KEY,
        "achievement_id": ACHIEVEMENT,
        "form_id": FORM,
        "other_achievement_id": OTHER_ACHIEVEMENT,
    })
}

pub(super) fn command(base_url: &str) -> String {
    format!(
        r#"curl -X PATCH '{base_url}/open-api/achievements/{ACHIEVEMENT}' \
  -H 'Authorization: Bearer {KEY}' -H 'Content-Type: application/json' \
  -d '{{"course_begin_at":"2025-04-01","course_end_at":"2025-07-01","admin_comment":"cURL patch test","level":2}}'"#
    )
}
