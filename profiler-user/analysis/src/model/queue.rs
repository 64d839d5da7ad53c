//! Closed formulas of queues: how long requests wait for a resource.
//!
//! In: mean service time, utilisation, scatter, number of servers. Out: mean time in the queue and in service. Must not know:
//! components, nodes.

/// Mean time at one server, requests coming at random (M/G/1): e + rho e (1 + C2) / (2 (1 - rho)), by Pollaczek (1930) and
/// Khinchine (1932). With several servers (M/G/c) the wait is that of Sakasegawa (1977): e (1 + C2) / 2 times
/// rho^(sqrt(2 (c + 1)) - 1) / (c (1 - rho)), which for one server is the same. `e` is the mean service time, `rho` the
/// utilisation of 1, `scv` the squared coefficient of variation of the service time. None from saturation on.
pub(super) fn time_in_queue_and_service(e: f64, rho: f64, scv: f64, servers: f64) -> Option<f64> {
    if !(0.0..1.0).contains(&rho) || servers <= 0.0 {
        return None;
    }
    let crowd = rho.powf((2.0 * (servers + 1.0)).sqrt() - 1.0);
    Some(e + (1.0 + scv) / 2.0 * e * crowd / (servers * (1.0 - rho)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Mean time with so many servers and exponential service, exactly (Erlang, 1917).
    pub fn erlang(e: f64, rate: f64, servers: u32) -> f64 {
        let load = rate * e;
        let term = |k: u32| (1..=k).fold(1.0, |product, i| product * load / f64::from(i));
        let rho = load / f64::from(servers);
        let last = term(servers) / (1.0 - rho);
        let wait = last / ((0..servers).map(term).sum::<f64>() + last);
        e + wait * e / (f64::from(servers) * (1.0 - rho))
    }

    fn at(e: f64, rate: f64, scv: f64, servers: f64) -> f64 {
        time_in_queue_and_service(e, rate * e / servers, scv, servers).unwrap()
    }

    /// The worked example of the method: 4 requests a second, 0.2 s at one node and 0.1 s at the other, and ten roundtrips of
    /// 150 us between them.
    #[test]
    fn the_worked_example_takes_1_168167_seconds() {
        let first = at(0.2, 4.0, 1.0, 1.0);
        let second = at(0.1, 4.0, 1.0, 1.0);
        assert!((first - 1.0).abs() < 1e-12);
        assert!((second - 0.166_667).abs() < 1e-6);
        assert!((first + second + 10.0 * 150e-6 - 1.168_167).abs() < 1e-6);
        // Service that always takes the same time.
        assert!((at(0.2, 4.0, 0.0, 1.0) - 0.6).abs() < 1e-12);
        assert!((at(0.1, 4.0, 0.0, 1.0) - 0.133_333).abs() < 1e-6);
    }

    #[test]
    fn four_servers_are_near_the_exact_formula() {
        assert!((at(0.2, 16.0, 1.0, 4.0) - 0.354_310).abs() < 1e-6);
        assert!((erlang(0.2, 16.0, 4) - 0.349_108).abs() < 1e-6);
        assert!((erlang(0.2, 4.0, 1) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn from_saturation_on_there_is_no_answer() {
        assert_eq!(time_in_queue_and_service(0.2, 1.0, 1.0, 1.0), None);
        assert_eq!(time_in_queue_and_service(0.2, f64::NAN, 1.0, 1.0), None);
        assert_eq!(time_in_queue_and_service(0.2, 0.0, 1.0, 1.0), Some(0.2));
    }
}
