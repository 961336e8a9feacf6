//! Chromium without a window, driven by the DevTools protocol.

use std::collections::VecDeque;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::processes::{Process, said};

const PATIENCE: Duration = Duration::from_secs(60);

/// One page of a browser of its own.
pub(crate) struct Page {
    socket: WebSocketStream<TcpStream>,
    session: String,
    number: u64,
    events: VecDeque<Value>,
    _process: Process,
    _profile: TempDir,
}

impl Page {
    pub(crate) async fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut process = Process::start(
            Command::new("chromium")
                .args([
                    "--headless=new",
                    // It is the test's own page, and root has no sandbox.
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    "--disable-background-networking",
                    "--disable-component-update",
                    "--disable-default-apps",
                    "--disable-extensions",
                    "--disable-sync",
                    "--mute-audio",
                    "--no-first-run",
                    "--no-proxy-server",
                    "--autoplay-policy=no-user-gesture-required",
                    "--window-size=1100,760",
                    "--remote-debugging-port=0",
                ])
                .arg(format!("--user-data-dir={}", profile.path().display()))
                .arg("about:blank")
                .stdout(Stdio::null())
                .stderr(Stdio::piped()),
        );
        let endpoint = said(process.0.stderr.take().unwrap(), "DevTools listening on ");
        let address = endpoint.strip_prefix("ws://").unwrap().split('/').next().unwrap().to_owned();
        let stream = TcpStream::connect(address).await.unwrap();
        let (socket, _) = client_async(endpoint, stream).await.unwrap();
        let mut page = Self {
            socket,
            session: String::new(),
            number: 0,
            events: VecDeque::new(),
            _process: process,
            _profile: profile,
        };
        let target = page.call("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = page.call("Target.attachToTarget", attach).await;
        page.session = session["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            page.call(domain, json!({})).await;
        }
        page.call("Page.navigate", json!({ "url": url })).await;
        page
    }

    /// The value of an expression, once it has one.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let answer = self.call("Runtime.evaluate", parameters).await;
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&mut self, expression: &str) {
        let waiting = async {
            while self.evaluate(expression).await != Value::Bool(true) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if timeout(PATIENCE, waiting).await.is_err() {
            panic!("not so: {expression}; {:?}", self.errors().await);
        }
    }

    /// What the page has complained about so far.
    pub(crate) async fn errors(&mut self) -> Vec<Value> {
        // Whatever was said before this answer has come before it.
        self.evaluate("0").await;
        let is_error = |event: &&Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => event["params"]["type"] == "error",
            Some("Log.entryAdded") => event["params"]["entry"]["level"] == "error",
            _ => false,
        };
        self.events.iter().filter(is_error).cloned().collect()
    }

    /// A picture of it, as PNG in base64.
    pub(crate) async fn picture(&mut self) -> String {
        let picture = self.call("Page.captureScreenshot", json!({ "format": "png" })).await;
        picture["data"].as_str().unwrap().to_owned()
    }

    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let number = self.number;
        let mut call = json!({ "id": number, "method": method, "params": parameters });
        if !self.session.is_empty() {
            call["sessionId"] = Value::String(self.session.clone());
        }
        self.socket.send(Message::text(call.to_string())).await.unwrap();
        let answered = async {
            loop {
                let message = self.socket.next().await.unwrap().unwrap();
                let Ok(text) = message.to_text() else { continue };
                let message: Value = serde_json::from_str(text).unwrap();
                if message["id"] == number {
                    assert!(message.get("error").is_none(), "{method}: {message}");
                    return message["result"].clone();
                }
                self.events.push_back(message);
            }
        };
        timeout(PATIENCE, answered).await.unwrap_or_else(|_| panic!("{method} is not answered"))
    }
}
