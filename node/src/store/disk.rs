//! The seam under the store: everything it reads and writes passes through [`Disk`] and [`DiskFile`].
//!
//! [`RealDisk`] is a folder. [`MemDisk`](super::MemDisk) is memory that remembers what was synced and what was
//! not, so that a test can cut the power at any operation and see log, journal, index and archive together as the
//! medium would show them afterwards.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{StoreError, io_error};

/// A data folder. Names are relative to it, parts separated by `/`; the empty name is the folder itself.
pub trait Disk: Debug + Send + Sync {
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates a file; an error when it exists. Durable after [`sync_dir`](Self::sync_dir) of its folder.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// The names (without the folder) of the files in a folder, in any order. A missing folder has none.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Gives a file another name, in place of what had that name. Durable after `sync_dir` of the new folder.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Durable after `sync_dir`.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, folder: &str) -> io::Result<()>;
    /// Makes a folder and those above it, durably. Nothing happens when it is there.
    fn make_dir(&self, folder: &str) -> io::Result<()>;
}

/// An open file.
#[allow(clippy::len_without_is_empty)] // Nobody asks.
pub trait DiskFile: Debug + Send + Sync {
    /// Fills `out` from `offset` (bytes); an error when the file ends before.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` at `offset` (bytes), growing the file when it must.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes the content and the length durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file, or grows it with zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
}

/// Name of the lock file in a data folder. It holds the pid of its owner, for the message to the second one.
pub const LOCK_FILE: &str = "lock";

/// A folder of the file system, locked for this process.
#[derive(Debug)]
pub struct RealDisk {
    folder: PathBuf,
    /// The lock is the kernel's and ends with the process, however it ends; the file stays. Every open file keeps it
    /// too: redb writes when it is dropped, and that may be after this.
    lock: Arc<File>,
}

impl RealDisk {
    /// Opens the folder, and makes it (mode 0700: archive segments hold the salts of proofs) when it is not there.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process, or this one, has it open already.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StoreError> {
        let folder = folder.as_ref().to_path_buf();
        let shown = folder.display().to_string();
        if !folder.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(io_error("make the data folder", &shown))?;
            if let Some(parent) = folder.parent().filter(|p| !p.as_os_str().is_empty()) {
                sync_folder(parent).map_err(io_error("sync the folder above", &shown))?;
            }
        }
        let lock = take_lock(&folder, &shown)?;
        Ok(Self { folder, lock: Arc::new(lock) })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.folder.clone() } else { self.folder.join(name) }
    }
}

fn take_lock(folder: &Path, shown: &str) -> Result<File, StoreError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join(LOCK_FILE))
        .map_err(io_error("open the lock file in", shown))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // What the owner wrote is for the message only.
            let _ = (&file).take(32).read_to_string(&mut text);
            return Err(StoreError::Locked { folder: shown.to_owned(), pid: text.trim().parse().ok() });
        }
        Err(TryLockError::Error(why)) => return Err(io_error("lock", shown)(why)),
    }
    let write_pid = || {
        file.set_len(0)?;
        file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)
    };
    write_pid().map_err(io_error("write the lock file in", shown))?;
    Ok(file)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

impl Disk for RealDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path(name))?;
        Ok(Arc::new(RealFile { file, _lock: Arc::clone(&self.lock) }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(self.path(name))?;
        Ok(Arc::new(RealFile { file, _lock: Arc::clone(&self.lock) }))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(folder)) {
            Ok(entries) => entries,
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(why) => return Err(why),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                // A name that is not UTF-8 is none of ours.
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        sync_folder(&self.path(folder))
    }

    fn make_dir(&self, folder: &str) -> io::Result<()> {
        let mut path = self.folder.clone();
        for part in folder.split('/') {
            let above = path.clone();
            path.push(part);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => sync_folder(&above)?,
                Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    _lock: Arc<File>,
}

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
