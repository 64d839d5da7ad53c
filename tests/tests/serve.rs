//! The agent over the running kernel: what it counts is what happened, nothing goes back, and nobody who asks can hurt it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::{
    fs,
    io::Read as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use courtside_tests::{
    agent::{Agent, Series, get, series, sum},
    harness::{Host, Running, Snapshot, courtside, eventually, finish, number, schema, workload},
    sound,
};
use rustix::process::Signal;
use serde_json::Value;

const OPEN_METRICS: &str = "accept: application/openmetrics-text; version=1.0.0\r\n";

fn relay(requests: u64) -> Command {
    let mut command = Command::new(workload().unwrap());
    command.args([
        "relay",
        "--rate",
        "200",
        "--requests",
        &requests.to_string(),
    ]);
    command
}

/// The id of the component of this name.
fn id(all: &Series, name: &str) -> String {
    let wanted = format!("name=\"{name}\"");
    let mut infos = all.keys().filter(|series| {
        series.starts_with("courtside_component_info{") && series.contains(&wanted)
    });
    let info = infos
        .next()
        .unwrap_or_else(|| panic!("no component {name}"));
    assert_eq!(infos.next(), None, "{name} twice");
    let (_, rest) = info.split_once("component=\"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

fn fits(what: &Value, name: &str) {
    let schema = schema(name).unwrap();
    let faults: Vec<String> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(what)
        .map(|fault| fault.to_string())
        .collect();
    assert_eq!(faults, [""; 0], "{name}");
}

/// Over all who are blamed it is the time that was waited, of each component, wherever it was told.
fn whoever_waits_is_told_because_of_whom(all: &Series) {
    const BY: &str = "courtside_run_queue_by_seconds_total";
    for name in ["load", "web", "app", "store"] {
        let id = id(all, name);
        let component = [("component", id.as_str())];
        let told = sum(all, BY, &component);
        let waited = [("component", id.as_str()), ("state", "run_queue")];
        let waited = sum(all, "courtside_cpu_seconds_total", &waited);
        assert!(told > 0.0, "{name} waited {waited} s, and nobody is blamed");
        assert!((told - waited).abs() < 1e-6, "{name}: {told} of {waited} s");
        assert!(sum(all, "courtside_sleep_seconds_total", &component) > 0.0);
    }
}

#[test]
fn the_counters_are_what_the_workload_counts() {
    let _host = Host::take().unwrap();
    let agent = Agent::start(&["-i", "100ms"]).unwrap();
    let output = finish(relay(300)).unwrap();
    assert!(output.status.success());
    let all = series(&agent.settle().unwrap());
    for (from, to, roundtrips) in [
        ("load", "web", 300.0),
        ("web", "app", 600.0),
        ("app", "store", 1800.0),
    ] {
        let ends = (id(&all, from), id(&all, to));
        let labels = [("from", ends.0.as_str()), ("to", ends.1.as_str())];
        for family in [
            "courtside_roundtrips_total",
            "courtside_roundtrip_seconds_count",
        ] {
            assert_eq!(
                sum(&all, family, &labels),
                roundtrips,
                "{family} {from} → {to}"
            );
        }
        let served = [("component", ends.1.as_str())];
        for family in [
            "courtside_requests_total",
            "courtside_service_seconds_count",
        ] {
            assert_eq!(sum(&all, family, &served), roundtrips, "{family} {to}");
        }
        let parts = sum(&all, "courtside_turnaround_seconds_total", &served);
        assert!(parts > 0.0, "{to}");
    }
    whoever_waits_is_told_because_of_whom(&all);
    // What is gone stays for its minute, and nothing was folded.
    assert_eq!(all["courtside_folded_series"], 0.0);
    let again = series(&agent.settle().unwrap());
    let web = format!(
        "courtside_requests_total{{component=\"{}\"}}",
        id(&again, "web")
    );
    assert_eq!(again[&web], 300.0);
}

#[test]
fn nothing_goes_back_while_it_is_asked_again_and_again() {
    let _host = Host::take().unwrap();
    let agent = Agent::start(&["-i", "20ms", "--top", "3"]).unwrap();
    let mut command = relay(200);
    let mut load = Running::start(&mut command).unwrap();
    let is_counter = |name: &str| {
        let family = name.split('{').next().unwrap_or(name);
        ["_total", "_bucket", "_count"]
            .iter()
            .any(|ending| family.ends_with(ending))
    };
    let total = |all: &Series, family: &str| sum(all, family, &[]);
    let mut before = Series::new();
    let mut scrapes = 0;
    while load.runs().unwrap() {
        let now = series(&agent.metrics().unwrap());
        for family in [
            "courtside_requests_total",
            "courtside_roundtrips_total",
            "courtside_turnarounds_total",
        ] {
            assert!(total(&now, family) >= total(&before, family), "{family}");
        }
        for (name, number) in now.iter().filter(|(name, _)| is_counter(name)) {
            // One that lost its place to another begins anew when it comes back; that takes a while.
            let is_new = before.get(name).is_none_or(|before| number >= before);
            assert!(is_new, "{name} went back to {number}");
        }
        before = now;
        scrapes += 1;
    }
    assert!(scrapes > 3, "{scrapes}");
}

#[test]
fn every_page_fits_its_schema() {
    let _host = Host::take().unwrap();
    let agent = Agent::start(&["-i", "200ms"]).unwrap();
    assert!(finish(relay(50)).unwrap().status.success());
    agent.settle().unwrap();
    let snapshot = Snapshot(agent.json("/snapshot").unwrap());
    sound::check(&snapshot, &schema("snapshot").unwrap()).unwrap();
    fits(&agent.json("/findings").unwrap(), "findings");
    let status = agent.json("/status").unwrap();
    fits(&status, "status");
    assert_eq!(status["healthy"], true, "{status}");
    assert!(number(&status, "windows").unwrap() >= 2);
    let probes = status["probes"].as_array().unwrap();
    assert!(
        probes.iter().any(|probe| probe["state"] == "attached"),
        "{status}"
    );
    let all = series(&agent.metrics().unwrap());
    let attached = sum(&all, "courtside_probe_state", &[("state", "attached")]);
    assert!(attached >= 1.0);
    assert_eq!(agent.get("/healthz", "").unwrap().body, "ok\n");
}

#[test]
fn garbage_is_refused_and_does_not_hurt() {
    let _host = Host::take().unwrap();
    let agent = Agent::start(&["-i", "100ms"]).unwrap();
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(1 << 20));
    let head = format!(
        "GET /metrics HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "b".repeat(1 << 20)
    );
    for request in [
        &b"\0\xff\xfe\r\n\r\n"[..],
        b"nonsense\r\n\r\n",
        b"GET /metrics HTTP/3.0\r\n\r\n",
        long.as_bytes(),
        head.as_bytes(),
    ] {
        let answer = agent.say(request).unwrap();
        assert!(
            answer.code == 0 || (400..500).contains(&answer.code),
            "{answer:?}"
        );
        assert_eq!(agent.get("/healthz", "").unwrap().code, 200);
    }
    let posted =
        "POST /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc";
    assert_eq!(agent.say(posted.as_bytes()).unwrap().code, 405);
    assert_eq!(agent.get("/../etc/passwd", "").unwrap().code, 404);
}

#[test]
fn only_who_knows_the_token_is_answered() {
    let host = Host::take().unwrap();
    let file = host.dir().join("token");
    fs::write(&file, "0123456789abcdef\n").unwrap();
    let file = file.display().to_string();
    let agent = Agent::start(&["-i", "100ms", "--token-file", &file]).unwrap();
    for headers in [
        "",
        "authorization: Bearer 0123456789abcdee\r\n",
        "authorization: Bearer\r\n",
    ] {
        for page in ["/metrics", "/snapshot", "/findings", "/status"] {
            assert_eq!(
                agent.get(page, headers).unwrap().code,
                401,
                "{page} {headers}"
            );
        }
    }
    let known = "authorization: Bearer 0123456789abcdef\r\n";
    assert_eq!(agent.get("/metrics", known).unwrap().code, 200);
    assert_eq!(agent.get("/healthz", "").unwrap().code, 200);
}

#[test]
fn it_says_why_it_does_not_serve() {
    let _host = Host::take().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (listen, status, words) in [
        (address.as_str(), 1, ["in use", "ss -ltnp"]),
        ("0.0.0.0:0", 2, ["token", "127.0.0.1"]),
    ] {
        let mut command = Command::new(courtside().unwrap());
        command.args(["serve", "--listen", listen]);
        let output = finish(command).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
}

#[test]
fn a_signal_ends_it_with_success_and_its_recording_is_whole() {
    let host = Host::take().unwrap();
    let folder = host.dir().display().to_string();
    let mut agent = Agent::start(&["-i", "100ms", "--record", &folder]).unwrap();
    assert!(finish(relay(50)).unwrap().status.success());
    let text = agent.settle().unwrap();
    assert_eq!(series(&text)["courtside_recording"], 1.0);
    let status = agent.json("/status").unwrap();
    let file = PathBuf::from(status["recording"]["file"].as_str().unwrap());
    agent.running.signal(Signal::TERM).unwrap();
    assert!(agent.running.wait().unwrap().success());
    let mut export = Command::new(courtside().unwrap());
    export
        .arg("export")
        .arg(&file)
        .args(["-F", "json", "-o", "-"]);
    let output = finish(export).unwrap();
    let whole = Snapshot(serde_json::from_slice(&output.stdout).unwrap());
    let edge = whole.edge("load", "web").unwrap();
    assert_eq!(number(edge, "roundtrips").unwrap(), 50);
    assert!(
        get(&agent.address, "/healthz", "").is_err(),
        "nobody listens any more"
    );
}

/// The certificate is for this test only; whoever trusts it reads the same over TLS.
#[test]
fn over_tls_the_same_is_told() {
    let host = Host::take().unwrap();
    let [certificate, key] =
        ["cert.pem", "key.pem"].map(|name| host.dir().join(name).display().to_string());
    let mut make = Command::new("openssl");
    make.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]);
    make.args([
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        &key,
        "-out",
        &certificate,
    ]);
    assert!(finish(make).unwrap().status.success());
    let agent =
        Agent::start(&["-i", "100ms", "--tls-cert", &certificate, "--tls-key", &key]).unwrap();
    let url = format!("https://{}/metrics", agent.address);
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--fail",
        "--cacert",
        &certificate,
        &url,
    ]);
    let output = finish(curl).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("courtside_windows_total"));
    // Whoever speaks no TLS learns nothing.
    assert_eq!(agent.get("/metrics", "").unwrap().body, "");
}

