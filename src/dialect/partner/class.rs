//! Classes: list, create with a first invite code, and `GET`, `PATCH`, `DELETE` of one.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::auth::{admit, partner_id};
use super::instant::{self, instant};
use super::invite;
use super::json::Json;
use super::request::{body, filter, ids, named, null_clears, paged, remove, slice};
use super::validate::{BodyFields, RequestFaults, beyond, choice, text, truth, whole};
use crate::app::OsEntropy;
use crate::config::PartnerRules;
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::command::{self, Delete, Edit};
use crate::domain::facts::{Facts, Known, Selector};
use crate::domain::kind::Kind;
use crate::domain::list::List;
use crate::domain::record::{Key, Meta, Record as _, Stored};
use crate::domain::tag::{Beside, View, shown_as, tagged};
use crate::domain::teaching::class::{Class, ClassEdit, CreateClass, Rules};
use crate::domain::teaching::invite_code::{InviteCode, NewCode};

const BESIDE: Beside = |class, view| codes(&class.meta, view).map(drop);

/// `GET /partner/{partner_id}/classes`.
pub async fn list(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = RequestFaults::default();
    let actor = admit(call, &mut faults).await?;
    let course_id = faults.query_value(call, "course_id", whole);
    let slice = slice(call, &mut faults, 50, 100);
    let (actor, slice) = faults.refuse_or(actor.zip(slice))?;
    let list = List::of::<Class>(actor.account_id)
        .is("partner_id", partner_id(&actor))
        .is_given("course_id", course_id)
        .is_given("status", filter(call, "status")?)
        .newest();
    let (ids, total) = ids(call, list, slice).await?;
    let items = call.read(|facts| {
        // One that went between the two reads is not shown.
        let classes = facts.find_all::<Class>(actor.account_id, &ids)?;
        facts.want_selections(ids.iter().map(|id| Selector {
            kind: Kind::InviteCode,
            column: "class_id",
            value: Key::Int(*id),
        }))?;
        let mut view = View::new(facts);
        let item = |class| Ok(encode(class, &codes(&class.meta, &mut view)?, call.at));
        classes.iter().map(item).collect::<Known<Vec<_>>>()
    });
    Ok(Answer::json(200, &paged(&items.await?, total, slice)))
}

/// `POST /partner/{partner_id}/classes`, "강의 생성 + 기본 초대코드 발급".
pub async fn create(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    let mut faults = RequestFaults::default();
    let actor = admit(call, &mut faults).await?;
    let course_id = faults.query_value(call, "course_id", whole);
    LargeIds::note(call, &body);
    let edit = BodyFields::of(&body, false, &mut faults).map(|new| decode(new.of_new(&["name"])));
    let (actor, edit) = faults.refuse_or(actor.zip(edit))?;
    let partner_id = partner_id(&actor);
    let mut class = Class { partner_id, timezone: "UTC".to_owned(), ..Class::default() };
    class.apply(&ClassEdit { rules: rules(call), ..edit });
    class.course_id = course_id.or(class.course_id);
    let command = CreateClass { class, code: NewCode::draw(&mut OsEntropy) };
    let at = call.at;
    let answered = call.submit(actor, command, move |outcome, facts| {
        let codes = outcome.written.iter().filter(|made| made.meta.kind == Kind::InviteCode);
        let codes = codes.map(|code| code.typed()).collect::<Result<Vec<_>, _>>()?;
        let mut view = View::new(facts);
        view.show(&codes);
        let tag = view.tag(&outcome.subject.meta);
        Ok(Answer::json(201, &encode(&outcome.subject.typed()?, &codes, at)).etag(tag))
    });
    Ok(answered.await?)
}

/// `DELETE /partner/{partner_id}/classes/{class_id}`.
pub async fn delete(call: &Call) -> Result<Answer, Refusal> {
    remove(call, "class_id", |id| Delete::<Class>::new(id, call.expected().with(BESIDE))).await
}

