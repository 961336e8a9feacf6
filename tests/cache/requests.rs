//! What a viewer's `Cache-Control` asks for, it gets (RFC 9111 §5.2.1).

use tower_edge::{Detail, ForwardReason};

use crate::support::{Feed, Origin, World, feed, get, read, request, response, settle, streamed};

#[tokio::test(start_paused = true)]
async fn only_if_cached_never_asks_the_origin() {
    let only = [("cache-control", "only-if-cached")];
    let world = World::new(Origin::numbered(&[("cache-control", "max-age=60")]));
    let missing = world.get_with("/a", &only).await;
    assert_eq!(missing.status.as_u16(), 504);
    assert_eq!(missing.header("cache-control"), Some("no-store"));
    assert_eq!(missing.outcome().detail, Some(Detail::OnlyIfCached));
    assert_eq!(world.origin.asked(), 0);
    world.get("/a").await;
    assert!(world.get_with("/a", &only).await.is_hit());
    for declined in ["only-if-cached, no-cache", "only-if-cached, max-age=0", "only-if-cached, min-fresh=61"]
    {
        assert_eq!(
            world.get_with("/a", &[("cache-control", declined)]).await.status.as_u16(),
            504,
            "{declined}"
        );
    }
    world.pass_seconds(60);
    assert_eq!(world.get_with("/a", &only).await.status.as_u16(), 504);
    let stale = world.get_with("/a", &[("cache-control", "only-if-cached, max-stale")]).await;
    assert_eq!(stale.outcome().detail, Some(Detail::MaxStale));
    assert_eq!(world.origin.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_says_how_stale_and_how_fresh() {
    for (control, directive, hit) in [
        ("max-age=60", "max-stale", true),
        ("max-age=60", "max-stale=10", true),
        ("max-age=60", "max-stale=9", false),
        ("max-age=60, must-revalidate", "max-stale", false),
        ("s-maxage=60", "max-stale", false),
        ("max-age=600", "max-age=70", true),
        ("max-age=600", "max-age=69", false),
        ("max-age=600", "max-age=0", false),
        ("max-age=600", "min-fresh=530", true),
        ("max-age=600", "min-fresh=531", false),
        ("max-age=600", "no-cache", false),
        ("max-age=600", "max-age=10, max-stale=600", false),
    ] {
        let headers = vec![("cache-control", control)].leak();
        let world = World::new(Origin::numbered(headers));
        world.get("/a").await;
        world.pass_seconds(70);
        let reply = world.get_with("/a", &[("cache-control", directive)]).await;
        assert_eq!(reply.is_hit(), hit, "{control} / {directive}");
        if !hit && control == "max-age=600" {
            assert_eq!(reply.outcome().forward_reason(), Some(ForwardReason::Request), "{directive}");
        }
        assert_eq!(world.origin.asked(), 2 - usize::from(hit), "{control} / {directive}");
    }
}

/// An origin whose object takes its time: the head comes at once, the body when it is fed.
fn slow(control: &'static str) -> (Feed, Origin) {
    let (feed, body) = feed();
    let body = std::sync::Mutex::new(Some(body));
    let origin = Origin::new(move |seen| {
        let body = body.lock().unwrap().take();
        async move {
            let headers = [("cache-control", control)];
            Ok(match body {
                Some(body) => streamed(&headers, body),
                None => response(200, &headers, format!("answer {}", seen.number)),
            })
        }
    });
    (feed, origin)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_has_begun_is_joined_only_while_it_is_good() {
    // What is still arriving is as old as what is stored, and the same rules hold for it (RFC 9111 §4).
    for (passed, directive, joins) in [
        (59, "", true),
        (60, "", false),
        (10, "no-cache", false),
        (10, "max-age=5", false),
        (10, "max-age=30", true),
        (10, "min-fresh=55", false),
    ] {
        for method in ["GET", "HEAD"] {
            let (feed, origin) = slow("max-age=60");
            let world = World::new(origin);
            let first = world.send(get("/a")).await.unwrap();
            settle().await;
            world.pass_seconds(passed);
            let headers: &[_] = if directive.is_empty() { &[] } else { &[("cache-control", directive)] };
            let second = world.send(request(method, "/a", headers)).await.unwrap();
            let asked = world.origin.asked();
            assert_eq!(asked == 1, joins, "{method} {passed} {directive}");
            feed.send("slow");
            feed.end();
            assert_eq!(read(first).await.unwrap().text(), "slow");
            read(second).await.unwrap();
        }
    }
}
