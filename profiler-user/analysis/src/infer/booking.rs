//! Where the pieces of a thread's time belong: sums, waits for others' messages, segments.
//!
//! In: pieces since the last send or receive, and the one that ends them. Out: sums of the thread, sleeps on links, segments. Must
//! not know: events, processes.

use courtside_core::model::inference::Doing;

use super::{
    lanes::{Stretch, Who},
    links::{Links, Slept},
    segments::{Op, Segments},
    threads::{Cause, Kind, Piece, Thread},
};

/// What a settled piece was for.
#[derive(Clone, Copy)]
pub(super) enum For {
    Nothing,
    /// A receive from this link, of these bytes, of which the first arrived then.
    Receive {
        link: u32,
        first: u64,
        end: u64,
        arrived_ns: u64,
    },
    /// A send to this link up to here, which began then.
    Send {
        link: u32,
        end: u64,
        began_ns: u64,
    },
}

/// Pieces on their way to where they belong.
pub(super) struct Booking<'a> {
    links: &'a mut Links,
    segments: &'a mut Segments,
    thread: &'a mut Thread,
    what: For,
    /// The send has taken its place.
    sent: bool,
    /// Sleep within the send.
    drained_ns: u64,
    slept: bool,
    /// Place of the sleep that the receive ended.
    last: Option<usize>,
}

impl<'a> Booking<'a> {
    pub(super) fn new(
        links: &'a mut Links,
        segments: &'a mut Segments,
        thread: &'a mut Thread,
        what: For,
    ) -> Self {
        Self {
            links,
            segments,
            thread,
            what,
            sent: false,
            drained_ns: 0,
            slept: false,
            last: None,
        }
    }

    /// Books all of a thread's pieces; whether it slept for the message that is read now.
    pub(super) fn all(mut self, pieces: &[Piece]) -> bool {
        let sleeps = pieces.iter().enumerate().rev();
        self.last = sleeps
            .filter(|(_, piece)| self.is_for_this(piece))
            .map(|(place, _)| place)
            .next();
        let mut rest = false;
        for (place, piece) in pieces.iter().enumerate() {
            let mut piece = *piece;
            self.thread.lived_ns += piece.to_ns - piece.from_ns;
            if let For::Send { began_ns, .. } = self.what
                && !self.sent
                && piece.to_ns > began_ns
            {
                if piece.from_ns < began_ns {
                    let before = Piece {
                        to_ns: began_ns,
                        ..piece
                    };
                    self.one(before, false, false);
                    piece.from_ns = began_ns;
                }
                self.place_send(began_ns);
            }
            let last = self.last == Some(place);
            rest |= self.one(piece, last, rest);
        }
        let at_ns = pieces
            .last()
            .map_or(self.thread.born_ns, |piece| piece.to_ns);
        match self.what {
            For::Nothing => {}
            For::Send {
                link,
                end,
                began_ns,
            } => {
                self.place_send(began_ns);
                if self.drained_ns > 0 {
                    let received = self.links.link(link).map_or(end, |link| link.received);
                    self.segments.room(link, end.saturating_sub(received));
                    let waited_ns = self.drained_ns;
                    self.push(
                        at_ns,
                        Op::Drain {
                            link,
                            end,
                            waited_ns,
                        },
                    );
                }
            }
            For::Receive { link, end, .. } => {
                let sums = &mut self.thread.sums;
                sums.spin_ns = sums.spin_ns.saturating_add(self.thread.looked_ns);
                if self.last.is_none() {
                    self.push(
                        at_ns,
                        Op::Receive {
                            link,
                            end,
                            waited_ns: 0,
                        },
                    );
                }
            }
        }
        self.slept
    }

    fn push(&mut self, at_ns: u64, op: Op) {
        self.segments.push(self.thread.track, at_ns, op);
    }

    fn place_send(&mut self, at_ns: u64) {
        if let For::Send { link, end, .. } = self.what
            && !std::mem::replace(&mut self.sent, true)
        {
            self.push(at_ns, Op::Send { link, end });
        }
    }

    /// Whether the message that is read now ended this sleep.
    fn is_for_this(&self, piece: &Piece) -> bool {
        let For::Receive {
            link, arrived_ns, ..
        } = self.what
        else {
            return false;
        };
        match piece.kind {
            Kind::Sleep(Cause::Data(connection)) => self.links.inwards(connection) == Some(link),
            Kind::Sleep(_) => (piece.from_ns..=piece.to_ns).contains(&arrived_ns),
            _ => false,
        }
    }

    /// Books one piece; whether it was a sleep for the message that is read now.
    fn one(&mut self, piece: Piece, last: bool, rest: bool) -> bool {
        let Piece {
            from_ns,
            to_ns,
            kind,
        } = piece;
        let ns = to_ns - from_ns;
        let doing = match kind {
            Kind::Run(_) => Some(Doing::OnCpu),
            Kind::Queue => Some(Doing::RunQueue),
            Kind::Disk => Some(Doing::BlockIo),
            Kind::Unknown => Some(Doing::Other),
            Kind::Sleep(_) if self.sent => Some(Doing::SendWait),
            Kind::Sleep(_) | Kind::Outside { .. } => None,
        };
        if let Some(doing) = doing {
            self.draw(piece, doing);
        }
        match kind {
            Kind::Run(cpu) => {
                self.thread.sums.on_cpu_ns += ns;
                self.look(from_ns, to_ns);
                let queue_ns = std::mem::take(&mut self.thread.queue_ns);
                self.push(to_ns, Op::Run { cpu, ns, queue_ns });
            }
            Kind::Queue => {
                self.thread.sums.run_queue_ns += ns;
                self.thread.queue_ns += ns;
            }
            Kind::Outside {
                who,
                beside,
                cpu,
                ns,
            } => self.push(
                to_ns,
                Op::Outside {
                    who,
                    beside,
                    cpu,
                    ns,
                },
            ),
            Kind::Disk => {
                self.thread.sums.block_io_ns += ns;
                self.push(to_ns, Op::Wait { ns, disk: true });
            }
            Kind::Unknown => {
                self.thread.sums.other_ns += ns;
                self.push(to_ns, Op::Wait { ns, disk: false });
            }
            Kind::Sleep(_) if self.sent => {
                self.thread.sums.send_wait_ns += ns;
                self.drained_ns += ns;
            }
            Kind::Sleep(cause) => return self.sleep(piece, cause, last, rest),
        }
        false
    }

