//! Viewers who ask for the same in other words share an answer, and the origin hears the words that were compared.

use http::HeaderValue;
use tower_edge::{CachePolicy, KeyPolicy, Normalise, Select};

use crate::support::{Origin, World};

type Lines = &'static [(&'static str, &'static str)];

const NEGOTIATED: Lines = &[("cache-control", "max-age=60"), ("vary", "accept-encoding, accept-language")];
const OFF: Normalise = Normalise { accept_encoding: false, accept_language: false };

/// The lines of a field that the origin saw last.
fn seen(world: &World, name: &str) -> Vec<String> {
    let seen = world.origin.seen().pop().expect("the origin was asked");
    let text = |line: &HeaderValue| line.to_str().expect("text").to_owned();
    seen.headers.get_all(name).iter().map(text).collect()
}

#[tokio::test]
async fn spellings_of_one_wish_share_an_answer() {
    let world = World::new(Origin::numbered(NEGOTIATED));
    let first = [("accept-encoding", "gzip, br"), ("accept-language", "de;q=0.5, en")];
    world.get_with("/a", &first).await;
    for (lines, hit) in [
        (&first[..], true),
        (&[("accept-encoding", "br,gzip"), ("accept-language", "en,de;q=0.5")], true),
        (
            &[
                ("accept-encoding", "BR"),
                ("accept-encoding", "gzip;q=1.0"),
                ("accept-language", "EN, de;q=0.500"),
            ],
            true,
        ),
        (&[("accept-encoding", "gzip"), ("accept-language", "en,de;q=0.5")], false),
        (&[("accept-encoding", "br,gzip"), ("accept-language", "en;q=0.5,de")], false),
        (&[("accept-encoding", "br,gzip")], false),
    ] {
        assert_eq!(world.get_with("/a", lines).await.is_hit(), hit, "{lines:?}");
    }
}

#[tokio::test]
async fn every_request_that_goes_forward_is_in_the_form_that_is_compared() {
    let raw = [("accept-encoding", "gzip"), ("accept-encoding", "Br;q=1.000"), ("accept-language", "en, de")];
    for (origin, extra, requests) in [
        // A fill, also for a viewer with a condition or a range of their own.
        (NEGOTIATED, None, 1),
        (NEGOTIATED, Some(("range", "bytes=0-1")), 1),
        (NEGOTIATED, Some(("if-none-match", "\"x\"")), 1),
        // A viewer who wants nothing stored, and the second one for an answer that cannot be.
        (NEGOTIATED, Some(("cache-control", "no-store")), 1),
        (&[("cache-control", "no-store")], None, 2),
    ] {
        let world = World::new(Origin::numbered(origin));
        let lines: Vec<_> = raw.into_iter().chain(extra).collect();
        for _ in 0..requests {
            world.get_with("/a", &lines).await;
        }
        assert_eq!(world.origin.asked(), requests);
        assert_eq!(seen(&world, "accept-encoding"), ["br,gzip"], "{extra:?}");
        assert_eq!(seen(&world, "accept-language"), ["de,en"], "{extra:?}");
    }
}

#[tokio::test]
async fn a_field_the_policy_leaves_alone_is_forwarded_and_compared_in_its_order() {
    let policy = CachePolicy { normalise: OFF, ..CachePolicy::default() };
    let world = World::with_policy(Origin::numbered(NEGOTIATED), policy);
    let lines = |encoding, language| [("accept-encoding", encoding), ("accept-language", language)];
    world.get_with("/a", &lines("gzip, br", "en, de")).await;
    assert_eq!(seen(&world, "accept-encoding"), ["gzip, br"]);
    assert_eq!(seen(&world, "accept-language"), ["en, de"]);
    assert!(world.get_with("/a", &lines("gzip,br", "en,de")).await.is_hit());
    assert!(!world.get_with("/a", &lines("br, gzip", "en, de")).await.is_hit());
    assert!(!world.get_with("/a", &lines("gzip, br", "de, en")).await.is_hit());
}

#[tokio::test]
async fn a_key_that_holds_the_field_holds_its_normal_form() {
    for (normalise, hit) in [(Normalise::default(), true), (OFF, false)] {
        let headers = Some(Select::Only(vec!["accept-language".into()]));
        let key = KeyPolicy { headers, ..KeyPolicy::default() };
        let policy = CachePolicy { key, normalise, ..CachePolicy::default() };
        let world = World::with_policy(Origin::numbered(&[("cache-control", "max-age=60")]), policy);
        world.get_with("/a", &[("accept-language", "en, de")]).await;
        assert_eq!(world.get_with("/a", &[("accept-language", "de,EN")]).await.is_hit(), hit);
        assert!(!world.get_with("/a", &[("accept-language", "de")]).await.is_hit());
    }
}
