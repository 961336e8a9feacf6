//! Whether what a viewer got is of one state of the object, and of one that it may still be shown.

use std::ops::Range;

use bytes::Bytes;
use http::response::Parts;

use crate::naive::{Reply, State, Wish};
use crate::origin::{Origin, state};

/// What a viewer got.
#[derive(Debug)]
pub(crate) enum Given {
    Whole(Parts, Bytes),
    /// A body that ended in an error.
    Broken(Parts, Bytes),
    /// An error instead of an answer.
    Nothing,
}

/// What the origin had when, by a clock that counts what happens.
pub(crate) struct History {
    clock: usize,
    /// When each state began, and its length.
    states: Vec<(usize, usize)>,
    invalidated: usize,
}

impl History {
    pub(crate) fn new(origin: &Origin) -> Self {
        Self { clock: 1, states: vec![(0, origin.now.lock().unwrap().length)], invalidated: 0 }
    }

    pub(crate) fn now(&mut self) -> Began {
        self.clock += 1;
        Began { at: self.clock, invalidated: self.invalidated }
    }

    pub(crate) fn changed(&mut self, origin: &Origin) {
        self.clock += 1;
        self.states.push((self.clock, origin.now.lock().unwrap().length));
    }

    pub(crate) fn invalidated(&mut self) {
        self.clock += 1;
        self.invalidated = self.clock;
    }

    /// When a state was over.
    fn end(&self, number: usize) -> usize {
        self.states.get(number + 1).map_or(usize::MAX, |(began, _)| *began)
    }

    /// Whether it is an answer, rather than a clean error.
    pub(crate) fn check(
        &mut self,
        origin: &Origin,
        wish: &Wish,
        began: Began,
        given: &Given,
    ) -> Result<bool, String> {
        let fails = origin.settings.fails;
        let (head, body, is_whole) = match given {
            Given::Nothing if fails => return Ok(false),
            Given::Nothing => return Err(format!("{wish:?}: no answer")),
            Given::Whole(head, body) => (head, body, true),
            Given::Broken(head, body) => (head, body, false),
        };
        if head.status.is_server_error() {
            return if fails { Ok(false) } else { Err(format!("{wish:?}: {head:?}")) };
        }
        // What a 416 of the edge's own is about is known by its length only: it is compared with every state.
        let name = head.headers.get("x-state").map(|name| name.to_str().unwrap());
        let number = name
            .and_then(|name| name.split_once('-'))
            .map(|(number, variant)| (number.parse::<usize>().unwrap(), variant.parse::<usize>().unwrap()));
        let Some((number, variant)) = number else {
            return Err(format!("{wish:?}: {head:?} is of no state"));
        };
        if variant != wish.variant {
            return Err(format!("{wish:?}: of another variant, {head:?}"));
        }
        if self.end(number) <= began.invalidated {
            return Err(format!("{wish:?}: of a state that was invalidated, {head:?}"));
        }
        let state = state(&origin.settings, number, self.states[number].1, variant);
        let was_steady = self.states[number].0 <= began.at && self.end(number) == usize::MAX;
        if !is_whole && was_steady && !fails {
            return Err(format!("{wish:?}: broken off without a reason, {head:?}"));
        }
        compare(
            &state,
            wish,
            head,
            body,
            is_whole,
            origin.settings.takes_ranges && origin.settings.states_length && wish.ranges.len() == 1,
        )
        .map_err(|why| format!("{wish:?} of {} bytes, {head:?}: {why}", state.content.len()))?;
        Ok(is_whole)
    }
}

/// What had happened when a request was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Began {
    at: usize,
    invalidated: usize,
}

fn compare(
    state: &State,
    wish: &Wish,
    head: &Parts,
    body: &Bytes,
    is_whole: bool,
    cuts: bool,
) -> Result<(), String> {
    let length = state.content.len() as u64;
    let field = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap());
    let same = |what: &str, found: Option<&str>, expected: &str| match found == Some(expected) {
        true => Ok(()),
        false => Err(format!("{what} is {found:?}, not {expected}")),
    };
    let status = |expected: u16| match head.status.as_u16() == expected {
        true => Ok(()),
        false => Err(format!("the status is not {expected}")),
    };
    let content =
        |expected: &[u8]| match is_whole && body == expected || !is_whole && expected.starts_with(body) {
            true => Ok(()),
            false => Err(format!("the body, {} bytes, is not as it should be", body.len())),
        };
    if let Some(tag) = state.tag() {
        same("the tag", field("etag"), &tag)?;
    }
    let reply = match state.reply(wish) {
        // RFC 9110 §14.2: who does not serve ranges, does not know the length, or is asked for many, may send the whole.
        Reply::Parts(_) | Reply::Unsatisfiable if !cuts && head.status == 200 => Reply::Whole,
        reply => reply,
    };
    match reply {
        Reply::NotModified => {
            status(304)?;
            content(b"")
        }
        Reply::Unsatisfiable => {
            status(416)?;
            same("the range", field("content-range"), &format!("bytes */{length}"))
        }
        Reply::Whole => {
            status(200)?;
            if let Some(stated) = field("content-length") {
                same("the length", Some(stated), &length.to_string())?;
            }
            content(if wish.head { b"" } else { &state.content })
        }
        Reply::Parts(parts) => {
            status(206)?;
            if let [part] = parts.as_slice() {
                let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
                same("the range", field("content-range"), &range)?;
                return content(&state.bytes(part));
            }
            if is_whole {
                multipart(state, &parts, field("content-type").unwrap_or_default(), body)
            } else {
                Ok(())
            }
        }
    }
}

fn multipart(state: &State, parts: &[Range<u64>], kind: &str, body: &Bytes) -> Result<(), String> {
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").ok_or("no boundary")?;
    let mut rest = &body[..];
    for part in parts {
        let range = format!("bytes {}-{}/{}", part.start, part.end - 1, state.content.len());
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").ok_or("a part has no head")?;
        let head = String::from_utf8_lossy(&rest[..end]).to_lowercase();
        if !head.contains(&format!("--{boundary}")) || !head.contains(&format!("content-range: {range}")) {
            return Err(format!("the head of a part is {head:?}, not for {range}"));
        }
        rest = rest[end + 4..].strip_prefix(&state.bytes(part)[..]).ok_or("a part is not as it should be")?;
    }
    match rest == format!("\r\n--{boundary}--\r\n").as_bytes() {
        true => Ok(()),
        false => Err("the end is not as it should be".into()),
    }
}
