//! Packets of a trace as they are written. Those of windows are few: `prost` writes them. Those of single events are many:
//! they are written at once, byte for byte as it would.
//!
//! In: packets, slices. Out: bytes of a `Trace`. Must not know: what is traced.

use prost::encoding::{encoded_len_varint, message};

use super::SEQUENCE;
use super::proto::{EventType, TracePacket};

/// Field number and wire type before each field, as on the wire.
mod key {
    pub(super) const PACKET: u8 = 1 << 3 | 2;
    pub(super) const TIMESTAMP: u8 = 8 << 3;
    pub(super) const SEQUENCE: u8 = 10 << 3;
    pub(super) const TRACK_EVENT: u8 = 11 << 3 | 2;
    pub(super) const ANNOTATION: u8 = 4 << 3 | 2;
    pub(super) const ANNOTATION_VALUE: u8 = 3 << 3;
    pub(super) const ANNOTATION_NAME: u8 = 10 << 3 | 2;
    pub(super) const TYPE: u8 = 9 << 3;
    pub(super) const TRACK: u8 = 11 << 3;
    /// Those of numbers above 15 take two bytes.
    pub(super) const NAME: [u8; 2] = two(23 << 3 | 2);
    pub(super) const FLOW: [u8; 2] = two(47 << 3 | 1);
    pub(super) const LANDED: [u8; 2] = two(48 << 3 | 1);

    const fn two(key: u16) -> [u8; 2] {
        [(key & 0x7f | 0x80) as u8, (key >> 7) as u8]
    }
}

/// A track event without a counter.
#[derive(Clone, Copy)]
pub(super) struct Slice<'a> {
    pub(super) at_ns: u64,
    pub(super) kind: EventType,
    pub(super) track: u64,
    /// None if empty; the pieces make one name.
    pub(super) name: [&'a str; 4],
    /// As [`Annotations`] has them.
    pub(super) annotations: &'a [u8],
    /// Arrows that begin and end here.
    pub(super) flows: &'a [u64],
    pub(super) landed: &'a [u64],
}

impl Slice<'_> {
    pub(super) fn new(at_ns: u64, kind: EventType, track: u64) -> Self {
        Self {
            at_ns,
            kind,
            track,
            name: [""; 4],
            annotations: &[],
            flows: &[],
            landed: &[],
        }
    }
}

/// Packets that were not given away yet.
#[derive(Default)]
pub(super) struct Packets {
    bytes: Vec<u8>,
    count: usize,
}

impl Packets {
    /// One more.
    pub(super) fn push(&mut self, packet: &TracePacket) {
        self.count += 1;
        message::encode(1, packet, &mut self.bytes);
    }

