//! A random conversation between threads of several processes: who sends, reads, works, waits and hands over, and when.
//!
//! In: a seed. Out: what each thread does, in its order. Must not know: sockets, clocks.
//!
//! The plan is made in one order in which nothing ever waits. Each step then needs only steps before it in that order, so
//! the threads can take their steps as fast as each of them likes, and all of them come to an end.

mod habits;

use std::collections::{BTreeSet, VecDeque};

use super::super::socket::Transport;

/// Messages on their way in one direction, at most: small enough that no send ever waits for room.
const DEPTH: usize = 6;
const TRANSPORTS: [Transport; 7] = [
    Transport::Tcp4,
    Transport::Tcp6,
    Transport::UnixStream,
    Transport::UnixDgram,
    Transport::UnixSeqpacket,
    Transport::UdpConnected,
    Transport::UdpUnconnected,
];

/// What decides: the same for a seed.
pub struct Dice(fastrand::Rng);

impl Dice {
    /// Dice of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end.max(1))
    }

    fn range(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }

    /// So often in a hundred.
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}

/// One step of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sends a message on a connection. `turn` is its place among all that its end does in order, if it does.
    Send {
        /// Number of the connection.
        connection: usize,
        /// Its place.
        turn: Option<usize>,
        /// In how many pieces.
        pieces: usize,
        /// Microseconds between them.
        wait_us: u64,
    },
    /// Receives messages from a connection, waiting for them.
    Receive {
        /// Number of the connection.
        connection: usize,
        /// How many, in as few calls as it takes.
        messages: usize,
        /// Its place among what its end does in order: all, or all receives.
        turn: usize,
    },
    /// Burns so many microseconds of CPU time.
    Spin(u64),
    /// Sleeps so many microseconds.
    Sleep(u64),
    /// Lets another thread run.
    Yield,
    /// Gives something to whichever thread of the process takes it.
    Post(usize),
    /// Takes it, waiting for it.
    Take(usize),
    /// Starts a thread of the process.
    Start(usize),
}

/// How the threads of a process share their end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One thread has it.
    Owned(usize),
    /// All may use it, one after the other.
    Ordered,
    /// Some may send while another one receives.
    Free,
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// How the two are joined.
    pub transport: Transport,
    /// Processes of both ends: the one that accepts, and the one that connects, which comes later.
    pub processes: [usize; 2],
    /// Bytes of a message that each end sends.
    pub message_bytes: [usize; 2],
    /// Longest piece that each end reads in one call.
    pub piece_bytes: [usize; 2],
    sharing: [Sharing; 2],
}

/// The whole conversation.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Steps of each thread of each process. The first thread is there from the start.
    pub processes: Vec<Vec<Vec<Step>>>,
    /// All connections.
    pub connections: Vec<Connection>,
    /// How many things are given from thread to thread.
    pub posts: usize,
}

/// What is so while the plan is made.
struct Making {
    dice: Dice,
    plan: Plan,
    started: Vec<BTreeSet<usize>>,
    /// Messages on their way from each end of each connection.
    under_way: Vec<[usize; 2]>,
    /// Steps that each end did in order so far.
    turns: Vec<[usize; 2]>,
    /// Whether each end has received anything.
    heard: Vec<[bool; 2]>,
    /// What was given in each process and not taken: by which thread, and its number.
    posted: Vec<VecDeque<(usize, usize)>>,
    /// The last connection that each thread received from, until it sends.
    holds: Vec<Vec<Option<usize>>>,
    habits: Habits,
}

/// What the threads of a conversation like to do.
struct Habits {
    /// So often in a hundred who holds a message sends.
    sends: usize,
    /// So often in a hundred that goes where the message came from.
    replies: usize,
    /// So often in a hundred whoever can receive does.
    receives: usize,
    /// So often in a hundred whoever does neither begins a conversation; else it works or waits.
    begins: usize,
    /// So often in a hundred something is done that takes several steps, of several threads.
    longer: usize,
}

impl Plan {
    /// The conversation of a seed, of about so many steps.
    #[must_use]
    pub fn new(seed: u64, steps: usize) -> Self {
        let mut making = Making::new(Dice::new(seed));
        for _ in 0..steps {
            let longer = making.habits.longer;
            if !(making.dice.chance(longer) && making.habit()) {
                making.step();
            }
        }
        making.drain();
        making.plan
    }
}

impl Making {
    fn new(mut dice: Dice) -> Self {
        let processes: Vec<usize> = (0..dice.range(2, 4)).map(|_| dice.range(1, 3)).collect();
        let connections: Vec<Connection> = (0..dice.range(1, 6))
            .map(|_| connection(&mut dice, &processes))
            .collect();
        let habits = Habits {
            sends: dice.range(20, 90),
            replies: dice.range(20, 95),
            receives: dice.range(20, 90),
            begins: dice.range(10, 60),
            longer: dice.range(0, 20),
        };
        Self {
            started: processes.iter().map(|_| BTreeSet::from([0])).collect(),
            under_way: vec![[0; 2]; connections.len()],
            turns: vec![[0; 2]; connections.len()],
            heard: vec![[false; 2]; connections.len()],
            posted: vec![VecDeque::new(); processes.len()],
            holds: processes.iter().map(|&n| vec![None; n]).collect(),
            plan: Plan {
                processes: processes.iter().map(|&n| vec![Vec::new(); n]).collect(),
                connections,
                posts: 0,
            },
            dice,
            habits,
        }
    }

