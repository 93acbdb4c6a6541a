//! Forms: `POST`, `GET` and `PATCH` of one, `GET` of the list.

use serde_json::{Map, Value, json};

use super::auth::authenticate;
use super::encode::FormShown;
use super::error::{ACHIEVEMENT, FORM, FORM_EDIT, answer, answer_of};
use super::request::{BodyFaults, Page, body_first, members, patch as found, path_id};
use crate::dialect::sheet::{self, Piece};
use crate::dialect::{Answer, Call, Refusal, json};
use crate::domain::certificate::form::{Form, FormEdit, FormType, Requirement};
use crate::domain::command::{self, Create, Edit};
use crate::domain::error::Error;
use crate::domain::facts::Facts;
use crate::domain::kind::Kind;
use crate::domain::list::List;
use crate::domain::record::{Key, Record as _};
use crate::domain::tag::{Beside, tag, tagged};

const BESIDE: Beside = |form, view| FormShown::gather(form.typed()?, view).map(drop);

/// `POST /open-api/achievements/forms`, "인증서 양식 생성".
pub async fn post(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call, &FORM).await?;
    let edit = decode(call, true)?;
    let mut form = Form::default();
    form.apply(&edit);
    let answered = call.submit(actor, Create::new(form), |outcome, facts| {
        let id = outcome.subject.meta.key.as_int();
        let message = "인증서 양식이 생성되었습니다.";
        let body = json!({"statusCode": 201, "message": message, "achievementFormId": id});
        Ok(answer(201, &body).etag(tag(&outcome.subject, BESIDE, facts)?))
    });
    Ok(answered.await?)
}

/// `GET /open-api/achievements/forms/{achievementFormId}`, "인증서 양식 조회".
pub async fn get(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call, &FORM).await?;
    let id = path_id(call, "achievementFormId")?;
    let id = id.ok_or(Error::NotFound(Kind::Form))?;
    let read = call.read(|facts| {
        let form = command::read::<Form>(&actor, id, facts)?;
        tagged(&form.meta.clone(), facts, |view| FormShown::gather(form, view))
    });
    let (tag, shown) = read.await?;
    let form = shown.whole();
    let body = json!({
        "statusCode": 200,
        "message": "인증서 양식이 조회되었습니다.",
        // The page's sample has the one key, its table the other.
        "achievementForm": form,
        "achievement": form,
    });
    Ok(answer(200, &body).etag(tag))
}

/// `GET /open-api/achievements/forms`, "인증서 양식 목록 조회".
pub async fn list(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call, &ACHIEVEMENT).await?;
    let page = Page::of(call)?;
    let list = List::of::<Form>(actor.account_id).newest().page(page.limit(), page.offset);
    let (ids, total) = call.app.store.list_counted(&list).await?;
    let pieces = [
        Piece::Text(
            "{\"statusCode\":200,\"message\":\"인증서 양식 목록이 조회되었습니다.\",\"achievements\":[",
        ),
        Piece::Rows,
        Piece::Text("],\"achievementForms\":["),
        Piece::Rows,
        Piece::Text("],\"totalPages\":"),
        Piece::Number(page.pages(total)),
        Piece::Text("}"),
    ];
    let write = move |ids: &[i64], facts: &Facts| {
        let shown = FormShown::gather_all(actor.account_id, ids, facts)?;
        sheet::rows(shown.iter().map(FormShown::item))
    };
    sheet::answer(call, pieces, ids, write, |body| answer_of(200, body)).await
}

