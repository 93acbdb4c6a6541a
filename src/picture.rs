//! Pictures that strangers send: what they are is read from their content, and nothing is kept that
//! does not decode, is larger than it may be, or would be when it is unpacked.

use std::io::Cursor;

use bytes::Bytes;
use image::{ImageError, ImageFormat, ImageReader, Limits};
use sha2::{Digest as _, Sha256};

use crate::domain::certificate::image::NewImage;
use crate::domain::error::Error;
use crate::seats::Seats;

/// Bytes of a picture at the most: 10 MiB.
pub const BYTES_MAX: usize = 10 * 1024 * 1024;
/// Pixels across and down at the most.
pub const SIDE_MAX: u32 = 4096;
/// What a decoder may take from memory, bytes: four for each of the pixels, and as much to work with.
pub const MEMORY_MAX: u64 = 4 * (SIDE_MAX as u64) * (SIDE_MAX as u64) * 2;

/// Why something is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureFault {
    /// There is nothing in it.
    #[error("is empty")]
    Empty,
    /// It has more bytes than it may have.
    #[error("is larger than 10 MiB")]
    TooLong,
    /// It is of no type that is taken.
    #[error("is no PNG, JPEG, GIF or WebP picture")]
    NoPicture,
    /// It has more pixels than it may have.
    #[error("is more than 4096 pixels wide or high")]
    TooLarge,
    /// It begins like a picture and does not decode.
    #[error("is damaged")]
    Damaged,
}

/// Looks an account's picture through, away from the threads that serve requests: a few at once, each of
/// which may take [`MEMORY_MAX`], on `seats`.
///
/// # Errors
/// [`Error::Unavailable`] when too many wait, or it takes too long; otherwise [`PictureFault`].
pub async fn look_through(
    bytes: Bytes,
    account_id: i64,
    seats: &Seats<i64>,
) -> Result<Result<NewImage, PictureFault>, Error> {
    let seat = seats.take(account_id).await?;
    let looking = tokio::task::spawn_blocking(move || {
        // Its memory is taken until it is done, though its caller has gone.
        let _seat = seat;
        decode(bytes)
    });
    // A decoder that panics has met something that is no picture.
    Ok(looking.await.unwrap_or(Err(PictureFault::Damaged)))
}

fn decode(bytes: Bytes) -> Result<NewImage, PictureFault> {
    if bytes.is_empty() {
        return Err(PictureFault::Empty);
    }
    if bytes.len() > BYTES_MAX {
        return Err(PictureFault::TooLong);
    }
    let format = image::guess_format(&bytes).map_err(|_| PictureFault::NoPicture)?;
    let media_type = match format {
        ImageFormat::Png => "image/png",
        ImageFormat::Jpeg => "image/jpeg",
        ImageFormat::Gif => "image/gif",
        ImageFormat::WebP => "image/webp",
        _ => return Err(PictureFault::NoPicture),
    };
    let reader = || {
        let mut reader = ImageReader::with_format(Cursor::new(&*bytes), format);
        let mut limits = Limits::default();
        limits.max_image_width = Some(SIDE_MAX);
        limits.max_image_height = Some(SIDE_MAX);
        limits.max_alloc = Some(MEMORY_MAX);
        reader.limits(limits);
        reader
    };
    // The size is read first: from it a bomb is known before it goes off.
    let fault = |error| match error {
        ImageError::Limits(_) => PictureFault::TooLarge,
        _ => PictureFault::Damaged,
    };
    let (width, height) = reader().into_dimensions().map_err(fault)?;
    if width > SIDE_MAX || height > SIDE_MAX {
        return Err(PictureFault::TooLarge);
    }
    let picture = reader().decode().map_err(fault)?;
    if (picture.width(), picture.height()) != (width, height) || width == 0 || height == 0 {
        return Err(PictureFault::Damaged);
    }
    let hash = hex::encode(Sha256::digest(&bytes));
    Ok(NewImage::new(hash, bytes, media_type, (width, height)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(format: ImageFormat, width: u32, height: u32) -> Bytes {
        let mut bytes = Cursor::new(Vec::new());
        let pixels = image::RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([x.to_le_bytes()[0], y.to_le_bytes()[0], 7])
        });
        image::DynamicImage::from(pixels).write_to(&mut bytes, format).unwrap();
        bytes.into_inner().into()
    }

    #[test]
    fn what_a_picture_is_stands_in_its_content() {
        for (format, media_type) in [
            (ImageFormat::Png, "image/png"),
            (ImageFormat::Jpeg, "image/jpeg"),
            (ImageFormat::Gif, "image/gif"),
            (ImageFormat::WebP, "image/webp"),
        ] {
            let image = decode(picture(format, 30, 20)).unwrap().image;
            assert_eq!((&*image.media_type, image.width, image.height), (media_type, 30, 20));
            assert_eq!(image.content_hash.len(), 64);
        }
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let svg = "<svg xmlns='http://www.w3.org/2000/svg'/>".as_bytes();
        for (bytes, fault) in [
            (&b""[..], PictureFault::Empty),
            (b"hello", PictureFault::NoPicture),
            (svg, PictureFault::NoPicture),
            (b"BM\x46\0\0\0\0\0\0\0", PictureFault::NoPicture),
            (b"RIFF\x10\0\0\0WEBPthis is no picture", PictureFault::Damaged),
            (b"\x89PNG\r\n\x1a\n", PictureFault::Damaged),
        ] {
            assert_eq!(decode(Bytes::from_static(bytes)).unwrap_err(), fault, "{bytes:?}");
        }
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP] {
            let whole = picture(format, 64, 64);
            let half = whole.slice(..whole.len() / 2);
            assert_eq!(decode(half).unwrap_err(), PictureFault::Damaged, "{format:?}");
        }
    }

    #[test]
    fn bombs_are_known_by_their_size() {
        assert_eq!(decode(picture(ImageFormat::Png, 4097, 1)).unwrap_err(), PictureFault::TooLarge);
        assert!(decode(picture(ImageFormat::Png, 4096, 1)).is_ok());
        // 60,000 by 60,000 pixels in a few bytes.
        let mut bomb = picture(ImageFormat::Png, 1, 1).to_vec();
        bomb.splice(16..24, [0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        assert!(decode(bomb.into()).is_err());
        let long = Bytes::from(vec![0; BYTES_MAX + 1]);
        assert_eq!(decode(long).unwrap_err(), PictureFault::TooLong);
    }
}
