//! A folder's store, opened; and whether the gateway's own chain in it is whole. A gateway that lost part of what it
//! signed must not sign on: it would contradict proofs that others hold. The word on that lies in the data folder,
//! outside the store, so that it outlives the store's repair and a store that is gone.

use std::sync::Arc;

use selvedge_core::border::Restored;
use thiserror::Error;

use crate::folder::{Folder, FolderError};
use crate::store::{Disk, OpenReport, Store, StoreError, StoreOptions};

/// Why a folder's store cannot be opened.
#[derive(Debug, Error)]
pub enum ChainError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// A folder's store.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// Where the ledger stands.
    pub restored: Restored,
    /// What opening found.
    pub report: OpenReport,
}

impl Opened {
    /// Sequence of the gateway's newest transaction in the store; `None`: it holds none.
    pub fn own_newest(&self, folder: &Folder) -> Option<u64> {
        let own = self.restored.issuers.iter().find(|state| state.issuer == folder.issuer())?;
        own.heads.first().map(|head| head.sequence)
    }
}

/// Opens the store of a folder. A chain that is not whole marks the folder: from then on nothing is issued, until peers
/// have said how far it goes and what was missing is here, or the operator has brought it back.
///
/// # Errors
/// When the store cannot be opened, or the mark cannot be written.
pub fn open(folder: &Folder, disk: Arc<dyn Disk>) -> Result<Opened, ChainError> {
    let (store, restored, report) = Store::open(disk, &StoreOptions::new(folder.network(), folder.issuer()))?;
    let opened = Opened { store, restored, report };
    let is_gone = folder.has_issued()? && opened.own_newest(folder).is_none();
    if (is_gone || opened.report.lost_entries > 0) && !folder.restored_mark()? {
        folder.mark_without_chain()?;
        tracing::error!(
            lost_entries = opened.report.lost_entries,
            store_is_empty = is_gone,
            "part of what this gateway signed is gone from its store (a card that lies, a folder that is not mounted, \
             a restored image): nothing is issued until peers have given it back, since it could contradict proofs that \
             others hold. Without peers, put the newest store back, then `selvedge key restore`"
        );
    }
    Ok(opened)
}
