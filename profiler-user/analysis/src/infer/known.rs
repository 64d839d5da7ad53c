//! Known answers: ranks in supersteps, simulated by an independent program in another language, and what that program says of
//! them by each rule. The run is the same here: its waits are drawn by the same generator from the same seed.

use super::{
    court::{Packets, Queued, ranges},
    rounds::Gaps,
};

/// Numbers that differ by less are the same: they were printed with two digits.
const DIGITS: f64 = 0.006;
const RANKS: usize = 4;
const STEPS: usize = 300;
const US: u64 = 1_000;
/// From a send to its arrival.
const LATENCY_NS: u64 = 100 * US;
/// From an arrival to its acknowledgement.
const ACK_NS: u64 = 50 * US;
const RTT_NS: u64 = 2 * LATENCY_NS + ACK_NS;
/// Between pieces of a message.
const PIECE_NS: u64 = 5 * US;
const EQUAL: [u64; RANKS] = [6_000 * US; RANKS];
const UNEQUAL: [u64; RANKS] = [6_000 * US, 12_000 * US, 6_000 * US, 3_000 * US];

/// The Mersenne Twister (Matsumoto and Nishimura, 1998), seeded with one number.
struct Twister {
    state: Vec<u32>,
    next: usize,
}

impl Twister {
    const N: usize = 624;

    fn new(seed: u32) -> Self {
        let mixed = |word: u32| word ^ (word >> 30);
        let mut state = vec![19_650_218u32; Self::N];
        for i in 1..Self::N {
            let before = mixed(state[i - 1]);
            state[i] = before.wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        let mut i = 1;
        for round in 0..2 * Self::N - 1 {
            let before = mixed(state[i - 1]);
            state[i] = if round < Self::N {
                (state[i] ^ before.wrapping_mul(1_664_525)).wrapping_add(seed)
            } else {
                (state[i] ^ before.wrapping_mul(1_566_083_941)).wrapping_sub(i as u32)
            };
            i += 1;
            if i == Self::N {
                state[0] = state[Self::N - 1];
                i = 1;
            }
        }
        state[0] = 1 << 31;
        Self {
            state,
            next: Self::N,
        }
    }

    fn word(&mut self) -> u32 {
        if self.next == Self::N {
            for i in 0..Self::N {
                let high = self.state[i] & (1 << 31);
                let low = self.state[(i + 1) % Self::N] & ((1 << 31) - 1);
                let both = high | low;
                let odd = if both & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + 397) % Self::N] ^ (both >> 1) ^ odd;
            }
            self.next = 0;
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// From 0 to 1, with 53 bits.
    fn share(&mut self) -> f64 {
        let (high, low) = (self.word() >> 5, self.word() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
    }

    /// Waits of 50 ms on average, for each step.
    fn waits(&mut self) -> Vec<u64> {
        let mut wait = || (-(1.0 - self.share()).ln() * 5e7) as u64;
        (0..STEPS).map(|_| wait()).collect()
    }
}

/// What a rank sees, in the order in which the other program tells what happens at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Packet {
    ReceivesAck,
    Receives,
    Acks,
    Sends,
}

/// Ranks that compute, wait for a CPU, send to the next one or to all, and receive.
#[derive(Clone)]
struct Steps {
    all: bool,
    work_ns: [u64; RANKS],
    /// By rank: its waits.
    waits: [Vec<u64>; RANKS],
    /// A rank that acknowledges so late.
    late: Option<(usize, u64)>,
    pieces: u64,
}

/// How it went.
struct Run {
    length_ns: u64,
    /// By rank, in the order of time.
    packets: Vec<Vec<(u64, Packet)>>,
    /// By rank: queue-corrected court time.
    queued_ns: Vec<u64>,
}

impl Steps {
    fn new(all: bool, work_ns: [u64; RANKS], loaded: &[(usize, &[u64])]) -> Self {
        let mut waits: [Vec<u64>; RANKS] = std::array::from_fn(|_| vec![0; STEPS]);
        for (rank, own) in loaded {
            waits[*rank] = own.to_vec();
        }
        Self {
            all,
            work_ns,
            waits,
            late: None,
            pieces: 1,
        }
    }

    fn sends(&self, from: usize, to: usize) -> bool {
        if self.all {
            from != to
        } else {
            (from + 1) % RANKS == to
        }
    }

    fn court_ns(&self, rank: usize, step: usize) -> u64 {
        self.work_ns[rank] + self.waits[rank][step]
    }

    fn epochs(&self, rank: usize) -> Vec<u64> {
        (0..STEPS).map(|step| self.court_ns(rank, step)).collect()
    }

