//! A body that has begun, and of which nothing more comes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use http_body_util::BodyExt;
use tokio::time::{Instant, advance, sleep};
use tower_edge::origin::{Group, GroupPolicy};

use crate::keeper::{BODY_TIME, End, HEAD_TIME, Keeper, begun, get, group, object, read, whole};

#[tokio::test(start_paused = true)]
async fn the_time_a_viewer_takes_is_no_silence() {
    let (eu, us) = (Keeper::stopping(&[(50, End::Pause(Duration::from_secs(1)))]), Keeper::well());
    let mut body = begun(&group(&[&eu, &us]), get(&[])).await;
    for _ in 0..5 {
        body.frame().await.unwrap().unwrap();
        sleep(BODY_TIME * 2).await;
    }
    // It comes while nobody waits any more.
    assert!(body.frame().now_or_never().is_none());
    sleep(BODY_TIME * 2).await;
    assert_eq!(read(body).await, (object(0)[50..].to_vec(), None));
    assert_eq!(us.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_goes_on() {
    let eu = Keeper::stopping(&[(10, End::Trickle(BODY_TIME - Duration::from_secs(1)))]);
    let us = Keeper::well();
    assert_eq!(read(begun(&group(&[&eu, &us]), get(&[])).await).await, whole());
    assert_eq!(us.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_only_silent_may_be_the_first_to_go_on() {
    let eu = Keeper::stopping(&[(50, End::Pause(BODY_TIME + Duration::from_secs(1)))]);
    let us = Keeper { head_after: Duration::from_millis(1500), ..Keeper::well() };
    let group = group(&[&eu, &us]);
    let start = Instant::now();
    assert_eq!(read(begun(&group, get(&[])).await).await, whole());
    assert_eq!(start.elapsed(), BODY_TIME + Duration::from_secs(1));
    assert_eq!((us.asked(), group.status()[0].failed, group.status()[1].failed), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_on_its_way_when_the_body_goes_on_is_let_go() {
    const SECOND: Duration = Duration::from_secs(1);
    // Each frame comes a second after another was asked for it, whose answer would come half a second later.
    let eu = Keeper::stopping(&[(50, End::Trickle(BODY_TIME + SECOND))]);
    let us = Keeper { head_after: SECOND * 3 / 2, ..Keeper::well() };
    assert_eq!(read(begun(&group(&[&eu, &us]), get(&[])).await).await, whole());
    assert_eq!(us.fields("range"), ["bytes=50-99", "bytes=60-99"], "twice, and no more");
    assert_eq!(eu.fields("range"), ["", "bytes=70-99"]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_body_that_breaks_off_while_others_are_asked_waits_for_them() {
    const SECOND: Duration = Duration::from_secs(1);
    for (head_after, cost) in [(HEAD_TIME - SECOND / 2, HEAD_TIME - SECOND / 2), (HEAD_TIME * 2, HEAD_TIME)] {
        let eu = Keeper::stopping(&[(50, End::Late(BODY_TIME + SECOND))]);
        let us = Keeper { head_after, ..Keeper::well() };
        let group = group(&[&eu, &us]);
        let start = Instant::now();
        assert_eq!(read(begun(&group, get(&[])).await).await, whole());
        assert_eq!(start.elapsed(), BODY_TIME + cost);
        assert_eq!(group.status()[0].failed, 1);
        // The secondary or, where that gives no head in time, the primary once more.
        assert_eq!((eu.asked(), us.asked()), if head_after < HEAD_TIME { (1, 1) } else { (2, 1) });
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_silent_is_not_given_up_where_nobody_else_has_it() {
    let pause = BODY_TIME * 10;
    let eu = Keeper::stopping(&[(50, End::Pause(pause)), (50, End::Hang)]);
    let us = Keeper { tag: "\"b\"", ..Keeper::well() };
    let group = group(&[&eu, &us]);
    let start = Instant::now();
    assert_eq!(read(begun(&group, get(&[])).await).await, whole());
    assert_eq!(start.elapsed(), pause);
    assert_eq!(us.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_body_time_a_silent_body_is_the_members_own_affair() {
    let (eu, us) = (Keeper::stopping(&[(50, End::Pause(BODY_TIME * 10))]), Keeper::well());
    let members = [eu.member("eu"), us.member("us")];
    let group = Group::new(members, GroupPolicy::default()).unwrap();
    assert_eq!(read(begun(&group, get(&[])).await).await, whole());
    assert_eq!(us.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_takes_every_request_along() {
    let eu = Keeper::stopping(&[(50, End::Hang)]);
    let us = Keeper::stopping(&[(50, End::Hang)]);
    let group = group(&[&eu, &us]);
    let mut body = begun(&group, get(&[])).await;
    for _ in 0..5 {
        body.frame().await.unwrap().unwrap();
    }
    assert!(body.frame().now_or_never().is_none());
    advance(BODY_TIME).await;
    assert!(body.frame().now_or_never().is_none());
    let open = |keeper: &Keeper| keeper.open.load(Ordering::Relaxed);
    assert_eq!((open(&eu), open(&us)), (1, 1), "the silent one is still listened to");
    drop(body);
    assert_eq!((open(&eu), open(&us)), (0, 0));
    let failed: Vec<_> = group.status().iter().map(|member| member.failed).collect();
    assert_eq!(failed, [0, 0], "to be left is no failure");
}
