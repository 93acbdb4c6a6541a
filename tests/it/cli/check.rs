//! What `haksa check` finds, each by its record's name, and what it leaves alone.

use haksa::check::{Findings, How};
use serde_json::json;

use super::{Place, assert_said, demo, haksa, text};
use crate::support::{Backend, Server, on_both_stores};

on_both_stores!(
    each_fault_is_found_by_its_name,
    all_faults_are_found_at_once,
    what_was_edited_deleted_and_brought_back_is_sound,
    beside_a_busy_server_nothing_is_found,
);

/// With the program itself.
mod program {
    use super::{a_quick_check_leaves_out_histories, secrets_are_opened_with_the_key};

    crate::cli::for_both_stores!(
        secrets_are_opened_with_the_key,
        a_quick_check_leaves_out_histories
    );
}

/// What is done to the database, what takes it back, and what is found of it.
struct Plant {
    damage: String,
    repair: String,
    found: &'static str,
}

/// A text within a column of one row becomes another.
fn swap(table: &str, column: &str, id: &str, [from, to]: [&str; 2], found: &'static str) -> Plant {
    let update = |from: &str, to: &str| {
        format!(
            "UPDATE {table} SET {column} = replace({column}, '{from}', '{to}') \
             WHERE CAST(id AS TEXT) = '{id}'"
        )
    };
    Plant { damage: update(from, to), repair: update(to, from), found }
}

/// A column of one row becomes something else.
fn set(table: &str, column: &str, id: &str, [was, is]: [&str; 2], found: &'static str) -> Plant {
    let update = |value: &str| {
        format!("UPDATE {table} SET {column} = {value} WHERE CAST(id AS TEXT) = '{id}'")
    };
    Plant { damage: update(is), repair: update(was), found }
}

