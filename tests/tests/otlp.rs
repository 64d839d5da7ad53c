//! What the agent pushes to a collector, read with OpenTelemetry's own messages, and what it does with one that is not well.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{Receiver, channel},
    thread,
};

use courtside::export::prometheus::otlp::{Metric, NumberDataPoint, Request};
use courtside_tests::{
    agent::{Agent, series},
    harness::{Host, eventually, finish, workload},
};
use prost::Message as _;
use rustix::process::Signal;

const REQUESTS: i64 = 100;

/// A push, as it came.
struct Pushed {
    head: String,
    body: Vec<u8>,
}

/// A collector that answers with these codes, one after the other, and with the last one from then on.
fn collector(codes: &'static [u16]) -> (String, Receiver<Pushed>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = channel();
    thread::spawn(move || {
        let last = codes.last().copied();
        let mut codes = codes.iter().copied().chain(last.into_iter().cycle());
        for stream in listener.incoming() {
            let Some(pushed) = stream.ok().and_then(|stream| answer(stream, codes.next()?)) else {
                continue;
            };
            if tell.send(pushed).is_err() {
                break;
            }
        }
    });
    (address, told)
}

fn answer(mut stream: TcpStream, code: u16) -> Option<Pushed> {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    let (head, length) = loop {
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        all.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&all).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let (_, rest) = head.split_once("content-length: ")?;
            let length: usize = rest.lines().next()?.parse().ok()?;
            break (head, length);
        }
    };
    let begin = head.len() + 4;
    while all.len() < begin + length {
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        all.extend_from_slice(&piece[..read]);
    }
    let said = format!("HTTP/1.1 {code} Said\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    // An agent that has ended does not read it.
    let _ = stream.write_all(said.as_bytes());
    let body = all.split_off(begin);
    Some(Pushed { head, body })
}

fn metric<'a>(request: &'a Request, name: &str) -> Option<&'a Metric> {
    let scope = request.resource_metrics.first()?.scope_metrics.first()?;
    scope.metrics.iter().find(|metric| metric.name == name)
}

/// The sum over all series whose component has this name.
fn served(request: &Request, name: &str) -> i64 {
    let word = |attributes: &[courtside::export::prometheus::otlp::KeyValue], key: &str| {
        let found = attributes.iter().find(|word| word.key == key);
        found.map(|word| word.value.as_ref().unwrap().string_value().to_owned())
    };
    let infos = metric(request, "courtside_component_info");
    let infos = infos.and_then(|metric| metric.gauge.as_ref());
    let infos = infos.iter().flat_map(|gauge| &gauge.data_points);
    let ids: Vec<Option<String>> = infos
        .filter(|point| word(&point.attributes, "name").as_deref() == Some(name))
        .map(|point| word(&point.attributes, "component"))
        .collect();
    let sums = metric(request, "courtside_requests");
    let points = sums.and_then(|metric| metric.sum.as_ref());
    let points = points.iter().flat_map(|sum| &sum.data_points);
    points
        .filter(|point| ids.contains(&word(&point.attributes, "component")))
        .map(NumberDataPoint::as_int)
        .sum()
}

fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python");
    let given = std::env::var_os("COURTSIDE_PYTHON").map(PathBuf::from);
    given.or_else(|| own.exists().then_some(own))
}

