//! Several edges as one distribution.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::configured::{self, Configured, Folder, LISTENER, catch_all, certificate, tls, until, upstream};
use crate::support::{Edge, TemporaryFile, command, origin, read_head};

const PATIENCE: Duration = Duration::from_secs(20);

/// The demonstration, which ends with this value.
struct Demo {
    process: Child,
    addresses: HashMap<String, SocketAddr>,
}

impl Demo {
    fn start() -> Self {
        let mut process = command(&["demo-distribution"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let addresses = lines
            .map(Result::unwrap)
            .take_while(|line| !line.is_empty())
            .map(|line| {
                let mut words = line.split_whitespace();
                let (name, url) = (words.next().unwrap(), words.next().unwrap());
                (name.to_owned(), url.strip_prefix("http://").unwrap().parse().unwrap())
            })
            .collect();
        Self { process, addresses }
    }

    /// What came for `host`, in lower case.
    fn get(&self, edge: &str, path: &str) -> String {
        exchange(self.addresses[edge], &format!("GET {path} HTTP/1.1\r\nHost: site.example\r\n"), "")
            .to_lowercase()
    }

    fn control(&self, what: &str, body: &str) -> (u16, Value) {
        tell(self.addresses["control"], what, body)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn exchange(address: SocketAddr, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(stream, "{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// As an operator.
fn tell(control: SocketAddr, what: &str, body: &str) -> (u16, Value) {
    let head = format!("{what} HTTP/1.1\r\nHost: {control}\r\nContent-Type: application/json\r\n");
    let answer = exchange(control, &head, body);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[test]
fn the_demonstration_shows_every_hop_and_clears_everywhere() {
    let demo = Demo::start();
    let hops = |answer: &str| {
        let lines = answer.lines().filter_map(|line| line.strip_prefix("cache-status: "));
        lines.collect::<Vec<_>>().join(", ")
    };
    let miss = "shield; fwd=uri-miss; stored, fra-1; fwd=uri-miss; stored";
    assert_eq!(hops(&demo.get("fra-1", "/picture.svg")), miss);
    let second = hops(&demo.get("nyc-1", "/picture.svg"));
    assert!(
        second.starts_with("shield; hit; ttl=315") && second.ends_with(", nyc-1; fwd=uri-miss; stored"),
        "{second}"
    );
    assert!(hops(&demo.get("nyc-1", "/picture.svg")).contains(", nyc-1; hit; "));
    let (status, receipt) =
        demo.control("POST /distribution/invalidations?wait=20", r#"{"paths":["/picture.svg"]}"#);
    assert_eq!((status, receipt["state"].as_str()), (201, Some("completed")), "{receipt}");
    let names: Vec<_> =
        receipt["edges"].as_array().unwrap().iter().map(|edge| edge["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["fra-1", "nrt-1", "nyc-1", "shield"]);
    assert_eq!(hops(&demo.get("fra-1", "/picture.svg")), miss);
}

#[test]
fn the_control_port_says_which_edge_is_nearest() {
    let demo = Demo::start();
    for (query, name) in
        [("lat=48.85&lon=2.35", "fra-1"), ("lat=-33&lon=151.2", "nrt-1"), ("lat=19.4&lon=-99.1", "nyc-1")]
    {
        let (status, nearest) = demo.control(&format!("GET /nearest?{query}"), "");
        assert_eq!((status, nearest["name"].as_str()), (200, Some(name)), "{nearest}");
        let url = format!("http://{}", demo.addresses[name]);
        assert_eq!(nearest["url"].as_str(), Some(url.as_str()));
    }
    for (query, status) in [
        ("", 400),
        ("lat=1", 400),
        ("lat=1&lon=2&ip=192.0.2.1", 400),
        ("lat=91&lon=0", 400),
        ("lat=x&lon=0", 400),
        ("place=x", 400),
        // It has no table of addresses.
        ("ip=192.0.2.1", 404),
    ] {
        let (answered, problem) = demo.control(&format!("GET /nearest?{query}"), "");
        assert_eq!(answered, status, "{query}: {problem}");
    }
    let (status, problem) = demo.control("POST /invalidations", r#"{"all":true}"#);
    assert_eq!(status, 409, "one edge of several is not cleared by itself: {problem}");
    let (status, members) = demo.control("GET /distribution", "");
    assert_eq!((status, members["edges"].as_array().unwrap().len()), (200, 4), "{members}");
}

#[test]
fn an_edge_by_itself_is_in_no_distribution() {
    let edge = Edge::controlled(origin(|_, _| {}), &[]);
    for what in ["GET /distribution", "GET /nearest?lat=1&lon=2"] {
        assert_eq!(edge.ask(what, "", "").status, 404, "{what}");
    }
    assert_eq!(edge.tell("POST /distribution/invalidations", r#"{"all":true}"#).status, 404);
}

/// A Redis of its own, which ends with this value.
struct Redis {
    process: Child,
    url: String,
}

impl Redis {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < PATIENCE, "it does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { process, url: format!("redis://127.0.0.1:{port}") }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "needs redis-server"]
fn processes_join_one_distribution_by_flags() {
    let redis = Redis::start();
    let token = TemporaryFile::new(&"5e".repeat(32));
    let site = fresh_site();
    let member = |name: &str, more: &[&str]| {
        let flags = ["--redis", &redis.url, "--edge-token-file", token.path(), "--name", name];
        Edge::controlled(site, &[&flags[..], more].concat())
    };
    let shield = member("shield", &["--at", "53.4,-6.3"]);
    let parent = format!("http://{}", shield.address);
    let child = member("fra-1", &["--at", "50.1,8.7", "--parent", &parent]);
    let answer = child.get("/x", "").to_lowercase();
    let miss = "cache-status: shield; fwd=uri-miss; stored, fra-1; fwd=uri-miss; stored\r\n";
    assert!(answer.contains(miss), "{answer}");
    assert!(child.get("/x", "").to_lowercase().contains(", fra-1; hit;"));
    // From either.
    let receipt = shield.tell("POST /distribution/invalidations?wait=20", r#"{"paths":["/x"]}"#);
    assert_eq!(receipt.status, 201, "{receipt:?}");
    assert_eq!(receipt.body["state"], "completed", "{receipt:?}");
    assert_eq!(receipt.body["edges"].as_array().unwrap().len(), 2, "{receipt:?}");
    assert!(child.get("/x", "").to_lowercase().contains(miss));
    assert_eq!(child.ask("GET /nearest?lat=1&lon=1", "", "").body["name"], "fra-1");
}

#[test]
#[ignore = "needs redis-server"]
fn parents_that_ask_each_other_notice_and_ask_the_origin() {
    let redis = Redis::start();
    let token = TemporaryFile::new(&"5e".repeat(32));
    let site = format!("http://{}", fresh_site());
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let addresses = [free(), free()];
    let member = |name: &str, at: usize| {
        let parent = format!("http://{}", addresses[1 - at]);
        let flags = ["--redis", &redis.url, "--edge-token-file", token.path(), "--name", name];
        let more = ["--listen", &addresses[at], "--parent", &parent, "--origin", &site];
        Edge::spawn(&mut command(&[flags, more].concat()))
    };
    let (one, _other) = (member("fra-1", 0), member("nyc-1", 1));
    let started = Instant::now();
    let answer = one.get("/x", "").to_lowercase();
    assert!(answer.starts_with("http/1.1 200") && answer.ends_with("ok"), "{answer}");
    assert!(answer.contains(", fra-1; fwd=uri-miss; stored\r\n"), "{answer}");
    // What came back asked for what this edge was fetching already, and waited for that no longer than any request does.
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
}

#[test]
#[ignore = "needs redis-server"]
fn a_parent_without_tls_serves_the_viewers_that_its_child_has_by_tls() {
    let redis = Redis::start();
    let site = origin(|head, mut stream| {
        let lines = head.lines().filter(|line| line.to_lowercase().starts_with("x-forwarded-"));
        let body: String = lines.flat_map(|line| [line, ";"]).collect();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nLocation: http://{}/y\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            stream.local_addr().unwrap(),
            body.len()
        );
        let _ = stream.write_all(answer.as_bytes());
    });
    let folder = Folder::new("child");
    let trust = certificate(&folder);
    let token = TemporaryFile::new(&"5e".repeat(32));
    let text = |name: &str, more: &str| {
        format!(
            "name = \"{name}\"\n{}{LISTENER}{more}\nedge-token-file = \"{}\"\nredis = \"{}\"\n{}https = \"redirect\"\n",
            upstream("o", site),
            token.path(),
            redis.url,
            catch_all("o"),
        )
    };
    let parent = Configured::start(Folder::new("parent"), 1, &text("shield", "[distribution]"));
    let path = |name| folder.0.join(name).display().to_string();
    let files =
        format!("tls = {{ certificate = \"{}\", key = \"{}\" }}", path("certificate.pem"), path("key.pem"));
    let parents = format!("{files}\n[distribution]\nparents = [\"http://{}\"]", parent.addresses[0]);
    let child = text("fra-1", &parents);
    let child = Configured::start(folder, 1, &child);
    let ask = || {
        let stream = tls(child.addresses[0], &trust, &[b"http/1.1"]).unwrap();
        let head = "GET /x HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n";
        configured::exchange(stream, head).to_lowercase()
    };
    let answer = ask();
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert!(
        answer.contains("cache-status: shield; fwd=uri-miss; stored, fra-1; fwd=uri-miss; stored\r\n"),
        "{answer}"
    );
    assert!(answer.contains("x-forwarded-proto: https;"), "{answer}");
    assert!(answer.contains("location: https://site/y\r\n"), "{answer}");
    assert!(ask().contains(", fra-1; hit;"));
    // Whoever has no token claims in vain.
    let claim = "GET /x HTTP/1.1\r\nHost: site\r\nConnection: close\r\nX-Forwarded-Proto: https\r\n\r\n";
    assert!(parent.talk(claim).starts_with("HTTP/1.1 308"));
}

#[test]
#[ignore = "needs redis-server"]
fn an_edge_that_was_told_to_end_gets_no_more_viewers_and_ends_its_download() {
    ends_well(|site, redis| {
        let nyc = Edge::controlled(site, &["--redis", redis, "--name", "nyc-1"]);
        (nyc.id(), nyc.address, nyc)
    });
    ends_well(|site, redis| {
        let (site, behavior) = (upstream("o", site), catch_all("o"));
        let distribution = format!("[distribution]\nredis = \"{redis}\"\n");
        let text = ["name = \"nyc-1\"\n", &site, LISTENER, &behavior, &distribution].concat();
        let nyc = Configured::start(Folder::new("ends"), 1, &text);
        (nyc.id(), nyc.addresses[0], nyc)
    });
}

/// With an edge before an origin by a Redis: the number of its process, its address, and itself.
fn ends_well<E>(start: impl FnOnce(SocketAddr, &str) -> (u32, SocketAddr, E)) {
    const LENGTH: usize = 200_000;
    let redis = Redis::start();
    let goes_on = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&goes_on);
    let slow = origin(move |_, mut stream| {
        let half = "x".repeat(LENGTH / 2);
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n{half}");
        until(|| gate.load(Ordering::Relaxed));
        let _ = stream.write_all(half.as_bytes());
    });
    let (id, address, _nyc) = start(slow, &redis.url);
    let text = format!(
        "name = \"fra-1\"\n{}{LISTENER}{}[control]\naddress = \"127.0.0.1:0\"\n\
         [distribution]\nredis = \"{}\"\nat = [50.1, 8.7]\n\
         [[distribution.edge]]\nname = \"nyc-1\"\nat = [40.7, -74.0]\n",
        upstream("o", slow),
        catch_all("o"),
        redis.url,
    );
    let fra = Configured::start(Folder::new("drains"), 2, &text);
    let control = fra.addresses[1];
    let nearest = || tell(control, "GET /nearest?lat=40&lon=-75", "").1["name"].clone();
    // Those that the log knows of, and which of them are ending.
    let edges = || -> Vec<(String, bool)> {
        let (_, state) = tell(control, "GET /distribution", "");
        let edges = state["edges"].as_array().unwrap().iter();
        edges.map(|edge| (edge["name"].as_str().unwrap().to_owned(), edge["draining"] == true)).collect()
    };
    until(|| edges().len() == 2 && nearest() == "nyc-1");

    let mut download = TcpStream::connect(address).unwrap();
    download.set_read_timeout(Some(PATIENCE)).unwrap();
    download.write_all(b"GET /film HTTP/1.1\r\nHost: site\r\n\r\n").unwrap();
    let mut got = vec![0; 1_000];
    download.read_exact(&mut got).unwrap();
    let told = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &id.to_string()]).status().unwrap().success());
    until(|| nearest() == "fra-1");
    // It is cut off after ten seconds, and leaves the log then.
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    let mut known = edges();
    known.sort();
    assert_eq!(known, [("fra-1".to_owned(), false), ("nyc-1".to_owned(), true)]);
    let (_, receipt) = tell(control, "POST /distribution/invalidations?wait=3", r#"{"paths":["/x"]}"#);
    let states: Vec<_> = receipt["edges"].as_array().unwrap().iter().map(|edge| &edge["state"]).collect();
    assert_eq!(states, ["swept", "swept"], "as long as it serves it is waited for: {receipt}");

    goes_on.store(true, Ordering::Relaxed);
    download.read_to_end(&mut got).unwrap();
    let answer = String::from_utf8(got).unwrap();
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.len(), LENGTH);
    until(|| edges() == [("fra-1".to_owned(), false)]);
}

#[test]
#[cfg(feature = "maxmind")]
fn a_database_says_where_addresses_are_that_the_table_does_not_have() {
    let folder = Folder::new("database");
    folder.write("table.csv", "192.0.2.0/24, 40, -75\n10.9.0.0/16, 40, -75\n");
    let file = folder.0.join("places.mmdb").display().to_string();
    let text = format!(
        "name = \"fra-1\"\n{}{LISTENER}{}[control]\naddress = \"127.0.0.1:0\"\n\
         [distribution]\nredis = \"redis://127.0.0.1:1\"\nat = [50.1, 8.7]\naddresses = \"{}\"\n\
         maxmind = \"{file}\"\n[[distribution.edge]]\nname = \"nyc-1\"\nat = [40.7, -74.0]\n",
        upstream("o", fresh_site()),
        catch_all("o"),
        folder.0.join("table.csv").display(),
    );
    // It is not there, and then it is none.
    for content in [None, Some("no database")] {
        if let Some(content) = content {
            folder.write("places.mmdb", content);
        }
        let config = folder.write("edge.toml", &text);
        for flags in [["check", &config], ["--config", &config]] {
            let output = crate::support::run(&flags);
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{error}");
            assert!(error.contains(&format!("{config}:16:11: maxmind: {file}: ")), "{error}");
        }
    }
    std::fs::write(&file, crate::tiny::database(50.0, 8.0)).unwrap();
    let edge = Configured::start(folder, 2, &text);
    let nearest = |address: &str| {
        let (status, place) = tell(edge.addresses[1], &format!("GET /nearest?ip={address}"), "");
        (status, place["name"].as_str().unwrap_or_default().to_owned())
    };
    for (address, status, name) in [
        ("10.0.0.1", 200, "fra-1"),
        ("10.9.0.1", 200, "nyc-1"),
        ("192.0.2.1", 200, "nyc-1"),
        ("198.51.100.1", 404, ""),
        ("2001:db8::1", 404, ""),
    ] {
        assert_eq!(nearest(address), (status, name.to_owned()), "{address}");
    }

    // Both are read again, and what is wrong with one leaves all as it was.
    let (home, away) = ((200, "fra-1".to_owned()), (200, "nyc-1".to_owned()));
    edge.folder.write("table.csv", "198.51.100.0/24, 40, -75\n");
    std::fs::write(&file, "no database").unwrap();
    edge.reload(&text, &format!("not reconfigured: {}:16:11: maxmind: {file}: ", edge.file));
    assert_eq!((nearest("10.0.0.1"), nearest("192.0.2.1")), (home.clone(), away.clone()));
    assert_eq!(nearest("198.51.100.1").0, 404);
    std::fs::write(&file, crate::tiny::database(40.0, -75.0)).unwrap();
    edge.reload(&text, "reconfigured from");
    assert_eq!((nearest("10.0.0.1"), nearest("198.51.100.1")), (away.clone(), away.clone()));
    assert_eq!(nearest("192.0.2.1").0, 404);
    edge.folder.write("table.csv", "10.0.0.0/8, 91, 0\n");
    let table = edge.folder.0.join("table.csv").display().to_string();
    edge.reload(&text, &format!("not reconfigured: {}:15:13: addresses: {table}: ", edge.file));
    assert_eq!((nearest("10.0.0.1"), nearest("198.51.100.1")), (away.clone(), away));
    // So are other files, and none.
    let other = edge.folder.write("other.csv", "10.0.0.0/8, 50, 8\n");
    let maxmind = format!("maxmind = \"{file}\"");
    edge.reload(&text.replace(&table, &other).replace(&maxmind, ""), "reconfigured from");
    assert_eq!((nearest("10.0.0.1"), nearest("198.51.100.1").0), (home, 404));
}

#[test]
fn a_parent_that_stays_keeps_its_connections_when_the_file_is_read_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let parent = listener.local_addr().unwrap();
    let (connections, requests) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let counts = (Arc::clone(&connections), Arc::clone(&requests));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counts.0.fetch_add(1, Ordering::Relaxed);
            let (mut stream, requests) = (stream.unwrap(), Arc::clone(&counts.1));
            std::thread::spawn(move || {
                while !read_head(&mut stream).is_empty() {
                    requests.fetch_add(1, Ordering::Relaxed);
                    let answer =
                        "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 6\r\n\r\nparent";
                    let _ = stream.write_all(answer.as_bytes());
                }
            });
        }
    });
    let token = TemporaryFile::new(&"5e".repeat(32));
    let text = |first: &str| {
        format!(
            "{first}\n{}{LISTENER}{}[distribution]\nredis = \"redis://127.0.0.1:1\"\nedge-token-file = \"{}\"\n\
             parents = [\"http://{parent}\"]\n",
            upstream("o", fresh_site()),
            catch_all("o"),
            token.path(),
        )
    };
    let edge = Configured::start(Folder::new("parents"), 1, &text(""));
    for round in 1..=3 {
        let answer = edge.get(&format!("/{round}"));
        assert!(answer.ends_with("parent"), "{answer}");
        let counted = (connections.load(Ordering::Relaxed), requests.load(Ordering::Relaxed));
        assert_eq!(counted, (1, round));
        edge.reload(&text(&format!("https-port = {round}")), "reconfigured from");
    }
}

/// A site whose answers may be kept.
fn fresh_site() -> SocketAddr {
    origin(|_, mut stream| {
        let answer = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
        let _ = stream.write_all(answer.as_bytes());
    })
}
