//! What is in the folder dashboards: Grafana dashboards, and recording and alerting rules for Prometheus.
//!
//! In: panels and rules, as tables. Out: JSON and YAML; the files in the workspace have to be the same. Must not know: how
//! metrics come about. Every metric that an expression names has to be one that there is.

#![expect(
    clippy::disallowed_methods,
    reason = "the files that are made are compared with those in the workspace"
)]

mod native;
mod pages;
mod rules;

use std::{collections::BTreeSet, path::Path};

use courtside_core::model::words::LOSSES;
use serde_json::{Value, json};

use super::families;

/// How a panel shows its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Lines over time.
    Lines,
    /// Areas over time, one on top of the other.
    Stacked,
    /// One number each.
    Number,
    /// A table of the present.
    Table,
}

/// An expression, and how its series are called.
type Query = (&'static str, &'static str);

/// One panel.
#[derive(Clone, Copy, Debug)]
struct Panel {
    title: &'static str,
    says: &'static str,
    unit: &'static str,
    look: Look,
    /// Of 24.
    width: u32,
    queries: &'static [Query],
}

/// One dashboard.
#[derive(Clone, Copy, Debug)]
struct Page {
    /// Name of its file, and of the dashboard within Grafana.
    name: &'static str,
    title: &'static str,
    says: &'static str,
    panels: &'static [Panel],
}

const HEIGHT: u32 = 8;
/// For which kind of histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Histograms {
    Classic,
    Native,
}

impl Histograms {
    /// What is added to names of folders and dashboards.
    fn ending(self) -> &'static str {
        match self {
            Self::Classic => "",
            Self::Native => "-native",
        }
    }

    /// Words, written for classic ones.
    fn say(self, words: &str) -> String {
        match self {
            Self::Classic => words.to_owned(),
            Self::Native => words.replace("a factor of two apart", "9 % apart"),
        }
    }

    /// An expression, written for classic ones.
    fn ask(self, expression: &str) -> String {
        match self {
            Self::Classic => expression.to_owned(),
            Self::Native => native::native(expression),
        }
    }
}

const SOURCE: &str = "${datasource}";

impl Page {
    fn json(&self, of: Histograms) -> Value {
        let tag = format!("courtside{}", of.ending());
        let title = match of {
            Histograms::Classic => format!("Courtside / {}", self.title),
            Histograms::Native => format!("Courtside / {} (native histograms)", self.title),
        };
        let (mut x, mut y) = (0, 0);
        let mut panels = Vec::new();
        for (number, panel) in (1..).zip(self.panels) {
            if x + panel.width > 24 {
                (x, y) = (0, y + HEIGHT);
            }
            panels.push(panel.json(number, x, y, of));
            x += panel.width;
        }
        json!({
            "uid": format!("{tag}-{}", self.name),
            "title": title,
            "description": self.says,
            "tags": [tag],
            "schemaVersion": 39,
            "version": 1,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "annotations": {"list": []},
            "links": [{
                "asDropdown": true, "icon": "external link", "includeVars": true, "keepTime": true,
                "tags": [tag], "targetBlank": false, "title": "Courtside", "tooltip": "", "type": "dashboards", "url": "",
            }],
            "templating": {"list": variables()},
            "panels": panels,
        })
    }
}

impl Panel {
    fn json(&self, number: u32, x: u32, y: u32, of: Histograms) -> Value {
        let kind = match self.look {
            Look::Lines | Look::Stacked => "timeseries",
            Look::Number => "stat",
            Look::Table => "table",
        };
        let is_now = matches!(self.look, Look::Table);
        let targets: Vec<Value> = ('A'..='Z')
            .zip(self.queries)
            .map(|(letter, (expression, legend))| {
                json!({
                    "refId": letter.to_string(),
                    "datasource": {"type": "prometheus", "uid": SOURCE},
                    "expr": of.ask(expression),
                    "legendFormat": legend,
                    "instant": is_now,
                    "range": !is_now,
                    "format": if is_now { "table" } else { "time_series" },
                })
            })
            .collect();
        let mut panel = json!({
            "id": number,
            "type": kind,
            "title": self.title,
            "description": of.say(self.says),
            "datasource": {"type": "prometheus", "uid": SOURCE},
            "gridPos": {"h": HEIGHT, "w": self.width, "x": x, "y": y},
            "targets": targets,
            "fieldConfig": {"defaults": {"unit": self.unit, "min": 0}, "overrides": []},
        });
        match self.look {
            Look::Lines | Look::Stacked => {
                let (mode, fill) = if self.look == Look::Stacked {
                    ("normal", 60)
                } else {
                    ("none", 8)
                };
                panel["fieldConfig"]["defaults"]["custom"] = json!({"fillOpacity": fill, "lineWidth": 1, "showPoints": "never", "stacking": {"group": "A", "mode": mode}});
                panel["options"] = json!({
                    "legend": {"calcs": ["mean", "max"], "displayMode": "table", "placement": "bottom", "showLegend": true},
                    "tooltip": {"mode": "multi", "sort": "desc"},
                });
            }
            Look::Number => {
                panel["options"] = json!({
                    "colorMode": "value", "graphMode": "area", "textMode": "auto",
                    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
                });
            }
            Look::Table => {
                panel["options"] = json!({"showHeader": true, "cellHeight": "sm"});
                panel["transformations"] = json!([{"id": "organize", "options": {
                    "excludeByName": {"Time": true, "__name__": true, "job": true},
                    "indexByName": {}, "renameByName": {"Value": "Number"},
                }}]);
            }
        }
        panel
    }
}

