//! Services with known demands, put into windows at several rates, fitted and predicted.

use courtside_core::{
    fixture::frames::{self, chain},
    frame::Frame,
    model::{
        EntryWish, State, View, fold,
        nodes::{ComponentSpec, NetworkSpec, NodeSpec, Nodes},
        placement::Method,
        prediction::Resource,
        profile::{Form, Profile},
    },
};

use super::*;

pub(super) const OPTIONS: FitOptions = FitOptions {
    entries_given: false,
    all_components: true,
};

/// CPU time of a request: web, app, store and the client, in nanoseconds (see `frames::chain`).
const DEMANDS: [(&str, f64); 3] = [
    ("program:web", 100_000.0),
    ("program:app", 360_000.0),
    ("program:store", 120_000.0),
];
pub(super) const CLIENT: f64 = 10_000.0;
pub(super) const ALL: f64 = 590_000.0;

fn view() -> View {
    View::default()
}

/// Recordings of the chain, each of so many windows at about a rate.
pub(super) fn gathered(rates: &[u64], change: impl Fn(usize, u64, &mut Frame)) -> Gathered {
    let mut gathered = Gathered::default();
    for (number, &rate) in rates.iter().enumerate() {
        gathered.begin(format!("{rate}.rec"));
        let mut state = State::default();
        for window in 0..16 {
            let mut frame = chain(rate - 2 + window % 5);
            frame.tells_unread_within = true;
            change(number, window, &mut frame);
            gathered.add(&fold(&mut state, &frame, &view()));
        }
    }
    gathered
}

pub(super) fn fitted() -> Profile {
    fit(&gathered(&[100, 200, 400], |_, _, _| {}), OPTIONS).unwrap()
}

pub(super) fn near(value: f64, expected: f64, share: f64) {
    assert!(
        (value / expected - 1.0).abs() < share,
        "{value} for {expected}"
    );
}

pub(super) fn asked(rates: &[f64]) -> Question {
    Question {
        rates: rates.to_vec(),
        requests: Some(20_000),
        ..Question::default()
    }
}

#[test]
fn the_demands_of_all_components_come_out_at_once() {
    let profile = fitted();
    assert_eq!(profile.entry, "program:web:80");
    assert_eq!(profile.schema, "courtside.profile/1");
    let [low, high] = profile.rate_range_per_s;
    near(low, 100.0, 0.02);
    near(high, 400.0, 0.02);
    for ((id, demand), visits) in DEMANDS.into_iter().zip([1.0, 2.0, 6.0]) {
        let component = profile.components.iter().find(|c| c.id == id).unwrap();
        let cpu = component.cpu.as_ref().unwrap();
        assert_eq!(cpu.form, Form::Linear, "{id}");
        near(cpu.per_request, demand, 1e-6);
        assert!(cpu.per_second.abs() < 1.0 && cpu.r2.unwrap() > 0.9999);
        let [below, above] = cpu.interval95.unwrap();
        assert!(below <= cpu.per_request && cpu.per_request <= above);
        near(component.visits_per_request.unwrap(), visits, 1e-6);
        assert_eq!(component.threads, None);
        assert_eq!(component.node.as_deref(), Some("web01"));
    }
    let holding = |id: &str| {
        let component = profile.components.iter().find(|c| c.id == id).unwrap();
        component.holding.as_ref().unwrap().per_request
    };
    near(holding("program:store"), 600_000.0, 1e-6);
    near(holding("program:web"), 1_270_000.0, 1e-6);
    let edge = profile
        .edges
        .iter()
        .find(|e| e.to == "program:store")
        .unwrap();
    assert_eq!(edge.from, "program:app");
    near(edge.roundtrips_per_request.unwrap(), 6.0, 1e-6);
    near(edge.network_ns.unwrap(), 5000.0, 1e-6);
    assert_eq!(edge.remote_cpu_ns_per_message, None);
    let node = &profile.nodes[0];
    near(node.other_cpu.as_ref().unwrap().per_request, CLIENT, 1e-6);
    assert_eq!((node.cpus, node.quota_cpus), (2, None));
    near(profile.measured[0].mean_ns.unwrap(), 1_270_000.0, 1e-6);
    // What is not recorded is said to be so.
    for field in [
        "components[].threads",
        "components[].allowed_cpus",
        "cpu_speed",
    ] {
        assert!(profile.unknown.iter().any(|u| u.field == field), "{field}");
    }
}

