//! Paraver: a parallel application's run for the tools of the Barcelona Supercomputing Center: states of threads, messages, for
//! whom they wait, the critical path.
//!
//! In: a [`Timeline`]. Out: pieces of three files: the trace (`.prv`), names of what is in it (`.pcf`), names of its rows
//! (`.row`). Must not know: where they go.

use courtside_core::model::{
    inference::{Doing, Message, Place, Span, Step, Timeline},
    visible::visible,
};

use super::{Piece, text::clip};

/// Bytes that are given away together.
const BATCH: usize = 1 << 16;
/// For whose message a thread waits: the number of a task, one more than there are for somebody outside, 0 for nobody any more.
const WAITS_FOR: u32 = 77_000_001;
/// On the critical path: 1, and 0 where it leaves.
const ON_PATH: u32 = 77_000_002;
/// Longest name.
const NAME_WIDTH: usize = 80;

/// Number of a state, as far as there is one in Paraver's own list with that meaning, and its colour.
fn state(doing: Doing) -> (u8, [u8; 3]) {
    match doing {
        Doing::OnCpu => (1, [0, 0, 255]),
        Doing::NotSent => (3, [255, 0, 0]),
        Doing::SendWait => (4, [255, 0, 174]),
        Doing::Lock => (5, [179, 0, 0]),
        Doing::RunQueue => (7, [255, 255, 0]),
        Doing::InFlight => (8, [235, 0, 0]),
        Doing::Other => (9, [255, 255, 174]),
        Doing::Transfer => (11, [255, 144, 26]),
        Doing::BlockIo => (12, [0, 162, 0]),
    }
}

/// What stands at one time; of the same time ends come first, and begins last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    WaitEnds(usize),
    PathEnds(usize),
    State(usize),
    Message(usize),
    Waits(usize),
    PathBegins(usize),
}

/// The run in three files, which are called `name` with their endings, a piece after the other. `created` is the time of the run as
/// the format has it: `30/11/2026 at 10:44`.
///
/// # Errors
/// Those of `take`.
pub fn write<E>(
    timeline: &Timeline,
    (name, created): (&str, &str),
    mut take: impl FnMut(Piece) -> Result<(), E>,
) -> Result<(), E> {
    let mut give = |ending: &str, text: &mut String| {
        take(Piece {
            file: format!("{name}.{ending}"),
            bytes: std::mem::take(text).into_bytes(),
        })
    };
    let mut text = header(timeline, created);
    for (_, row) in rows(timeline) {
        line(timeline, row, &mut text);
        if text.len() >= BATCH {
            give("prv", &mut text)?;
        }
    }
    give("prv", &mut text)?;
    give("pcf", &mut names(timeline))?;
    give("row", &mut labels(timeline))
}

/// One node with its CPUs, one application, a task for each process.
fn header(timeline: &Timeline, created: &str) -> String {
    let tasks: Vec<String> = timeline
        .processes
        .iter()
        .map(|process| format!("{}:1", process.tids.len().max(1)))
        .collect();
    format!(
        "#Paraver ({created}):{}_ns:1({}):1:{}({})\n",
        timeline.length_ns,
        timeline.cpus,
        tasks.len(),
        tasks.join(",")
    )
}

fn waits(span: &Span) -> bool {
    matches!(
        span.doing,
        Doing::NotSent | Doing::InFlight | Doing::Transfer
    )
}

/// All rows in the order of time.
fn rows(timeline: &Timeline) -> Vec<(u64, Row)> {
    let mut rows = Vec::new();
    for (place, span) in timeline.spans.iter().enumerate() {
        rows.push((span.from_ns, Row::State(place)));
        if waits(span) {
            rows.push((span.from_ns, Row::Waits(place)));
            rows.push((span.to_ns, Row::WaitEnds(place)));
        }
    }
    for (place, message) in timeline.messages.iter().enumerate() {
        rows.push((message.sent_ns, Row::Message(place)));
    }
    for (place, step) in timeline.path.iter().enumerate() {
        if step.to_ns > step.from_ns {
            rows.push((step.from_ns, Row::PathBegins(place)));
            rows.push((step.to_ns, Row::PathEnds(place)));
        }
    }
    rows.sort_unstable();
    rows
}

