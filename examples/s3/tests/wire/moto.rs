//! moto's S3 server, of PyPI's `moto[server]`: a process of its own, on a free port.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http_body_util::Empty;
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::support::S3;

const MOTO: &str = "moto[server]==5.2.5";
/// Until it listens: Python reads a lot first.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Moto {
    server: Child,
    endpoint: String,
}

impl Moto {
    pub(crate) async fn start() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto");
        let command = folder.join("bin/moto_server");
        if !command.exists() {
            run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
            run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", MOTO]));
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let server = Command::new(command)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moto = Self { server, endpoint: format!("http://127.0.0.1:{port}") };
        let started = Instant::now();
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            assert!(started.elapsed() < PATIENCE, "moto does not listen on port {port}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        moto
    }

    /// Makes an empty bucket. moto takes any credentials.
    pub(crate) async fn bucket(&self, bucket: &'static str) -> S3 {
        let create =
            Request::put(format!("{}/{bucket}", self.endpoint)).body(Empty::<bytes::Bytes>::new()).unwrap();
        let answer = Client::builder(TokioExecutor::new()).build_http().request(create).await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        S3 { endpoint: self.endpoint.clone(), bucket, access_key: "key", secret_key: "secret" }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
