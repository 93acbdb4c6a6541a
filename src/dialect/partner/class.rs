//! Classes: `PATCH` and `GET` of one.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::auth::admit;
use super::instant::{self, instant};
use super::request::{body, null_clears};
use super::validate::{Faults, Fields, choice, text, truth, whole};
use crate::config::PartnerRules;
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::command::{self, Edit};
use crate::domain::facts::{Facts, Known};
use crate::domain::record::{Key, Stored};
use crate::domain::teaching::class::{Class, ClassEdit, ClassStatus, Rules};
use crate::domain::teaching::invite_code::InviteCode;

const STATUSES: &[(&str, ClassStatus)] = &[
    ("planned", ClassStatus::Planned),
    ("active", ClassStatus::Active),
    ("ended", ClassStatus::Ended),
];

/// `PATCH /partner/{partner_id}/classes/{class_id}`, "강의 수정".
pub async fn patch(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let mut faults = Faults::default();
    let actor = admit(call, &mut faults).await?;
    let id = faults.path("class_id", call.parameter("class_id"), Some(1));
    let rules = match call.app.config.partner.rules {
        PartnerRules::Strict => Rules::All,
        PartnerRules::Vendor => Rules::Vendors,
    };
    let edit = Fields::of(&body, null_clears(call), &mut faults)
        .map(|fields| ClassEdit { rules, ..decode(fields) });
    let (actor, (id, edit)) = faults.refuse_or(actor.zip(id.zip(edit)))?;
    let command = Edit::<Class> { key: Key::Int(id), edit, expected: call.expected() };
    let at = call.at;
    let answered = call.submit(actor, command, move |outcome, facts| {
        Ok(Answer::json(200, &encode(&outcome.subject.typed()?, at, facts)?))
    });
    Ok(answered.await?)
}

/// `GET /partner/{partner_id}/classes/{class_id}`.
pub async fn get(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = Faults::default();
    let actor = admit(call, &mut faults).await?;
    let id = faults.path("class_id", call.parameter("class_id"), Some(1));
    let (actor, id) = faults.refuse_or(actor.zip(id))?;
    let answer = call.read(|facts| {
        let class = command::read::<Class>(&actor, id, facts)?;
        Ok(Answer::json(200, &encode(&class, call.at, facts)?).etag(class.meta.version))
    });
    Ok(answer.await?)
}

fn decode(mut fields: Fields<'_>) -> ClassEdit {
    ClassEdit {
        name: fields.field("name", text),
        status: fields.field("status", |value| choice(value, STATUSES)),
        description: fields.field("description", text),
        start_at: fields.field("start_at", instant),
        end_at: fields.field("end_at", instant),
        capacity: fields.field("capacity", whole),
        timezone: fields.field("timezone", text),
        location: fields.field("location", text),
        online_url: fields.field("online_url", text),
        invite_only: fields.field("invite_only", truth),
        course_id: fields.field("course_id", whole),
        primary_model_id: fields.field("primary_model_id", whole),
        allowed_model_ids: fields.numbers("allowed_model_ids"),
        rules: Rules::All,
    }
}

/// A class, its keys in the vendor's order.
fn encode(class: &Stored<Class>, at: Timestamp, facts: &Facts) -> Known<Value> {
    let Stored { meta, record } = class;
    let codes = facts.select::<InviteCode>(meta.account_id, "class_id", meta.key.clone())?;
    Ok(json!({
        "name": record.name,
        "status": record.status,
        "description": record.description,
        "start_at": record.start_at.map(instant::format),
        "end_at": record.end_at.map(instant::format),
        "capacity": record.capacity,
        "timezone": record.timezone,
        "location": record.location,
        "online_url": record.online_url,
        "invite_only": record.invite_only,
        "primary_model_id": record.primary_model_id,
        "allowed_model_ids": record.allowed_model_ids,
        "id": class.id(),
        "partner_id": record.partner_id,
        "course_id": record.course_id,
        "created_at": instant::format(meta.created_at.into()),
        "updated_at": instant::format(meta.updated_at.into()),
        "invite_codes": codes.iter().map(|code| encode_code(code, at)).collect::<Vec<_>>(),
    }))
}

fn encode_code(code: &Stored<InviteCode>, at: Timestamp) -> Value {
    let Stored { meta, record } = code;
    json!({
        "id": code.id(),
        "partner_id": record.partner_id,
        "class_id": record.class_id,
        "code": record.code,
        "target_role": record.target_role,
        "expires_at": record.expires_at.map(instant::format),
        "max_uses": record.max_uses,
        "used_count": record.used_count,
        "status": record.effective_status(at),
        "created_by": record.created_by,
        "created_at": instant::format(meta.created_at.into()),
    })
}
