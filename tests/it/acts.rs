//! What one command did is an act: it is taken back whole, or not at all; and what goes along with a
//! deletion is one act, however much it is.

use futures_util::future::join_all;
use haksa::domain::actor::Actor;
use haksa::domain::command::{All, Command, Create, Edit, Expected, Policy, Undo};
use haksa::domain::error::Error;
use haksa::domain::patch::Patch;
use haksa::domain::people::department::Department;
use haksa::domain::people::person::Person;
use haksa::domain::record::Record;
use haksa::domain::teaching::class::Class;
use haksa::domain::teaching::invite_code::{InviteCode, InviteCodeEdit};
use haksa::pipeline::{Envelope, Outcome, Reply as PipelineReply};
use serde_json::{Value, json};

use crate::support::{Reply, Server, command, on_both_stores};

const ADMIN: &str = "demo-admin-key";
const TEACHER: &str = "demo-partner-token";
const STUDENT: &str = "demo-student-token";
const CLASS: &str = "/partner/7/classes/11";

on_both_stores!(
    a_redemption_is_taken_back_whole,
    who_redeems_leaves_and_comes_again_can_be_taken_back_step_by_step,
    a_code_that_was_used_up_stays_so_when_its_last_use_is_taken_back,
    what_stands_in_the_way_is_named,
    what_was_taken_back_stands_in_nobodys_way,
    of_two_undos_one_wins,
    an_undo_needs_its_right_on_every_record,
    a_class_goes_with_its_codes_and_comes_back_with_them,
    what_others_name_is_told_of_without_looking_at_them_all,
    many_lose_the_name_of_what_goes_and_get_it_back,
    a_class_of_many_codes_is_edited_like_any_other,
    of_many_commands_the_bad_ones_are_told_of_or_stop_all,
    what_only_follows_is_in_nobodys_way,
    who_may_not_is_not_told_what_is_in_the_way,
);

async fn get(server: &Server, key: &str, target: &str) -> Value {
    let reply = server.request("GET", target).bearer(key).send().await;
    assert_eq!(reply.status, 200, "{target}: {}", reply.text());
    reply.json()
}

async fn history(server: &Server, record: &str) -> Vec<Value> {
    let target = format!("/haksa/v1/records/{record}/history");
    get(server, ADMIN, &target).await["items"].as_array().expect("a page").clone()
}

async fn undo(server: &Server, change: &Value) -> Reply {
    let target = format!("/haksa/v1/changes/{}/undo", change["change_id"]);
    server.request("POST", &target).bearer(ADMIN).send().await
}

async fn redeem(server: &Server) -> Value {
    let request = server.request("POST", "/user/class/invites/redeem").bearer(STUDENT);
    let reply = request.json(&json!({"code": "ABC234"})).send().await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    reply.json()
}