#[test]
fn what_is_used_without_requests_is_the_intercept() {
    const IDLE: u64 = 50_000_000;
    let sums = gathered(&[100, 200, 400], |_, _, frame| {
        for cpu in &mut frame.cpu {
            if cpu.image == frames::APP {
                cpu.on_cpu_ns += IDLE;
            }
        }
    });
    let profile = fit(&sums, OPTIONS).unwrap();
    let app = profile.components.iter().find(|c| c.id == "program:app");
    let cpu = app.unwrap().cpu.as_ref().unwrap();
    near(cpu.per_request, 360_000.0, 1e-6);
    near(cpu.per_second, IDLE as f64, 1e-6);
    near(cpu.points[0][1], 360_000.0 + IDLE as f64 / 100.0, 0.01);
}

#[test]
fn our_own_programs_are_deducted_where_their_cost_is_known() {
    let cost = |name: &str, run_time_ns| courtside_core::frame::ProgramCost {
        name: name.to_owned(),
        runs: Some(1),
        run_time_ns,
    };
    let sums = |known: bool| {
        gathered(&[100, 200, 400], move |_, _, frame| {
            let requests = frame.flows[0].answered;
            frame.cost.programs = vec![cost("a", known.then_some(requests * 15_000))];
        })
    };
    let profile = fit(&sums(true), OPTIONS).unwrap();
    near(profile.self_cost_ns_per_request.unwrap(), 15_000.0, 1e-6);
    let all: f64 = profile
        .components
        .iter()
        .map(|c| c.cpu.as_ref().unwrap().per_request)
        .sum::<f64>()
        + profile.nodes[0].other_cpu.as_ref().unwrap().per_request;
    near(all, ALL - 15_000.0, 1e-6);
    assert_eq!(
        fit(&sums(false), OPTIONS).unwrap().self_cost_ns_per_request,
        None
    );
}

#[test]
fn saturation_is_where_the_cpus_are_used_up() {
    let profile = fitted();
    let predicted = predict(&profile, &asked(&[200.0, 1200.0])).unwrap();
    let end = predicted.saturation.unwrap();
    near(end.rate_per_s, 2e9 / ALL, 1e-6);
    assert_eq!(
        (end.resource, end.inside_fitted_range),
        (Resource::Cpu, false)
    );
    assert_eq!(end.component.as_deref(), Some("program:app"));
    let [low, high] = end.interval95.unwrap();
    assert!(low <= end.rate_per_s && end.rate_per_s <= high);
    // Three times the fitted rates are marked.
    let inside: Vec<bool> = predicted
        .points
        .iter()
        .map(|p| p.inside_fitted_range)
        .collect();
    assert_eq!(inside, [true, false]);
    let one = Question {
        cores: vec![("web01".to_owned(), 1.0)],
        ..asked(&[2000.0])
    };
    let predicted = predict(&profile, &one).unwrap();
    // The client has the other CPU.
    near(
        predicted.saturation.unwrap().rate_per_s,
        1e9 / (ALL - CLIENT),
        1e-6,
    );
    // More comes in than can be served.
    let point = &predicted.points[0];
    near(
        point.full.throughput_per_s.unwrap(),
        1e9 / (ALL - CLIENT),
        1e-6,
    );
    assert!(point.full.mean_ns.is_none() && point.full.reason.is_some());
    assert!(point.utilisation[0].share > 1.0);
}

/// 580 us on CPUs, 480 us at the disk, 60 us asleep and 70 us on the way; as it was recorded, there were 60 us in run queues and
/// 20 us unread besides.
#[test]
fn at_light_load_a_request_takes_what_it_takes() {
    let predicted = predict(&fitted(), &asked(&[100.0])).unwrap();
    let point = &predicted.points[0];
    near(point.full.mean_ns.unwrap(), 1_190_000.0, 0.04);
    near(point.base.mean_ns.unwrap(), 1_120_000.0, 0.04);
    let (p50, p95) = (point.full.p50_ns.unwrap(), point.full.p95_ns.unwrap());
    assert!(p50 < p95 && p95 < point.full.p99_ns.unwrap());
    let [low, high] = point.full.mean_interval95_ns.unwrap();
    let mean = point.full.mean_ns.unwrap();
    assert!(low < mean && mean < high);
    assert_eq!(point.base.p95_ns, None);
}

#[test]
fn a_pool_of_threads_is_used_up_before_the_cpus() {
    let nodes = Nodes {
        components: vec![ComponentSpec {
            id: "store".to_owned(),
            threads: Some(1),
            ..ComponentSpec::default()
        }],
        ..Nodes::default()
    };
    let question = Question {
        nodes,
        ..asked(&[1000.0])
    };
    let end = predict(&fitted(), &question).unwrap().saturation.unwrap();
    // 600 us of each request in one thread.
    near(end.rate_per_s, 1e9 / 600_000.0, 1e-6);
    assert_eq!(end.resource, Resource::Threads);
    assert_eq!(end.component.as_deref(), Some("program:store"));
}

