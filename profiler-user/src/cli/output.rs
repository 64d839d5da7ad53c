//! Where results go: stdout or a file, with or without colours, how wide.
//!
//! In: what was asked for, and the text. Out: the text, written whole, or an error that names the file.
//! Must not know: what the text says.

use courtside_agent::keeper::{Keeper, folder_of};
use std::{
    env,
    fs::File,
    io::{self, IsTerminal, Write},
    path::Path,
};

use anyhow::Context;
use clap::ColorChoice;

use super::place::{Inputs, NewFile, Place, READABLE};
use crate::export::Style;

/// Whether there is still somebody who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    There,
    Gone,
}

/// An open output.
pub(super) struct Output {
    /// `None` is stdout.
    file: Option<File>,
    /// What is to be put in place.
    new: Option<NewFile>,
    /// Who does that, when we may not any more.
    keeper: Option<Keeper>,
    name: String,
    color: ColorChoice,
}

impl Output {
    /// Opens it, so that an unwritable one is known before anything is measured. An existing file keeps its contents
    /// until [`Self::place`]; one that is read is refused.
    pub(super) fn open(path: &Path, color: ColorChoice, inputs: &Inputs) -> anyhow::Result<Self> {
        let (file, new) = match Place::open(path, READABLE, inputs)? {
            Place::Stdout => (None, None),
            other => {
                let (file, new) = other.into_file()?;
                (Some(file), new)
            }
        };
        Ok(Self {
            file,
            new,
            keeper: None,
            name: path.display().to_string(),
            color,
        })
    }

    /// The same where privileges will be given up before there is anything to put in place.
    pub(super) fn open_for_later(
        path: &Path,
        color: ColorChoice,
        inputs: &Inputs,
        root: &Path,
    ) -> anyhow::Result<Self> {
        let mut output = Self::open(path, color, inputs)?;
        if output.new.is_some() {
            output.keeper = Some(Keeper::start(&folder_of(path), root)?);
        }
        Ok(output)
    }

    /// Writes a text whole. A reader that went away is no error.
    pub(super) fn write(&mut self, text: impl AsRef<[u8]>) -> anyhow::Result<Reader> {
        match self.put(text.as_ref()) {
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
        file.write_all(bytes)
    }

    /// Puts a file in its place: what is written from here on is added to it there. Dropped before that, nothing is left
    /// of what was written.
    pub(super) fn place(&mut self) -> anyhow::Result<()> {
        let Some(mut new) = self.new.take() else {
            return Ok(());
        };
        match &self.keeper {
            None => new.place(),
            Some(keeper) => keeper
                .ask(move || new.place())
                .context("the thread that keeps the last minutes has ended")?,
        }
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

impl Drop for Output {
    fn drop(&mut self) {
        // What is not put in place is removed by whoever may.
        if let (Some(keeper), Some(new)) = (&self.keeper, self.new.take()) {
            keeper.run(move || drop(new));
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

/// Whether the locale of these environment variables is one without UTF-8.
#[must_use]
pub fn ascii_locale(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| {
        let value = variable(name)?;
        (!value.is_empty()).then_some(value)
    });
    let locale = locale.unwrap_or_default().to_lowercase();
    !(locale.contains("utf-8") || locale.contains("utf8"))
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
        let mut output = Output::open(&path, ColorChoice::Auto, &Inputs::default()).unwrap();
        output.write("new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "something old and long");
        output.place().unwrap();
        output.write("er").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "newer");
        assert!(!output.style().color);
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Output::open(
            &dir.path().join("no/x"),
            ColorChoice::Auto,
            &Inputs::default(),
        )
        .err()
        .unwrap();
        assert!(
            format!("{error:#}").contains("no/x: No such file"),
            "{error:#}"
        );
        let mut full = Output::open(
            Path::new("/dev/full"),
            ColorChoice::Auto,
            &Inputs::default(),
        )
        .unwrap();
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
            new: None,
            keeper: None,
            name: "pipe".to_owned(),
            color: ColorChoice::Auto,
        };
        assert_eq!(output.write("x").unwrap(), Reader::Gone);
    }
}