    /// What the thread did is shown, if that is wanted.
    fn draw(&mut self, piece: Piece, doing: Doing) {
        let Piece {
            from_ns,
            to_ns,
            kind,
        } = piece;
        let cpu = match kind {
            Kind::Run(cpu) => Some(cpu),
            _ => None,
        };
        self.links.books.lanes.add(Stretch {
            who: Who {
                process: self.thread.process,
                tid: self.thread.tid,
            },
            from_ns,
            to_ns,
            doing,
            cpu,
            whose: None,
        });
    }

    /// On a CPU in this time: looking for a message, as far as it looked already and none had come.
    fn look(&mut self, from_ns: u64, to_ns: u64) {
        let Some(first_ns) = self.thread.looks_ns else {
            return;
        };
        let until_ns = match self.what {
            For::Receive { arrived_ns, .. } => to_ns.min(arrived_ns),
            For::Nothing => to_ns,
            For::Send { .. } => return,
        };
        let ns = until_ns.saturating_sub(from_ns.max(first_ns));
        self.thread.looked_ns = self.thread.looked_ns.saturating_add(ns);
    }

    fn sleep(&mut self, piece: Piece, cause: Cause, last: bool, rest: bool) -> bool {
        let Piece { from_ns, to_ns, .. } = piece;
        let ns = to_ns - from_ns;
        let this = self.is_for_this(&piece);
        let slept = |rest| Slept {
            process: self.thread.process,
            tid: self.thread.tid,
            from_ns,
            to_ns,
            rest,
        };
        if let For::Receive {
            link, first, end, ..
        } = self.what
            && this
        {
            self.slept = true;
            // Of several sleeps in one call, the first was for the first byte.
            let byte = if rest { end.saturating_sub(1) } else { first };
            self.links.slept(link, byte, slept(rest));
            let end = if last { end } else { first + 1 };
            self.push(
                to_ns,
                Op::Receive {
                    link,
                    end,
                    waited_ns: ns,
                },
            );
            return true;
        }
        // What came on its CPU just before it was woken may have been for somebody else, as where one that connects has just
        // written to another one.
        let other = match cause {
            Cause::Data(connection)
                if self.links.owner(connection) == Some(self.thread.process) =>
            {
                self.links.inwards(connection)
            }
            _ => None,
        };
        if let Some(link) = other {
            let byte = self.links.link(link).map_or(0, |link| link.received);
            self.links.slept(link, byte, slept(false));
            self.push(
                to_ns,
                Op::Receive {
                    link,
                    end: byte + 1,
                    waited_ns: ns,
                },
            );
            return false;
        }
        if cause == Cause::Own {
            self.thread.sums.lock_ns += ns;
            self.draw(piece, Doing::Lock);
        } else {
            self.thread.sums.other_ns += ns;
            self.draw(piece, Doing::Other);
        }
        self.push(to_ns, Op::Wait { ns, disk: false });
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{super::threads::Threads, *};

    const OWN: u32 = 1;
    const OTHER: u32 = 2;
    const CONNECTION: u64 = 77;

    /// Data of a connection came on the CPU just before a thread was woken there; its next call is on another one.
    fn ops_after_data_of(reader: u32) -> Vec<Op> {
        let (mut links, mut segments) = (Links::default(), Segments::default());
        links.read(CONNECTION, reader, (0, false), 0, 10).unwrap();
        let mut threads = Threads::default();
        threads.told(1, OWN, None, 90);
        threads.switch(
            0,
            100,
            (0, u32::MAX),
            courtside_core::event::Off::RunQueue,
            1,
        );
        threads.switch(0, 200, (1, OWN), courtside_core::event::Off::Sleep, 0);
        threads.arrival(0, 299, CONNECTION);
        threads.wake(1, OTHER, 0, 300);
        let thread = threads.get(1).unwrap();
        thread.complete(400);
        thread.track = segments.begin(OWN, 1, 100);
        let pieces = std::mem::take(&mut thread.pieces);
        Booking::new(&mut links, &mut segments, thread, For::Nothing).all(&pieces);
        segments.tracks[0].ops.clone()
    }

    #[test]
    fn a_sleep_waits_for_data_of_its_own_process_only() {
        let is_receive = |op: &Op| matches!(op, Op::Receive { waited_ns: 100, .. });
        assert!(ops_after_data_of(OWN).iter().any(is_receive));
        let ops = ops_after_data_of(OTHER);
        assert!(
            !ops.iter().any(|op| matches!(op, Op::Receive { .. })),
            "{ops:?}"
        );
        let wait = Op::Wait {
            ns: 100,
            disk: false,
        };
        assert!(ops.contains(&wait), "{ops:?}");
    }
}
