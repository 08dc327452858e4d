//! `selvedge prove`: the proof file of one reading.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use selvedge_crypto::ids;
use selvedge_proof::{Trust, Verdict};
use serde::Serialize;

use super::verify::verify_file;
use super::{Failed, Globals, segment};
use crate::answers::Time;
use crate::answers::print::{print, print_json};
use crate::answers::prove::{ProofAbout, ProofQuery};
use crate::answers::times::{count_words, parse_moment};
use crate::api::ask::asking;
use crate::folder::Folder;

const AFTER_HELP: &str = "\
Examples:
  selvedge prove filler/tank/level latest
  selvedge prove filler/tank/level 2026-05-01T12:00:00Z -o noon.proof
  selvedge prove filler/tank/level -10m
  selvedge prove press/force latest --segment batch-12.segment     a partner's reading

TIME means the newest reading that the gateway had received by then and that is in a transaction. The file holds \
everything that `selvedge verify` needs but the network's id, and discloses this one reading only. It is verified \
before this command says that it is done.

Readings lie only with the gateway that read them. To prove one of another gateway, have it hand over the archive \
segment (`selvedge export --segment BATCH` there); which of the transactions here names it is found by its hash.

Exit codes: 0 written and verified; 1 nothing to prove there yet, or no such stream; 2 wrong use, or there is no answer.";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Name of the stream, as `selvedge streams` shows it.
    stream: String,
    /// `latest`, RFC 3339 with a zone, or a span back from now, such as -10m.
    #[arg(value_name = "TIME|latest", allow_hyphen_values = true)]
    time: String,
    /// Write the proof here [default: STREAM-COUNTER.proof in the present folder].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Prove from this archive segment, which may be of any gateway, instead of from the own readings.
    #[arg(long, value_name = "FILE")]
    segment: Option<PathBuf>,
}

/// What `--json` says.
#[derive(Debug, Serialize)]
struct Report<'a> {
    file: String,
    bytes: usize,
    network: &'a str,
    command: &'a str,
    #[serde(flatten)]
    about: &'a ProofAbout,
    verdict: &'a Verdict,
}

/// Runs it.
pub(crate) fn run(
    Args { stream, time, output, segment }: Args,
    globals: &Globals,
) -> anyhow::Result<ExitCode> {
    let at = match time.as_str() {
        "latest" => None,
        text => {
            Some(parse_moment(text, Time::now()).map_err(|why| anyhow::anyhow!("TIME: {why}, or `latest`"))?)
        }
    };
    let network = Folder::open(&globals.data)?.network().id();
    let query = ProofQuery { stream: stream.clone(), at };
    let answer = match &segment {
        Some(path) => segment::prove(path, &query, globals)?,
        None => asking(&globals.data, |ask| ask.prove(&query))?,
    };
    let file = output.unwrap_or_else(|| default_name(&stream, answer.about.counter));
    // A proof is for handing on: readable by others, unlike what is made otherwise.
    write_whole(&file, &answer.bytes, 0o644)?;
    let read_back = verify_file(&file, Trust::Network(network));
    let verdict = read_back.with_context(|| format!("cannot read {} back", file.display()))?.map_err(|refusal| {
        Failed(format!(
            "the proof in {} does not verify: {refusal}. The data folder may be damaged; `selvedge status` and the log \
             of the node may say more",
            file.display()
        ))
    })?;
    let network = ids::to_text(&network);
    let command = format!("selvedge verify {} --network {network}", shell_word(&file.display().to_string()));
    if globals.json {
        print_json(&Report {
            file: file.display().to_string(),
            bytes: answer.bytes.len(),
            network: &network,
            command: &command,
            about: &answer.about,
            verdict: &verdict,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    print(|out| {
        if let Some((counter, received)) = answer.about.journaled {
            writeln!(
                out,
                "The newest reading there (#{counter}, received {received}) is still in the journal: nothing signs it \
                 yet. This proves the newest one that is in a transaction.\n"
            )?;
        }
        for line in verdict.links() {
            writeln!(out, "{line}")?;
        }
        let bytes = count_words(answer.bytes.len() as u64);
        writeln!(out, "\n{}\n", verdict.conclusion())?;
        writeln!(
            out,
            "Written to {} ({bytes} bytes). Whoever gets the file verifies it with",
            file.display()
        )?;
        writeln!(out, "  {command}")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `filler-tank-level-1234.proof`
fn default_name(stream: &str, counter: u64) -> PathBuf {
    let safe: String =
        stream.chars().map(|c| if c.is_alphanumeric() || matches!(c, '.' | '_') { c } else { '-' }).collect();
    let safe = safe.trim_start_matches(['-', '.']);
    let name = if safe.is_empty() { "reading" } else { safe };
    PathBuf::from(format!("{name}-{counter}.proof"))
}

/// Writes a whole file or none.
pub(super) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    if path.is_dir() {
        bail!("{} is a folder; expected the name of a file for -o", path.display());
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let attempt = || -> std::io::Result<()> {
        let mode = fs::Permissions::from_mode(mode);
        let mut file = tempfile::Builder::new().prefix(".proof-").permissions(mode).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(folder)?.sync_all()
    };
    attempt().with_context(|| format!("cannot write {}", path.display()))
}

/// A word of a shell's command line.
pub(crate) fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./+:@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_time_may_be_a_span_and_stand_before_or_after_the_file() {
        let spoken =
            [["tank", "-10m", "-o", "file"], ["-o", "file", "tank", "-10m"], ["tank", "-o", "file", "-10m"]];
        for line in spoken {
            let Args { stream, time, output, .. } =
                Alone::try_parse_from(std::iter::once("prove").chain(line)).unwrap().args;
            assert_eq!((stream.as_str(), time.as_str()), ("tank", "-10m"), "{line:?}");
            assert_eq!(output, Some(PathBuf::from("file")), "{line:?}");
        }
        assert!(Alone::try_parse_from(["prove", "tank"]).is_err(), "a time is needed");
    }

    #[test]
    fn file_names_hold_nothing_that_a_shell_or_a_path_would_read() {
        assert_eq!(default_name("filler/tank level", 7), PathBuf::from("filler-tank-level-7.proof"));
        assert_eq!(default_name("../../etc", 7), PathBuf::from("etc-7.proof"));
        assert_eq!(default_name("//", 0), PathBuf::from("reading-0.proof"));
        assert_eq!(shell_word("a b'c"), r"'a b'\''c'");
        assert_eq!(shell_word("tank-7.proof"), "tank-7.proof");
    }

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.proof");
        write_whole(&path, b"first", 0o644).unwrap();
        write_whole(&path, b"second", 0o644).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(write_whole(folder.path(), b"x", 0o644).unwrap_err().to_string().contains("is a folder"));
        assert!(write_whole(&folder.path().join("no/such"), b"x", 0o644).is_err());
    }
}
