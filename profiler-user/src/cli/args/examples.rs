//! What `--help` shows below the options.
//!
//! In: nothing. Out: texts. Must not know: what an option means to the parser.

pub(super) const EXAMPLES: &str = "\
Examples:
  sudo courtside                              look at everything on this host, live
  sudo courtside stat -d 5s                   measure five seconds and print
  sudo courtside stat --json -- ./load-test   measure while a program runs
  sudo courtside record -o x.rec              record what happens, to look at it later
  sudo courtside serve                        an agent: metrics for Prometheus on port 9464 of this host
  sudo courtside top --unit nginx.service --entry nginx:80
  courtside check                             what works here, what does not, and why

Without a command it runs `top` and takes the options of `top`: courtside -p 4242

Exit status: 0 done, 1 failed, 2 wrong usage, 3 worse by more than `diff --fail-above` allows; with
a COMMAND, that command's.";

pub(super) const TOP_EXAMPLES: &str = "\
Examples:
  sudo courtside top                     everything that talks on this host
  sudo courtside top -n 'redis*' -n app  two programs and those they talk to
  sudo courtside top --entry web:8080    roundtrips per request that enters at web's port 8080
  sudo courtside top -i 200ms --port 5432

Views: Components, Edges, Map, Turnaround, CPU, Disk, Health, Findings (what is wrong and what to
do), Neighbours (who slows whom; what guard says of it, which learns from the first 60 windows what
is usual, and holds nobody back). Press ? in the dashboard for its keys and columns.";

pub(super) const STAT_EXAMPLES: &str = "\
Examples:
  sudo courtside stat                          ten seconds, then a table
  sudo courtside stat -d 1m -F json -o x.json  one minute, as JSON into a file
  sudo courtside stat -i 1s -d 1m              a table every second
  sudo courtside stat -p 4242 --port 80,443    one process, two ports
  sudo courtside stat --json -- redis-benchmark -n 20000 -c 1 -t get

REQ/s counts messages that were answered, whatever their content: those of a
handshake (TLS, a login to a database) are requests, too.

Ctrl-C ends the measurement and prints what was seen. With a COMMAND its exit
status is passed on (128+N if signal N ended it); while JSON goes to stdout, what
it prints there goes to stderr.";

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  sudo courtside check          attach every probe once, and say which of them work
  courtside check               what can be checked without privileges, and what is missing
  sudo courtside check --json | jq '.checks[] | select(.state != \"ok\")'

Exit status: 0 if everything that is needed works, 1 if not.";

pub(super) const SCHEMA_EXAMPLES: &str = "\
Examples:
  courtside schema snapshot     what `courtside stat -F json` prints
  courtside schema diff         what `courtside diff A B -F json` prints
  courtside schema tail         what `courtside tail FILE -F json` prints
  courtside schema inference    what `courtside infer FILE -F json` prints
  courtside schema scaling      what `courtside scale -F json` prints
  courtside schema profile      what `courtside model fit` writes
  courtside schema interference what `courtside guard -F json` prints, a line each
  courtside schema spec         what `courtside guard learn` writes
  courtside schema status       what `/status` of `courtside serve` shows
  courtside schema check        what `courtside check -F json` prints";

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  courtside completions bash | sudo tee /usr/share/bash-completion/completions/courtside
  courtside completions zsh > ~/.zfunc/_courtside
  courtside completions fish > ~/.config/fish/completions/courtside.fish";

pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  courtside man pages && man ./pages/courtside-serve.1
  sudo courtside man /usr/local/share/man/man1";
