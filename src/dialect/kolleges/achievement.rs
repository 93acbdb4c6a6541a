//! Certificates: `PATCH`, `GET` and `DELETE` of one, `GET` of the list.

use serde_json::{Value, json};

use super::auth::authenticate;
use super::date::Given;
use super::encode::Shown;
use super::error::{ACHIEVEMENT, answer, answer_of};
use super::request::{
    BodyFaults, Page, at_fault, body_first, day, members, patch as found, path_id,
};
use crate::dialect::sheet::{self, Piece};
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::certificate::achievement::{Achievement, AchievementEdit};
use crate::domain::command::{self, Delete, Edit};
use crate::domain::error::Error;
use crate::domain::facts::Facts;
use crate::domain::kind::Kind;
use crate::domain::list::List;
use crate::domain::patch::Patch;
use crate::domain::people::person::fold;
use crate::domain::record::{Key, Record as _};
use crate::domain::tag::{Beside, tagged};

const BESIDE: Beside = |one, view| Shown::gather(one.typed()?, view).map(drop);

/// `PATCH /open-api/achievements/{achievementId}`, "인증서 수정".
pub async fn patch(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call, &ACHIEVEMENT).await?;
    let id = path_id(call, "achievementId")?;
    let edit = decode(call)?;
    let answered = async {
        let key = id.map(Key::Int).ok_or(Error::NotFound(Kind::Achievement))?;
        let expected = call.expected().with(BESIDE);
        let command = Edit::<Achievement> { key, edit, expected };
        call.submit(actor, command, |_, _| {
            Ok(answer(200, &json!({"statusCode": 200, "message": "인증서가 수정되었습니다."})))
        })
        .await
    };
    answered.await.map_err(|error| {
        body_first(error, || {
            let before = Achievement::default();
            let mut after = before.clone();
            after.apply(&decode(call)?);
            Ok(command::broken_alone(Some(&before), &after)?)
        })
    })
}

/// `GET /open-api/achievements/{achievementId}`, "인증서 조회".
pub async fn get(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call, &ACHIEVEMENT).await?;
    let id = path_id(call, "achievementId")?.ok_or(Error::NotFound(Kind::Achievement))?;
    let read = call.read(|facts| {
        let achievement = command::read::<Achievement>(&actor, id, facts)?;
        tagged(&achievement.meta.clone(), facts, |view| Shown::gather(achievement, view))
    });
    let (tag, shown) = read.await?;
    Ok(answer(200, &shown.whole()).etag(tag))
}

/// `DELETE /open-api/achievements/{achievementId}`, "인증서 삭제".
pub async fn delete(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call, &ACHIEVEMENT).await?;
    let id = path_id(call, "achievementId")?;
    // There is nothing to say in it; but one that is too long is no request.
    call.body()?;
    let id = id.ok_or(Error::NotFound(Kind::Achievement))?;
    let command = Delete::<Achievement>::new(id, call.expected().with(BESIDE));
    let answered = call.submit(actor, command, |_, _| {
        Ok(answer(200, &json!({"statusCode": 200, "message": "인증서가 삭제되었습니다."})))
    });
    Ok(answered.await?)
}

/// `GET /open-api/achievements`, "인증서 목록 조회".
pub async fn list(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call, &ACHIEVEMENT).await?;
    let page = Page::of(call)?;
    let (from, before) = (day(call, "startDate")?, day(call, "endDate")?);
    let search = call.query_parameter("search")?;
    let search = search.map(|text| fold(&text)).filter(|text| !text.is_empty());
    let list = List::of::<Achievement>(actor.account_id)
        .called(search)
        .between("issued_at", from.map(Given::start), before.map(Given::end))
        .newest_by(&["issued_at"])
        .page(page.limit(), page.offset);
    let (ids, total) = call.app.store.list_counted(&list).await?;
    let head =
        "{\"statusCode\":200,\"message\":\"인증서 목록이 조회되었습니다.\",\"achievements\":[";
    let pages = [Piece::Text("],\"totalPages\":"), Piece::Number(page.pages(total))];
    let pieces =
        [Piece::Text(head), Piece::Rows].into_iter().chain(pages).chain([Piece::Text("}")]);
    let write = move |ids: &[i64], facts: &Facts| {
        let shown = Shown::gather_all(actor.account_id, ids, facts)?;
        sheet::rows(shown.iter().map(Shown::item))
    };
    sheet::answer(call, pieces, ids, write, |body| answer_of(200, body)).await
}

/// A verb on a path whose last word stands where a certificate's number would.
pub async fn no_number(call: &Call) -> Result<Answer, Refusal> {
    authenticate(call, &ACHIEVEMENT).await?;
    Err(at_fault(call, "achievementId", "must be a whole number"))
}

fn decode(call: &Call) -> Result<AchievementEdit, Refusal> {
    let mut edit = AchievementEdit::default();
    let members = members(call)?;
    let mut faults = BodyFaults::new(call);
    for (name, value) in members {
        let field = name.as_str();
        match field {
            "course_begin_at" => edit.course_begin_at = faults.instant(field, &value, true),
            "course_end_at" => edit.course_end_at = faults.instant(field, &value, true),
            "expiration_date" => edit.expiration_date = faults.instant(field, &value, true),
            "created_at" => edit.issued_at = faults.instant(field, &value, false),
            "admin_comment" => match value {
                Value::Null => edit.admin_comment = Patch::Null,
                Value::String(text) => edit.admin_comment = Patch::Value(text),
                _ => faults.refuse(field, "must be a string or null"),
            },
            "level" => edit.level = found(faults.level(field, value)),
            _ => faults.unknown(field),
        }
        if faults.is_full() {
            break;
        }
    }
    faults.refuse_or(call, edit)
}
