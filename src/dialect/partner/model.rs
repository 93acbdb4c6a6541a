//! The catalogue of models.

use serde_json::{Value, json};

use super::auth::{admit, public_account};
use super::instant;
use super::request::{Slice, any_filter, filter, number, page, paged};
use super::validate::{RequestFaults, truth};
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::list::List;
use crate::domain::record::Stored;
use crate::domain::teaching::model::{Modality, Model};

/// Models of a page, unless the caller says otherwise.
const SIZE: i64 = 50;
/// Models of a page at the most.
const SIZE_MAX: i64 = 200;

/// `GET /models`: what anybody may see of the catalogue.
pub async fn list_public(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = RequestFaults::default();
    let slice = slice(call, &mut faults);
    let is_active = faults.query_value(call, "only_active", truth).unwrap_or(true);
    let slice = faults.refuse_or(slice)?;
    let account_id = public_account(call).await?;
    page(call, account_id, list_of(call, account_id, is_active)?, slice, encode).await
}

/// `GET /partner/{partner_id}/catalog/models`.
pub async fn list(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = RequestFaults::default();
    let actor = admit(call, &mut faults).await?;
    let slice = slice(call, &mut faults);
    let is_available_only = faults.query_value(call, "only_available", truth).unwrap_or(false);
    let (actor, slice) = faults.refuse_or(actor.zip(slice))?;
    let list = list_of(call, actor.account_id, true)?;
    if is_available_only {
        // No organisation keeps a provider's key here, so no model is available in that sense.
        return Ok(Answer::json(200, &paged(&[], 0, slice)));
    }
    page(call, actor.account_id, list, slice, encode).await
}

fn slice(call: &Call, faults: &mut RequestFaults) -> Option<Slice> {
    let page = number(call, faults, "page", 1, 1, None);
    let size = number(call, faults, "size", SIZE, 1, Some(SIZE_MAX));
    let (page, limit) = page.zip(size)?;
    Some(Slice { offset: (page - 1).saturating_mul(limit), limit, page })
}

/// Those that may be chosen, or those that may not. Where nothing is said, they talk.
fn list_of(call: &Call, account_id: i64, is_active: bool) -> Result<List, Refusal> {
    let provider = any_filter(call, "provider")?;
    let modality = any_filter(call, "modality")?;
    Ok(List::of::<Model>(account_id)
        .is("is_active", i64::from(is_active))
        .is("modality", modality.unwrap_or_else(|| Modality::default().name().to_owned()))
        .is_given("provider", provider)
        .found("search_key", filter(call, "q")?.map(|part| part.to_lowercase()))
        .by(&["provider", "model_name"]))
}

/// A model, its keys in the vendor's order.
fn encode(model: &Stored<Model>) -> Value {
    let Stored { meta, record } = model;
    json!({
        "id": model.id(),
        "provider": record.provider,
        "model_name": record.model_name,
        "modality": record.modality,
        "supports_parallel": record.supports_parallel,
        "default_pricing": record.default_pricing,
        "is_active": record.is_active,
        "created_at": instant::format(meta.created_at.into()),
        "updated_at": instant::format(meta.updated_at.into()),
    })
}
