//! Pictures that strangers send: what they are is read from their content, and nothing is kept that
//! does not decode, is larger than it may be, or would be when it is unpacked; nor what a file says beside
//! its picture.

mod strip;

use std::io::Cursor;

use bytes::Bytes;
use image::metadata::Orientation;
use image::{ImageDecoder as _, ImageError, ImageFormat, ImageReader, Limits};
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
    // The size is read first: from it a bomb is known before it goes off.
    let fault = |error| match error {
        ImageError::Limits(_) => PictureFault::TooLarge,
        _ => PictureFault::Damaged,
    };
    let mut decoder = reader(&bytes, format).into_decoder().map_err(fault)?;
    let (width, height) = decoder.dimensions();
    if width > SIDE_MAX || height > SIDE_MAX {
        return Err(PictureFault::TooLarge);
    }
    let orientation = decoder.orientation().map_err(fault)?;
    drop(decoder);
    let kept = strip::strip(&bytes, format, orientation).ok_or(PictureFault::Damaged)?;
    drop(bytes);
    let picture = reader(&kept, format).decode().map_err(fault)?;
    if (picture.width(), picture.height()) != (width, height) || width == 0 || height == 0 {
        return Err(PictureFault::Damaged);
    }
    let is_on_its_side = matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    let shown = if is_on_its_side { (height, width) } else { (width, height) };
    let hash = hex::encode(Sha256::digest(&kept));
    Ok(NewImage::new(hash, kept.into(), media_type, shown))
}

fn reader(bytes: &[u8], format: ImageFormat) -> ImageReader<Cursor<&[u8]>> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(MEMORY_MAX);
    reader.limits(limits);
    reader
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

    /// A file with everything beside its picture that its format has room for, `gps` among it; on its side.
    fn talkative(format: ImageFormat) -> Bytes {
        let whole = picture(format, 30, 20).to_vec();
        let tiff =
            b"II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\x25\x88\x04\0\x01\0\0\0\
                     \x26\0\0\0\0\0\0\0gps 37.5 127.0";
        let out = match format {
            ImageFormat::Jpeg => {
                let segment = |marker: u8, content: &[u8]| {
                    let length = u16::try_from(content.len() + 2).unwrap().to_be_bytes();
                    [&[0xff, marker][..], &length, content].concat()
                };
                let small = [
                    &b"JFIF\0\x01\x01\0\0\x01\0\x01\x04\x01"[..],
                    b"gps 37.5 127.0 xx"[..12].as_ref(),
                ];
                let beside = [
                    segment(0xe0, &small.concat()),
                    segment(0xe1, &[b"Exif\0\0", &tiff[..]].concat()),
                    segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0<x>gps</x>"),
                    segment(0xe2, b"ICC_PROFILE\0\x01\x01profile"),
                    segment(0xe2, b"MPF\0gps"),
                    segment(0xed, b"Photoshop 3.0\0gps"),
                    segment(0xfe, b"gps"),
                ];
                [b"\xff\xd8", &beside.concat()[..], &whole[2..], b"gps"].concat()
            }
            ImageFormat::Png => {
                let chunk = |kind: &[u8], content: &[u8]| {
                    let named = [kind, content].concat();
                    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
                    [&length[..], &named, &strip::crc32(&named).to_be_bytes()].concat()
                };
                let beside = [
                    chunk(b"eXIf", tiff),
                    chunk(b"tEXt", b"Comment\0gps"),
                    chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0gps"),
                    chunk(b"tIME", &[0; 7]),
                    chunk(b"gAMA", &[0, 0, 0xb1, 0x8f]),
                ];
                [&whole[..33], &beside.concat(), &whole[33..], b"gps"].concat()
            }
            ImageFormat::WebP => {
                let chunk = |kind: &[u8], content: &[u8]| {
                    let length = u32::try_from(content.len()).unwrap().to_le_bytes();
                    let padding = if content.len() % 2 == 1 { &[0][..] } else { &[] };
                    [kind, &length, content, padding].concat()
                };
                let head = [0x0c, 0, 0, 0, 29, 0, 0, 19, 0, 0];
                let chunks = [
                    chunk(b"VP8X", &head),
                    whole[12..].to_vec(),
                    chunk(b"EXIF", tiff),
                    chunk(b"XMP ", b"<x>gps</x>"),
                    chunk(b"gps ", b"gps"),
                ];
                let body = [&b"WEBP"[..], &chunks.concat()].concat();
                let length = u32::try_from(body.len()).unwrap().to_le_bytes();
                [&b"RIFF"[..], &length, &body, b"gps"].concat()
            }
            ImageFormat::Gif => {
                let start = 13 + 3 * (2 << (whole[10] & 7));
                let beside = b"!\xfe\x03gps\0!\xff\x0bXMP DataXMP\x03gps\0!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0";
                [&whole[..start], beside, &whole[start..], b"gps"].concat()
            }
            _ => unreachable!("not taken"),
        };
        out.into()
    }

    #[test]
    fn a_file_keeps_its_picture_which_side_is_up_and_its_colours_alone() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP] {
            let sent = talkative(format);
            let has =
                |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
            assert!(has(&sent, b"gps"));
            let kept = decode(sent.clone()).unwrap();
            let bytes = &kept.content.bytes;
            assert!(!has(bytes, b"gps"), "{format:?}");
            assert_eq!(kept.image.size, bytes.len() as u64);
            assert_eq!(kept.content.hash, hex::encode(Sha256::digest(bytes)));
            let open = |bytes: &[u8]| {
                let mut decoder = reader(bytes, format).into_decoder().unwrap();
                let orientation = decoder.orientation().unwrap();
                (orientation, image::DynamicImage::from_decoder(decoder).unwrap())
            };
            assert_eq!(open(&sent), open(bytes), "{format:?}");
            let is_on_its_side = format != ImageFormat::Gif;
            let shown = if is_on_its_side { (20, 30) } else { (30, 20) };
            assert_eq!((kept.image.width, kept.image.height), shown, "{format:?}");
            let kept_besides: &[u8] = match format {
                ImageFormat::Jpeg => b"ICC_PROFILE\0\x01\x01profile",
                ImageFormat::Png => b"gAMA",
                ImageFormat::Gif => b"NETSCAPE2.0",
                _ => b"VP8X\x0a\0\0\0\x08",
            };
            assert!(has(bytes, kept_besides), "{format:?}");
            // What is kept has nothing more to lose.
            assert_eq!(decode(bytes.clone()).unwrap().content.bytes, bytes, "{format:?}");
        }
    }

    #[test]
    fn a_file_is_as_large_as_its_picture_is_shown() {
        for (orientation, shown) in
            [(1, (30, 20)), (3, (30, 20)), (5, (20, 30)), (8, (20, 30)), (9, (30, 20))]
        {
            let mut sent = talkative(ImageFormat::Jpeg).to_vec();
            let entry =
                sent.windows(8).position(|part| part == b"\x12\x01\x03\0\x01\0\0\0").unwrap();
            sent[entry + 8] = orientation;
            let image = decode(sent.into()).unwrap().image;
            assert_eq!((image.width, image.height), shown, "{orientation}");
        }
    }

    #[test]
    fn what_broke_off_behind_its_picture_is_taken() {
        let whole = picture(ImageFormat::Jpeg, 64, 64);
        let end = whole.len() - 2;
        assert_eq!(decode(whole.slice(..end)).unwrap().content.bytes, whole);
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
