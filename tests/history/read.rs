//! A read: a viewer asks, takes what comes as fast as it likes, and leaves when it likes. Whatever it saw is checked.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use tower::Service;
use tower_edge::Outcome;

use crate::check::{Expected, Viewer};
use crate::frames::Frames;
use crate::operation::{Kept, Kind, Range, Read};
use crate::origin::OPERATION;
use crate::random::pass;
use crate::record::What;
use crate::run::{Site, World};
use crate::site::{COLOUR, OBJECTS};

pub(crate) async fn read(world: World, number: u32) {
    let site = &*world.site;
    let Kind::Read(read) = &site.operation(number).kind else { unreachable!("it is a read") };
    let request = request(site, number, read);
    // What the read may see is fixed here, before the edge hears of it.
    let viewer = Viewer::new(&world, number, read, request.headers());
    site.record(number, Some(read.object), What::Begins(spelt(read, &request)));
    let answer = world.cache.clone().call(request);
    let reading = async {
        match answer.await {
            Ok(response) => finish(&viewer, response, read.pace).await,
            Err(_) => "read: the origin's error",
        }
    };
    let ended = match read.patience {
        None => reading.await,
        Some(patience) => {
            tokio::time::timeout(patience, reading).await.unwrap_or("read: left before the end")
        }
    };
    site.count(ended);
    site.record(number, Some(read.object), What::Ends(ended));
}

fn request(site: &Site, number: u32, read: &Read) -> Request<Frames> {
    let object = OBJECTS[read.object];
    let method = if read.head { "HEAD" } else { "GET" };
    let mut request = Request::builder()
        .method(method)
        .uri(object.path)
        .header("host", object.authority())
        .header(OPERATION, number);
    if let Some(colour) = read.colour {
        request = request.header(COLOUR, colour);
    }
    if let Some(control) = read.control {
        request = request.header("cache-control", control);
    }
    if read.authorization {
        request = request.header("authorization", "Basic eDp5");
    }
    let truth = site.truth();
    let current = truth.current(read.object).0;
    let copy = match read.copy {
        Some(Kept::Previous) => truth.previous(read.object),
        Some(Kept::Current) | None => current,
    };
    let etag = copy.etag(copy.variant(read.colour));
    if let Some(range) = read.range {
        let length = current.length() as u64;
        let range = match range {
            Range::Between(first, last) => {
                format!("bytes={}-{}", length * first / 1_000, length * last / 1_000)
            }
            Range::From(first) => format!("bytes={}-", length * first / 1_000),
            Range::Last(last) => format!("bytes=-{}", length * last / 1_000),
        };
        request = request.header("range", range);
        if let Some(etag) = etag.as_ref().filter(|_| read.if_range) {
            request = request.header("if-range", etag);
        }
    }
    if let Some(etag) = etag.filter(|_| read.copy.is_some()) {
        request = request.header("if-none-match", etag);
    }
    request.body(Frames::default()).expect("a request")
}

fn spelt(read: &Read, request: &Request<Frames>) -> String {
    let mut text = format!("{} begins", request.method());
    for (name, value) in request.headers() {
        if !["host", OPERATION].contains(&name.as_str()) {
            text += &format!(", {name}: {}", value.to_str().unwrap_or_default());
        }
    }
    if let Some(patience) = read.patience {
        text += &format!(", for {patience:?}");
    }
    text
}

/// Checks the head, then takes the body to its end and checks that. How it ended.
async fn finish<B>(viewer: &Viewer<'_>, response: Response<B>, pace: Duration) -> &'static str
where
    B: Body<Data = Bytes>,
{
    let (head, body) = response.into_parts();
    let outcome = *head.extensions.get::<Outcome>().expect("every answer has an outcome");
    let expected = viewer.head(&head, outcome);
    let mut body = std::pin::pin!(body);
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => read.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Err(_) => return "read: the body failed",
        }
        pass(pace).await;
    }
    match expected {
        Expected::Nothing => "read: no content",
        Expected::Body(expected) => viewer.body(&head, outcome, &read, &expected),
    }
}
