//! Options of `serve` that stand in a file.
//!
//! In: the words of the command line, the file that `--config` names. Out: the words, with those of the file before those that
//! were typed. Must not know: what an option means; keys are the long names of options, and the parser judges them.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{ArgAction, ArgMatches, CommandFactory as _, parser::ValueSource};
use toml::{Table, Value};

use super::{args::Cli, serve};

/// The command whose options may stand in a file.
const COMMAND: &str = "serve";
/// The option that names it.
const OPTION: &str = "config";

/// The words of a command line with what its file says, and that file if there is one. What was typed is stronger.
///
/// # Errors
/// The file cannot be read, or is no TOML of single values.
pub(super) fn with_file(words: Vec<OsString>) -> anyhow::Result<(Vec<OsString>, Option<PathBuf>)> {
    let [program, command, typed @ ..] = &words[..] else {
        return Ok((words, None));
    };
    if command != COMMAND {
        return Ok((words, None));
    }
    let mut parser = Cli::command();
    let Some(parser) = parser.find_subcommand_mut(COMMAND) else {
        return Ok((words, None));
    };
    // What is wrong with the words is said when all of them are parsed.
    let lenient = parser.clone().ignore_errors(true);
    let matches = lenient.try_get_matches_from([command].into_iter().chain(typed));
    let Ok(matches) = matches else {
        return Ok((words, None));
    };
    let Some(path) = matches.get_one::<PathBuf>(OPTION).cloned() else {
        return Ok((words, None));
    };
    let said = serve::read(&path)
        .and_then(|bytes| Ok(String::from_utf8(bytes)?))
        .and_then(|text| options(&text, parser, &matches))
        .with_context(|| shown(&path))?;
    let all = [program.clone(), command.clone()].into_iter().chain(said);
    Ok((all.chain(typed.iter().cloned()).collect(), Some(path)))
}

fn shown(path: &Path) -> String {
    format!("the options in {}", path.display())
}

/// The options that a text holds and that were not typed.
fn options(
    text: &str,
    parser: &clap::Command,
    typed: &ArgMatches,
) -> anyhow::Result<Vec<OsString>> {
    let table: Table = text.parse()?;
    let mut words = Vec::new();
    for (key, value) in &table {
        let known = parser
            .get_arguments()
            .find(|argument| argument.get_long() == Some(key.as_str()));
        if key == OPTION {
            bail!("{key}: a file of options cannot name another one");
        }
        if known.is_some_and(|argument| is_typed(typed, argument.get_id().as_str())) {
            continue;
        }
        let action = known.map(clap::Arg::get_action);
        match (action, value) {
            (Some(ArgAction::SetTrue), Value::Boolean(true)) => words.push(format!("--{key}")),
            (Some(ArgAction::SetTrue), Value::Boolean(false)) => {}
            (Some(ArgAction::SetTrue), _) => bail!("{key}: give true or false"),
            (Some(ArgAction::Append), Value::Array(values)) => {
                for value in values {
                    words.push(word(key, value)?);
                }
            }
            // The parser says which name is the nearest to one that it does not know.
            (_, value) => words.push(word(key, value)?),
        }
    }
    Ok(words.into_iter().map(OsString::from).collect())
}

fn is_typed(typed: &ArgMatches, id: &str) -> bool {
    typed.value_source(id) == Some(ValueSource::CommandLine)
}

fn word(key: &str, value: &Value) -> anyhow::Result<String> {
    Ok(match value {
        Value::String(text) => format!("--{key}={text}"),
        Value::Integer(number) => format!("--{key}={number}"),
        Value::Float(number) => format!("--{key}={number}"),
        Value::Boolean(_) => bail!("{key}: give a text or a number"),
        Value::Array(_) => bail!("{key}: give one value"),
        Value::Datetime(_) | Value::Table(_) => {
            bail!("{key}: give a text, a number, true or false, or a list of them")
        }
    })
}

