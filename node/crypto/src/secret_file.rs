//! Files that hold secrets: mode 0600, never in place of another file, written durably, and refused when
//! others could have read them.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

/// The mode that these files are made with.
const MODE: u32 = 0o600;
/// What group and others may do.
const FOREIGN_BITS: u32 = 0o077;

/// Why a secret file was not written or not read.
#[derive(Debug, Error)]
pub enum SecretFileError {
    /// There is a file of this name. It is never overwritten: it may be the only copy of a key.
    #[error("{}: exists already and is not overwritten; move it away or name another file", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Group or others can use the file.
    #[error(
        "{}: mode is {mode:04o}, expected 0600, since others on this machine can read or change this secret; \
         run: chmod 600 '{}'",
        path.display(), path.display()
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file system does not keep modes (FAT, some network shares).
    #[error(
        "{}: written with mode 0600, but the file system made it {mode:04o}; removed again, use a file system \
         that keeps modes (not FAT)",
        path.display()
    )]
    ModeNotKept {
        /// The file.
        path: PathBuf,
        /// The mode that came out.
        mode: u32,
    },
    /// A folder, a socket, a device.
    #[error("{}: not a regular file", path.display())]
    NotAFile {
        /// What it is not.
        path: PathBuf,
    },
    /// Longer than such a file can be.
    #[error("{}: longer than {bytes_max} bytes, so not the file that was expected", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        bytes_max: usize,
    },
    /// The operating system refused.
    #[error("{}: could not {what}: {why}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done.
        what: &'static str,
        /// The reason.
        #[source]
        why: io::Error,
    },
}

/// Writes `bytes` to a new file of mode 0600. When this returns, file and name are on the medium. The file appears
/// whole or not at all, whenever the power goes: it is written beside and then given its name, and of several who do
/// that at once exactly one succeeds.
///
/// # Errors
/// When the file exists, cannot be written, or the file system does not keep the mode.
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), SecretFileError> {
    // Asked first, so that an existing file costs no writing; decided by the link below.
    if path.symlink_metadata().is_ok() {
        return Err(SecretFileError::Exists { path: path.into() });
    }
    let beside = beside(path)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&beside)
        .map_err(io_error(path, "create the file"))?;
    let written = fill(&mut file, path, bytes).and_then(|()| name(&beside, path));
    // Whether it has its name or not. If this fails too, the first error is the one to show, and what is left over
    // has mode 0600.
    let _ = fs::remove_file(&beside);
    written.and_then(|()| sync_folder_of(path))
}

/// A name in the same folder that nobody else uses.
fn beside(path: &Path) -> Result<PathBuf, SecretFileError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|why| io_error(path, "name a file beside it")(io::Error::other(why.to_string())))?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:016x}.part", u64::from_le_bytes(random)));
    Ok(path.with_file_name(name))
}

/// Gives the file its name, unless another has it.
fn name(beside: &Path, path: &Path) -> Result<(), SecretFileError> {
    fs::hard_link(beside, path).map_err(|why| match why.kind() {
        io::ErrorKind::AlreadyExists => SecretFileError::Exists { path: path.into() },
        _ => io_error(path, "give the file its name (the file system must know hard links)")(why),
    })
}

fn fill(file: &mut File, path: &Path, bytes: &[u8]) -> Result<(), SecretFileError> {
    // The umask may have taken bits away, and some file systems add some: before the secret is in it.
    file.set_permissions(Permissions::from_mode(MODE)).map_err(io_error(path, "set mode 0600"))?;
    let mode = mode_of(file, path)?;
    if mode & FOREIGN_BITS != 0 {
        return Err(SecretFileError::ModeNotKept { path: path.into(), mode });
    }
    file.write_all(bytes).map_err(io_error(path, "write"))?;
    file.sync_all().map_err(io_error(path, "sync"))
}

/// The bytes of a file that only its owner can read.
///
/// # Errors
/// When group or others have any right to it, when it is longer than `bytes_max` (no more than that is ever
/// read), or when it cannot be read.
pub fn read(path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    // Asked before opening too: opening a named pipe would wait for a writer.
    let meta = fs::metadata(path).map_err(io_error(path, "read"))?;
    let file = if meta.is_file() { Some(File::open(path).map_err(io_error(path, "open"))?) } else { None };
    let Some(file) = file.filter(|file| file.metadata().is_ok_and(|meta| meta.is_file())) else {
        return Err(SecretFileError::NotAFile { path: path.into() });
    };
    let mode = mode_of(&file, path)?;
    if mode & FOREIGN_BITS != 0 {
        return Err(SecretFileError::Mode { path: path.into(), mode });
    }
    // Room for all of it, and one byte more to see the end: growing would leave a copy behind.
    let room = usize::try_from(meta.len()).unwrap_or(usize::MAX).min(bytes_max) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(io_error(path, "read"))?;
    if bytes.len() > bytes_max {
        return Err(SecretFileError::TooLong { path: path.into(), bytes_max });
    }
    Ok(bytes)
}

fn mode_of(file: &File, path: &Path) -> Result<u32, SecretFileError> {
    let meta = file.metadata().map_err(io_error(path, "read the mode"))?;
    Ok(meta.permissions().mode() & 0o7777)
}

/// Makes the name durable, not only the content.
fn sync_folder_of(path: &Path) -> Result<(), SecretFileError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(io_error(folder, "sync the folder"))
}

fn io_error<'a>(path: &'a Path, what: &'static str) -> impl FnOnce(io::Error) -> SecretFileError + 'a {
    move |why| SecretFileError::Io { path: path.into(), what, why }
}
