//! An agent over a measurement that is made up: what it answers, to whom, and what it bears.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use courtside_core::{
    fixture::frames,
    frame::{Frame, ProbeStatus},
    model::{Snapshot, View, status::Status},
};
use tokio::sync::watch;

use super::*;

mod guarded;

/// The same window again and again, each when it is let.
struct MadeUp {
    windows: Receiver<Frame>,
}

impl Measurement for MadeUp {
    fn window(&mut self) -> anyhow::Result<Frame> {
        Ok(self.windows.recv()?)
    }

    fn finish(&mut self) -> anyhow::Result<Frame> {
        Ok(frames::chain(1))
    }

    fn probes(&self) -> &[ProbeStatus] {
        &[]
    }
}

/// A measurement that always has a window, and maybe no last one.
struct Endless {
    last: Option<Frame>,
}

impl Measurement for Endless {
    fn window(&mut self) -> anyhow::Result<Frame> {
        Ok(frames::chain(1))
    }

    fn finish(&mut self) -> anyhow::Result<Frame> {
        let last = self.last.take();
        last.ok_or_else(|| anyhow::anyhow!("there is no last window"))
    }

    fn probes(&self) -> &[ProbeStatus] {
        &[]
    }
}

/// An agent that serves on a port of its own until it is dropped.
struct Served {
    address: SocketAddr,
    windows: Option<Sender<Frame>>,
    board: Arc<Board>,
    stop: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<()>>,
}

fn options() -> Options {
    Options {
        interval: Duration::from_millis(1),
        view: View::default(),
        top: 50,
        native_histograms: false,
        linger: Duration::from_secs(60),
        duration: None,
        token: None,
        tls: None,
        recording: None,
        export: None,
        push: None,
        guard: None,
    }
}

fn start(options: Options) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let board = Arc::new(Board::new(&options));
    let (windows, made_up) = channel();
    let (stop, stopped) = watch::channel(false);
    let shared = Arc::clone(&board);
    let body = move || {
        let measurement = Box::new(MadeUp { windows: made_up });
        let measuring = Measuring::start(
            measurement,
            options.view,
            options.interval,
            Beside {
                guards: options.guard.map(|guard| guard.guards),
                ..Beside::default()
            },
            Arc::clone(&shared),
        );
        let site = Arc::new(pages::Site {
            board: shared,
            token: options.token,
        });
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            connection::serve(listener, options.tls, site, stopped).await;
        });
        drop(measuring);
    };
    Served {
        address,
        windows: Some(windows),
        board,
        stop,
        thread: Some(thread::spawn(body)),
    }
}

