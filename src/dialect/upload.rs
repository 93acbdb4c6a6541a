//! Uploads: `multipart/form-data` (RFC 7578).

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use sha2::{Digest as _, Sha256};

use super::{Answer, Call, file_name};

/// The longest upload, bytes: a picture of 10 MiB and what multipart puts around it.
pub const BODY_MAX: usize = 11 * 1024 * 1024;

/// A file that was sent.
pub struct File {
    /// Its name, without what browsers put before and programs put behind it; may be empty.
    pub name: String,
    /// Its content.
    pub bytes: Bytes,
}

/// Why there is no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadFault {
    /// No part is a file.
    Missing,
    /// A file came, under another name than the one asked for.
    Misnamed,
    /// The body is no multipart.
    Malformed,
}

/// The file in the part `name`; the last where there are several.
///
/// # Errors
/// A body that is too long or broke off, ready to send; [`UploadFault`] for one without the file.
pub async fn file(call: &Call, name: &str) -> Result<Result<File, UploadFault>, Answer> {
    let body = call.body()?.clone();
    if body.is_empty() {
        return Ok(Err(UploadFault::Missing));
    }
    let boundary = call.header("content-type").and_then(|text| multer::parse_boundary(text).ok());
    let Some(boundary) = boundary else {
        return Ok(Err(UploadFault::Malformed));
    };
    Ok(find(body, boundary, name).await)
}

async fn find(body: Bytes, boundary: String, name: &str) -> Result<File, UploadFault> {
    let whole = stream::iter([Ok::<_, Infallible>(body)]);
    let mut parts = multer::Multipart::new(whole, boundary);
    let (mut found, mut other) = (None, false);
    while let Some(part) = parts.next_field().await.map_err(|_| UploadFault::Malformed)? {
        let is_named = part.name() == Some(name);
        let disposition = part.headers().get("content-disposition");
        let file_name = disposition.and_then(|value| file_name::given(value.as_bytes()));
        let bytes = part.bytes().await.map_err(|_| UploadFault::Malformed)?;
        if is_named {
            found = Some(File { name: file_name::title(&file_name.unwrap_or_default()), bytes });
        } else {
            other |= file_name.is_some();
        }
    }
    found.ok_or(if other { UploadFault::Misnamed } else { UploadFault::Missing })
}

/// What tells these parts from others, whatever stands between them; none where the body is no
/// multipart.
pub async fn digest(call: &Call, body: Bytes) -> Option<[u8; 32]> {
    let boundary =
        call.header("content-type").and_then(|text| multer::parse_boundary(text).ok())?;
    let whole = stream::iter([Ok::<_, Infallible>(body)]);
    let mut parts = multer::Multipart::new(whole, boundary);
    let mut hash = Sha256::new();
    while let Some(part) = parts.next_field().await.ok()? {
        let headers = part.headers().clone();
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
        lines.sort_unstable();
        let lines = lines.into_iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        let content = part.bytes().await.ok()?;
        for bytes in lines.chain([&content[..]]) {
            hash.update(bytes.len().to_be_bytes());
            hash.update(bytes);
        }
        // No line is as long as that: another part begins.
        hash.update(usize::MAX.to_be_bytes());
    }
    Some(hash.finalize().into())
}
