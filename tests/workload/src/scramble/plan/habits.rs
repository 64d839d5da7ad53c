//! What threads of services do again and again: several steps that belong together.
//!
//! In: what is so while a plan is made. Out: more steps, in an order in which nothing ever waits.
//! Must not know: sockets, clocks.

use super::{Making, Step};

/// An end of a connection: the connection's number, and which end.
type End = (usize, usize);
/// A thread: its process, and its number there.
type Thread = (usize, usize);

impl Making {
    /// Does something of this kind; false if nobody can now.
    pub(super) fn habit(&mut self) -> bool {
        match self.dice.below(6) {
            0 => self.answer_by_another(),
            1 => self.batch(),
            2 => self.wait_for_a_timer(),
            3 => self.pieces(),
            4 => self.several_open(),
            _ => self.both_on_their_own(),
        }
    }

    /// Threads that may use an end.
    fn threads(&self, (number, end): End) -> Vec<Thread> {
        let process = self.plan.connections[number].processes[end];
        let all = 0..self.plan.processes[process].len();
        all.filter(|thread| self.has((number, end), *thread))
            .map(|thread| (process, thread))
            .collect()
    }

    fn some_thread(&mut self, end: End) -> Option<Thread> {
        let threads = self.threads(end);
        self.dice.one(&threads).copied()
    }

    /// Another one, if there is one.
    fn another_thread(&mut self, end: End, than: Thread) -> Option<Thread> {
        let mut threads = self.threads(end);
        threads.retain(|thread| *thread != than);
        self.dice.one(&threads).copied()
    }

    /// Some end to which a message is under way.
    fn some_receivable(&mut self) -> Option<End> {
        let all = 0..self.plan.connections.len();
        let ends = all.flat_map(|number| [(number, 0), (number, 1)]);
        let ends: Vec<End> = ends.filter(|end| self.may_receive(*end)).collect();
        self.dice.one(&ends).copied()
    }

    fn take(&mut self, (process, thread): Thread, step: Step) {
        self.start(process, thread);
        self.plan.processes[process][thread].push(step);
    }

    /// Works or waits, or neither.
    fn pause(&mut self, thread: Thread) {
        let step = match self.dice.below(4) {
            0 => Step::Spin(self.dice.range(1, 60) as u64),
            1 => Step::Sleep(self.dice.range(1, 300) as u64),
            _ => return,
        };
        self.take(thread, step);
    }

    fn nap(&mut self, thread: Thread) {
        let sleep_us = self.dice.range(50, 1500) as u64;
        self.take(thread, Step::Sleep(sleep_us));
    }

    /// Sends in so many pieces, if there is room.
    fn send_in(&mut self, (process, thread): Thread, end: End, pieces: usize) -> bool {
        let may = self.may_send(end);
        if may {
            self.start(process, thread);
            let wait_us = self.dice.range(50, 800) as u64;
            self.send_pieces(process, thread, end, pieces, wait_us);
        }
        may
    }

    fn send_whole(&mut self, thread: Thread, end: End) -> bool {
        self.send_in(thread, end, 1)
    }

    /// Receives so many messages, or one where each is one receive.
    fn take_in(&mut self, (process, thread): Thread, end: End, messages: usize) -> bool {
        let there = self.under_way[end.0][1 - end.1];
        let may = messages > 0 && there >= messages;
        if may {
            self.start(process, thread);
            let keeps = self.plan.connections[end.0].transport.keeps_boundaries();
            let (times, each) = if keeps { (messages, 1) } else { (1, messages) };
            for _ in 0..times {
                self.receive_some(process, thread, end, each);
            }
        }
        may
    }

    /// What one thread has read another one answers, whether or not it was woken for it.
    fn answer_by_another(&mut self) -> bool {
        let Some(end) = self.some_receivable() else {
            return false;
        };
        let Some(reads) = self.some_thread(end) else {
            return false;
        };
        let Some(answers) = self.another_thread(end, reads) else {
            return false;
        };
        self.take_in(reads, end, 1);
        if self.dice.chance(70) {
            let number = self.plan.posts;
            self.plan.posts += 1;
            self.take(reads, Step::Post(number));
            self.take(answers, Step::Take(number));
        }
        self.pause(answers);
        self.send_whole(answers, end)
    }