    fn run(&self) -> Run {
        let mut packets = vec![Vec::new(); RANKS];
        let mut queued = vec![Queued::default(); RANKS];
        let mut queued_ns = vec![0; RANKS];
        let mut start_ns = [0; RANKS];
        for step in 0..STEPS {
            let send_ns: [u64; RANKS] =
                std::array::from_fn(|rank| start_ns[rank] + self.court_ns(rank, step));
            let last_ns = |rank: usize| send_ns[rank] + (self.pieces - 1) * PIECE_NS;
            for from in 0..RANKS {
                for to in (0..RANKS).filter(|to| self.sends(from, *to)) {
                    let ack_ns = match self.late {
                        Some((late, ns)) if late == to => ns,
                        _ => ACK_NS,
                    };
                    for piece in 0..self.pieces {
                        let at_ns = send_ns[from] + piece * PIECE_NS;
                        let there_ns = at_ns + LATENCY_NS;
                        packets[from].push((at_ns, Packet::Sends));
                        packets[to].push((there_ns, Packet::Receives));
                        packets[to].push((there_ns + ack_ns, Packet::Acks));
                        let back_ns = there_ns + ack_ns + LATENCY_NS;
                        packets[from].push((back_ns, Packet::ReceivesAck));
                    }
                }
                for piece in 0..self.pieces {
                    queued_ns[from] += queued[from].send(send_ns[from] + piece * PIECE_NS);
                }
            }
            for to in 0..RANKS {
                start_ns[to] = send_ns[to];
                for from in (0..RANKS).filter(|from| self.sends(*from, to)) {
                    let there_ns = last_ns(from) + LATENCY_NS;
                    queued[to].read(there_ns);
                    start_ns[to] = start_ns[to].max(there_ns);
                }
            }
        }
        for packets in &mut packets {
            packets.sort_unstable();
        }
        Run {
            length_ns: start_ns.into_iter().max().unwrap(),
            packets,
            queued_ns,
        }
    }

    /// By how much longer it takes than with nobody loaded.
    fn slower_s(&self) -> f64 {
        let free = Self {
            waits: std::array::from_fn(|_| vec![0; STEPS]),
            late: None,
            ..self.clone()
        };
        seconds(self.run().length_ns) - seconds(free.run().length_ns)
    }

    /// Of the one with most, court time by the packet rule less that of the one with least of those that are not loaded, over
    /// what is true, in per cent.
    fn by_packets(&self, loaded: &[usize]) -> f64 {
        let run = self.run();
        let court = |rank: usize| -> u64 {
            let mut rule = Packets::default();
            let mut sum_ns = 0;
            for (at_ns, packet) in &run.packets[rank] {
                match packet {
                    Packet::Receives | Packet::ReceivesAck => rule.came(*at_ns),
                    Packet::Acks | Packet::Sends => sum_ns += rule.own(*at_ns),
                }
            }
            sum_ns
        };
        let worst = loaded.iter().copied().max_by_key(|rank| court(*rank));
        let worst = worst.unwrap();
        let mut others: Vec<usize> = (0..RANKS).filter(|rank| !loaded.contains(rank)).collect();
        if others.is_empty() {
            others = (0..RANKS).filter(|rank| *rank != worst).collect();
        }
        let least_ns = others.into_iter().map(court).min().unwrap();
        100.0 * (seconds(court(worst)) - seconds(least_ns)) / self.slower_s()
    }

    /// Iterations of each rank by gaps between its sends.
    fn gaps(&self) -> Vec<u64> {
        let count = |packets: &Vec<(u64, Packet)>| {
            let mut gaps = Gaps::default();
            for (at_ns, packet) in packets {
                match packet {
                    Packet::Sends => gaps.send(*at_ns, RTT_NS),
                    Packet::Receives => gaps.receive(),
                    Packet::Acks | Packet::ReceivesAck => {}
                }
            }
            gaps.count
        };
        self.run().packets.iter().map(count).collect()
    }

