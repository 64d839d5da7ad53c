//! More remote ends than the kernel's maps hold: none of their requests is lost.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use courtside_tests::harness::{Host, Measured, list, number};

const ENDS: u64 = 100_000;

/// Plays with that many remote ends, and looks at both what was told of each and of all together.
fn all_are_counted(more: &[&str], of_edge: &str, own_at_least: u64) {
    let host = Host::take().unwrap();
    let name = format!("r-{}", host.tag());
    let ends = ENDS.to_string();
    let arguments = [&["crowd", "--ends", &ends, "--name", &name], more].concat();
    let Measured {
        snapshot, answer, ..
    } = host.measure(&arguments).unwrap();
    assert_eq!(answer["served"], ENDS);
    let is_remote = |edge: &&serde_json::Value| {
        let ends = [&edge["from"], &edge["to"]].map(|id| snapshot.name(id));
        ends.iter().any(|end| end.starts_with(&name))
            && ends
                .iter()
                .any(|end| end.starts_with("10.") || *end == "(other remote ends)")
    };
    let edges: Vec<_> = list(&snapshot.0, "edges").filter(is_remote).collect();
    let sum = |field: &str| -> u64 { edges.iter().map(|edge| number(edge, field).unwrap()).sum() };
    assert_eq!(sum("roundtrips"), ENDS);
    assert_eq!(sum(of_edge), ENDS);
    assert_eq!(sum("messages_sent"), ENDS);
    assert_eq!(sum("messages_received"), ENDS);
    assert_eq!(sum("bytes_sent"), 100 * ENDS);
    assert_eq!(sum("bytes_received"), 100 * ENDS);
    assert_eq!(snapshot.lost_counts(), []);
    let others = snapshot.component("(other remote ends)").unwrap();
    assert_eq!(others["kind"], "remote");
    let own = edges.len() as u64 - 1;
    let folded = number(&snapshot.0, "quality/folded_remotes").unwrap();
    assert!(own >= own_at_least, "{own}");
    assert!(
        (own + folded).abs_diff(ENDS) < ENDS / 50,
        "{own} and {folded}"
    );
    println!("{ENDS} remote ends, {own} on their own, about {folded} as one, no request lost");
}

#[test]
fn a_hundred_thousand_clients_are_counted_exactly() {
    all_are_counted(&[], "service_ns/count", 1000);
}

#[test]
fn a_hundred_thousand_servers_are_called_and_counted_exactly() {
    all_are_counted(&["--called"], "latency_ns/count", 500);
}
