//! The index: what is asked for by id, number, issuer or stream, in redb. Made of the log alone, so it can be made
//! again.
//!
//! Groups commit without being durable; every so many transactions one commit is. After a crash the index is somewhat
//! behind the log, never ahead of it, and the tail of the log is applied again. A commit never syncs more than redb's
//! file: the log is synced before.

mod apply;
mod view;

use std::io;
use std::sync::Arc;

use redb::{Database, Durability, ReadableDatabase as _, StorageBackend, TableDefinition};
use selvedge_core::hash::{Hash, Issuer, NetworkId};
use serde::{Deserialize, Serialize};

use super::disk::{Disk, DiskFile};
use super::error::{StoreError, index_error, io_error};
use super::log::Place;

pub(crate) use apply::Item;
pub(crate) use view::{StreamRow, StreamSpanRow, View};

/// The file.
pub(crate) const FILE: &str = "index.redb";
/// Made when damage is found while the node runs: the next start makes the index again.
pub(crate) const DAMAGED_FILE: &str = "index.damaged";
/// redb's own default is 1 GiB; more than this buys nothing here.
const CACHE_BYTES: usize = 12 * 1024 * 1024;
/// Changes with every change of a table: an index of another version is made again.
const VERSION: u64 = 1;

/// First eight bytes of an id, and a local number.
const IDS: TableDefinition<'static, (u64, u64), ()> = TableDefinition::new("ids");
/// Local number → place in the log (u64, u32) and the record.
const RECORDS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("records");
/// Number of an issuer, sequence, local number.
const CHAINS: TableDefinition<'static, (u32, u64, u64), ()> = TableDefinition::new("chains");
/// Parent, child.
const CHILDREN: TableDefinition<'static, (u64, u64), ()> = TableDefinition::new("children");
/// Local numbers.
const TIPS: TableDefinition<'static, u64, ()> = TableDefinition::new("tips");
/// Issuer → its number here.
const ISSUERS: TableDefinition<'static, &[u8; 32], u32> = TableDefinition::new("issuers");
/// Number of an issuer → issuer and branch heads.
const HEADS: TableDefinition<'static, u32, &[u8]> = TableDefinition::new("heads");
/// Number of an issuer, place in its list of keys → key number, transaction that brought it, key.
const KEYS: TableDefinition<'static, (u32, u32), &[u8]> = TableDefinition::new("keys");
/// Number of an issuer, sequence.
const FORKS: TableDefinition<'static, (u32, u64), ()> = TableDefinition::new("forks");
/// Name of an own stream → its number here, counter of the next reading in no transaction, newest descriptor.
const STREAMS: TableDefinition<'static, &str, (u32, u64, [u8; 32])> = TableDefinition::new("streams");
/// Hash of a descriptor → place in the log, number of its stream.
const DESCRIPTORS: TableDefinition<'static, &[u8; 32], (u64, u32, u32)> = TableDefinition::new("descriptors");
/// Hash of a descriptor that adopted own batches name and the log does not hold → counter of the next reading under it.
const UNKNOWN: TableDefinition<'static, &[u8; 32], u64> = TableDefinition::new("unknown_descriptors");
/// Number of an own batch on the chain → [`OwnBatch`].
const BATCHES: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("batches");
/// Number of a stream, number of an own batch on the chain, place in its stream table.
type SpanKey = (u32, u64, u32);
/// First counter, count, first and last receive time.
type SpanValue = (u64, u32, i64, i64);
/// Where the readings of a stream are in own batches.
const STREAM_BATCHES: TableDefinition<'static, SpanKey, SpanValue> = TableDefinition::new("stream_batches");
/// Numbers of the index itself: `state::…`.
const STATE: TableDefinition<'static, &str, u64> = TableDefinition::new("state");
/// Network and issuer.
const OWNER: TableDefinition<'static, (), &[u8]> = TableDefinition::new("owner");

