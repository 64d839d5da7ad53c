//! Profiles of what is not wholly on this host, and such as no fit makes.

use courtside_core::{
    fixture::frames,
    frame::{ProgramCost, Remote},
    model::profile::Profile,
};

use super::{
    tests::{ALL, CLIENT, OPTIONS, asked, fitted, gathered, near},
    *,
};

#[test]
fn our_own_programs_are_deducted_in_full_where_clients_are_elsewhere() {
    let sums = gathered(&[100, 200, 400], |_, _, frame| {
        frame.cost.programs = vec![ProgramCost {
            name: "a".to_owned(),
            runs: Some(1),
            run_time_ns: Some(frame.flows[0].answered * 15_000),
        }];
        frame.flows.retain(|flow| flow.image != frames::LOAD);
        frame.images.retain(|image| image.id != frames::LOAD);
        frame.cpu.retain(|cpu| cpu.image != frames::LOAD);
        let client = frames::remote(1);
        for flow in &mut frame.flows {
            if flow.peer == frames::LOAD {
                flow.peer = client;
            }
        }
        frame.remotes.push(Remote {
            id: client,
            address: "192.0.2.1".to_owned(),
            port: 0,
        });
    });
    let profile = fit(&sums, OPTIONS).unwrap();
    let all: f64 = profile
        .components
        .iter()
        .map(|component| component.cpu.as_ref().unwrap().per_request)
        .sum();
    near(all, ALL - CLIENT - 15_000.0, 1e-6);
}

#[test]
fn numbers_of_a_profile_that_make_no_sense_are_refused() {
    let profile = fitted();
    let breaks: [fn(&mut Profile); 7] = [
        |profile| profile.nodes[0].quota_cpus = Some(0.0),
        |profile| profile.nodes[0].other_cpu.as_mut().unwrap().per_second = f64::NAN,
        |profile| profile.nodes.push(profile.nodes[0].clone()),
        |profile| profile.entries[0].share = 0.0,
        |profile| profile.components[0].threads = Some(0),
        |profile| profile.components[0].scv_cpu = Some(-1.0),
        |profile| {
            let cpu = profile.components[0].cpu.as_mut().unwrap();
            cpu.half95_at_center = Some(f64::INFINITY);
        },
    ];
    for (number, breaks) in breaks.into_iter().enumerate() {
        let mut broken = profile.clone();
        breaks(&mut broken);
        let refused = predict(&broken, &asked(&[100.0])).unwrap_err().to_string();
        assert!(
            refused.contains("make no sense") || number == 2,
            "{refused}"
        );
    }
}
