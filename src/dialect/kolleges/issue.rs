//! Issuing certificates: `POST /open-api/achievements/issue`.

use serde_json::{Map, Value, json};

use super::auth::authenticate;
use super::error::{Detail, ISSUE, answer, bad_request, refusal_over};
use super::request::{BodyFaults, body_first, members};
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::certificate::achievement::{CustomAttribute, IssuanceMethod};
use crate::domain::certificate::issue::{Issue, RECIPIENTS_MAX, Recipient};
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::people::person::is_email;

/// The longest body, bytes: some 800 for each of as many recipients as there may be.
pub const BODY_MAX: usize = 8 * 1024 * 1024;

/// `POST /open-api/achievements/issue`, "인증서 발급".
pub async fn post(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call, &ISSUE).await?;
    let Order { form_id, method, recipients } = decode(call)?;
    let answered = async {
        if form_id < 1 {
            return Err(Error::NotFound(Kind::Form));
        }
        let command = Issue::new(form_id, method, recipients, call.app.outbox.clone());
        call.submit(actor, command, |_, _| {
            Ok(answer(201, &json!({"statusCode": 201, "message": "인증서가 발급되었습니다."})))
        })
        .await
    };
    answered.await.map_err(|error| {
        body_first(error, || {
            let recipients = decode(call)?.recipients;
            let broken = recipients.iter().map(Recipient::broken);
            Ok(broken.collect::<Result<Vec<_>, _>>()?.concat())
        })
    })
}

struct Order {
    form_id: i64,
    method: IssuanceMethod,
    recipients: Vec<Recipient>,
}

fn decode(call: &Call) -> Result<Order, Refusal> {
    let members = members(call)?;
    let mut faults = BodyFaults::new(call);
    let (mut form_id, mut method, mut users) = (None, None, None);
    let (mut has_form, mut has_mode, mut has_users) = (false, false, false);
    for (name, value) in members {
        match name.as_str() {
            "achievementFormId" => {
                has_form = true;
                form_id = faults.integer(&name, &value);
            }
            "mode" => {
                has_mode = true;
                method = match value.as_str() {
                    Some("email") => Some(IssuanceMethod::Email),
                    Some("phone") => Some(IssuanceMethod::Phone),
                    _ => {
                        faults.refuse(name, "must be email or phone");
                        None
                    }
                };
            }
            "users" => {
                has_users = true;
                users = faults.array(&name, value);
            }
            _ => faults.unknown(name),
        }
    }
    for (has, name) in [(has_form, "achievementFormId"), (has_mode, "mode"), (has_users, "users")] {
        if !has {
            faults.missing(name);
        }
    }
    let users = users.unwrap_or_default();
    if has_users && !(1..=RECIPIENTS_MAX).contains(&users.len()) {
        faults.refuse("users", &format!("must be an array of 1 to {RECIPIENTS_MAX}"));
        faults.refuse_or(call, ())?;
    }
    let mut recipients = Vec::with_capacity(users.len());
    let mut unreachable = Vec::new();
    for (index, user) in users.into_iter().enumerate() {
        let at = format!("users[{index}]");
        let Some(user) = faults.object(&at, user) else { continue };
        if !user.contains_key("email") && !user.contains_key("phoneNumber") {
            unreachable.push(Detail::new(&*at, "has neither email nor phoneNumber"));
        }
        recipients.push(recipient(user, &at, method, &mut faults));
        if faults.is_full() {
            break;
        }
    }
    faults.refuse_or(call, ())?;
    if !unreachable.is_empty() {
        let message = "email 또는 phoneNumber 중 하나는 반드시 포함되어야 합니다.";
        unreachable.truncate(100);
        return Err(refusal_over(400, "ValidationError", message, &unreachable).into());
    }
    match (form_id, method) {
        (Some(form_id), Some(method)) => Ok(Order { form_id, method, recipients }),
        _ => Err(bad_request(call, &[]).into()),
    }
}

fn recipient(
    user: Map<String, Value>,
    at: &str,
    method: Option<IssuanceMethod>,
    faults: &mut BodyFaults,
) -> Recipient {
    let mut recipient = Recipient::default();
    let has_contact = user.contains_key("email") || user.contains_key("phoneNumber");
    let (mut name, mut email, mut phone) = (false, false, false);
    for (member, value) in user {
        let field = format!("{at}.{member}");
        match member.as_str() {
            "name" => {
                name = true;
                recipient.name = faults.name(&field, value).unwrap_or_default();
            }
            "email" => {
                email = true;
                recipient.email = faults.text(&field, value);
                if recipient.email.as_deref().is_some_and(|text| !is_email(text)) {
                    faults.refuse(field, "must be an e-mail address");
                }
            }
            "phoneNumber" => {
                phone = true;
                recipient.phone = faults.text(&field, value);
                if recipient.phone.as_deref().is_some_and(|text| !is_mobile(text)) {
                    faults.refuse(field, "must be 11 digits that begin with 010");
                }
            }
            "admin_comment" => recipient.admin_comment = faults.text(&field, value),
            "level" => {
                recipient.level = faults.level(&field, value);
            }
            "custom_attributes" => {
                recipient.custom_attributes = attributes(&field, value, faults);
            }
            _ => faults.unknown(field),
        }
    }
    if !name {
        faults.missing(format!("{at}.name"));
    }
    match method {
        Some(IssuanceMethod::Email) if has_contact && !email => {
            faults.missing(format!("{at}.email"));
        }
        Some(IssuanceMethod::Phone) if has_contact && !phone => {
            faults.missing(format!("{at}.phoneNumber"));
        }
        _ => {}
    }
    recipient
}

fn attributes(field: &str, value: Value, faults: &mut BodyFaults) -> Vec<CustomAttribute> {
    let mut attributes = Vec::new();
    for (index, item) in faults.array(field, value).into_iter().flatten().enumerate() {
        let at = format!("{field}[{index}]");
        let Some(item) = faults.object(&at, item) else { continue };
        let (mut tag, mut text) = (None, None);
        for (member, value) in item {
            let field = format!("{at}.{member}");
            match member.as_str() {
                "attribute_tag" => tag = Some(faults.name(&field, value)),
                "attribute_value" => text = Some(faults.text(&field, value)),
                _ => faults.unknown(field),
            }
        }
        for (found, member) in [(&tag, "attribute_tag"), (&text, "attribute_value")] {
            if found.is_none() {
                faults.missing(format!("{at}.{member}"));
            }
        }
        attributes.push(CustomAttribute {
            attribute_tag: tag.flatten().unwrap_or_default(),
            attribute_value: text.flatten().unwrap_or_default(),
        });
    }
    attributes
}

/// A mobile number as the page wants it.
fn is_mobile(text: &str) -> bool {
    text.len() == 11 && text.starts_with("010") && text.bytes().all(|byte| byte.is_ascii_digit())
}