fn line(timeline: &Timeline, row: Row, text: &mut String) {
    match row {
        Row::State(place) => {
            if let Some(span) = timeline.spans.get(place) {
                let cpu = span.cpu.map_or(0, |cpu| u32::from(cpu) + 1);
                let (state, _) = state(span.doing);
                let (from_ns, to_ns) = (span.from_ns, span.to_ns);
                text.push_str(&format!(
                    "1:{cpu}:{}:{from_ns}:{to_ns}:{state}\n",
                    thread(span.at)
                ));
            }
        }
        Row::Message(place) => {
            if let Some(message) = timeline.messages.get(place) {
                let Message {
                    from,
                    to,
                    sent_ns,
                    arrived_ns,
                    read_ns,
                    bytes,
                } = *message;
                let (from, to) = (thread(from), thread(to));
                text.push_str(&format!(
                    "3:0:{from}:{sent_ns}:{sent_ns}:0:{to}:{read_ns}:{arrived_ns}:{bytes}:0\n"
                ));
            }
        }
        Row::Waits(place) | Row::WaitEnds(place) => {
            if let Some(span) = timeline.spans.get(place) {
                let outside = timeline.processes.len();
                let (at_ns, value) = match row {
                    Row::Waits(_) => (span.from_ns, span.whose.unwrap_or(outside) + 1),
                    _ => (span.to_ns, 0),
                };
                event(text, span.at, at_ns, WAITS_FOR, value);
            }
        }
        Row::PathBegins(place) | Row::PathEnds(place) => {
            if let Some(Step { at, from_ns, to_ns }) = timeline.path.get(place).copied() {
                let (at_ns, value) = match row {
                    Row::PathBegins(_) => (from_ns, 1),
                    _ => (to_ns, 0),
                };
                event(text, at, at_ns, ON_PATH, value);
            }
        }
    }
}

fn event(text: &mut String, at: Place, at_ns: u64, kind: u32, value: usize) {
    text.push_str(&format!("2:0:{}:{at_ns}:{kind}:{value}\n", thread(at)));
}

/// Application, task and thread, from 1.
fn thread(at: Place) -> String {
    format!("1:{}:{}", at.process + 1, at.thread + 1)
}

/// What states and events are called.
fn names(timeline: &Timeline) -> String {
    let mut text = String::from(
        "DEFAULT_OPTIONS\n\nLEVEL               THREAD\nUNITS               NANOSEC\nLOOK_BACK           100\n\
         SPEED               1\nFLAG_ICONS          ENABLED\nNUM_OF_STATE_COLORS 1000\nYMAX_SCALE          37\n\n\n\
         DEFAULT_SEMANTIC\n\nTHREAD_FUNC         State As Is\n\n\nSTATES\n",
    );
    let mut states: Vec<(u8, [u8; 3], &str)> = Doing::ALL
        .into_iter()
        .map(|doing| {
            let (number, color) = state(doing);
            (number, color, doing.words())
        })
        .collect();
    states.sort_unstable();
    let mut colors = String::from("\n\nSTATES_COLOR\n");
    for (number, [red, green, blue], words) in states {
        text.push_str(&format!("{number}    {words}\n"));
        colors.push_str(&format!("{number}    {{{red},{green},{blue}}}\n"));
    }
    text.push_str(&colors);
    text.push_str(&format!(
        "\n\nEVENT_TYPE\n0    {WAITS_FOR}    Waits for a message of\nVALUES\n0      nobody\n"
    ));
    let ids = timeline.processes.iter().map(|process| process.id.as_str());
    for (number, id) in (1u64..).zip(ids.chain(["outside"])) {
        text.push_str(&format!("{number}      {}\n", label(id)));
    }
    text.push_str(&format!(
        "\n\nEVENT_TYPE\n0    {ON_PATH}    On the critical path\nVALUES\n0      no\n1      yes\n"
    ));
    text
}

