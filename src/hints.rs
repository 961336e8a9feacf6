//! What an application in this process says of its response to the edge: [`CacheHints`].

use std::time::Duration;

use crate::invalidation::{ScopeError, checked_tag};
use crate::semantics::directives::ResponseCacheControl;

/// What a handler says of its response to the edge alone, as an extension of the response. Nothing of it leaves the edge.
///
/// ```
/// use std::time::Duration;
/// use http::Response;
/// use tower_edge::CacheHints;
///
/// # fn main() -> Result<(), tower_edge::ScopeError> {
/// let mut response = Response::new("Rendered for an hour, and until article 7 changes.");
/// response.extensions_mut().insert(CacheHints::new().ttl(Duration::from_secs(3600)).tags(["article-7"])?);
/// # Ok(())
/// # }
/// ```
///
/// Beside an HTTP client as the origin it does nothing: it is for services in the edge's own process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheHints {
    ttl: Option<Duration>,
    tags: Vec<String>,
}

impl CacheHints {
    /// Says nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the edge keeps the response, whatever lifetime its fields state for other caches: this takes the place of
    /// `s-maxage`, `max-age` and `Expires`, and those of targeted fields, within the bounds of the policy's [`Ttl`](crate::Ttl).
    /// It permits nothing: a response with `no-store`, `private` or `no-cache` is treated as such.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Adds tags by which the response can be invalidated, beside those in the fields of
    /// [`CachePolicy::tags`](crate::CachePolicy::tags). A response has 64 tags at most; these come first.
    ///
    /// # Errors
    /// If a tag is empty, longer than 256 characters, or holds white space, a comma or anything but visible ASCII.
    pub fn tags<T: AsRef<str>>(mut self, tags: impl IntoIterator<Item = T>) -> Result<Self, ScopeError> {
        for tag in tags {
            self.tags.push(checked_tag(tag.as_ref())?);
        }
        Ok(self)
    }

    /// The tags, in the form in which they are compared.
    pub(crate) fn normal_tags(&self) -> &[String] {
        &self.tags
    }

    /// Puts the lifetime in the place of the one that counts.
    pub(crate) fn apply(&self, control: &mut ResponseCacheControl) {
        let Some(ttl) = self.ttl else { return };
        // Where it is `s-maxage` it stays one, which says more than a lifetime (RFC 9111 §5.2.2.10).
        match &mut control.s_maxage {
            Some(lifetime) => *lifetime = ttl,
            None => control.max_age = Some(ttl),
        }
    }
}