    /// One thread reads all that is there, and then sends as many.
    fn batch(&mut self) -> bool {
        let Some(first) = self.some_receivable() else {
            return false;
        };
        let Some((process, thread)) = self.some_thread(first) else {
            return false;
        };
        let mut read = Vec::new();
        for end in self.ends(process, thread, Self::may_receive) {
            if self.take_in((process, thread), end, 1) {
                read.push(end);
            }
        }
        self.pause((process, thread));
        if self.dice.chance(50) {
            read.reverse();
        }
        for end in read {
            let mut to = end;
            if self.dice.chance(30) {
                let sendable = self.ends(process, thread, Self::may_send);
                to = self.dice.one(&sendable).copied().unwrap_or(end);
            }
            self.send_whole((process, thread), to);
        }
        true
    }

    /// What a loop reads it answers when its timer comes, and it reads other things meanwhile.
    fn wait_for_a_timer(&mut self) -> bool {
        let Some(end) = self.some_receivable() else {
            return false;
        };
        let Some((process, thread)) = self.some_thread(end) else {
            return false;
        };
        self.take_in((process, thread), end, 1);
        self.nap((process, thread));
        let others = self.ends(process, thread, Self::may_receive);
        let other = self.dice.one(&others).copied();
        if let Some(other) = other {
            self.take_in((process, thread), other, 1);
        }
        self.send_whole((process, thread), end);
        self.nap((process, thread));
        if let Some(other) = other {
            self.send_whole((process, thread), other);
        }
        true
    }

    /// Requests and replies on a connection, of which those of one end, or of both, come in pieces.
    fn pieces(&mut self) -> bool {
        let Some((asks, answers)) = self.some_stream() else {
            return false;
        };
        let (Some(client), Some(server)) = (self.some_thread(asks), self.some_thread(answers))
        else {
            return false;
        };
        let whose = self.dice.below(3);
        for _ in 0..self.dice.range(1, 3) {
            let pieces = self.dice.range(2, 4);
            let request = if whose == 1 { 1 } else { pieces };
            let reply = if whose == 0 { 1 } else { pieces };
            if !self.send_in(client, asks, request) {
                break;
            }
            self.take_in(server, answers, 1);
            self.pause(server);
            if !self.send_in(server, answers, reply) {
                break;
            }
            self.take_in(client, asks, 1);
        }
        true
    }

    fn some_stream(&mut self) -> Option<(End, End)> {
        let all = self.plan.connections.iter().enumerate();
        let streams = all.filter(|(_, connection)| !connection.transport.keeps_boundaries());
        let streams: Vec<usize> = streams.map(|(number, _)| number).collect();
        let number = *self.dice.one(&streams)?;
        let end = self.dice.below(2);
        Some(((number, end), (number, 1 - end)))
    }

    /// Several messages from one end before the first is answered; they are read and answered one by one, or all at once.
    fn several_open(&mut self) -> bool {
        let number = self.dice.below(self.plan.connections.len());
        let (asks, answers) = ((number, 1), (number, 0));
        let (Some(client), Some(server)) = (self.some_thread(asks), self.some_thread(answers))
        else {
            return false;
        };
        let mut open = 0;
        for _ in 0..self.dice.range(2, 4) {
            if !self.send_whole(client, asks) {
                break;
            }
            open += 1;
            if self.dice.chance(60) {
                self.nap(client);
            }
        }
        let at_once = if self.dice.chance(50) { open } else { 1 };
        let mut left = open;
        while left > 0 && self.take_in(server, answers, at_once.min(left)) {
            for _ in 0..at_once.min(left) {
                self.pause(server);
                self.send_whole(server, answers);
            }
            left -= at_once.min(left);
        }
        for _ in 0..open {
            self.take_in(client, asks, 1);
        }
        open > 0
    }

    /// Each end sends when its timer says so, and where there is a second thread that one reads.
    fn both_on_their_own(&mut self) -> bool {
        let number = self.dice.below(self.plan.connections.len());
        let ends = [(number, 0), (number, 1)];
        let mut players = Vec::new();
        for end in ends {
            let Some(sends) = self.some_thread(end) else {
                return false;
            };
            let reads = self.another_thread(end, sends).unwrap_or(sends);
            players.push((end, sends, reads));
        }
        for _ in 0..self.dice.range(2, 4) {
            for &(end, sends, _) in &players {
                if self.dice.chance(80) {
                    self.nap(sends);
                    self.send_whole(sends, end);
                }
            }
            for &(end, _, reads) in &players {
                let there = self.under_way[end.0][1 - end.1];
                self.take_in(reads, end, there);
            }
        }
        true
    }
}
