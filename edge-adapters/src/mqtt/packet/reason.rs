//! Codes of refusal in words, with what to do where that is known.

use super::{Outcome, Version};

/// Why a broker refused a connection.
pub(crate) fn refusal(version: Version, outcome: &Outcome) -> String {
    let why = match (version, outcome.code) {
        // MQTT 3.1.1, section 3.2.2.3.
        (Version::V3, 1) => "it does not speak MQTT 3.1.1; try version = \"5\"",
        (Version::V3, 2) => "the client id; try another client_id",
        (Version::V3, 3) => "it is not available",
        (Version::V3, 4) => "wrong user name or password",
        (Version::V3, 5) => {
            "this client may not connect; look at user, password_file and the broker's rights"
        }
        (Version::V3, _) => "a code that MQTT 3.1.1 does not know",
        (Version::V5, code) => reason(code),
    };
    said(&format!("the broker refuses: {why}"), version, outcome)
}

/// Why a broker of version 5 closes a connection, or refuses a message.
pub(crate) fn failure(what: &str, outcome: &Outcome) -> String {
    said(&format!("{what}: {}", reason(outcome.code)), Version::V5, outcome)
}

fn said(why: &str, version: Version, outcome: &Outcome) -> String {
    let code = outcome.code;
    let number = if version == Version::V5 { format!("reason 0x{code:02X}") } else { format!("code {code}") };
    // What a broker says is for people; it must not fill their screen or their log.
    let text: String = outcome.text.chars().filter(|c| !c.is_control()).take(200).collect();
    if text.is_empty() { format!("{why} ({number})") } else { format!("{why} ({number}, {text:?})") }
}

/// A reason code of 5 (section 2.4).
pub(crate) const fn reason(code: u8) -> &'static str {
    match code {
        0x00 => "an ordinary end",
        0x04 => "an end with the last will",
        0x10 => "nobody has subscribed to it",
        0x81 => "it takes a packet for malformed",
        0x82 => "it takes a packet for a breach of the protocol",
        0x83 => "this broker does not accept it",
        0x84 => "it does not speak MQTT 5; try version = \"3.1.1\"",
        0x85 => "the client id; try another client_id",
        0x86 => "wrong user name or password",
        0x87 => "this client may not do that; look at user, password_file and the broker's rights",
        0x88 => "it is not available",
        0x89 => "it is busy",
        0x8A => "this client is banned",
        0x8B => "it shuts down",
        0x8C => "the method of authentication",
        0x8D => "it heard nothing for longer than keep_alive",
        0x8E => "another client uses this client id; give each its own client_id",
        0x8F => "a topic filter is not valid",
        0x90 => "the topic is not valid",
        0x91 => "the packet id is in use",
        0x92 => "it does not know the packet id",
        0x93 => "more messages than it takes at once",
        0x94 => "a topic alias is not valid",
        0x95 => "the packet is too large for it",
        0x96 => "too many messages at once",
        0x97 => "a quota is used up",
        0x98 => "an administrator ended it",
        0x99 => "the payload is not of its format",
        0x9A => "it does not keep retained messages",
        0x9B => "it does not offer this quality of service",
        0x9C => "use another server",
        0x9D => "the server has moved",
        0x9E => "it does not offer shared subscriptions",
        0x9F => "too many connections at once",
        0xA0 => "the longest time of a connection is over",
        0xA1 => "it does not offer subscription identifiers",
        0xA2 => "it does not offer filters with + and #",
        _ => "a reason that MQTT 5 does not know",
    }
}
