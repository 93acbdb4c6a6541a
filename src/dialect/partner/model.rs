//! The catalogue of models.

use serde_json::{Value, json};

use super::auth::{admit, public_account};
use super::instant;
use super::request::{filter, number, paged};
use super::validate::{Faults, choice, truth};
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::record::Stored;
use crate::domain::teaching::model::{Modality, Model};
use crate::store::teaching::Slice;

/// Models of a page, unless the caller says otherwise.
const SIZE: i64 = 50;
/// Models of a page at the most.
const SIZE_MAX: i64 = 200;

/// `GET /models`: what anybody may see of the catalogue.
pub async fn list_public(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = Faults::default();
    let wanted = Wanted::of(call, &mut faults);
    let is_active_only = faults.query_value(call, "only_active", truth).unwrap_or(true);
    let wanted = faults.refuse_or(wanted)?;
    let account_id = public_account(call).await?;
    wanted.answer(call, account_id, |model| model.is_active || !is_active_only).await
}

/// `GET /partner/{partner_id}/catalog/models`.
pub async fn list(call: &Call) -> Result<Answer, Refusal> {
    let mut faults = Faults::default();
    let actor = admit(call, &mut faults).await?;
    let wanted = Wanted::of(call, &mut faults);
    let is_available_only = faults.query_value(call, "only_available", truth).unwrap_or(false);
    let (actor, wanted) = faults.refuse_or(actor.zip(wanted))?;
    // No organisation keeps a provider's key here, so no model is available in that sense.
    wanted.answer(call, actor.account_id, |_| !is_available_only).await
}

/// What a list is asked for.
struct Wanted {
    slice: Slice,
    modality: Modality,
}

impl Wanted {
    fn of(call: &Call, faults: &mut Faults) -> Option<Self> {
        let page = number(call, faults, "page", 1, 1, None);
        let size = number(call, faults, "size", SIZE, 1, Some(SIZE_MAX));
        let modality = faults.query_value(call, "modality", choice);
        let (page, size) = page.zip(size)?;
        let slice = Slice { offset: (page - 1).saturating_mul(size), limit: size };
        Some(Self { slice, modality: modality.unwrap_or_default() })
    }

    /// The page. A catalogue is small: it is read whole.
    async fn answer(
        self,
        call: &Call,
        account_id: i64,
        fits: impl Fn(&Model) -> bool,
    ) -> Result<Answer, Refusal> {
        let (provider, part) = (filter(call, "provider")?, filter(call, "q")?);
        let part = part.map(|part| part.to_lowercase());
        let read = call.read(|facts| facts.select::<Model>(account_id, "account_id", account_id));
        let mut models = read.await?;
        models.retain(|Stored { record, .. }| {
            record.modality == self.modality
                && provider.as_ref().is_none_or(|provider| record.provider == *provider)
                && part.as_ref().is_none_or(|part| record.model_name.to_lowercase().contains(part))
                && fits(record)
        });
        models.sort_by(|one, other| {
            let order = |model: &Stored<Model>| {
                (model.record.provider.clone(), model.record.model_name.clone(), model.id())
            };
            order(one).cmp(&order(other))
        });
        let total = i64::try_from(models.len()).unwrap_or(i64::MAX);
        let skipped = usize::try_from(self.slice.offset).unwrap_or(usize::MAX);
        let size = usize::try_from(self.slice.limit).unwrap_or_default();
        let items: Vec<_> = models.iter().skip(skipped).take(size).map(encode).collect();
        Ok(Answer::json(200, &paged(&items, total, self.slice)))
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
