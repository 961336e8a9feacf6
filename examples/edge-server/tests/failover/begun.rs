//! What becomes of a large body that has begun: a secondary with the same bytes under the same strong tag goes on with it.
//! How long a viewer has nothing to read meanwhile is printed.

use std::sync::LazyLock;
use std::time::Instant;

use crate::edge::{Answer, Edge, median, milliseconds};
use crate::primary::{Fault, Origin};
use crate::{PATIENCE, alone};

const LENGTH: usize = 8 << 20;
/// Every byte says where it is.
static FILM: LazyLock<Vec<u8>> = LazyLock::new(|| film(0x9e37_79b9_7f4a_7c15));
/// Where bodies stop: soon, within a piece, and with a byte to go.
const STOPS: [usize; 3] = [1, 3_145_729, LENGTH - 1];
const TAG: &str = "\"1\"";
/// How often each is measured.
const TIMES: usize = 3;
const SLICE: usize = 512 << 10;

fn film(of: u64) -> Vec<u8> {
    (0..LENGTH as u64).map(|at| (at.wrapping_mul(of) >> 56) as u8).collect()
}

/// The primary is never skipped, and a silent one not given up in this time.
fn edge(primary: &Origin, secondary: &Origin, between_bytes: &str) -> Edge {
    let group = format!(
        r#"
        failures = 0
        body-time = "300ms"
        [[behavior]]
        path = "/sliced/*"
        origin = "pair"
        slice = "{}KiB"
        "#,
        SLICE >> 10
    );
    Edge::before(&primary.address.to_string(), secondary.address, between_bytes, &group)
}

/// What is stored of it. Who collapsed with the fetch that ends meanwhile was no hit.
fn hit(edge: &Edge, path: &str, lines: &str) -> Answer {
    let since = Instant::now();
    loop {
        let answer = edge.ask(path, lines).answer();
        if answer.is_hit() {
            return answer;
        }
        assert!(since.elapsed() < PATIENCE, "{path} is not stored");
    }
}

/// Just these bytes.
fn assert_film(answer: &Answer, status: u16, bytes: &[u8], what: &str) {
    assert_eq!((answer.status, answer.whole, answer.body.len()), (status, true, bytes.len()), "{what}");
    if answer.body != bytes {
        let differs = answer.body.iter().zip(bytes).position(|(is, should_be)| is != should_be);
        panic!("{what}: other bytes from {differs:?} on");
    }
}

#[test]
fn a_body_that_has_begun_goes_on_from_the_secondary_and_is_stored_whole() {
    let _alone = alone();
    let (mut primary, secondary) = (Origin::with(&FILM, Some(TAG)), Origin::with(&FILM, Some(TAG)));
    let edge = edge(&primary, &secondary, "1h");
    let well = median((0..TIMES).map(|_| edge.miss().took).collect());
    assert_eq!((primary.asked(), secondary.asked()), (TIMES, 0));
    let [soon, within, late] = STOPS;
    println!("a miss of {} MiB {:15.1} ms, and before byte", LENGTH >> 20, milliseconds(well));
    println!("{:<22}{soon:>12} {within:>12} {late:>12}", "");

    for fault in ["closed in the body", "reset in the body", "killed in the body", "hung in the body"] {
        print!("{fault:<22}");
        for stop in STOPS {
            let what = format!("{fault}, {stop}");
            let added = (0..TIMES).map(|_| {
                primary.set(match fault {
                    "closed in the body" => Fault::CloseInBody(stop),
                    "reset in the body" => Fault::ResetInBody(stop),
                    _ => Fault::HangInBody(stop),
                });
                let asked = (primary.asked(), secondary.asked());
                let page = edge.new_page();
                let mut viewer = edge.ask(&format!("/{page}"), "");
                viewer.wait_for(stop);
                let stopped = Instant::now();
                match fault {
                    "reset in the body" => primary.go_on(),
                    "killed in the body" => primary.kill(),
                    _ => {}
                }
                viewer.wait_for(stop + 1);
                let added = stopped.elapsed();
                let answer = viewer.answer();
                assert!(!answer.is_hit(), "{what}");
                assert_film(&answer, 200, &FILM, &what);
                assert_eq!(secondary.ranges(asked.1), [format!("bytes={stop}-{}", LENGTH - 1)], "{what}");

                assert_film(&hit(&edge, &format!("/{page}"), ""), 200, &FILM, &what);
                assert_eq!((primary.asked(), secondary.asked()), (asked.0 + 1, asked.1 + 1), "{what}");
                if fault == "killed in the body" {
                    primary.revive();
                }
                added
            });
            print!("{:9.1} ms ", milliseconds(median(added.collect())));
        }
        println!();
    }
}

