//! Figure 5: bytes of an archive segment for each reading, every leaf rebuilt exactly from what was read back.
//!
//! The data is that of [`Plant`]: levels and flows as floats, counters, temperatures, switches; each stream once a
//! second, half of them with the receive time as source time, alike within a poll, half with a source time of their
//! own and a receive time that jitters by itself.

use std::sync::Arc;

use anyhow::ensure;
use selvedge::store::{RealDisk, archive};
use selvedge_core::batch::{BatchContent, BatchStream, ClosedBatch};
use selvedge_core::reading::Reading;
use selvedge_core::seal::SealedBatch;
use selvedge_core::stream::Descriptor;

use crate::cpu::Samples;
use crate::figure::{Figure, Goal, Report, number};
use crate::plan::Plan;
use crate::plant::Plant;

/// A reading with its salt: what is hashed.
const RAW_BYTES: f64 = 64.0;

pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    let folder = plan.folder()?;
    let disk = RealDisk::open(folder.path().join("store"))?;
    let batches = plan.size(20, 2);
    let bytes_of = |devices, per_device, readings| -> anyhow::Result<Samples> {
        (0..batches).map(|seed| bytes_a_reading(&disk, devices, per_device, readings, seed as u64)).collect()
    };
    let bytes = bytes_of(2, 10, 1_000)?;
    let figure = Figure::of(5, "bytes", "B", &bytes)
        .against("a reading and its salt as they are hashed", RAW_BYTES)
        .goal(Goal::Measured(8.0));
    let notes = vec![format!(
        "5: 20 streams once a second, 1,000 readings a batch, {batches} batches, all leaves rebuilt; with 4,096 a batch {} \
         B; 100 streams at 1,000 a batch (10 readings each, the default's ten seconds) {} B, at 4,096 {} B. Elsewhere, \
         not measured here: git 12.0 B, VictoriaMetrics 10.1 B (without the source tag)",
        number(bytes_of(2, 10, 4_096)?.median()),
        number(bytes_of(2, 50, 1_000)?.median()),
        number(bytes_of(2, 50, 4_096)?.median()),
    )];
    Ok(Report { figures: vec![figure], notes })
}

/// Seals one batch as a gateway does and reads it back; bytes of the file for each reading.
fn bytes_a_reading(
    disk: &RealDisk,
    devices: usize,
    per_device: usize,
    readings: usize,
    seed: u64,
) -> anyhow::Result<f64> {
    let batch = closed_batch(&mut Plant::new(devices, per_device, seed), readings, seed);
    let (root, segment, bytes) = archive::seal(&batch, disk)?;
    let read = archive::read(segment, disk)?;
    check(&batch, &read)?;
    ensure!(read.root() == root, "the root after reading back is another");
    let stored = archive::read_compressed(segment, disk)?.len() as u64;
    ensure!(stored == bytes, "the segment has {stored} bytes, not the {bytes} that sealing said");
    Ok(bytes as f64 / readings as f64)
}

/// Every leaf from the archive is the leaf of the reading that went in.
fn check(batch: &ClosedBatch, read: &SealedBatch) -> anyhow::Result<()> {
    let (expected, got) = (SealedBatch::new(batch).leaves(), read.leaves());
    ensure!(expected.len() == got.len(), "{} leaves of {}", got.len(), expected.len());
    match expected.iter().zip(&got).position(|(expected, got)| expected != got) {
        Some(leaf) => anyhow::bail!("leaf {leaf} is not rebuilt"),
        None => Ok(()),
    }
}

/// A batch as the core closes it, with counters that did not start today.
pub(crate) fn closed_batch(plant: &mut Plant, readings: usize, seed: u64) -> ClosedBatch {
    let first = 1_000_000 + seed * 10_000;
    let descriptors: Vec<Arc<[u8]>> = plant.descriptors().iter().map(|d| d.to_bytes().into()).collect();
    let mut content = BatchContent::new(seed);
    for descriptor in &descriptors {
        content.streams.push(BatchStream { descriptor: Descriptor::hash_of(descriptor), first, count: 0 });
    }
    for reading in plant.submissions(readings).into_iter().flatten() {
        let stream_index = reading.stream.0;
        let stream = &mut content.streams[stream_index as usize];
        let reading = Reading {
            stream_index,
            counter: first + u64::from(stream.count),
            source_time_ns: reading.source_time_ns,
            receive_time_ns: reading.receive_time_ns,
            quality: reading.quality,
            flags: reading.flags,
            status: reading.status,
            value: reading.value,
        };
        stream.count += 1;
        content.blocks.push(reading.to_block());
    }
    let secret = *blake3::hash(&seed.to_le_bytes()).as_bytes();
    ClosedBatch { number: content.number, content, secret, descriptors }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_leaf_is_noticed() {
        let batch = closed_batch(&mut Plant::new(2, 10, 1), 100, 1);
        let mut sealed = SealedBatch::new(&batch);
        check(&batch, &sealed).unwrap();
        sealed.blocks[99][40] ^= 1;
        assert!(check(&batch, &sealed).is_err());
        sealed.blocks.pop();
        assert!(check(&batch, &sealed).is_err());
    }
}
