//! Where results go: stdout or a file, with or without colours, how wide.
//!
//! In: what was asked for, and the text. Out: the text, written whole, or an error that names the file.
//! Must not know: what the text says.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Write},
    path::Path,
};

use anyhow::Context;
use clap::ColorChoice;

use super::top::ascii_locale;
use crate::export::Style;

/// Whether there is still somebody who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    There,
    Gone,
}

/// An open output.
#[derive(Debug)]
pub(super) struct Output {
    /// `None` is stdout.
    file: Option<File>,
    name: String,
    written: bool,
    color: ColorChoice,
}

impl Output {
    /// Opens it, so that an unwritable one is known before anything is measured. An existing file keeps its contents
    /// until there is something to put in their place.
    pub(super) fn open(path: &Path, color: ColorChoice) -> anyhow::Result<Self> {
        let file = if path == Path::new("-") {
            None
        } else {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .with_context(|| format!("cannot write to {}", path.display()))?;
            Some(file)
        };
        Ok(Self {
            file,
            name: path.display().to_string(),
            written: false,
            color,
        })
    }

    /// Writes a text whole. A reader that went away is no error.
    pub(super) fn write(&mut self, text: &str) -> anyhow::Result<Reader> {
        match self.put(text.as_bytes()) {
            Ok(()) => Ok(Reader::There),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
            Err(error) => Err(error).with_context(|| match self.file {
                Some(_) => format!("cannot write to {}", self.name),
                None => "cannot write to stdout".to_owned(),
            }),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            let mut stdout = io::stdout().lock();
            stdout.write_all(bytes)?;
            return stdout.flush();
        };
        if !self.written && file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        self.written = true;
        file.write_all(bytes)
    }

    pub(super) fn is_stdout(&self) -> bool {
        self.file.is_none()
    }

    fn is_terminal(&self) -> bool {
        self.is_stdout() && io::stdout().is_terminal()
    }

    /// How to draw for it.
    pub(super) fn style(&self) -> Style {
        let terminal = self.is_terminal();
        let size = terminal
            .then(crossterm::terminal::size)
            .and_then(Result::ok);
        let variable = |name: &str| env::var(name).ok();
        Style {
            width: size
                .map(|(columns, _)| usize::from(columns))
                .filter(|&columns| columns > 0),
            color: wants_color(self.color, terminal, variable),
            ascii: ascii_locale(variable),
        }
    }
}

/// Whether to use colours.
pub(super) fn wants_color(
    choice: ColorChoice,
    terminal: bool,
    variable: impl Fn(&str) -> Option<String>,
) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            terminal
                && variable("NO_COLOR").is_none_or(|value| value.is_empty())
                && variable("TERM").is_none_or(|value| value != "dumb")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn colours_need_a_terminal_that_wants_them_or_an_explicit_wish() {
        let with = |choice, terminal, name: &'static str, value: &'static str| {
            wants_color(choice, terminal, move |asked| {
                (asked == name).then(|| value.to_owned())
            })
        };
        assert!(with(ColorChoice::Auto, true, "TERM", "xterm"));
        assert!(with(ColorChoice::Auto, true, "NO_COLOR", ""));
        assert!(!with(ColorChoice::Auto, true, "NO_COLOR", "1"));
        assert!(!with(ColorChoice::Auto, true, "TERM", "dumb"));
        assert!(!with(ColorChoice::Auto, false, "TERM", "xterm"));
        assert!(with(ColorChoice::Always, false, "NO_COLOR", "1"));
        assert!(!with(ColorChoice::Never, true, "TERM", "xterm"));
    }

    #[test]
    fn a_file_keeps_its_contents_until_there_are_new_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        fs::write(&path, "something old and long").unwrap();
        let mut output = Output::open(&path, ColorChoice::Auto).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "something old and long");
        output.write("new").unwrap();
        output.write("er").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "newer");
        assert!(!output.style().color);
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Output::open(&dir.path().join("no/x"), ColorChoice::Auto).unwrap_err();
        assert!(
            format!("{error:#}").contains("no/x: No such file"),
            "{error:#}"
        );
        let mut full = Output::open(Path::new("/dev/full"), ColorChoice::Auto).unwrap();
        let error = full.write("x").unwrap_err();
        assert!(
            format!("{error:#}").contains("/dev/full: No space left"),
            "{error:#}"
        );
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut output = Output {
            file: Some(File::from(std::os::fd::OwnedFd::from(writer))),
            name: "pipe".to_owned(),
            written: false,
            color: ColorChoice::Auto,
        };
        assert_eq!(output.write("x").unwrap(), Reader::Gone);
    }
}
