//! An agent that serves, exports and pushes for a long time: it does not grow, and nothing goes back.
//!
//! Twenty seconds, or as long as COURTSIDE_SOAK says in seconds: `cargo xtask soak` takes ten minutes, `--for 1h` an hour.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::{
    io::Write as _,
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use courtside_tests::{
    agent::{Agent, Series, series, sum},
    harness::{Host, Running, finish, workload},
};
use rustix::process::Signal;

const SECONDS: u64 = 20;
/// What an agent may have gained from the second quarter of the time to the last one: its allocator keeps pages of what was
/// larger for a moment.
const SLACK_BYTES: f64 = 6e6;
/// What it may have at all; design says 50 MB, and this is a build that may not be optimised.
const MOST_BYTES: f64 = 150e6;
const PROTOBUF: &str = "accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited\r\n";

fn duration() -> Duration {
    let asked = std::env::var("COURTSIDE_SOAK").ok();
    let seconds = asked.map_or(SECONDS, |text| match text.parse() {
        Ok(seconds) => seconds,
        Err(_) => panic!("COURTSIDE_SOAK is a number of seconds, and not {text}"),
    });
    Duration::from_secs(seconds.max(4))
}

/// Somebody who asks for much and reads nothing.
fn slow_reader(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let asked = "GET /snapshot HTTP/1.1\r\nhost: x\r\n\r\n".repeat(20);
    // It may be refused.
    let _ = stream.write_all(asked.as_bytes());
    stream
}

fn relay() -> Running {
    let mut command = Command::new(workload().unwrap());
    command.args(["relay", "--rate", "100", "--requests", "1000"]);
    Running::start(&mut command).unwrap()
}

#[test]
fn an_agent_that_is_asked_all_the_time_does_not_grow_and_nothing_goes_back() {
    let host = Host::take().unwrap();
    let folder = host.dir().join("hosts").display().to_string();
    // Nobody listens there, so that pushes wait.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let mut agent = Agent::start(&[
        "-i",
        "100ms",
        "--top",
        "10",
        "--linger",
        "1s",
        "--native-histograms",
        "--export",
        &folder,
        "--otlp",
        &nobody,
        "--otlp-every",
        "500ms",
    ])
    .unwrap();
    let (begun, whole) = (Instant::now(), duration());
    let mut load = relay();
    let mut before = Series::new();
    let mut sizes: Vec<(Duration, f64)> = Vec::new();
    let mut readers: Vec<TcpStream> = Vec::new();
    let mut turns = 0;
    while begun.elapsed() < whole {
        if !load.runs().unwrap() {
            load = relay();
        }
        // Components that come and go.
        let name = format!("soak{}", turns % 100);
        let mut short = Command::new(workload().unwrap());
        short.args(["ping-pong", "--messages", "300", "--name", &name]);
        assert!(finish(short).unwrap().status.success());
        for page in ["/snapshot", "/findings", "/status"] {
            let code = agent.get(page, "").unwrap().code;
            assert!([200, 503].contains(&code), "{page}: {code}");
        }
        assert_eq!(agent.get("/metrics", PROTOBUF).unwrap().code, 200);
        readers.push(slow_reader(&agent.address));
        if readers.len() > 20 {
            readers.remove(0);
        }
        let now = series(&agent.metrics().unwrap());
        for family in [
            "courtside_requests_total",
            "courtside_roundtrips_total",
            "courtside_messages_total",
            "courtside_windows_total",
            "courtside_service_seconds_count",
        ] {
            let (now, before) = (sum(&now, family, &[]), sum(&before, family, &[]));
            assert!(now >= before, "{family} went back from {before} to {now}");
        }
        sizes.push((begun.elapsed(), now["process_resident_memory_bytes"]));
        before = now;
        turns += 1;
    }
    let most = |from: u32, to: u32| {
        let of = sizes
            .iter()
            .filter(|(at, _)| *at >= whole * from / 4 && *at < whole * to / 4);
        of.map(|(_, bytes)| *bytes).fold(0.0, f64::max)
    };
    let quarters = [most(0, 1), most(1, 2), most(2, 3), most(3, 5)];
    let told = quarters.map(|bytes| format!("{:.1} MB", bytes / 1e6));
    eprintln!(
        "{} s, {turns} turns, {} windows, {} pushes given up: at most {} resident in each quarter",
        begun.elapsed().as_secs(),
        before["courtside_windows_total"],
        before["courtside_otlp_lost_total"],
        told.join(", ")
    );
    assert_eq!(before["courtside_export_lost_windows_total"], 0.0);
    assert!(turns >= 8, "{turns} turns tell nothing");
    let (second, last) = (quarters[1], quarters[3]);
    assert!(last <= second + SLACK_BYTES, "it grows: {told:?}");
    assert!(last < MOST_BYTES, "{told:?}");
    agent.running.signal(Signal::TERM).unwrap();
    assert!(agent.running.wait().unwrap().success());
}
