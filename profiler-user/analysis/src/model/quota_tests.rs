//! Quotas, and machines that others fill: what can be predicted, and what cannot.

use courtside_core::{
    fixture::frames,
    model::{
        nodes::{ComponentSpec, NodeSpec, Nodes},
        prediction::Resource,
        profile::Profile,
    },
};

use super::{
    tests::{ALL, CLIENT, OPTIONS, asked, gathered, near, wish},
    *,
};

/// The chain beside a program that is on a CPU for so long in every second.
fn beside(busy_ns: u64) -> Profile {
    let sums = gathered(&[100, 200, 400], |_, _, frame| {
        for cpu in &mut frame.cpu {
            if cpu.image == frames::LOAD {
                cpu.on_cpu_ns += busy_ns;
            }
        }
    });
    fit(&sums, OPTIONS).unwrap()
}

fn on_nodes(nodes: Vec<NodeSpec>) -> Nodes {
    Nodes {
        nodes,
        ..Nodes::default()
    }
}

#[test]
fn a_quota_is_used_up_by_the_components_and_not_by_what_else_runs_there() {
    let quota = |quota: f64| NodeSpec {
        name: "web01".to_owned(),
        quota_cpus: Some(quota),
        ..NodeSpec::default()
    };
    // The others alone use more than the CPU that they have to themselves and the quota together.
    let profile = beside(1_350_000_000);
    let question = Question {
        nodes: on_nodes(vec![quota(0.3)]),
        cores: vec![("web01".to_owned(), 1.0)],
        ..asked(&[100.0, 600.0])
    };
    let predicted = predict(&profile, &question).unwrap();
    let end = predicted.saturation.unwrap();
    near(end.rate_per_s, 0.3e9 / (ALL - CLIENT), 1e-6);
    assert_eq!(end.resource, Resource::Quota);
    assert_eq!(predicted.saturation_unknown, None);
    let shares: Vec<(Resource, f64)> = predicted.points[0]
        .utilisation
        .iter()
        .filter(|used| used.resource != Resource::Disk)
        .map(|used| (used.resource, used.share))
        .collect();
    let [(Resource::Cpu, cpu), (Resource::Quota, quota_used)] = shares[..] else {
        panic!("{shares:?}");
    };
    near(cpu, 0.35 + 100.0 * ALL / 1e9, 1e-6);
    near(quota_used, 100.0 * (ALL - CLIENT) / 0.3e9, 1e-6);
    // The others leave the quota alone, so that requests wait for themselves only: a CPU of 0.3 of the speed.
    assert!(predicted.points[0].full.mean_ns.is_some());
    assert!(predicted.points[0].base.mean_ns.is_some());
    near(
        predicted.points[1].base.throughput_per_s.unwrap(),
        end.rate_per_s,
        1e-6,
    );
    assert!(
        predicted
            .assumed
            .iter()
            .any(|text| text.starts_with("The quota on web01"))
    );
    // With more of a quota than the others leave of the CPUs, the CPUs are what is used up.
    let question = Question {
        nodes: on_nodes(vec![quota(0.9)]),
        cores: vec![("web01".to_owned(), 1.0)],
        ..asked(&[100.0])
    };
    let end = predict(&profile, &question).unwrap().saturation.unwrap();
    near(end.rate_per_s, 0.65e9 / ALL, 1e-6);
    assert_eq!(end.resource, Resource::Cpu);
}

#[test]
fn the_last_number_of_cores_counts_and_the_others_have_the_rest() {
    let profile = beside(1_350_000_000);
    let end = |cores: &[f64]| {
        let question = Question {
            cores: cores.iter().map(|&n| ("web01".to_owned(), n)).collect(),
            ..asked(&[100.0])
        };
        let predicted = predict(&profile, &question).unwrap();
        predicted.saturation.unwrap().rate_per_s
    };
    near(end(&[1.0]), 0.65e9 / ALL, 1e-6);
    near(end(&[1.5, 1.0]), 0.65e9 / ALL, 1e-6);
}

