//! An S3 server that others wrote, on a temporary folder with one bucket.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;

pub(crate) const BUCKET: &str = "site";
pub(crate) const ACCESS_KEY: &str = "test-key";
pub(crate) const SECRET_KEY: &str = "test-secret";

/// The running server. It ends with the process, and its folder with this value.
pub(crate) struct Store {
    pub(crate) endpoint: String,
    connections: Arc<AtomicUsize>,
    folder: TempDir,
}

impl Store {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut service = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = service.build();
        let connections = Arc::<AtomicUsize>::default();
        let (listens, endpoint) = mpsc::channel();
        let count = Arc::clone(&connections);
        let serve = async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listens.send(format!("http://{}", listener.local_addr().unwrap())).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let service = service.clone();
                tokio::spawn(async move {
                    let mut connection = http1::Builder::new();
                    let stream = TokioIo::new(stream);
                    let _ = connection.timer(TokioTimer::new()).serve_connection(stream, service).await;
                });
            }
        };
        thread::spawn(move || tokio::runtime::Runtime::new().unwrap().block_on(serve));
        Self { endpoint: endpoint.recv().unwrap(), connections, folder }
    }

    /// How many there have been.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn keep(&self, key: &str, content: &str) {
        fs::create_dir_all(self.path(key).parent().unwrap()).unwrap();
        fs::write(self.path(key), content).unwrap();
    }

    pub(crate) fn kept(&self, key: &str) -> String {
        fs::read_to_string(self.path(key)).unwrap()
    }

    pub(crate) fn forget(&self, key: &str) {
        fs::remove_file(self.path(key)).unwrap();
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.path().join(BUCKET).join(key)
    }
}
