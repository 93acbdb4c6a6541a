//! Replays the inputs that the fuzz targets keep: where they begin, and what once broke a promise.

use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("a corpus") {
        target(&std::fs::read(entry.expect("an entry").path()).expect("an input"));
        count += 1;
    }
    assert!(count > 2, "the inputs were not found");
}

#[test]
fn credentials() {
    replay("authorization", targets::authorization);
}

#[test]
fn dates() {
    replay("dates", targets::dates);
}

#[test]
fn json_bodies() {
    replay("json_body", targets::json_body);
}

#[test]
fn signed_queries() {
    replay("signed_query", targets::signed_query);
}

#[test]
fn xml_bodies() {
    replay("xml_body", targets::xml_body);
}
