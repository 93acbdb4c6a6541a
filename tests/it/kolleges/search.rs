//! Searching the list of certificates.

use serde_json::{Value, json};
use unicode_normalization::UnicodeNormalization as _;

use super::KEY;
use crate::support::{Server, new_postgres_database, on_both_stores};

on_both_stores!(
    parts_of_texts,
    both_forms_of_hangul,
    with_dates_and_pages,
    after_an_edit,
    by_the_name_on_the_certificate,
);

async fn issue(server: &Server, key: &str, form: i64, users: &[(&str, &str)]) {
    let users: Vec<Value> =
        users.iter().map(|(name, email)| json!({"name": name, "email": email})).collect();
    let body = json!({"achievementFormId": form, "mode": "email", "users": users});
    let request = server.request("POST", "/open-api/achievements/issue").bearer(key);
    let reply = request.json(&body).send().await;
    assert_eq!(reply.status, 201, "{}", reply.text());
}

async fn find(server: &Server, key: &str, search: &str, more: &str) -> (Vec<String>, i64) {
    let query: String = form_urlencoded::byte_serialize(search.as_bytes()).collect();
    let target = format!("/open-api/achievements?search={query}{more}");
    let reply = server.request("GET", &target).bearer(key).send().await;
    assert_eq!(reply.status, 200, "{search}");
    let page = reply.json();
    let items = page["achievements"].as_array().unwrap().iter();
    let mut names: Vec<String> =
        items.map(|one| one["user"]["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    (names, page["totalPages"].as_i64().unwrap())
}

const PEOPLE: [(&str, &str); 6] = [
    ("김하늘", "sky@e.com"),
    ("김 바다", "sea_100%@f.com"),
    ("남궁민수", "minsu@a.kr"),
    ("Anna O'Neil", "anna@b.com"),
    ("\"따옴표\" \\역슬래시", "quo@c.com"),
    ("𝄞 음표", "ab@d.org"),
];

/// Every part of a name or an address, of one character and of many, finds it, and nothing else does.
async fn parts_of_texts(server: Server) {
    issue(&server, KEY, 482, &PEOPLE).await;
    issue(&server, "demo-kolleges-other-key", 9000, &PEOPLE).await;
    for (name, email) in PEOPLE {
        let name: String = name.to_lowercase();
        for text in [&*name, email] {
            let chars: Vec<char> = text.chars().collect();
            for from in 0..chars.len() {
                for to in from + 1..=chars.len().min(from + 4) {
                    let part: String = chars[from..to].iter().collect();
                    if part.trim() != part {
                        continue;
                    }
                    let mut expected: Vec<String> = PEOPLE
                        .iter()
                        .filter(|(name, email)| {
                            name.to_lowercase().contains(&part) || email.contains(&part)
                        })
                        .map(|(name, _)| (*name).to_owned())
                        .collect();
                    // The one that was there before.
                    if "홍길동".contains(&part) || "hong@example.com".contains(&part) {
                        expected.push("홍길동".to_owned());
                    }
                    // Their form's name; it is the same for all.
                    if "프로그래밍 기초 과정 수료증".contains(&part) {
                        expected = PEOPLE.iter().map(|(name, _)| (*name).to_owned()).collect();
                        expected.push("홍길동".to_owned());
                    }
                    expected.sort();
                    let (found, _) = find(&server, KEY, &part, "").await;
                    assert_eq!(found, expected, "{part:?}");
                }
            }
        }
    }
    for nothing in [
        "하늘김",
        "늘s",
        "m김",
        "100_",
        "%",
        "a%b",
        "__",
        "' OR 1=1 --",
        "\" OR \"",
        "'a':*",
        "a & b",
        "NEAR(a b)",
        "*",
        "\u{10ffff}",
    ] {
        let (found, pages) = find(&server, KEY, nothing, "").await;
        let expected = PEOPLE.iter().filter(|(name, email)| {
            name.to_lowercase().contains(nothing) || email.contains(nothing)
        });
        assert_eq!(found.len(), expected.count(), "{nothing:?}");
        assert!(pages <= 1);
    }
    server.assert_sound().await;
}

async fn both_forms_of_hangul(server: Server) {
    let parts: String = "각별한".nfd().collect();
    assert_ne!(parts, "각별한");
    issue(&server, KEY, 551, &[(&parts, "parts@example.com"), ("각별한 둘", "whole@example.com")])
        .await;
    for search in ["각별한", "별", "별한"] {
        for search in [search.to_owned(), search.nfd().collect()] {
            let (found, _) = find(&server, KEY, &search, "").await;
            assert_eq!(found.len(), 2, "{search:?}");
        }
    }
    // As given, it comes back as given.
    let (found, _) = find(&server, KEY, "parts@", "").await;
    assert_eq!(found, [parts]);
}

async fn with_dates_and_pages(server: Server) {
    for day in 0..3 {
        let users: Vec<(String, String)> =
            (0..4).map(|n| (format!("반복 {day}{n}"), format!("r{day}{n}@example.com"))).collect();
        let users: Vec<(&str, &str)> =
            users.iter().map(|(n, e)| (n.as_str(), e.as_str())).collect();
        issue(&server, KEY, 551, &users).await;
        server.clock.advance(jiff::SignedDuration::from_hours(24));
    }
    for (more, count, pages) in [
        ("", 12, 1),
        ("&startDate=2026-04-24", 8, 1),
        ("&endDate=2026-04-24", 8, 1),
        ("&startDate=2026-04-24&endDate=2026-04-24", 4, 1),
        ("&startDate=2026-05-01", 0, 0),
        ("&pageSize=5", 5, 3),
        ("&pageSize=5&page=3", 2, 3),
        ("&pageSize=5&page=4", 0, 3),
        ("&pageSize=5&page=2&startDate=2026-04-24", 3, 2),
    ] {
        let (found, total) = find(&server, KEY, "반복", more).await;
        assert_eq!((found.len(), total), (count, pages), "{more}");
    }
    // The form's name alone, and both: nobody comes twice.
    let (found, _) = find(&server, KEY, "기초 과정", "").await;
    assert_eq!(found.len(), 13);
    let form = json!({"name": "반복 과정", "achievementBadgeDesignId": 83});
    let request = server.request("PATCH", "/open-api/achievements/forms/551").bearer(KEY);
    assert_eq!(request.json(&form).send().await.status, 200);
    let (found, _) = find(&server, KEY, "반복", "").await;
    assert_eq!(found.len(), 13);
}

/// What a holder is called now finds their certificates, and what they were called no longer.
async fn after_an_edit(server: Server) {
    use haksa::domain::actor::Actor;
    use haksa::domain::command::{Edit, Expected};
    use haksa::domain::patch::Patch;
    use haksa::domain::people::person::{Person, PersonEdit};
    use haksa::pipeline::Envelope;
    let edit = PersonEdit {
        name: Patch::Value("임꺽정".to_owned()),
        email: Patch::Value("lim@example.net".to_owned()),
        ..PersonEdit::default()
    };
    let command = Edit::<Person> { key: 501.into(), edit, expected: Expected::Any };
    server.app.pipeline.run(command, Envelope::new(Actor::operator(3), "test")).await.unwrap();
    for (search, count) in [("임꺽", 1), ("example.net", 1), ("홍", 0), ("hong", 0)] {
        let (found, _) = find(&server, KEY, search, "").await;
        assert_eq!(found.len(), count, "{search}");
    }
    server.assert_sound().await;
}

/// One person under several names: each certificate is found by the name that it shows, by the address and
/// by its form, and by no other name of the same person.
async fn by_the_name_on_the_certificate(server: Server) {
    let names = ["김민지", "Minji KIM", "김 선생님"];
    for name in names {
        issue(&server, KEY, 482, &[(name, "minji@example.com")]).await;
    }
    for (search, expected) in [
        ("김민지", &names[..1]),
        ("지", &names[..1]),
        ("minji k", &names[1..2]),
        ("kim", &names[1..2]),
        ("선생", &names[2..]),
        ("지ωm", &[]),
        ("minji@", &names[..]),
        ("minji", &names[..]),
    ] {
        let mut expected: Vec<&str> = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(find(&server, KEY, search, "").await.0, expected, "{search}");
    }
    let (found, pages) = find(&server, KEY, "김", "&pageSize=1").await;
    assert_eq!((found.len(), pages), (1, 2));
    let (found, _) = find(&server, KEY, "수료증", "").await;
    assert!(names.iter().all(|name| found.iter().any(|found| found == name)), "{found:?}");
    server.assert_sound().await;
}

/// PostgreSQL's own function finds the same grams as are brought along, and finds them for people who
/// are changed by hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grams_are_those_of_the_database() {
    let url = new_postgres_database().await;
    let server = Server::start_on(&url).await;
    issue(&server, KEY, 482, &PEOPLE).await;
    issue(&server, KEY, 482, &[("가", "a@b.c"), (&"긴 이름 ".repeat(10), "long@b.c")]).await;
    let (client, connection) =
        tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("the database");
    tokio::spawn(connection);
    let others = "SELECT count(*) FILTER (WHERE grams <> haksa_grams(name_key || E'\n' || \
                  coalesce(email_key, ''))), count(*) FROM person";
    let row = client.query_one(others, &[]).await.expect("a count");
    assert_eq!(row.get::<_, i64>(0), 0);
    assert!(row.get::<_, i64>(1) > 8);
    let by_hand = "UPDATE person SET name_key = '손으로' WHERE email_key = 'sky@e.com'";
    client.batch_execute(by_hand).await.expect("the statement runs");
    assert_eq!(find(&server, KEY, "손으로", "").await.0, ["김하늘"]);
    let row = client.query_one(others, &[]).await.expect("a count");
    assert_eq!(row.get::<_, i64>(0), 0);
    let report = haksa::check::run(&server.app.store).await.expect("a check");
    assert!(
        report.count == 2 && report.faults.iter().all(|fault| fault.ends_with(" name_key")),
        "{report:?}"
    );
    client.batch_execute("UPDATE person SET grams = ''::tsvector").await.expect("it runs");
    let report = haksa::check::run(&server.app.store).await.expect("a check");
    assert!(report.faults.iter().any(|fault| fault.contains("by a search")), "{report:?}");
}
