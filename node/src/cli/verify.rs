//! `selvedge verify`: a proof file against the network that the verifier trusts. No data folder, no network.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use selvedge_core::NetworkId;
use selvedge_core::limits::GENESIS_BYTES_MAX;
use selvedge_proof::{PROOF_BYTES_MAX, Refusal, Trust, Verdict};

use super::Globals;
use crate::answers::print::{print, print_json};

const AFTER_HELP: &str = "\
Examples:
  selvedge verify level.proof --network svnet1...
  selvedge verify level.proof --genesis genesis.bin
  selvedge verify level.proof                              says which network it names, trusts none

Take the network's id from somebody whom you trust, not from whoever gave you the file: anybody can invent a whole \
network with the same names.

Exit codes: 0 verified; 1 refused, with the link that does not hold; 2 wrong use, or the file cannot be read; \
3 consistent, but nobody said which network to trust.";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The proof file.
    file: PathBuf,
    /// The id of the network that you trust (svnet1...).
    #[arg(long, value_name = "ID", conflicts_with = "genesis")]
    network: Option<String>,
    /// The genesis of the network that you trust.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
}

/// Verifies the proof in a file: the one function behind every word about a proof that this program says.
///
/// # Errors
/// When the file cannot be read. That the proof does not hold is no error but the inner [`Refusal`].
pub fn verify_file(path: &Path, trust: Trust<'_>) -> io::Result<Result<Verdict, Refusal>> {
    let bytes = read_at_most(path, PROOF_BYTES_MAX)?;
    Ok(selvedge_proof::verify(&bytes, trust, selvedge_crypto::default_verifier().as_ref()))
}

/// The file, or one byte more than the limit of a longer one, which no decoder takes.
fn read_at_most(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Runs it.
pub fn run(Args { file, network, genesis }: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let network: Option<NetworkId> =
        network.map(|text| selvedge_crypto::ids::parse(&text)).transpose().context("--network")?;
    let genesis = genesis.map(|path| read_genesis(&path)).transpose()?;
    let trust = match (network, &genesis) {
        (Some(id), _) => Trust::Network(id),
        (None, Some(bytes)) => Trust::Genesis(bytes),
        (None, None) => Trust::Nobody,
    };
    let outcome = verify_file(&file, trust).with_context(|| format!("cannot read {}", file.display()))?;
    let code = match &outcome {
        Ok(verdict) => verdict.exit_code(),
        Err(refusal) => refusal.exit_code(),
    };
    match outcome {
        Ok(verdict) if globals.json => print_json(&verdict)?,
        Ok(verdict) => print(|out| writeln!(out, "{verdict}"))?,
        Err(refusal) if globals.json => print_json(&refusal.report())?,
        Err(refusal) => print(|out| writeln!(out, "{}", refusal_words(&refusal)))?,
    }
    Ok(ExitCode::from(code))
}

/// Why a proof is refused, for people.
pub fn refusal_words(refusal: &Refusal) -> String {
    format!("Refused: {refusal}.\nThis file proves nothing.")
}

fn read_genesis(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes =
        read_at_most(path, GENESIS_BYTES_MAX).with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() > GENESIS_BYTES_MAX {
        bail!(
            "{} is longer than {GENESIS_BYTES_MAX} bytes, so it is no genesis; expected the genesis.bin of a data folder",
            path.display()
        );
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use selvedge_proof::Link;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_network_is_pinned_by_id_or_by_genesis_and_not_by_both() {
        let parse =
            |line: &[&str]| Alone::try_parse_from(std::iter::once("verify").chain(line.iter().copied()));
        assert!(parse(&["f", "--network", "svnet1"]).is_ok());
        assert!(parse(&["f", "--genesis", "g"]).is_ok());
        assert!(parse(&["f", "--network", "svnet1", "--genesis", "g"]).is_err());
        assert!(parse(&[]).is_err());
    }

    #[test]
    fn what_is_no_proof_is_refused_and_what_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        assert_eq!(verify_file(&path, Trust::Nobody).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(verify_file(folder.path(), Trust::Nobody).is_err(), "a folder");
        for content in [Vec::new(), b"hello".to_vec(), b"SVPROOF\n".to_vec(), vec![0; PROOF_BYTES_MAX + 10]] {
            std::fs::write(&path, &content).unwrap();
            let refusal = verify_file(&path, Trust::Nobody).unwrap().unwrap_err();
            assert_eq!((refusal.link(), refusal.exit_code()), (Link::File, 1), "{} bytes", content.len());
            assert!(refusal_words(&refusal).starts_with("Refused: "));
        }
        let mut long = selvedge_proof::MAGIC.to_vec();
        long.resize(PROOF_BYTES_MAX + 10, 0);
        std::fs::write(&path, &long).unwrap();
        let refusal = verify_file(&path, Trust::Nobody).unwrap().unwrap_err();
        assert!(refusal.to_string().contains("expected at most"), "{refusal}");
    }
}