#[test]
fn so_does_a_part_of_one() {
    let _alone = alone();
    let (primary, secondary) = (Origin::with(&FILM, Some(TAG)), Origin::with(&FILM, Some(TAG)));
    let edge = edge(&primary, &secondary, "1h");
    let (first, stop) = (1_000_001, STOPS[1]);
    let part = &FILM[first..7_000_000];
    let lines = format!("Range: bytes={first}-6999999\r\n");
    for fault in [Fault::CloseInBody(stop), Fault::HangInBody(stop)] {
        // A body of which a part is wanted is fetched whole; slices are parts for the origins, too.
        for (folder, last) in [("", LENGTH - 1), ("/sliced", stop / SLICE * SLICE + SLICE - 1)] {
            primary.set(fault);
            let asked = secondary.asked();
            let (page, what) = (format!("{folder}/{}", edge.new_page()), format!("{fault:?}, {folder}"));
            let answer = edge.ask(&page, &lines).answer();
            assert_film(&answer, 206, part, &what);
            let ranges = secondary.ranges(asked);
            assert!(ranges.contains(&format!("bytes={stop}-{last}")), "{what}: {ranges:?}");

            assert_film(&hit(&edge, &page, &lines), 206, part, &what);
            assert_film(&edge.ask(&page, "").answer(), 200, &FILM, &what);
        }
    }
}

#[test]
fn so_does_the_part_that_a_viewer_has_from_the_origin_itself() {
    let _alone = alone();
    let (primary, secondary) = (Origin::with(&FILM, Some(TAG)), Origin::with(&FILM, Some(TAG)));
    let edge = edge(&primary, &secondary, "1h");
    let (first, last) = (1_000_001, 6_999_999);
    let asked_for = format!("bytes={first}-{last}");
    // With its first byte, within it, and with its last to go.
    for stop in [first + 1, STOPS[1], last] {
        for fault in [Fault::CloseInBody(stop), Fault::HangInBody(stop), Fault::ResetInBody(stop)] {
            // With the second, too, it is a part of this film alone.
            for condition in ["", "If-Range: \"1\"\r\n"] {
                let what = format!("{fault:?}, {condition:?}");
                primary.set(fault);
                let asked = (primary.asked(), secondary.asked());
                let page = edge.new_page();
                // What is not to be stored is asked for as the viewer asks.
                let lines = format!("Cache-Control: no-store\r\nRange: {asked_for}\r\n{condition}");
                let mut viewer = edge.ask(&format!("/{page}"), &lines);
                viewer.wait_for(stop - first);
                primary.go_on();
                let answer = viewer.answer();
                assert_film(&answer, 206, &FILM[first..=last], &what);
                assert!(answer.has(&format!("content-range: bytes {first}-{last}/{LENGTH}")), "{what}");
                assert_eq!(primary.ranges(asked.0), [asked_for.as_str()], "{what}");
                assert_eq!(secondary.ranges(asked.1), [format!("bytes={stop}-{last}")], "{what}");

                primary.set(Fault::None);
                let again = edge.get(page);
                assert!(!again.is_hit(), "{what}: it is stored");
                assert_film(&again, 200, &FILM, &what);
            }
        }
    }
}

#[test]
fn what_cannot_be_told_to_be_the_same_is_an_error_and_not_stored() {
    let _alone = alone();
    static OTHER: LazyLock<Vec<u8>> = LazyLock::new(|| film(0xbf58_476d_1ce4_e5b9));
    const WEAK: &str = "W/\"1\"";
    let stop = STOPS[1];
    for (why, tag, theirs) in [
        ("another tag", Some(TAG), Some("\"2\"")),
        ("the same, and weak", Some(WEAK), Some(WEAK)),
        ("theirs is weak", Some(TAG), Some(WEAK)),
        ("none", None, None),
    ] {
        let (primary, secondary) = (Origin::with(&FILM, tag), Origin::with(&OTHER, theirs));
        let edge = edge(&primary, &secondary, "500ms");
        for fault in [Fault::CloseInBody(stop), Fault::HangInBody(stop)] {
            primary.set(fault);
            let page = edge.new_page();
            let answer = edge.get(page);
            let what = format!("{why}, {fault:?}");
            assert_eq!((answer.status, answer.whole), (200, false), "{what}");
            assert!(FILM[..stop].starts_with(&answer.body), "{what}");

            primary.set(Fault::None);
            let again = edge.get(page);
            assert!(!again.is_hit(), "{what}: it is stored");
            assert_film(&again, 200, &FILM, &what);
        }
    }
}
