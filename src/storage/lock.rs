//! The store directory: one process at a time, one known format.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::error::StorageError;

/// The whole content of `FORMAT`, but for the line's end.
const FORMAT: &str = "warren data format 1";

/// An open store directory; the lock goes with the value, or with the process.
#[derive(Debug)]
pub struct DirectoryLock {
    dir: PathBuf,
    _lock: File,
}

impl DirectoryLock {
    /// The store directory itself.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The folder to give to [`super::Log::recover`].
    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The folder to give to [`super::ColdStore::open`].
    pub fn cold_dir(&self) -> PathBuf {
        self.dir.join("cold")
    }
}

/// Opens the store directory, creating it if need be, and locks it.
///
/// # Errors
/// When another process holds it, it cannot be read or written, or its format is not this program's.
pub fn open_directory(dir: &Path) -> Result<DirectoryLock, StorageError> {
    create_dir(dir)?;
    let lock = lock(dir)?;
    check_format(dir)?;
    Ok(DirectoryLock { dir: dir.to_path_buf(), _lock: lock })
}

/// Creates a directory and those above it so that they survive a power cut.
pub(super) fn create_dir(dir: &Path) -> Result<(), StorageError> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = parent_of(dir);
    create_dir(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(StorageError::io("create directory", dir)(error))
        }
        _ => sync_dir(parent),
    }
}

/// Makes creations, renames and removals inside `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StorageError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(StorageError::io("sync directory", dir))
}

fn parent_of(dir: &Path) -> &Path {
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => dir,
    }
}

fn lock(dir: &Path) -> Result<File, StorageError> {
    let path = dir.join("LOCK");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StorageError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StorageError::Locked { dir: dir.to_path_buf() }),
        Err(TryLockError::Error(error)) => Err(StorageError::io("lock", path)(error)),
    }
}

fn check_format(dir: &Path) -> Result<(), StorageError> {
    let path = dir.join("FORMAT");
    let found = match fs::read(&path) {
        Ok(found) => String::from_utf8_lossy(&found).trim_end().to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return write_format(dir, path),
        Err(error) => return Err(StorageError::io("read", path)(error)),
    };
    if found == FORMAT { Ok(()) } else { Err(unknown_format(path, found)) }
}

/// A directory without FORMAT must be new: data of an unknown format is not to be touched.
fn write_format(dir: &Path, path: PathBuf) -> Result<(), StorageError> {
    if dir.join("log").exists() || dir.join("cold").exists() {
        return Err(unknown_format(path, "(no such file)".to_owned()));
    }
    let draft = dir.join("FORMAT.tmp");
    let write = || -> io::Result<()> {
        let mut file = File::create(&draft)?;
        file.write_all(FORMAT.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&draft, &path)
    };
    write().map_err(StorageError::io("write", &path))?;
    sync_dir(dir)
}

fn unknown_format(path: PathBuf, found: String) -> StorageError {
    StorageError::Format { path, found, expected: FORMAT.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creates_locks_and_opens_again() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("a/b");
        let lock = open_directory(&dir).unwrap();
        let refused = open_directory(&dir).unwrap_err();
        assert!(matches!(&refused, StorageError::Locked { dir: named } if *named == dir));
        assert!(refused.to_string().contains(dir.to_str().unwrap()));
        drop(lock);
        fs::create_dir(dir.join("log")).unwrap();
        open_directory(&dir).unwrap();
    }

    #[test]
    fn refuses_an_unknown_format_by_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("FORMAT"), "warren data format 2\n").unwrap();
        let text = open_directory(dir.path()).unwrap_err().to_string();
        assert!(text.contains("'warren data format 2'") && text.contains("'warren data format 1'"), "{text}");
    }

    #[test]
    fn refuses_data_without_a_format() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("cold")).unwrap();
        assert!(matches!(open_directory(dir.path()), Err(StorageError::Format { .. })));
    }
}
