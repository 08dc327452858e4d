//! How much is done, and where.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

/// Magic number of tmpfs (Linux, `linux/magic.h`).
const TMPFS: u64 = 0x0102_1994;

/// Sizes and folder of this run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) smoke: bool,
    dir: PathBuf,
}

impl Plan {
    pub(crate) fn new(smoke: bool, dir: Option<PathBuf>) -> anyhow::Result<Self> {
        let dir = match dir {
            Some(dir) => dir,
            None => beside_the_program()?,
        };
        ensure!(dir.is_dir(), "{} is no folder; give one with --dir", dir.display());
        Ok(Self { smoke, dir })
    }

    /// The full size, or the one that only shows that it works.
    pub(crate) const fn size(&self, full: usize, smoke: usize) -> usize {
        if self.smoke { smoke } else { full }
    }

    /// Rounds of contestants taking turns.
    pub(crate) const fn rounds(&self) -> usize {
        self.size(5, 1)
    }

    /// A folder on a disk: where a sync costs nothing there is nothing to measure.
    pub(crate) fn folder(&self) -> anyhow::Result<TempDir> {
        let found = rustix::fs::statfs(&self.dir).context("cannot ask the file system")?;
        ensure!(
            self.smoke || u64::try_from(found.f_type).ok() != Some(TMPFS),
            "{} lies in memory, where a sync costs nothing; give a folder on a disk with --dir",
            self.dir.display()
        );
        tempfile::Builder::new().prefix("selvedge-bench-").tempdir_in(&self.dir).with_context(|| {
            format!("cannot make a folder in {}; give another with --dir", self.dir.display())
        })
    }

    /// For the table.
    pub(crate) fn place(&self) -> &Path {
        &self.dir
    }
}

fn beside_the_program() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find this program")?;
    Ok(program.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf))
}
