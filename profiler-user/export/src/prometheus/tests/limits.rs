//! Who has series of their own, and what becomes of all others.

use courtside_core::model::snapshot::{ComponentKind, Recipient};

use super::*;

/// A process that ended within its last window is in none: that makes its component no remote end.
#[test]
fn only_a_remote_end_is_waited_for_longer() {
    let store = "courtside_requests_total{component=\"container:store\"}";
    let mut rest = normal(1);
    rest.components
        .retain(|component| component.id == "program:load");
    rest.edges.clear();
    for (kind, seconds) in [(ComponentKind::Container, 3), (ComponentKind::Remote, 15)] {
        let mut window = normal(0);
        for component in &mut window.components {
            if component.id == "container:store" {
                component.kind = kind;
                component.processes.clear();
            }
        }
        let mut totals = Totals::new(10, 3_000_000_000);
        totals.add(&window, &dead);
        for gone_for in 1..=seconds + 1 {
            totals.add(&rest, &dead);
            let all = series(&written(&totals, Form::Text, &rest));
            assert_eq!(
                all.contains_key(store),
                gone_for <= seconds,
                "{kind:?}: {gone_for} s"
            );
        }
    }
}

/// What does not fit is at another end, and still with the one that did it.
#[test]
fn what_a_component_did_in_all_is_right_however_many_others_there_are() {
    let mut window = normal(0);
    let ids: Vec<String> = window
        .components
        .iter()
        .map(|component| component.id.clone())
        .collect();
    for component in &mut window.components {
        component.turnaround.by_recipient = ids
            .iter()
            .map(|to| Recipient {
                to: to.clone(),
                count: 10,
                ..Recipient::default()
            })
            .collect();
    }
    let call = window
        .edges
        .iter()
        .find(|edge| edge.from == "unit:web")
        .cloned()
        .unwrap();
    for port in 9000..9050 {
        let mut more = call.clone();
        more.port = port;
        window.edges.push(more);
    }
    let totals = totals(3, &[window.clone()]);
    let text = written(&totals, Form::Text, &window);
    let mut own = 0;
    for id in &ids {
        if series(&text).contains_key(&format!("courtside_requests_total{{component=\"{id}\"}}")) {
            own += 1;
            let its = format!("component=\"{id}\"");
            assert_eq!(sum(&text, "courtside_turnarounds_total", &its), 40, "{id}");
            let its = format!("from=\"{id}\"");
            let edges = window.edges.iter().filter(|edge| edge.from == *id);
            let expected: u64 = edges.map(|edge| edge.roundtrips).sum();
            let told = sum(&text, "courtside_roundtrips_total", &its);
            assert_eq!(told, u128::from(expected), "{id}");
        }
    }
    assert_eq!(own, 3);
    let series = totals.series();
    assert!(series.turnarounds <= 3 * 4 + 4, "{series:?}");
    assert!(series.edges <= 3 * 4 + 3 * 4, "{series:?}");
}

/// Who was not selected has no series, and no limit to blame.
#[test]
fn who_is_not_told_of_is_not_folded() {
    let mut window = normal(0);
    window
        .components
        .retain(|component| component.id != "container:store");
    window.edges.retain(|edge| edge.to != "container:store");
    let totals = totals(50, &[window.clone()]);
    let all = series(&written(&totals, Form::Text, &window));
    assert!(
        all.contains_key("courtside_turnarounds_total{component=\"program:app\",to=\"other\"}")
    );
    assert_eq!(totals.series().folded, 0);
    assert_eq!(all["courtside_folded_series"], "0");
}

/// A name that cannot be seen is written as its number, and somebody may be called just so: that is one series, not the same
/// one twice.
#[test]
fn two_names_that_are_written_alike_are_one_series() {
    let mut window = normal(0);
    for (component, id) in window
        .components
        .iter_mut()
        .zip(["program:a\nb", "program:a<000A>b"])
    {
        component.id = id.to_owned();
    }
    let served = window.components[0].requests.served + window.components[1].requests.served;
    let windows = [window.clone(), window];
    let totals = totals(50, &windows);
    for form in [Form::Text, Form::OpenMetrics] {
        let text = written(&totals, form, &windows[1]);
        check_sums(&text, &windows, "written alike");
        let its = sum(
            &text,
            "courtside_requests_total",
            "component=\"program:a<000A>b\"",
        );
        assert_eq!(its, u128::from(2 * served));
    }
}
