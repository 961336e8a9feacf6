//! Who is skipped, and what a dead primary costs.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use http::{Method, Request};
use http_body_util::Full;
use tokio::time::{Instant, advance};
use tower::ServiceExt;
use tower_edge::origin::{GroupPolicy, HealthPolicy, MemberState};

use crate::support::{Act, CONNECT_TIME, Pair, Reply, answer, failed};

const BACK_OFF: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_dead_primary_costs_few_misses_its_connect_time() {
    const MISSES: u32 = 1000;
    let pair = Pair::new(Act::Unreachable, Act::Answer(200));
    let (mut waited, mut slow) = (Duration::ZERO, 0);
    for _ in 0..MISSES {
        let start = Instant::now();
        assert_eq!(pair.get().await, answer(200, "us"));
        waited += start.elapsed();
        slow += u32::from(start.elapsed() >= CONNECT_TIME);
        advance(Duration::from_millis(100)).await;
    }
    let each = waited / MISSES;
    println!(
        "dead primary, {MISSES} misses in 100 s and the waits: {slow} waited, {each:?} a miss on average"
    );
    // Three until it is skipped; then one a back-off of at least 0.5, 1, 2, 4, 8, 16, 30, 30 … s.
    assert!((3..=12).contains(&slow), "{slow}");
    assert_eq!(waited, CONNECT_TIME * slow);
    assert!(each <= Duration::from_millis(42), "{each:?}");
}

#[tokio::test(start_paused = true)]
async fn one_of_many_requests_probes_and_the_others_use_the_secondary() {
    let pair = Pair::new(Act::Unreachable, Act::Answer(200));
    pair.open_primary().await;
    advance(BACK_OFF).await;
    let asked = pair.eu.asked();
    let start = Instant::now();
    let replies = join_all((0..100).map(|_| async {
        let reply = pair.get().await;
        (reply, start.elapsed())
    }))
    .await;
    assert_eq!(pair.eu.asked(), asked + 1);
    assert!(replies.iter().all(|(reply, _)| *reply == answer(200, "us")));
    assert_eq!(replies.iter().filter(|(_, waited)| waited.is_zero()).count(), 99);
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_comes_back_is_used_again() {
    let pair = Pair::new(Act::Answer(503), Act::Answer(200));
    pair.open_primary().await;
    pair.eu.set(Act::Answer(200));
    let asked = pair.eu.asked();
    assert_eq!(pair.get().await, answer(200, "us"));
    assert_eq!(pair.eu.asked(), asked, "it is skipped");
    advance(BACK_OFF).await;
    assert_eq!(pair.get().await, answer(200, "eu"));
    assert_eq!(pair.primary(), MemberState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_flaps_is_asked_less_and_less() {
    let pair = Pair::new(Act::Refuse, Act::Answer(200));
    pair.open_primary().await;
    let mut back_offs = Vec::new();
    for _ in 0..6 {
        let MemberState::Open { retry_after } = pair.primary() else { panic!("it is asked") };
        back_offs.push(retry_after);
        advance(retry_after).await;
        // Up for one head, whose body breaks off.
        pair.eu.set(Act::HangInBody);
        assert_eq!(pair.get().await, Reply::BrokeOff("beg".to_owned()));
    }
    assert!(back_offs.windows(2).all(|pair| pair[0] <= pair[1]), "{back_offs:?}");
    assert!(back_offs[5] >= Duration::from_secs(16), "{back_offs:?}");
}

#[tokio::test(start_paused = true)]
async fn bodies_that_break_off_count_as_failures() {
    let pair = Pair::new(Act::HangInBody, Act::Answer(200));
    join_all((0..3).map(|_| pair.get())).await;
    assert_eq!(pair.get().await, answer(200, "us"));
}

#[tokio::test(start_paused = true)]
async fn what_speaks_of_one_object_is_no_failure_of_the_member() {
    let policy = GroupPolicy { statuses: vec![http::StatusCode::NOT_FOUND], ..GroupPolicy::default() };
    let pair = Pair::under(policy, Act::Answer(404), Act::Answer(200));
    for _ in 0..10 {
        assert_eq!(pair.get().await, answer(200, "us"));
    }
    assert_eq!(pair.eu.asked(), 10);
}

#[tokio::test(start_paused = true)]
async fn when_all_are_skipped_the_one_due_next_is_asked() {
    let pair = Pair::new(Act::Refuse, Act::Refuse);
    pair.open_primary().await;
    let due: Vec<_> = pair.group.status().iter().map(|member| retry_after(&member.state)).collect();
    assert!(!due[0].is_zero() && !due[1].is_zero(), "{due:?}");
    let before = pair.asked();
    pair.get().await;
    let (eu, us) = pair.asked();
    assert_eq!((eu - before.0, us - before.1), if due[0] <= due[1] { (1, 0) } else { (0, 1) });
    // Nobody waits for a back-off when somebody is well.
    pair.eu.set(Act::Answer(200));
    pair.us.set(Act::Answer(200));
    assert!(matches!(pair.get().await, Reply::Answer(..)));
}

fn retry_after(state: &MemberState) -> Duration {
    match state {
        MemberState::Open { retry_after } => *retry_after,
        _ => Duration::ZERO,
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_viewer_leaves_makes_way_for_another() {
    let pair = Pair::new(Act::Refuse, Act::Answer(200));
    pair.open_primary().await;
    advance(BACK_OFF).await;
    pair.eu.set(Act::Hang);
    let request = Request::get("/").body(Full::default()).unwrap();
    let mut leaving = Box::pin(pair.group.clone().oneshot(request));
    assert!((&mut leaving).now_or_never().is_none());
    assert_eq!(pair.primary(), MemberState::Probing);
    assert_eq!(pair.get().await, answer(200, "us"));
    drop(leaving);
    pair.eu.set(Act::Answer(200));
    assert_eq!(pair.get().await, answer(200, "eu"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_member_is_its_callers_and_does_not_stop_the_probing() {
    let pair = Pair::new(Act::Refuse, Act::Answer(200));
    pair.open_primary().await;
    advance(BACK_OFF).await;
    pair.eu.set(Act::Panic);
    let caught = std::panic::AssertUnwindSafe(pair.get()).catch_unwind().await;
    assert!(caught.is_err());
    pair.eu.set(Act::Answer(200));
    assert_eq!(pair.get().await, answer(200, "eu"));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_skipped_when_told_so() {
    let health = HealthPolicy { failures: 0, ..HealthPolicy::default() };
    let pair = Pair::under(GroupPolicy { health, ..GroupPolicy::default() }, Act::Refuse, Act::Answer(200));
    for _ in 0..20 {
        pair.get().await;
    }
    assert_eq!(pair.asked(), (20, 20));
    assert_eq!(pair.send(Method::POST, "").await, failed("the origin eu failed"));
    assert_eq!(pair.group.status()[0].failed, 21);
}
