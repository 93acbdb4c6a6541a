//! The catalogue of models.

use serde_json::{Value, json};

use super::auth::{admit, public_account};
use super::instant;
use super::request::{Slice, filter, number, page, paged};
use super::validate::{RequestFaults, choice, truth};
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
    let wanted = Wanted::of(call, &mut faults);
    let is_active_only = faults.query_value(call, "only_active", truth).unwrap_or(true);
    let wanted = faults.refuse_or(wanted)?;
    let account_id = public_account(call).await?;
    let list = wanted.list(call, account_id)?.is_given("is_active", is_active_only.then_some(1));
    page(call, account_id, list, wanted.slice, encode).await
}

/// `GET /partner/{partner_id}/catalog/models`.
pub async fn list(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = RequestFaults::default();
    let actor = admit(call, &mut faults).await?;
    let wanted = Wanted::of(call, &mut faults);
    let is_available_only = faults.query_value(call, "only_available", truth).unwrap_or(false);
    let (actor, wanted) = faults.refuse_or(actor.zip(wanted))?;
    let list = wanted.list(call, actor.account_id)?;
    if is_available_only {
        // No organisation keeps a provider's key here, so no model is available in that sense.
        return Ok(Answer::json(200, &paged(&[], 0, wanted.slice)));
    }
    page(call, actor.account_id, list, wanted.slice, encode).await
}

/// What a list is asked for.
struct Wanted {
    slice: Slice,
    modality: Modality,
}

impl Wanted {
    fn of(call: &Call, faults: &mut RequestFaults) -> Option<Self> {
        let page = number(call, faults, "page", 1, 1, None);
        let size = number(call, faults, "size", SIZE, 1, Some(SIZE_MAX));
        let modality = faults.query_value(call, "modality", choice);
        let (page, size) = page.zip(size)?;
        let slice = Slice { offset: (page - 1).saturating_mul(size), limit: size };
        Some(Self { slice, modality: modality.unwrap_or_default() })
    }

    fn list(&self, call: &Call, account_id: i64) -> Result<List, Refusal> {
        Ok(List::of::<Model>(account_id)
            .is("modality", self.modality.name())
            .is_given("provider", filter(call, "provider")?)
            .found("search_key", filter(call, "q")?.map(|part| part.to_lowercase()))
            .by(&["provider", "model_name"]))
    }
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
