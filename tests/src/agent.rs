//! An agent that serves, and somebody who asks it over HTTP.
//!
//! In: options. Out: answers, and metrics as numbers. Must not know: what an answer ought to be.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::harness::{Running, courtside, eventually};

/// Longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The agent; it is killed when dropped.
pub struct Agent {
    /// Its process.
    pub running: Running,
    /// Where it listens.
    pub address: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status; 0 if there was none.
    pub code: u16,
    /// Its head.
    pub head: String,
    /// Its body.
    pub body: String,
}

/// Every series and its number.
pub type Series = BTreeMap<String, f64>;

impl Agent {
    /// Starts one on a port of its own, with these options besides.
    ///
    /// # Errors
    /// It does not say where it listens.
    pub fn start(options: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(courtside()?);
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(options);
        let mut running = Running::start(&mut command)?;
        let line = running.line()?;
        let rest = line.split_once("://").map_or("", |(_, rest)| rest);
        let address = rest.strip_suffix("/metrics").unwrap_or_default().to_owned();
        ensure!(!address.is_empty(), "it said: {line}");
        Ok(Self { running, address })
    }

    /// What is answered to these bytes, until the end of the connection.
    ///
    /// # Errors
    /// There is no connection.
    pub fn say(&self, request: &[u8]) -> anyhow::Result<Answer> {
        say(&self.address, request)
    }

    /// A page.
    ///
    /// # Errors
    /// There is no connection.
    pub fn get(&self, path: &str, headers: &str) -> anyhow::Result<Answer> {
        get(&self.address, path, headers)
    }

    /// A page as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.get(path, "")?;
        ensure!(answer.code == 200, "{path}: {answer:?}");
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// The metrics as text.
    ///
    /// # Errors
    /// There are none.
    pub fn metrics(&self) -> anyhow::Result<String> {
        let answer = self.get("/metrics", "")?;
        ensure!(answer.code == 200, "{answer:?}");
        Ok(answer.body)
    }

    /// Waits until all that has happened is in the metrics: a window that began after now has ended.
    ///
    /// # Errors
    /// There are no more windows.
    pub fn settle(&self) -> anyhow::Result<String> {
        let windows = |text: &str| {
            series(text)
                .get("courtside_windows_total")
                .copied()
                .unwrap_or(0.0)
        };
        let before = windows(&self.metrics()?);
        let mut last = String::new();
        eventually("two more windows", || {
            last = self.metrics().unwrap_or_default();
            windows(&last) >= before + 2.0
        })?;
        Ok(last)
    }
}

/// What is answered there to these bytes.
///
/// # Errors
/// There is no connection.
pub fn say(address: &str, request: &[u8]) -> anyhow::Result<Answer> {
    let mut stream =
        TcpStream::connect(address).with_context(|| format!("cannot reach {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // A request that is refused may be cut off while it is sent.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(Answer {
        code: code.unwrap_or(0),
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// A page from there. HTTP/1.0: the body ends with the connection.
///
/// # Errors
/// There is no connection.
pub fn get(address: &str, path: &str, headers: &str) -> anyhow::Result<Answer> {
    let request = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n{headers}\r\n");
    say(address, request.as_bytes())
}

/// Metrics as numbers, in either form.
#[must_use]
pub fn series(text: &str) -> Series {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.rsplit_once(' '));
    pairs
        .filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?)))
        .collect()
}

/// The sum of the series of a family that have all these labels.
#[must_use]
pub fn sum(all: &Series, family: &str, labels: &[(&str, &str)]) -> f64 {
    let is_its = |name: &str| {
        let (own, rest) = name.split_once('{').unwrap_or((name, ""));
        let has = |(label, value): &(&str, &str)| {
            rest.split(['{', ',', '}'])
                .any(|part| part == format!("{label}=\"{value}\""))
        };
        own == family && labels.iter().all(has)
    };
    let its = all.iter().filter(|(name, _)| is_its(name));
    its.map(|(_, number)| number).sum()
}
