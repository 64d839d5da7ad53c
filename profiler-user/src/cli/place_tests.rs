//! Where files go: never over what is read, never through a link, whole or not at all.

use std::{
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
};

use super::*;

struct Here(tempfile::TempDir);

impl Here {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn write(path: &Path, inputs: &Inputs, text: &str) -> anyhow::Result<()> {
    let (mut file, new) = Place::open(path, READABLE, inputs)?.into_file()?;
    file.write_all(text.as_bytes())?;
    new.map_or(Ok(()), |mut new| new.place())
}

fn refused(path: &Path, inputs: &Inputs) -> String {
    format!("{:#}", write(path, inputs, "new").unwrap_err())
}

#[test]
fn what_is_read_is_not_written_whatever_it_is_called() {
    let here = Here::new();
    let file = here.file("x.rec", "a recording");
    let other = here.file("x.rec.2", "its other part");
    let inputs = Inputs::of_recording(&file);
    fs::hard_link(&file, here.path("hard")).unwrap();
    symlink(&file, here.path("soft")).unwrap();
    symlink(here.0.path(), here.path("folder")).unwrap();
    for path in [
        file.clone(),
        other.clone(),
        here.path("hard"),
        here.path("soft"),
        here.path("folder/x.rec"),
        here.path("./x.rec"),
    ] {
        let said = refused(&path, &inputs);
        assert!(
            said.contains("the recording that is read") || said.contains("symbolic link"),
            "{said}"
        );
    }
    // Also where it came there in between.
    let late = here.path("late");
    let (mut to, new) = Place::open(&late, READABLE, &inputs)
        .unwrap()
        .into_file()
        .unwrap();
    to.write_all(b"new").unwrap();
    fs::rename(&file, &late).unwrap();
    assert!(new.unwrap().place().is_err());
    assert_eq!(fs::read_to_string(late).unwrap(), "a recording");
    assert_eq!(fs::read_to_string(other).unwrap(), "its other part");
    assert!(!here.names().iter().any(|name| name.ends_with(".part")));
}

#[test]
fn a_descriptor_that_is_the_recording_is_refused() {
    use std::os::fd::AsRawFd;
    let here = Here::new();
    let path = here.file("x.rec", "a recording");
    let open = File::options().append(true).open(&path).unwrap();
    let inputs = Inputs::of_recording(&path);
    for folder in ["/dev/fd", "/proc/self/fd"] {
        let name = format!("{folder}/{}", open.as_raw_fd());
        let said = refused(Path::new(&name), &inputs);
        assert!(said.contains("the recording that is read"), "{said}");
    }
    assert_eq!(fs::read_to_string(path).unwrap(), "a recording");
}

#[test]
fn a_file_is_whole_or_not_there() {
    let here = Here::new();
    let path = here.file("x", "old");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    fs::hard_link(&path, here.path("kept")).unwrap();
    let begun = Place::open(&path, READABLE, &Inputs::default()).unwrap();
    assert_eq!(here.names().len(), 3);
    drop(begun);
    assert_eq!(here.names(), ["kept", "x"]);
    write(&path, &Inputs::default(), "new").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    assert_eq!(fs::read_to_string(here.path("kept")).unwrap(), "old");
}

#[test]
fn no_link_is_followed() {
    let here = Here::new();
    let dear = here.file("dear", "to me");
    symlink(&dear, here.path("link")).unwrap();
    symlink(here.path("nowhere"), here.path("dangling")).unwrap();
    for name in ["link", "dangling"] {
        let said = refused(&here.path(name), &Inputs::default());
        assert!(said.contains("is a symbolic link"), "{said}");
        // Neither as a folder, whether or not it ends in a slash.
        for path in [here.path(name), here.path(&format!("{name}/"))] {
            let said = format!("{:#}", Folder::make(&path).unwrap_err());
            assert!(said.contains("is a symbolic link"), "{said}");
        }
    }
    assert_eq!(here.names(), ["dangling", "dear", "link"]);
    assert_eq!(fs::read_to_string(dear).unwrap(), "to me");
}

#[test]
fn in_a_folder_of_tables_no_link_is_followed_either() {
    let here = Here::new();
    let file = here.file("x.rec", "a recording");
    fs::create_dir(here.path("shop")).unwrap();
    fs::hard_link(&file, here.path("shop/hard.csv")).unwrap();
    symlink(&file, here.path("shop/soft.csv")).unwrap();
    let folder = Folder::make(&here.path("shop")).unwrap();
    let inputs = Inputs::of_recording(&file);
    for name in ["hard.csv", "soft.csv"] {
        assert!(folder.begin(name.as_ref(), READABLE, &inputs).is_err());
    }
    assert_eq!(fs::read_to_string(file).unwrap(), "a recording");
}

#[test]
fn pipes_and_devices_are_written_through() {
    let here = Here::new();
    let fifo = here.path("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || fs::read_to_string(fifo).unwrap()
    });
    write(&fifo, &Inputs::default(), "text").unwrap();
    assert_eq!(reader.join().unwrap(), "text");
    write(Path::new("/dev/null"), &Inputs::default(), "text").unwrap();
    for name in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let place = Place::open(Path::new(name), READABLE, &Inputs::default()).unwrap();
        assert!(matches!(place, Place::Stdout), "{name}");
    }
    assert_eq!(here.names(), ["fifo"]);
}

#[test]
fn a_new_file_never_takes_anothers_name() {
    let here = Here::new();
    let folder = Folder::open(here.0.path()).unwrap();
    here.file("a", "dear");
    symlink("nowhere", here.path("b")).unwrap();
    let new = || folder.begin_new(PRIVATE).unwrap();
    let names = || ["a", "b", "c"].map(str::to_owned);
    assert_eq!(new().place_new(names()).unwrap(), "c");
    assert_eq!(fs::metadata(here.path("c")).unwrap().mode() & 0o777, 0o600);
    let said = new().place_new(names()).unwrap_err().to_string();
    assert!(said.contains("there is a file of that name"), "{said}");
    assert_eq!(here.names(), ["a", "b", "c"]);
}
