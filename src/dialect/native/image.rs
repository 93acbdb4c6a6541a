//! Pictures, for whoever has the address: badges are shown on pages that anybody may open.

use super::error::not_found;
use crate::dialect::{Answer, Call, Refusal};
use crate::domain::certificate::image::Image;
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::record::{Key, Record as _};

/// What is at an address never changes.
const CACHE: &str = "public, max-age=31536000, immutable";

/// `GET /haksa/v1/images/{id}`. Without a key: the id is as hard to guess as one.
pub async fn get(call: &Call) -> Result<Answer, Refusal> {
    let absent = || not_found(call, "image");
    let key = Key::parse(Image::TABLE.key, call.parameter("id")).ok_or_else(absent)?;
    let document = call.read(|facts| facts.document(Kind::Image, &key)).await?;
    let stored = document
        .filter(|document| document.meta.deleted_at.is_none())
        .ok_or_else(absent)?
        .typed::<Image>()?;
    let (account_id, image) = (stored.meta.account_id, stored.record);
    let tag = format!("\"{}\"", image.content_hash);
    let answer = if call.has(&tag) {
        Answer::empty(304)
    } else {
        let fetch = async {
            let bytes = call.app.store.content(account_id, &image.content_hash).await?;
            bytes.ok_or_else(|| Error::internal("a picture without its content"))
        };
        let size = usize::try_from(image.size).map_err(Error::internal)?;
        let pictures = &call.app.memory.pictures;
        let bytes = pictures.look(&image.content_hash, (account_id, size), fetch).await?;
        Answer::with_type(200, image.media_type.clone(), bytes)
            // Whatever a browser may take the bytes for, it runs nothing of it.
            .header("x-content-type-options", "nosniff")
            .header("content-security-policy", "default-src 'none'; sandbox")
            .header("cross-origin-resource-policy", "cross-origin")
    };
    Ok(answer.header("etag", tag).header("cache-control", CACHE))
}
