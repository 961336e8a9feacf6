//! An edge whose line to the log loses everything: TCP waits, and the edge must not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::faults::LOG;
use crate::namespace::Loss;
use crate::server::Keeps;
use crate::site::{Site, eventually};

const SERVES: usize = 0;
const REVALIDATES: usize = 1;
const REFUSES: usize = 2;

/// TCP alone would be back minutes after the line is. This is a time-out, a wait between two trials and a new connection.
const SOON: Duration = Duration::from_secs(6);

fn lose(site: &Site, edge: usize, loss: Loss) {
    block_in_place(|| site.namespaces[edge].lose(loss));
}

fn mend(site: &Site, edge: usize) {
    block_in_place(|| site.namespaces[edge].mend());
}

fn state_of<'a>(receipt: &'a Value, name: &str) -> &'a Value {
    let mut edges = receipt["edges"].as_array().into_iter().flatten();
    edges.find(|edge| edge["name"] == name).map_or(&Value::Null, |edge| &edge["state"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server and root"]
async fn an_edge_that_hears_nothing_does_as_it_was_told_and_follows_again_soon_after() {
    let flags: [&[&str]; 3] = [
        &["--without-contact", "serve"],
        &["--without-contact", "revalidate:3s"],
        &["--without-contact", "refuse:3s"],
    ];
    let site = Site::apart(Keeps::Nothing, flags).await;
    site.in_contact().await;
    let losses = [
        [(REVALIDATES, Loss::Down), (REFUSES, Loss::Silent)],
        [(REVALIDATES, Loss::Deaf), (REFUSES, Loss::Mute)],
    ];
    for lost in losses {
        site.warm(0).await;
        for (edge, loss) in lost {
            lose(&site, edge, loss);
        }
        let version = site.truth.change(0);
        let receipt = site.clear(SERVES, &json!({ "paths": ["/a/0"] }), 30).await.unwrap().json();
        assert_eq!(receipt["state"], "completed", "{lost:?}: {receipt}");
        for (edge, loss) in lost {
            // Its viewers reach it, and it reaches the origin.
            assert_eq!(state_of(&receipt, &site.edges[edge].name), "silent", "{loss:?}: {receipt}");
            let state = site.state(edge).await;
            assert_eq!((&state["trusted"], state["trouble"].is_string()), (&json!(false), true), "{loss:?}");
            let asked = site.origin.asked();
            for again in 1..=2 {
                assert_eq!(site.read(edge, 0).await.version(), Some(version), "{loss:?}");
                assert_eq!(site.origin.asked(), asked + again, "{loss:?}: each request asks");
            }
            // One to read by and one to write by, or trials to have them.
            let connections = site.namespaces[edge].connections();
            assert!(connections <= 2, "{loss:?}: {connections} connections");
        }
        for (edge, loss) in lost {
            mend(&site, edge);
            let mended = Instant::now();
            let back = async || {
                let state = site.state(edge).await;
                state["trusted"] == true && state["trouble"].is_null()
            };
            eventually("in contact", back).await;
            println!("{loss:?}: in contact after {:.1?}", mended.elapsed());
            assert!(mended.elapsed() < SOON, "{loss:?}: {:?}", mended.elapsed());
        }
        site.in_contact().await;
    }
    for edge in [REVALIDATES, REFUSES] {
        assert_eq!(site.state(edge).await["resets"], 1, "it replayed what it had missed");
    }

    // Who is to go on does, and is waited for.
    site.warm(0).await;
    lose(&site, SERVES, Loss::Silent);
    let version = site.truth.change(0);
    let made = site.clear(REFUSES, &json!({ "paths": ["/a/0"] }), 8).await.unwrap();
    let receipt = made.json();
    let name = &site.edges[SERVES].name;
    assert_eq!((&receipt["state"], state_of(&receipt, name)), (&json!("in-progress"), &json!("silent")));
    let got = site.read(SERVES, 0).await;
    assert_eq!((got.version(), got.is_hit()), (Some(version - 1), true));
    mend(&site, SERVES);
    let mended = Instant::now();
    let receipt = site.ask(REFUSES, &format!("{}?wait=30", made.text("location"))).await.unwrap().json();
    assert_eq!(receipt["state"], "completed", "{receipt}");
    assert!(mended.elapsed() < SOON, "{:?}", mended.elapsed());
    assert_eq!(site.read(SERVES, 0).await.version(), Some(version));

    // What it has missed is gone; the first record is on its way to it, and TCP sends that again.
    site.warm(0).await;
    lose(&site, SERVES, Loss::Silent);
    site.clear(REFUSES, &json!({ "paths": ["/nothing"] }), 0).await.unwrap();
    let version = site.truth.change(0);
    site.clear(REFUSES, &json!({ "paths": ["/a/0"] }), 0).await.unwrap();
    site.redis(|redis| redis.ask(&["XTRIM", LOG, "MAXLEN", "0"]));
    mend(&site, SERVES);
    site.in_contact().await;
    assert_eq!(site.read(SERVES, 0).await.version(), Some(version));
    assert_eq!(site.state(SERVES).await["resets"], 2, "it treated everything as cleared");
}
