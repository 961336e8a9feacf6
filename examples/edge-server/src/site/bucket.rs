//! A bucket as an origin: [`build`].

use std::env;
use std::sync::Arc;
use std::time::Duration;

use object_store::ClientOptions;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use tokio_rustls::rustls::crypto::ring;
use tower_edge::origin::ObjectStore;
use tower_edge::origin::object_store::Upload;

use crate::config::Bucket;

/// An origin over this bucket, with the credentials of the environment. It is not asked anything yet.
pub(super) fn build(bucket: &Bucket) -> Result<ObjectStore, String> {
    // The client takes the provider of the process. An error says that there is one, from a bucket before this.
    let _ = ring::default_provider().install_default();
    let mut s3 = AmazonS3Builder::from_env()
        .with_client_options(client(bucket.connect_time))
        .with_bucket_name(bucket.bucket.as_str());
    if let Some(endpoint) = &bucket.endpoint {
        s3 = s3.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    if let Some(region) = &bucket.region {
        s3 = s3.with_region(region);
    }
    let s3 = s3.build().map_err(|error| error.to_string())?;

    let mut origin = ObjectStore::builder(Arc::new(s3))
        .prefix(bucket.prefix.as_str())
        .first_byte(bucket.first_byte_time)
        .between_bytes(bucket.between_bytes_time);
    if let Some(index) = &bucket.index {
        origin = origin.index(index.as_str());
    }
    for (status, key) in &bucket.error_pages {
        origin = origin.error_page(*status, key.as_str());
    }
    if bucket.writes {
        let part =
            usize::try_from(bucket.part_size).map_err(|_| "part-size: more than this machine holds")?;
        let parallel = bucket.parallel as usize;
        origin = origin.writes(Upload { part, parallel, ..Upload::default() });
    }
    origin.build().map_err(|error| {
        let key = error.setting().replace('_', "-");
        error.to_string().replacen(error.setting(), &key, 1)
    })
}

/// What the environment says of connections, such as `AWS_ALLOW_HTTP`, over what suits an origin.
fn client(connect_time: Duration) -> ClientOptions {
    // The time-outs are the origin's: this one would end a long download.
    let usual = ClientOptions::new().with_timeout_disabled().with_connect_timeout(connect_time);
    env::vars_os().fold(usual, |client, (name, value)| {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { return client };
        match name.starts_with("AWS_").then(|| name.to_ascii_lowercase().parse()) {
            Some(Ok(AmazonS3ConfigKey::Client(key))) => client.with_config(key, value),
            _ => client,
        }
    })
}

#[cfg(test)]
mod tests {
    use object_store::ClientConfigKey;

    use super::*;

    #[test]
    fn a_connection_has_the_time_that_the_file_says() {
        let client = client(Duration::from_millis(250));
        assert_eq!(client.get_config_value(&ClientConfigKey::ConnectTimeout).as_deref(), Some("250ms"));
        assert_eq!(client.get_config_value(&ClientConfigKey::Timeout), None);
    }
}
