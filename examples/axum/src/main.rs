//! An axum site with an edge around it: `axum-example [LISTEN]`, at 127.0.0.1:3000 unless told otherwise.
//!
//! Pages are rendered once, however many read them. Each carries tags for the articles it shows; changing an article
//! invalidates every page with its tag, so that the next reader sees the change at once.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use tokio::net::TcpListener;
use tower_edge::{CacheHints, Edge, Invalidation, Invalidator};

#[derive(Clone)]
struct Site {
    articles: Arc<RwLock<HashMap<u32, String>>>,
    invalidator: Invalidator,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("axum-example: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let listen = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());

    let edge = Edge::builder().name("axum").capacity(64 * 1024 * 1024).build()?;
    let site = Site {
        articles: Arc::new(RwLock::new(HashMap::from([(1, "Hello.".to_owned())]))),
        invalidator: edge.invalidator(),
    };
    let app = Router::new()
        .route("/", get(list))
        .route("/articles/{id}", get(read).post(write))
        .with_state(site)
        .layer(edge.layer());

    let listener = TcpListener::bind(&listen).await.map_err(|error| format!("LISTEN {listen:?}: {error}"))?;
    let address = listener.local_addr()?;
    println!("edge    http://{address}");
    println!("  curl -i http://{address}/                        # twice: the second is a hit");
    println!("  curl -i http://{address}/articles/1 -d 'Changed.' # changes what both pages show");
    println!("  curl -i http://{address}/                        # shows the change");
    axum::serve(listener, app).await?;
    Ok(())
}

/// A page of articles: kept for an hour, or until one of them changes. Only the edge is told so; browsers ask each time.
fn page(articles: &[(u32, String)]) -> Response {
    let tags = articles.iter().map(|(id, _)| format!("article-{id}"));
    let hints = CacheHints::new().ttl(Duration::from_secs(3600)).tags(tags).expect("letters, digits and '-'");
    let text: String = articles.iter().map(|(id, text)| format!("{id}: {text}\n")).collect();
    ([(header::CACHE_CONTROL, "max-age=0")], Extension(hints), text).into_response()
}

async fn list(State(site): State<Site>) -> Response {
    let articles = site.articles.read().expect("no writer panics");
    page(&articles.iter().map(|(id, text)| (*id, text.clone())).collect::<Vec<_>>())
}

async fn read(State(site): State<Site>, Path(id): Path<u32>) -> Response {
    let articles = site.articles.read().expect("no writer panics");
    match articles.get(&id) {
        Some(text) => page(&[(id, text.clone())]),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn write(State(site): State<Site>, Path(id): Path<u32>, text: String) -> Response {
    site.articles.write().expect("no writer panics").insert(id, text);
    // The POST clears its own target by itself (RFC 9111 §4.4). The handler knows what else shows the article; a new
    // one is on the list that did not have its tag.
    let cleared = Invalidation::tags([format!("article-{id}")])
        .and_then(|tagged| Ok(tagged.and(Invalidation::paths(["/"])?)))
        .map_err(|error| error.to_string())
        .and_then(|stale| site.invalidator.invalidate(stale).map_err(|error| error.to_string()));
    match cleared {
        Ok(receipt) => (StatusCode::OK, format!("cleared by {}\n", receipt.id())).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error).into_response(),
    }
}
