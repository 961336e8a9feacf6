//! A write: a viewer sends something, waits for the answer or does not, and from then on nobody reads what was there before.

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use tower::Service;
use tower_edge::Outcome;

use crate::frames::Frames;
use crate::operation::{Kind, Scope, Write};
use crate::origin::{EXCHANGE, OPERATION, number as field};
use crate::random::{Random, mix};
use crate::record::What;
use crate::run::{Site, World};
use crate::site::{COLOUR, OBJECTS};

pub(crate) async fn write(world: World, number: u32) {
    let site = &*world.site;
    let operation = site.operation(number);
    let Kind::Write(write) = &operation.kind else { unreachable!("it is a write") };
    let request = request(site, number, write, operation.seed);
    let begun = site.truth().begin(write.object);
    site.record(number, Some(write.object), What::Begins(format!("{} begins", write.method)));
    let answer = world.cache.clone().call(request);
    // Dropped at the end of the wait, before anything else can run.
    let answer = match write.patience {
        None => Some(answer.await),
        Some(patience) => tokio::time::timeout(patience, answer).await.ok(),
    };
    let unknown = || site.truth().written(begun, None, std::iter::empty());
    let ended = match answer {
        None => {
            unknown();
            "write: left before the answer"
        }
        Some(Err(_)) => {
            unknown();
            "write: of unknown outcome"
        }
        Some(Ok(response)) => {
            let status = response.status();
            if write.method == "PUT"
                && response.extensions().get::<Outcome>().is_some_and(|outcome| outcome.stored)
            {
                site.count("write: what was sent is stored");
            }
            let done = status.is_success() || status.is_redirection();
            if done {
                let exchange = field(response.headers(), EXCHANGE);
                site.truth().written(begun, exchange, also(write));
            }
            let ended = match (done, write.represents) {
                (false, _) => "write: refused",
                (true, false) => "write: done",
                (true, true) => "write: answered with the new content",
            };
            site.record(number, Some(write.object), What::Head(format!("{status} to the {}", write.method)));
            let Ok(body) = response.into_body().collect().await else {
                site.count("write: the answer's body failed");
                return;
            };
            let content = site.written_by(number, write.object);
            let expected = content.body(content.variant(write.colour));
            let body = body.to_bytes();
            // A body that says how long it is may end early: that is for who reads it to see.
            if done && write.represents && !expected.starts_with(&body) {
                site.violated(number, write.object, "the answer is not what was written".into());
            }
            ended
        }
    };
    site.count(ended);
    site.record(number, Some(write.object), What::Ends(ended));
}

/// What the answer to a write that was done names besides its target: only what is of the same origin.
fn also(write: &Write) -> impl Iterator<Item = Scope> {
    let host = OBJECTS[write.object].host;
    let other = write.other.filter(|(other, _)| OBJECTS[*other].host == host);
    let group = write.group.map(|group| Scope::Group(host, group));
    other.map(|(other, _)| Scope::Url(other)).into_iter().chain(group)
}

fn request(site: &Site, number: u32, write: &Write, seed: u64) -> Request<Frames> {
    let object = OBJECTS[write.object];
    let mut request = Request::builder()
        .method(write.method)
        .uri(object.path)
        .header("host", object.authority())
        .header(OPERATION, number);
    if let Some(colour) = write.colour {
        request = request.header(COLOUR, colour);
    }
    let mut random = Random::new(mix(seed ^ 0x0B0D));
    let body = match write.method {
        "DELETE" => Frames::default(),
        "PUT" => {
            let slow = random.percent(40);
            let pieces = 1 + random.below(4);
            let mut times = random.clone();
            let times = std::iter::from_fn(|| slow.then(|| times.while_()));
            Frames::new(&site.written_by(number, write.object).body(0), times, pieces)
        }
        _ => Frames::new(b"something new", std::iter::repeat(Duration::ZERO), 1),
    };
    let body = if write.broken_upload { body.broken_after(random.below(3)) } else { body };
    request.body(body).expect("a request")
}
