//! The bounds of the store, and how pages follow it.

use http::{HeaderMap, Request, StatusCode};

use super::super::capture::{Capture, Inspector};
use super::super::entry::{Direction, Facts, Side};
use super::*;

const LIMIT: usize = 1024 * 1024;

fn inspector() -> Inspector {
    Inspector::recording(LIMIT)
}

fn begin(inspector: &Inspector, path: &str) -> Capture {
    let request = Request::builder().uri(path).body(()).unwrap();
    inspector.request(&request, None)
}

fn finish(capture: &Capture) {
    capture.finish(Facts::default);
}

fn paths(store: &Store) -> Vec<String> {
    let (paths, ..) = store.list(None, usize::MAX, |entry| entry.path.clone());
    paths
}

#[test]
fn memory_is_bounded_whatever_is_stored() {
    let inspector = inspector();
    let store = inspector.store().unwrap();
    let mut live = Vec::new();
    let long = "x".repeat(10_000);
    for at in 0..1_500_usize {
        let capture = begin(&inspector, &format!("/{at}"));
        capture.request_body(long.as_bytes());
        capture.response_head(StatusCode::OK, &HeaderMap::new());
        for _ in 0..5 {
            capture.response_body(long.as_bytes());
            capture.frame(Side::Client, Direction::Out, &long);
        }
        if at % 3 == 0 {
            finish(&capture);
        } else {
            live.push(capture);
        }
        let usage = store.usage();
        assert!(usage.used <= LIMIT, "{at}: {usage:?}");
        if at % 100 != 0 {
            continue;
        }
        let costs = store.list(None, usize::MAX, |entry| Some(entry.cost)).0;
        assert_eq!(usage.used, costs.iter().sum::<usize>(), "{at}");
    }
    assert!(store.usage().evicted > 0);
}

#[test]
fn the_oldest_finished_entries_are_evicted_first() {
    let inspector = inspector();
    let store = inspector.store().unwrap();
    let live = begin(&inspector, "/live");
    let body = vec![b'x'; 60_000];
    for at in 0..40 {
        let capture = begin(&inspector, &format!("/{at}"));
        capture.request_body(&body);
        finish(&capture);
    }
    let left = paths(store);
    assert_eq!(left.first().map(String::as_str), Some("/39"));
    assert_eq!(left.last().map(String::as_str), Some("/live"));
    assert!(!left.contains(&"/0".to_owned()));
    finish(&live);
}

#[test]
fn one_busy_subscription_does_not_displace_the_others() {
    let inspector = inspector();
    let store = inspector.store().unwrap();
    finish(&begin(&inspector, "/before"));
    let busy = begin(&inspector, "/busy");
    for at in 0..10_000 {
        let text = format!(r#"{{"type":"next","at":{at}}}"#);
        busy.frame(Side::Upstream, Direction::In, &text);
    }
    assert_eq!(paths(store), ["/busy", "/before"]);
    let frames = store.list(None, 1, |entry| {
        let last = entry.frames.stored.back()?;
        Some((entry.frames.first(), last.index, last.kind.clone()))
    });
    let (first, last, kind) = frames.0[0].clone();
    assert!(first > 0);
    assert_eq!((last, kind.as_str()), (9_999, "next"));
}

#[test]
fn long_bodies_are_stored_in_part() {
    let inspector = inspector();
    let store = inspector.store().unwrap();
    let capture = begin(&inspector, "/");
    let part = vec![b'x'; store.part_limit() - 1];
    capture.response_body(&part);
    capture.response_body(&part);
    capture.response_body(&part);
    let body = store.list(None, 1, |entry| entry.response_body.clone()).0;
    assert_eq!(body[0].size, 3 * part.len());
    assert_eq!(body[0].stored.len(), store.part_limit());
    assert!(body[0].is_truncated());
}

#[track_caller]
fn check(store: &Store, seen: u64, entries: &[&str], evicted: usize) -> u64 {
    let read = |entry: &Entry| entry.path.clone().unwrap();
    match store.changes(seen, usize::MAX, read) {
        Changes::Some {
            entries: found,
            evicted: gone,
            revision,
        } => {
            assert_eq!(found, entries);
            assert_eq!(gone.len(), evicted);
            revision
        }
        Changes::Unknown(_) => panic!("unknown"),
    }
}

#[test]
fn pages_see_each_changed_entry_once() {
    let inspector = inspector();
    let store = inspector.store().unwrap();
    let (a, b) = (begin(&inspector, "/a"), begin(&inspector, "/b"));
    let seen = check(store, 0, &["/a", "/b"], 0);
    assert_eq!(check(store, seen, &[], 0), seen);
    for _ in 0..3 {
        a.response_body(b"x");
    }
    let seen = check(store, seen, &["/a"], 0);
    finish(&a);
    finish(&b);
    let read = |entry: &Entry| entry.id;
    let Changes::Some {
        entries, revision, ..
    } = store.changes(seen, 1, read)
    else {
        panic!("unknown");
    };
    assert_eq!(entries, [1]);
    check(store, revision, &["/b"], 0);
}

#[test]
fn pages_that_missed_too_much_fetch_the_list_again() {
    let inspector = inspector();
    let store = inspector.store().unwrap();
    let body = vec![b'x'; 60_000];
    let add = || {
        let capture = begin(&inspector, "/");
        capture.request_body(&body);
        finish(&capture);
    };
    for _ in 0..20 {
        add();
    }
    let seen = store.revision();
    add();
    assert!(
        matches!(store.changes(seen, 9, |_| ()), Changes::Some { evicted, .. } if !evicted.is_empty())
    );
    for _ in 0..EVICTIONS {
        add();
    }
    assert!(matches!(
        store.changes(seen, 9, |_| ()),
        Changes::Unknown(_)
    ));
    let seen = store.revision();
    store.clear();
    assert!(matches!(
        store.changes(seen, 9, |_| ()),
        Changes::Unknown(_)
    ));
    assert!(matches!(
        store.changes(u64::MAX, 9, |_| ()),
        Changes::Unknown(_)
    ));
    assert!(paths(store).is_empty());
}

#[test]
fn nothing_is_recorded_while_paused_or_off() {
    let inspector = inspector();
    let store = inspector.store().unwrap();
    store.pause(true);
    assert!(!begin(&inspector, "/").is_on());
    store.pause(false);
    assert!(begin(&inspector, "/").is_on());
    assert!(!begin(&Inspector::default(), "/").is_on());
}

#[test]
fn an_abandoned_capture_ends_its_entry() {
    let inspector = inspector();
    let store = inspector.store().unwrap();
    drop(begin(&inspector, "/"));
    let live = store.list(None, 1, |entry| Some(entry.is_live())).0;
    assert_eq!(live, [false]);
}
