//! Puts the parts together: origin, edge, listener; and says where they are.

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::Layer;
use tower_edge::origin::upstream::{HostField, Protocol, Timeouts, Upstream};
use tower_edge::{CachePolicy, Edge, SetCookie, Targeted, Tariff, Ttl, Writes};

use crate::args::{self, Args, Cookies, OriginHost};
use crate::distribution::Membership;
use crate::door::Door;
use crate::front::Front;
use crate::media::{Media, slice_fits};
use crate::single::Single;
use crate::site::erased;
use crate::trust::{Proxies, Trust};
use crate::{control, demo, serve};

/// Serves until a signal ends it.
///
/// # Errors
///
/// What is wrong with a flag, or with an address.
#[tokio::main]
pub(crate) async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let tariff = Tariff::default();
    if let Some(slice) = args.slice {
        slice_fits(slice, args.capacity).map_err(|reason| format!("--slice: {reason}"))?;
    }
    let media = Media {
        preset: args.preset,
        prefetch: args.prefetch.map(|segments| segments as usize),
        slice: args.slice,
    };
    let policy = media.policy(policy(&args));
    let edge = Edge::builder()
        .name(args.name.as_str())
        .capacity(args.capacity)
        .behaviors(media.behaviors("*", &policy))
        .policy(policy)
        .tariff(tariff)
        .build()?;

    let membership = Membership::join(&edge, &args.name, &args.distribution).await?;
    let closing = watch::Sender::new(false);
    let control = control::open(
        &args.control,
        membership.clone(),
        Arc::new({
            let edge = edge.clone();
            move || edge.clone()
        }),
        tariff,
        closing.clone(),
    )
    .await?;
    let listener =
        TcpListener::bind(args.listen).await.map_err(|error| cannot_listen(args.listen, &error))?;
    let address = listener.local_addr()?;

    let (origin, is_demo) = match args.origin {
        Some(origin) => (origin, false),
        None => (format!("http://{}", demo::start().await?), true),
    };
    let control_address = control.as_ref().map(|(listener, _)| listener.local_addr()).transpose()?;
    let host = match args.origin_host {
        OriginHost::Keep => HostField::Keep,
        OriginHost::Rewrite => HostField::Origin,
    };
    let protocol = if args.origin_http2 { Protocol::Http2 } else { Protocol::Negotiated };
    let timeouts = Timeouts { first_byte: args.first_byte_time, ..Timeouts::default() };
    let upstream = Upstream::builder(origin.as_str())
        .name(args.name.as_str())
        .host(host)
        .protocol(protocol)
        .timeouts(timeouts)
        .build()?;
    let origin_side = Single::new(upstream.clone(), &origin, args.compress);
    announce(address, &origin, control_address, is_demo);

    let trusted = args.trusted_proxies.into();
    let mut trust = Trust { proxies: Proxies { trusted, fields: args.proxy_fields }, token: None };
    match membership {
        None => {
            let door = Door::new(Front::Alone(edge.layer().layer(origin_side)), trust, Some(upstream));
            serve::serve(
                listener,
                move |request, viewer| door.answer(request, viewer),
                control,
                || {},
                closing,
            )
            .await;
        }
        Some(membership) => {
            let origin = membership.before(erased(origin_side), &args.name, &args.distribution.parents)?;
            trust.token.clone_from(&membership.token);
            let door = Door::new(Front::Member(membership.parent(&edge, origin)), trust, Some(upstream));
            let ends = || membership.drain();
            serve::serve(
                listener,
                move |request, viewer| door.answer(request, viewer),
                control,
                ends,
                closing,
            )
            .await;
            membership.leave().await;
        }
    }
    tracing::info!(stats = ?edge.stats(), "stopped");
    Ok(())
}

fn policy(args: &Args) -> CachePolicy {
    let mut targeted = Targeted::default();
    if !args.targeted.is_empty() {
        targeted.fields.clone_from(&args.targeted);
    }
    let set_cookie = match args.set_cookie {
        Cookies::NoStore => SetCookie::DoNotStore,
        Cookies::Strip => SetCookie::Strip,
        Cookies::Store => SetCookie::Store,
    };
    let writes = match args.writes {
        args::Writes::Around => Writes::Around,
        args::Writes::Through => Writes::Through,
    };
    let ttl = Ttl { default: args.ttl, ..Ttl::default() };
    CachePolicy { ttl, set_cookie, writes, targeted, ..CachePolicy::default() }
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "cannot listen on {address}: the address is in use (--listen {}:0 takes a free port)",
            address.ip()
        ),
        _ => format!("cannot listen on {address}: {error}"),
    }
}

fn announce(edge: SocketAddr, origin: &str, control: Option<SocketAddr>, is_demo: bool) {
    let mut text = format!("edge    http://{edge}\norigin  {origin}\n");
    if let Some(control) = control {
        text += &format!("control http://{control}\n");
    }
    if is_demo {
        text += &format!(
            "\nThe origin is a demonstration; open the edge in a browser, or try:\n\
             \x20 curl -i http://{edge}/counter   # twice: the second is a hit\n\
             \x20 curl -N http://{edge}/slow      # bytes come as the origin sends them\n\
             \x20 curl -i http://{edge}/me        # personal: never stored\n"
        );
    }
    // Nobody may be reading, and the edge works all the same.
    let _ = io::stdout().write_all(text.as_bytes());
}
