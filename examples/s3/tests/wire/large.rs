//! An object of 256 MiB, each way.

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use crate::support::Site;

const FRAME: usize = 64 * 1024;
const FRAMES: usize = 4096;
/// What the edge may take, in MiB: the 72 MiB of an upload, as much again for what is on its way through buffers and for what
/// the allocator keeps.
const MOST: u64 = 144;

/// Each frame begins with its number, so that none can be missing or in the place of another.
fn frame(number: usize) -> Bytes {
    let mut frame = vec![b'x'; FRAME];
    frame[..8].copy_from_slice(&(number as u64).to_be_bytes());
    frame.into()
}

pub(crate) async fn passes_in_little_memory(site: &Site) {
    let before = site.peak_memory();
    let frames = stream::iter((0..FRAMES).map(|number| Ok(Frame::data(frame(number)))));
    let length = (FRAME * FRAMES).to_string();
    let body = BodyExt::boxed(StreamBody::new(frames));
    let stored = site.send("PUT", "/large", &[("content-length", &length)], body).await;
    assert_eq!(stored.status(), 200);
    let up = site.peak_memory();

    let answer = site
        .send("GET", "/large", &[], http_body_util::Empty::new().map_err(|never| match never {}).boxed())
        .await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["etag"]), (200, &stored.headers()["etag"]));
    let mut body = answer.into_body();
    let (mut at, mut wanted) = (0, frame(0));
    while let Some(frame_read) = body.frame().await {
        let Ok(mut data) = frame_read.unwrap().into_data() else { continue };
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(wanted.len()));
            assert!(piece == wanted.split_to(piece.len()), "another byte in frame {at}");
            if wanted.is_empty() {
                at += 1;
                wanted = frame(at);
            }
        }
    }
    assert_eq!((at, wanted.len()), (FRAMES, FRAME));
    let down = site.peak_memory();
    println!("256 MiB: {before} MiB before, at most {up} MiB once it was up, {down} MiB once it was down");
    assert!(up.max(down) < MOST, "{before} MiB, then {up} MiB, then {down} MiB");
}
