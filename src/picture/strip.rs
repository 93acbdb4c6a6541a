//! What a picture's file says beside the picture (where and when it was taken, with what, by whom, a small
//! copy of what it showed before it was cut) is for whoever took it. What is kept is what the picture needs to
//! be shown: its pixels, their colour profile, which side is up.

use image::ImageFormat;
use image::metadata::Orientation;

/// An EXIF block with nothing but which side is up: a little-endian TIFF file of one entry.
fn exif(orientation: Orientation) -> Vec<u8> {
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation.to_exif(), 0, 0, 0, 0, 0, 0, 0]);
    exif
}

/// The file without what else it says; none for one that is not built as its format wants it.
pub(super) fn strip(
    bytes: &[u8],
    format: ImageFormat,
    orientation: Orientation,
) -> Option<Vec<u8>> {
    let exif = (orientation != Orientation::NoTransforms).then(|| exif(orientation));
    match format {
        ImageFormat::Jpeg => jpeg(bytes, exif),
        ImageFormat::Png => png(bytes, exif),
        ImageFormat::WebP => webp(bytes, exif),
        ImageFormat::Gif => gif(bytes),
        _ => None,
    }
}

/// Takes so many bytes off the front.
fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

/// Segments (ITU-T T.81, annex B), of which those for applications and comments are free.
fn jpeg(bytes: &[u8], exif: Option<Vec<u8>>) -> Option<Vec<u8>> {
    const SCAN: u8 = 0xda;
    const END: u8 = 0xd9;
    let mut rest = bytes.strip_prefix(b"\xff\xd8")?;
    let mut out = b"\xff\xd8".to_vec();
    if let Some(exif) = exif {
        out.extend(b"\xff\xe1");
        out.extend(u16::try_from(exif.len() + 8).ok()?.to_be_bytes());
        out.extend(b"Exif\0\0");
        out.extend(exif);
    }
    loop {
        // Any number of fill bytes may come before a marker.
        let [0xff] = take(&mut rest, 1)? else { return None };
        while rest.first() == Some(&0xff) {
            take(&mut rest, 1)?;
        }
        let [marker] = *take(&mut rest, 1)? else { return None };
        if marker == END {
            // What comes behind, like the parts of a picture in several sizes, says all of it again.
            out.extend([0xff, END]);
            return Some(out);
        }
        let [high, low] = *rest.get(..2)? else { return None };
        let segment = take(&mut rest, usize::from(u16::from_be_bytes([high, low])))?;
        let content = segment.get(2..)?;
        if marker == 0xe0 && content.starts_with(b"JFIF\0") {
            // Without the small copy that may be in it.
            out.extend(b"\xff\xe0\0\x10");
            out.extend(content.get(..12)?);
            out.extend([0, 0]);
            continue;
        }
        let is_kept = match marker {
            0xe2 => content.starts_with(b"ICC_PROFILE\0"),
            // How its colours are to be understood.
            0xee => content.starts_with(b"Adobe"),
            0xe0..=0xef | 0xfe => false,
            _ => true,
        };
        if is_kept {
            out.extend([0xff, marker]);
            out.extend(segment);
        }
        if marker == SCAN {
            let is_marker = |pair: &[u8]| matches!(pair, [0xff, next] if !matches!(next, 0 | 0xd0..=0xd7 | 0xff));
            let Some(end) = rest.windows(2).position(is_marker) else {
                // Broken off before its end, which those who show it do not mind.
                out.extend(rest);
                out.extend([0xff, END]);
                return Some(out);
            };
            out.extend(take(&mut rest, end)?);
        }
    }
}

/// Chunks (W3C PNG, section 5).
fn png(bytes: &[u8], mut exif: Option<Vec<u8>>) -> Option<Vec<u8>> {
    const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
    const KEPT: [&[u8]; 16] = [
        b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"hIST", b"pHYs", b"sPLT",
        b"acTL", b"fcTL", b"fdAT", b"cICP", b"mDCV", b"cLLI",
    ];
    let mut rest = bytes.strip_prefix(SIGNATURE)?;
    let mut out = SIGNATURE.to_vec();
    loop {
        let length = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
        let chunk = take(&mut rest, usize::try_from(length).ok()?.checked_add(12)?)?;
        let kind = chunk.get(4..8)?;
        let is_needed = kind.first().is_some_and(u8::is_ascii_uppercase);
        if is_needed || KEPT.contains(&kind) {
            out.extend(chunk);
        }
        if kind == b"IHDR"
            && let Some(exif) = exif.take()
        {
            out.extend(u32::try_from(exif.len()).ok()?.to_be_bytes());
            let named = [b"eXIf", &*exif].concat();
            out.extend(&named);
            out.extend(crc32(&named).to_be_bytes());
        }
        if kind == b"IEND" {
            return Some(out);
        }
    }
}

