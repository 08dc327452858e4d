//! `key list` and `key rotate`: what the chain names, and the next key.

use std::process::ExitCode;

use crate::answers::print::print_json;
use crate::api::ask::{Ask, asking};
use crate::cli::Globals;
use crate::folder::Folder;

pub(super) fn list(globals: &Globals) -> anyhow::Result<ExitCode> {
    let folder = Folder::open(&globals.data)?;
    let files = folder.keys_count()?;
    let answer = asking(&globals.data, Ask::keys)?;
    if globals.json {
        print_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    for key in &answer.keys {
        let named = match (key.named_at, &key.named_by) {
            (Some(sequence), Some(id)) => format!("named at sequence {sequence}, {id}"),
            _ => "named in the genesis".to_owned(),
        };
        let in_force = if key.in_force { "in force" } else { "replaced" };
        let file = if key.number < files { "" } else { "; ITS FILE IS MISSING: restore it from a backup" };
        println!("{}  {}  {in_force}  {named}{file}", key.number, key.scheme);
    }
    for number in answer.keys.len() as u32..files {
        let waits = if number == 0 && folder.enrolment().is_some() {
            "named by its credential, which is not in the ledger yet: `selvedge run` enrols it"
        } else {
            "the chain does not name it yet; the next rotation takes it"
        };
        println!("{number}  ML-DSA-44  not in force  {waits}");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn rotate(globals: &Globals) -> anyhow::Result<ExitCode> {
    let answer = asking(&globals.data, Ask::rotate)?;
    if globals.json {
        print_json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("Key {} is in force from now on; it lies in {}.", answer.number, answer.file);
    println!("Keep it somewhere else too: selvedge key backup FILE --backup-passphrase-file PASS");
    println!("The older keys stay: the first one is who this gateway is, and speaks to its peers.");
    Ok(ExitCode::SUCCESS)
}