/// What CPUs, tasks and threads are called.
fn labels(timeline: &Timeline) -> String {
    let cpus = (0..timeline.cpus).map(|cpu| format!("CPU {cpu}"));
    let tasks = timeline.processes.iter().map(|process| label(&process.id));
    let threads = timeline.processes.iter().flat_map(|process| {
        let own = label(&process.id);
        let named: Vec<String> = match process.tids.as_slice() {
            [] | [_] => vec![own],
            many => many.iter().map(|tid| format!("{own} {tid}")).collect(),
        };
        named
    });
    let mut text = String::new();
    for (level, names) in [
        ("CPU", cpus.collect::<Vec<_>>()),
        ("NODE", vec!["this host".to_owned()]),
        ("TASK", tasks.collect()),
        ("THREAD", threads.collect()),
    ] {
        text.push_str(&format!("LEVEL {level} SIZE {}\n", names.len()));
        for name in names {
            text.push_str(&name);
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

fn label(name: &str) -> String {
    clip(&visible(name), NAME_WIDTH)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, convert::Infallible};

    use courtside_core::model::inference::Lane;

    use super::*;

    fn at(process: usize) -> Place {
        Place { process, thread: 0 }
    }

    fn timeline() -> Timeline {
        let span = |process, from_ns, to_ns, doing, cpu, whose| Span {
            at: at(process),
            from_ns,
            to_ns,
            doing,
            cpu,
            whose,
        };
        Timeline {
            start_unix_ns: 0,
            length_ns: 50,
            cpus: 2,
            processes: ["a/1", "b\n/2"]
                .map(|id| Lane {
                    id: id.to_owned(),
                    tgid: 1,
                    tids: vec![1],
                })
                .into(),
            spans: vec![
                span(0, 0, 30, Doing::OnCpu, Some(1), None),
                span(1, 0, 20, Doing::NotSent, None, Some(0)),
                span(1, 20, 25, Doing::InFlight, None, Some(0)),
                span(1, 25, 50, Doing::OnCpu, Some(0), None),
                span(0, 30, 50, Doing::NotSent, None, None),
            ],
            messages: vec![Message {
                from: at(0),
                to: at(1),
                sent_ns: 20,
                arrived_ns: 24,
                read_ns: 27,
                bytes: 4000,
            }],
            path: vec![
                Step {
                    at: at(0),
                    from_ns: 0,
                    to_ns: 20,
                },
                Step {
                    at: at(1),
                    from_ns: 25,
                    to_ns: 50,
                },
            ],
            cut_ns: None,
        }
    }

    #[test]
    fn a_run_is_three_files_in_the_order_of_time() {
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        let taken: Result<(), Infallible> =
            write(&timeline(), ("run", "30/11/2026 at 10:44"), |piece| {
                let text = String::from_utf8(piece.bytes).unwrap();
                files.entry(piece.file).or_default().push_str(&text);
                Ok(())
            });
        taken.unwrap();
        let expected = "\
#Paraver (30/11/2026 at 10:44):50_ns:1(2):1:2(1:1,1:1)
1:2:1:1:1:0:30:1
1:0:1:2:1:0:20:3
2:0:1:2:1:0:77000001:1
2:0:1:1:1:0:77000002:1
2:0:1:2:1:20:77000001:0
2:0:1:1:1:20:77000002:0
1:0:1:2:1:20:25:8
3:0:1:1:1:20:20:0:1:2:1:27:24:4000:0
2:0:1:2:1:20:77000001:1
2:0:1:2:1:25:77000001:0
1:1:1:2:1:25:50:1
2:0:1:2:1:25:77000002:1
1:0:1:1:1:30:50:3
2:0:1:1:1:30:77000001:3
2:0:1:1:1:50:77000001:0
2:0:1:2:1:50:77000002:0
";
        assert_eq!(files["run.prv"], expected);
        let names = &files["run.pcf"];
        assert!(
            names.contains("\n3    waits for a message not sent yet\n"),
            "{names}"
        );
        assert!(
            names.contains("\n2      b<000A>/2\n3      outside\n"),
            "{names}"
        );
        let rows = "LEVEL CPU SIZE 2\nCPU 0\nCPU 1\n\nLEVEL NODE SIZE 1\nthis host\n\n\
                    LEVEL TASK SIZE 2\na/1\nb<000A>/2\n\nLEVEL THREAD SIZE 2\na/1\nb<000A>/2\n\n";
        assert_eq!(files["run.row"], rows);
        // Each state has a number of its own.
        let numbers: std::collections::BTreeSet<u8> =
            Doing::ALL.into_iter().map(|doing| state(doing).0).collect();
        assert_eq!(numbers.len(), Doing::ALL.len());
    }
}
