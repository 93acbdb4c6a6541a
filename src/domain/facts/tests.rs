use std::sync::Mutex;

use super::*;
use crate::domain::learning::course::CourseStatus::{Active, Draft};
use crate::domain::learning::course::{Course, CourseStatus};
use crate::domain::record::Meta;

fn course(id: i64, status: CourseStatus, is_deleted: bool) -> Arc<Document> {
    let at = jiff::Timestamp::UNIX_EPOCH;
    let meta = Meta {
        kind: Kind::Course,
        key: id.into(),
        account_id: 3,
        version: 1,
        change_id: 1,
        created_at: at,
        updated_at: at,
        deleted_at: is_deleted.then_some(at),
    };
    Arc::new(Document::of(meta, Course { status, ..Course::default() }))
}

#[test]
fn a_selection_knows_what_the_batch_has_written() {
    let mut facts = Facts::default();
    let value = Key::from("active");
    let select = |facts: &Facts| {
        let found = facts.select_documents(Kind::Course, "status", value.clone()).unwrap();
        found.iter().map(|document| document.meta.key.as_int().unwrap()).collect::<Vec<_>>()
    };
    facts.overlay(&course(5, Active, false));
    facts.overlay(&course(2, Draft, false));
    let selector = Selector { kind: Kind::Course, column: "status", value: value.clone() };
    let stored = [1, 2, 3].map(|id| course(id, Active, false));
    facts.supply(Need::Select(selector), Fact::Select(stored.to_vec()));
    assert_eq!(select(&facts), [1, 3, 5]);
    facts.overlay(&course(4, Active, false));
    facts.overlay(&course(2, Active, false));
    facts.overlay(&course(1, Active, true));
    assert_eq!(select(&facts), [2, 3, 4, 5]);
}

#[test]
fn what_was_counted_keeps_up_with_what_the_batch_writes() {
    let of = |status: &str| Count {
        kind: Kind::Course,
        is: vec![("account_id", Key::Int(3)), ("status", Key::from(status))],
    };
    let mut facts = Facts::default();
    for status in ["active", "draft"] {
        facts.supply(Need::Count(of(status)), Fact::Count(10));
    }
    let counted = |facts: &Facts| ["active", "draft"].map(|one| facts.count(&of(one)).unwrap());
    facts.overlay(&course(1, Active, false));
    assert_eq!(counted(&facts), [11, 10]);
    facts.overlay(&course(2, Draft, false));
    facts.overlay(&course(1, Draft, false));
    assert_eq!(counted(&facts), [10, 12]);
    facts.lay(&course(2, Active, false));
    facts.lay(&course(2, Active, true));
    facts.lay(&course(5, Active, false));
    assert_eq!(counted(&facts), [11, 11]);
    facts.lift(Checkpoint::default());
    assert_eq!(counted(&facts), [10, 12]);
    facts.overlay(&course(1, Draft, true));
    assert_eq!(counted(&facts), [10, 11]);
}

#[derive(Debug)]
struct Kept(Mutex<Arc<Document>>);

impl Memory for Kept {
    fn recall(&self, need: &Need) -> Option<Fact> {
        let kept = self.0.lock().unwrap();
        let place = Need::Record(kept.meta.kind, kept.meta.key.clone());
        (*need == place).then(|| Fact::Record(Some(Arc::clone(&kept))))
    }
}

#[test]
fn memory_is_asked_once_and_never_about_what_the_batch_has_written() {
    let status = |facts: &Facts| {
        let found = facts.get::<Course>(3, 1).unwrap();
        found.record.status
    };
    let kept = Arc::new(Kept(Mutex::new(course(1, Draft, false))));
    let facts = Facts::over(kept.clone());
    assert_eq!(status(&facts), Draft);
    *kept.0.lock().unwrap() = course(1, Active, false);
    assert_eq!(status(&facts), Draft, "what a decision saw stays");
    assert_eq!(status(&Facts::over(kept.clone())), Active);
    let mut facts = Facts::over(kept);
    facts.overlay(&course(1, Draft, false));
    assert_eq!(status(&facts), Draft);
    assert!(matches!(facts.find::<Course>(3, 2), Err(Stop::Missing(needs)) if needs.len() == 1));
}

#[test]
fn others_wait_for_no_answer_that_shows_hundreds() {
    let code = |id: i64| {
        let mut document = Document::clone(&course(id, Active, false));
        document.meta.kind = Kind::InviteCode;
        Arc::new(document)
    };
    let class = Key::Int(11);
    let needs = |facts: &mut Facts| match facts
        .word(|facts| facts.may_show(Kind::InviteCode, "class_id", &class))
    {
        Err(Stop::Missing(needs)) => needs,
        _ => Vec::new(),
    };
    for count in [200, 201] {
        let mut facts = Facts::default();
        // It is not they who are looked at.
        let need = needs(&mut facts).pop().unwrap();
        assert!(matches!(&need, Need::Namers(namers) if namers.limit == 201), "{need:?}");
        facts.supply(need, Fact::Namers((0..count).map(Key::Int).collect()));
        let may = facts.word(|facts| facts.may_show(Kind::InviteCode, "class_id", &class));
        assert_eq!(matches!(may, Err(Stop::Long)), count > 200, "{may:?}");
        // A read shows all.
        assert!(facts.may_show(Kind::InviteCode, "class_id", &class).is_ok());
    }
    let mut facts = Facts::default();
    let ends = || facts.word(|_| -> Known<()> { std::panic::resume_unwind(Box::new(())) });
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(ends)).is_err());
    assert!(facts.may_show(Kind::InviteCode, "class_id", &class).is_ok(), "it is over");
    // Nor where they are known already.
    let mut facts = Facts::default();
    let selector = Selector { kind: Kind::InviteCode, column: "class_id", value: class.clone() };
    facts.supply(Need::Select(selector), Fact::Select((0..201).map(code).collect()));
    let may = facts.word(|facts| facts.may_show(Kind::InviteCode, "class_id", &class));
    assert!(matches!(may, Err(Stop::Long)), "{may:?}");
}
