//! The folder of the lock and of the journal, and the lock: one guard on a host.
//!
//! In: what was asked for, the user, the environment. Out: a folder that only its user can write to; a lock, or who has it.
//! Must not know: what is guarded.

use std::{
    env,
    ffi::OsString,
    fs::{DirBuilder, File, OpenOptions},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use rustix::fs::{FlockOperation, OFlags, flock};

use super::super::args::StateArgs;

const FOLDER: &str = "courtside";
const LOCK: &str = "guard.lock";
/// Whoever may write here decides which limits are written.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The folder, made if it is not there.
pub(in crate::cli) fn folder(args: &StateArgs, root: &Path) -> anyhow::Result<PathBuf> {
    let folder = match &args.state {
        Some(folder) => folder.clone(),
        None if rustix::process::geteuid().is_root() => root.join("run").join(FOLDER),
        None => of_user(env::var_os("RUNTIME_DIRECTORY"), env::var_os("XDG_RUNTIME_DIR")).context(
            "there is no XDG_RUNTIME_DIR for the lock and the journal; name a folder with: --state FOLDER",
        )?,
    };
    if !folder.is_dir() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .with_context(|| {
                format!(
                    "cannot make the folder {} for the lock and the journal; name another one with: --state FOLDER",
                    folder.display()
                )
            })?;
    }
    let metadata = folder
        .metadata()
        .with_context(|| format!("cannot look at the folder {}", folder.display()))?;
    let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
    ensure!(
        is_ours && metadata.mode() & WRITABLE_BY_OTHERS == 0,
        "others can write to the folder {}, and what is noted there is written to control groups; name another one with: --state FOLDER",
        folder.display()
    );
    Ok(folder)
}

/// That of others than root: what systemd has made for a service, or below what a login has.
fn of_user(service: Option<OsString>, login: Option<OsString>) -> Option<PathBuf> {
    let service = service.map(PathBuf::from);
    service.or_else(|| Some(PathBuf::from(login?).join(FOLDER)))
}

/// The lock; held as long as this lives.
#[derive(Debug)]
pub(in crate::cli) struct Lock {
    _file: File,
}

/// Takes the lock.
pub(in crate::cli) fn lock(folder: &Path) -> anyhow::Result<Lock> {
    let path = folder.join(LOCK);
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).context("cannot open the lock")?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_follow)
        .open(&path)
        .with_context(|| {
            format!(
                "cannot open the lock {}; name another folder with: --state FOLDER",
                path.display()
            )
        })?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock { _file: file }),
        Err(rustix::io::Errno::WOULDBLOCK) => bail!(
            "another guard is at work on this host: it holds the lock {}; find it with: pgrep -a courtside",
            path.display()
        ),
        Err(error) => {
            Err(error).with_context(|| format!("cannot take the lock {}", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_guard_and_the_next_one_when_that_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock(folder.path()).unwrap();
        let said = format!("{:#}", lock(folder.path()).unwrap_err());
        assert!(said.contains("another guard is at work"), "{said}");
        assert!(said.contains("guard.lock"), "{said}");
        drop(first);
        lock(folder.path()).unwrap();
    }

    #[test]
    fn others_than_root_have_the_folder_of_their_service_or_of_their_login() {
        let of = |service: Option<&str>, login: Option<&str>| {
            of_user(service.map(OsString::from), login.map(OsString::from))
        };
        let service = Some("/run/courtside-agent");
        assert_eq!(of(service, None), service.map(PathBuf::from));
        assert_eq!(of(service, Some("/run/user/7")), service.map(PathBuf::from));
        let below = Some(PathBuf::from("/run/user/7/courtside"));
        assert_eq!(of(None, Some("/run/user/7")), below);
        assert_eq!(of(None, None), None);
    }

    #[test]
    fn a_folder_that_is_asked_for_is_made_for_its_user_alone() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let wanted = root.path().join("a/b");
        let args = StateArgs {
            state: Some(wanted.clone()),
        };
        assert_eq!(folder(&args, root.path()).unwrap(), wanted);
        let mode = std::fs::metadata(&wanted).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        use std::{fs, os::unix::fs::PermissionsExt};
        let root = tempfile::tempdir().unwrap();
        let args = StateArgs {
            state: Some(root.path().to_owned()),
        };
        assert!(folder(&args, root.path()).is_ok());
        for mode in [0o777, 0o1777, 0o770] {
            fs::set_permissions(root.path(), fs::Permissions::from_mode(mode)).unwrap();
            let said = folder(&args, root.path()).unwrap_err().to_string();
            assert!(said.contains("others can write"), "{said}");
        }
    }
}
