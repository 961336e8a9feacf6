//! An edge under other rules: the same store, and each request under one set of rules.

use std::time::Duration;

use tower::{Layer, ServiceExt};
use tower_edge::{
    Behavior, Cache, CachePolicy, CustomKey, Edge, Invalidation, KeyPolicy, Limits, Outcome, Select, Ttl,
};

use crate::support::{Origin, Reply, get, read, request, response, settle};

const MINUTE: &[(&str, &str)] = &[("cache-control", "max-age=60")];

async fn ask(cache: &Cache<Origin>, path: &str) -> Reply {
    read(cache.clone().oneshot(get(path)).await.unwrap()).await.unwrap()
}

fn keyed_by(key: KeyPolicy) -> CachePolicy {
    CachePolicy { key, ..CachePolicy::default() }
}

fn only(names: &[&str]) -> Option<Select> {
    Some(Select::Only(names.iter().map(|name| (*name).to_owned()).collect()))
}

#[tokio::test]
async fn what_is_stored_stays_and_is_cleared_from_either_side() {
    let origin = Origin::numbered(MINUTE);
    let before = Edge::builder().outcomes(true).build().unwrap();
    let old = before.layer().layer(origin.clone());
    assert_eq!(ask(&old, "/a").await.text(), "answer 0");

    let ttl = Ttl { default: Some(Duration::from_secs(9)), ..Ttl::default() };
    let policy = CachePolicy { ttl, ..CachePolicy::default() };
    let after = before.reconfigured(policy.clone(), [Behavior::new("/a", policy)]).unwrap();
    let new = after.layer().layer(origin.clone());
    let reply = ask(&new, "/a").await;
    assert!(reply.is_hit());
    assert_eq!(reply.text(), "answer 0");
    assert_eq!(before.stats(), after.stats());

    before.invalidator().invalidate(Invalidation::paths(["/a"]).unwrap()).unwrap();
    settle().await;
    assert_eq!(ask(&new, "/a").await.text(), "answer 1");
    assert!(ask(&old, "/a").await.is_hit());
}

#[tokio::test]
async fn new_rules_are_for_those_who_ask_through_them() {
    let before = Edge::builder().outcomes(true).build().unwrap();
    let forever = Ttl { default: Some(Duration::from_secs(60)), ..Ttl::default() };
    let stored = CachePolicy { ttl: forever, ..CachePolicy::default() };
    let after = before.reconfigured(CachePolicy::default(), [Behavior::new("/a/*", stored)]).unwrap();
    let origin = Origin::numbered(&[]);
    let (old, new) = (before.layer().layer(origin.clone()), after.layer().layer(origin.clone()));
    ask(&old, "/a/1").await;
    assert!(!ask(&old, "/a/1").await.is_hit());
    // The edge remembers that it could not be stored, and forgets it with the first answer that can.
    ask(&new, "/a/1").await;
    ask(&new, "/a/1").await;
    assert!(ask(&new, "/a/1").await.is_hit());
    ask(&new, "/a/2").await;
    assert!(ask(&new, "/a/2").await.is_hit());
    ask(&new, "/b").await;
    assert!(!ask(&new, "/b").await.is_hit());
}

#[tokio::test]
async fn objects_keyed_by_another_rule_are_not_found() {
    let device = || KeyPolicy { headers: only(&["x-device"]), ..KeyPolicy::default() };
    let custom = CustomKey::new(|_| Some(Vec::new()));
    let clone = custom.clone();
    let by_custom = |custom: &CustomKey| KeyPolicy { custom: Some(custom.clone()), ..KeyPolicy::default() };
    let query = |query| KeyPolicy { query, ..KeyPolicy::default() };
    for (from, to, is_found) in [
        (KeyPolicy::default(), device(), false),
        (device(), device(), true),
        (device(), KeyPolicy { headers: only(&["x-device", "x-kind"]), ..KeyPolicy::default() }, false),
        (device(), KeyPolicy::default(), false),
        (KeyPolicy::default(), KeyPolicy { cookies: Some(Select::None), ..KeyPolicy::default() }, false),
        (by_custom(&custom), by_custom(&clone), true),
        (by_custom(&custom), by_custom(&CustomKey::new(|_| Some(Vec::new()))), false),
        // What the origin saw of the query is all in the key.
        (query(Select::All), query(Select::None), true),
    ] {
        let told = format!("{from:?} {to:?}");
        let before = Edge::builder().outcomes(true).policy(keyed_by(from)).build().unwrap();
        let after = before.reconfigured(keyed_by(to), []).unwrap();
        let origin = Origin::new(|seen| async move {
            Ok(response(200, MINUTE, format!("{:?}", seen.headers.get("x-device"))))
        });
        let (old, new) = (before.layer().layer(origin.clone()), after.layer().layer(origin.clone()));
        // The rule before may let it through to the origin without keeping it in the key.
        old.oneshot(request("GET", "/", &[])).await.unwrap();
        settle().await;
        let response = new.oneshot(request("GET", "/", &[])).await.unwrap();
        let outcome = response.extensions().get::<Outcome>().unwrap();
        assert_eq!(outcome.is_hit(), is_found, "{told}");
    }
}

#[test]
fn rules_that_cannot_work_are_refused() {
    let sized = |object_size| CachePolicy {
        limits: Limits { object_size: Some(object_size), ..Limits::default() },
        ..CachePolicy::default()
    };
    let edge = Edge::builder().capacity(8 << 20).policy(sized(1 << 16)).build().unwrap();
    for (policy, behavior, setting) in [
        (sized(0), None, "policy: limits.object_size"),
        (sized(1), Some(Behavior::new("a", sized(1))), "behavior \"a\""),
        (sized((1 << 16) + 1), None, "limits.object_size"),
    ] {
        assert_eq!(edge.reconfigured(policy, behavior).unwrap_err().setting(), setting);
    }
    assert!(edge.reconfigured(sized(1 << 16), []).is_ok());
}
