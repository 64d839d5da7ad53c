//! What states and kinds are called, in JSON and everywhere else.
//!
//! In: a state. Out: its name. Must not know: where it is shown.

use super::fields::{Column, Columns, Field, Kind, Value, one_column};
use super::snapshot::{ComponentKind, HeldUnknown};
use crate::frame::{PmuState, ProbeState, StealUnknown, Transport};

macro_rules! names {
    ($($type:ident { $($variant:ident $name:literal)+ })+) => {
        $(impl $type {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name, as in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        })+

        one_column! {
            $($type: Text |it| it.name();)+
        }
    };
}

names! {
    Transport { Tcp "tcp" Udp "udp" Unix "unix" }
    ComponentKind { Unit "unit" Container "container" Program "program" Remote "remote" }
    HeldUnknown {
        UntimedRequests "untimed_requests"
        UntimedCalls "untimed_calls"
        UnseenRequests "unseen_requests"
        UnseenCalls "unseen_calls"
        NotRecorded "not_recorded"
    }
    StealUnknown {
        NeverTold "never_told"
        Unreadable "unreadable"
        NotRecorded "not_recorded"
    }
    PmuState { Ok "ok" Multiplexed "multiplexed" None "none" Disabled "disabled" }
    ProbeState { Attached "attached" Degraded "degraded" Failed "failed" Disabled "disabled" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_called_as_in_json() {
        fn check<T: serde::Serialize + Copy>(all: &[T], name: fn(T) -> &'static str) {
            for one in all {
                assert_eq!(serde_json::to_value(one).unwrap(), name(*one));
            }
        }
        check(Transport::ALL, Transport::name);
        check(ComponentKind::ALL, ComponentKind::name);
        check(HeldUnknown::ALL, HeldUnknown::name);
        check(StealUnknown::ALL, StealUnknown::name);
        check(PmuState::ALL, PmuState::name);
        check(ProbeState::ALL, ProbeState::name);
    }
}