/// The data source, and what is looked at: nothing of it is fixed.
fn variables() -> Value {
    let query = |name: &str, label: &str, expression: &str| {
        json!({
            "name": name, "label": label, "type": "query",
            "datasource": {"type": "prometheus", "uid": SOURCE},
            "definition": expression,
            "query": {"query": expression, "refId": name},
            "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".*",
            "current": {"selected": true, "text": ["All"], "value": ["$__all"]},
            "hide": 0, "regex": "", "skipUrlSync": false, "options": [],
        })
    };
    json!([
        {
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
            "current": {}, "hide": 0, "includeAll": false, "multi": false, "options": [], "refresh": 1, "regex": "",
            "skipUrlSync": false,
        },
        query("instance", "Host", "label_values(courtside_build_info, instance)"),
        query("component", "Component", "label_values(courtside_requests_total{instance=~\"$instance\"}, component)"),
    ])
}

/// The files, by their names below dashboards/.
fn files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for of in [Histograms::Classic, Histograms::Native] {
        let ending = of.ending();
        for page in pages::ALL {
            let text = serde_json::to_string_pretty(&page.json(of)).unwrap();
            let name = format!("grafana{ending}/{}.json", page.name);
            files.push((name, text + "\n"));
        }
        let rules = format!("prometheus{ending}");
        files.push((format!("{rules}/recording.yml"), rules::recording(of)));
        files.push((format!("{rules}/alerts.yml"), rules::alerts(of)));
    }
    files
}

/// Names of ours in an expression.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.filter(|word| word.starts_with("courtside_") || word.starts_with("process_"))
}

#[test]
fn the_dashboards_are_as_they_are_made() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dashboards");
    for (name, made) in files() {
        let path = folder.join(name);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, made).unwrap();
            continue;
        }
        let shown = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            shown,
            made,
            "{}; make it anew: UPDATE_DOCS=1 cargo test --lib the_dashboards",
            path.display()
        );
    }
}

#[test]
fn every_expression_names_metrics_that_there_are() {
    let mut there: BTreeSet<String> = BTreeSet::new();
    for family in families() {
        for ending in ["", "_bucket", "_sum", "_count"] {
            there.insert(format!("{}{ending}", family.name));
        }
    }
    let mut asked = 0;
    for expression in pages::ALL
        .iter()
        .flat_map(|page| page.panels)
        .flat_map(|panel| panel.queries)
        .map(|(expression, _)| (*expression).to_owned())
        .chain(rules::expressions())
    {
        for name in names(&expression) {
            assert!(there.contains(name), "{name} in {expression}");
            asked += 1;
        }
        let native = native::native(&expression);
        let words = ["_bucket", "_seconds_sum", "_seconds_count", "(le,", ", le)"];
        for name in words {
            assert!(!native.contains(name), "{name} in {native}");
        }
    }
    assert!(asked > 60, "{asked}");
}

/// Prometheus asks once a minute unless it is told otherwise: within less there may be no number, and what lasts begins anew.
#[test]
fn every_rule_looks_back_over_two_scrapes_or_more() {
    let mut ranges = 0;
    for expression in rules::expressions() {
        for range in expression.split('[').skip(1) {
            let minutes = range.split_once("m]").map(|(minutes, _)| minutes);
            let minutes: u32 = minutes.unwrap().parse().unwrap();
            assert!(minutes >= 2, "{expression}");
            ranges += 1;
        }
    }
    assert!(ranges > 20, "{ranges}");
}

#[test]
fn the_alert_on_losses_is_on_those_that_make_counts_too_low() {
    let blurs = LOSSES.iter().filter(|loss| !loss.counts);
    let blurs: Vec<&str> = blurs.map(|loss| loss.class).collect();
    let expected = format!("courtside_lost_total{{class!~\"{}\"}}", blurs.join("|"));
    assert!(
        rules::expressions().any(|expression| expression.contains(&expected)),
        "{expected}"
    );
}

#[test]
fn every_alert_has_a_place_in_the_runbook() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/runbook.md");
    let runbook = std::fs::read_to_string(path).unwrap();
    for name in rules::alert_names() {
        assert!(runbook.contains(&format!("\n## {name}\n")), "{name}");
    }
}
