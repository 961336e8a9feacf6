//! What a receipt says of each edge, on the wire and at the command line.

use std::process::Output;

use serde_json::{Value, json};

use crate::edge::command;
use crate::server::Keeps;
use crate::site::{Site, eventually};
use crate::truth::EDGES;

const FLAGS: &[&str] = &["--without-contact", "revalidate:3s"];

/// The state of each edge, by its name.
fn states(receipt: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let edges = receipt["edges"].as_array().into_iter().flatten();
    let mut states: Vec<_> = edges.map(|edge| (text(&edge["name"]), text(&edge["state"]))).collect();
    states.sort();
    states
}

fn named(states: [&str; EDGES]) -> Vec<(String, String)> {
    states.iter().enumerate().map(|(at, state)| (format!("edge-{}", at + 1), (*state).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server"]
async fn a_receipt_names_the_edge_that_is_silent_and_says_when_it_is_back() {
    let site = Site::new(Keeps::Nothing, [FLAGS; EDGES]).await;
    site.in_contact().await;
    site.warm(0).await;
    site.proxies[1].cut();
    site.truth.change(0);
    let answer = site.clear(0, &json!({ "paths": ["/a/0"], "reference": "r" }), 0).await.unwrap();
    let made = answer.json();
    assert_eq!((answer.status, &made["state"], &made["trouble"]), (201, &json!("in-progress"), &json!(null)));
    let receipt = answer.text("location");
    assert_eq!(receipt, format!("/distribution/invalidations/{}", made["id"].as_str().unwrap()));
    let ask = async |wait: u64| site.ask(0, &format!("{receipt}?wait={wait}")).await.unwrap().json();
    eventually("in force on the others", async || {
        states(&ask(0).await) == named(["swept", "pending", "swept"])
    })
    .await;
    let completed = ask(30).await;
    assert_eq!((&completed["state"], &completed["reference"]), (&json!("completed"), &json!("r")));
    assert_eq!(states(&completed), named(["swept", "silent", "swept"]));
    assert_eq!(site.read(1, 0).await.version(), Some(1), "it asks the origin");
    assert_eq!(site.state(1).await["trusted"], false);
    site.proxies[1].mend();
    eventually("in force on all", async || states(&ask(0).await) == named(["swept"; EDGES])).await;
    site.in_contact().await;
    assert_eq!(site.state(1).await["resets"], 1, "it replayed what it had missed");

    for (path, status) in [("D0000000000000000", 404), ("I00000001", 404), ("D0000000000000000?wait=31", 400)]
    {
        let path = format!("/distribution/invalidations/{path}");
        assert_eq!(site.ask(0, &path).await.unwrap().status, status, "{path}");
    }
    // Whoever made it has its receipt.
    assert_eq!(site.ask(2, &receipt).await.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server"]
async fn the_command_clears_every_edge_and_prints_each() {
    let site = Site::new(Keeps::Nothing, [FLAGS; EDGES]).await;
    site.in_contact().await;
    site.warm(0).await;
    site.truth.change(0);
    let control = site.edges[2].control().to_string();
    let run = |words: &[&str]| -> Output {
        let mut command = command();
        command.args(words).args(["--control", &control]);
        tokio::task::block_in_place(|| command.output().unwrap())
    };
    let text = |words: &[&str]| {
        let output = run(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let receipt = text(&["invalidate", "/a/0", "--reference", "r-1", "--wait"]);
    let (id, rest) = receipt.split_once("  ").unwrap();
    assert!(id.starts_with('D') && rest.starts_with("completed\n"), "{receipt}");
    for line in
        ["reference      r-1\n", "edge-1         swept", "edge-2         swept", "edge-3         swept"]
    {
        assert!(receipt.contains(line), "{line}: {receipt}");
    }
    for edge in 0..EDGES {
        assert_eq!(site.read(edge, 0).await.version(), Some(1));
    }
    assert_eq!(text(&["invalidations", id]), receipt);

    site.proxies[0].cut();
    let receipt = text(&["invalidate", "--all", "--wait"]);
    assert!(receipt.contains("edge-1         silent"), "{receipt}");
    site.redis(|redis| redis.kill());
    let output = run(&["invalidate", "--all", "--wait"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.len(), error.lines().count()),
        (Some(1), 0, 1),
        "{error}"
    );
    assert!(error.starts_with("edge-server: refused: the invalidation log cannot be reached: "), "{error}");
    let trouble = text(&["invalidations", id]);
    assert!(
        trouble.contains("in progress\n") && trouble.contains("trouble        the invalidation log"),
        "{trouble}"
    );
}
