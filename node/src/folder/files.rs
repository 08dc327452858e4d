//! Reading and writing the files of a data folder.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::FolderError;

/// Is there such a file? A folder that cannot be searched is an error, not a no.
pub(super) fn is_there(path: &Path) -> Result<bool, FolderError> {
    path.try_exists().map_err(|why| FolderError::Io { what: "look for", path: path.to_owned(), why })
}

/// A file of at most the length of a genesis.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, FolderError> {
    let io = |why| FolderError::Io { what: "read", path: path.to_owned(), why };
    let bytes_max = selvedge_core::limits::GENESIS_BYTES_MAX as u64;
    if fs::metadata(path).map_err(io)?.len() > bytes_max {
        return Err(FolderError::Content {
            path: path.to_owned(),
            why: format!("longer than {bytes_max} bytes; this is no file of a data folder"),
        });
    }
    fs::read(path).map_err(io)
}

/// The folder that holds this file.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a whole file or none: beside it first, synced, then renamed. Mode 0600.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let io = |what| move |why| FolderError::Io { what, path: path.to_owned(), why };
    let folder = folder_of(path);
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io("write beside"))?;
    file.write_all(bytes).map_err(io("write"))?;
    file.as_file().sync_all().map_err(io("sync"))?;
    file.persist(path).map_err(|e| io("write")(e.error))?;
    sync_folder_of(path)
}

/// Makes a change of names durable.
pub(super) fn sync_folder_of(path: &Path) -> Result<(), FolderError> {
    let folder = folder_of(path);
    let synced = fs::File::open(folder).and_then(|f| f.sync_all());
    synced.map_err(|why| FolderError::Io { what: "sync the folder of", path: path.to_owned(), why })
}

/// Makes a folder of mode 0700, and those above it, unless they are there. Their names are durable.
pub(crate) fn make_private_folder(path: &Path) -> Result<(), FolderError> {
    use std::os::unix::fs::DirBuilderExt as _;
    if is_there(path)? {
        return Ok(());
    }
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|why| FolderError::Io { what: "make the folder", path: path.to_owned(), why })?;
    sync_folder_of(path)
}
