//! Every list with every choice of its filters. In builds for tests a store looks at the plan of each
//! question that it has not seen, and ends the answer where one would read more than it lists.

use haksa::domain::error::Error;
use haksa::domain::learning::course::Course;
use haksa::domain::list::List;
use haksa::domain::time::Instant;

use serde_json::json;

use crate::support::{Server, on_both_stores};

on_both_stores!(
    every_list_is_found_by_an_index,
    a_list_that_none_has_in_order_fails_its_test,
    a_list_by_what_is_no_column_is_a_fault,
);

/// Where a list is, whose key opens it, and its filters.
type Listed = (&'static str, &'static str, &'static [&'static str]);

const LISTS: [Listed; 17] = [
    (
        "/open-api/achievements",
        "demo-kolleges-key",
        &["startDate=2020-01-01", "endDate=2030-01-01", "search=%EA%B9%80"],
    ),
    ("/open-api/achievements", "demo-kolleges-key", &["search=kim%25", "page=2"]),
    ("/open-api/achievements/forms", "demo-kolleges-key", &["page=2"]),
    ("/open-api/certificate-designs", "demo-kolleges-key", &["pageSize=1"]),
    ("/open-api/badge-designs", "demo-kolleges-key", &["pageSize=1"]),
    ("/partner/7/classes", "demo-partner-token", &["course_id=5", "status=active", "offset=1"]),
    ("/partner/7/course", "demo-partner-token", &["search=a", "status=active"]),
    ("/partner/7/classes/11/invite-codes", "demo-partner-token", &["active_only=true"]),
    ("/partner/7/classes/11/enrollments", "demo-partner-token", &["status=completed"]),
    ("/partner/7/student", "demo-partner-token", &["status=active", "q=%EA%B9%80"]),
    ("/partner/7/student/{student_id}/enrollments", "demo-partner-token", &["status=active"]),
    (
        "/partner/7/catalog/models",
        "demo-partner-token",
        &["modality=stt", "provider=demo", "q=LARGE"],
    ),
    ("/models", "demo-user-token", &["only_active=false", "provider=demo", "q=L"]),
    ("/user/classes", "demo-student-token", &["status=active"]),
    ("/haksa/v1/designs", "demo-admin-key", &["cursor=200", "limit=1"]),
    ("/haksa/v1/models", "demo-admin-key", &["cursor=1", "limit=1"]),
    (
        "/haksa/v1/messages",
        "demo-admin-key",
        &["status=waiting", "channel=email", "achievement_id=1539", "cursor=9000"],
    ),
];

async fn every_list_is_found_by_an_index(server: Server) {
    let join = server.request("POST", "/user/class/invites/redeem").bearer("demo-student-token");
    let joined = join.json(&json!({"code": "ABC234"})).send().await;
    assert_eq!(joined.status, 201, "{}", joined.text());
    let student_id = joined.json()["student_id"].to_string();
    for (path, key, filters) in LISTS {
        let path = path.replace("{student_id}", &student_id);
        for choice in 0..1 << filters.len() {
            let chosen = filters.iter().enumerate().filter(|(place, _)| choice >> place & 1 == 1);
            let query: Vec<&str> = chosen.map(|(_, filter)| *filter).collect();
            let target = format!("{path}?{}", query.join("&"));
            let reply = server.request("GET", &target).bearer(key).send().await;
            assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        }
    }
}

async fn a_list_that_none_has_in_order_fails_its_test(server: Server) {
    for list in [
        List::of::<Course>(3).newest_by(&["search_key"]),
        List::of_all_accounts::<Course>().newest(),
        List::of_all_accounts::<Course>(),
    ] {
        let store = server.app.store.clone();
        let listed = tokio::spawn(async move { store.list(&list).await.map(|ids| ids.len()) });
        assert!(listed.await.expect_err("a fault").is_panic());
    }
}

async fn a_list_by_what_is_no_column_is_a_fault(server: Server) {
    let courses = || List::of::<Course>(3).page(10, 0);
    let at = Some(Instant::MIN);
    for list in [
        courses().is("title", "a field without a column"),
        courses().is("status", 1),
        courses().is("id", "five"),
        courses().between("status", at, None),
        courses().found("id", Some("5".to_owned())),
        courses().through("status", "id", 1),
        courses().by(&["title"]),
        courses().called(Some("a course".to_owned())),
    ] {
        let (listed, counted) =
            (server.app.store.list(&list).await, server.app.store.list_counted(&list).await);
        assert!(matches!(listed, Err(Error::Internal(_))), "{list:?}");
        assert!(matches!(counted, Err(Error::Internal(_))), "{list:?}");
    }
    // What no stored text can be is not asked for.
    for list in [courses().is("status", "\0"), courses().found("search_key", Some("a\0".into()))] {
        assert_eq!(server.app.store.list_counted(&list).await.unwrap(), (Vec::new(), 0));
    }
    assert_eq!(server.app.store.list(&courses().newest()).await.unwrap(), [302, 301, 5]);
}
