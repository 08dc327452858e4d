//! Archive segments that change hands: `export --segment` gives one out, `prove --segment` proves a reading from one.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde::Serialize;

use super::prove::write_whole;
use super::{Failed, Globals};
use crate::answers::print::{print, print_json};
use crate::answers::prove::{ProofAnswer, ProofQuery};
use crate::answers::segment::SegmentQuery;
use crate::answers::times::count_words;
use crate::api::ask::asking;
use crate::folder::Folder;
use crate::store::archive;

/// What `export --segment --json` says.
#[derive(Debug, Serialize)]
struct Report<'a> {
    file: String,
    bytes: usize,
    batch: u64,
    segment: &'a str,
}

/// Writes the archive segment of an own batch to a file.
pub(super) fn export(batch: u64, output: Option<PathBuf>, globals: &Globals) -> anyhow::Result<ExitCode> {
    let answer = asking(&globals.data, |ask| ask.segment(&SegmentQuery { batch: Some(batch), hash: None }))?;
    let store = Folder::open(&globals.data)?.store_path();
    // Named by its hash and never changed: it is read beside the node.
    let path = archive::path_in(&store, &answer.segment);
    let bytes = fs::read(&path).with_context(|| {
        format!(
            "cannot read {}, the archive segment of batch {batch}; after a restore the readings that peers could not give \
             back are not on this machine",
            path.display()
        )
    })?;
    if archive::hash(&bytes).to_hex() != answer.segment {
        let why = format!(
            "{} is damaged: the hash of its bytes is not its name; keep a copy of the data folder before anything else",
            path.display()
        );
        anyhow::bail!(why);
    }
    let file = output.unwrap_or_else(|| PathBuf::from(format!("batch-{batch}.segment")));
    write_whole(&file, &bytes, 0o600)?;
    let shown = file.display().to_string();
    if globals.json {
        print_json(&Report { file: shown, bytes: bytes.len(), batch, segment: &answer.segment })?;
        return Ok(ExitCode::SUCCESS);
    }
    print(|out| {
        let bytes = count_words(bytes.len() as u64);
        writeln!(
            out,
            "Batch {batch} written to {shown} ({bytes} bytes). It holds all readings of the batch, unlike a"
        )?;
        writeln!(out, "proof. Whoever gets it and holds this ledger proves one of them with")?;
        writeln!(out, "  selvedge prove STREAM latest --segment {}", super::prove::shell_word(&shown))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The proof of a reading in a file that another gateway handed over.
pub(super) fn prove(path: &Path, query: &ProofQuery, globals: &Globals) -> anyhow::Result<ProofAnswer> {
    let folder = Folder::open(&globals.data)?;
    let bytes = read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let hash = archive::hash(&bytes);
    let sealed = archive::decode(hash, &bytes).map_err(|why| {
        Failed(format!(
            "{} is no archive segment, or a damaged one: {why}. Expected a file that `selvedge export --segment` wrote, as \
             it was written",
            path.display()
        ))
    })?;
    let asked = SegmentQuery { hash: Some(hash.to_hex()), batch: None };
    let answer = asking(&globals.data, |ask| ask.segment(&asked))
        .with_context(|| format!("nothing here vouches for {}", path.display()));
    let answer = answer.map_err(|why| keeping_its_code(&why))?;
    let genesis = folder.genesis_bytes();
    let proved = answer.prove(&genesis, &sealed, query);
    proved.map_err(|why| {
        let said = format!("{}: {why}", path.display());
        if why.exit_code() == 1 { Failed(said).into() } else { anyhow::anyhow!(said) }
    })
}

/// An answer of no keeps its exit code under a context.
fn keeping_its_code(why: &anyhow::Error) -> anyhow::Error {
    let said = super::in_words(why);
    if why.downcast_ref::<Failed>().is_some() { Failed(said).into() } else { anyhow::anyhow!(said) }
}

/// The file, or one byte more than the longest segment, which does not decode.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(archive::SEGMENT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
