//! Which of several stored responses fits a request? (RFC 9111 §4.1)

use http::HeaderMap;
use http::header::HeaderName;

/// The fields a response was chosen by, with the values its request had, in normal form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vary {
    fields: Box<[(HeaderName, Option<Box<[u8]>>)]>,
}

/// `Vary` holds `*` or something that is not a field name: the response fits no other request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VariesByAnything;

impl Vary {
    /// Reads a response's `Vary` and keeps what `request`, as the origin saw it, had in those fields.
    ///
    /// # Errors
    /// When no later request can be known to match.
    pub fn new(response: &HeaderMap, request: &HeaderMap) -> Result<Self, VariesByAnything> {
        let _ = (response, request);
        todo!()
    }

    /// Whether a response that varied this way answers `request`.
    pub fn matches(&self, request: &HeaderMap) -> bool {
        let _ = request;
        todo!()
    }

    /// Whether the response does not vary.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Appends the values that `request` has in these fields, so that two requests append the same bytes
    /// exactly when they fit the same response.
    pub fn fingerprint(&self, request: &HeaderMap, out: &mut Vec<u8>) {
        let _ = (request, out);
        todo!()
    }

    /// Bytes held on the heap.
    pub fn weight(&self) -> usize {
        self.fields
            .iter()
            .map(|(name, value)| {
                size_of::<(HeaderName, Option<Box<[u8]>>)>()
                    + name.as_str().len()
                    + value.as_ref().map_or(0, |value| value.len())
            })
            .sum()
    }
}