/// Names of the numbers in the table `state`.
pub(crate) mod state {
    /// Version of the tables.
    pub(crate) const VERSION: &str = "version";
    /// Number of the first frame of the log that is not applied.
    pub(crate) const APPLIED: &str = "applied";
    /// The next local number.
    pub(crate) const NEXT_NUMBER: &str = "next_number";
    /// The first journal batch that is in no transaction.
    pub(crate) const NEXT_JOURNAL_BATCH: &str = "next_journal_batch";
    /// Number on the chain of the next own batch.
    pub(crate) const NEXT_CHAIN_BATCH: &str = "next_chain_batch";
    /// Own batches that peers gave back.
    pub(crate) const ADOPTED_BATCHES: &str = "adopted_batches";
    /// Greatest wall time of own transactions, ns since 1970 UTC.
    pub(crate) const LAST_WALL_NS: &str = "last_wall_ns";
    /// Bytes of the archive segments of own batches, the adopted ones left out.
    pub(crate) const ARCHIVE_BYTES: &str = "archive_bytes";
}

/// What the index keeps of an own batch that is in a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnBatch {
    /// Local number of the transaction that carries it.
    pub transaction: u64,
    /// Smallest and greatest receive time in it, ns since 1970 UTC.
    pub first_time_ns: i64,
    /// See `first_time_ns`.
    pub last_time_ns: i64,
    /// Readings.
    pub count: u32,
    /// Hash of the archive segment.
    pub segment: Hash,
    /// Its length in bytes.
    pub segment_bytes: u64,
    /// Was it given back by peers? Then its archive segment is not on this machine, unless the disk lost only the
    /// transaction.
    pub adopted: bool,
}

/// The index, for its one writer.
#[derive(Debug)]
pub(crate) struct Index {
    disk: Arc<dyn Disk>,
    database: Arc<Database>,
    owner: Vec<u8>,
}

/// The index, for readers.
#[derive(Debug, Clone)]
pub(crate) struct IndexReader {
    disk: Arc<dyn Disk>,
    database: Arc<Database>,
}

/// redb's file as a file of the data folder.
#[derive(Debug)]
struct Backend(Arc<dyn DiskFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}

impl Index {
    /// Opens the index; redb repairs it when it must. An error when it is damaged, of another version or of another
    /// data folder: then it is to be [made again](Self::make).
    pub(crate) fn open(disk: Arc<dyn Disk>, network: NetworkId, issuer: Issuer) -> Result<Self, StoreError> {
        let file = disk.open(FILE).map_err(io_error("open", FILE))?;
        if file.len().map_err(io_error("read the length of", FILE))? == 0 {
            return Err(StoreError::IndexValue { what: "file of no bytes" });
        }
        let index = Self::with_file(disk, file, network, issuer)?;
        let view = index.reader().view()?;
        if view.state(state::VERSION)? != VERSION {
            return Err(StoreError::IndexValue { what: "version of another program" });
        }
        if view.owner()? != index.owner {
            return Err(StoreError::IndexValue { what: "network or issuer of another data folder" });
        }
        Ok(index)
    }

    /// Makes an empty index in place of what is there.
    pub(crate) fn make(disk: Arc<dyn Disk>, network: NetworkId, issuer: Issuer) -> Result<Self, StoreError> {
        remove_if_there(disk.as_ref(), FILE)?;
        let file = disk.create(FILE).map_err(io_error("create", FILE))?;
        disk.sync_dir("").map_err(io_error("sync the folder of", FILE))?;
        let index = Self::with_file(disk, file, network, issuer)?;
        index.make_tables()?;
        remove_if_there(index.disk.as_ref(), DAMAGED_FILE)?;
        index.disk.sync_dir("").map_err(io_error("sync the folder of", FILE))?;
        Ok(index)
    }

    fn with_file(
        disk: Arc<dyn Disk>,
        file: Arc<dyn DiskFile>,
        network: NetworkId,
        issuer: Issuer,
    ) -> Result<Self, StoreError> {
        // redb panics on some files that it does not like; to us that is damage like any other.
        let open = || redb::Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(Backend(file));
        let database = std::panic::catch_unwind(std::panic::AssertUnwindSafe(open))
            .map_err(|_| StoreError::IndexValue { what: "file (redb gave up on it)" })?
            .map_err(index_error("open its file"))?;
        let owner = [network.0, issuer.0].concat();
        Ok(Self { disk, database: Arc::new(database), owner })
    }

