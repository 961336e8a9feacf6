//! The example as its users meet it: a process in front of an S3 server that others wrote, talked to over TCP.
//!
//! Every check runs against `s3s-fs`, in this process, and against moto's server.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod large;
mod moto;
mod reads;
mod support;
mod writes;

// The example's own.
#[path = "../../src/bucket.rs"]
#[expect(dead_code, reason = "the example fills its bucket, the tests fill theirs")]
mod bucket;

use object_store::ObjectStoreExt;
use support::{S3, Site};

mod s3s_fs {
    use super::*;

    fn server(bucket: &bucket::Bucket) -> S3 {
        S3 {
            endpoint: bucket.endpoint.clone(),
            bucket: bucket::NAME,
            access_key: bucket::ACCESS_KEY,
            secret_key: bucket::SECRET_KEY,
        }
    }

    async fn site(flags: &[&str]) -> (bucket::Bucket, Site) {
        let bucket = bucket::start().await.unwrap();
        let site = Site::start(server(&bucket), flags).await;
        (bucket, site)
    }

    #[tokio::test]
    async fn what_the_environment_says_of_connections_counts() {
        let bucket = bucket::start().await.unwrap();
        let site = Site::by_variables(server(&bucket)).await;
        site.store.put(&"a.txt".into(), "text".into()).await.unwrap();
        let answer = site.get("/a.txt", &[]).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_ref()), (200, &b"text"[..]), "{answer:?}");
    }

    #[tokio::test]
    async fn reads() {
        let (_bucket, site) = site(&[]).await;
        reads::all(&site).await;
    }

    #[tokio::test]
    async fn writes_are_denied() {
        let (_bucket, site) = site(&[]).await;
        writes::are_denied(&site).await;
    }

    #[tokio::test]
    async fn writes() {
        let (_bucket, site) = site(&["--writes"]).await;
        writes::all(&site).await;
    }

    #[tokio::test]
    async fn large_objects_pass_in_little_memory() {
        let (_bucket, site) = site(&["--writes"]).await;
        large::passes_in_little_memory(&site).await;
    }
}

#[tokio::test]
#[ignore = "installs moto from PyPI, with Python; tests/all.sh runs it"]
async fn moto_s_server() {
    let moto = moto::Moto::start().await;
    let reading = Site::start(moto.bucket("reads").await, &[]).await;
    reads::all(&reading).await;
    writes::are_denied(&reading).await;
    let writing = Site::start(moto.bucket("writes").await, &["--writes"]).await;
    writes::all(&writing).await;
    large::passes_in_little_memory(&writing).await;
}
