//! Everything else at the origin.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use tower::BoxError;

use super::{Asked, CONTENT, Down, EXCHANGE, LIVES, plain};
use crate::frames::Frames;
use crate::operation::{Kind, Operation, Write, WriteResult};
use crate::random::{Random, pass};
use crate::record::What;
use crate::site::{Content, GROUPS, HOSTS, Kind as Sort, OBJECTS};

impl Asked {
    pub(super) async fn write<B>(self, body: B) -> Result<Response<Frames>, Down>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let mut chances = self.chances();
        let Operation { number, kind: Kind::Write(write), .. } = self.site.operation(self.operation) else {
            unreachable!("only writes use unsafe methods");
        };
        let site = Arc::clone(&self.site);
        let content = site.written_by(*number, self.object);
        let Ok(uploaded) = body.collect().await else {
            self.record(What::Failed { exchange: self.exchange });
            return Err(Down);
        };
        pass(chances.while_()).await;
        if !matches!(write.result, WriteResult::Refused(_) | WriteResult::Lost(false)) {
            if write.method == "PUT" {
                assert_eq!(uploaded.to_bytes(), content.body(0), "a PUT arrives whole or not at all");
            }
            site.truth().change(content, write.method != "DELETE");
            self.record(What::Changed { content: content.id });
            if let Some((other, _)) = write.other {
                let content = site.written_by(*number, other);
                site.truth().change(content, true);
                site.record(self.operation, Some(other), What::Changed { content: content.id });
            }
        }
        pass(chances.while_()).await;
        self.record(What::Answers { exchange: self.exchange });
        match write.result {
            WriteResult::Lost(_) => Err(Down),
            WriteResult::Refused(status) | WriteResult::Denied(status) => Ok(plain(code(status))),
            WriteResult::Done(status) => Ok(self.done(write, code(status), content, &mut chances)),
        }
    }

    fn done(
        &self,
        write: &Write,
        status: StatusCode,
        content: Content,
        chances: &mut Random,
    ) -> Response<Frames> {
        // RFC 9110 §9.3.4: a validator says that a PUT's body was saved as it came. Where contents vary there are others.
        let put_whole = write.method == "PUT" && OBJECTS[self.object].kind != Sort::Varied;
        let described = write.represents || put_whole;
        let control = chances.weighted(&LIVES);
        // What is stored of a PUT has the answer's caching fields and no others, so they say what a reader has to know.
        let told = format!("{control}, {CONTENT}={}, {EXCHANGE}={}", content.id, self.exchange);
        let mut response = if described {
            self.head_of(content, if put_whole { &told } else { control }, true, true)
        } else {
            let answer = Response::builder().header(EXCHANGE, self.exchange);
            answer.body(()).expect("well-formed fields")
        };
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if let Some((other, field)) = write.other {
            let (host, path) = (OBJECTS[other].host, OBJECTS[other].path);
            let here = OBJECTS[self.object].host == host;
            let location = if here { path.to_owned() } else { format!("http://{}{path}", HOSTS[host]) };
            headers.insert(field, location.parse().expect("a field value"));
        }
        if let Some(group) = write.group {
            let group = format!("\"{}\"", GROUPS[group]);
            headers.insert("cache-group-invalidation", group.parse().expect("a field value"));
        }
        if !write.represents {
            return response.map(|()| Frames::default());
        }
        let path = OBJECTS[self.object].path;
        headers.insert("content-location", path.parse().expect("a field value"));
        let body = content.body(content.variant(self.colour()));
        self.with_body(response, &body, chances)
    }
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("three digits")
}
