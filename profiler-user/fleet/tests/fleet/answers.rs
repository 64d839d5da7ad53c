//! What is planted is what is answered.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::shared::{FLEET, Fleet, count, files, json, list, rows, said, same};

#[test]
fn every_window_of_every_host_is_there() {
    let place = FLEET.place();
    let found = rows(
        "SELECT count(*) AS windows, count(DISTINCT host) AS hosts, count(DISTINCT hour) AS hours FROM windows",
        &place,
    );
    assert_eq!(found[0]["windows"], FLEET.answers["windows"]);
    assert_eq!(found[0]["hosts"], FLEET.answers["hosts"]);
    assert_eq!(found[0]["hours"], FLEET.answers["hours"]);
    let one = rows(
        "SELECT count(*) AS windows FROM windows WHERE host = 'gate-0001' AND hour = '20260105T01'",
        &place,
    );
    assert_eq!(count(&one[0]["windows"]), 60);
}

#[test]
fn the_map_is_the_planted_one() {
    let place = FLEET.place();
    let map = json(&["map", &place]);
    assert_eq!(map["schema"], "courtside.fleet.map/1");
    let edges = list(&map["edges"]);
    let wanted = list(&FLEET.answers["map"]);
    assert_eq!(edges.len(), wanted.len(), "{edges:#?}");
    for wanted in wanted {
        let is = |edge: &&Value| {
            ["from", "to", "port", "through"]
                .iter()
                .all(|key| edge[key] == wanted[key])
        };
        let edge = edges
            .iter()
            .find(is)
            .unwrap_or_else(|| panic!("no {wanted} in {edges:#?}"));
        for key in ["roundtrips", "from_hosts", "to_hosts"] {
            assert_eq!(edge[key], wanted[key], "{key}: {edge:#} {wanted:#}");
        }
        for key in ["latency_mean_ns", "service_mean_ns", "network_mean_ns"] {
            assert!(same(&edge[key], &wanted[key]), "{key}: {edge:#} {wanted:#}");
        }
    }
    let through: Vec<&str> = edges
        .iter()
        .filter_map(|edge| edge["through"].as_str())
        .collect();
    for way in [
        "local",
        "direct",
        "nat",
        "virtual_address",
        "initiator_only",
        "acceptor_only",
    ] {
        assert!(through.contains(&way), "no {way}: {through:?}");
    }
}

#[test]
fn the_slow_edge_stands_out_by_its_network() {
    let map = json(&["map", &FLEET.place(), "--by-host"]);
    let network = |edge: &Value| edge["network_mean_ns"].as_f64().unwrap_or(0.0);
    let slowest = list(&map["edges"])
        .iter()
        .max_by(|a, b| network(a).total_cmp(&network(b)))
        .unwrap();
    let wanted = &FLEET.answers["slow_edge"];
    assert_eq!(slowest["from_host"], wanted["from_host"]);
    assert_eq!(slowest["to_host"], wanted["to_host"]);
    assert!(
        same(&slowest["network_mean_ns"], &wanted["network_mean_ns"]),
        "{slowest:#}"
    );
}

#[test]
fn without_addresses_no_edge_between_hosts_is_joined_and_the_map_says_what_to_do() {
    let fleet = Fleet::new(5, 1, 3);
    std::fs::remove_file(fleet.path().join("hosts")).unwrap();
    let map = json(&["map", &fleet.place()]);
    let joined = |edge: &Value| ["direct", "nat"].contains(&edge["through"].as_str().unwrap());
    assert!(!list(&map["edges"]).iter().any(joined), "{map:#}");
    let table = said(&["map", &fleet.place()]);
    assert!(table.contains("DIR/hosts"), "{table}");
}

/// Roundtrips and requests by who asks whom at which port.
type ByEdge = BTreeMap<(String, String, u64), (u64, Option<u64>)>;

fn by_edge(edges: &[Value]) -> ByEdge {
    let mut sums = ByEdge::new();
    for edge in edges {
        let name = |key: &str| edge[key].as_str().unwrap_or("-").to_owned();
        let key = (name("from"), name("to"), count(&edge["port"]));
        let sum = sums.entry(key).or_insert((0, None));
        sum.0 += count(&edge["roundtrips"]);
        if let Some(requests) = edge["requests"].as_u64() {
            sum.1 = Some(sum.1.unwrap_or(0) + requests);
        }
    }
    sums
}

