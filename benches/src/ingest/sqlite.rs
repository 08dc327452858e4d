//! The peer: SQLite as people use it for a log that shows tampering. One row a reading, each with the hash over its
//! content and the hash of the row before; a transaction for each batch, write-ahead log, synced at every commit.
//! Nothing is signed, nothing is compressed.

use std::path::Path;

use anyhow::ensure;
use rusqlite::{Connection, params};
use selvedge_core::reading::Block;

use crate::cpu;

/// Seconds of CPU.
pub(super) fn run(folder: &Path, blocks: &[Block], batch: usize) -> anyhow::Result<f64> {
    let path = folder.join("peer.sqlite");
    let mut connection = Connection::open(&path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(
        "CREATE TABLE readings (
            sequence INTEGER PRIMARY KEY, state INTEGER NOT NULL, counter INTEGER NOT NULL,
            source_time INTEGER NOT NULL, receive_time INTEGER NOT NULL, status INTEGER NOT NULL,
            value INTEGER NOT NULL, hash BLOB NOT NULL
        ) STRICT",
    )?;
    let (seconds, outcome) = cpu::seconds(|| write(&mut connection, blocks, batch));
    outcome?;
    drop(connection);
    check(&path, blocks)?;
    Ok(seconds)
}

fn write(connection: &mut Connection, blocks: &[Block], batch: usize) -> anyhow::Result<()> {
    let mut before = [0; 32];
    let mut sequence = 0_i64;
    for chunk in blocks.chunks(batch) {
        let transaction = connection.transaction()?;
        let mut insert =
            transaction.prepare_cached("INSERT INTO readings VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
        for block in chunk {
            let hash = link(&before, block);
            let word = |at: usize| i64::from_le_bytes(block[at..at + 8].try_into().expect("eight bytes"));
            let [state, counter, source, receive, status, value] = [0, 8, 16, 24, 32, 40].map(word);
            insert.execute(params![sequence, state, counter, source, receive, status, value, hash])?;
            sequence += 1;
            before = hash;
        }
        drop(insert);
        transaction.commit()?;
    }
    Ok(())
}

/// Every row is there, and the chain over what is read back ends where it must.
fn check(path: &Path, blocks: &[Block]) -> anyhow::Result<()> {
    let connection = Connection::open(path)?;
    let mut select = connection.prepare("SELECT * FROM readings ORDER BY sequence")?;
    let mut rows = select.query([])?;
    let (mut before, mut count) = ([0; 32], 0);
    while let Some(row) = rows.next()? {
        let mut block = [0; 48];
        for (bytes, column) in block.chunks_exact_mut(8).zip(1..) {
            bytes.copy_from_slice(&row.get::<_, i64>(column)?.to_le_bytes());
        }
        ensure!(
            row.get::<_, i64>(0)? == count as i64 && blocks.get(count) == Some(&block),
            "row {count} is another"
        );
        before = link(&before, &block);
        ensure!(row.get::<_, [u8; 32]>(7)? == before, "the chain breaks at row {count}");
        count += 1;
    }
    ensure!(count == blocks.len(), "{count} rows of {}", blocks.len());
    Ok(())
}

fn link(before: &[u8; 32], block: &Block) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(block);
    *hasher.finalize().as_bytes()
}
