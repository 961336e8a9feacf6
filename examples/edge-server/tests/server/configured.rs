//! A server by its file: `--config`, `check`, and SIGHUP.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{command, origin, run};

const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that goes with its test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        // Whole or not at all, as those who reload would have it.
        let (path, new) = (self.0.join(name), self.0.join(format!("{name}.new")));
        fs::write(&new, text).unwrap();
        fs::rename(&new, &path).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server by a file; it ends with this value.
pub(crate) struct Configured {
    process: Child,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) file: String,
    pub(crate) folder: Folder,
    log: Arc<std::sync::Mutex<String>>,
}

impl Configured {
    pub(crate) fn start(folder: Folder, listeners: usize, text: &str) -> Self {
        Self::start_with(folder, listeners, text, &[])
    }

    /// With variables in its environment.
    pub(crate) fn start_with(
        folder: Folder,
        listeners: usize,
        text: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let file = folder.write("edge.toml", text);
        let mut process = command(&["--config", &file])
            .env_remove("RUST_LOG")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::<std::sync::Mutex<String>>::default();
        let (lines, kept) = (BufReader::new(process.stderr.take().unwrap()).lines(), Arc::clone(&log));
        thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| *kept.lock().unwrap() += &(line + "\n"))
        });
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().take(listeners);
        let address = |line: String| line.rsplit('/').next().unwrap().parse().unwrap();
        let addresses: Vec<_> = lines.map(|line| address(line.unwrap())).collect();
        assert_eq!(addresses.len(), listeners, "{}", log.lock().unwrap());
        Self { process, addresses, file, folder, log }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn get(&self, path: &str) -> String {
        self.talk(&format!("GET {path} HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n"))
    }

    pub(crate) fn talk(&self, request: &str) -> String {
        exchange(TcpStream::connect(self.addresses[0]).unwrap(), request)
    }

    /// Has the file read again, and waits until a line of the log says what became of it.
    pub(crate) fn reload(&self, text: &str, said: &str) {
        self.folder.write("edge.toml", text);
        let before = self.log.lock().unwrap().matches(said).count();
        let killed = Command::new("kill").args(["-HUP", &self.process.id().to_string()]).status();
        assert!(killed.unwrap().success());
        until(|| self.log.lock().unwrap().matches(said).count() > before);
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it does not come about");
        thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn exchange(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // TLS without a farewell is the other's way of closing.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// An origin that says its name and what it was asked, and is kept for a minute.
fn named(name: &'static str) -> SocketAddr {
    origin(move |head, mut stream| {
        let body = format!("{name} {}", head.lines().next().unwrap());
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\nCache-Control: max-age=60\r\n\r\n{body}",
            body.len()
        );
        let _ = stream.write_all(answer.as_bytes());
    })
}

pub(crate) fn upstream(name: &str, address: SocketAddr) -> String {
    format!("[origin.{name}]\nkind = \"upstream\"\nurl = \"http://{address}\"\n")
}

pub(crate) const LISTENER: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\n";

pub(crate) fn catch_all(origin: &str) -> String {
    format!("[[behavior]]\npath = \"*\"\norigin = \"{origin}\"\n")
}

#[test]
fn check_says_everything_with_its_place_and_exits_2() {
    let folder = Folder::new("check");
    let file = folder.write(
        "edge.toml",
        "[origin.a]\nkind = \"demo\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n[[behavior]]\npath = \"*\"\n\
         orign = \"a\"\nhttps = \"rdirect\"\n",
    );
    for flags in [["check", &file], ["--config", &file]] {
        let output = run(&flags);
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        let expected = [
            format!("{file}:5:1: origin is missing"),
            format!("{file}:7:1: unknown key \"orign\"; did you mean \"origin\"?"),
            format!("{file}:8:9: https: \"rdirect\": did you mean \"redirect\"?"),
        ];
        assert_eq!(error.lines().collect::<Vec<_>>(), expected, "{flags:?}");
    }
    let output = run(&["check", "/nowhere/edge.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("/nowhere/edge.toml: cannot be read"));
}

#[cfg(feature = "redis")]
#[test]
fn check_refuses_a_redis_with_tls_and_says_what_is_missing() {
    let folder = Folder::new("rediss");
    let text = format!(
        "[distribution]\nredis = \"rediss://:secret@redis.example.com\"\n[origin.o]\nkind = \"demo\"\n{LISTENER}{}",
        catch_all("o")
    );
    let file = folder.write("edge.toml", &text);
    let output = run(&["check", &file]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with(&format!("{file}:1:")), "{error}");
    assert!(error.contains("rediss:// is TLS, which the crate redis was built without"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[cfg(feature = "bucket")]
#[test]
fn check_finds_nothing_wrong_with_the_documented_file() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/edge.toml");
    let output = run(&["check", file]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_address_in_use_is_told_by_its_place() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!(
        "[origin.demo]\nkind = \"demo\"\n{}[[listener]]\naddress = \"{address}\"\n",
        catch_all("demo")
    );
    let folder = Folder::new("taken");
    let file = folder.write("edge.toml", &text);
    let output = run(&["--config", &file]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    let place = format!("{file}:7:11: cannot listen on {address}: ");
    assert!(error.starts_with(&place), "{place} {error}");
}

#[test]
fn check_looks_at_what_the_file_names() {
    let folder = Folder::new("named");
    let text = format!("[origin.demo]\nkind = \"demo\"\n{}{LISTENER}", catch_all("demo"));
    let output = run(&["check", &folder.write("edge.toml", &text)]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let tls = "tls = { certificate = \"/nowhere/a.pem\", key = \"/nowhere/a.key\" }\n";
    let file = folder.write("edge.toml", &format!("{text}{tls}"));
    for command in ["check", "--config"] {
        let output = run(&[command, &file]);
        assert_eq!(output.status.code(), Some(2));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with(&format!("{file}:8:7: tls: /nowhere/a.pem: ")), "{error}");
    }
    for (lines, expected) in [
        ("redis = \"nonsense\"", "8:1: redis: "),
        (
            "redis = \"redis://127.0.0.1:1\"\nedge-token-file = \"/nowhere/token\"",
            "8:1: edge-token-file: /nowhere/token: ",
        ),
        (
            "redis = \"redis://127.0.0.1:1\"\naddresses = \"/nowhere/a.csv\"",
            "10:13: addresses: /nowhere/a.csv: ",
        ),
        #[cfg(not(feature = "maxmind"))]
        (
            "redis = \"redis://127.0.0.1:1\"\nmaxmind = \"x.mmdb\"",
            "10:11: maxmind: needs the feature maxmind",
        ),
    ] {
        let file = folder.write("edge.toml", &format!("{text}[distribution]\n{lines}\n"));
        for flags in [["check", &file], ["--config", &file]] {
            let output = run(&flags);
            assert_eq!(output.status.code(), Some(2), "{lines}");
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(error.contains(&format!("{file}:{expected}")), "{error}");
        }
    }
}

#[test]
fn what_is_read_at_the_start_alone_stays_as_it_was() {
    let rest = [&upstream("o", named("o")), LISTENER, &catch_all("g")].concat();
    let text = |name: &str| format!("name = \"{name}\"\n[group.g]\nmembers = [\"o\"]\n{rest}");
    let edge = Configured::start(Folder::new("fixed"), 1, &text("fra-1"));
    for (round, name) in ["fra-2", "fra-3"].into_iter().enumerate() {
        edge.reload(&text(name), "reconfigured from");
        assert!(edge.log.lock().unwrap().matches("name changed").count() == round + 1);
        let answer = edge.get(&format!("/{round}")).to_lowercase();
        for line in ["via: 1.1 fra-1\r\n", "proxy-status: fra-1; next-hop=o\r\n", "cache-status: fra-1; "] {
            assert!(answer.contains(line), "{line}: {answer}");
        }
    }
    edge.reload(&format!("\n{}", text("fra-1")), "reconfigured from");
    assert_eq!(edge.log.lock().unwrap().matches("changed").count(), 2);
}

#[test]
fn each_behavior_has_its_origin_and_its_rules() {
    let text = [
        &upstream("a", named("a")),
        &upstream("b", named("b")),
        LISTENER,
        "[policy.never]\nttl = { max = \"0s\" }\n",
        "[[behavior]]\npath = \"/b/*\"\norigin = \"b\"\nstrip-prefix = \"/b\"\nadd-prefix = \"/v1\"\npolicy = \"never\"\n",
        "[[behavior]]\npath = \"/read/*\"\norigin = \"a\"\nmethods = [\"GET\", \"HEAD\"]\n",
        "[[behavior]]\npath = \"/safe/*\"\norigin = \"a\"\nhttps = \"redirect\"\n",
        "[[behavior]]\npath = \"/secret/*\"\norigin = \"a\"\nhttps = \"only\"\n",
        &catch_all("a"),
    ]
    .concat();
    let edge = Configured::start(Folder::new("rules"), 1, &text);
    for _ in 0..2 {
        let answer = edge.get("/b/x?y=%2F");
        assert!(answer.ends_with("b GET /v1/x?y=%2F HTTP/1.1"), "{answer}");
        assert!(!answer.contains("; hit"), "{answer}");
    }
    assert!(edge.get("/x").ends_with("a GET /x HTTP/1.1"));
    assert!(edge.get("/x").contains("; hit"));
    // What may mean another path falls under the last.
    assert!(edge.get("/x/../b/x").ends_with("a GET /x/../b/x HTTP/1.1"));
    let answer =
        edge.talk("POST /read/x HTTP/1.1\r\nHost: site\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    assert!(edge.get("/read/x").ends_with("a GET /read/x HTTP/1.1"));
    let answer = edge.get("/safe/x?y");
    assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
    assert!(answer.contains("location: https://site/safe/x?y\r\n"), "{answer}");
    assert!(edge.get("/secret/x").starts_with("HTTP/1.1 403"));
}

#[test]
fn what_may_lead_out_of_an_added_prefix_is_refused() {
    let text = [&upstream("o", named("o")), LISTENER, &catch_all("o"), "add-prefix = \"/site\"\n"].concat();
    let edge = Configured::start(Folder::new("prefix"), 1, &text);
    assert!(edge.get("/a..b/...").ends_with("o GET /site/a..b/... HTTP/1.1"));
    for path in ["/../other", "/a/%2e%2E/../other", "/..%2fother"] {
        let answer = edge.get(path);
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
}

#[test]
fn a_group_answers_when_its_first_does_not_and_says_who_did() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = [
        "name = \"fra-1\"\n[group.pair]\nmembers = [\"a\", \"b\"]\n",
        &upstream("a", nobody),
        &upstream("b", named("b")),
        LISTENER,
        &catch_all("pair"),
    ]
    .concat();
    let edge = Configured::start(Folder::new("group"), 1, &text);
    let answer = edge.get("/x");
    assert!(answer.ends_with("b GET /x HTTP/1.1"), "{answer}");
    assert!(answer.contains("proxy-status: fra-1; next-hop=b\r\n"), "{answer}");
    let answer =
        edge.talk("POST /x HTTP/1.1\r\nHost: site\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
}

#[test]
fn a_bad_file_is_refused_and_the_old_one_goes_on() {
    let (a, b) = (upstream("o", named("a")), upstream("o", named("b")));
    let rest = format!("{LISTENER}{}", catch_all("o"));
    let edge = Configured::start(Folder::new("refused"), 1, &format!("{a}{rest}"));
    edge.reload(&format!("{b}{rest}nonsense = 1\n"), "not reconfigured");
    assert!(edge.log.lock().unwrap().contains(&format!("{}:9:1: unknown key \"nonsense\"", edge.file)));
    assert!(edge.get("/1").starts_with("HTTP/1.1 200"));
    assert!(edge.get("/1").ends_with("a GET /1 HTTP/1.1"));
    edge.reload(&format!("{b}{rest}"), "reconfigured from");
    assert!(edge.get("/2").ends_with("b GET /2 HTTP/1.1"));
    // What was stored stays.
    assert!(edge.get("/1").ends_with("a GET /1 HTTP/1.1"));
}

#[test]
fn no_request_fails_or_is_mixed_while_the_file_is_reloaded_a_hundred_times() {
    const RELOADS: usize = 100;
    // Each configuration has an origin, a prefix and a lifetime of its own. The body tells the first two, and a hit the third.
    let (a, b) = (named("a"), named("b"));
    let text = |name: &str, address, seconds: u32| {
        format!(
            "{}{LISTENER}[policy.p]\nttl = {{ max = \"{seconds}s\" }}\nheaders = {{ only = [\"x-{name}\"] }}\n\
             [[behavior]]\npath = \"*\"\norigin = \"o\"\npolicy = \"p\"\nadd-prefix = \"/{name}\"\n",
            upstream("o", address)
        )
    };
    let texts = [text("a", a, 30), text("b", b, 50)];
    let edge = Arc::new(Configured::start(Folder::new("reload"), 1, &texts[0]));
    let (done, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let viewers: Vec<_> = (0..3)
        .map(|viewer| {
            let (edge, done, asked) = (Arc::clone(&edge), Arc::clone(&done), Arc::clone(&asked));
            thread::spawn(move || {
                let mut seen = [false; 2];
                for number in 0.. {
                    if done.load(Ordering::Relaxed) {
                        return seen;
                    }
                    // Some are hits, some are shared, some are new.
                    let path =
                        format!("/{}", if number % 2 == 0 { number / 20 } else { number * 3 + viewer });
                    let answer = edge.get(&path);
                    let (head, body) =
                        answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
                    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
                    let is_b = body == format!("b GET /b{path} HTTP/1.1");
                    assert!(is_b || body == format!("a GET /a{path} HTTP/1.1"), "mixed: {answer}");
                    if let Some((_, ttl)) = head.split_once("; hit; ttl=") {
                        let ttl: u32 = ttl.lines().next().unwrap().parse().unwrap();
                        // Kept by the policy of the configuration that it came by.
                        assert!(if is_b { (31..=50).contains(&ttl) } else { ttl <= 30 }, "mixed: {answer}");
                    }
                    seen[usize::from(is_b)] = true;
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                seen
            })
        })
        .collect();
    for number in 1..=RELOADS {
        let before = asked.load(Ordering::Relaxed);
        edge.reload(&texts[number % 2], "reconfigured from");
        // Who asks from now on gets the new one.
        let path = format!("/after/{number}");
        let name = ["a", "b"][number % 2];
        assert!(edge.get(&path).ends_with(&format!("{name} GET /{name}{path} HTTP/1.1")), "{number}");
        until(|| {
            asked.load(Ordering::Relaxed) > before + 3 || viewers.iter().any(thread::JoinHandle::is_finished)
        });
    }
    done.store(true, Ordering::Relaxed);
    for viewer in viewers {
        assert_eq!(viewer.join().unwrap(), [true; 2]);
    }
    println!("{RELOADS} reloads, {} requests", asked.load(Ordering::Relaxed));
}

/// A certificate for `site`, and what trusts it.
pub(crate) fn certificate(folder: &Folder) -> Arc<ClientConfig> {
    let made = rcgen::generate_simple_self_signed(["site".to_owned()]).unwrap();
    folder.write("key.pem", &made.signing_key.serialize_pem());
    folder.write("certificate.pem", &made.cert.pem());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

pub(crate) fn tls(
    address: SocketAddr,
    trust: &Arc<ClientConfig>,
    alpn: &[&[u8]],
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut config = (**trust).clone();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let mut connection =
        ClientConnection::new(Arc::new(config), ServerName::try_from("site").unwrap()).unwrap();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

#[test]
fn tls_is_spoken_and_a_new_certificate_is_taken_up() {
    const GET: &str = "GET /x HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n";
    let folder = Folder::new("tls");
    let trust = certificate(&folder);
    let echo = origin(|head, mut stream| {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nCache-Control: max-age=60\r\nConnection: close\r\n\r\n{head}",
            head.len()
        );
        let _ = stream.write_all(answer.as_bytes());
    });
    let path = |name| folder.0.join(name).display().to_string();
    let files =
        format!("tls = {{ certificate = \"{}\", key = \"{}\" }}\n", path("certificate.pem"), path("key.pem"));
    let text = [&upstream("o", echo), LISTENER, LISTENER, &files, &catch_all("o")].concat();
    let edge = Configured::start(folder, 2, &text);
    let [plain, secure] = edge.addresses[..] else { panic!("two listeners") };

    let answer = exchange(tls(secure, &trust, &[b"http/1.1"]).unwrap(), GET).to_lowercase();
    assert!(answer.contains("x-forwarded-proto: https\r\n") && answer.contains("proto=https"), "{answer}");
    // What came by TLS is another object than what did not, though both are behind one edge.
    let answer = exchange(TcpStream::connect(plain).unwrap(), GET).to_lowercase();
    assert!(answer.contains("x-forwarded-proto: http\r\n") && !answer.contains("; hit"), "{answer}");
    assert!(exchange(tls(secure, &trust, &[]).unwrap(), GET).contains("; hit"));
    let stream = tls(secure, &trust, &[b"h2", b"http/1.1"]).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));

    let new = certificate(&edge.folder);
    until(|| tls(secure, &new, &[]).is_ok());
    assert!(tls(secure, &trust, &[]).is_err());
}