/// The checksum of a chunk (W3C PNG, annex D).
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1))
        })
    })
}

/// Chunks of a RIFF file (RFC 9649), of even length.
fn webp(bytes: &[u8], exif: Option<Vec<u8>>) -> Option<Vec<u8>> {
    const HAS_EXIF: u8 = 0x08;
    const HAS_XMP: u8 = 0x04;
    const KEPT: [&[u8]; 7] = [b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"];
    let mut rest = bytes.strip_prefix(b"RIFF")?;
    let length = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?);
    let mut rest =
        rest.get(..usize::try_from(length).ok()?.min(rest.len()))?.strip_prefix(b"WEBP")?;
    let mut body = b"WEBP".to_vec();
    while !rest.is_empty() {
        let length = u32::from_le_bytes(rest.get(4..8)?.try_into().ok()?);
        let length = usize::try_from(length).ok()?.checked_add(8)?;
        let chunk = take(&mut rest, length)?;
        let is_odd = length % 2 == 1;
        // The last one's padding is missing now and then.
        if is_odd && !rest.is_empty() {
            take(&mut rest, 1)?;
        }
        let kind = chunk.get(..4)?;
        if !KEPT.contains(&kind) {
            continue;
        }
        let start = body.len();
        body.extend(chunk);
        body.extend(is_odd.then_some(0));
        if kind == b"VP8X" {
            let flags = body.get_mut(start + 8)?;
            *flags &= !(HAS_EXIF | HAS_XMP);
            *flags |= if exif.is_some() { HAS_EXIF } else { 0 };
        }
    }
    // Only what has the wider header can say which side is up, and so can only it have said.
    if let Some(exif) = exif {
        body.extend(b"EXIF");
        body.extend(u32::try_from(exif.len()).ok()?.to_le_bytes());
        body.extend(exif);
    }
    let length = u32::try_from(body.len()).ok()?.to_le_bytes();
    Some([b"RIFF", &length[..], &body].concat())
}

/// Blocks (GIF 89a), of which those for applications and comments are free.
fn gif(bytes: &[u8]) -> Option<Vec<u8>> {
    const APPLICATIONS: [&[u8]; 3] = [b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"];
    let colours = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3_usize << ((flags & 7) + 1) };
    let mut rest = bytes;
    let head = take(&mut rest, 13)?;
    let mut out = head.to_vec();
    out.extend(take(&mut rest, colours(*head.get(10)?))?);
    loop {
        let start = rest;
        match take(&mut rest, 1) {
            Some(b"!") => {
                let kind = take(&mut rest, 1)?;
                let application = rest.get(1..12);
                blocks(&mut rest)?;
                let is_kept = match kind {
                    [0xfe] => false,
                    [0xff] => application.is_some_and(|name| APPLICATIONS.contains(&name)),
                    _ => true,
                };
                if is_kept {
                    out.extend(start.get(..start.len() - rest.len())?);
                }
            }
            Some(b",") => {
                let flags = *take(&mut rest, 9)?.last()?;
                take(&mut rest, colours(flags) + 1)?;
                blocks(&mut rest)?;
                out.extend(start.get(..start.len() - rest.len())?);
            }
            // Its end, or broken off before that, which those who show it do not mind.
            Some(b";") | None => {
                out.push(b';');
                return Some(out);
            }
            Some(_) => return None,
        }
    }
}

/// Passes over blocks, each with its length before it, to the empty one that is the last.
fn blocks(rest: &mut &[u8]) -> Option<()> {
    loop {
        let [length] = *take(rest, 1)? else { return None };
        if length == 0 {
            return Some(());
        }
        take(rest, length.into())?;
    }
}
