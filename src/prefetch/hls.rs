//! The segments a playlist lists (RFC 8216, and RFC 8216bis for parts).

use http::Uri;

use super::{MOST_LISTED, Manifest, Track, bytes_of};
use crate::semantics::writes::resolve;

/// More segments are not read.
const MOST: usize = 10_000;

/// What a media playlist at `base` lists. Nothing, if it is none; a list of playlists lists no segments.
///
/// Only what is on the origin of `base` is listed. A part of a file is not: its whole may be large.
///
/// ```
/// use tower_edge::prefetch::hls;
///
/// let playlist = "#EXTM3U\n#EXTINF:4,\n1.ts\n#EXTINF:4,\n2.ts\n";
/// let manifest = hls(&"http://a.example/live/index.m3u8".parse().expect("a URI"), playlist.as_bytes());
/// assert!(manifest.live);
/// assert_eq!(manifest.tracks[0].segments[1], "http://a.example/live/2.ts");
/// ```
pub fn hls(base: &Uri, playlist: &[u8]) -> Manifest {
    let Ok(text) = std::str::from_utf8(playlist) else { return Manifest::default() };
    let mut lines = text.lines().map(str::trim_end);
    if lines.next().map(|first| first.trim_start_matches('\u{feff}')) != Some("#EXTM3U") {
        return Manifest::default();
    }
    let (mut track, mut live) = (Track::default(), true);
    let mut listed = 0;
    // What the tags since the last URI say of the next.
    let (mut is_segment, mut is_part_of_file, mut is_gap) = (false, false, false);
    for line in lines {
        if track.segments.len() >= MOST || listed > MOST_LISTED {
            break;
        }
        let before = track.segments.len();
        let Some(tag) = line.strip_prefix('#') else {
            if !line.is_empty() {
                if is_segment && !is_part_of_file && !is_gap {
                    track.list(resolve(base, line));
                    listed += track.segments[before..].iter().map(bytes_of).sum::<usize>();
                }
                (is_segment, is_part_of_file, is_gap) = (false, false, false);
            }
            continue;
        };
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "EXTINF" => is_segment = true,
            "EXT-X-BYTERANGE" => is_part_of_file = true,
            "EXT-X-GAP" => is_gap = true,
            "EXT-X-ENDLIST" => live = false,
            "EXT-X-MAP" if attribute(value, "BYTERANGE").is_none() => {
                track.init = attribute(value, "URI").and_then(|uri| resolve(base, uri));
                track.list(track.init.clone());
            }
            "EXT-X-PART"
                if attribute(value, "BYTERANGE").is_none() && attribute(value, "GAP") != Some("YES") =>
            {
                track.list(attribute(value, "URI").and_then(|uri| resolve(base, uri)));
            }
            // The origin holds the request until the part is there (RFC 8216bis §6.2.2), and all who come share it.
            "EXT-X-PRELOAD-HINT" if attribute(value, "BYTERANGE-START").is_none() => {
                track.list(attribute(value, "URI").and_then(|uri| resolve(base, uri)));
            }
            _ => {}
        }
        listed += track.segments[before..].iter().map(bytes_of).sum::<usize>();
    }
    let tracks = if track.segments.is_empty() { Vec::new() } else { vec![track] };
    Manifest { live: live && !tracks.is_empty(), tracks }
}

impl Track {
    fn list(&mut self, uri: Option<Uri>) {
        if let Some(uri) = uri
            && self.segments.last() != Some(&uri)
        {
            self.segments.push(uri);
        }
    }
}

