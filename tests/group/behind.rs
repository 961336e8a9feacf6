//! A group behind an edge.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt};
use tower_edge::origin::{Group, GroupPolicy, Member};
use tower_edge::{CachePolicy, Edge, Outcome, Ttl};

use crate::support::{Act, Origin};

#[tokio::test(start_paused = true)]
async fn what_the_secondary_answers_is_stored_and_says_so() {
    let (eu, us) = (Origin::new("eu", Act::Refuse), Origin::new("us", Act::Answer(200)));
    let members = [Member::new("eu", eu.clone()), Member::new("us", us.clone())];
    let policy = GroupPolicy { proxy_status: Some("fra-1".to_owned()), ..GroupPolicy::default() };
    let group = Group::new(members, policy).unwrap();

    let ttl = Ttl { default: Some(std::time::Duration::from_secs(60)), ..Ttl::default() };
    let edge =
        Edge::builder().outcomes(true).policy(CachePolicy { ttl, ..CachePolicy::default() }).build().unwrap();
    let site = edge.layer().layer(group);
    for is_hit in [false, true] {
        let request = Request::get("http://site/").body(Full::<Bytes>::default()).unwrap();
        let response = site.clone().oneshot(request).await.unwrap();
        assert_eq!(response.extensions().get::<Outcome>().map(Outcome::is_hit), Some(is_hit));
        assert_eq!(response.headers()["proxy-status"], "fra-1; next-hop=us");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "us");
    }
    assert_eq!((eu.asked(), us.asked()), (1, 1));
}