    /// One more, with this event.
    pub(super) fn slice(&mut self, slice: &Slice<'_>) {
        self.count += 1;
        let name_bytes: usize = slice.name.iter().map(|piece| piece.len()).sum();
        let named = match name_bytes {
            0 => 0,
            bytes => 2 + encoded_len_varint(bytes as u64) + bytes,
        };
        let arrows = slice.flows.len() + slice.landed.len();
        let track_bytes = encoded_len_varint(slice.track);
        let event_bytes = slice.annotations.len() + 2 + 1 + track_bytes + named + 10 * arrows;
        let time_bytes = encoded_len_varint(slice.at_ns);
        let length_bytes = encoded_len_varint(event_bytes as u64);
        let packet_bytes = 1 + time_bytes + 2 + 1 + length_bytes + event_bytes;

        let mut head = Head::default();
        head.field(key::PACKET, packet_bytes as u64);
        head.field(key::TIMESTAMP, slice.at_ns);
        head.field(key::SEQUENCE, SEQUENCE.into());
        head.field(key::TRACK_EVENT, event_bytes as u64);
        if !slice.annotations.is_empty() {
            self.bytes.extend_from_slice(head.bytes());
            self.bytes.extend_from_slice(slice.annotations);
            head = Head::default();
        }
        head.field(key::TYPE, slice.kind as u64);
        head.field(key::TRACK, slice.track);
        if name_bytes > 0 {
            key::NAME.iter().for_each(|byte| head.byte(*byte));
            head.number(name_bytes as u64);
        }
        self.bytes.extend_from_slice(head.bytes());
        for piece in slice.name {
            self.bytes.extend_from_slice(piece.as_bytes());
        }
        for (key, arrows) in [(key::FLOW, slice.flows), (key::LANDED, slice.landed)] {
            for arrow in arrows {
                self.bytes.extend_from_slice(&key);
                self.bytes.extend_from_slice(&arrow.to_le_bytes());
            }
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Gives them away. A trace is a list of packets: pieces one after the other are one trace.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.count = 0;
        let room = Vec::with_capacity(self.bytes.len());
        std::mem::replace(&mut self.bytes, room)
    }
}

/// What a click on a slice shows, in bytes.
#[derive(Default)]
pub(super) struct Annotations(Vec<u8>);

impl Annotations {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// One more; the pieces make one name.
    pub(super) fn add(&mut self, name: [&str; 2], value: u64) {
        let name_bytes = name[0].len() + name[1].len();
        let length =
            1 + encoded_len_varint(value) + 1 + encoded_len_varint(name_bytes as u64) + name_bytes;
        let mut head = Head::default();
        head.field(key::ANNOTATION, length as u64);
        head.field(key::ANNOTATION_VALUE, value);
        head.field(key::ANNOTATION_NAME, name_bytes as u64);
        self.0.extend_from_slice(head.bytes());
        self.0.extend_from_slice(name[0].as_bytes());
        self.0.extend_from_slice(name[1].as_bytes());
    }
}

/// A few fields: seven numbers and their keys at most.
struct Head {
    bytes: [u8; 80],
    length: usize,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            bytes: [0; 80],
            length: 0,
        }
    }
}

impl Head {
    fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
    }

    fn field(&mut self, key: u8, number: u64) {
        self.byte(key);
        self.number(number);
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perfetto::proto::{Annotation, TrackEvent};
    use crate::perfetto::{annotation_of, packet};

    #[test]
    fn events_are_written_as_prost_writes_them() {
        let long = "x".repeat(300);
        let mut annotations = Annotations::default();
        let mut told: Vec<Annotation> = Vec::new();
        for (name, value) in [("sleep", 0), ("on-CPU", 127), (&*long, u64::MAX)] {
            annotations.add([name, ", ns"], value);
            told.push(annotation_of(format!("{name}, ns"), value));
        }
        let kinds = [
            EventType::SliceBegin,
            EventType::SliceEnd,
            EventType::Instant,
        ];
        let names = [
            [""; 4],
            ["send", " 1", " B → ", "web"],
            [&*long, &long, "", ""],
        ];
        let numbers = [1, 127, 128, 1 << 14, 1 << 35, u64::MAX];
        let arrows: [&[u64]; 3] = [&[], &[1], &[u64::MAX, 7, 300]];
        let (mut fast, mut slow) = (Packets::default(), Packets::default());
        for (kind, name) in kinds.into_iter().zip(names) {
            for (at_ns, track) in numbers.into_iter().zip(numbers.into_iter().rev()) {
                for (flows, landed) in arrows.into_iter().zip(arrows.into_iter().rev()) {
                    for with in [false, true] {
                        fast.slice(&Slice {
                            name,
                            annotations: if with { annotations.bytes() } else { &[] },
                            flows,
                            landed,
                            ..Slice::new(at_ns, kind, track)
                        });
                        let name = name.concat();
                        let event = TrackEvent {
                            annotations: if with { told.clone() } else { Vec::new() },
                            r#type: kind.into(),
                            track_uuid: track,
                            name: (!name.is_empty()).then_some(name),
                            flow_ids: flows.to_vec(),
                            terminating_flow_ids: landed.to_vec(),
                            ..TrackEvent::default()
                        };
                        slow.push(&TracePacket {
                            track_event: Some(event),
                            ..packet(Some(at_ns))
                        });
                        assert_eq!(fast.bytes, slow.bytes);
                    }
                }
            }
        }
        assert_eq!(fast.count(), slow.count());
    }
}
