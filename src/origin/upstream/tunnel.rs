//! Upgrades, such as WebSocket: once both sides have switched, bytes are passed both ways.

use crate::semantics::headers::strip_hop_by_hop;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::upgrade::{OnUpgrade, on};
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;

use crate::origin::Viewer;

/// A viewer's wish to switch to another protocol.
pub(super) struct Upgrade {
    pub(super) protocol: HeaderValue,
    viewer: OnUpgrade,
}

/// The upgrade a request asks for (RFC 9110 §7.8). HTTP/1.0 and HTTP/2 have none.
pub(super) fn wanted<B>(request: &mut Request<B>) -> Option<Upgrade> {
    let nominated = request
        .headers()
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
    if !nominated || request.version() != Version::HTTP_11 {
        return None;
    }
    let protocol = request.headers().get(UPGRADE)?.clone();
    // The origin's protocol is HTTP/1.1; `h2c` would have the edge carry frames it does not see (RFC 9113 §3.1).
    if protocol.to_str().is_ok_and(|protocol| protocol.to_ascii_lowercase().contains("h2c")) {
        return None;
    }
    request.extensions().get::<OnUpgrade>()?;
    Some(Upgrade { protocol, viewer: on(request) })
}

impl Upgrade {
    /// Joins the two connections as soon as the 101 has gone to the viewer.
    pub(super) fn join<B>(self, response: &mut Response<B>, viewer: Option<Viewer>) {
        let origin = on(&mut *response);
        let headers = response.headers_mut();
        let protocol = headers.get(UPGRADE).cloned().unwrap_or(self.protocol);
        strip_hop_by_hop(headers);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
        let slot = viewer.and_then(Viewer::into_kept);
        tokio::spawn(async move {
            // A tunnel counts as the connection it was.
            let _slot = slot;
            if let Ok((viewer, origin)) = tokio::try_join!(self.viewer, origin) {
                let (mut viewer, mut origin) = (TokioIo::new(viewer), TokioIo::new(origin));
                // However it ends, both connections end with it.
                let _ = tokio::io::copy_bidirectional(&mut viewer, &mut origin).await;
            }
        });
    }
}