/// The newest change of a record.
fn newest(record: &str, column: &str, [was, is]: [&str; 2], found: &'static str) -> Plant {
    let (kind, id) = record.split_once('/').expect("a record");
    let update = |value: &str| {
        format!("UPDATE change SET {column} = {value} WHERE kind = '{kind}' AND record_id = '{id}'")
    };
    Plant { damage: update(is), repair: update(was), found }
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn plants(backend: Backend) -> Vec<Plant> {
    const RELATIONSHIP: &str = "CRMRL1260423091530123REL11122233";
    const HEAD: &str = "5f0c2b9e-0000-4000-8000-0000000000d0";
    let mut all = vec![
        // What stands in a row, and what its history makes of it.
        swap("form", "body", "551", ["basic", "tender"], "form 551: change "),
        swap("achievement", "certificate_number", "1539", ["r9a1pt", "r9a1px"], "achievement 1539: change "),
        set("achievement", "version", "1539", ["1", "7"], "version and newest change disagree: achievement 1539"),
        set("achievement", "account_id", "1539", ["3", "4"], "achievement 1539"),
        set("achievement", "deleted_at", "1539", ["NULL", "5"], "version and newest change disagree: achievement 1539"),
        set("course", "created_at", "5", ["updated_at", "updated_at + 1"], "version and newest change disagree: course 5"),
        set("invite_code", "body", "21", [r#"'{"target_role":"student","created_by":7}'"#,
            r#"'{"target_role":"student","used_count":3,"created_by":7}'"#], "says otherwise of used_count"),
        // What does not follow from the rest.
        swap("person", "name_key", "101", ["이", "박"], "does not follow: person 101: name_key"),
        swap(
            "person",
            "email_key",
            "101",
            ["doyun", "other"],
            "does not follow: person 101: email_key",
        ),
        swap("course", "search_key", "5", ["ai", "xx"], "does not follow: course 5: search_key"),
        // Rows that are none.
        swap("form", "body", "551", ["\"basic\"", "77.75"], "unreadable: form 551"),
        // Changes.
        newest("form/551", "version", ["1", "3"], "form 551: change "),
        newest("form/551", "account_id", ["3", "4"], "form 551: change "),
        newest("form/551", "actor", ["'operator'", "'nobody'"], "malformed: change 11 of form 551: who made it"),
        newest("form/551", "actor", ["'operator'", "'credential:77'"], "credential 77, who made it"),
        newest("form/551", "dialect", ["'native'", "'klingon'"], "malformed: change 11 of form 551: its language"),
        newest("form/551", "request_id", ["'demo'", "''"], "malformed: change 11 of form 551: its request"),
        newest("course/5", "at", ["(SELECT updated_at FROM course WHERE id = 5)", "7"], "version and newest change disagree: course 5"),
        newest("form/551", "act_id", ["NULL", "12"], "an act that is not whole: change 11 of form 551"),
        newest("form/551", "act_end", ["NULL", "12"], "an act that is not whole: change 11 of form 551"),
        newest("form/551", "undoes", ["NULL", "11"], "an act that is not whole: change 11 of form 551"),
        newest("form/551", "action", ["'create'", "'edit'"], "form 551: change 11 "),
        newest("form/551", "action", ["'create'", "'make'"], "unreadable: form 551: change 11"),
        newest("form/551", "previous_id", ["NULL", "12"], "the chain of changes is broken: form 551"),
        swap("change", "after", "11", ["basic", "tender"], "form 551: change 11 says otherwise of tags"),
        swap("change", "after", "11", ["\"tags\"", "tags"], "unreadable: form 551: change 11"),
        set("change", "before", "11", ["'null'", "'{}'"], "form 551: change 11 "),
        set(
            "change",
            "record_id",
            "62",
            ["'5f0c2b9e-0000-4000-8000-0000000000d1'", "'nobody'"],
            "belongs to nothing: change 62 of department nobody",
        ),
        // What is named.
        set("achievement", "form_id", "1539", ["551", "77"], "orphaned reference: achievement 1539 names form 77"),
        set("class", "course_id", "11", ["NULL", "6"], "orphaned reference: class 11 names course 6"),
        set("form", "deleted_at", "551", ["NULL", "1"], "achievement 1539 names form 551"),
        set("class", "body", "11", [r#"'{"name":"AI 101","timezone":"UTC"}'"#,
            r#"'{"name":"AI 101","timezone":"UTC","allowed_model_ids":[1]}'"#], "missing link: class 11 names model 1"),
        Plant {
            damage: "INSERT INTO link (to_kind, to_id, from_kind, from_id) VALUES ('model', '1', 'class', '11')".to_owned(),
            repair: "DELETE FROM link WHERE to_kind = 'model'".to_owned(),
            found: "stray link: class 11 names model 1",
        },
        set("relationship", "target_entity_id", RELATIONSHIP, [
            "'CRMET1260423081530124XYZ11122234'", "'CRMET1260423081530123XYZ11122233'"],
            "breaks a rule: relationship CRMRL1260423091530123REL11122233"),
        set("form", "badge_design_id", "551", ["83", "165"], "breaks a rule: form 551: badge_design_id"),
        set("department", "parent_id", HEAD, ["NULL", "'5f0c2b9e-0000-4000-8000-0000000000d1'"],
            "circle: department 5f0c2b9e-0000-4000-8000-0000000000d0"),
        // What lies beside.
        Plant {
            damage: "INSERT INTO idempotency (credential_id, key, request_hash, status, headers, body, at) \
                     SELECT 1, 'broken', '', 200, '{', '', max(at) FROM change".to_owned(),
            repair: "DELETE FROM idempotency WHERE key = 'broken'".to_owned(),
            found: "stored answer: of key \"broken\" of credential 1",
        },
        Plant {
            damage: "INSERT INTO idempotency (credential_id, key, request_hash, status, headers, body, at, act_id) \
                     SELECT 1, 'other', '', 200, '[]', '', max(at), 2 FROM change".to_owned(),
            repair: "DELETE FROM idempotency WHERE key = 'other'".to_owned(),
            found: "change 2, of which it tells, is not its account's",
        },
        Plant {
            damage: "DROP INDEX form_by_account_id".to_owned(),
            repair: "CREATE INDEX form_by_account_id ON form (account_id, created_at, id)".to_owned(),
            found: "schema: the index form_by_account_id is not there",
        },
    ];
    match backend {
        Backend::Sqlite => all.extend([
            Plant {
                damage: "INSERT INTO person_search (person_search, rowid, text) \
                    SELECT 'delete', id, name_key || char(10) || coalesce(email_key, '') || char(10, 10) FROM person WHERE id = 101; \
                    INSERT INTO person_search (rowid, text) VALUES (101, 'another')".to_owned(),
                repair: "INSERT INTO person_search (person_search, rowid, text) VALUES ('delete', 101, 'another'); \
                    INSERT INTO person_search (rowid, text) \
                    SELECT id, name_key || char(10) || coalesce(email_key, '') || char(10, 10) FROM person WHERE id = 101".to_owned(),
                found: "search: person 101",
            },
            Plant {
                damage: "INSERT INTO change_staged SELECT * FROM change WHERE id = 11".to_owned(),
                repair: "DELETE FROM change_staged".to_owned(),
                found: "staging: 1 changes",
            },
        ]),
        Backend::Postgres => all.extend([
            Plant {
                damage: "UPDATE person SET grams = haksa_grams('another') WHERE id = 101".to_owned(),
                repair: "UPDATE person SET grams = haksa_grams(name_key || E'\\n' || coalesce(email_key, '')) \
                    WHERE id = 101".to_owned(),
                found: "search: person 101",
            },
            Plant {
                damage: "SELECT setval('form_id_seq', 5)".to_owned(),
                repair: "SELECT setval('form_id_seq', (SELECT max(id) FROM form) + 1)".to_owned(),
                found: "sequence: form",
            },
            Plant {
                damage: "DROP TRIGGER person_grams_insert ON person".to_owned(),
                repair: "CREATE TRIGGER person_grams_insert BEFORE INSERT ON person FOR EACH ROW \
                    WHEN (NEW.grams IS NULL) EXECUTE FUNCTION haksa_keep_grams()".to_owned(),
                found: "schema: the trigger person_grams_insert is not there",
            },
            Plant {
                damage: "ALTER TABLE form ADD COLUMN more TEXT".to_owned(),
                repair: "ALTER TABLE form DROP COLUMN more".to_owned(),
                found: "schema: the column form.more of form is none of this release's",
            },
        ]),
    }
    all
}

fn backend(server: &Server) -> Backend {
    match &server.app.store {
        haksa::store::Store::Sqlite(_) => Backend::Sqlite,
        haksa::store::Store::Postgres(_) => Backend::Postgres,
    }
}

/// Past everything that a database would not let through.
async fn spoil(server: &Server, statement: &str) {
    let before = match backend(server) {
        Backend::Sqlite => "PRAGMA foreign_keys = OFF",
        Backend::Postgres => "SET session_replication_role = replica",
    };
    server.spoil(&format!("{before}; {statement}")).await;
}

async fn check(server: &Server) -> Findings {
    let how = How { vault: Some(&server.app.vault), ..How::default() };
    haksa::check::run_as(&server.app.store, how).await.expect("a check")
}

async fn each_fault_is_found_by_its_name(server: Server) {
    for Plant { damage, repair, found } in plants(backend(&server)) {
        spoil(&server, &damage).await;
        let findings = check(&server).await;
        assert!(
            findings.faults.iter().any(|fault| fault.contains(found)),
            "{damage}: {findings:#?}"
        );
        assert_eq!(findings.count, findings.faults.len());
        spoil(&server, &repair).await;
    }
    assert_eq!(check(&server).await.faults, [""; 0]);
}

/// None hides another, not even one that nothing more can be read of.
async fn all_faults_are_found_at_once(server: Server) {
    let mut plants = plants(backend(&server));
    // What would be another fault together.
    let alone = [
        "unreadable",
        "account_id",
        "form 551: change 11 ",
        "names form",
        "act_",
        "undoes",
        "chain",
        "stray",
    ];
    plants.retain(|plant| {
        !alone.iter().any(|alone| plant.found.contains(alone) || plant.damage.contains(alone))
    });
    plants.push(swap("form", "body", "482", ["\"basic\"", "77.75"], "unreadable: form 482"));
    for plant in &plants {
        spoil(&server, &plant.damage).await;
    }
    let findings = check(&server).await;
    for Plant { damage, found, .. } in plants {
        let is_told = findings.faults.iter().any(|fault| fault.contains(found));
        // Later damage to the same column stands in the place of the earlier one.
        assert!(is_told || damage.contains("UPDATE change"), "{damage}: {findings:#?}");
    }
}

async fn what_was_edited_deleted_and_brought_back_is_sound(server: Server) {
    let courses = "/partner/7/course";
    for n in 0..6 {
        let title = format!("course {n}");
        let made = server.request("POST", courses).bearer("demo-partner-token");
        let made = made.json(&json!({"title": title, "course_key": title})).send().await;
        assert_eq!(made.status, 201, "{}", made.text());
        let id = made.json()["id"].clone();
        let target = format!("{courses}/{id}");
        for title in ["another", "a third"] {
            let edit = server.request("PATCH", &target).bearer("demo-partner-token");
            assert_eq!(edit.json(&json!({"title": title})).send().await.status, 200);
        }
        let deleted = server.request("DELETE", &target).bearer("demo-partner-token").send().await;
        assert_eq!(deleted.status, 204, "{}", deleted.text());
        if n % 2 == 0 {
            // Brought back, and back again to what it was.
            let record = format!("course/{id}");
            for _ in 0..2 {
                let newest = server.history(&record).await[0].clone();
                assert_eq!(server.undo(&newest).send().await.status, 200);
            }
        }
    }
    assert_eq!(check(&server).await.faults, [""; 0]);
}

/// What changes while it is looked at is no fault.
async fn beside_a_busy_server_nothing_is_found(server: Server) {
    let issue = |n: usize| {
        let users: Vec<_> = (0..if n.is_multiple_of(4) { 60 } else { 3 })
            .map(
                |at| json!({"name": format!("사람 {n}"), "email": format!("{n}.{at}@example.com")}),
            )
            .collect();
        let issue =
            server.request("POST", "/open-api/achievements/issue").bearer("demo-kolleges-key");
        issue.json(&json!({"achievementFormId": 551, "mode": "email", "users": users})).send()
    };
    let writing = async {
        for n in 0..24 {
            assert_eq!(issue(n).await.status, 201);
            let edit =
                server.request("PATCH", "/open-api/achievements/1539").bearer("demo-kolleges-key");
            assert_eq!(edit.json(&json!({"level": n})).send().await.status, 200);
        }
    };
    let checking = async {
        let mut all = Vec::new();
        for _ in 0..8 {
            all.extend(check(&server).await.faults);
        }
        all
    };
    let ((), found) = tokio::join!(writing, checking);
    assert_eq!(found, [""; 0]);
}

async fn secrets_are_opened_with_the_key(backend: Backend) {
    let place = Place::with_account(backend).await;
    let create =
        ["credential", "create", "--account", "1", "--dialect", "solapi", "--policy", "MEMBER"];
    assert_said(&place.run(&create), 0, "secret ");
    assert_said(&place.run(&create), 0, "secret ");
    assert_said(&place.run(&["check"]), 0, "no faults");
    // One credential's secret is not another's, though it opens with the same key.
    let take = match backend {
        Backend::Sqlite => {
            "UPDATE credential SET body = json_set(body, '$.secret_sealed', \
             (SELECT json_extract(body, '$.secret_sealed') FROM credential WHERE id = 2)) WHERE id = 1"
        }
        Backend::Postgres => {
            "UPDATE credential SET body = jsonb_set(body::jsonb, '{secret_sealed}', \
             (SELECT body::jsonb->'secret_sealed' FROM credential WHERE id = 2))::text WHERE id = 1"
        }
    };
    super::database::execute(&place, take).await;
    assert_said(&place.run(&["check"]), 1, "secret: credential 1: a sealed secret does not open");
    std::fs::remove_file(place.key_file()).expect("the key goes");
    assert_said(&place.run(&["check"]), 0, "not checked, nor were sealed secrets");
}

async fn a_quick_check_leaves_out_histories(backend: Backend) {
    let place = Place::with_account(backend).await;
    let other = "UPDATE change SET after = replace(after, '한빛학원', '다른 학원')";
    super::database::execute(&place, other).await;
    assert_said(&place.run(&["check", "--quick"]), 0, "1 records, no faults");
    let found = place.run(&["check"]);
    assert_said(
        &found,
        1,
        "history that disagrees with its record: account 1: change 1 says otherwise of name",
    );
    assert_said(&found, 1, "\n1 records, 1 faults\n");
}

/// A copy in a folder where nothing may be written, of a file that is read-only itself; and nothing comes
/// to lie beside it.
#[test]
fn a_copy_that_is_read_only_is_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(demo(folder.path()));
    let path = folder.path().join("haksa.db");
    let connection = rusqlite::Connection::open(&path).expect("the file opens");
    connection.pragma_update(None, "wal_checkpoint", "TRUNCATE").expect("the log goes");
    drop(connection);
    let copy = tempfile::tempdir().expect("a folder");
    let file = copy.path().join("haksa.db");
    std::fs::copy(&path, &file).expect("a copy");
    let mount =
        format!("mount --bind {0} {0} && mount -o remount,ro,bind {0}", copy.path().display());
    let check = format!("{mount} && {} check --database sqlite:{}", super::HAKSA, file.display());
    let output = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &check])
        .output()
        .expect("unshare runs");
    assert_said(&output, 0, "no faults");
    assert_eq!(std::fs::read_dir(copy.path()).expect("a folder").count(), 1);
    let found = haksa(&["check", "--database", &format!("sqlite:{}", file.display())]);
    assert!(text(&found).ends_with("no faults\n"), "{}", text(&found));
}
