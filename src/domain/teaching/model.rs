//! An AI model in an account's catalogue, which classes may allow. Source: the partner API, "models".

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::command::Context;
use crate::domain::error::{FieldError, FieldErrors};
use crate::domain::facts::{Facts, Known};
use crate::domain::kind::Kind;
use crate::domain::names::names;
use crate::domain::patch::edit;
use crate::domain::record::{Changed, Meta, Record};
use crate::domain::table::{Column, KeyType, Table, Text, Unique, data};

names! {
    /// What a model turns into what.
    #[derive(Default)]
    pub enum Modality {
        /// Talks.
        #[default]
        Chat = "chat",
        /// Text into vectors.
        Embedding = "embedding",
        /// Speech into text.
        Stt = "stt",
        /// Makes pictures.
        Image = "image",
        /// Text into speech.
        Tts = "tts",
        /// Puts texts in order.
        Rerank = "rerank",
    }
}

/// A model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Model {
    /// Who runs it.
    pub provider: String,
    /// The provider's name for it, unique with the provider's own in the account.
    pub model_name: String,
    /// What it does.
    pub modality: Modality,
    /// Can be asked several things at once.
    pub supports_parallel: bool,
    /// What it costs, in the operator's own form: a JSON object.
    pub default_pricing: Option<Value>,
    /// May still be chosen.
    pub is_active: bool,
    /// The name in lower case, for searches.
    pub search_key: String,
}

edit! {
    /// An edit of a model.
    ModelEdit for Model {
        provider: String => or(String::new()),
        model_name: String => or(String::new()),
        modality: Modality => or(Modality::Chat),
        supports_parallel: bool => or(false),
        default_pricing: Value => clears,
        is_active: bool => or(true),
    }
}

impl Record for Model {
    const KIND: Kind = Kind::Model;
    const TABLE: Table = Table {
        name: "model",
        key: KeyType::Int,
        columns: &[
            Column::text("provider"),
            Column::text("model_name"),
            Column::text("modality"),
            Column::flag("is_active"),
            Column::text("search_key"),
        ],
        unique: &[Unique::live(&["provider", "model_name"], "model_name")],
        texts: &[
            Text::name("provider").filled("required"),
            Text::name("model_name").filled("required"),
            Text::json("default_pricing"),
        ],
        data: data! {
            Plain: provider, model_name, modality, supports_parallel, default_pricing, is_active;
            Derived: search_key;
        },
        ..Table::EMPTY
    };
    type Edit = ModelEdit;

    fn settle(&mut self, _: Option<&Self>, _: &mut Context<'_>, _: &mut Facts) -> Known<()> {
        // A name with NUL is refused, by that name.
        self.search_key = self.model_name.to_lowercase().replace('\0', "");
        Ok(())
    }

    fn validate(&self, _: &Meta, changed: &Changed, _: &mut Facts) -> Known<FieldErrors> {
        let mut errors = Vec::new();
        if changed.has("default_pricing")
            && self.default_pricing.as_ref().is_some_and(|pricing| !pricing.is_object())
        {
            let detail = "must be an object";
            errors.push(FieldError::new("default_pricing", "not_an_object", detail));
        }
        Ok(errors)
    }
}