/// The value of an attribute, without quotes (RFC 8216 §4.2).
fn attribute<'a>(list: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = list;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        if name.trim() == wanted {
            return Some(value);
        }
        rest = after.strip_prefix(',')?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(playlist: &str) -> (bool, Option<String>, Vec<String>) {
        let base = "https://a.example/live/720/index.m3u8?token=x".parse().unwrap();
        let manifest = hls(&base, playlist.as_bytes());
        let track = manifest.tracks.into_iter().next().unwrap_or_default();
        let path = |uri: &Uri| {
            assert_eq!((uri.scheme_str(), uri.host()), (Some("https"), Some("a.example")));
            uri.path_and_query().unwrap().to_string()
        };
        (manifest.live, track.init.as_ref().map(path), track.segments.iter().map(path).collect())
    }

    #[test]
    fn a_live_playlist_as_ffmpeg_writes_it() {
        let playlist = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:41\n\
            #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:2.000000,\nseg41.m4s\n\
            #EXTINF:2.000000,\nseg42.m4s\n";
        let segments = ["/live/720/init.mp4", "/live/720/seg41.m4s", "/live/720/seg42.m4s"];
        let segments = segments.map(str::to_owned).to_vec();
        assert_eq!(listed(playlist), (true, Some("/live/720/init.mp4".to_owned()), segments.clone()));
        let windows = playlist.replace('\n', "\r\n");
        assert_eq!(listed(&windows).2, segments);
        let ended = format!("{playlist}#EXT-X-ENDLIST\n");
        assert!(!listed(&ended).0);
    }

    #[test]
    fn a_low_latency_playlist_lists_its_parts_and_what_comes_next() {
        // After the example of RFC 8216bis, appendix B.
        let playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.0\n\
            #EXT-X-PART-INF:PART-TARGET=0.33334\n#EXT-X-MEDIA-SEQUENCE:266\n\
            #EXTINF:4.00008,\nfileSequence271.mp4\n\
            #EXT-X-PART:DURATION=0.33334,URI=\"filePart272.a.mp4\",INDEPENDENT=YES\n\
            #EXT-X-PART:DURATION=0.33334,URI=\"filePart272.b.mp4\"\n\
            #EXT-X-PART:DURATION=0.33334,URI=\"all.mp4\",BYTERANGE=\"100@0\"\n\
            #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"filePart272.c.mp4\"\n\
            #EXT-X-RENDITION-REPORT:URI=\"../1M/waitForMSN.php\",LAST-MSN=273,LAST-PART=2\n";
        let expected = ["fileSequence271.mp4", "filePart272.a.mp4", "filePart272.b.mp4", "filePart272.c.mp4"];
        let expected = expected.map(|name| format!("/live/720/{name}")).to_vec();
        assert_eq!(listed(playlist), (true, None, expected));
    }

    #[test]
    fn references_are_resolved_and_other_origins_and_parts_of_files_left_out() {
        for (lines, expected) in [
            ("#EXTINF:2,\nseg.ts?sig=a%2Fb&n=1#t", &["/live/720/seg.ts?sig=a%2Fb&n=1"][..]),
            ("#EXTINF:2,\n../480/seg.ts", &["/live/480/seg.ts"]),
            ("#EXTINF:2,\n/seg.ts", &["/seg.ts"]),
            ("#EXTINF:2,\n?n=2", &["/live/720/index.m3u8?n=2"]),
            ("#EXTINF:2,\nhttps://a.example:443/seg.ts", &["/seg.ts"]),
            ("#EXTINF:2,\n//a.example/seg.ts", &["/seg.ts"]),
            ("#EXTINF:2,\nhttp://a.example/seg.ts", &[]),
            ("#EXTINF:2,\nhttps://b.example/seg.ts", &[]),
            ("#EXTINF:2,\nhttps://a.example:8443/seg.ts", &[]),
            ("#EXTINF:2,\ndata:video/mp4;base64,AAAA", &[]),
            ("#EXTINF:2,\n#EXT-X-BYTERANGE:100@0\nall.ts\n#EXTINF:2,\nseg.ts", &["/live/720/seg.ts"]),
            ("#EXT-X-MAP:URI=\"all.mp4\",BYTERANGE=\"700@0\"\n#EXTINF:2,\nseg.ts", &["/live/720/seg.ts"]),
            ("#EXTINF:2,\n#EXT-X-GAP\nlost.ts\n#EXTINF:2,\nseg.ts", &["/live/720/seg.ts"]),
            ("#EXT-X-KEY:METHOD=AES-128,URI=\"key\"\n#EXTINF:2,\nseg.ts", &["/live/720/seg.ts"]),
            ("#EXTINF:2,\nseg.ts\n#EXTINF:2,\nseg.ts", &["/live/720/seg.ts"]),
            ("# a comment\n\n#EXTINF:2,\nseg.ts", &["/live/720/seg.ts"]),
            ("#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"a,URI=b\"\n1/index.m3u8", &[]),
            ("#EXTINF:2,\nbroken seg.ts", &[]),
        ] {
            assert_eq!(listed(&format!("#EXTM3U\n{lines}\n")).2, expected, "{lines}");
        }
    }

    #[test]
    fn what_is_no_playlist_lists_nothing() {
        let base: Uri = "http://a.example/".parse().unwrap();
        for text in
            [&b""[..], b"#EXTM3", b"<html>", b"#EXTINF:2,\nseg.ts", b"#EXTM3U\n\xff\n#EXTINF:2,\na.ts"]
        {
            assert_eq!(hls(&base, text), Manifest::default());
        }
        let endless =
            format!("#EXTM3U\n{}", (0..20_000).map(|n| format!("#EXTINF:2,\n{n}.ts\n")).collect::<String>());
        assert_eq!(hls(&base, endless.as_bytes()).tracks[0].segments.len(), MOST);
        let long: Uri = format!("http://a.example/{}/index.m3u8", "a".repeat(60_000)).parse().unwrap();
        let listed = &hls(&long, endless.as_bytes()).tracks[0].segments;
        assert!((1..100).contains(&listed.len()), "{}", listed.len());
    }

    #[test]
    fn attributes_are_found_behind_quotes_and_commas() {
        let list = "TYPE=PART, CODECS=\"a,URI=wrong\",URI=\"right\",LAST=1";
        for (name, value) in
            [("TYPE", Some("PART")), ("URI", Some("right")), ("LAST", Some("1")), ("X", None)]
        {
            assert_eq!(attribute(list, name), value);
        }
        for broken in ["", "URI", "URI=\"x", "=,=", "a=\"b\"URI=\"c\""] {
            assert_eq!(attribute(broken, "URI"), None, "{broken}");
        }
    }
}