/// `PATCH /open-api/achievements/forms/{achievementFormId}`, "인증서 양식 수정".
pub async fn patch(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call, &FORM_EDIT).await?;
    let id = path_id(call, "achievementFormId")?;
    let edit = decode(call, false)?;
    let answered = async {
        let key = id.map(Key::Int).ok_or(Error::NotFound(Kind::Form))?;
        let command = Edit::<Form> { key, edit, expected: call.expected().with(BESIDE) };
        call.submit(actor, command, |_, _| {
            Ok(answer(200, &json!({"statusCode": 200, "message": "인증서 폼이 수정되었습니다."})))
        })
        .await
    };
    answered.await.map_err(|error| {
        body_first(error, || {
            let before = Form::default();
            let mut after = before.clone();
            after.apply(&decode(call, false)?);
            // Whether these are there is asked after whether the form is.
            (after.certificate_design_id, after.badge_design_id) = (None, None);
            Ok(command::broken_alone(Some(&before), &after)?)
        })
    })
}

fn decode(call: &Call, is_new: bool) -> Result<FormEdit, Refusal> {
    let members = members(call)?;
    let required: &[&str] = if is_new {
        &["name", "type", "achievementBadgeDesignId"]
    } else {
        &["achievementBadgeDesignId"]
    };
    let mut faults = BodyFaults::new(call);
    for name in required.iter().filter(|name| !members.contains_key(**name)) {
        faults.missing(*name);
    }
    let mut edit = FormEdit::default();
    for (name, value) in members {
        let field = name.as_str();
        match field {
            "name" => edit.name = found(faults.name(field, value)),
            "description" => edit.description = found(faults.text(field, value)),
            "type" => {
                let form_type = value.as_str().and_then(FormType::parse);
                if form_type.is_none() {
                    faults.refuse(field, "is not a type of forms");
                }
                edit.form_type = found(form_type);
            }
            "tags" => edit.tags = found(tags(value, &mut faults)),
            "prefix" => edit.prefix = found(faults.text(field, value)),
            "program_name" => edit.program_name = found(faults.text(field, value)),
            "program_type" => edit.program_type = found(faults.text(field, value)),
            "program_url" => edit.program_url = found(faults.text(field, value)),
            "course_begin_at" => edit.course_begin_at = faults.instant(field, &value, false),
            "course_end_at" => edit.course_end_at = faults.instant(field, &value, false),
            "achievementCertificateDesignId" => {
                edit.certificate_design_id = found(faults.integer(field, &value));
            }
            "achievementBadgeDesignId" => {
                edit.badge_design_id = found(faults.integer(field, &value));
            }
            "requirements" if is_new => {
                edit.requirements = found(requirements(value, &mut faults));
            }
            _ => faults.unknown(field),
        }
        if faults.is_full() {
            break;
        }
    }
    faults.refuse_or(call, edit)
}

fn tags(value: Value, faults: &mut BodyFaults) -> Option<Vec<String>> {
    let items = faults.array("tags", value)?.into_iter().enumerate();
    Some(items.filter_map(|(at, tag)| faults.text(&format!("tags[{at}]"), tag)).collect())
}

fn requirements(value: Value, faults: &mut BodyFaults) -> Option<Vec<Requirement>> {
    let mut requirements = Vec::new();
    for (index, item) in faults.array("requirements", value)?.into_iter().enumerate() {
        let at = format!("requirements[{index}]");
        let Some(item) = faults.object(&at, item) else { continue };
        requirements.push(requirement(item, &at, faults));
        if faults.is_full() {
            break;
        }
    }
    Some(requirements)
}

fn requirement(item: Map<String, Value>, at: &str, faults: &mut BodyFaults) -> Requirement {
    let mut requirement = Requirement::default();
    for (member, value) in item {
        let field = format!("{at}.{member}");
        match member.as_str() {
            "type" => requirement.requirement_type = faults.text(&field, value),
            "url" => requirement.url = faults.text(&field, value),
            "description" => requirement.description = faults.text(&field, value),
            "order" => {
                let order = json::whole(&value).and_then(|order| u64::try_from(order).ok());
                requirement.order = value.as_u64().or(order);
                if requirement.order.is_none() {
                    faults.refuse(field, "must be an integer, 0 or more");
                }
            }
            _ => faults.unknown(field),
        }
    }
    requirement
}