async fn patch(server: &Server, target: &str, body: &Value) {
    let reply = server.request("PATCH", target).bearer(TEACHER).json(body).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

async fn run<R: Record>(server: &Server, record: R) -> Outcome {
    command::run(server, Create::new(record)).await
}

async fn used_count(server: &Server) -> Value {
    get(server, TEACHER, &format!("{CLASS}/invite-codes")).await["items"][0]["used_count"].clone()
}

#[track_caller]
fn kept(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let name = |kept: &Value| {
        let [kind, field] = ["kind", "field"].map(|name| kept[name].as_str().unwrap_or("whole"));
        format!("{kind}: {field}")
    };
    let body = reply.json();
    let mut kept: Vec<String> = body["kept"].as_array().expect("a list").iter().map(name).collect();
    kept.sort();
    kept
}

async fn live(server: &Server, table: &str) -> i64 {
    let count = format!("SELECT count(*) FROM {table} WHERE deleted_at IS NULL");
    server.numbers(&count).await[0]
}

async fn a_redemption_is_taken_back_whole(server: Server) {
    patch(&server, CLASS, &json!({"course_id": 5})).await;
    let tables = ["membership", "student", "enrollment"];
    let mut before = Vec::new();
    for table in tables {
        before.push(live(&server, table).await);
    }
    let membership = redeem(&server).await;
    let made = &history(&server, &format!("membership/{}", membership["id"])).await[0];
    // By whichever of its changes.
    let counted = &history(&server, "invite_code/21").await[0];
    assert_eq!(counted["act_id"], made["act_id"]);
    let undone = undo(&server, counted).await;
    assert_eq!(
        kept(&undone),
        ["course: content_item_id", "invite_code: used_count", "person: learner_id"]
    );
    for (table, before) in tables.iter().zip(&before) {
        assert_eq!(live(&server, table).await, *before, "{table}");
    }
    assert_eq!(used_count(&server).await, 1, "it was used");
    let again = undo(&server, made).await;
    assert_eq!(again.status, 409);
    assert!(again.text().contains("undone"), "{}", again.text());
    // The undo is an act itself.
    let ended = &history(&server, &format!("membership/{}", membership["id"])).await[0];
    assert_eq!((&ended["action"], &ended["undoes"]), (&json!("delete"), &made["act_id"]));
    assert_eq!(kept(&undo(&server, ended).await), [""; 0]);
    for (table, before) in tables.iter().zip(&before) {
        assert_eq!(live(&server, table).await, before + 1, "{table}");
    }
    // And now the redemption can be taken back once more.
    assert_eq!(undo(&server, made).await.status, 200);
    server.assert_sound().await;
}

async fn who_redeems_leaves_and_comes_again_can_be_taken_back_step_by_step(server: Server) {
    let first = redeem(&server).await;
    let left = server
        .request("DELETE", &format!("/user/class/enrollments/{}", first["id"]))
        .bearer(STUDENT)
        .send()
        .await;
    assert_eq!(left.status, 204, "{}", left.text());
    let second = redeem(&server).await;
    assert_ne!(first["id"], second["id"]);
    let of = async |membership: &Value| {
        history(&server, &format!("membership/{}", membership["id"])).await
    };
    let (of_first, of_second) = (of(&first).await, of(&second).await);
    let [leaving, redeeming] = &of_first[..] else { panic!("{of_first:?}") };
    let refused = undo(&server, redeeming).await;
    assert_eq!(refused.status, 409, "who left is not there to be taken back");
    assert!(refused.text().contains("record"), "{}", refused.text());
    let refused = undo(&server, leaving).await;
    assert_eq!(refused.status, 409, "nobody is a member twice: {}", refused.text());
    assert_eq!(kept(&undo(&server, &of_second[0]).await), ["invite_code: used_count"]);
    assert_eq!(kept(&undo(&server, leaving).await), [""; 0]);
    assert_eq!(kept(&undo(&server, redeeming).await), ["invite_code: used_count"]);
    assert_eq!(used_count(&server).await, 2);
    server.assert_sound().await;
}

async fn a_code_that_was_used_up_stays_so_when_its_last_use_is_taken_back(server: Server) {
    let code = format!("{CLASS}/invite-codes/21");
    patch(&server, &code, &json!({"max_uses": 1})).await;
    let membership = redeem(&server).await;
    let redeeming = &history(&server, &format!("membership/{}", membership["id"])).await[0];
    let codes = async |query: &str| {
        let page = get(&server, TEACHER, &format!("{CLASS}/invite-codes{query}")).await;
        let code = &page["items"][0];
        (page["total"].clone(), code["status"].clone(), code["used_count"].clone())
    };
    let used_up = (json!(1), json!("disabled"), json!(1));
    assert_eq!(codes("").await, used_up);
    // What the partner makes of it since is in nobody's way.
    patch(&server, &code, &json!({"status": "expired"})).await;
    patch(&server, &code, &json!({"status": "disabled"})).await;
    let undone = undo(&server, redeeming).await;
    assert_eq!(kept(&undone), ["invite_code: status", "invite_code: used_count"]);
    assert_eq!(codes("").await, used_up, "it lets nobody in, and says so");
    assert_eq!(codes("?active_only=true").await.0, 0);
    // The partner can let one more in.
    patch(&server, &code, &json!({"max_uses": 2, "status": "active"})).await;
    let again = redeem(&server).await;
    assert_ne!(again["id"], membership["id"]);
    // Taken back by itself, an edit of the status is like any other.
    let edited = &history(&server, "invite_code/21").await[1];
    assert_eq!(edited["after"]["status"], "active");
    let refused = undo(&server, edited).await;
    assert_eq!((refused.status, refused.json()["conflicts"].clone()), (409, json!(["status"])));
    server.assert_sound().await;
}

async fn what_stands_in_the_way_is_named(server: Server) {
    let membership = redeem(&server).await;
    let made = &history(&server, &format!("membership/{}", membership["id"])).await[0];
    let target = format!("/partner/7/student/enrollments/{}", membership["id"]);
    patch(&server, &target, &json!({"status": "inactive"})).await;
    let refused = undo(&server, made).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("record"), "{}", refused.text());
    // Of another record than that of the change, by name.
    let counted = &history(&server, "invite_code/21").await[0];
    let refused = undo(&server, counted).await;
    let named = format!("membership {}: record", membership["id"]);
    assert!(refused.text().contains(&named), "{}", refused.text());
    server.assert_sound().await;
}

