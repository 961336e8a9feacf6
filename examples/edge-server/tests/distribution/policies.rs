//! What an edge does while the log is away, by the flag of its operator.

use serde_json::json;

use crate::server::Keeps;
use crate::site::{Site, eventually};

const SERVES: usize = 0;
const REVALIDATES: usize = 1;
const REFUSES: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server"]
async fn without_the_log_each_edge_does_as_it_was_told_and_nobody_clears() {
    let flags: [&[&str]; 3] = [
        &["--without-contact", "serve"],
        &["--without-contact", "revalidate:3s"],
        &["--without-contact", "refuse:3s"],
    ];
    let site = Site::new(Keeps::Nothing, flags).await;
    site.in_contact().await;
    site.warm(0).await;
    site.redis(|redis| redis.kill());
    site.truth.change(0);
    for edge in [SERVES, REVALIDATES, REFUSES] {
        let answer = site.clear(edge, &json!({ "paths": ["/a/0"] }), 20).await.unwrap();
        assert_eq!((answer.status, answer.text("retry-after").as_str()), (503, "1"), "{answer:?}");
        assert_eq!(answer.text("content-type"), "application/problem+json");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("the invalidation log cannot be reached: "), "{detail}");
        let state = site.state(edge).await;
        assert_eq!((&state["edges"], state["trouble"].is_string()), (&json!([]), true), "{state}");
    }
    for edge in [REVALIDATES, REFUSES] {
        eventually("without contact", async || site.state(edge).await["trusted"] == false).await;
        for _ in 0..2 {
            let (asked, confirmed) = (site.origin.asked(), site.origin.confirmed());
            assert_eq!(site.read(edge, 0).await.version(), Some(1), "edge {edge}");
            assert_eq!(site.origin.asked(), asked + 1, "each request asks");
            // By the second it could have the new one.
            if edge == REFUSES {
                assert_eq!(site.origin.confirmed(), confirmed, "nothing is stored");
            }
        }
    }
    let confirmed = site.origin.confirmed();
    site.read(REVALIDATES, 0).await;
    assert_eq!(site.origin.confirmed(), confirmed + 1, "the origin has only to say that it is right");
    let asked = site.origin.asked();
    let got = site.read(SERVES, 0).await;
    assert_eq!((got.version(), got.is_hit(), site.origin.asked()), (Some(0), true, asked), "it goes on");

    // It has forgotten everything, so everything is cleared.
    site.redis(|redis| redis.restart());
    site.in_contact().await;
    for edge in [SERVES, REVALIDATES, REFUSES] {
        assert_eq!(site.read(edge, 0).await.version(), Some(1));
    }
    site.warm(0).await;
}
