//! Edges whose origin is another edge, each a process.

use std::io::Write;
use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::edge::Edge;
use crate::server::Keeps;
use crate::site::{Answer, PATIENCE, Site, eventually};
use crate::truth::EDGES;

/// The parent that was asked, and the rest of what `Cache-Status` says.
fn hops(answer: &Answer) -> (usize, String) {
    let status = answer.text("cache-status");
    let parent = (0..EDGES).find(|at| status.starts_with(&format!("edge-{};", at + 1)));
    (parent.unwrap_or_else(|| panic!("no parent in {status}")), status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server"]
async fn every_hop_is_shown_and_cleared_and_no_parent_brings_back_what_its_child_has_cleared() {
    let mut token = tempfile::NamedTempFile::new().unwrap();
    token.write_all("5e".repeat(32).as_bytes()).unwrap();
    let token = token.path().to_str().unwrap();
    let shown: &[&str] = &["--edge-token-file", token];
    let site = Site::new(Keeps::Nothing, [shown; EDGES]).await;
    let origin = format!("http://{}", site.origin.listen(Ipv4Addr::LOCALHOST).await);
    let redis = site.redis(|redis| redis.url());
    let parents: Vec<_> = site.edges.iter().map(|edge| format!("http://{}", edge.viewers())).collect();
    let child = |name: &str| {
        let mut flags = vec!["--origin", &origin, "--redis", &redis, "--edge-token-file", token];
        flags.extend(parents.iter().flat_map(|parent| ["--parent", parent]));
        tokio::task::block_in_place(|| Edge::start(name, &flags))
    };
    let (child, sibling) = (child("child"), child("sibling"));
    site.in_contact().await;
    let get = async |edge: &Edge| site.get_from(edge, 0).await.expect("an answer");

    let (parent, status) = hops(&get(&child).await);
    let name = &site.edges[parent].name;
    assert_eq!(status, format!("{name}; fwd=uri-miss; stored, child; fwd=uri-miss; stored"));
    assert!(get(&child).await.text("cache-status").contains("child; hit"));
    let (same, status) = hops(&get(&sibling).await);
    assert_eq!(same, parent, "for each thing all of them choose the same");
    assert!(status.contains("; hit") && status.ends_with(", sibling; fwd=uri-miss; stored"), "{status}");
    assert_eq!(site.origin.asked(), 1);

    // Through both.
    let version = site.truth.change(0);
    let cleared = site.clear_by(&child, &json!({ "paths": ["/a/0"] }), 30).await.unwrap().json();
    assert_eq!(
        (&cleared["state"], cleared["edges"].as_array().unwrap().len()),
        (&json!("completed"), EDGES + 2)
    );
    assert_eq!(get(&sibling).await.version(), Some(version));
    assert!(get(&child).await.text("cache-status").contains("; hit"), "the parent has it again");

    // 1. The child has applied it, and the parent, which has the old one, has not heard of it.
    site.proxies[parent].hold();
    let version = site.truth.change(0);
    let made = site.clear_by(&child, &json!({ "paths": ["/a/0"] }), 0).await.unwrap();
    let receipt = format!("http://{}{}", child.control(), made.text("location"));
    eventually("applied by the child", async || {
        let receipt: Value = site.get_url(&receipt).await.expect("an answer").json();
        let mut edges = receipt["edges"].as_array().into_iter().flatten();
        edges.any(|edge| edge["name"] == "child" && edge["state"] != "pending")
    })
    .await;
    // 2. It asks the parent, which must not answer by what it has.
    let started = std::time::Instant::now();
    let answer = get(&child).await;
    assert_eq!(answer.version(), Some(version), "{}", answer.text("cache-status"));
    assert_eq!(site.read(parent, 0).await.version(), Some(version - 1), "its own viewers still get that");
    assert!(started.elapsed() < PATIENCE / 2);
    site.proxies[parent].mend();
    site.in_contact().await;
    assert_eq!(site.read(parent, 0).await.version(), Some(version));

    // Without its parents a child asks the origin.
    for edge in &site.edges {
        edge.kill();
    }
    let version = site.truth.change(0);
    eventually("answered without them", async || {
        let cleared = site.clear_by(&child, &json!({ "paths": ["/a/0"] }), 0).await.expect("an answer");
        cleared.status == 201 && get(&child).await.version() == Some(version)
    })
    .await;
}
