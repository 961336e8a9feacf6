//! Who goes on with a body that has begun.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};
use tower_edge::distribution::bus::{Follower, FollowerSettings, Local};
use tower_edge::distribution::{Parents, Token};
use tower_edge::origin::{GroupPolicy, MemberState, Viewer};
use tower_edge::{CachePolicy, Edge, Outcome, Ttl};

use crate::keeper::{
    Answer, BODY_TIME, End, HEAD_TIME, Keeper, LENGTH, begun, broken, get, group, object, read, whole,
};

const SHORT: &str = "the origin's body does not have its promised length";

#[tokio::test(start_paused = true)]
async fn the_secondary_goes_on_where_the_primary_broke_off() {
    for (end, cost) in [(End::Error, Duration::ZERO), (End::Clean, Duration::ZERO), (End::Hang, BODY_TIME)] {
        for stop in [1, 10, 55, 99] {
            let (eu, us) = (Keeper::stopping(&[(stop, end)]), Keeper::well());
            let group = group(&[&eu, &us]);
            let start = Instant::now();
            assert_eq!(read(begun(&group, get(&[])).await).await, whole(), "{end:?} {stop}");
            assert_eq!(start.elapsed(), cost, "{end:?} {stop}");
            assert_eq!((eu.asked(), us.asked()), (1, 1));
            assert_eq!(us.fields("range"), [format!("bytes={stop}-99")]);
            assert_eq!(us.fields("if-range"), ["\"a\""]);
            let status = group.status();
            assert_eq!((status[0].answered, status[0].failed), (1, 1), "{end:?}");
            assert_eq!((status[1].answered, status[1].failed), (1, 0), "{end:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_goes_on_within_its_bounds() {
    // One ends where a frame does, the other within a frame.
    let parts = [(69, "bytes=20-69", "bytes 20-69/100"), (64, "bytes=20-64", "bytes 20-64/100")];
    for (ranges, (last, asked, answered)) in
        [true, false].into_iter().flat_map(|ranges| parts.map(|part| (ranges, part)))
    {
        let eu = Keeper::stopping(&[(45, End::Error)]);
        let us = Keeper { ranges, ..Keeper::well() };
        let request = get(&[("range", asked), ("if-range", "\"a\""), ("if-none-match", "\"old\"")]);
        let response = group(&[&eu, &us]).oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(response.headers()[CONTENT_RANGE], answered);
        assert_eq!(read(response.into_body()).await, (object(0)[20..=last].to_vec(), None), "{ranges}");
        assert_eq!(us.fields("range"), [format!("bytes=45-{last}")]);
        assert_eq!(us.fields("if-none-match"), [""], "the condition was met");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_to_be_the_same_breaks_off() {
    let same = Keeper::well();
    let changed = Keeper { content: 1, tag: "\"b\"", ..Keeper::well() };
    for (why, us) in [
        ("changed, and it says so", changed.clone()),
        ("changed, and it knows no conditions", Keeper { conditions: false, ..changed.clone() }),
        ("changed, and it knows no ranges", Keeper { ranges: false, ..changed }),
        ("weak", Keeper { tag: "W/\"a\"", conditions: false, ..same.clone() }),
        (
            "another beginning",
            Keeper { mend: Some(|answer| put_range(answer, "bytes 40-99/100")), ..same.clone() },
        ),
        ("another end", Keeper { mend: Some(|answer| put_range(answer, "bytes 50-98/100")), ..same.clone() }),
        (
            "another length",
            Keeper { mend: Some(|answer| put_range(answer, "bytes 50-99/101")), ..same.clone() },
        ),
        ("no length", Keeper { mend: Some(|answer| put_range(answer, "bytes 50-99/*")), ..same.clone() }),
        ("coded", Keeper { mend: Some(|answer| put(answer, CONTENT_ENCODING, "gzip")), ..same.clone() }),
        (
            "parts",
            Keeper {
                mend: Some(|answer| put(answer, CONTENT_TYPE, "multipart/byteranges; boundary=x")),
                ..same.clone()
            },
        ),
        (
            "refused",
            Keeper { mend: Some(|answer| *answer.status_mut() = StatusCode::PRECONDITION_FAILED), ..same },
        ),
    ] {
        let us = Keeper { asked: Arc::default(), ..us };
        let eu = Keeper::stopping(&[(50, End::Error), (50, End::Error)]);
        let group = group(&[&eu, &us]);
        let reply = read(begun(&group, get(&[])).await).await;
        assert_eq!(reply, broken(50, "it broke off"), "{why}");
        assert_eq!(us.asked(), 1, "{why}");
        assert_eq!(group.status()[1].failed, 0, "{why}: that is no failure");
    }
}

fn put(answer: &mut Answer, name: HeaderName, value: &'static str) {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
}

fn put_range(answer: &mut Answer, value: &'static str) {
    put(answer, CONTENT_RANGE, value);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_strong_tag_is_not_taken_over() {
    for tag in ["W/\"a\"", "a"] {
        let eu = Keeper { tag, ..Keeper::stopping(&[(50, End::Error)]) };
        let us = Keeper { tag, ..Keeper::well() };
        assert_eq!(read(begun(&group(&[&eu, &us]), get(&[])).await).await, broken(50, "it broke off"));
        assert_eq!(us.asked(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_without_ranges_is_read_from_its_beginning() {
    for stop in [5, 50, 99] {
        let eu = Keeper::stopping(&[(stop, End::Error)]);
        let us = Keeper { ranges: false, ..Keeper::well() };
        assert_eq!(read(begun(&group(&[&eu, &us]), get(&[])).await).await, whole(), "{stop}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_silence_has_the_others_asked() {
    let eu = Keeper::stopping(&[(20, End::Trickle(BODY_TIME * 2)); 2]);
    let us = Keeper { tag: "\"b\"", ..Keeper::well() };
    assert_eq!(read(begun(&group(&[&eu, &us]), get(&[])).await).await, whole());
    assert_eq!((eu.asked(), us.asked()), (2, 2), "as often as one may be asked for one answer");
}

#[tokio::test(start_paused = true)]
async fn a_body_goes_on_as_long_as_there_is_a_member_to_ask() {
    let eu = Keeper::stopping(&[(20, End::Error)]);
    let us = Keeper::stopping(&[(40, End::Hang)]);
    let ap = Keeper::stopping(&[(60, End::Clean)]);
    let group = group(&[&eu, &us, &ap]);
    assert_eq!(read(begun(&group, get(&[])).await).await, whole());
    // Whoever was asked may be asked once more, such as after a restart.
    assert_eq!(eu.fields("range"), ["", "bytes=60-99"]);
    assert_eq!(us.fields("range"), ["bytes=20-99"]);
    assert_eq!(ap.fields("range"), ["bytes=40-99"]);
    let failed: Vec<_> = group.status().iter().map(|member| member.failed).collect();
    assert_eq!(failed, [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn each_member_is_asked_twice_and_no_more() {
    let stops = |at: &[u64]| Keeper::stopping(&at.iter().map(|at| (*at, End::Error)).collect::<Vec<_>>());
    let (eu, us) = (stops(&[10, 30, 50]), stops(&[20, 40, 60]));
    let reply = read(begun(&group(&[&eu, &us]), get(&[])).await).await;
    assert_eq!(reply, broken(40, "it broke off"));
    assert_eq!((eu.asked(), us.asked()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_single_member_is_asked_again_for_the_rest() {
    let eu = Keeper::stopping(&[(50, End::Error)]);
    assert_eq!(read(begun(&group(&[&eu]), get(&[])).await).await, whole());
    assert_eq!(eu.fields("range"), ["", "bytes=50-99"]);
}

#[tokio::test(start_paused = true)]
async fn a_successor_without_a_head_or_a_body_costs_the_head_time() {
    // Nothing at all, and a head that nothing follows.
    for us in [Keeper::stopping(&[(0, End::Hang)]), Keeper { ..Keeper::stopping(&[(50, End::Hang)]) }] {
        let (eu, ap) = (Keeper::stopping(&[(50, End::Error)]), Keeper::well());
        let group = group(&[&eu, &us, &ap]);
        let start = Instant::now();
        assert_eq!(read(begun(&group, get(&[])).await).await, whole());
        assert_eq!(start.elapsed(), HEAD_TIME);
        assert_eq!(group.status()[1].failed, 1);
    }
    let eu = Keeper::stopping(&[(50, End::Error)]);
    let us = Keeper { head_after: Duration::from_secs(3600), ..Keeper::well() };
    let start = Instant::now();
    assert_eq!(read(begun(&group(&[&eu, &us]), get(&[])).await).await, whole(), "by the primary itself");
    assert_eq!(start.elapsed(), HEAD_TIME);
}

#[tokio::test(start_paused = true)]
async fn a_successors_status_counts_as_it_does_in_the_first_place() {
    for (mend, failed) in [
        ((|answer| *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE) as fn(&mut Answer), 1),
        (|answer| *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR, 1),
        // Not one of the policy's.
        (|answer| *answer.status_mut() = StatusCode::NOT_IMPLEMENTED, 0),
        (|answer| *answer.status_mut() = StatusCode::NOT_FOUND, 0),
    ] {
        let eu = Keeper::stopping(&[(50, End::Error)]);
        let us = Keeper { mend: Some(mend), ..Keeper::well() };
        let ap = Keeper::well();
        let group = group(&[&eu, &us, &ap]);
        assert_eq!(read(begun(&group, get(&[])).await).await, whole());
        assert_eq!((us.asked(), ap.asked()), (1, 1));
        assert_eq!(group.status()[1].failed, failed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_primary_whose_bodies_break_off_is_skipped() {
    let eu = Keeper::stopping(&[(50, End::Error); 3]);
    let us = Keeper::well();
    let group = group(&[&eu, &us]);
    for _ in 0..3 {
        assert_eq!(read(begun(&group, get(&[])).await).await, whole());
    }
    assert!(matches!(group.status()[0].state, MemberState::Open { .. }));
    assert_eq!(read(begun(&group, get(&[])).await).await, whole());
    assert_eq!((eu.asked(), us.asked()), (3, 4));
}

#[tokio::test(start_paused = true)]
async fn a_secondary_that_is_skipped_is_asked_before_a_viewer_is_failed() {
    const WELL: (u64, End) = (LENGTH, End::Clean);
    const BREAKS: (u64, End) = (50, End::Error);
    let eu = Keeper::stopping(&[BREAKS, WELL, BREAKS, WELL, BREAKS, WELL, BREAKS, BREAKS]);
    let us = Keeper::stopping(&[(0, End::Hang); 3]);
    let group = group(&[&eu, &us]);
    for _ in 0..3 {
        assert_eq!(read(begun(&group, get(&[])).await).await, whole());
    }
    assert!(matches!(group.status()[1].state, MemberState::Open { .. }));
    assert_eq!(read(begun(&group, get(&[])).await).await, whole());
    assert_eq!((eu.asked(), us.asked()), (8, 4));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_long_is_an_error_and_nobody_elses() {
    let (eu, us) = (Keeper::stopping(&[(50, End::Long)]), Keeper::well());
    assert_eq!(read(begun(&group(&[&eu, &us]), get(&[])).await).await, broken(50, SHORT));
    assert_eq!(us.asked(), 0);
    let (eu, us) = (Keeper::stopping(&[(50, End::Error)]), Keeper::stopping(&[(LENGTH, End::Long)]));
    let body = begun(&group(&[&eu, &us]), get(&[])).await;
    assert!(body.collect().await.is_err(), "a successor's, too");
}

#[tokio::test(start_paused = true)]
async fn trailers_are_passed_unless_they_may_be_of_a_part() {
    for (stops, expected) in [(&[(LENGTH, End::Trailers)][..], true), (&[(50, End::Error)], false)] {
        let eu = Keeper::stopping(stops);
        let us = Keeper::stopping(&[(LENGTH, End::Trailers)]);
        let collected = begun(&group(&[&eu, &us]), get(&[])).await.collect().await.unwrap();
        assert_eq!(collected.trailers().is_some_and(|trailers| trailers.contains_key(ETAG)), expected);
        assert_eq!(collected.to_bytes(), object(0));
    }
    // Trailers before the end are a short end.
    let (eu, us) = (Keeper::stopping(&[(50, End::Trailers)]), Keeper::well());
    let collected = begun(&group(&[&eu, &us]), get(&[])).await.collect().await.unwrap();
    assert!(collected.trailers().is_none());
    assert_eq!(collected.to_bytes(), object(0));
}

#[tokio::test(start_paused = true)]
async fn head_and_what_changes_something_are_not_taken_over() {
    for method in [Method::HEAD, Method::POST, Method::OPTIONS] {
        let (eu, us) = (Keeper::stopping(&[(50, End::Error)]), Keeper::well());
        let mut request = get(&[]);
        *request.method_mut() = method.clone();
        let body = group(&[&eu, &us]).oneshot(request).await.unwrap().into_body();
        assert!(body.collect().await.is_err());
        assert_eq!(us.asked(), 0, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_rest_is_asked_for_on_behalf_of_the_same_viewer_whose_connection_is_not_held() {
    let connection = Arc::new(());
    let (eu, us) = (Keeper::stopping(&[(50, End::Error)]), Keeper::well());
    let mut request = get(&[("cookie", "a=b")]);
    let viewer = Viewer::new("192.0.2.7:4711".parse().unwrap()).keep(connection.clone());
    request.extensions_mut().insert(viewer);
    let body = begun(&group(&[&eu, &us]), request).await;
    assert_eq!(Arc::strong_count(&connection), 1);
    assert_eq!(read(body).await, whole());
    assert_eq!(us.fields("cookie"), ["a=b"]);
}

#[tokio::test(start_paused = true)]
async fn a_parents_body_is_gone_on_with_by_those_that_come_next_for_it() {
    let (one, other) = (Keeper::stopping(&[(30, End::Error)]), Keeper::stopping(&[(30, End::Error)]));
    let origin = Keeper::well();
    let edge = Edge::builder().name("child").build().unwrap();
    let follower = Follower::start(&edge, Arc::new(Local::new()), FollowerSettings::default()).unwrap();
    sleep(Duration::from_secs(1)).await;
    let parents = Parents::new(Arc::new(follower), Token::new("of-all-these-edges-0123456789").unwrap())
        .parent("one", one.service())
        .parent("other", other.service())
        .otherwise("origin", origin.service())
        .build(GroupPolicy::default())
        .unwrap();
    let body = parents.oneshot(get(&[])).await.unwrap().into_body();
    // The other one fails before its answer to the rest begins.
    assert_eq!(read(body).await, whole());
    assert_eq!((one.asked(), other.asked(), origin.asked()), (1, 1, 1));
    let (first, next) = if one.fields("range") == [""] { (one, other) } else { (other, one) };
    assert_eq!(
        (first.fields("range"), next.fields("range")),
        (vec![String::new()], vec!["bytes=30-99".into()])
    );
    for parent in [&first, &next] {
        assert_ne!(parent.fields("tower-edge-position"), [""], "each is told how new its answer has to be");
    }
    assert_eq!(origin.fields("range"), ["bytes=30-99"]);
    assert_eq!(origin.fields("tower-edge-position"), [""]);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_over_is_stored_whole() {
    let eu = Keeper::stopping(&[(50, End::Hang)]);
    let us = Keeper::stopping(&[(70, End::Clean)]);
    let ttl = Ttl { default: Some(Duration::from_secs(60)), ..Ttl::default() };
    let edge =
        Edge::builder().outcomes(true).policy(CachePolicy { ttl, ..CachePolicy::default() }).build().unwrap();
    let site = edge.layer().layer(group(&[&eu, &us]));
    for is_hit in [false, true] {
        let response = site.clone().oneshot(get(&[])).await.unwrap();
        assert_eq!(response.extensions().get::<Outcome>().map(Outcome::is_hit), Some(is_hit));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), object(0));
    }
    assert_eq!((eu.asked(), us.asked()), (2, 1), "the primary gave the last of it");
}