#[test]
fn roundtrips_are_those_planted_for_each_request_and_hour() {
    let place = FLEET.place();
    let all = json(&["roundtrips", &place]);
    let found = by_edge(list(&all["edges"]));
    let counts = |edges: &ByEdge| {
        let counts = edges
            .iter()
            .map(|(key, (roundtrips, _))| (key.clone(), *roundtrips));
        counts.collect::<BTreeMap<_, _>>()
    };
    let wanted = by_edge(list(&FLEET.answers["map"]));
    assert_eq!(counts(&found), counts(&wanted));
    let cache = |edges: &ByEdge| {
        edges[&(
            "unit:gate.service".to_owned(),
            "unit:cache.service".to_owned(),
            0,
        )]
    };
    // All gates ask their cache, so their requests are all requests.
    assert_eq!(cache(&found), cache(&wanted));
    let edges = list(&all["edges"]).iter();
    let ratios = edges
        .filter(|edge| !edge["requests"].is_null())
        .map(|edge| {
            let ratio = count(&edge["roundtrips"]) as f64 / count(&edge["requests"]) as f64;
            same(&edge["roundtrips_per_request"], &ratio.into())
        });
    assert!(ratios.collect::<Vec<_>>().iter().all(|right| *right));
    let hours = json(&["roundtrips", &place, "--by-hour"]);
    assert_eq!(counts(&by_edge(list(&hours["edges"]))), counts(&wanted));
    let first = json(&["roundtrips", &place, "--by-hour", "--to", "20260105T00"]);
    assert!(
        list(&first["edges"])
            .iter()
            .all(|edge| edge["hour"] == "20260105T00")
    );
}

#[test]
fn specs_are_of_all_tasks_on_all_hosts_and_what_guard_reads() {
    let spec = json(&["specs", &FLEET.place()]);
    assert_eq!(spec["schema"], "courtside.spec/1");
    let read: courtside_core::model::spec::Spec = serde_json::from_value(spec).unwrap();
    for wanted in list(&FLEET.answers["specs"]) {
        let found = read.specs.iter().find(|spec| {
            spec.job == wanted["job"].as_str().unwrap()
                && spec.platform == wanted["platform"].as_str().unwrap()
                && spec.signal == courtside_core::model::interference::Signal::Cpi
        });
        let found = found.unwrap_or_else(|| panic!("no {wanted} in {read:#?}"));
        assert_eq!(found.tasks, count(&wanted["tasks"]), "{found:?}");
        assert_eq!(found.windows, count(&wanted["windows"]), "{found:?}");
    }
    // CPI is planted within two in a hundred; the neighbour's windows do not move the median.
    let median = |job: &str, platform: &str| {
        let mut specs = read.specs.iter();
        let found = specs.find(|spec| {
            (spec.job.as_str(), spec.platform.as_str()) == (job, platform)
                && spec.signal == courtside_core::model::interference::Signal::Cpi
        });
        found.unwrap().all.median
    };
    for (job, platform, cpi) in [
        ("unit:search.service", "x86_64, 16 CPUs", 1.2),
        ("unit:search.service", "aarch64, 64 CPUs", 0.9),
        ("unit:store.service", "x86_64, 16 CPUs", 2.0),
    ] {
        let found = median(job, platform);
        assert!(
            (found / cpi - 1.0).abs() < 0.02,
            "{job} {platform}: {found}"
        );
    }
}

#[test]
fn the_planted_antagonist_is_the_most_aggressive_in_both_modes() {
    let place = FLEET.place();
    let folder = tempfile::tempdir().unwrap();
    let usual = folder.path().join("usual.json");
    let usual = usual.to_str().unwrap();
    // The first hour is a quiet one.
    said(&[
        "specs",
        &place,
        "--to",
        "20260105T00",
        "-F",
        "json",
        "-o",
        usual,
    ]);
    let wanted = &FLEET.answers["antagonist"];
    for mode in ["courtside", "paper"] {
        let arguments = [
            "antagonists",
            &place,
            "--spec",
            usual,
            "--mode",
            mode,
            "-n",
            "unit:search*",
        ];
        let found = json(&arguments);
        let worst = &found["antagonists"][0];
        assert_eq!(worst["job"], wanted["job"], "{mode}: {found:#}");
        assert_eq!(worst["suspect"], wanted["suspect"], "{mode}: {found:#}");
        assert_eq!(
            worst["host_names"], wanted["host_names"],
            "{mode}: {found:#}"
        );
        // It takes some windows until it is told, and some until it is over.
        let (windows, planted) = (count(&worst["first"]), count(&wanted["windows"]));
        assert!(
            windows * 2 >= planted && windows <= planted * 2,
            "{mode}: {windows} of {planted}"
        );
    }
    let quiet = [
        "antagonists",
        &place,
        "--spec",
        usual,
        "-n",
        "unit:search*",
        "--to",
        "20260105T00",
    ];
    let quiet = json(&quiet);
    let suspects = list(&quiet["antagonists"])
        .iter()
        .map(|found| &found["suspect"]);
    assert!(
        !suspects.collect::<Vec<_>>().contains(&&wanted["suspect"]),
        "{quiet:#}"
    );
}