#[test]
fn a_collector_gets_what_the_workload_counts_also_after_it_was_not_well() {
    let host = Host::take().unwrap();
    let (address, pushes) = collector(&[503, 200]);
    let token = host.dir().join("token");
    fs::write(&token, "0123456789abcdef\n").unwrap();
    let url = format!("http://{address}");
    let mut agent = Agent::start(&[
        "-i",
        "100ms",
        "--otlp",
        &url,
        "--otlp-every",
        "200ms",
        "--otlp-token-file",
        &token.display().to_string(),
    ])
    .unwrap();
    let mut relay = Command::new(workload().unwrap());
    relay.args([
        "relay",
        "--rate",
        "200",
        "--requests",
        &REQUESTS.to_string(),
    ]);
    assert!(finish(relay).unwrap().status.success());
    agent.settle().unwrap();
    let mut last = None;
    eventually("all requests", || {
        let Ok(pushed) = pushes.try_recv() else {
            return false;
        };
        let request = Request::decode(pushed.body.as_slice()).unwrap();
        let is_all = ["web", "app", "store"].map(|name| served(&request, name));
        last = Some(pushed);
        is_all == [REQUESTS, 2 * REQUESTS, 6 * REQUESTS]
    })
    .unwrap();
    let pushed = last.unwrap();
    for line in [
        "post /v1/metrics http/1.1",
        "content-type: application/x-protobuf",
        "authorization: bearer 0123456789abcdef",
    ] {
        assert!(pushed.head.contains(line), "{}", pushed.head);
    }
    eventually("pushes that were taken", || {
        let all = series(&agent.metrics().unwrap());
        all["courtside_otlp_sent_total"] >= 2.0
    })
    .unwrap();
    let all = series(&agent.metrics().unwrap());
    assert_eq!(all["courtside_otlp_failures_total"], 1.0);
    assert_eq!(all["courtside_otlp_lost_total"], 0.0);
    let status = agent.json("/status").unwrap();
    assert!(status["push"]["failed"].is_null(), "{status}");
    // The last window is pushed when the agent ends.
    agent.running.signal(Signal::TERM).unwrap();
    assert!(agent.running.wait().unwrap().success());
    let Some(python) = python() else {
        eprintln!("not read: no target/python; cargo xtask test makes it");
        return;
    };
    let file = host.dir().join("push");
    fs::write(&file, &pushed.body).unwrap();
    const SCRIPT: &str = r#"
import sys
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
request = ExportMetricsServiceRequest.FromString(open(sys.argv[1], "rb").read())
[resource] = request.resource_metrics
[scope] = resource.scope_metrics
host = {word.key: word.value.string_value for word in resource.resource.attributes}
assert host["service.name"] == "courtside" and host["host.name"], host
metrics = {metric.name: metric for metric in scope.metrics}
words = lambda point: {word.key: word.value.string_value for word in point.attributes}
names = {words(point)["component"]: words(point)["name"] for point in metrics["courtside_component_info"].gauge.data_points}
requests = metrics["courtside_requests"].sum
assert requests.is_monotonic and requests.aggregation_temporality == 2
for point in requests.data_points:
    assert 0 < point.start_time_unix_nano < point.time_unix_nano, point
count = {}
for point in requests.data_points:
    name = names.get(words(point)["component"])
    count[name] = count.get(name, 0) + point.as_int
sizes = metrics["courtside_service_seconds"].histogram
assert sizes.aggregation_temporality == 2 and metrics["courtside_service_seconds"].unit == "s"
for point in sizes.data_points:
    assert sum(point.bucket_counts) == point.count and len(point.bucket_counts) == len(point.explicit_bounds) + 1
    if names.get(words(point)["component"]) == "store":
        count["timed"] = point.count
assert not any(metric.WhichOneof("data") is None for metric in scope.metrics)
print(count["web"], count["app"], count["store"], count["timed"])
"#;
    let mut read = Command::new(python);
    read.args(["-c", SCRIPT]).arg(&file);
    let output = finish(read).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.trim(), "100 200 600 600");
}

#[test]
fn a_collector_that_is_not_there_or_refuses_costs_nothing_else() {
    let _host = Host::take().unwrap();
    // Nobody listens on a port that was free just now.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap().to_string();
    drop(free);
    let (refusing, pushes) = collector(&[400]);
    for (address, family) in [
        (nobody, "courtside_otlp_failures_total"),
        (refusing, "courtside_otlp_lost_total"),
    ] {
        let url = format!("http://{address}/v1/metrics");
        let options = ["-i", "50ms", "--otlp", &url, "--otlp-every", "50ms"];
        let mut agent = Agent::start(&options).unwrap();
        let mut all = series("");
        eventually("failures", || {
            all = series(&agent.metrics().unwrap());
            all.get(family).is_some_and(|count| *count >= 3.0)
        })
        .unwrap();
        assert_eq!(all["courtside_otlp_sent_total"], 0.0);
        let failed = agent.json("/status").unwrap()["push"]["failed"].to_string();
        assert!(
            failed.contains("refused") || failed.contains("400"),
            "{failed}"
        );
        assert_eq!(agent.get("/healthz", "").unwrap().code, 200);
        agent.running.signal(Signal::TERM).unwrap();
        assert!(agent.running.wait().unwrap().success());
    }
    drop(pushes);
}
