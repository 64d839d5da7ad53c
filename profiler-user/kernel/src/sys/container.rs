//! What a container or a pod is called: 64 hex digits are no name.
//!
//! In: the path of a control group, and the files of runtimes below a root (kubelet, Docker, containerd, CRI-O, Podman). Out: a
//! name for people, where one of them can be read. Must not know: processes, how components are shown.
//!
//! Every file is somebody else's: it may be missing, of another form, or large, and then there is no name.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::cgroup;

/// Longer files are not looked at.
const MOST_BYTES: u64 = 4 << 20;
/// Files of a folder that are looked at.
const MOST_FILES: usize = 4096;
/// Names that are remembered; beyond that all are forgotten and read again.
const MOST_NAMES: usize = 4096;
/// A longer name is no name.
const LONGEST: usize = 256;

/// Names that were found.
#[derive(Debug)]
pub struct Containers {
    root: PathBuf,
    known: HashMap<String, String>,
    /// Whose names were looked for since [`Self::look_again`], and not found.
    missed: HashSet<String>,
}

impl Containers {
    /// Reads below this root.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            known: HashMap::new(),
            missed: HashSet::new(),
        }
    }

    /// Names that were not found before may be there now. Until this is called nobody is looked for twice: a container without a
    /// name may start hundreds of programs a second.
    pub fn look_again(&mut self) {
        self.missed.clear();
    }

    /// The name of the container, or else of the pod, that a control group belongs to.
    pub fn name(&mut self, cgroup: &str) -> Option<String> {
        let id = cgroup::full_id(cgroup);
        let uid = cgroup::pod_uid(cgroup);
        let key = id.map(str::to_owned).or_else(|| uid.clone())?;
        if let Some(name) = self.known.get(&key) {
            return Some(name.clone());
        }
        if self.missed.contains(&key) {
            return None;
        }
        let name = match id {
            Some(id) => of_container(&self.root, id),
            None => uid.and_then(|uid| of_pod(&self.root, &uid)),
        };
        let Some(name) = name.filter(|name| is_name(name)) else {
            self.missed.insert(key);
            return None;
        };
        if self.known.len() >= MOST_NAMES {
            self.known.clear();
        }
        self.known.insert(key, name.clone());
        Some(name)
    }
}

/// Whatever a file says: something that people can read on one line.
fn is_name(name: &str) -> bool {
    let is_odd = |c: char| c.is_control() || c.is_whitespace();
    !name.is_empty() && name.len() <= LONGEST && !name.contains(is_odd)
}

fn of_container(root: &Path, id: &str) -> Option<String> {
    of_kubelet(root, id)
        .or_else(|| of_docker(root, id))
        .or_else(|| of_containerd(root, id))
        .or_else(|| of_storage(root, id))
}

/// kubelet's links to logs: `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`.
fn of_kubelet(root: &Path, id: &str) -> Option<String> {
    let ending = format!("-{id}.log");
    names_in(&root.join("var/log/containers")).find_map(|name| {
        let mut parts = name.strip_suffix(&ending)?.splitn(3, '_');
        let (pod, namespace, container) = (parts.next()?, parts.next()?, parts.next()?);
        Some(format!("{namespace}/{pod}/{container}"))
    })
}

/// kubelet's folders of logs: `/var/log/pods/NAMESPACE_POD_UID`.
fn of_pod(root: &Path, uid: &str) -> Option<String> {
    let ending = format!("_{uid}");
    names_in(&root.join("var/log/pods")).find_map(|name| {
        let (namespace, pod) = name.strip_suffix(&ending)?.split_once('_')?;
        Some(format!("{namespace}/{pod}"))
    })
}

/// Docker: `/var/lib/docker/containers/ID/config.v2.json`. kubelet leaves its own names there as labels.
fn of_docker(root: &Path, id: &str) -> Option<String> {
    let path = format!("var/lib/docker/containers/{id}/config.v2.json");
    let file = json(&root.join(path))?;
    let labels = &file["Config"]["Labels"];
    of_labels(labels, "io.kubernetes.").or_else(|| {
        let name = file["Name"].as_str()?;
        Some(name.trim_start_matches('/').to_owned())
    })
}

/// containerd: `config.json` of the bundle, a folder for each namespace of containerd's.
fn of_containerd(root: &Path, id: &str) -> Option<String> {
    let tasks = root.join("run/containerd/io.containerd.runtime.v2.task");
    names_in(&tasks).find_map(|namespace| {
        let file = json(&tasks.join(namespace).join(id).join("config.json"))?;
        of_annotations(&file["annotations"])
    })
}

/// CRI-O and Podman: `config.json` beside the container, or the list of all.
fn of_storage(root: &Path, id: &str) -> Option<String> {
    let running = format!("run/containers/storage/overlay-containers/{id}/userdata/config.json");
    let own = json(&root.join(running)).and_then(|file| of_annotations(&file["annotations"]));
    own.or_else(|| {
        let list =
            json(&root.join("var/lib/containers/storage/overlay-containers/containers.json"))?;
        let all = list.as_array()?;
        let its = all.iter().find(|container| container["id"] == id)?;
        Some(its["names"][0].as_str()?.to_owned())
    })
}