/// The lines of `/interference`.
fn told(agent: &Agent) -> Vec<Value> {
    let page = agent.get("/interference", "").unwrap();
    assert_eq!(page.code, 200, "{page:?}");
    let lines = page.body.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A loop that begins on the CPU of a service, under a name of its own: it is named, and the scheduler saw it.
#[test]
fn a_hog_beside_a_service_is_told_while_it_is_there() {
    let host = Host::take().unwrap();
    let state = host.dir().join("state").display().to_string();
    let agent = Agent::start(&["-i", "250ms", "--guard", "--state", &state]).unwrap();
    let on_one_cpu = ["--cpu-list", "0"];
    let mut load = Command::new("taskset");
    load.args(on_one_cpu).arg(workload().unwrap());
    load.args(["relay", "--rate", "100", "--requests", "60000"]);
    let _load = Running::start(&mut load).unwrap();
    // What waits in the run queue is a part of the service time, too.
    let of_load = |event: &str| {
        let mut lines = told(&agent);
        lines.retain(|line| {
            let victim = line["victim"].as_str().unwrap();
            let mut names = ["web", "app", "store"].iter();
            line["event"] == event
                && names.any(|name| victim.ends_with(&format!(":{name}")))
                && ["run_queue_per_request", "service"].contains(&line["signal"].as_str().unwrap())
        });
        lines
    };
    eventually("the services to be learned", || {
        of_load("learned").len() == 6
    })
    .unwrap();
    let program = host.dir().join("greedy");
    std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
    let mut hog = Command::new("taskset");
    hog.args(on_one_cpu).arg(&program);
    hog.args(["-c", "echo; while :; do :; done"]);
    let mut hog = Running::start(&mut hog).unwrap();
    hog.line().unwrap();
    let names_it = |line: &Value| {
        let first = &line["suspects"][0];
        let component = first["component"].as_str().unwrap_or_default();
        component.ends_with(":greedy") && first["decided_by"] == "blame"
    };
    let blamed = |all: &Series| {
        let blamed = all.keys().filter(|name| {
            name.starts_with("courtside_interference{") && name.contains(":greedy\"}")
        });
        blamed.count()
    };
    let mut all = Series::new();
    eventually("the hog to be named", || {
        all = series(&agent.metrics().unwrap());
        blamed(&all) > 0 && of_load("anomaly").iter().any(names_it)
    })
    .unwrap();
    let event = [("event", "anomaly")];
    assert!(sum(&all, "courtside_interference_events_total", &event) >= 1.0);
    assert_eq!(all["courtside_guard_limits"], 0.0);
    let status = agent.json("/status").unwrap();
    fits(&status, "status");
    assert_eq!(status["guard"]["act"], "off");
    let interference = told(&agent);
    interference
        .iter()
        .for_each(|line| fits(line, "interference"));
    hog.signal(Signal::KILL).unwrap();
    hog.wait().unwrap();
    eventually("nobody to blame the hog any more", || {
        blamed(&series(&agent.metrics().unwrap())) == 0
    })
    .unwrap();
    assert!(!of_load("cleared").is_empty());
    // There is one guard on a host.
    let mut second = Command::new(courtside().unwrap());
    second.args(["guard", "-d", "1s", "--state", &state]);
    let output = finish(second).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("another guard is at work"), "{said}");
}