/// Every option of `serve`, each in a comment with its meaning and default, as a file to begin with.
///
/// # Errors
/// There is no such command.
#[cfg(test)]
fn template() -> anyhow::Result<String> {
    use std::fmt::Write as _;

    let mut parser = Cli::command();
    let parser = parser
        .find_subcommand_mut(COMMAND)
        .context("there is no such command")?;
    let mut text = String::from(
        "# Options of `courtside serve`, read by `courtside serve --config FILE`.\n\
         #\n\
         # A key is the long name of an option. What stands on the command line is stronger than what stands here.\n",
    );
    let mut heading = None;
    for argument in parser.get_arguments() {
        let Some(name) = argument.get_long().filter(|name| *name != OPTION) else {
            continue;
        };
        if argument.get_help_heading() != heading {
            heading = argument.get_help_heading();
            let _ = write!(text, "\n# {}\n", heading.unwrap_or("Options"));
        }
        let help = argument.get_help().map(ToString::to_string);
        let _ = writeln!(text, "\n# {}", help.unwrap_or_default());
        let defaults = argument.get_default_values();
        let default = defaults.first().map(|value| value.to_string_lossy());
        let names = argument.get_value_names().unwrap_or_default();
        let example = names.first().map(|name| name.as_str().to_owned());
        let value = match argument.get_action() {
            ArgAction::SetTrue => "false".to_owned(),
            ArgAction::Append => format!("[{:?}]", example.unwrap_or_default()),
            _ => match default {
                Some(number) if number.parse::<u64>().is_ok() => number.into_owned(),
                Some(default) => format!("{default:?}"),
                None => format!("{:?}", example.unwrap_or_default()),
            },
        };
        let _ = writeln!(text, "#{name} = {value}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use clap::FromArgMatches as _;

    use super::*;
    use crate::cli::args::{Command, ServeArgs};

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, text).unwrap();
        file
    }

    fn words(file: &Path, typed: &str) -> anyhow::Result<Vec<String>> {
        let line = format!("courtside serve --config {} {typed}", file.display());
        let words = line.split_whitespace().map(OsString::from).collect();
        let (words, from) = with_file(words)?;
        assert_eq!(from.as_deref(), Some(file));
        Ok(words
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect())
    }

    fn parsed(text: &str, typed: &str) -> Result<ServeArgs, String> {
        let file = written(text);
        let words = words(file.path(), typed).map_err(|error| format!("{error:#}"))?;
        let cli = Cli::parser()
            .try_get_matches_from(words)
            .and_then(|matches| Cli::from_arg_matches(&matches))
            .map_err(|error| error.to_string())?;
        match cli.command {
            Some(Command::Serve(args)) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_stands_in_a_file_is_as_if_it_was_typed() {
        let args = parsed(
            "listen = \"127.0.0.1:9999\"\ntop = 7\nunit = [\"a.service\", \"b.service\"]\nno-pmu = true\nverbose = false\n",
            "",
        )
        .unwrap();
        assert_eq!(args.listen, "127.0.0.1:9999".parse().unwrap());
        assert_eq!(args.top.get(), 7);
        assert_eq!(args.select.unit, ["a.service", "b.service"]);
        assert!(args.measure.no_pmu && !args.measure.verbose);
    }

    #[test]
    fn what_was_typed_is_stronger() {
        let text = "top = 7\nunit = [\"a.service\"]\nrecord = \"/x\"\n";
        let args = parsed(text, "--top 8 --unit b.service --retain 2h").unwrap();
        assert_eq!(args.top.get(), 8);
        assert_eq!(args.select.unit, ["b.service"]);
        assert_eq!(args.record.unwrap(), Path::new("/x"));
        assert_eq!(args.retain.as_secs(), 7200);
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_name() {
        let error = parsed("intervall = \"2s\"\n", "").unwrap_err();
        assert!(error.contains("--intervall"), "{error}");
        assert!(
            error.contains("similar argument exists: '--interval'"),
            "{error}"
        );
    }

    #[test]
    fn wrong_values_are_refused() {
        for (text, why) in [
            ("top = 0\n", "invalid value '0'"),
            ("top = [1, 2]\n", "top: give one value"),
            ("no-pmu = 1\n", "no-pmu: give true or false"),
            ("listen = true\n", "listen: give a text or a number"),
            ("config = \"/x\"\n", "cannot name another one"),
            ("[serving]\ntop = 1\n", "serving: give a text"),
            ("top = \n", "the options in "),
            ("retain = \"2h\"\n", "--record"),
        ] {
            let error = parsed(text, "").unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(words(Path::new("/nowhere/x.toml"), "").is_err());
    }

    #[test]
    fn other_command_lines_stay_as_they_are() {
        for line in [
            "courtside",
            "courtside stat --config x",
            "courtside serve",
            "courtside serve --help",
        ] {
            let typed: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            let (words, file) = with_file(typed.clone()).unwrap();
            assert_eq!((words, file), (typed, None), "{line}");
        }
    }

    #[test]
    fn names_every_option_of_serve() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask/packaging/courtside.toml");
        let text = template().unwrap();
        if env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            text,
            "once more with UPDATE_DOCS=1"
        );
        // What is commented out is what is so anyway, or a name of what to give.
        assert!(parsed(&text, "").is_ok());
        let defaults: String = text
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
            .filter(|line| {
                [
                    "listen",
                    "top",
                    "linger",
                    "interval",
                    "rtt-floor",
                    "no-pmu",
                    "group-by",
                ]
                .iter()
                .any(|name| line.starts_with(&format!("{name} =")))
            })
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(defaults.lines().count(), 7, "{defaults}");
        assert!(parsed(&defaults, "").is_ok());
    }
}