    fn make_tables(&self) -> Result<(), StoreError> {
        const WHAT: &str = "make its tables";
        let mut write = self.database.begin_write().map_err(index_error(WHAT))?;
        write.set_durability(Durability::Immediate).map_err(index_error(WHAT))?;
        write.set_quick_repair(true);
        {
            write.open_table(IDS).map_err(index_error(WHAT))?;
            write.open_table(RECORDS).map_err(index_error(WHAT))?;
            write.open_table(CHAINS).map_err(index_error(WHAT))?;
            write.open_table(CHILDREN).map_err(index_error(WHAT))?;
            write.open_table(TIPS).map_err(index_error(WHAT))?;
            write.open_table(ISSUERS).map_err(index_error(WHAT))?;
            write.open_table(HEADS).map_err(index_error(WHAT))?;
            write.open_table(KEYS).map_err(index_error(WHAT))?;
            write.open_table(FORKS).map_err(index_error(WHAT))?;
            write.open_table(STREAMS).map_err(index_error(WHAT))?;
            write.open_table(DESCRIPTORS).map_err(index_error(WHAT))?;
            write.open_table(UNKNOWN).map_err(index_error(WHAT))?;
            write.open_table(BATCHES).map_err(index_error(WHAT))?;
            write.open_table(STREAM_BATCHES).map_err(index_error(WHAT))?;
            let mut numbers = write.open_table(STATE).map_err(index_error(WHAT))?;
            numbers.insert(state::VERSION, VERSION).map_err(index_error(WHAT))?;
            let mut owner = write.open_table(OWNER).map_err(index_error(WHAT))?;
            owner.insert((), self.owner.as_slice()).map_err(index_error(WHAT))?;
        }
        write.commit().map_err(index_error(WHAT))
    }

    /// For readers.
    pub(crate) fn reader(&self) -> IndexReader {
        IndexReader { disk: Arc::clone(&self.disk), database: Arc::clone(&self.database) }
    }

    /// Everything in all tables, as text: to compare two indexes.
    #[cfg(test)]
    pub(crate) fn dump(&self) -> Vec<String> {
        self.reader().view().expect("a view").dump()
    }
}

impl IndexReader {
    /// The index as the last group left it.
    pub(crate) fn view(&self) -> Result<View, StoreError> {
        let read = self.database.begin_read().map_err(index_error("begin to read"))?;
        Ok(View::new(read))
    }

    /// Sees to it that a damaged index is made again at the next start.
    pub(crate) fn note_damage(&self, error: &StoreError) {
        if error.is_index_damage() && self.disk.create(DAMAGED_FILE).is_ok() {
            // Should this fail too, the next start finds the damage by itself, or this one again.
            let _ = self.disk.sync_dir("");
        }
    }

    /// Length of its file in bytes.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.disk.open(FILE).and_then(|file| file.len()).unwrap_or(0)
    }
}

fn remove_if_there(disk: &dyn Disk, name: &str) -> Result<(), StoreError> {
    match disk.remove(name) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(io_error("remove", name)(why)),
        _ => Ok(()),
    }
}

/// First eight bytes of an id: enough to find it, and the record says whether it is the one.
fn prefix_of(id: &[u8; 32]) -> u64 {
    u64::from_be_bytes(*id.first_chunk().expect("32 bytes"))
}

/// The value of the table `records`.
fn put_record(place: Place, record: &selvedge_core::record::Record) -> Vec<u8> {
    let mut value = Vec::with_capacity(160);
    value.extend_from_slice(&place.segment.to_le_bytes());
    value.extend_from_slice(&place.offset.to_le_bytes());
    value.extend_from_slice(&selvedge_core::codec::encode(record));
    value
}

fn take_record(value: &[u8]) -> Result<(Place, selvedge_core::record::Record), StoreError> {
    let take = || {
        let (segment, rest) = value.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let place = Place { segment: u64::from_le_bytes(*segment), offset: u32::from_le_bytes(*offset) };
        Some((place, postcard::from_bytes(rest).ok()?))
    };
    take().ok_or(StoreError::IndexValue { what: "record" })
}
