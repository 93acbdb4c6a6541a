//! Designs: `GET` of certificate and badge designs and of their lists, `POST` of a badge design.

use serde_json::json;

use super::auth::authenticate;
use super::encode::{ClubShown, DesignShown};
use super::error::{
    ACHIEVEMENT, BADGE_DESIGN, CERTIFICATE_DESIGN, Detail, UPLOAD, Words, answer, answer_of,
    bad_request, refusal, refusal_over,
};
use super::request::{Page, path_id};
use crate::dialect::sheet::{self, Piece};
use crate::dialect::upload::{self, UploadFault};
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::certificate::design::{CreateBadge, Design, DesignType};
use crate::domain::command;
use crate::domain::error::Error;
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::list::List;
use crate::domain::people::account::Account;
use crate::domain::record::{Meta, Stored};
use crate::domain::tag::{View, tagged};
use crate::picture::{self, PictureFault};

/// The part of an upload that holds the picture.
const PART: &str = "badge_image";
/// What a badge is called whose file has no name that can be read.
const NAMELESS: &str = "배지";

/// What the pages on one type of designs say.
struct Pages {
    design_type: DesignType,
    parameter: &'static str,
    words: &'static Words,
    one: (&'static str, &'static str),
    /// How the answer to a list begins.
    many: &'static str,
    none: (&'static str, &'static str),
}

const CERTIFICATES: Pages = Pages {
    design_type: DesignType::Certificate,
    parameter: "certificateDesignId",
    words: &CERTIFICATE_DESIGN,
    one: ("certificateDesign", "템플릿 디자인이 상세 조회되었습니다."),
    many: "{\"statusCode\":200,\"message\":\"템플릿 디자인 리스트가 조회되었습니다.\",\
        \"certificateDesigns\":[",
    none: ("CertificateDesignsNotFound", "템플릿 디자인 리스트를 찾을 수 없습니다."),
};
const BADGES: Pages = Pages {
    design_type: DesignType::Badge,
    parameter: "badgeDesignId",
    words: &BADGE_DESIGN,
    one: ("badgeDesign", "뱃지 디자인이 상세 조회되었습니다."),
    many: "{\"statusCode\":200,\"message\":\"뱃지 디자인 리스트가 조회되었습니다.\",\
        \"badgeDesigns\":[",
    none: ("BadgeDesignsNotFound", "뱃지 디자인 리스트를 찾을 수 없습니다."),
};

/// `GET /open-api/certificate-designs`, "템플릿 디자인 리스트 조회".
pub async fn list_certificates(call: &Call) -> Result<Answer, Refusal> {
    list(call, &CERTIFICATES).await
}

/// `GET /open-api/certificate-designs/{certificateDesignId}`, "템플릿 디자인 상세 조회".
pub async fn get_certificate(call: &Call) -> Result<Answer, Refusal> {
    get(call, &CERTIFICATES).await
}

/// `GET /open-api/badge-designs`, "뱃지 디자인 리스트 조회".
pub async fn list_badges(call: &Call) -> Result<Answer, Refusal> {
    list(call, &BADGES).await
}

/// `GET /open-api/badge-designs/{badgeDesignId}`, "뱃지 디자인 상세 조회".
pub async fn get_badge(call: &Call) -> Result<Answer, Refusal> {
    get(call, &BADGES).await
}

async fn list(call: &Call, pages: &Pages) -> Result<Answer, Refusal> {
    let actor = authenticate(call, &ACHIEVEMENT).await?;
    let page = Page::of(call)?;
    let list = List::of::<Design>(actor.account_id)
        .is("design_type", pages.design_type.name())
        .newest()
        .page(page.limit(), page.offset);
    let (ids, total) = call.app.store.list_counted(&list).await?;
    if total == 0 {
        let (error, message) = pages.none;
        return Err(refusal(404, error, message).into());
    }
    let pieces = [
        Piece::Text(pages.many),
        Piece::Rows,
        Piece::Text("],\"totalPages\":"),
        Piece::Number(page.pages(total)),
        Piece::Text("}"),
    ];
    let write = move |ids: &[i64], facts: &Facts| {
        let shown = DesignShown::gather_all(actor.account_id, ids, facts)?;
        sheet::rows(shown.iter().map(DesignShown::shown))
    };
    sheet::answer(call, pieces, ids, write, |body| answer_of(200, body)).await
}

async fn get(call: &Call, pages: &Pages) -> Result<Answer, Refusal> {
    let actor = authenticate(call, pages.words).await?;
    let id = path_id(call, pages.parameter)?;
    let id = id.ok_or(Error::NotFound(Kind::Design))?;
    let read = call.read(|facts| {
        let design = command::read::<Design>(&actor, id, facts)?;
        if design.record.design_type != pages.design_type {
            return Err(Error::NotFound(Kind::Design).into());
        }
        let (tag, club) = tagged(&design.meta, facts, |view| club(&design.meta, view))?;
        Ok((DesignShown::new(design), club, tag))
    });
    let (design, club, tag) = read.await?;
    let mut shown = json!(design.shown());
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("club".to_owned(), json!(ClubShown::new(&club.record)));
    }
    let (key, message) = pages.one;
    let mut body = json!({"statusCode": 200, "message": message});
    if let Some(body) = body.as_object_mut() {
        body.insert(key.to_owned(), shown);
    }
    Ok(answer(200, &body).etag(tag))
}

/// What is shown beside a design.
fn club(design: &Meta, view: &mut View<'_>) -> Known<Stored<Account>> {
    view.get(design.account_id, design.account_id)
}

/// `POST /open-api/badge-designs`, "뱃지 디자인 생성"; the page's samples send it to
/// `/open-api/achievements/badge-designs`.
pub async fn post_badge(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call, &UPLOAD).await?;
    let file = upload::file(call, PART).await?.map_err(|fault| match fault {
        UploadFault::Missing => refusal(400, "Bad Request", "이미지가 필요합니다."),
        UploadFault::Misnamed => wrong_type(&format!("the part must be named {PART}")),
        UploadFault::Malformed => {
            bad_request(call, &[Detail::new("body", "must be multipart/form-data")])
        }
    })?;
    let name = if file.name.is_empty() { NAMELESS.to_owned() } else { file.name };
    let seats = &call.app.memory.decoding;
    let image = picture::look_through(file.bytes, actor.account_id, seats).await?;
    let image = image.map_err(|fault| match fault {
        PictureFault::Empty => refusal(400, "Bad Request", "이미지가 필요합니다."),
        PictureFault::TooLong => bad_request(call, &[Detail::new(PART, fault.to_string())]),
        PictureFault::NoPicture | PictureFault::TooLarge | PictureFault::Damaged => {
            wrong_type(&fault.to_string())
        }
    })?;
    let base_url = call.app.config.public_url.clone().unwrap_or_default();
    let command = CreateBadge { name, image, base_url };
    let answered = call.submit(actor, command, |outcome, facts| {
        let meta = &outcome.subject.meta;
        let message = "배지 디자인이 성공적으로 생성되었습니다.";
        let id = meta.key.as_int();
        let body = json!({"statusCode": 201, "message": message, "badgeDesignId": id});
        let (tag, _) = tagged(meta, facts, |view| club(meta, view))?;
        Ok(answer(201, &body).etag(tag))
    });
    Ok(answered.await?)
}

fn wrong_type(reason: &str) -> Answer {
    let message = "이미지의 타입이 유효하지 않습니다.";
    refusal_over(400, "Bad Request", message, &[Detail::new(PART, reason)])
}