    /// Some thread does something.
    fn step(&mut self) {
        let process = self.dice.below(self.plan.processes.len());
        let thread = self.dice.below(self.plan.processes[process].len());
        self.start(process, thread);
        let holds = self.holds[process][thread];
        let sendable = self.ends(process, thread, Self::may_send);
        let receivable = self.ends(process, thread, Self::may_receive);
        if let Some(held) = holds
            && self.dice.chance(self.habits.sends)
            && !sendable.is_empty()
        {
            let back = sendable.iter().find(|(connection, _)| *connection == held);
            let back = back
                .copied()
                .filter(|_| self.dice.chance(self.habits.replies));
            if let Some(end) = back.or_else(|| self.dice.one(&sendable).copied()) {
                self.send(process, thread, end);
            }
        } else if self.dice.chance(self.habits.receives)
            && let Some(&end) = self.dice.one(&receivable)
        {
            self.receive(process, thread, end);
        } else if self.dice.chance(self.habits.begins)
            && let Some(&end) = self.dice.one(&sendable)
        {
            self.send(process, thread, end);
        } else {
            self.work(process, thread);
        }
    }

    /// The first thread starts the others when they are needed.
    fn start(&mut self, process: usize, thread: usize) {
        if self.started[process].insert(thread) {
            self.plan.processes[process][0].push(Step::Start(thread));
        }
    }

    fn work(&mut self, process: usize, thread: usize) {
        let step = match self.dice.below(10) {
            0..=2 => Step::Spin(self.dice.range(1, 60) as u64),
            3 => Step::Sleep(self.dice.range(1, 150) as u64),
            4 => Step::Yield,
            5..=6 => {
                let number = self.plan.posts;
                self.plan.posts += 1;
                self.posted[process].push_back((thread, number));
                Step::Post(number)
            }
            _ => {
                let of_others = |(by, _): &(usize, usize)| *by != thread;
                let Some(at) = self.posted[process].iter().position(of_others) else {
                    return;
                };
                let Some((_, number)) = self.posted[process].remove(at) else {
                    return;
                };
                Step::Take(number)
            }
        };
        self.plan.processes[process][thread].push(step);
    }

    /// Ends that this thread may use now, in this way.
    fn ends(
        &self,
        process: usize,
        thread: usize,
        may: fn(&Self, (usize, usize)) -> bool,
    ) -> Vec<(usize, usize)> {
        let connections = self.plan.connections.iter().enumerate();
        connections
            .flat_map(|(number, connection)| [0, 1].map(|end| (number, end, connection)))
            .filter(|(_, end, connection)| connection.processes[*end] == process)
            .map(|(number, end, _)| (number, end))
            .filter(|end| self.has(*end, thread))
            .filter(|end| may(self, *end))
            .collect()
    }

    /// Whether this thread of the end's process may use it.
    fn has(&self, (number, end): (usize, usize), thread: usize) -> bool {
        let sharing = self.plan.connections[number].sharing[end];
        !matches!(sharing, Sharing::Owned(by) if by != thread)
    }

    fn may_send(&self, (number, end): (usize, usize)) -> bool {
        // Without an accept, whoever accepts learns from the first message whom to answer.
        let known = self.plan.connections[number].transport.accepts()
            || end == 1
            || self.heard[number][end];
        known && self.under_way[number][end] < DEPTH
    }

    fn may_receive(&self, (number, end): (usize, usize)) -> bool {
        self.under_way[number][1 - end] > 0
    }

    /// The next place among what this end does in order.
    fn turn(&mut self, (number, end): (usize, usize)) -> usize {
        self.turns[number][end] += 1;
        self.turns[number][end] - 1
    }

    fn send(&mut self, process: usize, thread: usize, end: (usize, usize)) {
        self.send_pieces(process, thread, end, 1, 0);
    }

    fn send_pieces(
        &mut self,
        process: usize,
        thread: usize,
        end: (usize, usize),
        pieces: usize,
        wait_us: u64,
    ) {
        let is_free = self.plan.connections[end.0].sharing[end.1] == Sharing::Free;
        let turn = (!is_free).then(|| self.turn(end));
        self.under_way[end.0][end.1] += 1;
        self.holds[process][thread] = None;
        self.plan.processes[process][thread].push(Step::Send {
            connection: end.0,
            turn,
            pieces,
            wait_us,
        });
    }

    fn receive(&mut self, process: usize, thread: usize, end: (usize, usize)) {
        let connection = &self.plan.connections[end.0];
        let there = self.under_way[end.0][1 - end.1];
        let messages = if connection.transport.keeps_boundaries() {
            1
        } else {
            self.dice.range(1, there)
        };
        self.receive_some(process, thread, end, messages);
    }

