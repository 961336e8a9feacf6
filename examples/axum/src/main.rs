//! An axum site with an edge around it: `axum-example [127.0.0.1:3000]`.
//!
//! An article is rendered once a minute at most, however many read it. Changing it invalidates its page, so that
//! the next reader sees the change at once.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::sync::{Arc, RwLock};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tower_edge::{Edge, Invalidation, Invalidator};

#[derive(Clone)]
struct Site {
    articles: Arc<RwLock<HashMap<u32, String>>>,
    invalidator: Invalidator,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());

    let edge = Edge::builder().name("axum").capacity(64 * 1024 * 1024).build()?;
    let site = Site {
        articles: Arc::new(RwLock::new(HashMap::from([(1, "Hello.".to_owned())]))),
        invalidator: edge.invalidator(),
    };
    let app =
        Router::new().route("/articles/{id}", get(read).post(write)).with_state(site).layer(edge.layer());

    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    println!("edge    http://{address}");
    println!("  curl -i http://{address}/articles/1              # twice: the second is a hit");
    println!("  curl -i http://{address}/articles/1 -d 'Changed.' # changes it");
    println!("  curl -i http://{address}/articles/1              # shows the change");
    axum::serve(listener, app).await?;
    Ok(())
}

async fn read(State(site): State<Site>, Path(id): Path<u32>) -> Response {
    let articles = site.articles.read().expect("no writer panics");
    match articles.get(&id) {
        Some(text) => ([(header::CACHE_CONTROL, "max-age=60")], format!("{text}\n")).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn write(State(site): State<Site>, Path(id): Path<u32>, text: String) -> Response {
    site.articles.write().expect("no writer panics").insert(id, text);
    // A successful POST invalidates its own target by itself (RFC 9111 §4.4). This is how a handler names what else
    // shows the article, or what changed without a request through the edge.
    match Invalidation::paths([format!("/articles/{id}")]) {
        Ok(pages) => {
            site.invalidator.invalidate(pages);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
