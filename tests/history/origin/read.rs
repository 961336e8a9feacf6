//! GET and HEAD at the origin.

use std::ops::Range;

use http::{Method, Response, StatusCode};

use super::{Asked, Down, LIVES, plain};
use crate::frames::Frames;
use crate::random::pass;
use crate::record::What;

impl Asked {
    pub(super) async fn read(self) -> Result<Response<Frames>, Down> {
        let mut chances = self.chances();
        pass(chances.while_()).await;
        let (content, exists) = self.site.truth().current(self.object);
        self.record(What::Looked { exchange: self.exchange, content: content.id });
        pass(chances.while_()).await;
        match chances.below(100) {
            0..4 => {
                self.record(What::Failed { exchange: self.exchange });
                return Err(Down);
            }
            4..8 => {
                self.record(What::Failed { exchange: self.exchange });
                let status =
                    chances.pick(&[StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE]);
                return Ok(plain(status));
            }
            _ => {}
        }
        self.record(What::Answers { exchange: self.exchange });
        let control = chances.weighted(&LIVES);
        if !exists {
            let mut response = self.head_of(content, control, true, false);
            *response.status_mut() = StatusCode::NOT_FOUND;
            return Ok(self.with_body(response, &content.body(0), &mut chances));
        }
        let variant = content.variant(self.colour());
        let etag = content.etag(variant);
        let named = self.head.headers.get("if-none-match").and_then(|value| value.to_str().ok());
        if let Some(etag) = &etag
            && named.is_some_and(|list| list.contains(etag.as_str()))
            && !chances.percent(15)
        {
            let mut response = self.head_of(content, control, chances.percent(70), chances.percent(80));
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response.map(|()| Frames::default()));
        }
        let body = content.body(variant);
        let range = self.range(body.len(), etag.as_deref()).filter(|_| chances.percent(85));
        let mut response = self.head_of(content, control, true, true);
        let headers = response.headers_mut();
        let whole = body.len();
        let body = match range {
            Some(range) => {
                let value = format!("bytes {}-{}/{whole}", range.start, range.end - 1);
                headers.insert("content-range", value.parse().expect("a field value"));
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                body[range].to_vec()
            }
            None => body,
        };
        if self.head.method == Method::HEAD {
            response.headers_mut().insert("content-length", whole.into());
            return Ok(response.map(|()| Frames::default()));
        }
        Ok(self.with_body(response, &body, &mut chances))
    }

    /// The one range that is asked for, if it can be given.
    fn range(&self, length: usize, etag: Option<&str>) -> Option<Range<usize>> {
        let headers = &self.head.headers;
        if self.head.method != Method::GET
            || headers.get("if-range").is_some_and(|value| etag.is_none_or(|etag| value != etag))
        {
            return None;
        }
        let (first, last) = headers.get("range")?.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
        let range = match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) => first..length.min(last + 1),
            (Ok(first), Err(_)) => first..length,
            (Err(_), Ok(last)) => length.saturating_sub(last)..length,
            (Err(_), Err(_)) => return None,
        };
        (!range.is_empty()).then_some(range)
    }
}
