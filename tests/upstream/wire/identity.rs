//! An origin that lets nobody in whom it does not know.

use http::StatusCode;
use tower_edge::origin::upstream::{Identity, Tls};

use crate::support::{Certificate, Origin, ask, get, secure};

#[tokio::test]
async fn an_origin_that_asks_is_shown_who_the_edge_is() {
    let (site, edge, other) =
        (Certificate::of("localhost"), Certificate::of("edge"), Certificate::of("other"));
    for protocols in [&["h2"][..], &["http/1.1"]] {
        let origin = Origin::echo_behind(site.acceptor_for(&edge, protocols)).await;
        let as_one = |identity: Option<Identity>| {
            secure(&origin, &site).tls(Tls { identity, ..site.trusted() }).build().unwrap()
        };
        let answer = ask(&as_one(Some(edge.identity())), get("/")).await.unwrap();
        assert_eq!(answer.head.status, StatusCode::OK);
        assert!(answer.text.starts_with("sni: localhost\n"), "{}", answer.text);
        // With TLS 1.3 it may be the exchange that fails, when the origin has seen the certificate.
        ask(&as_one(None), get("/")).await.unwrap_err();
        ask(&as_one(Some(other.identity())), get("/")).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_key_of_another_certificate_is_a_wrong_setting() {
    let (one, other) = (Certificate::of("localhost"), Certificate::of("localhost"));
    let origin = Origin::echo().await;
    let mixed = Identity { key: other.identity().key, ..one.identity() };
    let builder = secure(&origin, &one).tls(Tls { identity: Some(mixed), ..one.trusted() });
    assert_eq!(builder.build().unwrap_err().setting(), "tls.identity.key");
    assert_eq!(format!("{:?}", one.identity()), "Identity { .. }", "no log has the key");
}
