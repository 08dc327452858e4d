//! The verdict in sentences, one line for each link. Names and texts come from strangers: they stand in quotes,
//! with everything escaped that is no visible character, so none can forge a line or a colour.

use std::fmt;

use selvedge_core::genesis::role;
use selvedge_core::reading::Value;

use crate::ids;
use crate::scaled::{float_words, unit_text};
use crate::verdict::{KeyNamed, KeyShown, NamedBy, NotShown, Outcome, ReadingShown, Trusted, Verdict};
use crate::{rfc3339, rfc3339_ms};

/// Opaque values are shown up to so many bytes; the rest is in the JSON form.
const OPAQUE_BYTES_SHOWN: usize = 32;

impl Verdict {
    /// One line for each link, from the reading to the network.
    pub fn links(&self) -> Vec<String> {
        let mut lines = vec![
            reading_line(&self.reading),
            source_line(&self.reading),
            self.leaf_line(),
            self.batch_line(),
            self.signature_line(),
        ];
        lines.extend(self.keys.iter().rev().map(|key| self.key_line(key)));
        lines.push(self.issuer_line());
        lines.push(self.network_line());
        lines
    }

    /// The last line: how far it reaches.
    pub fn conclusion(&self) -> String {
        let id = ids::text(self.network.id);
        match self.outcome {
            Outcome::Verified => format!(
                "Verified: signed by {}, at this place of its order, unchanged, in the network {id}.",
                self.issuer_name()
            ),
            Outcome::Consistent => {
                format!("Consistent, but nobody said which network to trust: it names {id}")
            }
        }
    }

    /// Everything that an auditor reads: the links, what they do not show, the conclusion.
    pub fn words(&self) -> String {
        self.to_string()
    }

    fn leaf_line(&self) -> String {
        let leaf = &self.leaf;
        format!(
            "Its leaf is number {} (from 0) of {} in the tree whose root {} the batch names; its place follows from stream and counter.",
            thousands(leaf.index),
            thousands(u64::from(leaf.count)),
            leaf.root.short(),
        )
    }

    fn batch_line(&self) -> String {
        let (batch, transaction) = (&self.batch, &self.transaction);
        let last = batch.stream_first + u64::from(batch.stream_count) - 1;
        format!(
            "The batch, number {}, received from {} to {}, holds counters {} to {} of this stream; it is in transaction {}, sequence {} of {} ({}), issued at {} (the gateway claims{}).",
            batch.number,
            rfc3339(batch.first_time_ns),
            rfc3339(batch.last_time_ns),
            batch.stream_first,
            last,
            ids::text(transaction.id),
            transaction.sequence,
            self.issuer_name(),
            ids::text(self.issuer.id),
            rfc3339_ms(transaction.issued_at_ms),
            if transaction.unsynchronised { ", with a clock that was not synchronised" } else { "" },
        )
    }

    fn signature_line(&self) -> String {
        let signature = &self.signature;
        format!(
            "The transaction is signed with {} by key {} of {}.",
            signature.scheme.name(),
            signature.key_number,
            self.issuer_name()
        )
    }

    fn key_line(&self, key: &KeyShown) -> String {
        let (number, scheme) = (key.number, key.scheme.name());
        match &key.named {
            KeyNamed::Genesis => format!(
                "Key {number} ({scheme}) is the one that the genesis names for {} of organisation {:?}.",
                self.issuer_name(),
                self.issuer.organisation
            ),
            KeyNamed::Enrolment => {
                format!("Key {number} ({scheme}) is the one with which {} enrolled.", self.issuer_name())
            }
            KeyNamed::Rotation { transaction, sequence } => format!(
                "Key {number} ({scheme}) is named by transaction {}, sequence {sequence} of the same chain, signed by key {}.",
                ids::text(*transaction),
                number - 1
            ),
        }
    }

    fn issuer_line(&self) -> String {
        let issuer = &self.issuer;
        let organisation = &issuer.organisation;
        let roles = match issuer.roles.as_slice() {
            [] => "no roles".to_owned(),
            roles => {
                let quoted: Vec<String> = roles.iter().map(|r| format!("{r:?}")).collect();
                format!("the roles {}", quoted.join(", "))
            }
        };
        let name = self.issuer_name();
        match &issuer.named {
            NamedBy::Genesis => {
                format!(
                    "The genesis itself names {name} a member of organisation {organisation:?}, with {roles}."
                )
            }
            NamedBy::Organisation { enrolment, scheme } => format!(
                "Organisation {organisation:?} of the genesis let {name} in, with {roles}: its key signed the credential ({}) in transaction {}.",
                scheme.name(),
                ids::text(*enrolment)
            ),
            NamedBy::Inviter { enrolment, scheme, inviter, inviter_name } => format!(
                "Inviter {inviter_name:?} ({}), whom the genesis names for organisation {organisation:?}, let {name} in, with {roles}: its key signed the credential ({}) in transaction {}.",
                ids::text(*inviter),
                scheme.name(),
                ids::text(*enrolment)
            ),
        }
    }