#[test]
fn findings_tell_where_and_since_when() {
    let found = json(&["findings", &FLEET.place()]);
    let found = list(&found["findings"]);
    let wanted = list(&FLEET.answers["findings"]);
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for wanted in wanted {
        let mut same_rule = found.iter().filter(|found| found["rule"] == wanted["rule"]);
        let found = same_rule.next().unwrap();
        for key in ["component", "hosts", "windows", "first_unix_ns"] {
            assert_eq!(found[key], wanted[key], "{key}: {found:#}");
        }
    }
    let one = json(&["findings", &FLEET.place(), "--rule", "slow*"]);
    assert_eq!(list(&one["findings"]).len(), 1);
}

#[test]
fn the_bad_release_differs_by_what_was_planted_and_nothing_else_does() {
    let release = &FLEET.answers["release"];
    let (a, b) = (
        release["a"].as_str().unwrap(),
        release["b"].as_str().unwrap(),
    );
    let diff = json(&["diff", &FLEET.place(), "-a", a, "-b", b]);
    let changes = list(&diff["changes"]).iter();
    let changed: Vec<&Value> = changes.filter(|change| change["changed"] == true).collect();
    let names: Vec<&str> = changed
        .iter()
        .filter_map(|change| change["metric"].as_str())
        .collect();
    assert_eq!(
        names,
        ["on_cpu_ns_per_request", "service_ns"],
        "{changed:#?}"
    );
    for (change, planted) in [
        (changed[0], &release["on_cpu_ns_per_request_ratio"]),
        (changed[1], &release["service_ns_ratio"]),
    ] {
        assert_eq!(change["job"], release["job"]);
        let ratio = change["ratio"].as_f64().unwrap() / planted.as_f64().unwrap();
        assert!((ratio - 1.0).abs() < 0.02, "{change:#}");
    }
    // The same hosts at two quiet times do not differ.
    let arguments = ["-a", "gate*@..20260105T00", "-b", "gate*@20260105T01.."];
    let diff = json(&[&["diff", &FLEET.place()][..], &arguments].concat());
    assert!(
        list(&diff["changes"])
            .iter()
            .all(|change| change["changed"] == false),
        "{diff:#}"
    );
}

#[test]
fn the_same_seed_makes_the_same_fleet_and_another_seed_another() {
    let bytes = |fleet: &Fleet| {
        let root = fleet.path();
        let named = files(&root).into_iter().map(|file| {
            let name = file.strip_prefix(&root).unwrap().to_owned();
            (name, std::fs::read(file).unwrap())
        });
        named.collect::<BTreeMap<_, _>>()
    };
    let one = bytes(&Fleet::new(5, 1, 3));
    assert!(one == bytes(&Fleet::new(5, 1, 3)));
    assert!(one != bytes(&Fleet::new(5, 1, 4)));
}

#[test]
fn little_memory_goes_to_the_disk_and_gives_the_same() {
    let sql = "SELECT host, hour, id, count(*) AS n, sum(on_cpu_ns) AS ns FROM components GROUP BY host, hour, id ORDER BY ns DESC, host, hour, id";
    let all = rows(sql, &FLEET.place());
    let little = json(&["sql", sql, &FLEET.place(), "--memory", "16MiB"]);
    assert_eq!(Value::Array(all), little);
}

#[test]
fn rows_are_written_as_text_json_and_parquet() {
    let place = FLEET.place();
    let sql = "SELECT host, count(*) AS windows FROM windows GROUP BY host ORDER BY host LIMIT 2";
    let table = said(&["sql", sql, &place]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines,
        [
            "host       windows",
            "gate-0001      120",
            "gate-0002      120"
        ]
    );
    assert_eq!(
        rows("SELECT 1 AS one WHERE false", &place),
        Vec::<Value>::new()
    );
    let nothing = rows("SELECT CAST(NULL AS BIGINT) AS nothing", &place);
    assert_eq!(nothing, [serde_json::json!({ "nothing": null })]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("answer.parquet");
    said(&[
        "sql",
        sql,
        &place,
        "-F",
        "parquet",
        "-o",
        file.to_str().unwrap(),
    ]);
    assert_eq!(std::fs::read(&file).unwrap()[..4], *b"PAR1");
    let only = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(only, 1);
}
