//! A real Prometheus scrapes a live agent, and answers every expression of the dashboards and rules.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use courtside_tests::{
    agent::{Agent, get, series},
    harness::{Host, Running, eventually, finish, workload},
};
use serde_json::Value;

fn dashboards() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards")
}

fn promtool(arguments: &[&str]) {
    let mut command = Command::new("promtool");
    command
        .args(arguments)
        .current_dir(dashboards().join("prometheus"));
    let output = finish(command).unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
}

#[test]
fn the_rules_are_sound_and_do_what_they_say() {
    promtool(&["check", "rules", "recording.yml", "alerts.yml"]);
    promtool(&["test", "rules", "tests.yml"]);
    // Series of tests have no native histograms: those rules are asked over a live agent.
    for rules in ["recording.yml", "alerts.yml"] {
        promtool(&["check", "rules", &format!("../prometheus-native/{rules}")]);
    }
}

/// Every expression of a folder of dashboards, by panel.
fn expressions(folder: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for file in fs::read_dir(dashboards().join(folder)).unwrap() {
        let path = file.unwrap().path();
        let page: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for panel in page["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().unwrap() {
                let place = format!("{} / {}", path.display(), panel["title"]);
                all.push((place, target["expr"].as_str().unwrap().to_owned()));
            }
        }
    }
    assert!(all.len() > 40, "{}", all.len());
    all
}

/// What stays without an answer on a host where nothing is wrong: there is no PMU, nothing is lost, nothing is found, nobody
/// waits for another one's requests to a disk, and a hypervisor may never have told of any time that it took.
const MAY_BE_EMPTY: [&str; 12] = [
    "courtside_cycles_total",
    "courtside_llc_misses_total",
    "courtside_findings",
    "courtside_lost_total",
    "courtside_probe_state",
    "courtside_disk_seconds_bucket",
    "courtside_disk_seconds{",
    "courtside_disk_queued_behind_seconds_total",
    "courtside_steal_seconds_total",
    "courtside_interference{",
    "courtside_interference_excused",
    "courtside_http_connections_refused_total",
];

struct Prometheus {
    address: String,
    _running: Running,
}

impl Prometheus {
    /// With the rules in this folder.
    fn start(host: &Host, target: &str, rules: &str, more: &[&str]) -> Self {
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .to_string();
        let rules = dashboards().join(rules);
        let config = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 1s}}\n\
             rule_files: ['{0}/recording.yml', '{0}/alerts.yml']\n\
             scrape_configs:\n  - job_name: courtside\n    static_configs: [{{targets: ['{target}']}}]\n",
            rules.display()
        );
        let file = host.dir().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                host.dir().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .args(more)
            .stdin(Stdio::null());
        let running = Running::start(&mut command).unwrap();
        let ready = || get(&address, "/-/ready", "").is_ok_and(|answer| answer.code == 200);
        eventually("Prometheus", ready).unwrap();
        Self {
            address,
            _running: running,
        }
    }

    fn api(&self, path: &str) -> Value {
        let answer = get(&self.address, path, "").unwrap();
        let value: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(value["status"], "success", "{path}: {value}");
        value["data"].clone()
    }

    /// The answer to an expression: labels and number of each series.
    fn ask(&self, expression: &str) -> Vec<Value> {
        let mut query = String::new();
        for byte in expression.bytes() {
            if byte.is_ascii_alphanumeric() {
                query.push(char::from(byte));
            } else {
                query += &format!("%{byte:02X}");
            }
        }
        let data = self.api(&format!("/api/v1/query?query={query}"));
        data["result"].as_array().unwrap().clone()
    }
}

#[test]
fn a_real_prometheus_answers_every_expression() {
    every_expression_is_answered("", &[], &[]);
}

#[test]
fn a_real_prometheus_answers_every_expression_for_native_histograms() {
    let feature = ["--enable-feature=native-histograms"];
    every_expression_is_answered("-native", &["--native-histograms"], &feature);
}

