//! Invite codes of a class: list, create, edit, revoke.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::auth::admit;
use super::error::detail;
use super::instant::{self, instant};
use super::request::{body, null_clears, page, slice};
use super::validate::{BodyFields, RequestFaults, choice, literal, text, truth, whole_from};
use crate::app::OsEntropy;
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::command::{self, Delete, Edit};
use crate::domain::record::{Key, Stored};
use crate::domain::teaching::class::Class;
use crate::domain::teaching::invite_code::{
    CreateInviteCode, InviteCode, InviteCodeEdit, NewCode, OfClass, normalise_new,
};
use crate::store::teaching::InviteCodeQuery;

/// `GET /partner/{partner_id}/classes/{class_id}/invite-codes`.
pub async fn list(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = RequestFaults::default();
    let actor = admit(call, &mut faults).await?;
    let class_id = faults.path("class_id", call.parameter("class_id"), Some(1));
    let is_active_only = faults.query_value(call, "active_only", truth);
    let slice = slice(call, &mut faults, 50, 100);
    let (actor, (class_id, slice)) = faults.refuse_or(actor.zip(class_id.zip(slice)))?;
    call.read(|facts| command::read::<Class>(&actor, class_id, facts)).await?;
    let active_at = is_active_only.filter(|only| *only).map(|_| call.at.as_microsecond());
    let query = InviteCodeQuery { class_id, active_at };
    let (ids, total) = call.app.store.invite_codes(&query, slice).await?;
    let encode = |code: &Stored<InviteCode>| encode(code, call.at);
    page(call, actor.account_id, &ids, total, slice, encode).await
}

/// `POST /partner/{partner_id}/classes/{class_id}/invite-codes`.
pub async fn create(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let mut faults = RequestFaults::default();
    let actor = admit(call, &mut faults).await?;
    let class_id = faults.path("class_id", call.parameter("class_id"), Some(1));
    let wanted = BodyFields::of(&body, false, &mut faults).map(|mut fields| {
        let code = fields.field("code", text);
        let expires_at = fields.field("expires_at", instant);
        let max_uses = fields.field("max_uses", |value| whole_from(value, 1));
        fields.field_not_null("target_role", |value| literal(value, "student"));
        (code, expires_at, max_uses)
    });
    let (actor, (class_id, wanted)) = faults.refuse_or(actor.zip(class_id.zip(wanted)))?;
    let (code, expires_at, max_uses) = wanted;
    // What is missing is said before what is wrong.
    call.read(|facts| command::read::<Class>(&actor, class_id, facts)).await?;
    let code = match code.value() {
        Some(code) => {
            let code = normalise_new(code).ok_or_else(|| detail(400, "invalid_code_format"))?;
            NewCode::Given(code)
        }
        None => NewCode::draw(&mut OsEntropy),
    };
    let command = CreateInviteCode {
        class_id,
        code,
        expires_at: expires_at.value().copied(),
        max_uses: max_uses.value().copied(),
    };
    let at = call.at;
    let answered = call.submit(actor, command, move |outcome, _| {
        Ok(Answer::json(201, &encode(&outcome.subject.typed()?, at)))
    });
    Ok(answered.await?)
}

/// `PATCH /partner/{partner_id}/classes/{class_id}/invite-codes/{invite_code_id}`.
pub async fn patch(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let mut faults = RequestFaults::default();
    let actor = admit(call, &mut faults).await?;
    let class_id = faults.path("class_id", call.parameter("class_id"), Some(1));
    let id = faults.path("invite_code_id", call.parameter("invite_code_id"), Some(1));
    let edit =
        BodyFields::of(&body, null_clears(call), &mut faults).map(|mut fields| InviteCodeEdit {
            expires_at: fields.field("expires_at", instant),
            max_uses: fields.field("max_uses", |value| whole_from(value, 1)),
            status: fields.field("status", choice),
        });
    let (actor, ((class_id, id), edit)) =
        faults.refuse_or(actor.zip(class_id.zip(id).zip(edit)))?;
    let edit = Edit::<InviteCode> { key: Key::Int(id), edit, expected: call.expected() };
    let command = OfClass { class_id, id, command: edit };
    let at = call.at;
    let answered = call.submit(actor, command, move |outcome, _| {
        Ok(Answer::json(200, &encode(&outcome.subject.typed()?, at)))
    });
    Ok(answered.await?)
}

/// `DELETE /partner/{partner_id}/classes/{class_id}/invite-codes/{invite_code_id}`.
pub async fn delete(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = RequestFaults::default();
    let actor = admit(call, &mut faults).await?;
    let class_id = faults.path("class_id", call.parameter("class_id"), Some(1));
    let id = faults.path("invite_code_id", call.parameter("invite_code_id"), Some(1));
    let (actor, (class_id, id)) = faults.refuse_or(actor.zip(class_id.zip(id)))?;
    // There is nothing to say in it; but one that is too long is no request.
    call.body()?;
    let delete = Delete::<InviteCode>::new(id, call.expected());
    let command = OfClass { class_id, id, command: delete };
    Ok(call.submit(actor, command, |_, _| Ok(Answer::empty(204))).await?)
}

/// A code, its keys in the vendor's order.
pub fn encode(code: &Stored<InviteCode>, at: Timestamp) -> Value {
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