fn apart(network: NetworkSpec) -> Question {
    let node = |name: &str| NodeSpec {
        name: name.to_owned(),
        cpus: Some(2.0),
        ..NodeSpec::default()
    };
    Question {
        nodes: Nodes {
            nodes: vec![node("db01")],
            components: vec![ComponentSpec {
                id: "program:store".to_owned(),
                node: Some("db01".to_owned()),
                ..ComponentSpec::default()
            }],
            network,
        },
        ..asked(&[100.0])
    }
}

#[test]
fn calls_to_another_machine_cost_what_is_said_and_are_unknown_otherwise() {
    let profile = fitted();
    let known = NetworkSpec {
        rtt_us: Some(150.0),
        cpu_us_per_message: Some(5.0),
        ..NetworkSpec::default()
    };
    let predicted = predict(&profile, &apart(known)).unwrap();
    // 12 messages at 5 us at each end of the edge to the store.
    near(
        predicted.saturation.unwrap().rate_per_s,
        2e9 / (470_000.0 + 60_000.0),
        1e-6,
    );
    let point = &predicted.points[0];
    let far = point.full.mean_ns.unwrap();
    // Six ways of 150 us instead of 5 us, and 120 us more on CPUs.
    near(far, 1_190_000.0 + 870_000.0 + 120_000.0, 0.04);
    assert!(point.with_remote_invocation.mean_ns > point.base.mean_ns);
    let predicted = predict(&profile, &apart(NetworkSpec::default())).unwrap();
    let point = &predicted.points[0];
    assert!(point.base.mean_ns.is_some());
    for unknown in [&point.with_remote_invocation, &point.full] {
        assert!(unknown.mean_ns.is_none() && unknown.reason.is_some());
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_its_reason() {
    let profile = fitted();
    let refused = |question: Question| predict(&profile, &question).unwrap_err().to_string();
    let with = |nodes: Nodes| Question {
        nodes,
        ..asked(&[100.0])
    };
    let node = |name: &str, cpus: Option<f64>| Nodes {
        nodes: vec![NodeSpec {
            name: name.to_owned(),
            cpus,
            ..NodeSpec::default()
        }],
        ..Nodes::default()
    };
    let on = |id: &str, node: &str| Nodes {
        components: vec![ComponentSpec {
            id: id.to_owned(),
            node: Some(node.to_owned()),
            ..ComponentSpec::default()
        }],
        ..Nodes::default()
    };
    for (question, words) in [
        (with(node("db01", None)), "the node db01 has no cpus"),
        (with(node("db01", Some(0.0))), "cpus of the node db01 is 0"),
        (
            with(node("db01", Some(f64::NAN))),
            "cpus of the node db01 is NaN",
        ),
        (with(node("", Some(1.0))), "has no name"),
        (with(on("nobody", "web01")), "no component nobody"),
        (with(on("app", "nowhere")), "no node nowhere"),
        (asked(&[-1.0]), "a rate of -1"),
        (
            Question {
                cores: vec![("other".to_owned(), 1.0)],
                ..asked(&[100.0])
            },
            "no node other",
        ),
    ] {
        let said = refused(question);
        assert!(
            said.contains(words) && said.starts_with("cannot predict because"),
            "{said}"
        );
    }
    let mut broken = profile.clone();
    broken.components[0].cpu.as_mut().unwrap().per_request = f64::INFINITY;
    assert!(predict(&broken, &asked(&[100.0])).is_err());
    broken = Profile::default();
    assert!(predict(&broken, &asked(&[100.0])).is_err());
}

#[test]
fn too_few_rates_and_nothing_to_fit_are_refused() {
    let refused = |sums: &Gathered| fit(sums, OPTIONS).unwrap_err().to_string();
    let few = refused(&gathered(&[100, 101, 200], |_, _, _| {}));
    assert!(
        few.starts_with("cannot fit because there are 2 different rates (99.9/s, 200/s)"),
        "{few}"
    );
    let one = refused(&gathered(&[100], |_, _, _| {}));
    assert!(one.contains("there is 1 different rate (99.9/s)"), "{one}");
    let idle = refused(&gathered(&[100, 200, 400], |number, _, frame| {
        if number == 1 {
            frame.flows.clear();
        }
    }));
    assert!(idle.contains("200.rec holds no request"), "{idle}");
    assert!(fit(&Gathered::default(), OPTIONS).is_err());
}

#[test]
fn a_saturated_recording_is_left_out_and_said() {
    let change = |number: usize, _: u64, frame: &mut Frame| {
        if number == 3 {
            for cpu in &mut frame.cpu {
                cpu.on_cpu_ns = 490_000_000;
            }
        }
    };
    let profile = fit(&gathered(&[100, 200, 400, 800], change), OPTIONS).unwrap();
    let left_out: Vec<bool> = profile
        .sources
        .iter()
        .map(|s| s.left_out.is_some())
        .collect();
    assert_eq!(left_out, [false, false, false, true]);
    near(profile.rate_range_per_s[1], 400.0, 0.02);
    let too_few = fit(&gathered(&[100, 200, 200, 800], change), OPTIONS).unwrap_err();
    assert!(
        too_few
            .to_string()
            .contains("800.rec is left out: it is saturated"),
        "{too_few}"
    );
}

#[test]
fn a_mix_that_changes_is_refused_with_the_edge_and_the_numbers() {
    let sums = gathered(&[100, 200, 400], |number, _, frame| {
        for flow in &mut frame.flows {
            let to_store = [flow.image, flow.peer].contains(&frames::STORE);
            if number == 2 && to_store {
                let more = |count: &mut u64| *count *= 2;
                more(&mut flow.answered);
                flow.answer
                    .buckets
                    .iter_mut()
                    .for_each(|bucket| more(&mut bucket.1));
            }
        }
    });
    let said = fit(&sums, OPTIONS).unwrap_err().to_string();
    assert!(
        said.contains("6.00 to 12.00 roundtrips from program:app to program:store"),
        "{said}"
    );
}

#[test]
fn requests_that_cannot_be_counted_are_refused() {
    let sums = gathered(&[100, 200, 400], |_, _, frame| {
        for flow in &mut frame.flows {
            if flow.image == frames::WEB && flow.peer == frames::LOAD {
                flow.untimed = flow.answered / 2;
            }
        }
    });
    let said = fit(&sums, OPTIONS).unwrap_err().to_string();
    assert!(
        said.contains("not known how many requests program:web served"),
        "{said}"
    );
}

#[test]
fn an_inner_edge_that_cannot_be_counted_leaves_the_simulation_out() {
    let sums = gathered(&[100, 200, 400], |_, _, frame| {
        for flow in &mut frame.flows {
            if flow.image == frames::STORE {
                flow.untimed = flow.answered / 2;
            }
        }
    });
    let profile = fit(&sums, OPTIONS).unwrap();
    let edge = profile
        .edges
        .iter()
        .find(|e| e.to == "program:store")
        .unwrap();
    assert_eq!(edge.roundtrips_per_request, None);
    let predicted = predict(&profile, &asked(&[200.0])).unwrap();
    near(predicted.saturation.unwrap().rate_per_s, 2e9 / ALL, 1e-6);
    let full = &predicted.points[0].full;
    assert!(full.mean_ns.is_none());
    assert!(
        full.reason.as_ref().unwrap().contains("program:store"),
        "{full:?}"
    );
}

#[test]
fn less_cpu_time_at_higher_rates_is_refused() {
    let sums = gathered(&[100, 200, 400], |number, _, frame| {
        for cpu in &mut frame.cpu {
            if cpu.image == frames::APP {
                cpu.on_cpu_ns = 300_000_000 - 80_000_000 * number as u64;
            }
        }
    });
    let said = fit(&sums, OPTIONS).unwrap_err().to_string();
    assert!(
        said.contains("program:app takes less CPU time as the rate rises"),
        "{said}"
    );
}

#[test]
fn one_recording_whose_load_varies_is_enough() {
    let mut gathered = Gathered::default();
    gathered.begin("day.rec".to_owned());
    let mut state = State::default();
    for window in 0..120_u64 {
        let frame = chain(60 + (window * 7) % 300);
        gathered.add(&fold(&mut state, &frame, &view()));
    }
    let profile = fit(&gathered, OPTIONS).unwrap();
    let web = profile
        .components
        .iter()
        .find(|c| c.id == "program:web")
        .unwrap();
    near(web.cpu.as_ref().unwrap().per_request, 100_000.0, 1e-6);
    assert!(profile.measured.len() >= 3);
}

#[test]
fn an_entry_that_is_asked_for_is_the_entry() {
    let mut gathered = Gathered::default();
    for rate in [100, 200, 400] {
        gathered.begin(format!("{rate}.rec"));
        let mut state = State::default();
        let view = View {
            entries: vec!["app".parse::<EntryWish>().unwrap()],
            ..View::default()
        };
        for _ in 0..8 {
            gathered.add(&fold(&mut state, &chain(rate), &view));
        }
    }
    let options = FitOptions {
        entries_given: true,
        ..OPTIONS
    };
    let profile = fit(&gathered, options).unwrap();
    assert_eq!(profile.entry, "program:app:8080");
    let ids: Vec<&str> = profile.components.iter().map(|c| c.id.as_str()).collect();
    assert!(ids.contains(&"program:store") && !ids.contains(&"program:web"));
}

pub(super) fn wish(rate: f64, costs: &[f64]) -> Wish {
    Wish {
        nodes: Nodes {
            nodes: costs
                .iter()
                .enumerate()
                .map(|(i, &cost)| NodeSpec {
                    name: format!("n{i}"),
                    cpus: Some(2.0),
                    cost: Some(cost),
                    ..NodeSpec::default()
                })
                .collect(),
            network: NetworkSpec {
                rtt_us: Some(100.0),
                cpu_us_per_message: Some(5.0),
                ..NetworkSpec::default()
            },
            ..Nodes::default()
        },
        rate,
        mean_ns: None,
        p95_ns: None,
        seed: 3,
        steps: Some(1000),
    }
}

#[test]
fn annealing_is_within_one_per_cent_of_brute_force_and_no_worse_than_the_rest() {
    let profile = fitted();
    for (rate, costs) in [
        (1000.0, vec![1.0, 1.0, 1.0]),
        (5000.0, vec![3.0, 1.0, 2.0]),
        (50_000.0, vec![1.0, 1.0, 1.0]),
    ] {
        let placement = place(&profile, &wish(rate, &costs)).unwrap();
        let by = |method: Method| {
            placement
                .compared
                .iter()
                .find(|c| c.method == method)
                .unwrap()
        };
        let (annealing, brute) = (by(Method::Annealing), by(Method::BruteForce));
        assert_eq!(brute.tried, 343);
        assert_eq!(annealing.cost, brute.cost, "{rate}");
        let [a, b] = [annealing, brute].map(|c| c.throughput_per_s.unwrap());
        assert!(a >= 0.99 * b, "{rate}: {a} of {b}");
        assert_eq!(placement.best.meets, rate < 10_000.0);
        for other in &placement.compared {
            if other.meets {
                assert!(placement.best.meets && placement.best.cost <= other.cost);
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_placement_and_times_that_are_asked_for_are_kept() {
    let profile = fitted();
    let mut wish = wish(1000.0, &[1.0, 1.0]);
    let first = place(&profile, &wish).unwrap();
    assert_eq!(first, place(&profile, &wish).unwrap());
    assert_eq!(first.best.nodes, 1);
    // Faster than a request takes without any wait.
    wish.mean_ns = Some(1_000_000.0);
    let placement = place(&profile, &wish).unwrap();
    assert!(!placement.best.meets && placement.best.says.is_some());
    wish.mean_ns = None;
    wish.p95_ns = Some(20_000_000.0);
    let placement = place(&profile, &wish).unwrap();
    assert!(placement.best.meets && placement.best.p95_ns.unwrap() <= 20_000_000.0);
    wish.nodes.nodes.clear();
    assert!(place(&profile, &wish).is_err());
}

#[test]
fn a_server_with_another_port_in_each_recording_is_one_entry() {
    let sums = gathered(&[100, 200, 400], |number, _, frame| {
        for flow in frame.flows.iter_mut().filter(|flow| flow.port == 80) {
            flow.port += number as u16;
        }
    });
    let profile = fit(&sums, OPTIONS).unwrap();
    assert_eq!(profile.entry, "program:web");
    let cpu = profile.components[0].cpu.as_ref().unwrap();
    near(cpu.per_request, 100_000.0, 1e-6);
    near(profile.measured[0].rate_per_s, 100.0, 0.02);
}

#[test]
fn a_window_with_more_cpu_time_than_there_was_is_left_out() {
    let sums = gathered(&[100, 200, 400], |number, window, frame| {
        if number == 1 && window == 15 {
            for cpu in &mut frame.cpu {
                cpu.on_cpu_ns += 800_000_000;
            }
        }
    });
    let profile = fit(&sums, OPTIONS).unwrap();
    let web = profile.components.iter().find(|c| c.id == "program:web");
    near(
        web.unwrap().cpu.as_ref().unwrap().per_request,
        100_000.0,
        1e-6,
    );
    assert!(profile.remarks[0].contains("1 window of 200.rec left out"));
}
