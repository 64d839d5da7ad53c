//! Joins with known answers.

use super::*;

fn addresses() -> Addresses {
    let mut known = Addresses::default();
    known
        .lines("10.0.0.1 a\n10.0.0.2 b\n10.0.0.3 c\n10.0.0.8 x\n10.0.0.8 y\n")
        .unwrap();
    known
}

/// So many roundtrips, each of which took so long.
fn end(
    host: &str,
    component: &str,
    address: &str,
    roundtrips: u64,
    each_ns: u64,
    asks: bool,
) -> End {
    let timed = Timed {
        count: roundtrips,
        sum_ns: roundtrips * each_ns,
    };
    let mut sums = Sums {
        roundtrips,
        ..Sums::default()
    };
    if asks {
        sums.latency = timed;
    } else {
        sums.service = timed;
    }
    End {
        host: host.to_owned(),
        component: component.to_owned(),
        address: address.to_owned(),
        transport: "tcp".to_owned(),
        port: 80,
        sums,
        ..End::default()
    }
}

fn asks(host: &str, address: &str, roundtrips: u64, each_ns: u64) -> End {
    end(host, "web", address, roundtrips, each_ns, true)
}

fn serves(host: &str, address: &str, roundtrips: u64, each_ns: u64) -> End {
    end(host, "app", address, roundtrips, each_ns, false)
}

fn only(links: Vec<Link>) -> Link {
    assert_eq!(links.len(), 1, "{links:?}");
    links.into_iter().next().unwrap()
}

#[test]
fn ends_that_know_each_other_meet_and_the_network_is_what_is_left() {
    let link = only(join(
        &[],
        &[asks("a", "10.0.0.2", 100, 900)],
        &[serves("b", "10.0.0.1", 100, 600)],
        &addresses(),
    ));
    assert_eq!(link.through, Through::Direct);
    assert_eq!(
        (link.from.as_deref(), link.to.as_deref()),
        (Some("web"), Some("app"))
    );
    assert_eq!(
        (link.from_host.as_deref(), link.to_host.as_deref()),
        (Some("a"), Some("b"))
    );
    assert_eq!(link.network_mean_ns, Ok(300.0));
    assert_eq!(link.sums.roundtrips, 100);
}

#[test]
fn a_network_time_that_cannot_be_told_says_why() {
    let why = |asked: End, served: Vec<End>| {
        only(join(&[], &[asked], &served, &addresses()))
            .network_mean_ns
            .unwrap_err()
    };
    let asked = || asks("a", "10.0.0.2", 100, 900);
    let served = |n, each| vec![serves("b", "10.0.0.1", n, each)];
    assert_eq!(
        why(asked(), served(100, 901)),
        NetworkUnknown::ServiceLonger
    );
    assert_eq!(why(asked(), served(80, 600)), NetworkUnknown::CountsDiffer);
    assert_eq!(why(asked(), Vec::new()), NetworkUnknown::OtherEndUnseen);
    let mut untimed = asked();
    untimed.sums.latency.count = 90;
    assert_eq!(why(untimed, served(100, 600)), NetworkUnknown::Untimed);
    let far = asks("a", "192.0.2.9", 100, 900);
    assert_eq!(why(far, Vec::new()), NetworkUnknown::AddressUnknown);
    let shared = asks("a", "10.0.0.8", 100, 900);
    assert_eq!(why(shared, Vec::new()), NetworkUnknown::AddressOfSeveral);
}

#[test]
fn what_was_under_way_when_windows_ended_is_no_difference() {
    let link = only(join(
        &[],
        &[asks("a", "10.0.0.2", 100, 900)],
        &[serves("b", "10.0.0.1", 98, 600)],
        &addresses(),
    ));
    assert_eq!(link.network_mean_ns, Ok(300.0));
}

#[test]
fn a_translator_is_seen_through_where_the_counts_agree() {
    let calling = [
        asks("a", "10.0.0.3", 100, 900),
        asks("b", "10.0.0.3", 50, 900),
    ];
    let called = [serves("c", "192.0.2.1", 150, 600)];
    let links = join(&[], &calling, &called, &addresses());
    assert_eq!(links.len(), 2, "{links:?}");
    for link in &links {
        assert_eq!(link.through, Through::Nat);
        assert_eq!(link.to_host.as_deref(), Some("c"));
        assert_eq!(link.address.as_deref(), Some("192.0.2.1"));
        assert_eq!(link.network_mean_ns, Ok(300.0));
    }
    let served: u64 = links.iter().map(|link| link.sums.service.count).sum();
    assert_eq!(served, 150);

    // Somebody else is behind it, too: then nothing is said.
    let called = [serves("c", "192.0.2.1", 400, 600)];
    let links = join(&[], &calling, &called, &addresses());
    let through: Vec<Through> = links.iter().map(|link| link.through).collect();
    assert_eq!(
        through,
        [
            Through::InitiatorOnly,
            Through::InitiatorOnly,
            Through::AcceptorOnly
        ]
    );
}

#[test]
fn a_virtual_address_stands_for_the_hosts_that_answered() {
    let calling = [asks("a", "10.9.9.9", 100, 900)];
    let called = [
        serves("b", "10.0.0.1", 60, 600),
        serves("c", "10.0.0.1", 40, 600),
    ];
    let link = only(join(&[], &calling, &called, &addresses()));
    assert_eq!(link.through, Through::VirtualAddress);
    assert_eq!(link.to_host.as_deref(), Some("b | c"));
    assert_eq!(link.address.as_deref(), Some("10.9.9.9"));
    assert_eq!(link.network_mean_ns, Ok(300.0));
}

#[test]
fn every_roundtrip_of_initiators_is_in_exactly_one_link() {
    let calling = [
        asks("a", "10.0.0.2", 10, 900),
        asks("a", "10.0.0.3", 20, 900),
        asks("b", "192.0.2.77", 30, 900),
        asks("c", "10.9.9.9", 40, 900),
    ];
    let called = [
        serves("b", "10.0.0.1", 10, 600),
        serves("c", "192.0.2.1", 20, 600),
        serves("a", "198.51.100.1", 500, 600),
        serves("b", "10.0.0.3", 40, 600),
    ];
    let links = join(&[], &calling, &called, &addresses());
    let of = |one_sided: bool| {
        let links = links
            .iter()
            .filter(|link| (link.through == Through::AcceptorOnly) == one_sided);
        links.map(|link| link.sums.roundtrips).sum::<u64>()
    };
    assert_eq!((of(false), of(true)), (100, 500), "{links:?}");
}
