//! A bucket in this process: an S3 server on a temporary folder.

use std::error::Error;
use std::net::Ipv4Addr;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{Attribute, ObjectStore, PutOptions};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;

pub(crate) const NAME: &str = "demo";
pub(crate) const ACCESS_KEY: &str = "demo-key";
pub(crate) const SECRET_KEY: &str = "demo-secret";

/// The running server. Its folder goes with it.
pub(crate) struct Bucket {
    pub(crate) endpoint: String,
    _folder: TempDir,
}

/// Starts the server, on a free port, with one empty bucket.
pub(crate) async fn start() -> Result<Bucket, Box<dyn Error + Send + Sync>> {
    start_on(Ipv4Addr::LOCALHOST).await
}

/// The same, elsewhere than on the loopback.
pub(crate) async fn start_on(address: Ipv4Addr) -> Result<Bucket, Box<dyn Error + Send + Sync>> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join(NAME))?;
    let files =
        FileSystem::new(folder.path()).map_err(|error| format!("{}: {error:?}", folder.path().display()))?;
    let mut service = S3ServiceBuilder::new(files);
    service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = service.build();

    let listener = TcpListener::bind((address, 0)).await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        // The server ends with the process, and so do its connections.
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let mut connection = http1::Builder::new();
                let _ =
                    connection.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok(Bucket { endpoint, _folder: folder })
}

impl Bucket {
    /// A client of the bucket.
    pub(crate) fn configure(&self, client: AmazonS3Builder) -> AmazonS3Builder {
        at(client, &self.endpoint)
            .with_allow_http(true)
            .with_bucket_name(NAME)
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY)
    }
}

/// Sets the server, whichever variable names another.
pub(crate) fn at(s3: AmazonS3Builder, endpoint: &str) -> AmazonS3Builder {
    s3.with_endpoint(endpoint).with_config(AmazonS3ConfigKey::S3Endpoint, endpoint)
}

/// Puts a few objects into a bucket, as any client does.
pub(crate) async fn fill(bucket: &dyn ObjectStore) -> object_store::Result<()> {
    let numbers: String = (1..=1000).map(|number| format!("{number}\n")).collect();
    let logo =
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'><circle cx='4.5' cy='4.5' r='4'/></svg>\n";
    for (key, content_type, cache_control, content) in [
        ("index.html", "text/html", "max-age=60", "<h1>From a bucket</h1><img src='/logo.svg'>\n".to_owned()),
        ("404.html", "text/html", "no-store", "<h1>The bucket has no such object</h1>\n".to_owned()),
        ("logo.svg", "image/svg+xml", "max-age=31536000, immutable", logo.to_owned()),
        ("numbers.txt", "text/plain", "max-age=60", numbers),
    ] {
        let attributes = [
            (Attribute::ContentType, content_type),
            (Attribute::CacheControl, cache_control),
            // The edge can be told to forget all that is tagged so.
            (Attribute::Metadata("cache-tag".into()), "demo"),
        ];
        let options = PutOptions { attributes: attributes.into_iter().collect(), ..PutOptions::default() };
        bucket.put_opts(&key.into(), content.into(), options).await?;
    }
    Ok(())
}
