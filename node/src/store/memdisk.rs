//! A [`Disk`] in memory that remembers what is synced and what is not, and fails on demand. For tests and benches.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::{Disk, DiskFile};

/// What a medium writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// What a power cut does to what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPolicy {
    /// Everything reached the medium after all (also what `kill -9` leaves).
    KeepAll,
    /// Nothing did; new names are gone too.
    DropAll,
    /// A random subset of the sectors did, and some of the new names.
    RandomSectors,
    /// For each file what was written first did, up to a random sector, of which half did.
    Torn,
    /// As `RandomSectors`, but what did not reach the medium is garbage, not what was there before.
    Garbage,
}

impl CrashPolicy {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::KeepAll, Self::DropAll, Self::RandomSectors, Self::Torn, Self::Garbage];
}

/// When operations fail. Operations are counted from 0, reads included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// The operation with this count fails.
    pub fail_at: Option<u64>,
    /// So do all after it: the power is gone.
    pub and_after: bool,
    /// After this many bytes in writes there is no space.
    pub space_bytes: Option<u64>,
    /// Syncs of files and folders whose name begins like this say yes and do nothing: a card that lies, or a sync
    /// that somebody took out. The empty text: all of them.
    pub ignore_syncs: Option<&'static str>,
}

/// A data folder in memory. Clones are the same folder.
#[derive(Debug, Clone, Default)]
pub struct MemDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of names that no `sync_dir` covers, oldest first.
    pending_names: Vec<NameChange>,
    faults: Faults,
    operations: u64,
    syncs: u64,
    written: u64,
    largest_read: usize,
}

#[derive(Debug, Default, Clone)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since the last sync, each with the count of the write.
    dirty: BTreeMap<usize, u64>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Link {
        name: String,
        inode: usize,
    },
    /// A name made durable names its content, also when the old name never was.
    Rename {
        from: String,
        to: String,
        inode: usize,
    },
    Remove {
        name: String,
    },
}

impl NameChange {
    fn folder(&self) -> &str {
        let (Self::Link { name, .. } | Self::Rename { to: name, .. } | Self::Remove { name }) = self;
        folder_of(name)
    }
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link { name, inode } => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
            Self::Remove { name } => {
                names.remove(name);
            }
        }
    }
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A small generator (splitmix64): the same crash for the same seed.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

impl MemDisk {
    /// An empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked elsewhere may still look.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// From now on these operations fail. Counting starts again at 0.
    pub fn set_faults(&self, faults: Faults) {
        let mut state = self.lock();
        state.faults = faults;
        state.operations = 0;
        state.written = 0;
    }

    /// Operations since the faults were set, or since the start.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Syncs of files since the start.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Most bytes asked for in one read since the start: what damaged lengths make a reader allocate.
    pub fn largest_read(&self) -> usize {
        self.lock().largest_read
    }

    /// The folder after the power came back, all of it durable and without faults. This one stays as it is.
    #[must_use]
    pub fn crash(&self, policy: CrashPolicy, seed: u64) -> Self {
        let state = self.lock();
        let mut random = Random(seed);
        let names = state.names_after(policy, &mut random);
        let mut after = State::default();
        for (name, inode) in names {
            let content = state.inodes[inode].after(policy, &mut random);
            after.names.insert(name, after.inodes.len());
            after.inodes.push(Inode { durable: content.clone(), content, dirty: BTreeMap::new() });
        }
        after.durable_names = after.names.clone();
        Self { state: Arc::new(Mutex::new(after)) }
    }