/// Runs a program that reads from stdin, and returns what it said.
fn reads(command: &mut Command, text: &str) -> (bool, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let mut child = command
        .stdin(Stdio::from(fs::File::open(file.path()).unwrap()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    let mut said = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    (status.success(), said)
}

#[test]
fn other_programs_read_the_metrics() {
    let _host = Host::take().unwrap();
    let agent = Agent::start(&["-i", "100ms", "--program-cost"]).unwrap();
    assert!(finish(relay(50)).unwrap().status.success());
    let text = agent.settle().unwrap();
    let (is_well, said) = reads(Command::new("promtool").args(["check", "metrics"]), &text);
    assert!(is_well && said.trim().is_empty(), "promtool: {said}");

    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python");
    let given = std::env::var_os("COURTSIDE_PYTHON").map(PathBuf::from);
    let Some(python) = given.or_else(|| own.exists().then_some(own)) else {
        eprintln!("not run: no target/python; cargo xtask test makes it");
        return;
    };
    let open = agent.get("/metrics", OPEN_METRICS).unwrap().body;
    const SCRIPT: &str = "import sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
        families = list(read(sys.stdin.read()))\n\
        print(len(families), sum(len(family.samples) for family in families))\n";
    let (is_well, said) = reads(Command::new(python).args(["-c", SCRIPT]), &open);
    let families = open
        .lines()
        .filter(|line| line.starts_with("# TYPE "))
        .count();
    let samples = open.lines().filter(|line| !line.starts_with('#')).count();
    assert!(is_well, "{said}");
    assert_eq!(said.trim(), format!("{families} {samples}"));
}
