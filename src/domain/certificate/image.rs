//! An uploaded picture. What it shows is kept apart from the record, under its hash.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::access::{Place, Right};
use crate::domain::command::{Content, Context, Write, make_with, permit};
use crate::domain::facts::{Facts, Known, Need, Selector};
use crate::domain::kind::Kind;
use crate::domain::record::{Key, Record, Stored};
use crate::domain::table::{Column, KeyType, Table, Text, data};

/// The address under which pictures are served.
const PATH: &str = "/haksa/v1/images/";

/// A picture of an account. Its id is random: whoever has the address may see it, and nobody can tell
/// from a picture whether it is here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// SHA-256 of the content, hex.
    pub content_hash: String,
    /// What the content is, e.g. `image/webp`; read from the content itself.
    pub media_type: String,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// Bytes of content.
    pub size: u64,
}

impl Image {
    /// The path under which the picture with this id is served.
    pub fn path(id: &str) -> String {
        format!("{PATH}{id}")
    }
}

impl Record for Image {
    const KIND: Kind = Kind::Image;
    const TABLE: Table = Table {
        name: "image",
        key: KeyType::Text,
        columns: &[Column::text("content_hash")],
        known_by: &["content_hash"],
        texts: &[Text::name("content_hash"), Text::name("media_type")],
        data: data! {
            Plain: content_hash, media_type, width, height, size;
        },
        ..Table::EMPTY
    };
    type Edit = ();
}

/// A picture to keep, looked through already.
#[derive(Clone, Debug)]
pub struct NewImage {
    /// Its record.
    pub image: Image,
    /// What it shows.
    pub content: Content,
}

impl NewImage {
    /// A picture of `bytes`, whose SHA-256 is `content_hash`.
    pub fn new(
        content_hash: String,
        bytes: Bytes,
        media_type: &str,
        (width, height): (u32, u32),
    ) -> Self {
        let image = Image {
            content_hash: content_hash.clone(),
            media_type: media_type.to_owned(),
            width,
            height,
            size: bytes.len() as u64,
        };
        Self { image, content: Content { hash: content_hash, bytes } }
    }

    /// By what the account's own is looked for.
    pub fn selector(&self) -> Selector {
        let value = Key::from(self.content.hash.as_str());
        Selector { kind: Kind::Image, column: "content_hash", value }
    }

    /// What has to be known to keep it once.
    pub fn need(&self) -> Need {
        Need::Select(self.selector())
    }
}

/// The account's picture of this content, and how to make it where there is none yet.
///
/// # Errors
/// [`crate::domain::facts::Stop`] when a fact is missing or the caller may not make pictures.
pub fn find_or_make(
    new: &NewImage,
    context: &mut Context<'_>,
    facts: &mut Facts,
) -> Known<(Stored<Image>, Option<Write>)> {
    permit(context.actor, Right::Create, Kind::Image, &Place::Account)?;
    let account_id = context.actor.account_id;
    let known = facts.select::<Image>(account_id, "content_hash", new.content.hash.as_str())?;
    if let Some(known) = known.into_iter().next() {
        return Ok((known, None));
    }
    let key = Image::new_key(context, facts)?;
    let write = make_with(Some(key), new.image.clone(), context, facts)?;
    Ok((write.after.typed()?, Some(write)))
}