fn of_annotations(annotations: &Value) -> Option<String> {
    let of = |key: &str| annotations[key].as_str().filter(|text| !text.is_empty());
    let of_cri = || {
        Some(format!(
            "{}/{}/{}",
            of("io.kubernetes.cri.sandbox-namespace")?,
            of("io.kubernetes.cri.sandbox-name")?,
            of("io.kubernetes.cri.container-name").unwrap_or("sandbox")
        ))
    };
    of_cri()
        .or_else(|| of_labels(annotations, "io.kubernetes."))
        .or_else(|| of("nerdctl/name").map(str::to_owned))
        .or_else(|| of("io.podman.annotations.name").map(str::to_owned))
}

/// Names that kubelet gives a runtime for its own container.
fn of_labels(labels: &Value, prefix: &str) -> Option<String> {
    let of = |key: &str| labels[format!("{prefix}{key}")].as_str();
    Some(format!(
        "{}/{}/{}",
        of("pod.namespace")?,
        of("pod.name")?,
        of("container.name")?
    ))
}

/// Names in a folder; none if it cannot be read.
fn names_in(folder: &Path) -> impl Iterator<Item = String> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .take(MOST_FILES)
        .filter_map(|file| file.file_name().into_string().ok())
}

fn json(path: &Path) -> Option<Value> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(MOST_BYTES).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "5f3c2a10-9b7d-4c1e-8a55-0d9e8f7a6b5c";

    struct Host(tempfile::TempDir);

    impl Host {
        fn new(files: &[(&str, &str)]) -> Self {
            let root = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = root.path().join(path.replace("UID", UID).replace("ID", ID));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text.replace("UID", UID).replace("ID", ID)).unwrap();
            }
            Self(root)
        }

        fn name(&self, cgroup: &str) -> Option<String> {
            let cgroup = cgroup.replace("UID", UID).replace("ID", ID);
            Containers::new(self.0.path()).name(&cgroup)
        }
    }

    #[test]
    fn each_runtime_leaves_a_name_somewhere() {
        let pod = "/kubepods/burstable/podUID/ID";
        let docker = "/system.slice/docker-ID.scope";
        let cri = r#"{"annotations": {"io.kubernetes.cri.sandbox-namespace": "shop",
            "io.kubernetes.cri.sandbox-name": "cart-0", "io.kubernetes.cri.container-name": "web"}}"#;
        let crio = r#"{"annotations": {"io.kubernetes.pod.namespace": "shop",
            "io.kubernetes.pod.name": "cart-0", "io.kubernetes.container.name": "web"}}"#;
        for (file, text, cgroup, name) in [
            (
                "var/log/containers/cart-0_shop_web-ID.log",
                "",
                pod,
                "shop/cart-0/web",
            ),
            (
                "var/lib/docker/containers/ID/config.v2.json",
                r#"{"Name": "/web"}"#,
                docker,
                "web",
            ),
            (
                "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
                cri,
                pod,
                "shop/cart-0/web",
            ),
            (
                "run/containerd/io.containerd.runtime.v2.task/default/ID/config.json",
                r#"{"annotations": {"nerdctl/name": "web"}}"#,
                "/system.slice/nerdctl-ID.scope",
                "web",
            ),
            (
                "run/containers/storage/overlay-containers/ID/userdata/config.json",
                crio,
                "/kubepods.slice/crio-ID.scope",
                "shop/cart-0/web",
            ),
            (
                "var/lib/containers/storage/overlay-containers/containers.json",
                r#"[{"id": "x", "names": ["other"]}, {"id": "ID", "names": ["web"]}]"#,
                "/machine.slice/libpod-ID.scope",
                "web",
            ),
            (
                "var/log/pods/shop_cart-0_UID/web/0.log",
                "",
                "/kubepods/burstable/podUID",
                "shop/cart-0",
            ),
        ] {
            let host = Host::new(&[(file, text)]);
            assert_eq!(host.name(cgroup).as_deref(), Some(name), "{file}");
            assert_eq!(host.name("/system.slice/nginx.service"), None);
            assert_eq!(
                host.name(
                    &cgroup
                        .replace("ID", &ID.replace('0', "f"))
                        .replace("podUID", "podx")
                ),
                None
            );
        }
    }

    #[test]
    fn what_is_damaged_or_no_name_is_none() {
        let path = "var/lib/docker/containers/ID/config.v2.json";
        for text in [
            "",
            "{",
            "[]",
            r#"{"Name": 7}"#,
            r#"{"Name": ""}"#,
            r#"{"Name": "a\nb"}"#,
            "\u{0}",
        ] {
            let host = Host::new(&[(path, text)]);
            assert_eq!(host.name("/docker/ID"), None, "{text}");
        }
        let long = format!(r#"{{"Name": "{}"}}"#, "x".repeat(300));
        assert_eq!(Host::new(&[(path, &long)]).name("/docker/ID"), None);
        assert_eq!(Host::new(&[]).name("/docker/ID"), None);
    }

    #[test]
    fn a_name_is_read_once_and_one_that_comes_later_is_found() {
        let host = Host::new(&[]);
        let mut containers = Containers::new(host.0.path());
        let cgroup = format!("/docker/{ID}");
        assert_eq!(containers.name(&cgroup), None);
        let folder = host
            .0
            .path()
            .join(format!("var/lib/docker/containers/{ID}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.v2.json"), r#"{"Name": "/web"}"#).unwrap();
        assert_eq!(containers.name(&cgroup), None, "nobody has looked again");
        containers.look_again();
        assert_eq!(containers.name(&cgroup).as_deref(), Some("web"));
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(containers.name(&cgroup).as_deref(), Some("web"));
    }
}
