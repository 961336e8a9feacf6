//! An edge in front of an S3 bucket: `s3-example --bucket photos`, with the usual `AWS_*` variables.
//!
//! Without a bucket it brings one along: an S3 server in this process, on a temporary folder with a few objects. The edge
//! talks to it over HTTP, with signed requests, as it would to any other.

mod bucket;

use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Uri;
use clap::Parser;
use clap::builder::NonEmptyStringValueParser;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use tokio::net::TcpListener;
use tower::Layer;
use tower_edge::origin::ObjectStore;
use tower_edge::origin::object_store::Upload;
use tower_edge::{CachePolicy, Edge};

/// An edge in front of an S3 bucket. Without --bucket it brings one along.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The bucket; its region and credentials come from AWS_REGION, AWS_ACCESS_KEY_ID and so on
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    bucket: Option<String>,

    /// The S3 server, if it is not AWS, such as http://127.0.0.1:9000
    #[arg(long, value_name = "URL", requires = "bucket")]
    endpoint: Option<String>,

    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// Take PUT and DELETE, from whoever asks
    #[arg(long)]
    writes: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("s3-example: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn Error + Send + Sync>> {
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "TLS is set up already")?;

    // They take the place of those that `from_env` has read.
    let mut s3 = AmazonS3Builder::from_env().with_client_options(client());
    let own = match &args.bucket {
        Some(name) => {
            s3 = s3.with_bucket_name(name);
            if let Some(endpoint) = &args.endpoint {
                s3 = bucket::at(s3, endpoint).with_allow_http(endpoint.starts_with("http://"));
            }
            check_endpoint(&s3, args.endpoint.is_some())?;
            None
        }
        None => {
            let own = bucket::start().await?;
            s3 = own.configure(s3);
            Some(own)
        }
    };
    let store = Arc::new(s3.build()?);
    if own.is_some() {
        bucket::fill(&*store).await?;
    }

    let mut origin = ObjectStore::builder(store)
        .index("index.html")
        .error_page(axum::http::StatusCode::NOT_FOUND, "404.html");
    if args.writes {
        origin = origin.writes(Upload::default());
    }
    let edge = Edge::builder().capacity(512 * 1024 * 1024).policy(policy()).build()?;
    let site = Router::new().fallback_service(edge.layer().layer(origin.build()?));

    let listener =
        TcpListener::bind(args.listen).await.map_err(|error| format!("--listen {}: {error}", args.listen))?;
    let address = listener.local_addr()?;
    println!("edge    http://{address}");
    if own.is_some() {
        try_out(address, args.writes);
    }
    tokio::select! {
        served = axum::serve(listener, site) => Ok(served?),
        // Rather than letting the signal end the process: a temporary bucket goes with `own`.
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// With an address that is none, every request would fail.
fn check_endpoint(s3: &AmazonS3Builder, is_flag: bool) -> Result<(), String> {
    for (key, variable) in [
        (AmazonS3ConfigKey::S3Endpoint, "AWS_ENDPOINT_URL_S3"),
        (AmazonS3ConfigKey::Endpoint, "AWS_ENDPOINT or AWS_ENDPOINT_URL"),
    ] {
        let Some(endpoint) = s3.get_config_value(&key) else { continue };
        let is_server = endpoint
            .parse::<Uri>()
            .is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none());
        if !is_server {
            let name = if is_flag { "--endpoint" } else { variable };
            return Err(format!("{name} {endpoint:?}: names no server, such as http://127.0.0.1:9000"));
        }
    }
    Ok(())
}

/// What the environment says of connections, such as `AWS_ALLOW_HTTP`, over what suits an origin.
fn client() -> ClientOptions {
    // The time-outs are the origin's: this one would end a long download.
    let usual =
        ClientOptions::new().with_timeout_disabled().with_connect_timeout(Duration::from_millis(3500));
    env::vars_os().fold(usual, |client, (name, value)| {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { return client };
        match name.starts_with("AWS_").then(|| name.to_ascii_lowercase().parse()) {
            Some(Ok(AmazonS3ConfigKey::Client(key))) => client.with_config(key, value),
            _ => client,
        }
    })
}

/// Objects say for how long they may be kept; those that do not are asked about again after a minute.
fn policy() -> CachePolicy {
    let mut policy = CachePolicy::default();
    policy.ttl.default = Some(Duration::from_secs(60));
    policy
}

fn try_out(address: SocketAddr, writes: bool) {
    println!("\ntry     curl -i http://{address}/              # twice: Cache-Status says hit");
    println!("        curl -i http://{address}/logo.svg      # with what the bucket knows of it");
    println!("        curl -i -r 0-9 http://{address}/numbers.txt");
    println!("        curl -i http://{address}/nothing       # a page of the bucket, with 404");
    if writes {
        println!("        curl -i -T Cargo.toml http://{address}/new.toml");
        println!("        curl -i -X DELETE http://{address}/new.toml");
    } else {
        println!("        curl -i -T Cargo.toml http://{address}/new.toml   # 405: start it with --writes");
    }
}
