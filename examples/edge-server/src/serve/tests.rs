//! How many connections there may be, and those of HTTP/2 that nobody uses.

use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;

/// The clock is paused, and would run on for ever.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A request, and what begins its answer.
type Asked = (Request<Incoming>, oneshot::Sender<Channel<Bytes, Infallible>>);

/// A viewer's side, the requests as they come, the end of the connection, and what tells it to close.
struct Connected {
    viewer: SendRequest<Empty<Bytes>>,
    requests: mpsc::UnboundedReceiver<Asked>,
    viewers_end: JoinHandle<hyper::Result<()>>,
    _closing: watch::Sender<bool>,
}

async fn connect() -> Connected {
    let (sender, requests) = mpsc::unbounded_channel::<Asked>();
    let answers = service_fn(move |request| {
        let (begin, begun) = oneshot::channel();
        let _ = sender.send((request, begin));
        async move { Ok::<_, Infallible>(Response::new(begun.await.expect("it is answered"))) }
    });
    let (edge, viewer) = duplex(64 * 1024);
    let limits = Limits::default();
    let closing = watch::Sender::new(false);
    let peer = Viewer::new("192.0.2.1:9".parse().unwrap());
    tokio::spawn(connection(Protocols::All, limits, edge, peer, answers, closing.subscribe()));
    let (viewer, connection) = handshake(TokioExecutor::new(), TokioIo::new(viewer)).await.unwrap();
    let viewers_end = tokio::spawn(connection);
    Connected { viewer, requests, viewers_end, _closing: closing }
}

impl Connected {
    fn ask(&mut self) -> JoinHandle<hyper::Result<Response<Incoming>>> {
        let request = Request::get("http://a/").body(Empty::new()).unwrap();
        tokio::spawn(self.viewer.send_request(request))
    }

    /// The next request.
    async fn next(&mut self) -> Asked {
        timeout(PATIENCE, self.requests.recv()).await.expect("it comes").unwrap()
    }

    /// The body of the next answer, which begins.
    async fn begin(&mut self) -> Sender<Bytes, Infallible> {
        let (_, begin) = self.next().await;
        let (sender, body) = Channel::new(4);
        assert!(begin.send(body).is_ok());
        sender
    }

    /// How long it takes for the connection to end, as it should.
    async fn end(self) -> Duration {
        let since = Instant::now();
        timeout(PATIENCE, self.viewers_end).await.expect("it ends").unwrap().unwrap();
        since.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_is_closed_in_time_though_it_answers_pings() {
    let head_time = Limits::default().head_time;
    let mut connected = connect().await;
    for _ in 0..3 {
        let asked = connected.ask();
        drop(connected.begin().await);
        let answer = asked.await.unwrap().unwrap();
        assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
        // Each answer gives it as long again.
        sleep(head_time * 3 / 4).await;
        assert!(!connected.viewers_end.is_finished());
    }
    // Nothing that is under way is lost by it.
    let took = connected.end().await;
    assert!(took.abs_diff(head_time / 4) < Duration::from_millis(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_waited_for_or_goes_on_keeps_its_connection() {
    let head_time = Limits::default().head_time;
    let mut connected = connect().await;
    // One is not begun for a long time, and then says nothing for as long, as an event stream may. Others come and go.
    let asked = connected.ask();
    let (_, begin) = connected.next().await;
    sleep(head_time * 20).await;
    let (mut events, body) = Channel::<Bytes, Infallible>::new(4);
    assert!(begin.send(body).is_ok());
    let mut answer = asked.await.unwrap().unwrap();
    sleep(head_time * 20).await;
    let other = connected.ask();
    drop(connected.begin().await);
    assert!(other.await.unwrap().unwrap().into_body().collect().await.is_ok());
    sleep(head_time * 20).await;
    events.send_data(Bytes::from_static(b"news")).await.unwrap();
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "news");
    sleep(head_time * 20).await;
    assert!(!connected.viewers_end.is_finished());
    drop(events);
    assert!(answer.collect().await.unwrap().to_bytes().is_empty());
    let took = connected.end().await;
    assert!(took.abs_diff(head_time) < Duration::from_millis(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_viewer_who_leaves_an_answer_does_not_keep_its_connection() {
    let head_time = Limits::default().head_time;
    let mut connected = connect().await;
    let asked = connected.ask();
    let events = connected.begin().await;
    let answer = asked.await.unwrap().unwrap();
    sleep(head_time * 3).await;
    drop(answer);
    let took = connected.end().await;
    assert!(took.abs_diff(head_time) < Duration::from_millis(10), "{took:?}");
    drop(events);
}

#[tokio::test]
async fn a_connection_counts_until_its_end_though_its_service_does_not_keep_its_viewer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits { connections: 1, ..Limits::default() };
    let closing = watch::Sender::new(false);
    // As that of operators.
    let service = |_| service_fn(|_| async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) });
    let listening = listen(listener, Protocols::All, limits, service, &closing);
    let ask = async || {
        let mut viewer = TcpStream::connect(address).await.unwrap();
        viewer.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        viewer
    };
    let viewers = async {
        let mut first = ask().await;
        first.read_u8().await.unwrap();
        let mut second = ask().await;
        let early = timeout(Duration::from_millis(200), second.read_u8()).await;
        assert!(early.is_err(), "one connection may be open, and two are answered");
        drop(first);
        timeout(Duration::from_secs(10), second.read_u8()).await.expect("its turn comes").unwrap();
    };
    tokio::select! {
        () = listening => {}
        () = viewers => {}
    }
}
