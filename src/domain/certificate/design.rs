//! How a certificate or badge looks. Source: Kolleges, "템플릿 디자인 상세 조회", "뱃지 디자인 생성".

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::image::{Image, NewImage, find_or_make};
use crate::domain::access::{Place, Right};
use crate::domain::command::{Command, Context, Decision, make_with, permit};
use crate::domain::error::{FieldError, FieldErrors};
use crate::domain::facts::{Facts, Known, Need};
use crate::domain::kind::Kind;
use crate::domain::names::names;
use crate::domain::patch::edit;
use crate::domain::record::{Changed, Meta, Record};
use crate::domain::table::{Column, Gone, KeyType, Table, Text, data};

/// The template of a design that is one picture.
const PICTURE_TEMPLATE: &str = "NewBadgeTypeEmpty";

names! {
    /// What a design is for.
    #[derive(Default)]
    pub enum DesignType {
        /// The certificate itself.
        #[default]
        Certificate = "certificate",
        /// The badge that goes with it.
        Badge = "badge",
    }
}

/// A design. `layout_json` is opaque: stored and returned unchanged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Design {
    /// What it is for.
    pub design_type: DesignType,
    /// What people call it.
    pub name: String,
    /// Hex or CSS colour.
    pub main_color: Option<String>,
    /// Hex or CSS colour.
    pub sub_color: Option<String>,
    /// Hex or CSS colour.
    pub extra_color_1: Option<String>,
    /// Hex or CSS colour.
    pub extra_color_2: Option<String>,
    /// The layers, for the client that renders them.
    pub layout_json: Value,
    /// The renderer's template, an open set.
    pub template_type: String,
    /// The picture that it was made from.
    pub image_id: Option<String>,
}

edit! {
    /// An edit of a design. What it is for is fixed: forms rely on it.
    DesignEdit for Design {
        name: String => keeps,
        main_color: String => clears,
        sub_color: String => clears,
        extra_color_1: String => clears,
        extra_color_2: String => clears,
        layout_json: Value => keeps,
        template_type: String => keeps,
    }
}

impl Record for Design {
    const KIND: Kind = Kind::Design;
    const TABLE: Table = Table {
        name: "design",
        key: KeyType::Int,
        columns: &[
            Column::text("design_type"),
            Column::names("image_id", Kind::Image, Gone::Refuses),
        ],
        texts: &[
            Text::name("name").filled("name_required"),
            Text::name("main_color"),
            Text::name("sub_color"),
            Text::name("extra_color_1"),
            Text::name("extra_color_2"),
            Text::json("layout_json").each(),
            Text::name("template_type").filled("template_type_required"),
        ],
        data: data! {
            Free: name, layout_json;
            Plain: design_type, main_color, sub_color, extra_color_1, extra_color_2, template_type,
                image_id;
        },
        ..Table::EMPTY
    };
    type Edit = DesignEdit;

    fn validate(&self, _: &Meta, changed: &Changed, _: &mut Facts) -> Known<FieldErrors> {
        let is_layers = |layout: &Value| {
            layout.as_array().is_some_and(|layers| layers.iter().all(Value::is_object))
        };
        let mut errors = Vec::new();
        if changed.has("layout_json") && !is_layers(&self.layout_json) {
            let detail = "must be an array of objects";
            errors.push(FieldError::new("layout_json", "not_layers", detail));
        }
        Ok(errors)
    }
}

/// Makes a badge design of one picture: the picture and the design in one commit. A picture that the
/// account has already is not kept twice.
#[derive(Debug)]
pub struct CreateBadge {
    /// What people will call it.
    pub name: String,
    /// The picture.
    pub image: NewImage,
    /// What stands before the picture's path in the layout: the server's own address, or nothing.
    pub base_url: String,
}

impl Command for CreateBadge {
    fn needs(&self) -> Vec<Need> {
        vec![self.image.need()]
    }

    fn decide(&self, context: &mut Context<'_>, facts: &mut Facts) -> Known<Decision> {
        permit(context.actor, Right::Create, Kind::Design, &Place::Account)?;
        let (image, made) = find_or_make(&self.image, context, facts)?;
        let Image { width, height, .. } = *image.record;
        let design = Design {
            design_type: DesignType::Badge,
            name: self.name.clone(),
            layout_json: json!([{
                "id": "image",
                "controlType": "image",
                "designType": "image",
                "x": 0,
                "y": 0,
                "width": width,
                "height": height,
                "src": format!("{}{}", self.base_url, Image::path(&image.meta.key.to_string())),
            }]),
            template_type: PICTURE_TEMPLATE.to_owned(),
            image_id: Some(image.meta.key.to_string()),
            ..Design::default()
        };
        let key = Design::new_key(context, facts)?;
        let write = make_with(Some(key), design, context, facts)?;
        // The first one written is what the answer is about.
        let mut decision = Decision { writes: vec![write], ..Decision::default() };
        if let Some(made) = made {
            decision.writes.push(made);
            decision.contents.push(self.image.content.clone());
            decision.sought.push(self.image.selector());
        }
        Ok(decision)
    }
}