async fn what_was_taken_back_stands_in_nobodys_way(server: Server) {
    let edit = async |name: &str| {
        patch(&server, CLASS, &json!({"name": name})).await;
        history(&server, "class/11").await[0].clone()
    };
    let name = async || get(&server, TEACHER, CLASS).await["name"].clone();
    let (first, second) = (edit("2").await, edit("3").await);
    assert_eq!(undo(&server, &first).await.status, 409, "something came after it");
    assert_eq!(undo(&server, &second).await.status, 200);
    assert_eq!(name().await, "2");
    let undone = undo(&server, &first).await;
    assert_eq!(undone.status, 200, "{}", undone.text());
    assert_eq!(name().await, first["before"]["name"]);
    // What took back something older than `second` is in the way of its return.
    let redone = &history(&server, "class/11").await[1];
    assert_eq!(redone["undoes"], second["change_id"]);
    assert_eq!(undo(&server, redone).await.status, 409);
    server.assert_sound().await;
}

async fn of_two_undos_one_wins(server: Server) {
    let membership = redeem(&server).await;
    let made = &history(&server, &format!("membership/{}", membership["id"])).await[0];
    let replies = join_all((0..8).map(|_| undo(&server, made))).await;
    let won = replies.iter().filter(|reply| reply.status == 200).count();
    let lost = replies.iter().filter(|reply| reply.status == 409).count();
    assert_eq!((won, lost), (1, 7));
    server.assert_sound().await;
}

async fn an_undo_needs_its_right_on_every_record(server: Server) {
    let membership = redeem(&server).await;
    let made = &history(&server, &format!("membership/{}", membership["id"])).await[0];
    let mut actor = Actor::operator(3);
    let kinds = [haksa::domain::kind::Kind::Membership, haksa::domain::kind::Kind::InviteCode];
    actor.grants =
        vec![haksa::domain::access::Grant::account(&kinds, &haksa::domain::access::Right::ALL)];
    let undo = |actor: Actor| async {
        let change_id = made["change_id"].as_i64().expect("an id");
        let expected = Expected::Any;
        let command =
            Undo { change_id, expected, held: Vec::new(), is_large: false, trails: Vec::new() };
        server.app.pipeline.run(command, Envelope::new(actor, "test")).await
    };
    let refused = undo(actor).await;
    assert!(refused.is_err(), "the student is none of its kinds: {refused:?}");
    assert_eq!(
        live(&server, "student").await,
        server.numbers("SELECT count(*) FROM student").await[0]
    );
    assert!(undo(Actor::operator(3)).await.is_ok());
    server.assert_sound().await;
}

async fn a_class_goes_with_its_codes_and_comes_back_with_them(server: Server) {
    let codes = async || live(&server, "invite_code").await;
    let (before, mut made) = (codes().await, Vec::new());
    for part in 0..6_i64 {
        let codes = (0..100).map(|n| run(&server, code_of(100 * part + n)));
        made.extend(join_all(codes).await);
    }
    assert_eq!(codes().await, before + 600);
    let deleted = server.request("DELETE", CLASS).bearer(TEACHER).send().await;
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    let others = codes().await;
    assert!(others < before, "{others}");
    let ending = &history(&server, "class/11").await[0];
    assert_eq!(ending["action"], "delete");
    // One of them stands in the way of all.
    let code = made[0].subject.meta.key.to_string();
    let of_code = &history(&server, &format!("invite_code/{code}")).await[0];
    assert_eq!(of_code["act_id"], ending["change_id"]);
    let undone = undo(&server, ending).await;
    assert_eq!(undone.status, 200, "{}", undone.text());
    assert_eq!(codes().await, before + 600);
    let back = &history(&server, &format!("invite_code/{code}")).await[0];
    assert_eq!((&back["action"], &back["undoes"]), (&json!("restore"), &ending["change_id"]));
    assert_eq!(get(&server, TEACHER, CLASS).await["id"], 11);
    server.assert_sound().await;
}

