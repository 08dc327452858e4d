//! What of a status needs a person: what is wrong, and what to do.

use selvedge_core::border::Silence;

use super::live::Live;
use super::standing;
use super::status::{ClockAnswer, DeviceAnswer, DiskAnswer, NodeState, StatusAnswer};
use super::times::{bytes_words, plural};
use crate::folder::file_of;

/// Less free space than this needs a person.
const FREE_BYTES_LOW: u64 = 200_000_000;
/// Why a gateway with this mark issues nothing, and what to do.
const SILENT: &str = "silent: the keys are without (part of) the chain that they signed, so readings are journaled and \
                      nothing is issued. Connected peers give the chain back by themselves; or the file `restored` in the data \
                      folder says how to bring it back, then `selvedge key restore`";

/// Everything, most pressing first.
pub(super) fn found(answer: &StatusAnswer, live: Option<&Live>, restored_mark: bool) -> Vec<String> {
    let mut found = Vec::new();
    match answer.state {
        NodeState::Halted => {
            let why =
                live.and_then(|live| live.halted.as_deref()).unwrap_or("the store or the signing key failed");
            found.push(format!(
                "halted: {why}. Nothing more is taken; what was acknowledged is safe. Look after the cause, then start the node again"
            ));
        }
        NodeState::Silent if let Some(number) = missing_key(live) => found.push(format!(
            "silent: the chain names key {number} as the one in force, and {} does not hold it, as after an older image was \
             put back. Readings are journaled meanwhile, and go out once the file is back: stop the node, `selvedge key \
             restore BACKUP --data {}` with a backup from after that rotation, and start it again. When nobody has \
             that key any more, move this folder aside and make a new identity with `selvedge init --join`",
            file_of(number),
            answer.folder
        )),
        NodeState::Silent if restored_mark => found.push(SILENT.into()),
        NodeState::Silent => {
            let why = answer.own_chain.as_ref().and_then(|own| own.silence.as_deref());
            let why = why.unwrap_or("no reason known");
            found.push(format!("silent: {why}. Readings are journaled meanwhile"));
        }
        NodeState::NotRunning => {
            found.push(format!(
                "no node runs on this folder: start it with `selvedge run --data {}`",
                answer.folder
            ));
            if restored_mark {
                found.push(SILENT.into());
            }
        }
        NodeState::Running | NodeState::Starting => {}
    }
    found.extend(standing::attention(answer));
    found.extend(disk_attention(&answer.disk));
    found.extend(answer.devices.iter().filter_map(device_attention));
    found.extend(clock_attention(&answer.clock));
    if let Some((issuer, sequence)) = answer.ledger.forks.first() {
        let more = answer.ledger.forks.len() - 1;
        let more =
            if more > 0 { format!(", and {} like it", plural(more as u64, "place")) } else { String::new() };
        let whose = if *issuer == answer.gateway.id {
            "this gateway signed two transactions at one sequence: its key is used by another machine too"
        } else {
            "somebody signed two transactions at one sequence"
        };
        found.push(format!(
            "fork: {whose} ({issuer}, sequence {sequence}{more}); `selvedge evidence` shows both"
        ));
    }
    if let Some(retry) = live.and_then(|live| live.events.last_retry.as_ref())
        && answer.asked.0.saturating_sub(retry.at.0) < 60_000_000_000
    {
        found.push(format!("{} failed and is tried again: {}", retry.what, retry.why));
    }
    found
}

/// Number of the key in force, when nothing is issued because it is not here.
fn missing_key(live: Option<&Live>) -> Option<u32> {
    match live?.ledger.silence {
        Some(Silence::KeyMissing { number }) => Some(number),
        _ => None,
    }
}

fn disk_attention(disk: &DiskAnswer) -> Option<String> {
    let free = disk.free_bytes.filter(|free| *free < FREE_BYTES_LOW)?;
    Some(format!(
        "disk: {} free, expected at least {}; free some, or move the data folder to a larger disk",
        bytes_words(free),
        bytes_words(FREE_BYTES_LOW)
    ))
}

fn device_attention(device: &DeviceAnswer) -> Option<String> {
    let (name, why) = (&device.name, device.error.as_deref().unwrap_or("no reason known"));
    match device.state.as_deref() {
        Some("down") => Some(format!(
            "device {name:?} at {} does not answer: {why}. It is tried again by itself",
            device.address
        )),
        Some("degraded") => Some(format!(
            "device {name:?} refuses part of what it is asked: {why}. Compare the configuration with what it offers"
        )),
        _ => None,
    }
}

fn clock_attention(clock: &ClockAnswer) -> Option<String> {
    if !clock.plausible {
        return Some(format!(
            "clock: it shows {}, which cannot be right; set it, or let a time server do so (`timedatectl`)",
            clock.now
        ));
    }
    (clock.synchronised == Some(false)).then(|| {
        "clock: not synchronised with a time server, so readings and transactions say so; start systemd-timesyncd, or \
         set `trust = \"assume\"` under [clock] when another service keeps it"
            .to_owned()
    })
}
