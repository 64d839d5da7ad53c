//! Ledger: what may fail on which kernel, and why. What is not in it has to hold, and what is in it has to fail.
//!
//! In: tests/vm-ledger.toml and what a machine said. Out: a verdict. Must not know: what a test does.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::machine::Told;

/// All entries.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    #[serde(default)]
    entry: Vec<Entry>,
}

/// One test that does not hold on one kernel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    test: String,
    kernel: String,
    reason: String,
}

/// Whether a test holds on a kernel, and why not.
#[derive(Debug)]
pub enum Holds {
    Yes,
    No(String),
}

/// A verdict over one kernel.
#[derive(Debug, Default)]
pub struct Judged {
    /// One for each test.
    pub lines: Vec<String>,
    /// Names of what failed.
    pub failed: Vec<String>,
    /// Each test, and whether it holds.
    pub holds: Vec<(String, Holds)>,
}

impl Ledger {
    /// Read it.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not as it should be", path.display()))
    }

    /// Judge what was said on `kernel`. `whole`: every test was to run.
    pub fn judge(&self, kernel: &str, told: &Told, whole: bool) -> Judged {
        let mut judged = Judged::default();
        for result in &told.results {
            let test = result["test"].as_str().unwrap_or_default();
            let entry = self
                .entry
                .iter()
                .find(|entry| entry.kernel == kernel && entry.test == test);
            let error = result["error"].as_str().unwrap_or_default();
            let ok = result["ok"] == true;
            let holds = match entry {
                Some(entry) => Holds::No(entry.reason.clone()),
                None if ok => Holds::Yes,
                None => Holds::No("not known yet".to_owned()),
            };
            judged.holds.push((test.to_owned(), holds));
            match (ok, entry) {
                (true, None) => judged.lines.push(format!("ok      {test}")),
                (false, Some(entry)) => {
                    judged
                        .lines
                        .push(format!("known   {test}: {}", entry.reason));
                }
                (false, None) => judged.fail(test, &format!("{test}: {error}")),
                (true, Some(_)) => judged.fail(
                    test,
                    &format!("{test} holds, but the ledger says that it does not"),
                ),
            }
        }
        if whole {
            let ran = |test: &str| told.results.iter().any(|result| result["test"] == test);
            let idle = self
                .entry
                .iter()
                .filter(|entry| entry.kernel == kernel && !ran(&entry.test));
            for entry in idle {
                judged.fail(
                    &entry.test,
                    &format!("{}: in the ledger, but there is no such test", entry.test),
                );
            }
        }
        if let Some(why) = &told.failed {
            judged.fail("the machine", why);
        }
        if told.results.is_empty() {
            judged.fail("the machine", "no test ran");
        }
        judged
    }
}

impl Judged {
    fn fail(&mut self, name: &str, line: &str) {
        self.failed.push(name.to_owned());
        self.lines.push(format!("FAILED  {line}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DISK: &str = "[[entry]]\ntest = \"disk\"\nkernel = \"5.10\"\nreason = \"no such hook\"\n";

    fn judge(results: &[(&str, bool)]) -> Vec<String> {
        let ledger: Ledger = toml::from_str(DISK).unwrap();
        let told = Told {
            results: results
                .iter()
                .map(|(test, ok)| json!({ "test": test, "ok": ok }))
                .collect(),
            done: true,
            failed: None,
        };
        ledger.judge("5.10", &told, true).failed
    }

    #[test]
    fn only_what_the_ledger_names_may_fail() {
        assert_eq!(judge(&[("disk", false), ("loss", true)]), [""; 0]);
        assert_eq!(judge(&[("disk", false), ("loss", false)]), ["loss"]);
    }

    #[test]
    fn an_entry_that_never_fires_fails_the_run() {
        assert_eq!(judge(&[("disk", true)]), ["disk"]);
        assert_eq!(judge(&[("loss", true)]), ["disk"]);
    }

    #[test]
    fn a_machine_that_said_nothing_failed() {
        assert_eq!(judge(&[]), ["disk", "the machine"]);
    }
}
