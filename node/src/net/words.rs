//! Why a connection ended or never began, in words that a person can act on.

use quinn::ConnectionError;
use quinn_codes::{ALERT_BASE, ALERT_LAST};

use super::limits::REASON_BYTES_MAX;

mod quinn_codes {
    /// QUIC carries TLS alerts as these error codes (RFC 9001, section 4.8).
    pub(super) const ALERT_BASE: u64 = 0x100;
    pub(super) const ALERT_LAST: u64 = 0x1ff;
    /// Connection refused (RFC 9000, section 20.1).
    pub(super) const REFUSED: u64 = 2;
}

/// A reason as it travels with the end of a connection: at most 200 bytes of UTF-8.
pub(super) fn reason_bytes(reason: &str) -> &[u8] {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason.as_bytes()[..end]
}

/// A peer's reason, fit to be shown: cut, without control characters, and what is not UTF-8 replaced.
pub(super) fn shown(reason: &[u8]) -> String {
    let cut = &reason[..reason.len().min(REASON_BYTES_MAX)];
    String::from_utf8_lossy(cut).chars().filter(|c| !c.is_control()).collect()
}

/// Why a connection ended, or a handshake failed.
pub(super) fn of_end(why: &ConnectionError) -> String {
    match why {
        ConnectionError::ApplicationClosed(closed) => match shown(&closed.reason) {
            reason if reason.is_empty() => "closed by the other side, without a reason".into(),
            reason => format!("closed by the other side: {reason}"),
        },
        ConnectionError::ConnectionClosed(closed) => match u64::from(closed.error_code) {
            quinn_codes::REFUSED => {
                "the other side takes no connection at present: too many are under way or open, or it is stopping".into()
            }
            code @ ALERT_BASE..=ALERT_LAST => of_alert((code - ALERT_BASE) as u8, true),
            _ => format!("the other side broke off: {} {}", closed.error_code, shown(&closed.reason)),
        },
        ConnectionError::TransportError(error) => match u64::from(error.code) {
            code @ ALERT_BASE..=ALERT_LAST => of_alert((code - ALERT_BASE) as u8, false),
            _ => format!("broken off: {} {}", error.code, shown(error.reason.as_bytes())),
        },
        ConnectionError::TimedOut => {
            "no answer: nobody listens there, UDP is blocked, or the link is cut".into()
        }
        ConnectionError::Reset => "the other side was started again".into(),
        ConnectionError::LocallyClosed => "closed by this side".into(),
        ConnectionError::VersionMismatch => "the other side speaks another version of QUIC".into(),
        ConnectionError::CidsExhausted => "QUIC ran out of connection ids".into(),
    }
}

/// What a TLS alert means between gateways: see `tls::Pass`. `theirs`: the other side raised it.
fn of_alert(alert: u8, theirs: bool) -> String {
    let said = match (alert, theirs) {
        (48, true) => "the other side does not know this gateway as a member",
        (48, false) => "the other side is not a member of this network",
        (49, true) => "the other side refuses this gateway for a while, for a rule that it broke",
        (49, false) => "the other side is refused for a while, for a rule that it broke",
        (44, _) => "both sides have one key: the address leads back here, or another machine uses this key",
        (42, true) => {
            "the other side expected another key than ML-DSA-44 as a raw public key, or another member"
        }
        (42, false) => {
            "another member answers there than was expected, or its key is not a raw one of ML-DSA-44"
        }
        (51, _) => "a signature of the handshake does not verify",
        (120, _) => "no common protocol: expected selvedge/0 or selvedge-join/0",
        (40 | 70 | 71, _) => "no common TLS: expected 1.3, X25519MLKEM768 and a raw public key of ML-DSA-44",
        (116, _) => "a key was expected and none was shown",
        _ => return format!("the handshake failed with TLS alert {alert}"),
    };
    said.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_at_a_character_and_shown_without_control_characters() {
        let long = "é".repeat(150);
        let cut = reason_bytes(&long);
        assert_eq!(cut.len(), 200);
        assert_eq!(shown(cut), "é".repeat(100));
        assert_eq!(reason_bytes(&format!("x{long}")).len(), 199);
        assert_eq!(shown(b"a\x1b[2Jb\n\xff"), "a[2Jb\u{fffd}");
    }
}
