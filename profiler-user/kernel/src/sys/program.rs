//! The name of a program: what it calls itself, or the script that an interpreter runs.
//!
//! In: the task's name and the command line. Out: a name.
//! Must not know: where they came from.

/// The kernel cuts names at this length.
const COMM_MAX: usize = 15;

/// How an interpreter's command line is read.
struct Interpreter {
    /// Its names; digits, dots and dashes of a version may follow.
    names: &'static [&'static str],
    /// Options after which no script follows: the program is on the command line.
    code: &'static [&'static str],
    /// Options whose value is the program's name.
    naming: &'static [&'static str],
    /// Options that take a value of their own.
    valued: &'static [&'static str],
    /// Runs classes, and has options of whole words behind one dash.
    java: bool,
}

const INTERPRETERS: &[Interpreter] = &[
    Interpreter {
        names: &["python", "pypy"],
        code: &["-c"],
        naming: &["-m"],
        valued: &["-W", "-X", "--check-hash-based-pycs"],
        java: false,
    },
    Interpreter {
        names: &["perl"],
        code: &["-e", "-E"],
        naming: &[],
        valued: &["-I"],
        java: false,
    },
    Interpreter {
        names: &["ruby"],
        code: &["-e"],
        naming: &[],
        valued: &["-r", "-I", "-C", "-E"],
        java: false,
    },
    Interpreter {
        names: &["node", "nodejs"],
        code: &["-e", "-p", "--eval", "--print"],
        naming: &[],
        valued: &[
            "-r",
            "-C",
            "--require",
            "--import",
            "--loader",
            "--experimental-loader",
        ],
        java: false,
    },
    Interpreter {
        names: &["bash", "sh", "dash", "zsh", "ksh"],
        code: &["-c"],
        naming: &[],
        valued: &["-o", "-O", "--rcfile", "--init-file"],
        java: false,
    },
    Interpreter {
        names: &["php"],
        code: &["-r"],
        naming: &["-f"],
        valued: &["-c", "-d", "-S", "-t", "-z"],
        java: false,
    },
    Interpreter {
        names: &["java"],
        code: &[],
        naming: &["-jar", "-m", "--module"],
        valued: &[
            "-cp",
            "-classpath",
            "--class-path",
            "-p",
            "--module-path",
            "--add-modules",
            "--add-opens",
            "--add-exports",
        ],
        java: true,
    },
];

/// The name of the program with this task name and command line (empty where it is not known).
#[must_use]
pub fn name(comm: &str, cmdline: &[String]) -> String {
    let called = cmdline.first().map_or("", |first| called_as(first));
    let interpreter = INTERPRETERS
        .iter()
        .find(|known| known.runs_as(called) || known.runs_as(comm));
    if let Some(script) = interpreter.and_then(|known| known.script(cmdline.get(1..)?)) {
        return script;
    }
    let cut = comm.len() >= COMM_MAX && called.starts_with(comm);
    let better = cut || (is_descriptor(comm) && !called.is_empty());
    if better { called } else { comm }.to_owned()
}

/// What was executed through a descriptor is named after its number, or after the memory it is in.
fn is_descriptor(comm: &str) -> bool {
    comm.bytes().all(|byte| byte.is_ascii_digit()) || comm.starts_with("memfd:")
}

/// File name of what was called; a login shell has a dash before it.
fn called_as(argument: &str) -> &str {
    base_name(argument.strip_prefix('-').unwrap_or(argument))
}

fn base_name(path: &str) -> &str {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(path)
}

impl Interpreter {
    fn runs_as(&self, program: &str) -> bool {
        self.names.iter().any(|name| {
            program.strip_prefix(name).is_some_and(|version| {
                version
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
            })
        })
    }

