//! A film of sixteen seconds, as one MP4 and as HLS, and the page that plays both. `film/make.sh` made it.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::Site;
use super::answers::Document;

macro_rules! files {
    ($($name:literal: $media_type:literal),* $(,)?) => {
        [$(($name, $media_type, include_bytes!(concat!("film/", $name)).as_slice())),*]
    };
}

static FILES: [(&str, &str, &[u8]); 11] = files![
    "film.mp4": "video/mp4",
    "index.m3u8": "application/vnd.apple.mpegurl",
    "init.mp4": "video/mp4",
    "0.m4s": "video/iso.segment",
    "1.m4s": "video/iso.segment",
    "2.m4s": "video/iso.segment",
    "3.m4s": "video/iso.segment",
    "4.m4s": "video/iso.segment",
    "5.m4s": "video/iso.segment",
    "6.m4s": "video/iso.segment",
    "7.m4s": "video/iso.segment",
];

/// The page with both players.
pub(super) async fn page(State(site): State<Site>, request: HeaderMap) -> Response {
    Document {
        media_type: "text/html; charset=utf-8",
        cache_control: "max-age=60",
        modified: site.started,
        content: include_bytes!("film.html"),
    }
    .answer(&request)
}

/// What the film is made of. None of it changes under its name.
pub(super) async fn file(Path(name): Path<String>, State(site): State<Site>, request: HeaderMap) -> Response {
    match FILES.iter().find(|(file, ..)| *file == name) {
        Some(&(_, media_type, content)) => {
            let cache_control = "max-age=86400";
            Document { media_type, cache_control, modified: site.started, content }.answer(&request)
        }
        None => (StatusCode::NOT_FOUND, "There is no such part of the film.\n").into_response(),
    }
}
