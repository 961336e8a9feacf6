//! What an operator is told of the objects stored for a URL.

use std::time::Duration;

use tower_edge::{CachePolicy, CustomKey, Invalidation, KeyPolicy, Limits, Select};

use crate::support::{Origin, World, response};

const URL: &str = "http://site.example/page";

#[tokio::test(start_paused = true)]
async fn a_stored_object_is_described() {
    let world = World::new(Origin::numbered(&[
        ("cache-control", "max-age=60"),
        ("etag", "\"v\""),
        ("cache-tag", "News, front"),
        ("cache-groups", "\"G 1\""),
    ]));
    assert_eq!(world.edge.objects(URL).await.unwrap(), []);
    world.get("/page").await;
    world.get("/page?q").await;
    world.pass_seconds(7);
    let objects = world.edge.objects(URL).await.unwrap();
    let [object] = &objects[..] else { panic!("{objects:?}") };
    assert_eq!((object.status.as_u16(), object.age, object.ttl), (200, Duration::from_secs(7), 53));
    assert_eq!((object.length, object.range.clone(), object.is_whole()), (8, 0..8, true));
    assert_eq!(
        (&object.tags[..], &object.groups[..]),
        (&["news".into(), "front".into()][..], &["G 1".into()][..])
    );
    assert_eq!(object.headers["etag"], "\"v\"");
    for absent in ["cache-tag", "age", "cache-status"] {
        assert!(!object.headers.contains_key(absent), "{absent}");
    }
    assert!(object.vary.is_empty() && object.key_fields.is_empty() && object.key_parts.is_empty());
    let other = world.edge.objects("HTTP://Site.Example:80/page?q").await.unwrap();
    // The rest of what the store holds are the keys.
    let keys = world.edge.stats().bytes - object.weight - other[0].weight;
    assert!((40..100).contains(&keys), "{keys}");
    for wrong in ["/page", "site.example/page", "ftp://site.example/", ""] {
        assert_eq!(world.edge.objects(wrong).await.unwrap_err().position(), 0, "{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_variant_is_listed_with_what_it_was_chosen_by() {
    let world =
        World::new(Origin::numbered(&[("cache-control", "max-age=60"), ("vary", "accept-language, x-a")]));
    for language in ["de", "fr"] {
        world.get_with("/page", &[("accept-language", language)]).await;
    }
    let objects = world.edge.objects(URL).await.unwrap();
    let chosen: Vec<_> = objects
        .iter()
        .map(|object| {
            let value =
                |(name, value): &(http::HeaderName, Option<http::HeaderValue>)| format!("{name}={value:?}");
            object.vary.iter().map(value).collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(chosen, ["accept-language=Some(\"fr\") x-a=None", "accept-language=Some(\"de\") x-a=None"]);
}

#[tokio::test(start_paused = true)]
async fn every_key_of_a_url_is_found() {
    let key = KeyPolicy {
        query: Select::AllBut(vec!["utm".into()]),
        headers: Some(Select::Only(vec!["x-device".into()])),
        cookies: Some(Select::Only(vec!["ab".into()])),
        custom: Some(CustomKey::new(|parts| Some(vec![parts.headers.get("x-c")?.as_bytes().to_vec()]))),
    };
    let headers = Some(Select::Only(vec!["x-device".into(), "x-c".into()]));
    let policy = CachePolicy { key: KeyPolicy { headers, ..key }, ..CachePolicy::default() };
    let world = World::with_policy(Origin::numbered(&[("cache-control", "max-age=60")]), policy);
    for device in ["phone", "tv"] {
        let lines =
            [("x-device", device), ("cookie", "ab=1; sid=2"), ("x-c", "part"), ("x-forwarded-host", "h")];
        world.get_with("/page?utm=9", &lines).await;
        world.get_with("/other", &lines).await;
    }
    // By its full URL, too: that parameter is no part of any key.
    for url in [URL, "http://site.example/page?utm=1"] {
        let mut objects = world.edge.objects(url).await.unwrap();
        objects.sort_by_key(|object| format!("{:?}", object.key_fields));
        assert_eq!(objects.len(), 2, "{url}");
        for (object, device) in objects.iter().zip(["phone", "tv"]) {
            let fields: Vec<_> =
                object.key_fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            let expected: [(&str, &[u8]); 4] = [
                ("x-forwarded-host", b"h"),
                ("x-c", b"part"),
                ("x-device", device.as_bytes()),
                ("cookie", b"ab=1"),
            ];
            assert_eq!(fields, expected);
            assert_eq!(object.key_parts, [b"part"]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_invalidated_is_not_listed_though_it_is_not_swept() {
    let world = World::new(Origin::numbered(&[("cache-control", "max-age=60"), ("cache-tag", "t")]));
    world.get("/page").await;
    world.pass_seconds(1);
    let invalidate = |invalidation| world.edge.invalidator().invalidate(invalidation).unwrap();
    invalidate(Invalidation::tags(["t"]).unwrap().soft());
    let objects = world.edge.objects(URL).await.unwrap();
    assert!(objects[0].softly_invalidated && objects[0].ttl <= 0, "{objects:?}");
    assert_eq!(objects[0].age, Duration::from_secs(1));
    invalidate(Invalidation::tags(["t"]).unwrap());
    // No other task has run since.
    assert_eq!(world.edge.stats().objects, 1);
    assert_eq!(world.edge.objects(URL).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_part_says_which_bytes_are_held() {
    let origin = Origin::new(|seen| async move {
        let headers =
            [("cache-control", "max-age=60"), ("etag", "\"v\""), ("content-range", "bytes 4-7/20000")];
        Ok(match seen.headers.get("range") {
            Some(_) => response(206, &headers, "4567"),
            None => response(200, &headers[..2], vec![b'x'; 20_000]),
        })
    });
    let limits = Limits { object_size: Some(10_000), ..Limits::default() };
    let world = World::with_policy(origin, CachePolicy { limits, ..CachePolicy::default() });
    // The first is asked for whole, and found too large.
    for _ in 0..2 {
        world.get_with("/page", &[("range", "bytes=4-7")]).await;
    }
    let objects = world.edge.objects(URL).await.unwrap();
    let [object] = &objects[..] else { panic!("{objects:?}") };
    assert_eq!((object.range.clone(), object.length, object.is_whole()), (4..8, 20_000, false));
}

#[tokio::test(start_paused = true)]
async fn looking_at_an_object_does_not_keep_it() {
    let headers = [("cache-control", "max-age=60")];
    for (looks, uses) in [(true, false), (false, true)] {
        let origin = Origin::new(move |_| async move { Ok(response(200, &headers, vec![b'x'; 8 << 10])) });
        let world = World::with(origin, |edge| edge.capacity(256 << 10));
        // What comes into an empty store may stay there long.
        for n in 0..100 {
            world.get(&format!("/before/{n}")).await;
        }
        world.get("/page").await;
        for n in 0..200 {
            if looks {
                world.edge.objects(URL).await.unwrap();
            }
            if uses {
                world.get("/page").await;
            }
            world.get(&format!("/{n}")).await;
        }
        let kept = !world.edge.objects(URL).await.unwrap().is_empty();
        assert_eq!(kept, uses);
    }
}