    /// What the others wait for a rank, as a range.
    fn range(&self, rank: usize) -> [f64; 2] {
        let epochs: Vec<Vec<u64>> = (0..RANKS).map(|rank| self.epochs(rank)).collect();
        let epochs: Vec<&[u64]> = epochs.iter().map(Vec::as_slice).collect();
        let (lower_ns, upper_ns) = ranges(&epochs)[rank];
        [seconds(lower_ns), seconds(upper_ns)]
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// The waits of one loaded rank, and those of a second one.
fn waits() -> (Vec<u64>, Vec<u64>) {
    let mut random = Twister::new(7);
    let first = random.waits();
    (first, random.waits())
}

fn is(found: f64, known: f64) {
    assert!((found - known).abs() < DIGITS, "{found}, known {known}");
}

#[test]
fn the_generator_is_that_of_the_other_program() {
    let first = Twister::new(7).share();
    assert!((first - 0.323_832_764_833_162_37).abs() < 1e-15, "{first}");
    let (one, two) = waits();
    is(seconds(one.iter().sum()), 14.51);
    is(seconds(two.iter().sum()), 14.40);
}

#[test]
fn iterations_by_gaps_are_those_of_the_application_but_for_who_is_loaded_or_too_quick() {
    let (one, _) = waits();
    let free = Steps::new(false, EQUAL, &[]);
    assert_eq!(free.gaps(), [299; RANKS]);
    let loaded = Steps::new(false, EQUAL, &[(2, &one)]);
    let gaps = loaded.gaps();
    assert_eq!(gaps[2], 246, "messages come together");
    assert_eq!(gaps.iter().max(), Some(&299));
    // The most of all ranks: as many as without load, so that the rates are as the times.
    let ratio = seconds(loaded.run().length_ns) / seconds(free.run().length_ns);
    assert!((ratio - 8.915).abs() < 0.0006, "{ratio}");
    let quick = Steps::new(false, [100 * US; RANKS], &[]);
    assert_eq!(quick.gaps(), [0; RANKS]);
}

#[test]
fn the_packet_rule_sees_a_part_of_what_a_load_costs() {
    let (one, two) = waits();
    let part = |steps: &Steps, loaded: &[usize], known: f64, digits: f64| {
        let found = steps.by_packets(loaded);
        assert!((found - known).abs() < digits, "{found}, known {known}");
    };
    let ring = Steps::new(false, EQUAL, &[(2, &one)]);
    part(&ring, &[2], 70.5, 0.06);
    let all = Steps::new(true, EQUAL, &[(2, &one)]);
    part(&all, &[2], 87.4, 0.06);
    let late = Steps {
        late: Some((2, 23_800 * US)),
        ..ring
    };
    part(&late, &[2], 75.0, 0.6);
    let both = Steps::new(false, EQUAL, &[(0, &two), (2, &one)]);
    part(&both, &[0, 2], 45.6, 0.06);
    let turned: Vec<Vec<u64>> = (0..RANKS)
        .map(|rank| {
            let of = |step: usize| one[(7 * step + 31 * rank) % STEPS];
            (0..STEPS).map(of).collect()
        })
        .collect();
    let turned: Vec<(usize, &[u64])> = turned.iter().map(Vec::as_slice).enumerate().collect();
    let everyone = Steps::new(false, EQUAL, &turned);
    part(&everyone, &[0, 1, 2, 3], 1.6, 0.06);
}

#[test]
fn the_queue_corrected_rule_finds_what_a_load_costs_if_the_partner_does_the_same_work() {
    let (one, _) = waits();
    for all in [false, true] {
        for pieces in [1, 3] {
            let steps = Steps {
                pieces,
                ..Steps::new(all, EQUAL, &[(2, &one)])
            };
            let court = steps.run().queued_ns;
            is(seconds(court[2] - court[0]), 14.49);
            is(steps.slower_s(), 14.48);
        }
    }
    let unequal = Steps::new(false, UNEQUAL, &[(3, &one)]);
    let mut court = unequal.run().queued_ns;
    let loaded_ns = court.pop().unwrap();
    court.sort_unstable();
    is(seconds(loaded_ns - court[0]), 13.60);
    is(seconds(loaded_ns - court[2]), 11.80);
    is(unequal.slower_s(), 11.82);
}

#[test]
fn ranges_hold_the_truth_for_the_smallest_and_not_for_the_biggest_or_two() {
    let (one, two) = waits();
    for (work_ns, loaded, range, ring, all) in [
        (EQUAL, 2, [14.51, 14.51], Some(14.48), None),
        (UNEQUAL, 3, [12.07, 13.64], Some(11.82), Some(12.07)),
        (UNEQUAL, 1, [16.31, 17.21], Some(14.51), None),
    ] {
        let steps = |all| Steps::new(all, work_ns, &[(loaded, &one)]);
        for (found, known) in steps(false).range(loaded).into_iter().zip(range) {
            is(found, known);
        }
        for (known, all) in [(ring, false), (all, true)] {
            if let Some(known) = known {
                is(steps(all).slower_s(), known);
            }
        }
    }
    let both = Steps::new(false, EQUAL, &[(0, &two), (2, &one)]);
    let [lower, upper] = both.range(2);
    is(lower, 7.92);
    is(upper, 14.51);
    is(both.slower_s(), 18.38);
}
