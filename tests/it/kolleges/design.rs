//! Designs: read, listed, made of a picture.

use std::io::Cursor;

use image::{ImageFormat, RgbaImage};
use serde_json::{Value, json};

use super::{KEY, assert_bad_request};
use crate::support::{Reply, Request, Server, on_both_stores};

const BADGES: &str = "/open-api/badge-designs";
const CERTIFICATES: &str = "/open-api/certificate-designs";
const BOUNDARY: &str = "X-HAKSA-TEST";

on_both_stores!(
    read,
    listed,
    a_club_without_designs,
    uploaded,
    uploaded_again_with_another_boundary,
    named,
    on_its_side,
    no_pictures,
    shown_to_all
);

fn get(server: &Server, target: &str) -> Request {
    server.request("GET", target).bearer(KEY)
}

/// A picture as a program would make it.
pub fn picture(format: ImageFormat, side: u32, shade: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let pixels = RgbaImage::from_pixel(side, side, image::Rgba([shade, 99, 9, 255]));
    let pixels = image::DynamicImage::from(pixels);
    let pixels = if format == ImageFormat::Jpeg { pixels.to_rgb8().into() } else { pixels };
    pixels.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn upload(server: &Server, part: &str, file_name: &str, media_type: &str, bytes: &[u8]) -> Request {
    let disposition = format!("name=\"{part}\"; filename=\"{file_name}\"");
    upload_as(server, disposition.as_bytes(), media_type, bytes)
}

fn upload_as(server: &Server, disposition: &[u8], media_type: &str, bytes: &[u8]) -> Request {
    let body = [
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; ").as_bytes(),
        disposition,
        format!("\r\nContent-Type: {media_type}\r\n\r\n").as_bytes(),
        bytes,
        format!("\r\n--{BOUNDARY}--\r\n").as_bytes(),
    ]
    .concat();
    server
        .request("POST", BADGES)
        .bearer(KEY)
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(body)
}

fn assert_refused(reply: &Reply, status: u16, error: &str, message: &str) {
    let body = reply.json();
    assert_eq!(reply.status, status, "{body}");
    assert_eq!((&body["error"], &body["message"]), (&json!(error), &json!(message)));
}

async fn read(server: Server) {
    let answer = get(&server, "/open-api/certificate-designs/165").send().await;
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    assert_eq!(answer["message"], "템플릿 디자인이 상세 조회되었습니다.");
    let design = &answer["certificateDesign"];
    assert_eq!(
        design["club"],
        json!({"domain": "sandbox",
               "customData": [{"attribute_name": "점수", "attribute_tag": "score"}]})
    );
    for (field, value) in [
        ("id", json!(165)),
        ("name", json!("수료증")),
        ("main_color", json!("#2e6227")),
        ("extra_color_1", Value::Null),
        ("template_type", json!("NewCertificateType33")),
        ("created_at", json!("2025-04-01T00:00:00.000Z")),
    ] {
        assert_eq!(design[field], value, "{field}");
    }
    assert!(design["layout_json"].as_array().unwrap().iter().all(Value::is_object));
    let answer = get(&server, "/open-api/badge-designs/83").send().await.json();
    assert_eq!(answer["message"], "뱃지 디자인이 상세 조회되었습니다.");
    assert_eq!(answer["badgeDesign"]["id"], 83);

    let none = "템플릿 디자인을 찾을 수 없습니다.";
    for id in ["83", "900", "999999", "0"] {
        let reply = get(&server, &format!("{CERTIFICATES}/{id}")).send().await;
        assert_refused(&reply, 404, "CertificateDesignNotFound", none);
    }
    for id in ["165", "900", "999999", "-5"] {
        let reply = get(&server, &format!("{BADGES}/{id}")).send().await;
        assert_refused(&reply, 404, "BadgeDesignNotFound", "뱃지 디자인을 찾을 수 없습니다.");
    }
    assert_bad_request(&get(&server, "/open-api/badge-designs/abc").send().await);
    for target in [BADGES, CERTIFICATES, "/open-api/badge-designs/83"] {
        let reply = server.request("GET", target).bearer("wrong").send().await;
        assert_refused(&reply, 401, "Unauthorized", "Invalid token");
    }
}

async fn listed(server: Server) {
    for (target, key, message, count) in [
        (CERTIFICATES, "certificateDesigns", "템플릿 디자인 리스트가 조회되었습니다.", 1),
        (BADGES, "badgeDesigns", "뱃지 디자인 리스트가 조회되었습니다.", 2),
    ] {
        let answer = get(&server, target).send().await.json();
        assert_eq!((&answer["message"], &answer["totalPages"]), (&json!(message), &json!(1)));
        let items = answer[key].as_array().unwrap();
        assert_eq!(items.len(), count, "{target}");
        for field in
            ["id", "name", "created_at", "updated_at", "layout_json", "main_color", "template_type"]
        {
            assert!(items[0].get(field).is_some(), "{field}");
        }
        let page = get(&server, &format!("{target}?pageSize=1&page=2")).send().await.json();
        assert_eq!(page["totalPages"], count);
        let past = get(&server, &format!("{target}?page=99")).send().await;
        assert_eq!((past.status, &past.json()[key]), (200, &json!([])));
        for (query, message) in [
            ("page=0", "Page must not be less than 1, Page must be a positive number"),
            (
                "pageSize=abc",
                "PageSize must not be less than 1, PageSize must be a positive number",
            ),
        ] {
            let reply = get(&server, &format!("{target}?{query}")).send().await;
            assert_refused(&reply, 400, "BadRequest", message);
        }
    }
}

async fn a_club_without_designs(server: Server) {
    use haksa::domain::actor::{Actor, Dialect};
    use haksa::domain::command::Create;
    use haksa::domain::people::account::Account;
    use haksa::domain::people::credential::Credential;
    use haksa::pipeline::Envelope;
    let account = Account { name: "새 학원".to_owned(), ..Account::default() };
    let command = Create { key: Some(77.into()), created_at: None, record: account };
    let envelope = Envelope::new(Actor::operator(77), "test");
    server.app.pipeline.run(command, envelope).await.unwrap();
    let mut credential = Credential::new(Dialect::Kolleges, "a new club");
    credential.secret_hash = Some(hex::encode(haksa::vault::hash_token("new-EXAMPLE")));
    let envelope = Envelope::new(Actor::operator(77), "test");
    server.app.pipeline.run(Create::new(credential), envelope).await.unwrap();
    for (target, error, message) in [
        (BADGES, "BadgeDesignsNotFound", "뱃지 디자인 리스트를 찾을 수 없습니다."),
        (CERTIFICATES, "CertificateDesignsNotFound", "템플릿 디자인 리스트를 찾을 수 없습니다."),
    ] {
        let reply = server.request("GET", target).bearer("new-EXAMPLE").send().await;
        assert_refused(&reply, 404, error, message);
    }
    let forms = server.request("GET", "/open-api/achievements/forms").bearer("new-EXAMPLE");
    let forms = forms.send().await;
    assert_eq!((forms.status, &forms.json()["totalPages"]), (200, &json!(0)));
}

async fn uploaded(server: Server) {
    let mut ids = Vec::new();
    for (format, file_name, media_type) in [
        (ImageFormat::WebP, "badge.webp", "image/webp"),
        (ImageFormat::Png, "배지.png", "image/png"),
        (ImageFormat::Jpeg, "badge.jpg", "image/jpeg"),
        (ImageFormat::Gif, "badge.gif", "image/gif"),
        // Content, not names, says what it is.
        (ImageFormat::Png, "lies.webp", "image/webp"),
        (ImageFormat::WebP, "lies.txt", "text/plain"),
    ] {
        let bytes = picture(format, 48, u8::try_from(ids.len()).unwrap());
        let reply = upload(&server, "badge_image", file_name, media_type, &bytes).send().await;
        assert_eq!(reply.status, 201, "{}", reply.text());
        let body = reply.json();
        assert_eq!(body["message"], "배지 디자인이 성공적으로 생성되었습니다.");
        let id = body["badgeDesignId"].as_i64().unwrap();
        let read = get(&server, &format!("{BADGES}/{id}")).send().await;
        assert_eq!(reply.header("etag"), read.header("etag"));
        let design = &read.json()["badgeDesign"];
        assert_eq!(design["name"], file_name.rsplit_once('.').unwrap().0);
        assert_eq!(design["template_type"], "NewBadgeTypeEmpty");
        let layer = &design["layout_json"][0];
        assert_eq!((&layer["width"], &layer["height"]), (&json!(48), &json!(48)));
        let shown = server.request("GET", layer["src"].as_str().unwrap()).send().await;
        assert_eq!((shown.status, &shown.body[..]), (200, &bytes[..]));
        let truth = format!("image/{}", format!("{format:?}").to_lowercase());
        assert_eq!(shown.header("content-type"), truth);
        ids.push(id);
    }
    // It is a badge like any other.
    let form = json!({"achievementBadgeDesignId": ids[0]});
    let reply = server.request("PATCH", "/open-api/achievements/forms/551").bearer(KEY);
    assert_eq!(reply.json(&form).send().await.status, 200);

    // The other path; a second copy of a picture makes a design, and no second picture.
    let bytes = picture(ImageFormat::WebP, 48, 0);
    let mut request = upload(&server, "badge_image", "badge.webp", "image/webp", &bytes);
    request = request.target("/open-api/achievements/badge-designs");
    let dry = request.clone().header("haksa-dry-run", "true").send().await;
    assert_eq!((dry.status, dry.header("haksa-changes")), (201, "1"));
    let again = request.send().await;
    assert_eq!(again.status, 201, "{}", again.text());
    let src = async |id: &Value| {
        let design = get(&server, &format!("{BADGES}/{id}")).send().await.json();
        design["badgeDesign"]["layout_json"][0]["src"].clone()
    };
    assert_eq!(src(&again.json()["badgeDesignId"]).await, src(&json!(ids[0])).await);
    server.assert_sound().await;
}

/// Whoever sends the same parts again draws another boundary, as every program does.
async fn uploaded_again_with_another_boundary(server: Server) {
    let send = |boundary: &str, head: &str, bytes: &[u8]| {
        let head = format!("--{boundary}\r\n{head}\r\n\r\n");
        let body = [head.as_bytes(), bytes, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
        let request = server.request("POST", BADGES).bearer(KEY).header("idempotency-key", "k");
        let media_type = format!("multipart/form-data; boundary=\"{boundary}\"");
        request.header("content-type", media_type).body(body).send()
    };
    let disposition = |name: &str| {
        format!("Content-Disposition: form-data; name=\"badge_image\"; filename=\"{name}\"")
    };
    let png = picture(ImageFormat::Png, 32, 1);
    let head = format!("{}\r\nContent-Type: image/png", disposition("badge.png"));
    let first = send("one", &head, &png).await;
    assert_eq!(first.status, 201, "{}", first.text());
    let swapped = format!("content-type: image/png\r\n{}", disposition("badge.png"));
    for (boundary, head) in [("one", &head), ("two", &head), ("--- three", &swapped)] {
        let again = send(boundary, head, &png).await;
        assert_eq!((again.status, again.text()), (201, first.text()), "{boundary}");
    }
    let total = get(&server, BADGES).send().await.json()["badgeDesigns"].as_array().map(Vec::len);
    // Another picture, another name: another request.
    let other = picture(ImageFormat::Png, 32, 2);
    let renamed = format!("{}\r\nContent-Type: image/png", disposition("other.png"));
    for (head, bytes) in [(&head, &other), (&renamed, &png)] {
        assert_eq!(send("one", head, bytes).await.status, 422);
    }
    let after = get(&server, BADGES).send().await.json()["badgeDesigns"].as_array().map(Vec::len);
    assert_eq!(after, total);
    server.assert_sound().await;
}

/// In each way that a client writes a file's name.
async fn named(server: Server) {
    let bytes = picture(ImageFormat::Png, 16, 4);
    for (file_name, name) in [
        ("filename=\"우수 배지.png\"".as_bytes(), "우수 배지"),
        (b"filename*=UTF-8''%EC%9A%B0%EC%88%98%20%EB%B0%B0%EC%A7%80.png", "우수 배지"),
        (
            b"filename=\"a.png\"; filename*=UTF-8''%EC%9A%B0%EC%88%98%20%EB%B0%B0%EC%A7%80.png",
            "우수 배지",
        ),
        (b"filename=\"=?UTF-8?B?7Jqw7IiYIOuwsOyngC5wbmc=?=\"", "우수 배지"),
        (b"filename=\"\xbf\xec\xbc\xf6 \xb9\xe8\xc1\xf6.png\"", "우수 배지"),
        (b"filename=\"%EC%9A%B0%EC%88%98%20%EB%B0%B0%EC%A7%80.png\"", "우수 배지"),
        (b"filename=\"\"", "배지"),
        (b"filename=\"=?nothing?B?YQ==?=\"", "배지"),
        (b"filename=\" .png\"", "배지"),
    ] {
        let shown = String::from_utf8_lossy(file_name);
        let disposition = [b"name=\"badge_image\"; ", file_name].concat();
        let reply = upload_as(&server, &disposition, "image/png", &bytes).send().await;
        assert_eq!(reply.status, 201, "{shown}: {}", reply.text());
        let id = &reply.json()["badgeDesignId"];
        let read = get(&server, &format!("{BADGES}/{id}")).send().await.json();
        assert_eq!(read["badgeDesign"]["name"], name, "{shown}");
    }
    server.assert_sound().await;
}

/// As a telephone takes a picture: held on its side, with its place.
async fn on_its_side(server: Server) {
    let upright =
        image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([if x > y { 255 } else { 0 }; 3]));
    let mut file = Cursor::new(Vec::new());
    image::DynamicImage::from(upright).write_to(&mut file, ImageFormat::Jpeg).unwrap();
    let file = file.into_inner();
    let exif = b"\xff\xe1\0\x4aExif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\
                 \x25\x88\x04\0\x01\0\0\0\x26\0\0\0\0\0\0\0GPS 37.5665 N 126.978 E.....";
    let sent = [&file[..2], exif, &file[2..]].concat();
    let reply = upload(&server, "badge_image", "a.jpg", "image/jpeg", &sent).send().await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let id = &reply.json()["badgeDesignId"];
    let read = get(&server, &format!("{BADGES}/{id}")).send().await.json();
    let layer = &read["badgeDesign"]["layout_json"][0];
    assert_eq!((&layer["width"], &layer["height"]), (&json!(48), &json!(64)));
    let shown = server.request("GET", layer["src"].as_str().unwrap()).send().await;
    assert!(!shown.body.windows(3).any(|bytes| bytes == b"GPS"));
    // It is shown the same way up.
    let open = |bytes: &[u8]| {
        use image::ImageDecoder as _;
        let reader = image::ImageReader::with_format(Cursor::new(bytes), ImageFormat::Jpeg);
        let mut decoder = reader.into_decoder().unwrap();
        let orientation = decoder.orientation().unwrap();
        let mut picture = image::DynamicImage::from_decoder(decoder).unwrap();
        picture.apply_orientation(orientation);
        picture
    };
    assert_eq!(open(&shown.body), open(&sent));
    assert_eq!(open(&shown.body).width(), 48);
    server.assert_sound().await;
}

async fn no_pictures(server: Server) {
    let wrong = "이미지의 타입이 유효하지 않습니다.";
    let needed = "이미지가 필요합니다.";
    let png = picture(ImageFormat::Png, 32, 1);
    let send = |part: &'static str, name: &'static str, media_type: &'static str, bytes: &[u8]| {
        upload(&server, part, name, media_type, bytes).send()
    };
    let mut bomb = picture(ImageFormat::Png, 1, 1);
    bomb.splice(16..24, [0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    for (part, name, media_type, bytes, message) in [
        ("badge_image", "note.txt", "text/plain", &b"hello"[..], wrong),
        ("image", "badge.png", "image/png", &png, wrong),
        (
            "badge_image",
            "badge.webp",
            "image/webp",
            b"RIFF\x20\0\0\0WEBPVP8 but this is no picture",
            wrong,
        ),
        ("badge_image", "badge.png", "image/png", &png[..png.len() / 2], wrong),
        ("badge_image", "badge.svg", "image/svg+xml", svg, wrong),
        ("badge_image", "bomb.png", "image/png", &bomb, wrong),
        ("badge_image", "wide.png", "image/png", &picture(ImageFormat::Png, 4097, 1), wrong),
        ("badge_image", "badge.png", "image/png", b"", needed),
    ] {
        assert_refused(&send(part, name, media_type, bytes).await, 400, "Bad Request", message);
    }
    // No file at all, in several ways.
    let form = |body: &str| {
        let request = server.request("POST", BADGES).bearer(KEY);
        let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
        request.header("content-type", media_type).body(body.to_owned()).send()
    };
    assert_refused(&form(&format!("--{BOUNDARY}--\r\n")).await, 400, "Bad Request", needed);
    let text = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\n배지\r\n--{BOUNDARY}--\r\n"
    );
    assert_refused(&form(&text).await, 400, "Bad Request", needed);
    assert_refused(&form("").await, 400, "Bad Request", needed);
    assert_refused(&form("no multipart").await, 400, "Bad Request", "잘못된 요청입니다.");
    let json = server.request("POST", BADGES).bearer(KEY).json(&json!({}));
    assert_refused(&json.send().await, 400, "Bad Request", "잘못된 요청입니다.");
    // One byte too many, and a body that is longer than any.
    let mut long = png.clone();
    long.resize(10 * 1024 * 1024 + 1, 0);
    let reply = send("badge_image", "long.png", "image/png", &long).await;
    assert_refused(&reply, 400, "Bad Request", "잘못된 요청입니다.");
    assert_eq!(reply.json()["details"][0]["reason"], "is larger than 10 MiB");
    long.resize(11 * 1024 * 1024 + 1, 0);
    assert_eq!(send("badge_image", "long.png", "image/png", &long).await.status, 400);
    long.truncate(10 * 1024 * 1024);
    assert_eq!(send("badge_image", "full.png", "image/png", &long).await.status, 201);
    // A stranger's is not looked at.
    let mut request = upload(&server, "badge_image", "badge.png", "image/png", &png);
    request = request.without("authorization").bearer("wrong");
    assert_refused(&request.send().await, 401, "Unauthorized", "Invalid token");
    let badges = get(&server, BADGES).send().await.json();
    assert_eq!(badges["badgeDesigns"].as_array().map(Vec::len), Some(3));
}

async fn shown_to_all(server: Server) {
    let bytes = picture(ImageFormat::Png, 16, 3);
    let made = upload(&server, "badge_image", "a.png", "image/png", &bytes).send().await.json();
    let one = get(&server, &format!("{BADGES}/{}", made["badgeDesignId"])).send().await.json();
    let src = one["badgeDesign"]["layout_json"][0]["src"].as_str().unwrap().to_owned();
    let reply = server.request("GET", &src).send().await;
    assert_eq!(reply.header("cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    let tag = reply.header("etag").to_owned();
    for (tags, status) in [(tag.as_str(), 304), ("*", 304), ("\"other\"", 200)] {
        let again = server.request("GET", &src).header("if-none-match", tags).send().await;
        assert_eq!((again.status, again.body.is_empty()), (status, status == 304), "{tags}");
    }
    let none = "/haksa/v1/images/88d2009c-0000-4000-8000-59bf9afd5695";
    assert_eq!(server.request("GET", none).send().await.status, 404);
    assert_eq!(server.request("GET", "/haksa/v1/images/%00").send().await.status, 404);
    // With its design taken back, the picture is still there for others, and its history whole.
    server.assert_sound().await;
}