async fn a_class_of_many_codes_is_edited_like_any_other(server: Server) {
    let shown = |class: &Value| class["invite_codes"].as_array().expect("a list").len();
    let before = shown(&get(&server, TEACHER, CLASS).await);
    for part in 0..6_i64 {
        join_all((0..100).map(|n| run(&server, code_of(100 * part + n)))).await;
    }
    let count = before + 600;
    let edit =
        |name: &str| server.request("PATCH", CLASS).bearer(TEACHER).json(&json!({"name": name}));
    let trial = edit("가").header("haksa-dry-run", "true").send().await;
    assert_eq!((trial.status, shown(&trial.json())), (200, count), "{}", trial.text());
    let edited = edit("나").header("idempotency-key", "k").send().await;
    assert_eq!((edited.status, shown(&edited.json())), (200, count), "{}", edited.text());
    let again = edit("나").header("idempotency-key", "k").send().await;
    assert_eq!(again.text(), edited.text());
    assert_eq!(again.header("etag"), edited.header("etag"));
    let changes = server.history("class/11").await;
    assert_eq!(changes[0]["after"], json!({"name": "나"}), "{changes:?}");
    // What an edit of a few bytes shows of all these codes is not kept a day long.
    let kept = server.numbers("SELECT CAST(max(length(body)) AS BIGINT) FROM idempotency").await;
    assert!(kept[0] < 1000, "{kept:?}");
    let class = get(&server, TEACHER, CLASS).await;
    assert_eq!((&class["name"], shown(&class)), (&json!("나"), count));
    let stale = edit("다").header("if-match", "\"1\"").send().await;
    assert_eq!(stale.status, 412, "{}", stale.text());
    redeem(&server).await;
    server.assert_sound().await;
}

async fn many_lose_the_name_of_what_goes_and_get_it_back(server: Server) {
    let class = |n: i64| Class {
        partner_id: 7,
        name: format!("반 {n}"),
        description: Some("설명".to_owned()),
        timezone: "UTC".to_owned(),
        capacity: Some(n),
        course_id: Some(5),
        ..Class::default()
    };
    let made = join_all((0..60).map(|n| run(&server, class(n)))).await;
    let shown = async || {
        let classes = made.iter().map(|made| {
            let (server, key) = (&server, &made.subject.meta.key);
            async move { get(server, TEACHER, &format!("/partner/7/classes/{key}")).await }
        });
        join_all(classes.collect::<Vec<_>>()).await
    };
    let mut expected = shown().await;
    assert!(expected.iter().all(|class| class["course_id"] == 5));
    let course = "/partner/7/course/5";
    let deleted = server.request("DELETE", course).bearer(TEACHER).send().await;
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    for class in &mut expected {
        class["course_id"] = json!(null);
    }
    assert_eq!(shown().await, expected);
    let ending = &history(&server, "course/5").await[0];
    let undone = undo(&server, ending).await;
    assert_eq!(kept(&undone), [""; 0]);
    for class in &mut expected {
        class["course_id"] = json!(5);
    }
    assert_eq!(shown().await, expected);
    server.assert_sound().await;
}

async fn what_others_name_is_told_of_without_looking_at_them_all(server: Server) {
    let made =
        run(&server, Department { name: "큰 부서".to_owned(), ..Department::default() }).await;
    let department = made.subject.meta.key.to_string();
    let person = |n: i64| Person {
        name: format!("사람 {n}"),
        department_id: Some(department.clone()),
        ..Person::default()
    };
    join_all((0..200).map(|n| run(&server, person(n)))).await;
    let making = &history(&server, &format!("department/{department}")).await[0];
    let refused = undo(&server, making).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("person"), "{}", refused.text());
    server.assert_sound().await;
}

