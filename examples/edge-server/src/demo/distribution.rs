//! A distribution in one process: an origin, a shield and three edges on loopback, as far from each other as their cities.

use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::{Request, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;
use tower::{Service, ServiceExt, service_fn};
use tower_edge::distribution::bus::{Bus, Local, WithoutContact};
use tower_edge::distribution::{Coordinates, Parents, Token};
use tower_edge::origin::GroupPolicy;
use tower_edge::origin::upstream::Upstream;
use tower_edge::{Edge, Tariff};

use crate::args::{ControlArgs, DemoArgs};
use crate::distribution::{Membership, Place};
use crate::door::Door;
use crate::front::Front;
use crate::page::OriginBody;
use crate::site::{Source, Upload, erased};
use crate::trust::Trust;
use crate::{control, demo, serve};

/// The origin is in Virginia.
const TO_ORIGIN: Duration = Duration::from_millis(80);
/// In Dublin.
const SHIELD: (&str, f64, f64) = ("shield", 53.35, -6.26);
/// With the way to the shield and back.
const EDGES: [(&str, &str, f64, f64, Duration); 3] = [
    ("fra-1", "eu", 50.11, 8.68, Duration::from_millis(25)),
    ("nyc-1", "us", 40.71, -74.01, Duration::from_millis(75)),
    ("nrt-1", "asia", 35.77, 140.39, Duration::from_millis(220)),
];

/// Serves until a signal ends it.
///
/// # Errors
///
/// No port can be had.
#[tokio::main]
pub(crate) async fn run(args: DemoArgs) -> Result<(), Box<dyn Error>> {
    let bus: Arc<dyn Bus> = Arc::new(Local::new());
    let token = Token::new(&secret())?;
    let origin = format!("http://{}", demo::start().await?);
    let mut listeners = Vec::new();
    for _ in 0..=EDGES.len() {
        listeners.push(TcpListener::bind("127.0.0.1:0").await?);
    }
    let urls = listeners
        .iter()
        .map(|listener| Ok(format!("http://{}", listener.local_addr()?)))
        .collect::<io::Result<Vec<_>>>()?;
    let places = places(&urls)?;
    let closing = watch::Sender::new(false);
    let mut viewers = Vec::new();
    let mut shield = None;
    for (at, listener) in listeners.into_iter().enumerate() {
        let name = if at == 0 { SHIELD.0 } else { EDGES[at - 1].0 };
        let edge = Edge::builder().name(name).build()?;
        let token = Some(token.clone());
        let (policy, places) = (WithoutContact::default(), places.clone());
        let membership =
            Membership::new(&edge, name, Arc::clone(&bus), policy, places, token.clone()).await?;
        let direct = far(TO_ORIGIN, Upstream::builder(origin.as_str()).name(name).build()?);
        let behind = if at == 0 {
            shield = Some((edge.clone(), membership.clone()));
            direct
        } else {
            let parent = far(EDGES[at - 1].4, Upstream::builder(urls[0].as_str()).name(name).build()?);
            let parents = Parents::new(Arc::clone(&membership.follower), token.ok_or("no token")?);
            let parents = parents.parent("shield", parent).otherwise("origin", direct);
            erased(parents.build(GroupPolicy::default())?)
        };
        let trust = Trust { token: membership.token.clone(), ..Trust::default() };
        let door = Door::new(Front::Member(membership.parent(&edge, behind)), trust, None);
        viewers.push(serve::viewers(listener, move |request, viewer| door.answer(request, viewer), &closing));
    }
    let (edge, membership) = shield.ok_or("no shield")?;
    let flags = ControlArgs { control: Some(args.control), control_token_file: None };
    let current: control::CurrentEdge = Arc::new(move || edge.clone());
    let control =
        control::open(&flags, Some(membership), current, Tariff::default(), closing.clone()).await?;
    let control_address = control.as_ref().map(|(listener, _)| listener.local_addr()).transpose()?;
    let control_address = control_address.map(|address| address.to_string()).unwrap_or_default();
    // Nobody may be reading, and the edges work all the same.
    let _ = io::stdout().write_all(help(&origin, &urls, &control_address).as_bytes());
    serve::until_signal(viewers, control, || {}, &closing).await;
    Ok(())
}

/// The edges that viewers are sent to.
fn places(urls: &[String]) -> Result<Vec<Place>, tower_edge::ConfigError> {
    let place =
        |((name, region, latitude, longitude, _), url): (&(&str, &str, f64, f64, Duration), &String)| {
            Ok(Place {
                name: (*name).to_owned(),
                region: (*region).to_owned(),
                at: Coordinates::new(*latitude, *longitude)?,
                url: Some(url.clone()),
            })
        };
    EDGES.iter().zip(&urls[1..]).map(place).collect()
}

/// Nobody needs to know it.
fn secret() -> String {
    format!("{:016x}{:016x}", RandomState::new().hash_one(1), RandomState::new().hash_one(2))
}

/// A service as far away as a round trip takes.
fn far<S, R>(round_trip: Duration, service: S) -> Source
where
    S: Service<Request<Upload>, Response = Response<R>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<tower::BoxError> + 'static,
    R: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    R::Error: Into<tower::BoxError>,
{
    let near = erased(service);
    erased(service_fn(
        move |request: Request<Upload>| -> BoxFuture<'static, Result<Response<OriginBody>, _>> {
            let near = near.clone();
            Box::pin(async move {
                sleep(round_trip).await;
                near.oneshot(request).await
            })
        },
    ))
}

fn help(origin: &str, urls: &[String], control: &str) -> String {
    let mut text = format!("origin  {origin}\nshield  {}\n", urls[0]);
    for ((name, region, ..), url) in EDGES.iter().zip(&urls[1..]) {
        text += &format!("{name}   {url}   {region}\n");
    }
    let fra = &urls[1];
    let nyc = &urls[2];
    text + &format!(
        "control http://{control}\n\n\
             Each edge asks the shield, and the shield the origin, over HTTP and as far as their cities. Try:\n\
             \x20 curl -iH host:site.example {fra}/counter   # a miss at both: Cache-Status tells every hop\n\
             \x20 curl -iH host:site.example {nyc}/counter   # the shield has it\n\
             \x20 curl -iH host:site.example {nyc}/counter   # now nyc-1 has it, too\n\
             \x20 curl 'http://{control}/nearest?lat=48.85&lon=2.35'   # where a viewer in Paris should go\n\
             \x20 curl -d '{{\"paths\":[\"/counter\"]}}' -H 'content-type: application/json' \\\n\
             \x20   'http://{control}/distribution/invalidations?wait=10'   # gone everywhere\n\
             \x20 curl http://{control}/distribution   # the edges, and how far each has followed the log\n"
    )
}