/// Those in the folders with this ending.
fn every_expression_is_answered(ending: &str, options: &[&str], features: &[&str]) {
    let host = Host::take().unwrap();
    let state = host.dir().join("state");
    let state = state.display().to_string();
    let usual = ["-i", "250ms", "--program-cost", "--polls"];
    let guard = ["--guard", "--state", &state];
    let agent = Agent::start(&[&usual[..], &guard, options].concat()).unwrap();
    let rules = format!("prometheus{ending}");
    let prometheus = Prometheus::start(&host, &agent.address, &rules, features);
    let mut command = Command::new(workload().unwrap());
    command.args(["relay", "--rate", "100", "--requests", "6000"]);
    let mut load = Running::start(&mut command).unwrap();
    let served = || {
        let rate = prometheus.ask("sum(rate(courtside_requests_total[5s]))");
        rate.first()
            .and_then(|one| one["value"][1].as_str()?.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    eventually("a rate of requests", || served() > 10.0).unwrap();
    eventually("all rules to have been evaluated", || {
        let groups = prometheus.api("/api/v1/rules")["groups"]
            .as_array()
            .unwrap()
            .clone();
        let rules: Vec<Value> = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap().clone())
            .collect();
        rules.len() == 23 && rules.iter().all(|rule| rule["health"] == "ok")
    })
    .unwrap();
    let all = expressions(&format!("grafana{ending}"));
    let unanswered = || {
        let asked = all.iter().map(|(place, expression)| {
            let asked = expression
                .replace("$__rate_interval", "5s")
                .replace("$instance", ".*")
                .replace("$component", ".*");
            (place, expression, asked)
        });
        asked
            .filter(|(_, expression, _)| !MAY_BE_EMPTY.iter().any(|name| expression.contains(name)))
            .filter(|(_, _, asked)| prometheus.ask(asked).is_empty())
            .map(|(place, _, asked)| format!("{place}: {asked}"))
            .collect::<Vec<String>>()
    };
    // Some need two scrapes of what began with the first one.
    let mut empty = unanswered();
    let is_answered = eventually("an answer to every expression", || {
        empty = unanswered();
        empty.is_empty()
    });
    assert!(is_answered.is_ok(), "{empty:#?}");
    assert!(
        load.runs().unwrap(),
        "the load has ended before all was asked"
    );
    // What Prometheus has is what the agent says.
    let up = prometheus.ask("up{job=\"courtside\"}");
    assert_eq!(up[0]["value"][1], "1");
    let problems = prometheus.api("/api/v1/targets?state=active");
    assert_eq!(problems["activeTargets"][0]["lastError"], "", "{problems}");
    eprintln!("{} expressions asked", all.len());
}

/// The only number that an expression gives.
fn number(prometheus: &Prometheus, expression: &str) -> Option<f64> {
    let all = prometheus.ask(expression);
    assert!(all.len() < 2, "{expression}: {all:?}");
    all.first()?["value"][1].as_str()?.parse().ok()
}

/// The component of this name, as the text says.
fn id(text: &str, name: &str) -> String {
    let wanted = format!("name=\"{name}\"");
    let info = text
        .lines()
        .find(|line| line.starts_with("courtside_component_info{") && line.contains(&wanted));
    let (_, rest) = info.unwrap().split_once("component=\"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

/// Counts and sums are those of the text; a quantile is where the classic buckets have it.
#[test]
fn a_real_prometheus_takes_native_histograms() {
    const REQUESTS: f64 = 300.0;
    let host = Host::take().unwrap();
    let agent = Agent::start(&["-i", "250ms", "--native-histograms"]).unwrap();
    let native = ["--enable-feature=native-histograms"];
    let prometheus = Prometheus::start(&host, &agent.address, "prometheus-native", &native);
    let mut load = Command::new(workload().unwrap());
    load.args(["relay", "--rate", "200", "--requests", "300"]);
    assert!(finish(load).unwrap().status.success());
    let text = agent.settle().unwrap();
    let all = series(&text);
    for (name, times) in [("web", 1.0), ("app", 2.0), ("store", 6.0)] {
        let component = format!("{{component=\"{}\"}}", id(&text, name));
        let histogram = format!("courtside_service_seconds{component}");
        let count = format!("histogram_count({histogram})");
        eventually("all requests", || {
            number(&prometheus, &count) == Some(times * REQUESTS)
        })
        .unwrap();
        let sum = number(&prometheus, &format!("histogram_sum({histogram})")).unwrap();
        let ours = all[&format!("courtside_service_seconds_sum{component}")];
        assert!((sum - ours).abs() < 1e-9 * ours, "{sum} {ours}");
        let median = format!("histogram_quantile(0.5, {histogram})");
        let median = number(&prometheus, &median).unwrap();
        let below = |le: f64| {
            let start = format!(
                "courtside_service_seconds_bucket{}",
                &component[..component.len() - 1]
            );
            let buckets = all.iter().filter(|(series, _)| series.starts_with(&start));
            let mut most = 0.0f64;
            for (series, count) in buckets {
                let (_, rest) = series.split_once("le=\"").unwrap();
                let bound: f64 = rest
                    .trim_end_matches("\"}")
                    .parse()
                    .unwrap_or(f64::INFINITY);
                if bound <= le {
                    most = most.max(*count);
                }
            }
            most
        };
        // Buckets of the kernel are an eighth of an octave, and a native one may hold half of one that is not its own.
        let half = times * REQUESTS / 2.0;
        assert!(below(median * 2.3) >= half, "{name}: {median}");
        assert!(below(median / 2.3) <= half, "{name}: {median}");
    }
    // Either or.
    let classic = prometheus.ask("courtside_service_seconds_bucket");
    assert!(classic.is_empty(), "{classic:?}");
    let targets = prometheus.api("/api/v1/targets?state=active");
    assert_eq!(targets["activeTargets"][0]["lastError"], "", "{targets}");
    // All that is no histogram is what it was.
    let windows = prometheus.ask("courtside_windows_total");
    assert_eq!(windows.len(), 1, "{windows:?}");
}
