//! Who is asked, and whose answer counts.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use tokio::time::Instant;
use tower::{ServiceExt, service_fn};
use tower_edge::origin::{Group, GroupPolicy, HealthPolicy, Member, ServedBy};

use crate::support::{Act, Origin, Pair, Reply, SILENCE, answer, failed};

const HEAD_TIME: Duration = Duration::from_secs(2);

fn in_time() -> GroupPolicy {
    GroupPolicy { head_time: Some(HEAD_TIME), ..GroupPolicy::default() }
}

#[tokio::test(start_paused = true)]
async fn the_secondary_answers_when_the_primary_does_not() {
    for act in
        [Act::Refuse, Act::Unreachable, Act::Hang, Act::Answer(500), Act::Answer(503), Act::Answer(504)]
    {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            let pair = Pair::under(in_time(), act, Act::Answer(200));
            assert_eq!(pair.send(method.clone(), "").await, answer(200, "us"), "{act:?} {method}");
            assert_eq!(pair.asked(), (1, 1), "{act:?} {method}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_secondary_is_left_alone_while_the_primary_answers() {
    for status in [200, 206, 304, 400, 403, 404, 501] {
        let pair = Pair::new(Act::Answer(status), Act::Answer(200));
        assert_eq!(pair.get().await, answer(status, "eu"));
        assert_eq!(pair.asked(), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn the_statuses_are_chosen() {
    let policy = GroupPolicy {
        statuses: vec![StatusCode::FORBIDDEN, StatusCode::NOT_FOUND],
        ..GroupPolicy::default()
    };
    for (status, expected) in [(403, "us"), (404, "us"), (503, "eu")] {
        let pair = Pair::under(policy.clone(), Act::Answer(status), Act::Answer(200));
        let Reply::Answer(_, body) = pair.get().await else { panic!("no answer") };
        assert_eq!(body, expected, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_primary_without_a_head_costs_the_head_time() {
    let pair = Pair::under(in_time(), Act::Hang, Act::Answer(200));
    let start = Instant::now();
    assert_eq!(pair.get().await, answer(200, "us"));
    assert_eq!(start.elapsed(), HEAD_TIME);
}

#[tokio::test(start_paused = true)]
async fn what_changes_something_is_sent_once_and_to_the_primary() {
    for act in [Act::Refuse, Act::Unreachable, Act::Answer(503)] {
        for method in ["POST", "PUT", "DELETE", "PATCH", "PURGE", "TRACE"] {
            let pair = Pair::new(act, Act::Answer(200));
            let expected = match act {
                Act::Answer(_) => answer(503, "eu"),
                _ => failed("the origin eu failed"),
            };
            assert_eq!(pair.send(method.parse().unwrap(), "").await, expected, "{act:?} {method}");
            assert_eq!(pair.asked(), (1, 0), "{act:?} {method}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_sent_once_and_whole() {
    let pair = Pair::new(Act::Answer(503), Act::Answer(200));
    assert_eq!(pair.send(Method::GET, "+body").await, answer(503, "eu+body"));
    pair.eu.set(Act::Answer(200));
    assert_eq!(pair.send(Method::POST, "+body").await, answer(200, "eu+body"));
    assert_eq!(pair.asked(), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn writes_go_to_the_primary_though_it_is_skipped() {
    let pair = Pair::new(Act::Refuse, Act::Answer(200));
    pair.open_primary().await;
    let asked = pair.eu.asked();
    assert_eq!(pair.send(Method::POST, "").await, failed("the origin eu failed"));
    pair.eu.set(Act::Answer(200));
    assert_eq!(pair.send(Method::POST, "").await, answer(200, "eu"));
    assert_eq!(pair.eu.asked(), asked + 2);
    assert_eq!(pair.get().await, answer(200, "eu"), "a write that arrived shows that it is there");
}

#[tokio::test(start_paused = true)]
async fn an_upload_may_take_longer_than_a_head() {
    let slow = service_fn(|_: Request<Full<Bytes>>| async {
        tokio::time::sleep(HEAD_TIME * 10).await;
        Ok::<_, std::io::Error>(Response::new(Empty::<Bytes>::new()))
    });
    let group = Group::new([Member::new("eu", slow)], in_time()).unwrap();
    assert!(group.clone().oneshot(Request::post("/").body(Full::from("body")).unwrap()).await.is_ok());
    let error = group.oneshot(Request::get("/").body(Full::default()).unwrap()).await.unwrap_err();
    assert!(error.is_head_time());
    assert_eq!(error.name(), "eu");
}

#[tokio::test(start_paused = true)]
async fn the_last_failure_is_passed_on() {
    for (eu, us, expected) in [
        (Act::Refuse, Act::Answer(503), answer(503, "us")),
        (Act::Answer(503), Act::Answer(502), answer(502, "us")),
        (Act::Answer(503), Act::Refuse, failed("the origin us failed")),
        (Act::Hang, Act::Hang, failed("no answer from the origin us in 2s")),
    ] {
        let pair = Pair::under(in_time(), eu, us);
        assert_eq!(pair.get().await, expected, "{eu:?} {us:?}");
        assert_eq!(pair.asked(), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_is_an_error_to_its_reader() {
    let pair = Pair::new(Act::HangInBody, Act::Answer(200));
    let start = Instant::now();
    assert_eq!(pair.get().await, Reply::BrokeOff("beg".to_owned()));
    assert_eq!(start.elapsed(), SILENCE);
    assert_eq!(pair.asked(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_promised_and_does_not_begin_is_no_answer() {
    for (policy, cost) in [(in_time(), HEAD_TIME), (GroupPolicy::default(), SILENCE)] {
        let pair = Pair::under(policy, Act::HangBeforeBody, Act::Answer(200));
        let start = Instant::now();
        assert_eq!(pair.get().await, answer(200, "us"));
        assert_eq!(start.elapsed(), cost);
        assert_eq!(pair.group.status()[0].failed, 1);
        pair.us.set(Act::HangBeforeBody);
        assert!(matches!(pair.get().await, Reply::Failed(_)), "nobody has begun an answer");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_is_not_held_back_where_nothing_is_promised_or_nobody_else_may_be_asked() {
    let pair = Pair::under(in_time(), Act::HangInBody, Act::Answer(200));
    let start = Instant::now();
    let get = Request::get("/").body(Full::default()).unwrap();
    assert!(pair.group.clone().oneshot(get).await.is_ok());
    pair.eu.set(Act::HangBeforeBody);
    let post = Request::post("/").body(Full::from("body")).unwrap();
    assert!(pair.group.clone().oneshot(post).await.is_ok());
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_length_stays_what_it_was() {
    let pair = Pair::new(Act::Answer(200), Act::Answer(200));
    let get = Request::get("/").body(Full::default()).unwrap();
    let mut body = pair.group.oneshot(get).await.unwrap().into_body();
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(2), false));
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "eu");
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(0), true));
}

#[tokio::test(start_paused = true)]
async fn members_of_any_type_and_number_are_asked_in_order() {
    let busy = service_fn(|_: Request<Full<Bytes>>| async {
        Ok::<_, std::io::Error>(Response::builder().status(503).body(Empty::<Bytes>::new()).unwrap())
    });
    let (second, third) = (Origin::new("us", Act::Refuse), Origin::new("ap", Act::Answer(200)));
    let members = [Member::new("eu", busy), Member::new("us", second), Member::new("ap", third)];
    let policy = GroupPolicy { proxy_status: Some("fra 1".to_owned()), ..GroupPolicy::default() };
    let group = Group::new(members, policy).unwrap();
    let response = group.oneshot(Request::get("/").body(Full::default()).unwrap()).await.unwrap();
    let served_by = response.extensions().get::<ServedBy>().unwrap();
    assert_eq!((served_by.name(), served_by.failed_before()), ("ap", 2));
    assert_eq!(response.headers()["proxy-status"], "\"fra 1\"; next-hop=ap");
}

#[test]
fn a_group_that_cannot_work_is_refused_by_name() {
    let group = |names: &[&str], policy| {
        let members =
            names.iter().map(|name| Member::<Full<Bytes>>::new(*name, Origin::new("x", Act::Refuse)));
        Group::new(members.collect::<Vec<_>>(), policy)
    };
    let policy = GroupPolicy::default;
    let health = |health| GroupPolicy { health, ..policy() };
    for (names, policy, setting) in [
        (&[][..], policy(), "members"),
        (&["a", "a"], policy(), "member \"a\""),
        (&["a\n"], policy(), "member \"a\\n\""),
        (&["a"], GroupPolicy { statuses: vec![StatusCode::OK], ..policy() }, "statuses"),
        (&["a"], GroupPolicy { head_time: Some(Duration::ZERO), ..policy() }, "head_time"),
        (&["a"], GroupPolicy { body_time: Some(Duration::ZERO), ..policy() }, "body_time"),
        (&["a"], GroupPolicy { proxy_status: Some(String::new()), ..policy() }, "proxy_status"),
        (
            &["a"],
            health(HealthPolicy { back_off: Duration::ZERO, ..HealthPolicy::default() }),
            "health.back_off",
        ),
        (
            &["a"],
            health(HealthPolicy { longest_back_off: Duration::ZERO, ..HealthPolicy::default() }),
            "health.longest_back_off",
        ),
    ] {
        assert_eq!(group(names, policy).unwrap_err().setting(), setting);
    }
    assert!(group(&["a", "b"], policy()).is_ok());
}