    fn receive_some(
        &mut self,
        process: usize,
        thread: usize,
        end: (usize, usize),
        messages: usize,
    ) {
        self.under_way[end.0][1 - end.1] -= messages;
        self.heard[end.0][end.1] = true;
        self.holds[process][thread] = Some(end.0);
        let turn = self.turn(end);
        self.plan.processes[process][thread].push(Step::Receive {
            connection: end.0,
            messages,
            turn,
        });
    }

    /// All that is still on its way is received.
    fn drain(&mut self) {
        for number in 0..self.plan.connections.len() {
            for end in [0, 1] {
                let connection = &self.plan.connections[number];
                let process = connection.processes[end];
                let thread = match connection.sharing[end] {
                    Sharing::Owned(by) => by,
                    _ => 0,
                };
                while self.may_receive((number, end)) {
                    self.start(process, thread);
                    self.receive(process, thread, (number, end));
                }
            }
        }
    }
}

fn connection(dice: &mut Dice, processes: &[usize]) -> Connection {
    let transport = dice.one(&TRANSPORTS).copied().unwrap_or_default();
    let connects = dice.range(1, processes.len() - 1);
    let ends = [dice.below(connects), connects];
    let message_bytes = [dice.range(1, 3000), dice.range(1, 3000)];
    let mut sharing = |end: usize| match dice.below(4) {
        0 | 1 => Sharing::Owned(dice.below(processes[ends[end]])),
        2 => Sharing::Ordered,
        // Whether it has heard anything yet is known only where all is done in order.
        _ if !transport.accepts() && end == 0 => Sharing::Ordered,
        // A thread that is ahead of the plan could take the room of one that is not.
        _ if transport == Transport::UnixDgram => Sharing::Ordered,
        _ => Sharing::Free,
    };
    let sharing = [sharing(0), sharing(1)];
    let mut piece = |end: usize| match dice.below(3) {
        0 if !transport.keeps_boundaries() => message_bytes[1 - end] / 2 + 1,
        _ => usize::MAX,
    };
    Connection {
        transport,
        processes: ends,
        message_bytes,
        piece_bytes: [piece(0), piece(1)],
        sharing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Datagrams that wait at a Unix socket, at most (`net.unix.max_dgram_qlen`).
    const ROOM: usize = 10;

    /// Plays a plan, each time with the first thread that can go on.
    fn comes_to_an_end(plan: &Plan, order: &mut Dice) -> bool {
        let mut left: Vec<(usize, usize, VecDeque<Step>)> = Vec::new();
        for (process, threads) in plan.processes.iter().enumerate() {
            for (thread, steps) in threads.iter().enumerate() {
                left.push((process, thread, steps.iter().copied().collect()));
            }
        }
        let mut started: BTreeSet<(usize, usize)> =
            (0..plan.processes.len()).map(|p| (p, 0)).collect();
        let mut posted = BTreeSet::new();
        let mut under_way = vec![[0usize; 2]; plan.connections.len()];
        let mut turns = vec![[0usize; 2]; plan.connections.len()];
        loop {
            left.retain(|(_, _, steps)| !steps.is_empty());
            if left.is_empty() {
                return under_way.iter().all(|ends| *ends == [0; 2]);
            }
            let from = order.below(left.len());
            let mut went = false;
            for n in 0..left.len() {
                let at = (from + n) % left.len();
                let (process, thread, steps) = &mut left[at];
                if !started.contains(&(*process, *thread)) {
                    continue;
                }
                let end_of = |c: usize| usize::from(plan.connections[c].processes[1] == *process);
                let goes = match steps[0] {
                    Step::Send {
                        connection, turn, ..
                    } => {
                        let end = end_of(connection);
                        let goes = turn.is_none_or(|turn| turns[connection][end] == turn);
                        let scarce = plan.connections[connection].transport == Transport::UnixDgram;
                        let goes = goes && !(scarce && under_way[connection][end] >= ROOM);
                        if goes {
                            turns[connection][end] += usize::from(turn.is_some());
                            under_way[connection][end] += 1;
                        }
                        goes
                    }
                    Step::Receive {
                        connection,
                        messages,
                        turn,
                    } => {
                        let end = end_of(connection);
                        let there = under_way[connection][1 - end];
                        let goes = turns[connection][end] == turn && there >= messages;
                        if goes {
                            turns[connection][end] += 1;
                            under_way[connection][1 - end] -= messages;
                        }
                        goes
                    }
                    Step::Post(number) => posted.insert(number),
                    Step::Take(number) => posted.remove(&number),
                    Step::Start(thread) => started.insert((*process, thread)),
                    Step::Spin(_) | Step::Sleep(_) | Step::Yield => true,
                };
                if goes {
                    steps.pop_front();
                    went = true;
                    break;
                }
            }
            if !went {
                return false;
            }
        }
    }

    #[test]
    fn every_plan_comes_to_an_end_in_whatever_order_its_threads_run() {
        for seed in 0..2000 {
            let plan = Plan::new(seed, 150);
            for order in 0..3 {
                let mut order = Dice::new(seed * 7 + order);
                assert!(comes_to_an_end(&plan, &mut order), "seed {seed}: {plan:?}");
            }
        }
    }
}
