//! Video: ready-made rules and what is fetched ahead, by flags and by a file.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Edge, origin};

const PATIENCE: Duration = Duration::from_secs(20);

type Asked = Arc<Mutex<Vec<String>>>;

/// An origin that says its name and what it was asked, but for the playlist. Nothing says how long it lives.
fn named(name: &'static str, asked: &Asked) -> SocketAddr {
    let asked = Arc::clone(asked);
    origin(move |head, mut stream| {
        let target = head.split(' ').nth(1).unwrap();
        asked.lock().unwrap().push(format!("{name} {target}"));
        let body = match target {
            "/index.m3u8" => "#EXTM3U\n#EXTINF:2,\n1.ts\n#EXTINF:2,\n/live/ads/2.ts\n".to_owned(),
            _ => format!("{name} {target}"),
        };
        let length = body.len();
        // The edge may have gone away.
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\nLast-Modified: Thu, 01 Jan 2015 00:00:00 GMT\r\n\r\n{body}"
        );
    })
}

fn ttl(answer: &str) -> Option<u32> {
    let (_, ttl) = answer.split_once("hit; ttl=")?;
    ttl.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[test]
fn flags_make_rules_for_playlists_and_segments() {
    let url = format!("http://{}", named("a", &Asked::default()));
    for (flags, playlist, segment) in [
        (&["--preset", "hls"][..], 1, 3_600),
        (&["--preset", "dash"], 86_400, 3_600),
        (&["--preset", "hls", "--ttl", "60s"], 1, 60),
        (&[], 86_400, 86_400),
    ] {
        let edge = Edge::start(&[&["--origin", url.as_str()], flags].concat());
        for (path, longest) in [("/index.m3u8", playlist), ("/1.ts", segment)] {
            edge.get(path, "");
            let second = edge.get(path, "").to_ascii_lowercase();
            let ttl = ttl(&second).unwrap_or_else(|| panic!("{flags:?} {path}: {second}"));
            assert!(ttl + 30 > longest && ttl <= longest, "{flags:?} {path}: {ttl}");
        }
    }
}

#[cfg(unix)]
#[test]
fn what_is_fetched_ahead_comes_from_the_origin_of_its_own_path() {
    use crate::configured::{Configured, Folder, LISTENER, catch_all, upstream};

    let asked = Asked::default();
    let text = [
        &upstream("a", named("a", &asked)),
        &upstream("b", named("b", &asked)),
        LISTENER,
        "[[behavior]]\npath = \"/live/ads/*\"\norigin = \"b\"\nstrip-prefix = \"/live/ads\"\npreset = \"hls\"\n",
        "[[behavior]]\npath = \"/live/*\"\norigin = \"a\"\nstrip-prefix = \"/live\"\npreset = \"hls\"\nprefetch = 2\n",
        &catch_all("a"),
    ]
    .concat();
    let edge = Configured::start(Folder::new("ahead"), 1, &text);
    assert!(edge.get("/live/index.m3u8").contains("#EXTM3U"));
    for (path, expected) in [("/live/1.ts", "a /1.ts"), ("/live/ads/2.ts", "b /2.ts")] {
        let start = Instant::now();
        while !asked.lock().unwrap().contains(&expected.to_owned()) {
            assert!(start.elapsed() < PATIENCE, "nobody was asked for {path}: {:?}", asked.lock().unwrap());
            thread::sleep(Duration::from_millis(2));
        }
        let answer = edge.get(path);
        assert!(answer.ends_with(expected), "{answer}");
        assert!(answer.contains("; hit") || answer.contains("; collapsed"), "{answer}");
    }
    assert_eq!(asked.lock().unwrap().len(), 3);
}