    fn script(&self, arguments: &[String]) -> Option<String> {
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            // A cluster of letters (`-um`) is known by its last one, as an option that takes a value must be last.
            let cluster = argument
                .strip_prefix('-')
                .filter(|rest| !self.java && rest.bytes().all(|b| b.is_ascii_alphabetic()))
                .and_then(|rest| rest.chars().next_back())
                .map(|last| format!("-{last}"));
            let option = cluster.as_deref().unwrap_or(argument);
            if self.code.contains(&option) || argument == "-" {
                return None;
            } else if self.naming.contains(&option) {
                return arguments.next().map(|value| self.short(value));
            } else if self.valued.contains(&option) {
                arguments.next();
            } else if argument == "--" {
                return arguments.next().map(|value| self.short(value));
            } else if !argument.starts_with(['-', '+']) && !argument.is_empty() {
                return Some(self.short(argument));
            }
        }
        None
    }

    /// The file's name, without a Java class's packages.
    fn short(&self, value: &str) -> String {
        let name = base_name(value);
        if self.java && !name.ends_with(".jar") {
            return name.rsplit('.').next().unwrap_or(name).to_owned();
        }
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_called_by_its_name_or_its_script() {
        for (comm, line, expected) in [
            ("redis-server", "redis-server *:6379", "redis-server"),
            ("nginx", "nginx: master process /usr/sbin/nginx", "nginx"),
            ("postgres", "postgres: checkpointer", "postgres"),
            ("kworker/0:1", "", "kworker/0:1"),
            // cut by the kernel
            (
                "prometheus-node",
                "/usr/bin/prometheus-node-exporter -v",
                "prometheus-node-exporter",
            ),
            (
                "systemd-journal",
                "/lib/systemd/systemd-journald",
                "systemd-journald",
            ),
            ("renamed-by-self", "/usr/bin/other", "renamed-by-self"),
            // executed through a descriptor
            ("3", "/usr/sbin/agent --serve", "agent"),
            ("memfd:agent-v1", "agent", "agent"),
            // interpreters
            ("python3", "python3 -u /srv/shop/app.py --port 1", "app.py"),
            (
                "python3.11",
                "/usr/bin/python3.11 -X dev -W ignore a/b.py",
                "b.py",
            ),
            ("python3", "python3 -m http.server 8000", "http.server"),
            ("python3", "python3 -um gunicorn app:main", "gunicorn"),
            ("python3", "python3 -c import_this", "python3"),
            ("python3", "python3", "python3"),
            (
                "gunicorn",
                "/usr/bin/python3 /usr/bin/gunicorn app:main",
                "gunicorn",
            ),
            ("perl", "perl -w -I lib bin/serve.pl", "serve.pl"),
            ("perl", "perl -we print", "perl"),
            ("ruby", "ruby -r json puma.rb", "puma.rb"),
            ("node", "node --require ./otel.js server.js", "server.js"),
            (
                "MainThread",
                "node --max-old-space-size=64 dist/main.js",
                "main.js",
            ),
            ("node", "node -e 1", "node"),
            ("bash", "bash -x ./run.sh", "run.sh"),
            ("bash", "-bash", "bash"),
            ("sh", "sh -ec true", "sh"),
            ("dash", "/bin/sh -- /etc/rc", "rc"),
            ("php", "php -S 127.0.0.1:80 router.php", "router.php"),
            ("php8.2", "php8.2 -f worker.php", "worker.php"),
            ("php-fpm8.2", "php-fpm: pool www", "php-fpm8.2"),
            (
                "java",
                "java -Xmx1g -cp a.jar:b.jar org.apache.kafka.Kafka x.properties",
                "Kafka",
            ),
            (
                "java",
                "/usr/bin/java -Dx=y -jar /opt/shop-1.2.jar",
                "shop-1.2.jar",
            ),
            ("java", "java -m shop.core/shop.core.Main", "Main"),
            ("java", "java -version", "java"),
        ] {
            let cmdline: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let cmdline = match comm {
                // These write one string over their command line.
                "nginx" | "postgres" | "php-fpm8.2" => vec![line.to_owned()],
                _ => cmdline,
            };
            assert_eq!(name(comm, &cmdline), expected, "{line}");
        }
    }
}
