//! Archive segments: the readings of one batch, column by column, compressed, named by their hash.

use std::sync::atomic::{AtomicU64, Ordering};

use selvedge_core::batch::ClosedBatch;
use selvedge_core::hash::{Hash, context, derive};
use selvedge_core::limits;
use selvedge_core::seal::{SealedBatch, decode_columns, encode_columns};

use super::disk::Disk;
use super::error::{StoreError, io_error};

const FOLDER: &str = "archive";
/// Longest segment before compression: what `decode_columns` takes at most, and a little.
const COLUMNS_BYTES_MAX: usize =
    2 * limits::BATCH_BYTES_MAX + limits::BATCH_STREAMS_MAX * limits::DESCRIPTOR_BYTES_MAX;
/// Longest segment after it: zstd adds less than one byte in 128 to what it cannot compress, and a header.
pub const SEGMENT_BYTES_MAX: u64 = (COLUMNS_BYTES_MAX + COLUMNS_BYTES_MAX / 128 + 1024) as u64;
/// A batch is compressed once and kept for ever; 6 costs some milliseconds for 1,000 readings.
const LEVEL: i32 = 6;

/// Tells the temporary files of worker threads apart, should two seal the same batch.
static TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// Seals a batch: writes its archive segment durably. The work of a worker thread for the effect `Seal`.
///
/// Returns the root over the leaves, the hash of the segment, and its length in bytes.
///
/// # Errors
/// When a file operation fails. Nothing is left that a later try would trip over.
pub fn seal(batch: &ClosedBatch, disk: &dyn Disk) -> Result<(Hash, Hash, u64), StoreError> {
    let sealed = SealedBatch::new(batch);
    let root = sealed.root();
    let (segment, bytes) = write(&sealed, disk)?;
    Ok((root, segment, bytes))
}

/// Writes the archive segment of a batch durably. Returns its hash and its length in bytes.
pub fn write(sealed: &SealedBatch, disk: &dyn Disk) -> Result<(Hash, u64), StoreError> {
    let compressed =
        zstd::bulk::compress(&encode_columns(sealed), LEVEL).map_err(io_error("compress", FOLDER))?;
    let segment = hash(&compressed);
    let (folder, name) = name_of(segment);
    disk.make_dir(&folder).map_err(io_error("make", &folder))?;
    let temporary = format!("{folder}/{}.tmp", TEMPORARY.fetch_add(1, Ordering::Relaxed));
    if let Err(why) = put(&compressed, &temporary, &name, disk) {
        // Half a segment on a full card takes the room that the journal needs. The first error is the one to show.
        let _ = disk.remove(&temporary);
        return Err(why);
    }
    disk.sync_dir(&folder).map_err(io_error("sync", &folder))?;
    Ok((segment, compressed.len() as u64))
}

/// Writes beside, syncs, and gives it its name.
fn put(compressed: &[u8], temporary: &str, name: &str, disk: &dyn Disk) -> Result<(), StoreError> {
    let file = match disk.create(temporary) {
        Ok(file) => file,
        // Left by a start that was cut off.
        Err(why) if why.kind() == std::io::ErrorKind::AlreadyExists => {
            let file = disk.open(temporary).map_err(io_error("open", temporary))?;
            file.set_len(compressed.len() as u64).map_err(io_error("set the length of", temporary))?;
            file
        }
        Err(why) => return Err(io_error("create", temporary)(why)),
    };
    file.write_at(0, compressed).map_err(io_error("write", temporary))?;
    file.sync().map_err(io_error("sync", temporary))?;
    disk.rename(temporary, name).map_err(io_error("rename", temporary))?;
    Ok(())
}

/// Reads a segment, and checks its name and every reading in it.
pub fn read(segment: Hash, disk: &dyn Disk) -> Result<SealedBatch, StoreError> {
    decode(segment, &read_compressed(segment, disk)?)
}

/// The hash of a segment's bytes: its name.
pub fn hash(compressed: &[u8]) -> Hash {
    Hash(derive(context::SEGMENT, compressed))
}

/// The batch in a segment, of which every reading is checked.
///
/// # Errors
/// [`StoreError::Archive`] under the name given, when these are not the bytes of a segment.
pub fn decode(segment: Hash, compressed: &[u8]) -> Result<SealedBatch, StoreError> {
    let columns = zstd::bulk::decompress(compressed, COLUMNS_BYTES_MAX)
        .map_err(|why| StoreError::Archive { segment, why: format!("it does not decompress: {why}") })?;
    decode_columns(&columns).map_err(|why| StoreError::archive(segment, &why))
}

/// Reads a segment as it is stored, and checks its name.
pub fn read_compressed(segment: Hash, disk: &dyn Disk) -> Result<Vec<u8>, StoreError> {
    let (_, name) = name_of(segment);
    let file = disk.open(&name).map_err(io_error("open", &name))?;
    let bytes = file.len().map_err(io_error("read the length of", &name))?;
    if bytes > SEGMENT_BYTES_MAX {
        let why = format!("{bytes} bytes, expected at most {SEGMENT_BYTES_MAX}");
        return Err(StoreError::Archive { segment, why });
    }
    let mut compressed = vec![0; bytes as usize];
    file.read_at(0, &mut compressed).map_err(io_error("read", &name))?;
    let got = hash(&compressed);
    if got != segment {
        return Err(StoreError::Archive { segment, why: format!("the hash of its bytes is {got}") });
    }
    Ok(compressed)
}

/// Where the segment with these 64 hexadecimal digits lies under a store's folder.
///
/// # Panics
/// When the digits are fewer than two.
pub fn path_in(store: &std::path::Path, hex: &str) -> std::path::PathBuf {
    store.join(FOLDER).join(&hex[..2]).join(hex)
}

fn name_of(segment: Hash) -> (String, String) {
    let hex = segment.to_hex();
    let folder = format!("{FOLDER}/{}", &hex[..2]);
    let name = format!("{folder}/{hex}");
    (folder, name)
}