    fn network_line(&self) -> String {
        let network = &self.network;
        let id = ids::text(network.id);
        let name = &network.name;
        match network.trusted {
            Trusted::Id => format!("The network is {id} (it calls itself {name:?}), pinned by you."),
            Trusted::Genesis => {
                format!(
                    "The network is {id} (it calls itself {name:?}), founded by the genesis that you named."
                )
            }
            Trusted::Nobody => format!("The network is {id} (it calls itself {name:?}); you pinned none."),
        }
    }

    fn issuer_name(&self) -> String {
        let gateway = self.issuer.roles.iter().any(|r| r == role::GATEWAY);
        format!("{} {:?}", if gateway { "gateway" } else { "member" }, self.issuer.name)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.links() {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "\nThis proof does not show:")?;
        for not_shown in &self.not_shown {
            writeln!(f, "- {not_shown}")?;
        }
        write!(f, "\n{}", self.conclusion())
    }
}

fn reading_line(reading: &ReadingShown) -> String {
    let status =
        if reading.status == 0 { String::new() } else { format!(", status code {:#010x}", reading.status) };
    format!(
        "The reading: {}, stream {:?} on device {:?}, quality {}, counter {}{status}, at {}, received {} (the gateway claims both{}){}.",
        value_words(reading),
        reading.stream,
        reading.device,
        reading.quality.name(),
        reading.counter,
        rfc3339(reading.source_time_ns),
        rfc3339(reading.receive_time_ns),
        if reading.unsynchronised { ", with a clock that was not synchronised" } else { "" },
        if reading.possibly_repeated { ", possibly delivered twice by its source" } else { "" },
    )
}

fn source_line(reading: &ReadingShown) -> String {
    format!(
        "It was read at {:?} as {:?} and is {}: the device itself signed nothing.",
        reading.address, reading.source_type, reading.attestation
    )
}

/// `21.4 °C (raw 214, scale 0.1)`.
fn value_words(reading: &ReadingShown) -> String {
    let shown = match (&reading.raw, &reading.value) {
        (_, None) => return "no value".to_owned(),
        (Value::Text(text), _) => return format!("{text:?}"),
        (Value::Bytes(bytes), _) => return opaque_words(bytes),
        (_, Some(value)) => value,
    };
    let unit = if reading.unit.is_empty() { String::new() } else { format!(" {}", unit_text(&reading.unit)) };
    let offset = if reading.offset == "0" { String::new() } else { format!(", offset {}", reading.offset) };
    if reading.scale == "1" && offset.is_empty() {
        return format!("{shown}{unit}");
    }
    format!("{shown}{unit} (raw {}, scale {}{offset})", raw_words(reading), reading.scale)
}

fn raw_words(reading: &ReadingShown) -> String {
    match &reading.raw {
        Value::Bool(bit) => bit.to_string(),
        Value::Int(int) => int.to_string(),
        Value::Unsigned(int) => int.to_string(),
        Value::Float(float) => float_words(*float, &reading.source_type),
        Value::None | Value::Text(_) | Value::Bytes(_) => "none".to_owned(),
    }
}

fn opaque_words(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(OPAQUE_BYTES_SHOWN)];
    let more = if bytes.len() > shown.len() { "…" } else { "" };
    format!("{} bytes, 0x{}{more}", thousands(bytes.len() as u64), selvedge_core::hash::hex(shown))
}

impl fmt::Display for NotShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network => f.write_str("that this is the network you mean: anybody can invent one with the same names"),
            Self::Truth => f.write_str("that the value is true at the machine: the gateway says that it read it"),
            Self::Times { unsynchronised: false } => {
                f.write_str("that the times are right: the gateway claims them; only the order on its chain is proved")
            }
            Self::Times { unsynchronised: true } => f.write_str(
                "that the times are right: the gateway claims them, and says itself that its clock was not synchronised; only the order on its chain is proved",
            ),
            Self::Finality => f.write_str(
                "that the transaction is final: that others hold it, and that its issuer signed no other one at its sequence",
            ),
            Self::Membership => f.write_str("that its issuer was still a member: a removal would stand in the network's order"),
            Self::Keys => f.write_str("that no key was stolen: a thief signs like the owner"),
            Self::KeyInForce { key_number, from, sequence } => write!(
                f,
                "that key {key_number} had not been replaced: a rotation between sequence {from} and {} would have ended it",
                sequence - 1
            ),
            Self::Gaps { counter } => write!(
                f,
                "whether other readings are missing: counters are gapless, so ask for those around {counter}"
            ),
        }
    }
}

/// `4,096`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(4_096), "4,096");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
