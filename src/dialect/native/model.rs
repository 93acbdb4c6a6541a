//! The catalogue of models, which the partner API only shows: list, create, and one's read, edit and
//! removal.

use serde_json::{Map, Value, json};

use super::auth::authenticate;
use super::page;
use super::record::submit;
use crate::dialect::json::parse_object;
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::access::{Place, Right};
use crate::domain::command::{self, Create, Delete, Edit};
use crate::domain::error::{Error, FieldError};
use crate::domain::kind::Kind;
use crate::domain::names::either;
use crate::domain::patch::Patch;
use crate::domain::record::{Key, Record as _, Stored, parse_id};
use crate::domain::teaching::model::{Modality, Model, ModelEdit};

/// The fields of a body.
const FIELDS: [&str; 6] =
    ["provider", "model_name", "modality", "supports_parallel", "default_pricing", "is_active"];

/// `GET /haksa/v1/models`: in the order of their ids; `limit`, `cursor`.
pub async fn list(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    command::permit_in(&actor, Right::Read, Kind::Model, &Place::Account)?;
    let (limit, after) = (page::limit(call)?, page::cursor(call)?.unwrap_or_default());
    // A catalogue is small: it is read whole.
    let account_id = actor.account_id;
    let read = call.read(|facts| facts.select::<Model>(account_id, "account_id", account_id));
    let mut models = read.await?;
    models.retain(|model| model.id() > after);
    let next = page::cut(&mut models, limit, Stored::id);
    let items: Vec<_> = models.iter().map(encode).collect();
    Ok(Answer::json(200, &json!({"items": items, "next": next})))
}

/// `POST /haksa/v1/models`.
pub async fn create(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let edit = decode(call)?;
    let mut model = Model { is_active: true, ..Model::default() };
    model.apply(&edit);
    submit(call, actor, Create::new(model), 201, |model| Ok(encode(&model.typed()?))).await
}

/// `GET /haksa/v1/models/{id}`.
pub async fn get(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let id = id(call)?;
    let model = call.read(|facts| command::read::<Model>(&actor, id, facts)).await?;
    Ok(Answer::json(200, &encode(&model)).etag(model.meta.version))
}

/// `PATCH /haksa/v1/models/{id}`: a merge patch (RFC 7396).
pub async fn patch(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    let edit = decode(call)?;
    let command = Edit::<Model> { key: Key::Int(id(call)?), edit, expected: call.expected() };
    submit(call, actor, command, 200, |model| Ok(encode(&model.typed()?))).await
}

/// `DELETE /haksa/v1/models/{id}`: no class names it any more.
pub async fn delete(call: &Call) -> Result<Answer, Refusal> {
    let actor = authenticate(call).await?;
    // There is nothing to say in it; but one that is too long is no request.
    call.body()?;
    let command = Delete::<Model>::new(id(call)?, call.expected());
    Ok(call.submit(actor, command, |_, _| Ok(Answer::empty(204))).await?)
}

fn id(call: &Call) -> Result<i64, Error> {
    parse_id(call.parameter("id")).ok_or(Error::NotFound(Kind::Model))
}

/// Reads a body, naming everything in it that is wrong.
fn decode(call: &Call) -> Result<ModelEdit, Refusal> {
    let body = call.body()?;
    let fields = parse_object(body)
        .ok_or_else(|| Error::invalid("body", "not_an_object", "must be a JSON object"))?;
    let mut errors = Vec::new();
    if fields.keys().any(|name| !FIELDS.contains(&name.as_str())) {
        let detail = format!("a model has {}", FIELDS.join(", "));
        errors.push(FieldError::new("body", "unknown_field", detail));
    }
    let mut reader = ModelReader { fields: &fields, errors: &mut errors };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let modalities = format!("must be {}", either::<Modality>(""));
    let modality = |value: &Value| value.as_str().and_then(Modality::parse);
    let edit = ModelEdit {
        provider: reader.field("provider", "must be a string", text),
        model_name: reader.field("model_name", "must be a string", text),
        modality: reader.field("modality", &modalities, modality),
        supports_parallel: reader.field("supports_parallel", "must be a boolean", Value::as_bool),
        default_pricing: reader.field("default_pricing", "must be an object", |value| {
            value.is_object().then(|| value.clone())
        }),
        is_active: reader.field("is_active", "must be a boolean", Value::as_bool),
    };
    if errors.is_empty() { Ok(edit) } else { Err(Error::Invalid(errors).into()) }
}

struct ModelReader<'a> {
    fields: &'a Map<String, Value>,
    errors: &'a mut Vec<FieldError>,
}

impl ModelReader<'_> {
    fn field<T>(
        &mut self,
        name: &'static str,
        detail: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Patch<T> {
        match self.fields.get(name) {
            None => Patch::Absent,
            Some(Value::Null) => Patch::Null,
            Some(value) => read(value).map_or_else(
                || {
                    self.errors.push(FieldError::new(name, "wrong_type", detail));
                    Patch::Absent
                },
                Patch::Value,
            ),
        }
    }
}

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
        "created_at": meta.created_at,
        "updated_at": meta.updated_at,
    })
}