impl Served {
    /// Gives one more window, and waits until it is shown.
    fn window(&self, frame: Frame) {
        let before = self.board.status().windows;
        self.windows.as_ref().unwrap().send(frame).unwrap();
        while self.board.status().windows == before {
            thread::yield_now();
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        stream
    }

    /// All that is said to this until the end of the connection.
    fn say(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // A request that is refused may be cut off while it is sent.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// All that is said to this, by somebody who says no more.
    fn say_last(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // It may have been refused already.
        let _ = stream.write_all(request);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(&self, path: &str, headers: &str) -> String {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
        self.say(request.as_bytes())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        self.windows = None;
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking());
        }
    }
}

fn code(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

fn number(metrics: &str, series: &str) -> u64 {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in {metrics}"))
        .parse()
        .unwrap()
}

#[test]
fn every_page_shows_the_last_window_and_the_counters_all_of_them() {
    let served = start(options());
    assert_eq!(code(&served.get("/snapshot", "")), "503");
    assert_eq!(code(&served.get("/healthz", "")), "200");
    let metrics = served.get("/metrics", "");
    assert_eq!(number(&metrics, "courtside_windows_total"), 0);
    let store = "courtside_requests_total{component=\"program:store\"}";
    for n in 1..=3 {
        served.window(frames::chain(10));
        let metrics = served.get("/metrics", "");
        assert_eq!(number(&metrics, "courtside_windows_total"), n);
        assert_eq!(number(&metrics, store), 60 * n);
    }
    let snapshot = served.get("/snapshot", "");
    let snapshot: Snapshot = serde_json::from_str(body(&snapshot)).unwrap();
    assert_eq!(snapshot.edges.len(), 3);
    let status: Status = serde_json::from_str(body(&served.get("/status", ""))).unwrap();
    assert_eq!((status.windows, status.healthy), (3, true));
    assert_eq!(body(&served.get("/findings", "")), "[]\n");
    assert!(body(&served.get("/", "")).contains("/metrics"));
    assert_eq!(code(&served.get("/nothing", "")), "404");
}

#[test]
fn a_scraper_gets_the_form_that_it_asks_for() {
    let served = start(options());
    served.window(frames::chain(10));
    let plain = served.get("/metrics", "");
    assert!(plain.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    let open = served.get(
        "/metrics",
        "accept: application/openmetrics-text;version=1.0.0\r\n",
    );
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(open.contains(kind) && open.ends_with("# EOF\n"), "{open}");
    // All who ask within one window get the same text.
    assert_eq!(body(&plain), body(&served.get("/metrics", "")));
    let head = served.say(b"HEAD /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(code(&head) == "200" && body(&head).is_empty());
}

#[test]
fn native_histograms_are_for_those_who_take_protobuf() {
    const ACCEPT: &str = "accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited\r\n";
    let served = start(options());
    served.window(frames::chain(10));
    assert!(
        served
            .get("/metrics", ACCEPT)
            .contains("content-type: text/plain;")
    );
    drop(served);
    let served = start(Options {
        native_histograms: true,
        ..options()
    });
    served.window(frames::chain(10));
    let answer = served.get("/metrics", ACCEPT);
    assert!(
        answer.contains("content-type: application/vnd.google.protobuf; proto="),
        "{answer}"
    );
    assert!(answer.contains("courtside_service_seconds"), "{answer}");
    assert!(body(&served.get("/metrics", "")).contains("courtside_service_seconds_bucket{"));
}

#[test]
fn without_the_token_nothing_is_told_but_that_it_lives() {
    let served = start(Options {
        token: Some(Token::parse("a-secret-of-many-letters").unwrap()),
        ..options()
    });
    served.window(frames::chain(10));
    for page in [
        "/",
        "/metrics",
        "/snapshot",
        "/findings",
        "/status",
        "/nothing",
    ] {
        for headers in [
            "",
            "authorization: Bearer a-secret\r\n",
            "authorization: Basic a-secret-of-many-letters\r\n",
        ] {
            let answer = served.get(page, headers);
            assert_eq!(code(&answer), "401", "{page} {headers}");
            assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
            assert!(!answer.contains("program:"), "{answer}");
        }
    }
    assert_eq!(code(&served.get("/healthz", "")), "200");
    // Who would ask again and again keeps no connection for it.
    let answer = served.say(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    let right = "authorization: Bearer a-secret-of-many-letters\r\n";
    assert_eq!(code(&served.get("/metrics", right)), "200");
    assert_eq!(code(&served.get("/nothing", right)), "404");
}

#[test]
fn garbage_and_oversize_requests_are_refused_and_others_are_served_meanwhile() {
    let served = start(options());
    served.window(frames::chain(10));
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    let many: String = (0..500).map(|n| format!("x-{n}: y\r\n")).collect();
    let many = format!("GET /metrics HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    let body =
        "POST /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    let odd = [0xffu8, 0xfe, 0, 1, 2, 3, b'\r', b'\n', b'\r', b'\n'];
    for (request, codes) in [
        (&b"nonsense\r\n\r\n"[..], &["400", ""][..]),
        (&odd[..], &["400", ""]),
        (b"GET  HTTP/9.9\r\n\r\n", &["400", ""]),
        (long.as_bytes(), &["414", "431", "400", ""]),
        (many.as_bytes(), &["431", "400", ""]),
        (body.as_bytes(), &["405"]),
        (
            b"DELETE /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            &["405"],
        ),
    ] {
        let answer = served.say(request);
        assert!(codes.contains(&code(&answer)), "{answer}");
        assert_eq!(code(&served.get("/metrics", "")), "200");
    }
}

/// Bytes in no order, the same ones each time.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(byte).collect()
}

/// Noise, a request that breaks off at each of its bytes, and one with each of its bytes damaged.
#[test]
fn whatever_is_said_nothing_of_it_stays_and_nobody_else_notices() {
    let served = start(options());
    served.window(frames::chain(10));
    let whole = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let noises = (1..150).map(|n| noise(n, 1 + 7 * n as usize));
    let cut = (0..whole.len()).map(|end| whole[..end].to_vec());
    let damaged = (0..whole.len()).map(|at| {
        let mut request = whole.to_vec();
        request[at] ^= 0x80;
        request
    });
    for request in noises.chain(cut).chain(damaged) {
        let answer = served.say_last(&request);
        let shown = String::from_utf8_lossy(&request);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1."),
            "{shown:?}: {answer}"
        );
        assert!(!code(&answer).starts_with('5'), "{shown:?}: {answer}");
    }
    while served.board.status().http.connections > 0 {
        thread::yield_now();
    }
    assert_eq!(served.board.status().http.refused, 0);
    served.window(frames::chain(10));
    let metrics = served.get("/metrics", "");
    assert_eq!(number(&metrics, "courtside_windows_total"), 2);
    // What somebody asks for is no label.
    let paths = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix("courtside_http_requests_total{path=\"")?;
        rest.split('"').next()
    });
    for path in paths {
        assert!(["/metrics", "/", "unknown"].contains(&path), "{path}");
    }
}

#[test]
fn in_a_storm_of_scrapes_each_is_whole_and_nothing_goes_back() {
    const SCRAPERS: u64 = 16;
    const SCRAPES: u64 = 40;
    const WINDOWS: u64 = 20;
    let served = start(options());
    served.window(frames::chain(10));
    thread::scope(|scope| {
        for n in 0..SCRAPERS {
            let served = &served;
            scope.spawn(move || {
                let open = "accept: application/openmetrics-text\r\n";
                let headers = if n % 2 == 0 { open } else { "" };
                let mut before = 0;
                for _ in 0..SCRAPES {
                    let answer = served.get("/metrics", headers);
                    assert_eq!(code(&answer), "200");
                    let text = body(&answer);
                    assert_eq!(text.ends_with("# EOF\n"), n % 2 == 0);
                    let windows = number(text, "courtside_windows_total");
                    assert!(windows >= before, "{windows} after {before}");
                    // Every number is of the same windows.
                    let store = "courtside_requests_total{component=\"program:store\"}";
                    assert_eq!(number(text, store), 60 * windows);
                    before = windows;
                }
            });
        }
        for _ in 0..WINDOWS {
            served.window(frames::chain(10));
        }
    });
    let status = served.board.status();
    assert_eq!(status.windows, WINDOWS + 1);
    assert_eq!(status.http.requests, SCRAPERS * SCRAPES);
    assert_eq!(status.http.refused, 0);
}

/// They ask for more than fits into the buffers on the way. The agent ends although they have not read.
#[test]
fn readers_that_do_not_read_hold_up_nobody_else() {
    let served = start(options());
    served.window(frames::chain(10));
    let size = body(&served.get("/snapshot", "")).len();
    let times = (32 << 20) / size;
    let asked = "GET /snapshot HTTP/1.1\r\nhost: x\r\n\r\n".repeat(times);
    let asking: Vec<thread::JoinHandle<TcpStream>> = (0..4)
        .map(|_| {
            let (mut stream, asked) = (served.connect(), asked.clone());
            thread::spawn(move || {
                // It takes them only as long as its answers find room.
                let _ = stream.write_all(asked.as_bytes());
                stream
            })
        })
        .collect();
    while served.board.status().http.requests < 5 {
        thread::yield_now();
    }
    for windows in 2..=5 {
        served.window(frames::chain(10));
        let metrics = served.get("/metrics", "");
        assert_eq!(number(&metrics, "courtside_windows_total"), windows);
    }
    drop(served);
    for asking in asking {
        drop(asking.join().unwrap());
    }
}

#[test]
fn a_window_may_be_longer_than_any_clock_and_ends_with_the_agent() {
    let board = Arc::new(Board::new(&options()));
    let measurement = Box::new(Endless {
        last: Some(frames::chain(1)),
    });
    let shown = Arc::clone(&board);
    let mut measuring = Measuring::start(
        measurement,
        View::default(),
        Duration::MAX,
        Beside::default(),
        shown,
    )
    .unwrap();
    assert!(measuring.finish().is_none());
    assert_eq!(board.status().windows, 1);
}

#[test]
fn a_last_window_that_fails_is_told() {
    let board = Arc::new(Board::new(&options()));
    let measurement = Box::new(Endless { last: None });
    let shown = Arc::clone(&board);
    let long = Duration::from_secs(3600);
    let mut measuring =
        Measuring::start(measurement, View::default(), long, Beside::default(), shown).unwrap();
    let why = measuring.finish().map(|why| why.to_string());
    assert_eq!(why.as_deref(), Some("there is no last window"));
    assert!(measuring.finish().is_none(), "it is told once");
    assert_eq!(board.status().windows, 0);
}

/// Nobody who holds connections keeps the agent from anything but further connections, and those are free again with them.
#[test]
fn connections_are_limited_and_come_free_again() {
    let served = start(options());
    served.window(frames::chain(10));
    let held: Vec<TcpStream> = (0..MOST_CONNECTIONS).map(|_| served.connect()).collect();
    let open = || served.board.status().http.connections;
    while open() < MOST_CONNECTIONS as u64 {
        thread::yield_now();
    }
    let refused: Vec<String> = (0..8).map(|_| served.get("/metrics", "")).collect();
    let is_refused = |answer: &String| matches!(code(answer), "503" | "");
    assert!(refused.iter().all(is_refused), "{refused:?}");
    // The end of a connection may overtake what was said there, but not each time.
    let is_told = |answer: &String| code(answer) == "503";
    assert!(refused.iter().any(is_told), "nobody is told why");
    assert_eq!(served.board.status().http.refused, 8);
    served.window(frames::chain(10));
    drop(held);
    while open() > 0 {
        thread::yield_now();
    }
    assert_eq!(
        number(
            &served.get("/metrics", ""),
            "courtside_http_connections_refused_total"
        ),
        8
    );
}

#[test]
fn a_request_that_was_begun_is_answered_when_the_agent_ends() {
    let served = start(options());
    served.window(frames::chain(10));
    let mut stream = served.connect();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n")
        .unwrap();
    while served.board.status().http.connections == 0 {
        thread::yield_now();
    }
    served.stop.send(true).unwrap();
    let _ = stream.write_all(b"\r\n");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    // Hyper may close a connection on which no whole head has come.
    assert!(matches!(code(&answer), "200" | ""), "{answer}");
    let thread = {
        let mut served = served;
        served.windows = None;
        served.thread.take()
    };
    thread.unwrap().join().unwrap();
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_given_up() {
    use tokio::io::AsyncWriteExt as _;

    let (ours, theirs) = tokio::io::duplex(16);
    let mut ours = unstalled::Unstalled::new(ours, Duration::from_millis(5));
    let failed = ours.write_all(&[0; 1000]).await.unwrap_err();
    assert_eq!(failed.kind(), std::io::ErrorKind::TimedOut);
    drop(theirs);
}
