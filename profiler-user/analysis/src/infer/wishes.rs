//! What is to be changed in a run, as it is written: `rank3: run_queue=0`, `rank2->rank3: latency=+1ms`, `without: stress*`.
//!
//! In: text. Out: a [`Wish`]. Must not know: whether there are such processes.

use std::{fmt, str::FromStr, time::Duration};

use globset::{Glob, GlobMatcher};

use super::replay::Latency;

/// Longest latency that can be asked for: all messages of a recording one after the other end before the clock does.
const MOST_LATENCY: Duration = Duration::from_secs(3600);

/// Something to be changed in a run.
#[derive(Clone, Debug)]
pub struct Wish {
    text: String,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// These programs have no CPU.
    Without(GlobMatcher),
    /// Processes get other times.
    Process {
        who: Name,
        factors: Vec<(Factor, f64)>,
    },
    /// Messages from one to another take another time.
    Edge {
        from: Name,
        to: Name,
        latency: Latency,
    },
}

/// Which time is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Factor {
    RunQueue,
    Cpu,
    Disk,
}

/// Processes by name, id or number; `*` stands for any text.
#[derive(Clone, Debug)]
pub(super) struct Name {
    text: String,
    glob: GlobMatcher,
}

impl Name {
    fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("there is no process before the colon".to_owned());
        }
        Ok(Self {
            text: text.to_owned(),
            glob: glob(text)?,
        })
    }

    /// Places of the processes that are meant; `rank3` is the fourth one where none is called so.
    pub(super) fn places(&self, processes: &[(String, String, u32)]) -> Vec<usize> {
        let is = |(id, name, tgid): &(String, String, u32)| {
            self.glob.is_match(id) || self.glob.is_match(name) || tgid.to_string() == self.text
        };
        let named = processes
            .iter()
            .enumerate()
            .filter(|(_, process)| is(process));
        let named: Vec<usize> = named.map(|(place, _)| place).collect();
        if !named.is_empty() {
            return named;
        }
        let rank = self.text.strip_prefix("rank").map(str::parse::<usize>);
        match rank {
            Some(Ok(rank)) if rank < processes.len() => vec![rank],
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn glob(text: &str) -> Result<GlobMatcher, String> {
    let glob = Glob::new(text).map_err(|error| format!("{text:?}: {}", error.kind()))?;
    Ok(glob.compile_matcher())
}

impl FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "give it as in 'rank3: run_queue=0', 'rank3: cpu=0.5', 'rank2->rank3: latency=+1ms' or 'without: stress*'";
        let (who, how) = text.split_once(':').ok_or(form)?;
        let how = how.trim();
        if how.is_empty() {
            return Err(format!("nothing is said after the colon; {form}"));
        }
        let what = if who.trim() == "without" {
            What::Without(glob(how)?)
        } else if let Some((from, to)) = who.split_once("->") {
            let latency = how.strip_prefix("latency=").ok_or_else(|| {
                format!("between two processes only the latency can be changed; {form}")
            })?;
            What::Edge {
                from: Name::new(from)?,
                to: Name::new(to)?,
                latency: latency_of(latency)?,
            }
        } else {
            let factors: Result<Vec<_>, String> = how.split(',').map(factor).collect();
            What::Process {
                who: Name::new(who)?,
                factors: factors.map_err(|error| format!("{error}; {form}"))?,
            }
        };
        Ok(Self {
            text: text.trim().to_owned(),
            what,
        })
    }
}

fn factor(text: &str) -> Result<(Factor, f64), String> {
    let (what, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{:?} is not NAME=FACTOR", text.trim()))?;
    let factor = match what.trim() {
        "run_queue" => Factor::RunQueue,
        "cpu" => Factor::Cpu,
        "disk" => Factor::Disk,
        other => return Err(format!("{other:?} cannot be changed")),
    };
    match value.trim().parse::<f64>() {
        Ok(value) if value.is_finite() && (0.0..=1000.0).contains(&value) => Ok((factor, value)),
        _ => Err(format!("{:?} is not a factor from 0 to 1000", value.trim())),
    }
}

fn latency_of(text: &str) -> Result<Latency, String> {
    let text = text.trim();
    let time = |text: &str| -> Result<u64, String> {
        if text == "0" {
            return Ok(0);
        }
        let time = humantime::parse_duration(text)
            .map_err(|error| format!("{error}; give a latency as in +1ms, -20us or 150us"))?;
        if time > MOST_LATENCY {
            return Err(format!("{text:?} is more than an hour"));
        }
        Ok(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    };
    if let Some(more) = text.strip_prefix('+') {
        Ok(Latency::More(time(more)?))
    } else if let Some(less) = text.strip_prefix('-') {
        Ok(Latency::Less(time(less)?))
    } else {
        Ok(Latency::Of(time(text)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_understood() {
        let wish = |text: &str| text.parse::<Wish>().unwrap();
        let all = wish("rank3: run_queue=0, cpu=0.5");
        assert_eq!(all.to_string(), "rank3: run_queue=0, cpu=0.5");
        let What::Process { factors, .. } = all.what else {
            panic!();
        };
        assert_eq!(factors, [(Factor::RunQueue, 0.0), (Factor::Cpu, 0.5)]);
        for (text, expected) in [
            ("+1ms", Latency::More(1_000_000)),
            ("-20us", Latency::Less(20_000)),
            ("150us", Latency::Of(150_000)),
            ("0", Latency::Of(0)),
        ] {
            let What::Edge { latency, .. } = wish(&format!("a->b: latency={text}")).what else {
                panic!();
            };
            assert_eq!(latency, expected);
        }
        let What::Without(glob) = wish("without: stress*").what else {
            panic!();
        };
        assert!(glob.is_match("stress-ng") && !glob.is_match("rank3"));
    }

    #[test]
    fn what_cannot_be_understood_is_refused_with_an_example() {
        for text in [
            "",
            "rank3",
            "rank3:",
            ": cpu=1",
            "rank3: cpu",
            "rank3: cpu=fast",
            "rank3: cpu=-1",
            "rank3: memory=2",
            "a->b: cpu=2",
            "a->b: latency=soon",
            "a->b: latency=+2h",
            "a->b: latency=500years",
            "without: [",
        ] {
            assert!(text.parse::<Wish>().is_err(), "{text}");
        }
        let said = "rank3".parse::<Wish>().unwrap_err();
        assert!(said.contains("rank2->rank3: latency=+1ms"), "{said}");
    }

    #[test]
    fn processes_are_found_by_name_number_and_place() {
        let process = |name: &str, tgid: u32| (format!("{name}/{tgid}"), name.to_owned(), tgid);
        let named = [
            process("rank0", 7),
            process("rank1", 8),
            process("rank10", 9),
        ];
        let of = |text: &str, all: &[_]| Name::new(text).unwrap().places(all);
        assert_eq!(of("rank1", &named), [1]);
        assert_eq!(of("rank*", &named), [0, 1, 2]);
        assert_eq!(of("9", &named), [2]);
        assert_eq!(of("rank0/7", &named), [0]);
        let same = [process("a.out", 7), process("a.out", 8)];
        assert_eq!(of("rank1", &same), [1]);
        assert_eq!(of("rank2", &same), [] as [usize; 0]);
    }
}