/// `PATCH /partner/{partner_id}/classes/{class_id}`, "강의 수정".
pub async fn patch(call: &Call) -> Result<Answer, Refusal> {
    let body = body(call)?;
    LargeIds::note(call, &body);
    let (actor, id, edit) = named(call, "class_id", |faults| {
        let fields = BodyFields::of(&body, null_clears(call), faults)?;
        Some(ClassEdit { rules: rules(call), ..decode(fields) })
    })
    .await?;
    let expected = call.expected().with(BESIDE);
    let command = Edit::<Class> { key: Key::Int(id), edit, expected };
    let at = call.at;
    let answered = call
        .submit(actor, command, move |outcome, facts| show(&outcome.subject.typed()?, at, facts));
    Ok(answered.await?)
}

/// `GET /partner/{partner_id}/classes/{class_id}`.
pub async fn get(call: &Call) -> Result<Answer, Refusal> {
    let (actor, id, ()) = named(call, "class_id", |_| Some(())).await?;
    let answer =
        call.read(|facts| show(&command::read::<Class>(&actor, id, facts)?, call.at, facts));
    Ok(answer.await?)
}

fn rules(call: &Call) -> Rules {
    match call.app.config.partner.rules {
        PartnerRules::Strict => Rules::All,
        PartnerRules::Vendor => Rules::Vendors,
    }
}

fn decode(mut fields: BodyFields<'_>) -> ClassEdit {
    ClassEdit {
        name: fields.field("name", text),
        status: fields.field("status", choice),
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
        ..ClassEdit::default()
    }
}

/// Ids of models that have more than 64 bits, as they were sent.
pub struct LargeIds(Vec<String>);

impl LargeIds {
    /// Notes them for whoever refuses them.
    fn note(call: &Call, body: &Json) {
        let allowed = match body.get("allowed_model_ids") {
            Some(Json::List(items)) => items.as_slice(),
            _ => &[],
        };
        let ids = body.get("primary_model_id").into_iter().chain(allowed);
        let mut large: Vec<String> = ids.filter_map(beyond).collect();
        // By their worth: what is longer is further from zero.
        large.sort_unstable_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        large.dedup();
        if !large.is_empty() {
            call.note(Self(large));
        }
    }

    /// `ids`, ascending and with commas, with these in the place of the numbers that they were read as.
    pub fn among(&self, ids: &str) -> String {
        let ends = [i64::MIN.to_string(), i64::MAX.to_string()];
        let others = ids.split(", ").filter(|id| !ends.iter().any(|end| end == id));
        let (below, above): (Vec<&str>, Vec<&str>) =
            self.0.iter().map(String::as_str).partition(|id| id.starts_with('-'));
        let all: Vec<&str> = below.into_iter().rev().chain(others).chain(above).collect();
        all.join(", ")
    }
}

fn show(class: &Stored<Class>, at: Timestamp, facts: &Facts) -> Known<Answer> {
    let (tag, codes) = tagged(&class.meta, facts, |view| codes(&class.meta, view))?;
    // What the clock has changed since is another answer, and no other record.
    let is_over =
        |code: &&Stored<InviteCode>| code.record.effective_status(at) != code.record.status;
    let tag = match codes.iter().filter(is_over).count() {
        0 => tag,
        over => shown_as(&tag, over),
    };
    Ok(Answer::json(200, &encode(class, &codes, at)).etag(tag))
}

/// What is shown beside a class.
fn codes(class: &Meta, view: &mut View<'_>) -> Known<Vec<Stored<InviteCode>>> {
    view.select(class.account_id, "class_id", class.key.clone())
}

/// A class, its keys in the vendor's order.
fn encode(class: &Stored<Class>, codes: &[Stored<InviteCode>], at: Timestamp) -> Value {
    let Stored { meta, record } = class;
    json!({
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
        "invite_codes": codes.iter().map(|code| invite::encode(code, at)).collect::<Vec<_>>(),
    })
}