#[test]
fn where_others_take_all_of_it_there_is_no_answer_and_never_a_rate_of_0() {
    let profile = beside(1_350_000_000);
    let one_cpu = || NodeSpec {
        name: "web01".to_owned(),
        cpus: Some(1.0),
        ..NodeSpec::default()
    };
    let question = Question {
        nodes: on_nodes(vec![one_cpu()]),
        ..asked(&[])
    };
    let predicted = predict(&profile, &question).unwrap();
    assert_eq!(predicted.saturation, None);
    let why = predicted.saturation_unknown.unwrap();
    assert!(
        why.starts_with("nothing is left of the CPUs of web01 without any request (135% is used)"),
        "{why}"
    );
    assert!(!predicted.points.is_empty());
    for point in &predicted.points {
        for one in [&point.base, &point.with_remote_invocation, &point.full] {
            assert_eq!((one.throughput_per_s, one.mean_ns), (None, None));
            assert!(one.reason.as_ref().unwrap().starts_with("nothing is left"));
        }
    }
    // On another machine they do not matter.
    let other = NodeSpec {
        name: "db01".to_owned(),
        cpus: Some(2.0),
        ..NodeSpec::default()
    };
    let mut nodes = on_nodes(vec![one_cpu(), other]);
    for id in ["web", "app", "store"] {
        nodes.components.push(ComponentSpec {
            id: id.to_owned(),
            node: Some("db01".to_owned()),
            ..ComponentSpec::default()
        });
    }
    let question = Question {
        nodes,
        ..asked(&[100.0])
    };
    let end = predict(&profile, &question).unwrap().saturation.unwrap();
    near(end.rate_per_s, 2e9 / (ALL - CLIENT), 1e-6);
    assert_eq!(end.node.as_deref(), Some("db01"));
    let mut wish = wish(100.0, &[]);
    wish.nodes.nodes = vec![one_cpu()];
    let best = place(&profile, &wish).unwrap().best;
    assert_eq!((best.throughput_per_s, best.meets), (None, false));
    assert!(best.says.unwrap().contains("leaves nothing"));
}

#[test]
fn a_quota_that_held_back_while_it_was_recorded_is_said() {
    let held = |ns: Option<u64>| {
        let sums = gathered(&[100, 200, 400], move |_, _, frame| {
            for cpu in &mut frame.cpu {
                cpu.throttled_ns = Some(0);
                if cpu.image == frames::APP {
                    cpu.throttled_ns = ns.map(|ns| ns * frame.flows[0].answered);
                }
            }
        });
        fit(&sums, OPTIONS).unwrap()
    };
    let of_app = |profile: &Profile| {
        let app = profile.components.iter().find(|c| c.id == "program:app");
        app.unwrap().throttled_ns_per_request
    };
    let says = |profile: &Profile, question: &Question| {
        let assumed = predict(profile, question).unwrap().assumed;
        let said = "No CPU quota holds program:app back.";
        assumed.iter().any(|text| text.starts_with(said))
    };
    let profile = held(Some(90_000));
    near(of_app(&profile).unwrap(), 90_000.0, 1e-6);
    assert!(says(&profile, &asked(&[100.0])));
    let given = Question {
        nodes: on_nodes(vec![NodeSpec {
            name: "web01".to_owned(),
            quota_cpus: Some(0.5),
            ..NodeSpec::default()
        }]),
        ..asked(&[100.0])
    };
    assert!(!says(&profile, &given));
    assert!(!says(&held(Some(0)), &asked(&[100.0])));
    let older = held(None);
    assert_eq!(of_app(&older), None);
    let field = "components[].throttled_ns_per_request";
    assert!(older.unknown.iter().any(|u| u.field == field));
    assert!(!profile.unknown.iter().any(|u| u.field == field));
}
