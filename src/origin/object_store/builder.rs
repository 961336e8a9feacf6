//! What is to be decided about a store: [`ObjectStoreBuilder`].

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use object_store::path::Path;

use super::key;
use super::service::{Inner, ObjectStore};
use crate::error::ConfigError;

/// Configures an [`ObjectStore`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `build`"]
pub struct ObjectStoreBuilder {
    store: Arc<dyn object_store::ObjectStore>,
    prefix: String,
    index: Option<String>,
    pages: Vec<(StatusCode, String)>,
    writes: Option<Upload>,
    first_byte: Duration,
    between_bytes: Duration,
}

/// How a PUT gets into the store.
///
/// A body that fits into one part goes there in one request, and a larger one in parts at the same time, while it still
/// arrives. An upload holds at most [`part`](Self::part) × ([`parallel`](Self::parallel) + 1) bytes; when these are
/// full, the client waits. How many uploads there may be at a time is for a limit in front of this service to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The bytes of a part: 8 MiB by default. S3 refuses parts under 5 MiB, and takes 10,000 of them.
    pub part: usize,
    /// How many parts are under way at a time, each on a connection: 8 by default.
    pub parallel: usize,
    /// How long each request with a part, or with a whole small object, may take: 5 minutes by default.
    pub patience: Duration,
}

impl Default for Upload {
    fn default() -> Self {
        Self { part: 8 * 1024 * 1024, parallel: 8, patience: Duration::from_secs(300) }
    }
}

impl ObjectStoreBuilder {
    pub(super) fn new(store: Arc<dyn object_store::ObjectStore>) -> Self {
        Self {
            store,
            prefix: String::new(),
            index: None,
            pages: Vec::new(),
            writes: None,
            first_byte: Duration::from_secs(30),
            between_bytes: Duration::from_secs(15),
        }
    }

    /// The folder of the store that is `/` here, such as `site/v1`. No path leads out of it. The whole store by default.
    pub fn prefix(mut self, folder: impl Into<String>) -> Self {
        self.prefix = folder.into();
        self
    }

    /// The object that answers for its folder, such as `index.html`. Without one, a path that ends in `/` is a 404.
    pub fn index(mut self, name: impl Into<String>) -> Self {
        self.index = Some(name.into());
        self
    }

    /// The object, named as by its path, that a viewer gets with the status of an error of the 400s instead of a line of text.
    ///
    /// It comes without validators and is stored by nobody, like the line.
    pub fn error_page(mut self, status: StatusCode, key: impl Into<String>) -> Self {
        self.pages.push((status, key.into()));
        self
    }

    /// Switches PUT and DELETE on. **Whoever reaches this service may then write**: let in front of it only those who may.
    pub fn writes(mut self, upload: Upload) -> Self {
        self.writes = Some(upload);
        self
    }

    /// How long the store may take to begin its answer: 30 seconds by default. After that, it is a 504.
    pub fn first_byte(mut self, patience: Duration) -> Self {
        self.first_byte = patience;
        self
    }

    /// How long to wait for the next bytes of a body, from the store or to it: 15 seconds by default.
    pub fn between_bytes(mut self, patience: Duration) -> Self {
        self.between_bytes = patience;
        self
    }

    /// Checks the configuration and builds the service.
    ///
    /// # Errors
    /// If a setting cannot work; the error names it.
    pub fn build(self) -> Result<ObjectStore, ConfigError> {
        let wrong = |setting: &str, reason: &str| ConfigError::new(setting, reason);
        let prefix = self.prefix.trim_matches('/').to_owned();
        if !prefix.is_empty() {
            key::exact(&prefix)
                .map_err(|key::NotAKey| wrong("prefix", "is no folder that a store could have"))?;
        }
        if let Some(index) = &self.index
            && (index.contains('/') || key::exact(index).is_err())
        {
            return Err(wrong("index", "is not the name of an object"));
        }
        let mut pages: Vec<(StatusCode, Path)> = Vec::with_capacity(self.pages.len());
        for (status, page) in self.pages {
            if !status.is_client_error() {
                return Err(wrong(
                    "error_page",
                    "is for a status of the 400s: after others the store may be down",
                ));
            }
            let page = page.trim_start_matches('/');
            let key = if prefix.is_empty() { page.to_owned() } else { format!("{prefix}/{page}") };
            let key = key::exact(&key)
                .map_err(|key::NotAKey| wrong("error_page", "is not the key of an object"))?;
            pages.push((status, key));
        }
        if let Some(upload) = self.writes {
            if upload.part == 0 || upload.parallel == 0 {
                return Err(wrong("writes", "parts, and how many go at a time, cannot be zero"));
            }
            let held = upload.parallel.checked_add(1).and_then(|parts| parts.checked_mul(upload.part));
            if held.is_none() {
                return Err(wrong("writes", "more bytes at a time than there can be"));
            }
        }
        let upload = self.writes.unwrap_or_default();
        for (setting, patience) in [
            ("first_byte", self.first_byte),
            ("between_bytes", self.between_bytes),
            ("writes", upload.patience),
        ] {
            if patience.is_zero() {
                return Err(wrong(setting, "no time at all to answer in"));
            }
        }
        Ok(ObjectStore(Arc::new(Inner {
            store: self.store,
            prefix,
            index: self.index,
            pages,
            writes: self.writes,
            first_byte: self.first_byte,
            between_bytes: self.between_bytes,
        })))
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn builder() -> ObjectStoreBuilder {
        ObjectStore::builder(Arc::new(InMemory::new()))
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let small = Upload { part: 0, ..Upload::default() };
        let huge = Upload { part: usize::MAX / 2, parallel: 3, ..Upload::default() };
        for (builder, setting) in [
            (builder().prefix("a/../b"), "prefix"),
            (builder().prefix("a//b"), "prefix"),
            (builder().index("a/b"), "index"),
            (builder().index(""), "index"),
            (builder().index(".."), "index"),
            (builder().error_page(StatusCode::BAD_GATEWAY, "x"), "error_page"),
            (builder().error_page(StatusCode::NOT_FOUND, "../x"), "error_page"),
            (builder().writes(small), "writes"),
            (builder().writes(huge), "writes"),
            (builder().writes(Upload { parallel: usize::MAX, ..Upload::default() }), "writes"),
            (builder().first_byte(Duration::ZERO), "first_byte"),
        ] {
            assert_eq!(builder.build().unwrap_err().setting(), setting);
        }
    }

    #[test]
    fn slashes_around_a_prefix_do_not_count() {
        let page = builder().prefix("/site/").error_page(StatusCode::NOT_FOUND, "/404.html").build().unwrap();
        assert_eq!(page.0.prefix, "site");
        assert_eq!(page.0.pages[0].1.as_ref(), "site/404.html");
    }
}
