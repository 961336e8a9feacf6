//! Recorded video, as a player has it: frame by frame the same as from the origin.

use crate::processes::{Edge, Nginx, ffmpeg};

/// Seconds of the clip, and frames a second.
const LENGTH: u32 = 30;
const RATE: u32 = 25;

/// The hash of every decoded frame, of picture and sound.
fn frames(url: &str, seek: Option<u32>, count: Option<u32>) -> Vec<String> {
    let (seek, count) = (seek.map(|at| at.to_string()), count.map(|count| count.to_string()));
    let mut arguments = Vec::new();
    arguments.extend(seek.iter().flat_map(|at| ["-ss", at]));
    arguments.extend(["-i", url]);
    arguments.extend(count.iter().flat_map(|count| ["-map", "0:v", "-frames:v", count]));
    arguments.extend(["-f", "framemd5", "-"]);
    ffmpeg(&arguments).lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// A clip as a file with its index in front, in fragments, and as HLS.
fn clip(nginx: &Nginx) {
    let path = |name: &str| nginx.files().join(name).to_str().unwrap().to_owned();
    let (file, fragments, playlist) = (path("clip.mp4"), path("fragments.mp4"), path("index.m3u8"));
    let picture = format!("testsrc2=size=640x360:rate={RATE}:duration={LENGTH}");
    let sound = format!("sine=frequency=440:sample_rate=48000:duration={LENGTH}");
    let coded = "-c:v libx264 -preset ultrafast -crf 12 -g 50 -keyint_min 50 -sc_threshold 0 -c:a aac";
    let mut arguments = vec!["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &sound];
    arguments.extend(coded.split(' '));
    arguments.extend(["-movflags", "+faststart", &file]);
    ffmpeg(&arguments);
    ffmpeg(&[
        "-i",
        &file,
        "-c",
        "copy",
        "-movflags",
        "+frag_keyframe+empty_moov+default_base_moof",
        &fragments,
    ]);
    let hls = "-c copy -f hls -hls_time 2 -hls_playlist_type vod";
    let mut arguments = vec!["-i", &file];
    arguments.extend(hls.split(' '));
    arguments.push(&playlist);
    ffmpeg(&arguments);
}

#[test]
#[ignore = "needs ffmpeg and nginx: tests/all.sh runs it"]
fn what_is_played_through_the_edge_is_frame_by_frame_the_same() {
    let nginx = Nginx::start();
    clip(&nginx);
    let edge = Edge::before(nginx.address, &["--preset", "hls", "--prefetch", "2"]);
    for name in ["clip.mp4", "fragments.mp4", "index.m3u8"] {
        let direct = frames(&format!("http://{}/{name}", nginx.address), None, None);
        let pictures = direct.iter().filter(|line| line.starts_with("0,")).count();
        assert_eq!(pictures as u32, LENGTH * RATE, "{name}");
        for pass in ["cold", "warm"] {
            let through = frames(&format!("http://{}/{name}", edge.address), None, None);
            assert!(through == direct, "{name}, {pass}: {} frames of {}", through.len(), direct.len());
        }
        for at in [7, 29, 1] {
            let direct = frames(&format!("http://{}/{name}", nginx.address), Some(at), Some(10));
            let through = frames(&format!("http://{}/{name}", edge.address), Some(at), Some(10));
            assert!(
                direct.len() == 10 && through == direct,
                "{name} from second {at}: {direct:?} {through:?}"
            );
        }
        println!("{name}: {} frames of picture and sound are the same", direct.len());
    }
}

#[test]
#[ignore = "needs ffmpeg and nginx: tests/all.sh runs it"]
fn a_seek_takes_a_small_part_of_the_file_from_the_origin() {
    let nginx = Nginx::start();
    // Large, since the sockets alone take some MiB that the player then does not read; and not too large to be kept whole.
    let file = nginx.files().join("clip.mp4");
    let picture = format!("testsrc2=size=640x360:rate={RATE}:duration={LENGTH},noise=alls=30:allf=t");
    let coded = "-c:v mjpeg -q:v 6 -pix_fmt yuvj420p -movflags +faststart";
    let mut arguments = vec!["-f", "lavfi", "-i", &picture];
    arguments.extend(coded.split(' '));
    arguments.push(file.to_str().unwrap());
    ffmpeg(&arguments);
    let size = std::fs::metadata(&file).unwrap().len();
    let direct =
        |name: &str, at| frames(&format!("http://{}/{name}?direct", nginx.address), Some(at), Some(10));
    let edge = Edge::before(nginx.address, &["--preset", "hls", "--slice", "256KiB"]);
    let mut before = 0;
    for at in [20, 5, 28] {
        let through = frames(&format!("http://{}/clip.mp4", edge.address), Some(at), Some(10));
        assert!(through == direct("clip.mp4", at), "from second {at}: {through:?}");
        let log = nginx.logged("access.log");
        let pulled: u64 =
            log.iter().filter(|logged| logged.target == "/clip.mp4").map(|logged| logged.bytes).sum();
        println!("from second {at}: {} of {size} bytes from the origin", pulled - before);
        assert!((pulled - before) * 3 < size, "from second {at}: {} of {size}", pulled - before);
        before = pulled;
    }
    assert!(before > 0);
}