    /// The whole content of a file, synced or not.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        state.names.get(name).map(|inode| state.inodes[*inode].content.clone())
    }

    /// Changes bytes of a file behind everybody's back, durably.
    ///
    /// # Panics
    /// When there is no such file, or it ends before.
    pub fn damage(&self, name: &str, offset: usize, bytes: &[u8]) {
        let mut state = self.lock();
        let inode = state.names[name];
        let Inode { content, durable, .. } = &mut state.inodes[inode];
        content[offset..offset + bytes.len()].copy_from_slice(bytes);
        if durable.len() >= offset + bytes.len() {
            durable[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// All names.
    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    fn file(&self, name: &str, inode: usize) -> Arc<dyn DiskFile> {
        Arc::new(MemFile { disk: self.clone(), name: name.to_owned(), inode })
    }
}

impl State {
    fn count(&mut self) -> io::Result<()> {
        let count = self.operations;
        self.operations += 1;
        match self.faults.fail_at {
            Some(at) if count == at || (count > at && self.faults.and_after) => {
                Err(io::Error::other(format!("fault of the test at operation {count}")))
            }
            _ => Ok(()),
        }
    }

    fn ignores_sync(&self, name: &str) -> bool {
        self.faults.ignore_syncs.is_some_and(|prefix| name.starts_with(prefix))
    }

    /// The power goes while an operation runs: what it wrote may or may not be on the medium.
    fn is_cut_now(&self) -> bool {
        self.faults.and_after && self.faults.fail_at == Some(self.operations.wrapping_sub(1))
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    fn names_after(&self, policy: CrashPolicy, random: &mut Random) -> BTreeMap<String, usize> {
        let folders: BTreeSet<&str> = self.pending_names.iter().map(NameChange::folder).collect();
        let mut left: BTreeMap<&str, usize> = BTreeMap::new();
        for folder in folders {
            let changes = self.pending_names.iter().filter(|c| c.folder() == folder).count();
            let kept = match policy {
                CrashPolicy::KeepAll => changes,
                CrashPolicy::DropAll => 0,
                _ => random.below(changes + 1),
            };
            left.insert(folder, kept);
        }
        let mut names = self.durable_names.clone();
        for change in &self.pending_names {
            let left = left.get_mut(change.folder()).expect("counted above");
            if *left > 0 {
                *left -= 1;
                change.apply(&mut names);
            }
        }
        names
    }
}

impl Inode {
    fn write(&mut self, offset: usize, bytes: &[u8], count: u64) {
        let end = offset + bytes.len();
        if self.content.len() < end {
            self.resize(end, count);
        }
        self.content[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            self.dirty.insert(sector, count);
        }
    }

    fn resize(&mut self, length: usize, count: u64) {
        let before = self.content.len();
        self.content.resize(length, 0);
        self.dirty.split_off(&length.div_ceil(SECTOR_BYTES));
        // Growing writes zeros, also where the medium still has what was there before a cut.
        for sector in before / SECTOR_BYTES..length.div_ceil(SECTOR_BYTES) {
            self.dirty.insert(sector, count);
        }
    }

    fn sync(&mut self) {
        self.durable.resize(self.content.len(), 0);
        for sector in std::mem::take(&mut self.dirty).into_keys() {
            copy_sector(&self.content, &mut self.durable, sector);
        }
    }

    fn after(&self, policy: CrashPolicy, random: &mut Random) -> Vec<u8> {
        if policy == CrashPolicy::KeepAll {
            return self.content.clone();
        }
        let mut after = self.durable.clone();
        if policy == CrashPolicy::DropAll || (self.dirty.is_empty() && self.content.len() == after.len()) {
            return after;
        }
        if random.coin() {
            after.resize(self.content.len(), 0);
        }
        let mut order: Vec<(u64, usize)> =
            self.dirty.iter().map(|(sector, count)| (*count, *sector)).collect();
        order.sort_unstable();
        let torn_at = random.below(order.len() + 1);
        for (at, (_, sector)) in order.into_iter().enumerate() {
            match policy {
                CrashPolicy::Torn if at < torn_at => keep_sector(&self.content, &mut after, sector),
                CrashPolicy::Torn if at == torn_at => keep_half(&self.content, &mut after, sector),
                CrashPolicy::Torn => {}
                _ if random.coin() => keep_sector(&self.content, &mut after, sector),
                CrashPolicy::Garbage => fill_garbage(&mut after, sector, random),
                _ => {}
            }
        }
        after
    }
}

fn range_of(sector: usize, length: usize) -> std::ops::Range<usize> {
    (sector * SECTOR_BYTES).min(length)..((sector + 1) * SECTOR_BYTES).min(length)
}

fn copy_sector(from: &[u8], to: &mut [u8], sector: usize) {
    let range = range_of(sector, from.len().min(to.len()));
    to[range.clone()].copy_from_slice(&from[range]);
}

fn keep_sector(from: &[u8], to: &mut Vec<u8>, sector: usize) {
    let end = range_of(sector, from.len()).end;
    if to.len() < end {
        to.resize(end, 0);
    }
    copy_sector(from, to, sector);
}

fn keep_half(from: &[u8], to: &mut [u8], sector: usize) {
    let range = range_of(sector, from.len().min(to.len()));
    let half = range.start..range.start + range.len() / 2;
    to[half.clone()].copy_from_slice(&from[half]);
}

fn fill_garbage(to: &mut [u8], sector: usize, random: &mut Random) {
    let range = range_of(sector, to.len());
    for byte in &mut to[range] {
        *byte = random.next() as u8;
    }
}

fn not_found(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{name} does not exist"))
}

impl Disk for MemDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        state.count()?;
        let inode = *state.names.get(name).ok_or_else(|| not_found(name))?;
        Ok(self.file(name, inode))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        state.count()?;
        if state.names.contains_key(name) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{name} exists")));
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.change_name(NameChange::Link { name: name.to_owned(), inode });
        Ok(self.file(name, inode))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut state = self.lock();
        state.count()?;
        let within = state.names.keys().filter(|n| folder_of(n) == folder);
        Ok(within.map(|n| n.rsplit('/').next().unwrap_or(n).to_owned()).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.count()?;
        let inode = *state.names.get(from).ok_or_else(|| not_found(from))?;
        state.change_name(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), inode });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.count()?;
        if !state.names.contains_key(name) {
            return Err(not_found(name));
        }
        state.change_name(NameChange::Remove { name: name.to_owned() });
        Ok(())
    }

    fn sync_dir(&self, folder: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.count()?;
        if state.ignores_sync(folder) {
            return Ok(());
        }
        let pending = std::mem::take(&mut state.pending_names);
        let (covered, open): (Vec<_>, Vec<_>) = pending.into_iter().partition(|c| c.folder() == folder);
        for change in &covered {
            change.apply(&mut state.durable_names);
        }
        state.pending_names = open;
        Ok(())
    }

    fn make_dir(&self, _folder: &str) -> io::Result<()> {
        self.lock().count()
    }
}

#[derive(Debug)]
struct MemFile {
    disk: MemDisk,
    /// The name under which it was opened.
    name: String,
    inode: usize,
}

impl DiskFile for MemFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.count()?;
        state.largest_read = state.largest_read.max(out.len());
        let content = &state.inodes[self.inode].content;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = from.checked_add(out.len()).and_then(|end| content.get(from..end));
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        let outcome = state.count();
        let count = state.operations;
        let room = state.faults.space_bytes.map_or(u64::MAX, |space| space.saturating_sub(state.written));
        let fits = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if outcome.is_err() && !state.is_cut_now() {
            return outcome;
        }
        state.written += fits as u64;
        state.inodes[self.inode].write(offset as usize, &bytes[..fits], count);
        if fits < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        outcome
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.count()?;
        state.syncs += 1;
        if !state.ignores_sync(&self.name) {
            state.inodes[self.inode].sync();
        }
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.count()?;
        let count = state.operations;
        state.inodes[self.inode].resize(bytes as usize, count);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().inodes[self.inode].content.len() as u64)
    }
}