async fn of_many_commands_the_bad_ones_are_told_of_or_stop_all(server: Server) {
    let mut ids = Vec::new();
    for made in join_all((0..100).map(|n| run(&server, code_of(n)))).await {
        ids.push(made.subject.meta.key.as_int().expect("an id"));
    }
    // The last one is edited twice: the second time from the version that the first one makes.
    ids[99] = ids[98];
    let edits = |expected: fn(usize) -> Expected| -> Vec<Box<dyn Command>> {
        let edit = |(n, id): (usize, &i64)| -> Box<dyn Command> {
            // A use less than what was used is none.
            let max_uses = Patch::Value(if [3, 50, 77].contains(&n) {
                -1
            } else {
                i64::try_from(100 + n).expect("small")
            });
            let edit = InviteCodeEdit { max_uses, ..InviteCodeEdit::default() };
            Box::new(Edit::<InviteCode> { key: (*id).into(), edit, expected: expected(n) })
        };
        ids.iter().enumerate().map(edit).collect()
    };
    let ask = async |policy| {
        let commands =
            edits(|n| Expected::Tags(vec![if n == 99 { "2" } else { "1" }.to_owned()], None));
        let envelope = Envelope::new(Actor::operator(3), "test");
        server.app.pipeline.run(All { commands, policy }, envelope).await
    };
    let refused = ask(Policy::AllOrNone).await;
    assert!(matches!(&refused, Err(Error::Invalid(errors)) if errors[0].field == "max_uses"));
    let edited = "SELECT count(*) FROM invite_code WHERE version > 1 AND class_id = 11";
    assert_eq!(server.numbers(edited).await, [0]);
    let Ok(PipelineReply::Done(outcome, _)) = ask(Policy::Each).await else { panic!("refused") };
    let refused: Vec<usize> = outcome.refused.iter().map(|(index, _)| *index).collect();
    assert_eq!((refused, outcome.changes.len()), (vec![3, 50, 77], 97));
    assert_eq!(server.numbers(edited).await, [96]);
    let newest = &history(&server, &format!("invite_code/{}", ids[99])).await[0];
    assert_eq!((&newest["version"], &newest["after"]), (&json!(3), &json!({"max_uses": 199})));
    // It is one act, and goes back as one: by the large lane, for it is long.
    assert_eq!(undo(&server, newest).await.status, 200);
    assert_eq!(server.numbers("SELECT count(*) FROM invite_code WHERE version = 3").await, [95]);
    let newest = &history(&server, &format!("invite_code/{}", ids[99])).await[0];
    assert_eq!(newest["after"], json!({"max_uses": null}));
    server.assert_sound().await;
}

fn code_of(n: i64) -> InviteCode {
    InviteCode::new(7, 11, format!("{n:06}"))
}

async fn what_only_follows_is_in_nobodys_way(server: Server) {
    // The folded text for searches follows from title and key alike.
    let course = "/partner/7/course/5";
    patch(&server, course, &json!({"title": "다른 제목"})).await;
    let title = history(&server, "course/5").await[0].clone();
    patch(&server, course, &json!({"course_key": "OTHER-1"})).await;
    assert!(title["after"]["search_key"].is_string(), "{title}");
    let undone = undo(&server, &title).await;
    assert_eq!(undone.status, 200, "{}", undone.text());
    let now = get(&server, TEACHER, course).await;
    assert_eq!((&now["title"], &now["course_key"]), (&title["before"]["title"], &json!("OTHER-1")));
    server.assert_sound().await;
}

async fn who_may_not_is_not_told_what_is_in_the_way(server: Server) {
    let membership = redeem(&server).await;
    let counted = history(&server, "invite_code/21").await[0].clone();
    let target = format!("/partner/7/student/enrollments/{}", membership["id"]);
    patch(&server, &target, &json!({"status": "inactive"})).await;
    let mut actor = Actor::operator(3);
    let kinds = [haksa::domain::kind::Kind::InviteCode];
    actor.grants =
        vec![haksa::domain::access::Grant::account(&kinds, &haksa::domain::access::Right::ALL)];
    let undo = Undo {
        change_id: counted["change_id"].as_i64().expect("an id"),
        expected: Expected::Any,
        held: Vec::new(),
        is_large: false,
        trails: Vec::new(),
    };
    let refused = server.app.pipeline.run(undo, Envelope::new(actor, "test")).await;
    assert!(matches!(refused, Err(Error::Denied(_) | Error::NotFound(_))), "{refused:?}");
    server.assert_sound().await;
}
