//! What Kolleges' console sets and its open API does not: a certificate's evidences, attributes and
//! receipt, a form's institutions, designs of certificates, the club's own attributes.

use std::sync::Arc;

use serde_json::{Value, json};

use super::auth::authenticate;
use super::page::Page;
use super::record::{Members, shown, submit};
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::access::{Place, Right};
use crate::domain::actor::Actor;
use crate::domain::certificate::achievement::{Achievement, AchievementEdit};
use crate::domain::certificate::design::{Design, DesignEdit};
use crate::domain::certificate::form::{Form, FormEdit};
use crate::domain::command::{self, Create, Delete, Edit};
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::list::List;
use crate::domain::people::account::{Account, AccountEdit};
use crate::domain::record::{Document, Key, Record, parse_id};

/// `GET /haksa/v1/achievements/{id}`.
pub async fn achievement(call: &Call) -> Result<Answer, Refusal> {
    read(call, Kind::Achievement).await
}

/// `PATCH /haksa/v1/achievements/{id}`.
pub async fn edit_achievement(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let key = id(call, Kind::Achievement)?;
    let mut members = Members::of(call)?;
    let edit = AchievementEdit {
        is_received: members.take_value("is_received"),
        status: members.take_value("status"),
        nft_token: members.take("nft_token"),
        evidences: members.take("evidences"),
        custom_attributes: members.take("custom_attributes"),
        ..AchievementEdit::default()
    };
    members.finish()?;
    change::<Achievement>(call, actor, key, edit).await
}

/// `GET /haksa/v1/forms/{id}`.
pub async fn form(call: &Call) -> Result<Answer, Refusal> {
    read(call, Kind::Form).await
}

/// `PATCH /haksa/v1/forms/{id}`.
pub async fn edit_form(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let key = id(call, Kind::Form)?;
    let mut members = Members::of(call)?;
    let edit = FormEdit {
        institutions: members.take("institutions"),
        representative_institution: members.take("representative_institution"),
        requirements: members.take("requirements"),
        ..FormEdit::default()
    };
    members.finish()?;
    change::<Form>(call, actor, key, edit).await
}

/// `GET /haksa/v1/designs`: certificates' and badges', newest first; `limit`, `cursor`.
pub async fn designs(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    call.read(|_| command::permit(&actor, Right::Read, Kind::Design, &Place::Account)).await?;
    let list = List::of::<Design>(actor.account_id).backwards();
    let (ids, next) = Page::of(call)?.ids(call, list).await?;
    let items = call
        .read(|facts| {
            facts.want(ids.iter().map(|id| (Kind::Design, Key::Int(*id))))?;
            let mut items: Vec<Value> = Vec::with_capacity(ids.len());
            for id in &ids {
                let key = Key::Int(*id);
                let document =
                    command::read_document(&actor, Right::Read, Kind::Design, &key, facts)?;
                if document.meta.deleted_at.is_none() {
                    items.push(shown(&document)?);
                }
            }
            Ok(items)
        })
        .await?;
    Ok(Answer::json(200, &json!({"items": items, "next": next})))
}

/// `GET /haksa/v1/designs/{id}`.
pub async fn design(call: &Call) -> Result<Answer, Refusal> {
    read(call, Kind::Design).await
}

/// `POST /haksa/v1/designs`.
pub async fn make_design(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let mut members = Members::of(call)?;
    let mut design = Design {
        design_type: members.require("design_type").unwrap_or_default(),
        ..Design::default()
    };
    let (name, template) = (members.require("name"), members.require("template_type"));
    let mut edit = design_edit(&mut members);
    (edit.name, edit.template_type) = (name.into(), template.into());
    if edit.layout_json.is_absent() {
        design.layout_json = json!([]);
    }
    members.finish()?;
    design.apply(&edit);
    submit(call, actor, Create::new(design), 201, shown).await
}

/// `PATCH /haksa/v1/designs/{id}`.
pub async fn edit_design(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let key = id(call, Kind::Design)?;
    let mut members = Members::of(call)?;
    let mut edit = design_edit(&mut members);
    edit.name = members.take_value("name");
    edit.template_type = members.take_value("template_type");
    members.finish()?;
    change::<Design>(call, actor, key, edit).await
}

/// `DELETE /haksa/v1/designs/{id}`: refused while a form has it.
pub async fn delete_design(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let key = id(call, Kind::Design)?;
    call.body()?;
    let command = Delete::<Design>::new(key, call.expected());
    Ok(call.submit(actor, command, |_, _| Ok(Answer::empty(204))).await?)
}

/// `GET /haksa/v1/account`.
pub async fn account(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let key = Key::Int(actor.account_id);
    read_as(call, &actor, Kind::Account, key).await
}

/// `PATCH /haksa/v1/account`.
pub async fn edit_account(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let mut members = Members::of(call)?;
    let edit = AccountEdit {
        name: members.take_value("name"),
        club_domain: members.take("club_domain"),
        club_type: members.take("club_type"),
        club_custom_data: members.take("club_custom_data"),
        club_images: members.take("club_images"),
    };
    members.finish()?;
    let key = Key::Int(actor.account_id);
    change::<Account>(call, actor, key, edit).await
}

fn design_edit(members: &mut Members) -> DesignEdit {
    DesignEdit {
        main_color: members.take("main_color"),
        sub_color: members.take("sub_color"),
        extra_color_1: members.take("extra_color_1"),
        extra_color_2: members.take("extra_color_2"),
        layout_json: members.take_value("layout_json"),
        ..DesignEdit::default()
    }
}

fn id(call: &Call, kind: Kind) -> Result<Key, Error> {
    parse_id(call.parameter("id")).map(Key::Int).ok_or(Error::NotFound(kind))
}

async fn read(call: &Call, kind: Kind) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    read_as(call, &actor, kind, id(call, kind)?).await
}

async fn read_as(call: &Call, actor: &Actor, kind: Kind, key: Key) -> Result<Answer, Refusal> {
    let document: Arc<Document> =
        call.read(|facts| command::read_document(actor, Right::Read, kind, &key, facts)).await?;
    if document.meta.deleted_at.is_some() {
        return Err(Error::NotFound(kind).into());
    }
    Ok(Answer::json(200, &shown(&document)?).etag(document.meta.version))
}

async fn change<R: Record>(
    call: &Call,
    actor: Actor,
    key: Key,
    edit: R::Edit,
) -> Result<Answer, Refusal> {
    let command = Edit::<R> { key, edit, expected: call.expected() };
    submit(call, actor, command, 200, shown).await
}
