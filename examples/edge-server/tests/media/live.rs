//! A live stream, as it happens: ffmpeg makes it, nginx has it, the edge brings it to many.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::Client;
use crate::processes::{Edge, Logged, Nginx, Process};

const VIEWERS: usize = 200;
const TIME: Duration = Duration::from_secs(20);
const SEGMENT: Duration = Duration::from_secs(2);
/// Each of them looks for something new this often.
const LOOK: Duration = Duration::from_millis(250);

/// When the whole of each segment was there, by number, and a hash of it.
type Seen = BTreeMap<u32, (Instant, u64)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs ffmpeg and nginx: tests/all.sh runs it"]
async fn two_hundred_viewers_follow_a_live_stream_that_the_origin_sends_once() {
    for flags in [&["--preset", "hls"][..], &["--preset", "hls", "--prefetch", "1"]] {
        let mut nginx = Nginx::start();
        let _camera = camera(&nginx);
        let edge = Edge::before(nginx.address, flags);

        let begin = Instant::now();
        let end = begin + TIME;
        let direct = tokio::spawn(follow(nginx.address, "?direct", end));
        let mut viewers = JoinSet::new();
        for viewer in 0..VIEWERS {
            let address = edge.address;
            viewers.spawn(async move {
                // Not all at once, as nobody does.
                sleep(LOOK * viewer as u32 / VIEWERS as u32).await;
                follow(address, "", end).await
            });
        }
        let viewers: Vec<Seen> = viewers.join_all().await;
        let direct = direct.await.unwrap();
        // Everything that is on its way has come by then.
        let log: Vec<Logged> =
            nginx.stop("access.log").into_iter().filter(|logged| !logged.target.contains("direct")).collect();

        assert!(direct.len() >= 8, "the camera ran: {}", direct.len());
        let mut delays = Vec::new();
        for seen in &viewers {
            assert!(seen.len() + 2 >= direct.len(), "{:?} of {:?}", seen.keys(), direct.keys());
            for (before, after) in seen.keys().zip(seen.keys().skip(1)) {
                assert_eq!(before + 1, *after, "none is missed");
            }
            for (number, (at, hash)) in seen {
                if let Some((direct_at, direct_hash)) = direct.get(number) {
                    assert_eq!(hash, direct_hash, "segment {number}");
                    delays.push(at.saturating_duration_since(*direct_at));
                }
            }
        }
        delays.sort();
        let (segments, playlists) = asked(&log);
        let (worst, median) = (delays[delays.len() - 1], delays[delays.len() / 2]);
        println!(
            "{flags:?}: {VIEWERS} viewers, {} segments each asked for {:?} times, the playlist {playlists} times in {TIME:?}; \
             later than without the edge: {median:?} at the median, {worst:?} at most",
            segments.len(),
            segments.values().max().unwrap(),
        );
        assert!(segments.values().all(|times| *times == 1), "{segments:?}");
        assert!(playlists <= TIME.as_secs() as usize + 2, "once a lifetime, which is a second: {playlists}");
        assert!(worst < SEGMENT, "{worst:?}");
    }
}

/// Writes a live playlist as time goes by.
fn camera(nginx: &Nginx) -> Process {
    let files = nginx.files();
    let camera = Process::start(
        Command::new("ffmpeg")
            .args("-hide_banner -nostdin -loglevel error -y -re".split(' '))
            .args("-f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=sample_rate=48000".split(' '))
            .args("-c:v libx264 -preset ultrafast -tune zerolatency -g 50 -c:a aac".split(' '))
            .args("-f hls -hls_time 2 -hls_list_size 6 -hls_flags delete_segments+temp_file".split(' '))
            .arg("-hls_segment_filename")
            .arg(files.join("%05d.ts"))
            .arg(files.join("live.m3u8")),
    );
    let deadline = Instant::now() + Duration::from_secs(30);
    while !fs::read_to_string(files.join("live.m3u8")).is_ok_and(|text| text.contains("00001.ts")) {
        assert!(Instant::now() < deadline, "ffmpeg writes no playlist");
        std::thread::sleep(Duration::from_millis(50));
    }
    camera
}

/// A viewer: begins with the last segment there is, and takes each that comes after, once.
async fn follow(address: SocketAddr, query: &str, end: Instant) -> Seen {
    let client = Client::new(address);
    let mut seen = Seen::new();
    let mut newest = 0;
    while Instant::now() < end {
        let playlist = client.get(&format!("/live.m3u8{query}"), &[]).await;
        assert_eq!(playlist.status(), 200);
        let text = std::str::from_utf8(playlist.body()).unwrap();
        let listed: Vec<u32> =
            text.lines().filter_map(|line| line.strip_suffix(".ts")?.parse().ok()).collect();
        let last_listed = listed[listed.len() - 1];
        assert!(last_listed >= newest, "a playlist older than one before: {last_listed} after {newest}");
        newest = last_listed;
        let last = seen.keys().next_back().copied();
        let new = match last {
            None => listed[listed.len() - 1..].to_vec(),
            Some(last) => listed.into_iter().filter(|number| *number > last).collect(),
        };
        for number in new {
            let segment = client.get(&format!("/{number:05}.ts{query}"), &[]).await;
            assert_eq!(segment.status(), 200, "segment {number}");
            let mut hasher = DefaultHasher::new();
            segment.body().hash(&mut hasher);
            let repeated = seen.insert(number, (Instant::now(), hasher.finish()));
            assert!(repeated.is_none(), "segment {number} came twice");
        }
        sleep(LOOK).await;
    }
    seen
}

/// How often the origin was asked for each segment, and for the playlist.
fn asked(log: &[Logged]) -> (HashMap<&str, usize>, usize) {
    let (playlists, segments): (Vec<_>, Vec<_>) =
        log.iter().partition(|logged| logged.target.ends_with(".m3u8"));
    let mut times = HashMap::new();
    for segment in segments {
        assert_eq!(segment.status, 200, "{}", segment.target);
        *times.entry(segment.target.as_str()).or_default() += 1;
    }
    (times, playlists.len())
}
